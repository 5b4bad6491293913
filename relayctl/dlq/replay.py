"""relayctl dlq replay: move dead-lettered jobs to the retry queue, and follow them.

The worker decides if a moved job is still needed (`relay.delivery.step.judge_job`).
"""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import click

from relay.foreign_text import identifier, printable
from relay.incidents.share import MAX_ID_LENGTH
from relay.jobs.job import Job
from relay.jobs.queue import Queue
from relay.ledger.table import Ledger
from relayctl import audit, terminal
from relayctl.audit import Audit
from relayctl.dlq import listing
from relayctl.dlq.follower import Follower
from relayctl.dlq.mover import PARALLEL_BATCHES, Became, DeadLetterMover, Fate, Filter, Moved
from relayctl.dlq.queue import HeldMessage
from relayctl.dlq.reading import (
    dead_letters,
    described,
    filtered,
    matching,
    nothing_matched,
    say_held,
    scan,
    show_summary,
)
from relayctl.progress import progress
from relayctl.stack.deployed import Stack, on_stack

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


@click.command()
@filtered()
@click.option("--yes", is_flag=True, help="Replay. Without --yes, only show which jobs match.")
@click.option(
    "--rate",
    type=click.FloatRange(0.01, 500),
    metavar="N",
    help="Move at most N jobs a second. Default: as fast as SQS allows. The channel's rate limit holds in any case.",
)
@click.option("--wait/--no-wait", default=True, help="Wait for the outcome of each job, or exit once all are moved.")
@on_stack
def replay(
    stack: Stack, wanted: Filter, limit: int | None, yes: bool, rate: float | None, wait: bool, as_json: bool
) -> None:
    """Move dead-lettered jobs to the retry queue, oldest first.

    The worker attempts each job as soon as the channel's rate limit allows it, unless its state was announced or
    superseded meanwhile. The command reports the outcome of each job. It ends once all outcomes are final, or nothing
    changed for a minute. Ctrl-C stops after the current batch.

    A job has to match all filters. A replay prints an audit line on stderr: one line of JSON.

    Exit codes: 0 all moved and none failed, 1 some failed, 2 usage, 3 nothing matched, 130 interrupted.

    \b
    Example:
      relayctl dlq replay --reason upstream
      relayctl dlq replay --reason upstream --newer-than 2d --yes
      relayctl dlq replay --since 12h --rate 20 --no-wait --yes
    """
    report, sums, chosen = Report(), dict[str, Any](), list[HeldMessage]()
    changed: Audit | None = None
    with ThreadPoolExecutor(PARALLEL_BATCHES) as pool, terminal.stop_on_interrupt() as stop:
        queue = dead_letters(stack, pool.map)
        depth = queue.depth()
        try:
            with queue.holding():
                found = scan(queue, depth, stop, stack.effects.clock)
                chosen = matching(found, wanted, limit)
                report.chosen = [held.job for held in chosen if held.job]
                # Other operators may read and replay the jobs that do not match.
                queue.let_go(set(found) - set(chosen))
                sums = listing.summary(report.chosen, depth)
                if chosen and not as_json:
                    show_summary(sums)
                    say_held(depth)
                if yes and chosen:
                    mover = DeadLetterMover(
                        queue, _retries(stack), stack.effects.clock, stack.effects.sleep, rate=rate, run=pool.map
                    )
                    changed = Audit.begin(stack, "dlq replay", filters=described(wanted, limit))
                    _move(mover, chosen, stop, report, stack.effects.clock, is_followed=wait)
            if wait and report.moved and not stop.is_set():
                _follow(stack, stop, report)
        finally:
            if sums and (chosen or as_json):
                _print_report(report, sums, changed, dry_run=not yes, as_json=as_json)
    if not chosen:
        nothing_matched(depth)
    if yes and stop.is_set() and report.left:
        click.get_current_context().exit(terminal.INTERRUPTED)
    if yes and report.is_failure:
        click.get_current_context().exit(1)


def _retries(stack: Stack) -> Queue:
    return Queue(stack.sqs, stack.output("RetryQueueUrl"))


def _move(
    mover: DeadLetterMover,
    chosen: list[HeldMessage],
    stop: threading.Event,
    report: Report,
    clock: Callable[[], float],
    *,
    is_followed: bool,
) -> None:
    failed = 0
    with progress("moving", len(chosen), clock) as show:
        for moved in mover.move(chosen, stop.is_set):
            report.add(moved, is_followed=is_followed)
            failed += moved.move_error is not None
            show(len(report.moved), f"{failed} not moved" if failed else "")


def _follow(stack: Stack, stop: threading.Event, report: Report) -> None:
    effects = stack.effects
    follower = Follower(Ledger(stack.table()), effects.clock, effects.sleep)
    with progress("following", len(report.moved), effects.clock) as show:
        for changed in follower.follow(report.moved, stop.is_set):
            report.change(changed)
            show(sum(fate.is_settled for fate in report.fates), report.sums())
    report.problem = follower.problem
    if report.problem:
        terminal.say(f"the outcome of the jobs is not known, the ledger cannot be read: {report.problem}")


def _print_report(report: Report, sums: dict[str, Any], changed: Audit | None, *, dry_run: bool, as_json: bool) -> None:
    """Print the outcomes, and the audit of the change; `changed` is None if the move did not begin."""
    counts = report.counts() | ({"left": 0} if dry_run else {})
    document = changed.document({"matched": sums["matched"], **counts}) if changed else None
    if as_json:
        results = [] if dry_run else report.results()
        click.echo(json.dumps({"dry_run": dry_run, **sums, **counts, "results": results, "audit": document}))
        return
    if dry_run:
        click.echo("nothing was moved; add --yes to replay them")
        return
    for line in report.lines():
        terminal.show_line(line, indent=2)
    if document:
        audit.say(document)
