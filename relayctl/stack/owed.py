"""Account of what a stack owes: states in the ledger, jobs on the queues, and dead-lettered jobs, by channel."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Self

from relay.failures import Reason
from relay.foreign_text import identifier
from relay.jobs.job import Job
from relay.ledger.debt import CRITICAL, OTHER, shards
from relay.ledger.entry import Entry
from relay.ledger.entry_key import channel_of, incident_of
from relay.ledger.table import Ledger
from relayctl.channel.revocation import bounded_table
from relayctl.dlq import reading
from relayctl.readings import Readings
from relayctl.stack.deployed import Stack

# Rows that are read of a shard of the ledger's index, as the sweeper reads them.
MAX_ROWS = 5000
# Criticals that a message names.
MAX_NAMED = 10


_COUNTS: tuple[Any, ...] = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesDelayed",
    "ApproximateNumberOfMessagesNotVisible",
)


class QueueDepth(NamedTuple):
    """Messages on one queue; SQS counts each message in one of the three.

    Attributes:
        visible: Messages that a worker can receive now.
        delayed: Messages that become visible later.
        in_flight: Messages that a worker has received.
    """

    visible: int
    delayed: int
    in_flight: int

    @classmethod
    def of(cls, stack: Stack, output: str) -> Self:
        """Read the approximate numbers of messages on a queue from SQS.

        `output` is the name of the stack output that has the queue's URL.
        """
        url = stack.output(output)
        found: dict[Any, str] = stack.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=_COUNTS)["Attributes"]
        return cls(*(int(found[name]) for name in _COUNTS))


class UndeliveredJobs(NamedTuple):
    """Approximate numbers of undelivered jobs of all channels of a stack: SQS cannot count by channel.

    Attributes:
        waiting: Jobs on the retry queue and the chore queue. The job of a share that was delivered at once stays on
            the retry queue for 36 seconds.
        dead_lettered: Jobs on the dead-letter queue.
    """

    waiting: int
    dead_lettered: int

    @classmethod
    def of(cls, stack: Stack) -> Self:
        """Read the approximate numbers of waiting and of dead-lettered jobs of a stack from SQS."""
        retry, chore, dead = (
            sum(QueueDepth.of(stack, output)) for output in ("RetryQueueUrl", "ChoreQueueUrl", "DeadLetterQueueUrl")
        )
        return cls(retry + chore, dead)

    def __str__(self) -> str:
        """Return the numbers of waiting and of dead-lettered jobs in words."""
        one, other = self.waiting == 1, self.dead_lettered == 1
        return (
            f"{self.waiting} {'job waits' if one else 'jobs wait'} on the retry and chore queues and "
            f"{self.dead_lettered} {'is' if other else 'are'} dead-lettered, of all channels of the stack"
        )


class OwedStates(NamedTuple):
    """States that are owed for one channel, and its dead-lettered jobs.

    Attributes:
        criticals: Ids of the incidents with an owed or dead-lettered critical.
        others: Number of other owed states.
        paused: Number of owed states that wait for the end of a pause.
        dead_lettered: Number of dead-lettered jobs.
        owed: Number of all owed states.
    """

    criticals: tuple[str, ...] = ()
    others: int = 0
    paused: int = 0
    dead_lettered: int = 0
    owed: int = 0

    @classmethod
    def of(cls, entries: Mapping[str, Entry], dead: list[Job | None]) -> Self:
        """Return what is owed for a channel, from the entries of its incidents by key, and its dead-lettered jobs."""
        # A state that was given up keeps its row; its job is among the dead-lettered ones.
        owed = {
            name: entry.debt
            for name, entry in entries.items()
            if entry.debt.since is not None and not entry.is_given_up
        }
        criticals = [incident_of(name) for name, debt in owed.items() if debt.is_critical]
        paused = sum(debt.reason == Reason.PAUSED for debt in owed.values())
        given_up = (job.incident_id for job in dead if job and job.stamps.status == "critical")
        named = tuple(dict.fromkeys([*criticals, *given_up]))
        return cls(named, len(owed) - len(criticals), paused, len(dead), len(owed))

    def __str__(self) -> str:
        """Return in words what is owed, with the criticals by their ids."""
        named = ", ".join(map(identifier, self.criticals[:MAX_NAMED]))
        more = f" and {len(self.criticals) - MAX_NAMED} more" if len(self.criticals) > MAX_NAMED else ""
        found = [
            f"{len(self.criticals)} critical, owed or dead-lettered: {named}{more}" if self.criticals else "",
            f"{self.others} other owed" if self.others else "",
            f"{self.dead_lettered} dead-lettered" if self.dead_lettered else "",
        ]
        return "; ".join(filter(None, found))

    def advice(self, name: str) -> str:
        """Return what an operator can do to have all this delivered, or to remove the channel all the same."""
        ways = [
            f"relayctl channel resume {name} ends the pause" if self.paused else "",
            f"relayctl dlq replay --channel {name} --yes delivers what is dead-lettered" if self.dead_lettered else "",
            "--drain waits until nothing is owed",
            "--drop-owed removes the channel now",
        ]
        return "; ".join(filter(None, ways))

    def document(self) -> dict[str, Any]:
        """Return what is owed as a JSON object for programs."""
        return self._asdict()


class Account(NamedTuple):
    """Account of what a stack owes.

    Attributes:
        channels: What is owed, by channel; "" for dead-lettered messages that are no jobs of the relay.
        undelivered: Approximate numbers of jobs on the queues.
        problems: Sources that could not be read, in words; then more may be owed.
        has_ledger: False if the ledger could not be read, so that the numbers of owed states are not known.
    """

    channels: Mapping[str, OwedStates]
    undelivered: UndeliveredJobs
    problems: list[str]
    has_ledger: bool

    @classmethod
    def of(cls, stack: Stack) -> Self:
        """Read what the stack owes. Raises botocore's exceptions if the queues cannot be counted."""
        readings, undelivered = Readings(), UndeliveredJobs.of(stack)
        # A row that is written during the query can appear twice.
        rows = readings.read("ledger", lambda: dict(due(Ledger(bounded_table(stack)))))
        entries, dead = defaultdict[str, dict[str, Entry]](dict), defaultdict[str, list[Job | None]](list)
        for key, entry in (rows or {}).items():
            entries[channel_of(key)][key] = entry
        if undelivered.dead_lettered:
            jobs, held = readings.read("dead-letter queue", lambda: reading.all_jobs(stack)) or ([], 0)
            for job in jobs:
                dead[job.channel if job else ""].append(job)
            if held:
                readings.add("dead-letter queue", problem=reading.held_elsewhere(held))
        names = sorted({*entries, *dead})
        found = {each: OwedStates.of(entries[each], dead[each]) for each in names}
        return cls(found, undelivered, readings.problems, rows is not None)


def due(ledger: Ledger) -> Iterator[tuple[str, Entry]]:
    """Yield the entries that the ledger's index has as owed or given up, with their keys. Raises LedgerError."""
    for shard in (*shards(CRITICAL), *shards(OTHER)):
        yield from ledger.due(shard, MAX_ROWS)
