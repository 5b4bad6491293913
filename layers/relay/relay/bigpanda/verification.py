"""Verification of callbacks: what the ledger and xMatters confirm of what a callback says.

Whoever has a channel's callback token can claim anything of any incident, in anybody's name. So a callback counts only
for an incident that the channel announced. Where the relay may ask xMatters, it must name one of the incident's pages,
and an acknowledgement must be of a person whom xMatters knows.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from relay.channels.channel import Rest
from relay.deadline import Deadline
from relay.errors import SendError
from relay.incidents.callback import Callback
from relay.ledger.entry import Entry, Raised

# A callback may come before the ledger has noted the signal that it answers, or xMatters has shown its page.
EARLY_SECONDS = 300.0
# Clocks of xMatters and of AWS differ by less.
CLOCKS_DIFFER_SECONDS = 60.0


class Verdict(StrEnum):
    """Verdict on a callback.

    EARLY: it may be confirmed yet. UNVERIFIED: the incident is the channel's, and nothing else is confirmed. STRANGE:
    the channel does not know the incident.
    """

    VERIFIED = "verified"
    EARLY = "early"
    UNVERIFIED = "unverified"
    STRANGE = "strange"


class Finding(NamedTuple):
    """A verdict, and why it is not better, in words for a log."""

    verdict: Verdict
    why: str = ""


class Answered(NamedTuple):
    """A callback, and when it came.

    Attributes:
        said: The callback.
        is_acknowledgement: It says that a person took the incident on.
        came: The time at which it came, in epoch seconds.
    """

    said: Callback
    is_acknowledgement: bool
    came: float


@dataclass(frozen=True)
class Verifier:
    """Verifies callbacks.

    Attributes:
        pages_of: Gives the ids and numbers of the pages of a signal, by its request id. Raises SendError.
        is_person: True if xMatters has a person of that name, None if it does not say. Raises SendError.
        clock: Gives epoch seconds.
    """

    pages_of: Callable[[Rest, str, Deadline], Collection[str]]
    is_person: Callable[[Rest, str, Deadline], bool | None]
    clock: Callable[[], float]

    def judge(self, answered: Answered, entries: Sequence[Entry], rest: Rest | None, deadline: Deadline) -> Finding:
        """Return the verdict on a callback; `entries` are those of its incident. xMatters is asked if `rest` is given.

        A callback that is not confirmed while it is young is EARLY.
        """
        found = self._judged(answered, entries, rest, deadline)
        is_young = self.clock() - answered.came < EARLY_SECONDS
        return found._replace(verdict=Verdict.EARLY) if found.verdict != Verdict.VERIFIED and is_young else found

    def _judged(self, answered: Answered, entries: Sequence[Entry], rest: Rest | None, deadline: Deadline) -> Finding:
        announced = [entry for entry in entries if entry.announced]
        if not announced:
            is_known = any(entry.sequence for entry in entries)
            verdict = Verdict.UNVERIFIED if is_known else Verdict.STRANGE
            return Finding(verdict, "the channel did not announce the incident")
        first = min((at for entry in announced for at in _times(entry)), default=0.0)
        if answered.came < first - CLOCKS_DIFFER_SECONDS:
            return Finding(Verdict.UNVERIFIED, "it is older than the signals of the incident")
        if rest is None:
            return Finding(Verdict.VERIFIED)
        try:
            return self._of_page(answered, [each for entry in announced for each in entry.raised], rest, deadline)
        except SendError as error:
            return Finding(Verdict.UNVERIFIED, f"xMatters did not say whether it is right: {error}")

    def _of_page(self, answered: Answered, raised: Sequence[Raised], rest: Rest, deadline: Deadline) -> Finding:
        """Return the verdict by the page that the callback names. Raises SendError."""
        names = {name.lower() for name in (answered.said.event_id, answered.said.event_number) if name}
        page = next((each for each in raised if names & self._names(each, rest, deadline)), None) if names else None
        if page is None:
            return Finding(Verdict.UNVERIFIED, "it names no page of the incident")
        said_at = _seconds_of(answered.said.at)
        if min(answered.came, said_at or answered.came) < page.at - CLOCKS_DIFFER_SECONDS:
            return Finding(Verdict.UNVERIFIED, "it is older than the page that it names")
        target = answered.said.target
        if not answered.is_acknowledgement or (target and page.notified(target)):
            return Finding(Verdict.VERIFIED)
        if target and self.is_person(rest, target, deadline):
            return Finding(Verdict.VERIFIED)
        return Finding(Verdict.UNVERIFIED, "xMatters does not know who it says acknowledged")

    def _names(self, raised: Raised, rest: Rest, deadline: Deadline) -> set[str]:
        """Return the names of a signal's pages, in lower case; xMatters is asked for those that nobody found yet."""
        names = {*raised.pages, raised.number} - {""}
        if not names and not raised.is_lost:
            names = set(self.pages_of(rest, raised.request_id, deadline))
        return {name.lower() for name in names}


def _times(entry: Entry) -> Iterator[float]:
    yield from entry.signals
    yield from (raised.at for raised in entry.raised)


def _seconds_of(text: str | None) -> float | None:
    """The epoch seconds of what xMatters wrote as a time; None if it is no ISO 8601 time with an offset."""
    with suppress(ValueError, OverflowError):
        moment = datetime.fromisoformat(text or "")
        return moment.timestamp() if moment.tzinfo else None
    return None
