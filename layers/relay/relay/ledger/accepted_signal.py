"""Accepted signals of an incident: their recipients, and the pages that xMatters made of them. Pure code."""

import hashlib
from collections.abc import Iterable
from copy import replace
from typing import NamedTuple, Self

from relay.incidents.share import State

# Signals that an entry remembers; the oldest is dropped first.
MAX_ACCEPTED_SIGNALS = 16
_HASH_LENGTH = 8


class Audience(NamedTuple):
    """Recipients of a signal, with what the ledger has to know of them when it records the signal.

    Attributes:
        recipients: Names of the recipients; empty if xMatters' workflow chooses them. With `is_for_acknowledger`, these
            are the recipients that the signal would have had otherwise.
        is_for_acknowledger: True if the signal was only for the person who acknowledged the incident.
        awaits_receipt: True if the channel awaits a proof that people know of a critical.
        has_others: True if the policy has `unanswered_recipients`, and all of them were among the recipients.
        is_further: True if the signal was for further recipients alone: a late tag or a missing answer brought them in,
            and all others knew the state.
    """

    recipients: tuple[str, ...] = ()
    is_for_acknowledger: bool = False
    awaits_receipt: bool = False
    has_others: bool = False
    is_further: bool = False


NOBODY_NAMED = Audience()


class AcceptedSignal(NamedTuple):
    """A signal that xMatters accepted, and its pages.

    Attributes:
        at: Start of the sender's lease, just before the signal was sent (epoch seconds).
        is_open: True if the signal announced an open incident, False if it announced the end.
        pages: UUIDs of the signal's pages; empty as long as none is known.
        page_number: The first page's number, as people see it; empty if unknown.
        is_over: True if the pages are known, and none of them is active any more.
        is_page_missing: True if the signal's `followup` job found no page before its time limit.
        is_for_acknowledger: True if the signal was only for the person who acknowledged the incident.
        recipients: Short hashes of the names in `Audience.recipients`, concatenated, as `hashes_of` makes them; empty
            if the workflow chooses the recipients.
        is_critical: True if the signal announced an open and critical incident.
        failed: Short hashes of the recipients that xMatters could not notify, in the form of `recipients`.
        is_further: True if the signal was for further recipients alone (`Audience.is_further`).
    """

    request_id: str
    at: float
    is_open: bool
    pages: tuple[str, ...] = ()
    page_number: str = ""
    is_over: bool = False
    is_page_missing: bool = False
    is_for_acknowledger: bool = False
    recipients: str = ""
    is_critical: bool = False
    failed: str = ""
    is_further: bool = False

    @classmethod
    def of(cls, state: State, request_id: str, at: float, audience: Audience) -> Self:
        """Return the record of a signal that was accepted; `at` is the start of the sender's lease (epoch seconds)."""
        return cls(
            request_id,
            at,
            state.is_open,
            is_for_acknowledger=audience.is_for_acknowledger,
            recipients=hashes_of(audience.recipients),
            is_critical=state.is_critical,
            is_further=audience.is_further,
        )

    def with_failed(self, names: Iterable[str]) -> "AcceptedSignal":
        """Return the signal with a recipient recorded as failed: the one that has one of `names`.

        xMatters may spell a recipient's name in several ways. If the signal has only one recipient, that recipient
        failed, whatever the names are. If no recipient has any of the names, the signal stays as it is.
        """
        known, failed = _split(self.recipients), _split(self.failed)
        failed += known if len(known) == 1 else _split(hashes_of(tuple(names)))
        return replace(self, failed="".join(each for each in known if each in failed))

    @property
    def failed_for_all(self) -> bool:
        """True if xMatters could notify none of the recipients. False if the workflow chose them."""
        return bool(self.recipients) and self.failed == self.recipients

    def is_for(self, name: str) -> bool:
        """True if `name` is one of the signal's recipients. False for every name if the workflow chose them."""
        return hashes_of((name,)) in _split(self.recipients)

    @property
    def page_names(self) -> set[str]:
        """The ids and numbers of the pages, in lower case, as far as they are known."""
        return {name.lower() for name in (*self.pages, self.page_number) if name}

    def has_page(self, *names: str | None) -> bool:
        return bool(self.page_names & {name.lower() for name in names if name})

    def reaches_all_of(self, older: "AcceptedSignal") -> bool:
        """True if every recipient of the earlier signal `older` is also a recipient of this signal.

        False if this signal was for the acknowledger alone. If the workflow chose the recipients of both signals, the
        result is True; if it chose those of only one, False.
        """
        if self.is_for_acknowledger:
            return False
        if not older.recipients:
            return not self.recipients
        return set(_split(older.recipients)) <= set(_split(self.recipients))

    def merged(self, seen: "AcceptedSignal") -> "AcceptedSignal":
        """Merge this record with `seen`, a newer record of the same signal by a `followup` job.

        The pages are those of `seen`. If `seen` has none, the pages of this record stay. The failed recipients of this
        record stay, since a `followup` job knows of none.
        """
        found = self if self.pages and not seen.pages else seen
        return replace(found, is_over=self.is_over or seen.is_over, failed=self.failed)


def with_signal(signals: tuple[AcceptedSignal, ...], signal: AcceptedSignal) -> tuple[AcceptedSignal, ...]:
    """Return the signals with `signal` added, ordered by `at`. Only the latest MAX_ACCEPTED_SIGNALS are kept.

    If one of them has the request id of `signal`, nothing is added.
    """
    if any(signal.request_id == known.request_id for known in signals):
        return signals
    return tuple(sorted((*signals, signal), key=lambda each: each.at)[-MAX_ACCEPTED_SIGNALS:])


def hashes_of(recipients: tuple[str, ...]) -> str:
    """Return short hashes of recipients' names, sorted and concatenated: 8 hexadecimal digits for each name."""
    names = (name.encode("utf-8", "surrogatepass") for name in recipients)
    return "".join(sorted(hashlib.sha256(name).hexdigest()[:_HASH_LENGTH] for name in names))


def _split(hashes: str) -> list[str]:
    return [hashes[start : start + _HASH_LENGTH] for start in range(0, len(hashes), _HASH_LENGTH)]
