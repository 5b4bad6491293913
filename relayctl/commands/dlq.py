"""relayctl dlq: list, show and replay dead-lettered jobs."""

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import wraps
from typing import Any, NoReturn

import click
from rich.console import Console

from relay.delivery.replay import Filter, Replay
from relay.delivery.replay_follower import Follower
from relay.delivery.replay_order import PARALLEL_BATCHES, in_order
from relay.errors import Reason
from relay.jobs.dead_letters import DeadLetters, Depth, Held, Run
from relay.jobs.queue import Queue
from relay.ledger.ledger import Ledger
from relayctl import dead_letter_listing, terminal
from relayctl.moments import Since
from relayctl.replay_report import Report, progress
from relayctl.stack import Stack, on_stack


@click.group(short_help="List, show and replay dead-lettered jobs.")
def dlq() -> None:
    """The dead-letter queue: jobs that xMatters or BigPanda refused, or did not accept in time."""


def _filtered(verb: Callable[..., None]) -> Callable[..., None]:
    """Add the filters to a verb, which is called with `wanted` and `limit`."""

    @click.option("--channel", metavar="NAME", help="Only jobs of this channel.")
    @click.option("--incident", metavar="ID", help="Only jobs of this incident.")
    @click.option(
        "--reason",
        type=click.Choice([reason.value for reason in Reason]),
        metavar="REASON",
        help=f"Only jobs with this reason: {', '.join(Reason)}.",
    )
    @click.option(
        "--since",
        type=Since(),
        metavar="AGE|TIME",
        help="Only jobs of shares since: 90m, 12h, 7d or a time.",
    )
    @click.option("--limit", type=click.IntRange(1), metavar="N", help="At most N jobs, the oldest first.")
    @wraps(verb)
    def wrapped(
        channel: str | None, incident: str | None, reason: str | None, since: float | None, **arguments: Any
    ) -> None:
        verb(wanted=Filter(channel, incident, reason, since), **arguments)

    return wrapped


@dlq.command("list")
@_filtered
@on_stack
def list_(stack: Stack, wanted: Filter, limit: int | None, as_json: bool) -> None:
    """List dead-lettered jobs, oldest first.

    Other readers cannot receive the messages while relayctl reads them. An incident id that is not a single word is
    quoted; --json has the id unchanged.

    \b
    Example:
      relayctl dlq list --channel payments --since 12h
    """
    with _reading(_dead_letters(stack)) as (depth, found):
        pass
    matching = _matching(found, wanted, limit)
    unreadable = [held for held in found if held.job is None] if wanted == Filter() else []
    shown = [*matching, *unreadable][:limit]
    if as_json:
        click.echo(json.dumps(dead_letter_listing.listing(shown, depth)))
    if not shown:
        _nothing_matched(depth)
    if not as_json:
        _print_list(shown)
        click.echo(f"{len(shown)} of about {depth.about}", err=True)
        _say_held(depth)


def _print_list(shown: list[Held]) -> None:
    jobs = [held.job for held in shown if held.job]
    if jobs:
        console = terminal.output()
        console.print(dead_letter_listing.table(jobs, datetime.now(UTC), console.width))
    for held in shown[len(jobs) :]:
        terminal.show_line(dead_letter_listing.unreadable(held), indent=2)


def _not_empty(_: click.Context, __: click.Parameter, value: str) -> str:
    """Raise BadParameter for an empty id, which is the beginning of every id."""
    if not value.strip():
        raise click.BadParameter("the id is empty; give a delivery id or a message id, or the beginning of one")
    return value


@dlq.command()
@click.argument("identity", metavar="ID", callback=_not_empty)
@on_stack
def show(stack: Stack, identity: str, as_json: bool) -> None:
    """Show one message with its body.

    ID is a delivery id or a message id, or the beginning of one.

    \b
    Example:
      relayctl dlq show 9f2c41d0
    """
    queue = _dead_letters(stack)
    with _reading(queue) as (depth, found):
        matching = [held for held in found if dead_letter_listing.is_called(held, identity)]
        documents = [dead_letter_listing.whole_document(held, queue.envelope(held)) for held in matching]
    if as_json:
        click.echo(json.dumps({"messages": documents}))
    if not matching:
        _nothing_matched(depth)
    if not as_json:
        click.echo("\n\n".join(map(dead_letter_listing.text, documents)))


@dlq.command()
@_filtered
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

    \b
    Example:
      relayctl dlq replay --reason upstream
      relayctl dlq replay --reason upstream --yes
      relayctl dlq replay --since 12h --rate 20 --no-wait --yes
    """
    report, sums, matching = Report(), dict[str, Any](), list[Held]()
    with ThreadPoolExecutor(PARALLEL_BATCHES) as pool, terminal.stop_on_interrupt() as stop:
        queue = _dead_letters(stack, pool.map)
        depth = queue.depth()
        try:
            with queue.holding():
                found = _scan(queue, depth.about, stop)
                matching = _matching(found, wanted, limit)
                report.chosen = [held.job for held in matching if held.job]
                # Other operators may read and replay the jobs that do not match.
                queue.let_go(set(found) - set(matching))
                sums = dead_letter_listing.summary(report.chosen, depth)
                if matching and not as_json:
                    _print_summary(sums)
                    _say_held(depth)
                if yes and matching:
                    moving = Replay(
                        queue, _retries(stack), stack.effects.clock, stack.effects.sleep, rate=rate, run=pool.map
                    )
                    _move(moving, matching, stop, report, stack.effects.clock, is_followed=wait)
            if wait and report.moved and not stop.is_set():
                _follow(stack, stop, report)
        finally:
            if sums and (matching or as_json):
                _print_report(report, sums, dry_run=not yes, as_json=as_json)
    if not matching:
        _nothing_matched(depth)
    if yes and stop.is_set() and report.left:
        click.get_current_context().exit(terminal.INTERRUPTED)
    if yes and report.is_failure:
        click.get_current_context().exit(1)


def _print_summary(sums: dict[str, Any]) -> None:
    for line in dead_letter_listing.summary_lines(sums):
        terminal.show_line(line, indent=dead_letter_listing.SUMMARY_INDENT)


def _dead_letters(stack: Stack, run: Run = map) -> DeadLetters:
    return DeadLetters(stack.sqs, stack.output("DeadLetterQueueUrl"), stack.effects.clock, run)


def _retries(stack: Stack) -> Queue:
    return Queue(stack.sqs, stack.output("RetryQueueUrl"))


@contextmanager
def _reading(queue: DeadLetters) -> Iterator[tuple[Depth, list[Held]]]:
    """Hold the messages that can be received while the block runs."""
    depth = queue.depth()
    with terminal.stop_on_interrupt() as stop, queue.holding():
        yield depth, _scan(queue, depth.about, stop)


def _scan(queue: DeadLetters, about: int, stop: threading.Event) -> list[Held]:
    found = []
    with _status() as say:
        for held in queue.scan():
            found.append(held)
            say(f"reading the queue … {len(found)} of about {about}")
            if stop.is_set():
                break
    if stop.is_set():
        raise KeyboardInterrupt
    return found


def _matching(found: list[Held], wanted: Filter, limit: int | None) -> list[Held]:
    return [held for held, job in in_order(found) if wanted.matches(job)][:limit]


def _move(
    moving: Replay,
    matching: list[Held],
    stop: threading.Event,
    report: Report,
    clock: Callable[[], float],
    *,
    is_followed: bool,
) -> None:
    failed = 0
    with progress("moving", len(matching), clock) as show:
        for moved in moving.move(matching, stop.is_set):
            report.add(moved, is_followed=is_followed)
            failed += moved.problem is not None
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


@contextmanager
def _status() -> Iterator[Callable[[str], object]]:
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    with console.status("reading the queue …") as status:
        yield status.update


def _print_report(report: Report, sums: dict[str, Any], *, dry_run: bool, as_json: bool) -> None:
    counts = report.counts()
    if dry_run:
        counts["left"] = 0
    if as_json:
        results = [] if dry_run else report.results()
        click.echo(json.dumps({"dry_run": dry_run, **sums, **counts, "results": results}))
    elif dry_run:
        click.echo("nothing was moved; add --yes to replay them")
    else:
        for line in report.lines():
            terminal.show_line(line, indent=2)


def _nothing_matched(depth: Depth) -> NoReturn:
    unseen = [f"none of about {depth.visible} messages matched"] if depth.visible else []
    unseen += [_held(depth)] if depth.held else []
    terminal.nothing("; ".join(unseen) or "the dead-letter queue is empty")


def _say_held(depth: Depth) -> None:
    if depth.held:
        click.echo(_held(depth), err=True)


def _held(depth: Depth) -> str:
    return f"about {depth.held} messages are held by another reader and cannot be read; try again in two minutes"
