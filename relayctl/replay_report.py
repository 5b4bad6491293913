"""Report of a replay: the outcome of each job, as text and as JSON objects."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from relay.foreign_text import identifier, printable
from relay.incidents.json_fields import MAX_ID_LENGTH
from relay.jobs.job import Job
from relayctl.dead_letter_mover import Became, Fate, Moved

# Jobs that are printed one by one; --json has all.
MAX_LINES = 20
WORDS = {
    Became.DELIVERED: "delivered",
    Became.NOT_OWED: "no longer owed",
    Became.MOVED: "moved to the retry queue",
    Became.WAITING: "waiting on the retry queue",
    Became.DEAD_LETTERED: "dead-lettered again",
    Became.FAILED: "not moved",
}
LEFT = "left"


@dataclass
class Report:
    """Outcomes of the jobs of one replay.

    Attributes:
        chosen: The jobs that match the filters, in the order of the replay.
        moved: The results of moving a job's message to the retry queue, failures too.
        fates: The outcome of each of `moved`, in the same order.
        problem: Reason why the jobs could not be followed in the ledger; None if they could, or with --no-wait.
    """

    chosen: Sequence[Job] = ()
    moved: list[Moved] = field(default_factory=list)
    fates: list[Fate] = field(default_factory=list)
    problem: str | None = None

    def add(self, moved: Moved, *, is_followed: bool) -> None:
        """Add the result of moving a job; `is_followed` is False if its outcome will not be looked up (--no-wait)."""
        self.moved.append(moved)
        fate = moved.first_fate
        is_over = fate.became == Became.WAITING and not is_followed
        self.fates.append(Fate(Became.MOVED) if is_over else fate)

    def change(self, fates: Mapping[int, Fate]) -> None:
        """Set the outcomes of jobs; the keys of `fates` are their indexes in `moved`."""
        for place, fate in fates.items():
            self.fates[place] = fate

    @property
    def left(self) -> int:
        """Number of chosen jobs that the replay has not tried to move."""
        return len(self.chosen) - len(self.moved)

    @property
    def is_failure(self) -> bool:
        """True if a job is, or may be, still dead-lettered."""
        bad = {Became.DEAD_LETTERED, Became.FAILED}
        is_bad = any(fate.became in bad for fate in self.fates) or any(each.deletion_error for each in self.moved)
        return bool(self.left) or is_bad or self.problem is not None

    def counts(self) -> dict[str, int]:
        """Return the number of jobs by outcome."""
        counts = Counter(str(fate.became) for fate in self.fates)
        return {str(name): counts[str(name)] for name in WORDS} | {LEFT: self.left}

    def results(self) -> list[dict[str, Any]]:
        """Return the outcome of each job as a JSON object; the jobs that were not tried come last."""
        tried = {id(each.job) for each in self.moved}
        done = [_result(each.job, fate, each) for each, fate in zip(self.moved, self.fates, strict=True)]
        left = [job for job in self.chosen if id(job) not in tried]
        return [*done, *(_result(job, None, None) for job in left)]

    def lines(self) -> Iterator[str]:
        """Yield a line for each job that needs attention, then the counts."""
        found = [line for line in map(_line, self.moved, self.fates) if line]
        yield from found[:MAX_LINES]
        if len(found) > MAX_LINES:
            yield f"and {len(found) - MAX_LINES} more like these; --json lists all"
        yield printable(self.sums())

    def sums(self) -> str:
        """Return the number of jobs by outcome in one line of text.

        For waiting and for dead-lettered jobs, the line also has the number of jobs by reason.
        """
        counts = self.counts()
        always = {Became.DELIVERED, LEFT}
        words: dict[str, str] = {**{str(name): word for name, word in WORDS.items()}, LEFT: LEFT}
        return ", ".join(
            f"{counts[name]} {word}{self._reasons(name)}"
            for name, word in words.items()
            if counts[name] or name in always
        )

    def _reasons(self, name: str) -> str:
        if name not in {Became.WAITING, Became.DEAD_LETTERED}:
            return ""
        reasons = Counter(fate.reason or "no attempt yet" for fate in self.fates if fate.became == name)
        said = ", ".join(f"{reason} {count}" for reason, count in sorted(reasons.items()))
        return f" ({said})" if said else ""


def _result(job: Job, fate: Fate | None, moved: Moved | None) -> dict[str, Any]:
    return {
        "delivery_id": job.delivery_id,
        "channel": job.channel,
        "incident_id": job.incident_id,
        "kind": job.kind,
        "became": fate.became if fate else LEFT,
        "reason": fate.reason if fate else job.stamps.reason,
        "request_id": fate.request_id if fate else None,
        "note": (moved.move_error or moved.deletion_error) if moved else None,
    }


def _line(moved: Moved, fate: Fate) -> str | None:
    match fate.became:
        case Became.FAILED:
            said = f"not moved: {moved.move_error}"
        case Became.DEAD_LETTERED:
            said = f"dead-lettered again: {fate.reason or 'its reason is in dlq list'}"
        case Became.WAITING:
            said = f"waits on the retry queue: {fate.reason or 'no attempt yet'}"
        case _ if moved.deletion_error:
            said = moved.deletion_error
        case _:
            return None
    job = moved.job
    return printable(f"{job.delivery_id[:8]}  {job.channel}  {identifier(job.incident_id, MAX_ID_LENGTH)}  {said}")
