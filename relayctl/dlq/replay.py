"""relayctl dlq replay: move dead-lettered jobs to the retry queue, and follow them."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import click

from relay.foreign_text import identifier, printable
from relay.incidents.share import MAX_ID_LENGTH
from relay.jobs.queue import Queue
from relay.ledger.table import Ledger
from relayctl import audit, terminal
from relayctl.dlq import reading
from relayctl.dlq.mover import Became, Fate, Moved, follow, move
from relayctl.dlq.reading import Filter, choosing, filtered, nothing_matched, say_held
from relayctl.stack.deployed import Stack, on_stack
from relayctl.terminal import progress

WORDS = {
    Became.DELIVERED: "delivered",
    Became.NOT_OWED: "no longer owed",
    Became.MOVED: "moved to the retry queue",
    Became.WAITING: "waiting on the retry queue",
    Became.DEAD_LETTERED: "dead-lettered again",
    Became.FAILED: "not moved",
    Became.LEFT: "left",
}
_BAD = {Became.DEAD_LETTERED, Became.FAILED, Became.LEFT}
# Outcomes that are counted and not told job by job, unless there is a note.
_SETTLED = {Became.DELIVERED, Became.NOT_OWED, Became.MOVED, Became.LEFT}


@dataclass
class Report:
    """Outcomes of the jobs of one replay."""

    outcomes: dict[int, Moved] = field(default_factory=dict)  # Each job that matches the filters, by its identity
    problem: str | None = None  # Why the jobs could not be followed in the ledger; None if they could, or need not be

    @property
    def moved(self) -> list[Moved]:
        """Jobs that were moved, or could not be."""
        return [each for each in self.outcomes.values() if each.fate.became != Became.LEFT]

    @property
    def is_failure(self) -> bool:
        """True if a job is, or may be, still dead-lettered."""
        return bool(self.problem) or any(each.fate.became in _BAD or each.note for each in self.outcomes.values())

    def counts(self) -> dict[str, int]:
        counts = Counter(each.fate.became for each in self.outcomes.values())
        return {str(name): counts[name] for name in WORDS}

    def sums(self) -> str:
        """Return the number of jobs by outcome in one line of text."""
        counts, always = self.counts(), {Became.DELIVERED, Became.LEFT}
        return ", ".join(f"{counts[name]} {word}" for name, word in WORDS.items() if counts[name] or name in always)


def _result(moved: Moved) -> dict[str, Any]:
    job = moved.job
    members = {"delivery_id": job.delivery_id, "channel": job.channel, "incident_id": job.incident_id, "kind": job.kind}
    return members | moved.fate._asdict() | {"note": moved.note}


def _line(moved: Moved) -> str:
    job, why = moved.job, moved.note or moved.fate.reason or "no attempt yet"
    name = f"{job.delivery_id[:8]}  {job.channel}  {identifier(job.incident_id, MAX_ID_LENGTH)}"
    return printable(f"{name}  {WORDS[moved.fate.became]}: {why}")


@click.command()
@filtered()
@click.option("--yes", is_flag=True, help="Replay. Without --yes, only show which jobs match.")
@click.option("--wait/--no-wait", default=True, help="Wait for the outcome of each job, or exit once all are moved.")
@on_stack
def replay(stack: Stack, wanted: Filter, yes: bool, wait: bool, as_json: bool) -> None:
    """Move dead-lettered jobs to the retry queue, oldest first.

    The worker attempts each job as soon as the channel's rate limit allows it, unless its state was announced or
    superseded meanwhile. The command reports the outcome of each job. It ends once all outcomes are final, or nothing
    changed for a minute.

    \b
    Example:
      relayctl dlq replay --reason upstream
      relayctl dlq replay --reason upstream --newer-than 2d --yes
      relayctl dlq replay --since 12h --no-wait --yes
    """
    report, sums, effects = Report(), dict[str, Any](), stack.effects
    changed: dict[str, Any] | None = None
    try:
        with choosing(stack, wanted) as choice:
            jobs = [held.job for held in choice.jobs if held.job]
            left = (Moved(job, None, Fate(Became.LEFT, job.stamps.reason)) for job in jobs)
            report.outcomes = {id(each.job): each for each in left}
            sums = reading.summary(jobs, choice.depth)
            if jobs and not as_json:
                reading.show_summary(sums)
                say_held(choice.depth)
            if yes and jobs:
                retries = Queue(stack.session.client("sqs"), stack.output("RetryQueueUrl"))
                changed = audit.begin(stack, "dlq replay", filters=wanted.document())
                with progress("moving", f"of {len(jobs)}", effects.clock) as show:
                    for moved in move(choice.queue, retries, choice.jobs, choice.stop.is_set):
                        if not wait and moved.fate.became == Became.WAITING:
                            moved.fate = Fate(Became.MOVED)
                        report.outcomes[id(moved.job)] = moved
                        show(len(report.moved), "")
        if wait and report.moved and not choice.stop.is_set():
            _follow(stack, report)
    finally:
        if sums and (sums["matched"] or as_json):
            _print_report(report, sums, changed, dry_run=not yes, as_json=as_json)
    if not sums["matched"]:
        nothing_matched(choice.depth)
    is_stopped = choice.stop.is_set() and report.counts()[Became.LEFT]
    terminal.fail_if(yes and report.is_failure, is_stopped=is_stopped)


def _follow(stack: Stack, report: Report) -> None:
    effects, of = stack.effects, f"of {len(report.moved)}"
    with terminal.stop_on_interrupt() as stop, progress("following", of, effects.clock) as show:
        found = follow(Ledger(stack.table()), report.moved, effects.clock, effects.sleep, stop.is_set)
        for report.problem in found:
            show(sum(each.fate.became != Became.WAITING for each in report.moved), report.sums())
    if report.problem:
        terminal.say(f"the outcome of the jobs is not known, the ledger cannot be read: {report.problem}")


def _print_report(
    report: Report, sums: dict[str, Any], changed: dict[str, Any] | None, *, dry_run: bool, as_json: bool
) -> None:
    counts = report.counts() | ({"left": 0} if dry_run else {})
    document = changed | {"counts": {"matched": sums["matched"], **counts}} if changed else None
    if as_json:
        results = [] if dry_run else list(map(_result, report.outcomes.values()))
        terminal.document({"dry_run": dry_run, **sums, **counts, "results": results, "audit": document})
        return
    if dry_run:
        click.echo("nothing was moved; add --yes to replay them")
        return
    reading.show_some([_line(each) for each in report.moved if each.note or each.fate.became not in _SETTLED])
    terminal.show_line(printable(report.sums()), indent=2)
    if document:
        audit.say(document)
