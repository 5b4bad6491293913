"""The ledger and the pace, asked within the time there is: they guard what is sent, and must not hold it up."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from relay.deadline import Deadline
from relay.errors import LedgerError, Reason
from relay.ledger import Entry, Ledger
from relay.pace import Closed, Pace, Rule, Slot, Ticket

# The ledger is asked in milliseconds; when it takes this long, it is down.
LEDGER_SECONDS = 1.0
# Others that change an entry at the same time are few, and each of them wins only once.
MAX_RACES = 6


@dataclass(frozen=True)
class Guard:
    """Asks the ledger and the pace."""

    ledger: Ledger
    pace: Pace

    def read(self, name: str, deadline: Deadline) -> Entry:
        """The entry of that key. Raises LedgerError."""
        return _in_time(partial(self.ledger.read, name), deadline)

    def write(self, name: str, before: Entry, after: Entry, deadline: Deadline) -> Entry | None:
        """The entry as it was written, or None if it was changed since it was read. Raises LedgerError."""
        return _in_time(partial(self.ledger.write, name, before, after), deadline)

    def store(self, name: str, stored_name: str, envelope: str, deadline: Deadline, *, lasts: float) -> None:
        """Store the job of an entry's debt for `lasts` seconds. Raises LedgerError."""
        _in_time(partial(self.ledger.store, name, stored_name, envelope, lasts=lasts), deadline)

    def record(self, name: str, entry: Entry | None, change: Callable[[Entry], Entry], deadline: Deadline) -> bool:
        """Write what came of a signal, whatever others write meanwhile; false if the ledger can't take it.

        `entry` is as it was read last, None if it was not.
        """
        try:
            for _ in range(MAX_RACES):
                entry = entry or self.read(name, deadline)
                after = change(entry)
                if after == entry or self.write(name, entry, after, deadline):
                    return True
                entry = None
        except LedgerError:
            return False
        return False

    def enter(self, rules: tuple[Rule, ...], deadline: Deadline, *, urgent: bool, slot: Slot | None) -> Ticket | Closed:
        """Leave to signal; given where the pace can't be asked, since a page is worth more than a pace, and counted."""
        enter = partial(self.pace.enter, rules, urgent=urgent, slot=slot)
        try:
            return deadline.run(enter, part="pace", at_most=LEDGER_SECONDS)
        except (LedgerError, TimeoutError):
            return Ticket({}, is_unasked=True)

    def leave(self, ticket: Ticket, deadline: Deadline) -> None:
        """Give back what was taken: nothing was sent."""
        _quietly(partial(self.pace.leave, ticket), deadline)

    def report(
        self, rules: tuple[Rule, ...], ticket: Ticket, deadline: Deadline, failure: tuple[Reason, float | None] | None
    ) -> None:
        """Tell the circuit what came of a signal: the reason of its failure, and what Retry-After asked for."""
        reason, retry_after = failure or (None, None)
        _quietly(partial(self.pace.report, rules, ticket, reason, retry_after), deadline)


def _in_time[T](ask: Callable[[], T], deadline: Deadline) -> T:
    try:
        return deadline.run(ask, part="ledger", at_least=LEDGER_SECONDS, at_most=LEDGER_SECONDS)
    except TimeoutError:
        raise LedgerError("no answer in time") from None


def _quietly(tell: Callable[[], None], deadline: Deadline) -> None:
    """What the pace can't be told is not worth a word: it only serves."""
    try:
        deadline.run(tell, part="pace", at_most=LEDGER_SECONDS)
    except (LedgerError, TimeoutError):
        return
