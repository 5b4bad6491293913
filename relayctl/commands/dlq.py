"""relayctl dlq: what could not be delivered, and its replay."""

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import wraps
from typing import Any, NoReturn

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from relay.dead_letters import DeadLetters, Held
from relay.delivery import Outcome
from relay.errors import Reason
from relay.queues import Queue
from relay.replay import Filter, Replay, Replayed, in_order
from relayctl import letters
from relayctl.stack import Stack, on_stack
from relayctl.worker import Worker


@click.group(short_help="List, show and replay what could not be delivered.")
def dlq() -> None:
    """The dead-letter queue: shares that xMatters did not accept."""


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
    @click.option("--reason", type=click.Choice([reason.value for reason in Reason]), help="Only what failed for this.")
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
    queue = _dead_letters(stack)
    about = queue.about()
    with queue.holding():
        found = _scan(queue, about)
    matching = _matching(found, wanted, limit)
    strangers = [held for held in found if held.job is None] if wanted == Filter() else []
    if as_json:
        click.echo(json.dumps(letters.listing(matching, strangers, about)))
    elif matching or strangers:
        Console().print(letters.table(matching, strangers, datetime.now(UTC)))
        click.echo(f"{len(matching) + len(strangers)} of about {about}", err=True)
    if not matching and not strangers:
        _nothing_matched(about)


@dlq.command()
@click.argument("identity", metavar="ID")
@on_stack
def show(stack: Stack, identity: str, as_json: bool) -> None:
    """Show one message whole.

    ID is a delivery id, or enough of its beginning, or a message id.

    \b
    Example:
      relayctl dlq show 9f2c41d0
    """
    queue = _dead_letters(stack)
    about = queue.about()
    with queue.holding():
        found = _scan(queue, about)
    matching = [held for held in found if letters.is_called(held, identity)]
    if as_json and matching:
        click.echo(json.dumps({"messages": [letters.document(held) for held in matching]}))
    elif matching:
        click.echo("\n\n".join(letters.text(held) for held in matching))
    else:
        _nothing_matched(about)


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

    What fails again stays, with its new reason and count. Ctrl-C stops after the job under way.

    \b
    Example:
      relayctl dlq replay --reason upstream
      relayctl dlq replay --reason upstream --rate 2 --yes
    """
    queue = _dead_letters(stack)
    about = queue.about()
    with queue.holding():
        matching = _matching(_scan(queue, about), wanted, limit)
        sums = letters.summary(matching, about)
        if matching and not as_json:
            Console(stderr=True).print(letters.summary_text(sums))
        done = _replay(stack, queue, matching, rate) if yes else []
    if not matching:
        _nothing_matched(about)
    _report(sums, done, dry_run=not yes, as_json=as_json)


def _dead_letters(stack: Stack) -> DeadLetters:
    return DeadLetters(stack.sqs, stack.outputs["DeadLetterQueueUrl"], time.monotonic)


def _scan(queue: DeadLetters, about: int) -> list[Held]:
    found = []
    console = Console(stderr=True)
    with console.status("reading the queue …") as status:
        for held in queue.scan():
            found.append(held)
            status.update(f"reading the queue … {len(found)} of about {about}")
    return found


def _matching(found: list[Held], wanted: Filter, limit: int | None) -> list[Held]:
    return [held for held, job in in_order(found) if wanted.matches(job)][:limit]


def _replay(stack: Stack, queue: DeadLetters, matching: list[Held], rate: float) -> list[Replayed]:
    again = Queue(stack.sqs, stack.outputs["DeadLetterQueueUrl"])
    worker = Worker(stack.functions, stack.outputs["JobWorkerFunction"])
    done: list[Replayed] = []
    with _stop_on_interrupt() as stop, _progress(len(matching)) as progress:
        runner = Replay(queue, again, worker, time.time, stop.wait, rate)
        for each in runner.run(matching, stop.is_set):
            done.append(each)
            progress(each)
    return done


@contextmanager
def _stop_on_interrupt() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets; the second is a Ctrl-C again."""
    stop = threading.Event()

    def on_interrupt(*_: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        click.echo("stopping after the job under way; Ctrl-C again stops at once", err=True)
        stop.set()

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


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
            failed += each.outcome != Outcome.DELIVERED
            progress.update(task, advance=1, failed=f"{failed} failed" if failed else "")

        yield advance


def _report(sums: dict[str, Any], done: list[Replayed], *, dry_run: bool, as_json: bool) -> None:
    failed = [each for each in done if each.outcome != Outcome.DELIVERED or each.note]
    left = 0 if dry_run else sums["matched"] - len(done)
    delivered = sum(each.outcome == Outcome.DELIVERED for each in done)
    if as_json:
        counts = {"delivered": delivered, "failed": len(done) - delivered, "left": left}
        click.echo(json.dumps({"dry_run": dry_run, **sums, **counts, "results": [_result(each) for each in done]}))
    elif dry_run:
        click.echo("nothing was sent; add --yes to replay them")
    else:
        for each in failed:
            name = f"{each.job.delivery_id[:8]}  {each.job.channel}  {letters.plain(each.job.incident_id)}"
            click.echo(f"{name}  {each.job.reason}: {each.note or each.outcome}")
        click.echo(f"{delivered} delivered, {len(done) - delivered} failed, {left} left alone")
    if failed or left:
        click.get_current_context().exit(1)


def _result(each: Replayed) -> dict[str, Any]:
    return {
        "delivery_id": each.job.delivery_id,
        "channel": each.job.channel,
        "incident_id": each.job.incident_id,
        "outcome": each.outcome,
        "reason": None if each.outcome == Outcome.DELIVERED else each.job.reason,
        "request_id": each.request_id,
        "attempts": each.job.attempts,
        "note": each.note,
    }


def _nothing_matched(about: int) -> NoReturn:
    click.echo("the dead-letter queue is empty" if about == 0 else f"none of about {about} messages matched", err=True)
    click.get_current_context().exit(3)
