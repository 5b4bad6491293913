"""Adapters that a delivery uses, with its caller's deadline."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relay.deadline import Deadline
    from relay.delivery.trigger_retries import RetryingSender
    from relay.jobs.outbox import Outbox
    from relay.ledger.channel_rate_limiter import RateLimiter
    from relay.ledger.ledger import Ledger


# While the ledger is down: shortest time between two live criticals of one incident from one function.
UNGUARDED_AGAIN_SECONDS = 120.0
# Bounds the memory of a function during a long outage of the ledger.
MAX_UNGUARDED = 1000


@dataclass(frozen=True)
class Unguarded:
    """Memory of the signals that this function sent without the ledger.

    Attributes:
        sent_at: Time of the last such signal by the entry's key (epoch seconds).
    """

    sent_at: dict[str, float] = field(default_factory=dict)

    def was_sent(self, entry_key: str, now: float) -> bool:
        """True if a signal of an incident was sent without the ledger within UNGUARDED_AGAIN_SECONDS before `now`.

        `entry_key` is the key of the incident's ledger entry, and `now` is in epoch seconds.
        """
        return now - self.sent_at.get(entry_key, 0.0) < UNGUARDED_AGAIN_SECONDS

    def forget(self, entry_key: str) -> None:
        """Forget that a signal of an incident was sent without the ledger.

        `entry_key` is the key of the incident's ledger entry.
        """
        self.sent_at.pop(entry_key, None)

    def record(self, entry_key: str, now: float) -> None:
        """Remember that a signal of an incident was sent without the ledger, and may have been accepted.

        `entry_key` is the key of the incident's ledger entry, and `now` is in epoch seconds.
        """
        if len(self.sent_at) >= MAX_UNGUARDED:
            self.sent_at.clear()
        self.sent_at[entry_key] = now


@dataclass(frozen=True)
class Services:
    """Adapters that the steps of a delivery call, and its caller's deadline.

    Attributes:
        sender: Sends signals.
        ledger: The entries of incidents. Each call has LEDGER_SECONDS, even after the deadline.
        rate_limiter: Rate limits and circuit breakers. Each call has LIMITER_SECONDS, even after the deadline.
        outbox: The queues of jobs.
        clock: The time in epoch seconds.
        deadline: "Deadline" of the caller.
        unguarded: Memory of signals that this function sent without the ledger.
    """

    sender: "RetryingSender"
    ledger: "Ledger"
    rate_limiter: "RateLimiter"
    outbox: "Outbox"
    clock: Callable[[], float]
    deadline: "Deadline"
    unguarded: Unguarded
