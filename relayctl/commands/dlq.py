"""relayctl dlq: list, show and replay dead-lettered jobs."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import wraps
from typing import Any, NoReturn

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from relay.dead_letters import DeadLetters, Depth, Held
from relay.errors import Reason
from relay.outcome import Outcome
from relay.queues import Queue
from relay.replay import SETTLED, Filter, Replay, Replayed, in_order
from relayctl import letters, terminal
from relayctl.stack import Stack, on_stack
from relayctl.worker import Worker

# How a person reads what became of jobs; what is called otherwise in a document is left out where there is none.
_WORDS = {
    "delivered": "delivered",
    "not_owed": "no longer owed",
    "waiting": "waiting on the retry queue",
    "failed": "failed",
    "left": "left",
}


@click.group(short_help="List, show and replay what could not be delivered.")
def dlq() -> None:
    """The dead-letter queue: shares that xMatters refused, or did not accept in time."""


class _Since(click.ParamType[float]):
    name = "since"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        try:
            return letters.since(str(value), datetime.now(UTC))
        except ValueError:
            self.fail("use an age such as 90m, 12h or 7d, or a time such as 2030-01-31T12:00:00Z", param, ctx)


def _filtered(verb: Callable[..., None]) -> Callable[..., None]:
    """Give a verb the filters; it is called with `wanted` and `limit`."""

    @click.option("--channel", metavar="NAME", help="Only this channel's.")
    @click.option("--incident", metavar="ID", help="Only this incident's.")
    @click.option(
        "--reason",
        type=click.Choice([reason.value for reason in Reason]),
        metavar="REASON",
        help=f"Only what failed for this: {', '.join(Reason)}.",
    )
    @click.option("--since", type=_Since(), metavar="AGE|TIME", help="Only what came since: 90m, 12h, 7d or a time.")
    @click.option("--limit", type=click.IntRange(1), metavar="N", help="At most so many, the oldest first.")
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
    """List what lies in the queue, oldest first.

    Messages are out of others' sight only while the list is made.

    \b
    Example:
      relayctl dlq list --channel payments --since 12h
    """
    depth, found = _looked_at(_dead_letters(stack))
    matching = _matching(found, wanted, limit)
    strangers = [held for held in found if held.job is None] if wanted == Filter() else []
    shown = [*matching, *strangers][:limit]
    if as_json:
        click.echo(json.dumps(letters.listing(shown, depth)))
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
        console.print(letters.table(jobs, datetime.now(UTC), console.width))
    for held in shown[len(jobs) :]:
        terminal.show_line(letters.stranger(held), indent=2)


def _not_empty(_: click.Context, __: click.Parameter, value: str) -> str:
    """Refuse an empty id: every id begins with it."""
    if not value.strip():
        raise click.BadParameter("it is empty; give a delivery id or a message id, or the beginning of one")
    return value


@dlq.command()
@click.argument("identity", metavar="ID", callback=_not_empty)
@on_stack
def show(stack: Stack, identity: str, as_json: bool) -> None:
    """Show one message whole.

    ID is a delivery id or a message id, or enough of its beginning.

    \b
    Example:
      relayctl dlq show 9f2c41d0
    """
    depth, found = _looked_at(_dead_letters(stack))
    matching = [held for held in found if letters.is_called(held, identity)]
    if as_json:
        click.echo(json.dumps({"messages": [letters.document(held) for held in matching]}))
    if not matching:
        _nothing_matched(depth)
    if not as_json:
        click.echo("\n\n".join(letters.text(held) for held in matching))


@dlq.command()
@_filtered
@click.option("--yes", is_flag=True, help="Do it. Without it, only what would be done is shown.")
@click.option(
    "--rate",
    type=click.FloatRange(0.01, 50),
    default=1.0,
    show_default=True,
    metavar="N",
    help="At most so many a second. xMatters limits how many it takes a minute.",
)
@on_stack
def replay(stack: Stack, wanted: Filter, limit: int | None, yes: bool, rate: float, as_json: bool) -> None:
    """Try again what lies in the queue, oldest first; what arrives leaves the queue.

    So does what nobody needs to hear of any more, and what has to wait: it moves to the retry queue. What fails again
    stays, with its new reason and count. Ctrl-C stops after the job under way.

    \b
    Example:
      relayctl dlq replay --reason upstream
      relayctl dlq replay --reason upstream --rate 2 --yes
    """
    queue = _dead_letters(stack)
    depth = queue.depth()
    done: list[Replayed] = []
    with terminal.stop_on_interrupt() as stop, queue.holding():
        found = _scan(queue, depth.about, stop)
        matching = _matching(found, wanted, limit)
        # Others may see, and replay, what this replay is not about.
        queue.let_go(set(found) - set(matching))
        sums = letters.summary([held.job for held in matching if held.job], depth)
        if matching and not as_json:
            _print_summary(sums)
            _say_held(depth)
        try:
            if yes:
                _replay(stack, queue, matching, rate, stop, done)
        finally:
            if matching or as_json:
                _report(sums, done, dry_run=not yes, as_json=as_json)
    if not matching:
        _nothing_matched(depth)
    if yes and stop.is_set() and len(done) < len(matching):
        click.get_current_context().exit(terminal.INTERRUPTED)
    if yes and (len(done) < len(matching) or any(each.is_failure for each in done)):
        click.get_current_context().exit(1)


def _print_summary(sums: dict[str, Any]) -> None:
    for line in letters.summary_lines(sums):
        terminal.show_line(line, indent=letters.SUMMARY_INDENT)


def _dead_letters(stack: Stack) -> DeadLetters:
    return DeadLetters(stack.sqs, stack.output("DeadLetterQueueUrl"), time.time)


def _looked_at(queue: DeadLetters) -> tuple[Depth, list[Held]]:
    """Return how many messages there are, and those that could be received; all are visible again afterwards."""
    depth = queue.depth()
    with terminal.stop_on_interrupt() as stop, queue.holding():
        return depth, _scan(queue, depth.about, stop)


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


def _replay(
    stack: Stack, queue: DeadLetters, matching: list[Held], rate: float, stop: threading.Event, done: list[Replayed]
) -> None:
    again = Queue(stack.sqs, stack.output("DeadLetterQueueUrl"))
    worker = Worker(stack.functions, stack.output("JobWorkerFunction"))
    with _progress(len(matching)) as progress:
        for each in Replay(queue, again, worker, time.time, stop.wait, rate).run(matching, stop.is_set):
            done.append(each)
            progress(each)


@contextmanager
def _status() -> Iterator[Callable[[str], object]]:
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    with console.status("reading the queue …") as status:
        yield status.update


@contextmanager
def _progress(total: int) -> Iterator[Callable[[Replayed], None]]:
    console = Console(stderr=True)
    columns = (
        TextColumn("replaying"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[failed]}"),
    )
    failed = 0
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=total, failed="")

        def advance(each: Replayed) -> None:
            nonlocal failed
            failed += each.is_failure
            progress.update(task, advance=1, failed=f"{failed} failed" if failed else "")

        yield advance


def _report(sums: dict[str, Any], done: list[Replayed], *, dry_run: bool, as_json: bool) -> None:
    counts = dict.fromkeys(_WORDS, 0) | Counter(map(_became, done))
    counts["left"] = 0 if dry_run else sums["matched"] - len(done)
    if as_json:
        click.echo(json.dumps({"dry_run": dry_run, **sums, **counts, "results": [_result(each) for each in done]}))
    elif dry_run:
        click.echo("nothing was sent; add --yes to replay them")
    else:
        for line in filter(None, map(letters.became, done)):
            terminal.show_line(line, indent=2)
        click.echo(", ".join(f"{counts[name]} {word}" for name, word in _WORDS.items() if counts[name] or word == name))


def _became(each: Replayed) -> str:
    if each.outcome == Outcome.DELIVERED:
        return "delivered"
    if each.outcome in SETTLED:
        return "not_owed"
    return "waiting" if each.queue == "retry" else "failed"


def _result(each: Replayed) -> dict[str, Any]:
    return {
        "delivery_id": each.job.delivery_id,
        "channel": each.job.channel,
        "incident_id": each.job.incident_id,
        "outcome": each.outcome,
        "queue": each.queue,
        "reason": None if each.outcome in SETTLED else each.job.reason,
        "request_id": each.request_id,
        "attempts": each.job.attempts,
        "note": each.note,
    }


def _nothing_matched(depth: Depth) -> NoReturn:
    unseen = [f"none of about {depth.visible} messages matched"] if depth.visible else []
    unseen += [_held(depth)] if depth.held else []
    terminal.nothing("; ".join(unseen) or "the dead-letter queue is empty")


def _say_held(depth: Depth) -> None:
    if depth.held:
        click.echo(_held(depth), err=True)


def _held(depth: Depth) -> str:
    return f"about {depth.held} messages are held by another reader and can't be seen; try again in two minutes"
