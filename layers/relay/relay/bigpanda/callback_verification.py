"""Verification of callbacks against the ledger and xMatters.

A sender with a channel's callback token can claim anything about any incident, in any name. So a callback counts only
for an incident that the channel announced. With credentials for xMatters' REST API, the callback must also name a page
of the incident. An acknowledgement, or an answer that counts, must then name a recipient of the page's signal, or a
person in xMatters.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from relay.channels.channel import Rest
from relay.deadline import Clock, Deadline
from relay.failures import Reason, SendError
from relay.incidents.callback import Callback
from relay.incidents.share import iso_time
from relay.ledger.accepted_signal import AcceptedSignal
from relay.ledger.entry import Entry

# A callback may arrive before the ledger has recorded its signal, or before xMatters' API shows its page.
EARLY_CALLBACK_SECONDS = 300.0
# Upper bound of the difference between the clocks of xMatters and AWS.
VENDOR_CLOCKS_DIFFER_SECONDS = 60.0
# xMatters is asked twice for a further page of a signal with known pages: within this time of the callback's arrival,
# and at its final check. Whoever has the callback's token can name any page, and each question is a request.
FIRST_SECONDS = 15.0


class Verdict(StrEnum):
    """Result of the verification of a callback.

    Attributes:
        VERIFIED: The ledger, and xMatters' REST API if the channel has access to it, confirm the callback.
        EARLY: Not confirmed yet; a later check may confirm it.
        UNVERIFIED: The channel knows the incident, but the callback is not confirmed.
        STRANGE: The channel does not know the incident.
    """

    VERIFIED = "verified"
    EARLY = "early"
    UNVERIFIED = "unverified"
    STRANGE = "strange"


class CallbackVerdict(NamedTuple):
    """Verdict on a callback, with its cause and what was found.

    Attributes:
        why: Cause, in words, of a callback that is not verified; else empty.
        signal: The signal of the callback's page; None if the callback is not verified, or the channel has no access to
            xMatters' REST API.
        reason: Reason to record while the callback waits for a later check.
        is_unasked: True if a request to xMatters failed, so that a later attempt may verify the callback.
    """

    verdict: Verdict
    why: str = ""
    signal: AcceptedSignal | None = None
    reason: Reason = Reason.IN_FLIGHT
    is_unasked: bool = False


class ReceivedCallback(NamedTuple):
    """A callback, its meaning, and its arrival.

    Attributes:
        came: Arrival of the callback (epoch seconds).
        counts: True if the answer, once verified, resolves or snoozes the incident in BigPanda, or proves that a person
            knows of a critical.
    """

    callback: Callback
    is_acknowledgement: bool
    came: float
    counts: bool = False

    @property
    def answered_at(self) -> float:
        """Time of the reported event (epoch seconds); the arrival if the callback states no time, or a later one."""
        said_at = iso_time(self.callback.at)
        return self.came if said_at is None else min(self.came, said_at)


@dataclass(frozen=True)
class Verifier:
    """Verifies callbacks against the ledger and xMatters.

    Attributes:
        pages_of: Returns the ids and numbers of a signal's pages, by xMatters' request id. Raises SendError.
        is_person: Returns True if xMatters has a person of that name. Raises SendError.
    """

    pages_of: Callable[[Rest, str, Deadline], Collection[str]]
    is_person: Callable[[Rest, str, Deadline], bool]
    clock: Clock

    def judge(
        self, received: ReceivedCallback, entries: Sequence[Entry], rest: Rest | None, deadline: Deadline
    ) -> CallbackVerdict:
        """Verify a callback against its incident's ledger entries, and against xMatters if `rest` is not None.

        A callback that is not VERIFIED is EARLY within EARLY_CALLBACK_SECONDS of its arrival, and UNVERIFIED or STRANGE
        after that. If a request to xMatters fails, it is not verified either, and `is_unasked` is True.
        """
        found = self._judged(received, entries, rest, deadline)
        is_young = self.clock() - received.came < EARLY_CALLBACK_SECONDS
        return found._replace(verdict=Verdict.EARLY) if found.verdict != Verdict.VERIFIED and is_young else found

    def _judged(
        self, received: ReceivedCallback, entries: Sequence[Entry], rest: Rest | None, deadline: Deadline
    ) -> CallbackVerdict:
        announced = [entry for entry in entries if entry.announced]
        if not announced:
            is_known = any(entry.sequence for entry in entries)
            verdict = Verdict.UNVERIFIED if is_known else Verdict.STRANGE
            return CallbackVerdict(verdict, "the channel did not announce the incident")
        first = min((at for entry in announced for at in _times(entry)), default=0.0)
        # Its own date is not compared: without xMatters' REST API, a forger could name any.
        if received.came < first - VENDOR_CLOCKS_DIFFER_SECONDS:
            return CallbackVerdict(Verdict.UNVERIFIED, "it is older than the signals of the incident")
        if rest is None:
            return CallbackVerdict(Verdict.VERIFIED)
        try:
            return self._of_page(
                received, [each for entry in announced for each in entry.accepted_signals], rest, deadline
            )
        except SendError as error:
            why = f"xMatters could not be asked about it: {error}"
            found = CallbackVerdict(Verdict.UNVERIFIED, why, is_unasked=True)
            # The channel's secret may have another credential by now.
            return found._replace(reason=error.reason) if error.reason == Reason.CREDENTIALS else found

    def _of_page(
        self, received: ReceivedCallback, raised: Sequence[AcceptedSignal], rest: Rest, deadline: Deadline
    ) -> CallbackVerdict:
        """Verify a callback by the page that it names, which must be of a signal in `raised`. Raises SendError."""
        names = {name.lower() for name in (received.callback.page_id, received.callback.page_number) if name}
        signals = raised if names else ()
        known = (each for each in signals if each.has_page(*names))
        age = self.clock() - received.came
        is_further = not FIRST_SECONDS <= age < EARLY_CALLBACK_SECONDS
        asked = _to_ask_about(signals, is_further=is_further)
        found = (each for each in asked if names & self._found(each, rest, deadline))
        signal = next(known, None) or next(found, None)
        if signal is None:
            return CallbackVerdict(Verdict.UNVERIFIED, "it names no page of the incident")
        if received.answered_at < signal.at - VENDOR_CLOCKS_DIFFER_SECONDS:
            return CallbackVerdict(Verdict.UNVERIFIED, "it is older than the page that it names")
        target = received.callback.target
        needs_person = received.is_acknowledgement or received.counts
        if not needs_person or (target and signal.is_for(target)):
            return CallbackVerdict(Verdict.VERIFIED, signal=signal)
        if target and self.is_person(rest, target, deadline):
            return CallbackVerdict(Verdict.VERIFIED, signal=signal)
        verb = "acknowledged" if received.is_acknowledgement else "answered"
        return CallbackVerdict(Verdict.UNVERIFIED, f"xMatters does not know who it says {verb}")

    def _found(self, signal: AcceptedSignal, rest: Rest, deadline: Deadline) -> set[str]:
        return {name.lower() for name in self.pages_of(rest, signal.request_id, deadline)}


def _to_ask_about(signals: Sequence[AcceptedSignal], *, is_further: bool) -> Iterator[AcceptedSignal]:
    """Yield the signals of which xMatters may have pages that the ledger does not know: those without a known page."""
    yield from (each for each in signals if not each.page_names)
    if is_further:
        # The last one with a known page may have a further page.
        yield from [each for each in signals if each.is_open and each.page_names][-1:]


def _times(entry: Entry) -> Iterator[float]:
    yield from entry.signal_times
    yield from (signal.at for signal in entry.accepted_signals)
