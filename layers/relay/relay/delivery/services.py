"""Services: all that a delivery uses outside itself, bound to the time that its caller waits."""

from collections.abc import Callable
from dataclasses import dataclass, field

from relay.deadline import Deadline
from relay.delivery.retries import Sender
from relay.jobs.outbox import Keeper
from relay.ledger.ledger import Ledger
from relay.ledger.pace import Pace

# While the ledger is down, a function sends live criticals of one incident no more often than this.
UNGUARDED_AGAIN_SECONDS = 120.0
MAX_UNGUARDED = 1000


@dataclass(frozen=True)
class Unguarded:
    """Memory of the signals that this function sent without asking the ledger, by the entry's key, in epoch seconds."""

    sent_at: dict[str, float] = field(default_factory=dict)

    def was_sent(self, name: str, now: float) -> bool:
        """True if a signal of that incident was sent a moment ago."""
        return now - self.sent_at.get(name, 0.0) < UNGUARDED_AGAIN_SECONDS

    def forget(self, name: str) -> None:
        """Forget that a signal of that incident was sent."""
        self.sent_at.pop(name, None)

    def note(self, name: str, now: float) -> None:
        """Note that a signal of that incident was sent, or may have been."""
        if len(self.sent_at) >= MAX_UNGUARDED:
            self.sent_at.clear()
        self.sent_at[name] = now


@dataclass(frozen=True)
class Services:
    """Adapters of a delivery, bound to its caller's deadline.

    Attributes:
        sender: sends signals.
        ledger: the entries of incidents, asked within the deadline.
        pace: rate limits and circuit breakers, asked within the deadline.
        keeper: the queues.
        clock: gives epoch seconds.
        deadline: the time that the caller waits.
        unguarded: the incidents whose signals this function sent without asking the ledger.
    """

    sender: Sender
    ledger: Ledger
    pace: Pace
    keeper: Keeper
    clock: Callable[[], float]
    deadline: Deadline
    unguarded: Unguarded
