"""Deletion of dead-lettered messages for good, and the jobs among them that announce open critical incidents."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import batched
from typing import Any, NamedTuple

from relay.delivery.task import entry_key_of
from relay.failures.errors import LedgerError
from relay.jobs.job import Job, JobKind
from relay.ledger.ledger import Ledger
from relayctl.dlq.follower import fate
from relayctl.dlq.listing import title
from relayctl.dlq.mover import PARALLEL_BATCHES, Became, Moved, state_of
from relayctl.dlq.queue import MAX_BATCH, DeadLetters, HeldMessage, Run

# Entries that are in memory at the same time.
ENTRIES_AT_ONCE = 100
_NOT_HELD = "not deleted: another reader may have it now; start the command again"


class CriticalJob(NamedTuple):
    """A dead-lettered job that announces an open critical incident.

    Attributes:
        job: The job, without its body.
        is_owed: True if the job's state is still to be announced; None if the ledger could not be read.
        title: Title of the incident; empty if the share has none.
    """

    job: Job
    is_owed: bool | None
    title: str = ""

    @property
    def may_be_owed(self) -> bool:
        """True unless the ledger says that the job's state is announced, or not owed any more."""
        return self.is_owed is not False

    def document(self) -> dict[str, Any]:
        """Return the channel, the incident and the job by their ids, and `is_owed`, as a JSON object for programs."""
        return {
            "channel": self.job.channel,
            "incident_id": self.job.incident_id,
            "title": self.title or None,
            "delivery_id": self.job.delivery_id,
            "received_at": self.job.received_at,
            "still_owed": self.is_owed,
        }


def criticals(
    queue: DeadLetters, held_messages: Sequence[HeldMessage], ledger: Ledger
) -> tuple[list[CriticalJob], str | None]:
    """Return the jobs among these messages that announce open critical incidents, and the ledger's error if it failed.

    Jobs whose state may be owed come first. The state of an incident without an entry in the ledger is owed: a replay
    would announce it. `held_messages` are messages that this run of relayctl keeps invisible to other readers.
    """
    found = [
        (moved, title(queue.envelope(held)))
        for held in held_messages
        if held.job and (moved := _critical(queue, held, held.job))
    ]
    criticals, problem = [], None
    for batch in batched(found, ENTRIES_AT_ONCE, strict=False):
        try:
            entries = ledger.read_many({entry_key_of(moved.job) for moved, _ in batch}) if problem is None else {}
        except LedgerError as error:
            entries, problem = {}, str(error)
        for moved, said in batch:
            entry = entries.get(entry_key_of(moved.job))
            is_over = entry is not None and fate(moved, entry).became in {Became.DELIVERED, Became.NOT_OWED}
            criticals.append(CriticalJob(moved.job, None if entry is None else not is_over, said))
    return sorted(criticals, key=lambda each: not each.may_be_owed), problem


def _critical(queue: DeadLetters, held: HeldMessage, job: Job) -> Moved | None:
    state = state_of(job, queue.envelope(held))
    return Moved(job, state.without_alerts()) if state is not None and state.is_critical else None


@dataclass
class Drop:
    """Progress of a deletion.

    Attributes:
        chosen: The messages to delete.
        deleted: The deleted messages.
        problems: Messages that could not be deleted, each with the error.
        gone: Number of messages that the operator was shown, and that left the queue before the operator agreed.
    """

    chosen: Sequence[HeldMessage] = ()
    deleted: list[HeldMessage] = field(default_factory=list)
    problems: list[tuple[HeldMessage, str]] = field(default_factory=list)
    gone: int = 0

    @property
    def dropped(self) -> int:
        """Number of deleted messages."""
        return len(self.deleted)

    @property
    def left(self) -> int:
        """Number of chosen messages that relayctl has not tried to delete."""
        return len(self.chosen) - self.dropped - len(self.problems)

    def counts(self) -> dict[str, int]:
        """Return the number of messages by outcome."""
        return {"dropped": self.dropped, "failed": len(self.problems), "gone": self.gone, "left": self.left}

    def delete(self, queue: DeadLetters, map_batches: Run, stopping: Callable[[], bool]) -> Iterator[None]:
        """Delete the chosen messages in batches, some batches in parallel; yield after each batch.

        `map_batches` calls a function for each batch, as `map` does. `stopping` is asked before each wave of parallel
        batches: if it returns True, no further wave begins.
        """
        for wave in batched(self.chosen, MAX_BATCH * PARALLEL_BATCHES, strict=False):
            if stopping():
                return
            queue.renew()
            held = [each for each in wave if queue.is_held(each)]
            self.problems += [(each, _NOT_HELD) for each in wave if each not in held]
            batches = list(batched(held, MAX_BATCH, strict=False))
            for batch, problems in zip(batches, map_batches(queue.delete_batch, batches), strict=True):
                failed = [(each, problem) for each, problem in zip(batch, problems, strict=True) if problem]
                self.problems += failed
                self.deleted += [each for each, problem in zip(batch, problems, strict=True) if not problem]
                yield

    def record(self, ledger: Ledger, map_jobs: Run) -> str | None:
        """Record in the ledger which states were dropped, so that they no longer count as given up.

        `map_jobs` calls a function for each job, as `map` does. Returns the ledger's error if a record failed, else
        None.
        """

        def record(job: Job) -> str | None:
            at = job.dead_lettered_seconds or 0.0
            try:
                ledger.change(entry_key_of(job), lambda entry: entry.dropped(at))
            except LedgerError as error:
                return str(error)
            return None

        jobs = [held.job for held in self.deleted if held.job and held.job.kind == JobKind.SIGNAL]
        return next(filter(None, list(map_jobs(record, jobs))), None)
