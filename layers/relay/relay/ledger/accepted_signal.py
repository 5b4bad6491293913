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
    """Recipients of a signal, with what the ledger records of them.

    Attributes:
        recipients: Names; empty if xMatters' workflow chooses. With `is_for_acknowledger`, these are the recipients
            that the signal would have had otherwise.
        is_for_acknowledger: True if the signal was only for the person who acknowledged the incident.
        awaits_receipt: True if the channel awaits a proof that people know of a critical.
        has_others: True if the policy has `unanswered_recipients`, and all of them were among the recipients.
        is_further: True if the signal was for further recipients alone.
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
        is_for_acknowledger, is_further: As in `Audience`.
        recipients: Hashes (`hashes_of`) of `Audience.recipients`; empty if the workflow chooses the recipients.
        is_critical: True if the signal announced an open and critical incident.
        failed: Hashes of the recipients that xMatters could not notify, in the form of `recipients`.
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
        """Return the signal with the recipient that has one of `names` recorded as failed; as it is if none has.

        A signal's only recipient failed, whatever `names` are: xMatters may spell a name in several ways.
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

        False if this signal was for the acknowledger alone. All recipients that a workflow chooses count as one.
        """
        if self.is_for_acknowledger:
            return False
        if not older.recipients:
            return not self.recipients
        return set(_split(older.recipients)) <= set(_split(self.recipients))

    def merged(self, seen: "AcceptedSignal") -> "AcceptedSignal":
        """Return `seen`, a newer record of this signal by a `followup` job, with the failed recipients of this record.

        If `seen` has no pages, those of this record stay.
        """
        found = self if self.pages and not seen.pages else seen
        return replace(found, is_over=self.is_over or seen.is_over, failed=self.failed)


def with_signal(signals: tuple[AcceptedSignal, ...], signal: AcceptedSignal) -> tuple[AcceptedSignal, ...]:
    """Return the latest MAX_ACCEPTED_SIGNALS signals, ordered by `at`, with `signal` unless its request id is known."""
    if any(signal.request_id == known.request_id for known in signals):
        return signals
    return tuple(sorted((*signals, signal), key=lambda each: each.at)[-MAX_ACCEPTED_SIGNALS:])


def hashes_of(recipients: tuple[str, ...]) -> str:
    """Return short hashes of recipients' names, sorted and concatenated: 8 hexadecimal digits for each name."""
    names = (name.encode("utf-8", "surrogatepass") for name in recipients)
    return "".join(sorted(hashlib.sha256(name).hexdigest()[:_HASH_LENGTH] for name in names))


def _split(hashes: str) -> list[str]:
    return [hashes[start : start + _HASH_LENGTH] for start in range(0, len(hashes), _HASH_LENGTH)]
