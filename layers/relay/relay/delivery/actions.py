"""Actions: what is to be done next about a state. Pure code."""

from typing import NamedTuple

from relay.errors import Reason
from relay.jobs.outcome import Outcome
from relay.ledger.entry import Entry, Wait


class Settle(NamedTuple):
    """Send nothing: the state is safe already, was overtaken, or changes nothing.

    Attributes:
        outcome: the outcome of the share or job.
        note: the entry to write; None if there is nothing to note.
        ends_pages: the job of this resolve is kept, to confirm the end and to end pages: no other job will.
        queue: the place of a state that is safe on a queue.
    """

    outcome: Outcome
    note: Entry | None = None
    ends_pages: bool = False
    queue: str | None = None


class Revive(NamedTuple):
    """Write the entry: a dead-lettered state is owed again."""

    note: Entry


class DeadLetter(NamedTuple):
    """Give the state up: it is too old, or its channel is gone."""

    reason: Reason


class Send(NamedTuple):
    """Send a signal, unless the channel's rate limit or circuit breaker closes the gate.

    Attributes:
        tries: the number of attempts, at most.
        alone: the only person to be notified; None for all recipients.
    """

    tries: int
    alone: str | None = None


type Action = Settle | Revive | DeadLetter | Wait | Send
