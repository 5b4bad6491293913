"""relayctl dlq replay: move dead-lettered jobs to the retry queue, and follow them.

The worker decides if a moved job is still needed (`relay.delivery.needs_signal.judge_job`).
"""

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import click

from relay.jobs.queue import Queue
from relay.ledger.ledger import Ledger
from relayctl import audit, dead_letter_listing, terminal
from relayctl.audit import Audit
from relayctl.dead_letter_filter import described, filtered
from relayctl.dead_letter_mover import DeadLetterMover, Filter
from relayctl.dead_letter_queue import HeldMessage
from relayctl.dead_letter_reading import dead_letters, matching, nothing_matched, say_held, scan, show_summary
from relayctl.progress import progress
from relayctl.replay_follower import Follower
from relayctl.replay_order import PARALLEL_BATCHES
from relayctl.replay_report import Report
from relayctl.stack import Stack, on_stack


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
                sums = dead_letter_listing.summary(report.chosen, depth)
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
