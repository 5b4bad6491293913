"""Actions that the delivery can take next for a state. `delivery.next_action` chooses one. Pure code."""

from typing import NamedTuple

from relay.failures.reasons import Reason
from relay.jobs.job import Job
from relay.jobs.outcome import Outcome
from relay.ledger.entry import Entry
from relay.ledger.wait import Wait


class Settle(NamedTuple):
    """Send nothing: the state is announced, queued, dead-lettered or superseded already, or changes nothing.

    Attributes:
        outcome: Outcome of the share or job.
        note: Ledger entry to write; None to write nothing.
        job: Job to queue: the question to BigPanda if the incident is over, or the job that terminates its pages; None
            for none.
        queue: `dead_letter` if the state is on the dead-letter queue, `ledger` if it waits in the entry; else None.
    """

    outcome: Outcome
    note: Entry | None = None
    job: Job | None = None
    queue: str | None = None


class Revive(NamedTuple):
    """Write to the ledger that a dead-lettered state is owed again, since an operator replayed its job.

    Attributes:
        note: Ledger entry to write.
    """

    note: Entry


class DeadLetter(NamedTuple):
    """Dead-letter the state: it expired, or its channel was removed or is in shadow mode.

    Attributes:
        reason: `expired` (older than the channel allows), `channel_removed` or `shadowed`.
    """

    reason: Reason


class Send(NamedTuple):
    """Send a signal, unless the channel's rate limit or circuit breaker makes it wait.

    Attributes:
        max_attempts: Largest number of in-request attempts.
        only_recipient: Name of the only recipient, who acknowledged the incident; None for all recipients.
    """

    max_attempts: int
    only_recipient: str | None = None


type Action = Settle | Revive | DeadLetter | Wait | Send
