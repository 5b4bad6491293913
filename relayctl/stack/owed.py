"""Owed states in the ledger, jobs on the queues, and dead-lettered jobs of a stack."""

from typing import NamedTuple, Self

from relay.delivery.channel_health import Debts
from relay.failures import Reason
from relay.ledger.debt import CRITICAL, OTHER, shards
from relay.ledger.entry import Entry
from relay.ledger.entry_key import channel_of
from relay.ledger.table import Ledger
from relayctl.dlq.queue import QueueDepth
from relayctl.dlq.reading import Filter, choosing, held_elsewhere
from relayctl.failed_calls import Readings
from relayctl.stack.deployed import Stack

# Rows that are read of a shard of the ledger's index, as the sweeper reads them.
MAX_ROWS = 5000


class UndeliveredJobs(NamedTuple):
    """Approximate numbers of undelivered jobs of all channels of a stack: SQS cannot count by channel."""

    waiting: int  # On retry and chore queue; a share's job stays 36 seconds after its delivery
    dead_lettered: int  # Jobs on the dead-letter queue

    @classmethod
    def of(cls, stack: Stack) -> Self:
        """Read the approximate numbers of waiting and of dead-lettered jobs of a stack from SQS."""
        sqs, outputs = stack.session.client("sqs"), ("RetryQueueUrl", "ChoreQueueUrl", "DeadLetterQueueUrl")
        retry, chore, dead = (QueueDepth.of(sqs, stack.output(name)).about for name in outputs)
        return cls(retry + chore, dead)

    def __str__(self) -> str:
        one, other = self.waiting == 1, self.dead_lettered == 1
        return (
            f"{self.waiting} {'job waits' if one else 'jobs wait'} on the retry and chore queues and "
            f"{self.dead_lettered} {'is' if other else 'are'} dead-lettered, of all channels of the stack"
        )


class Owed(NamedTuple):
    """Owed states and undelivered jobs of one channel, or of all channels of a stack."""

    debts: Debts | None  # Owed states in the ledger; None if the ledger could not be read
    dead_lettered: int  # Number of dead-lettered jobs
    undelivered: UndeliveredJobs  # Approximate numbers of jobs on the queues, of all channels
    problems: list[str]  # Sources that could not be read, in words; then more may be owed

    @classmethod
    def of(cls, stack: Stack, channel: str | None) -> Self:
        """Read what is owed for a channel; None for all. Raises botocore's exceptions if queues cannot be counted."""
        readings, undelivered, debts, dead = Readings(), UndeliveredJobs.of(stack), None, 0
        with readings.reading("ledger"):
            rows = due(Ledger(stack.bounded_table())).items()
            debts = Debts.of(entry for key, entry in rows if channel in {None, channel_of(key)})
        if undelivered.dead_lettered:
            with readings.reading("dead-letter queue"), choosing(stack, Filter(channel=channel)) as choice:
                dead = len(choice.jobs) + len(choice.unreadable)
                if held := choice.depth.held:
                    readings.add("dead-letter queue", problem=held_elsewhere(held))
        return cls(debts, dead, undelivered, readings.problems)

    @property
    def owed(self) -> int:
        """Number of owed states, as far as it is known."""
        return self.debts.owed if self.debts else 0

    def __str__(self) -> str:
        debts = self.debts or Debts()
        found = [
            f"{debts.critical} critical owed" if debts.critical else "",
            f"{debts.other} other owed" if debts.other else "",
            f"{self.dead_lettered} dead-lettered" if self.dead_lettered else "",
            *(f"what is owed for this channel is not known: {each}" for each in self.problems),
        ]
        return "; ".join(filter(None, found))

    def advice(self, name: str) -> str:
        """Return what an operator can do to have all this delivered, or to remove the channel all the same."""
        is_paused = self.debts and self.debts.reasons[Reason.PAUSED]
        ways = [
            f"relayctl incident list --owed --channel {name} names them" if self.owed else "",
            f"relayctl channel resume {name} ends the pause" if is_paused else "",
            f"relayctl dlq replay --channel {name} --yes delivers what is dead-lettered" if self.dead_lettered else "",
            "--drain waits until nothing is owed",
            "--drop-owed removes the channel now",
        ]
        return "; ".join(filter(None, ways))


def due(ledger: Ledger) -> dict[str, Entry]:
    """Return the entries that the ledger's index has as owed or given up, by their keys. Raises LedgerError."""
    # A row that is written during the query can appear twice.
    return {key: each for shard in (*shards(CRITICAL), *shards(OTHER)) for key, each in ledger.due(shard, MAX_ROWS)}
