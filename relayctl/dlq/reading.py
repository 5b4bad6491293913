"""Reading of the dead-letter queue for the verbs of `relayctl dlq`: their filters, and texts about the result."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, NoReturn

import click

from relay.failures import Reason
from relay.jobs.job import Job, JobKind
from relayctl import channel_names, moments, terminal
from relayctl.dlq import listing
from relayctl.dlq.mover import NO_STATUS, Filter, in_order
from relayctl.dlq.queue import DeadLetters, Depth, HeldMessage, Run
from relayctl.moments import AGO, SINCE
from relayctl.progress import counting
from relayctl.stack.deployed import Stack

_KINDS = click.Choice([kind.value for kind in JobKind])
_REASONS = click.Choice([reason.value for reason in Reason])


def filtered(reason_option: str = "--reason") -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that adds the filter options to a verb.

    The verb gets the filter as `wanted`, and the maximum number of jobs (None: all) as `limit`. `reason_option` is the
    name of the option that filters by the reason of a failure.
    """

    def decorate(verb: Callable[..., None]) -> Callable[..., None]:
        @click.option(
            "--channel",
            metavar="NAME",
            shell_complete=channel_names.complete,
            help="Only jobs of this channel.",
        )
        @click.option("--incident", metavar="ID", help="Only jobs of this incident.")
        @click.option("--kind", type=_KINDS, metavar="KIND", help=f"Only jobs of this kind: {', '.join(JobKind)}.")
        @click.option(
            "--status",
            metavar="STATUS",
            help=f"Only jobs of shares with this status of the incident, such as critical; {NO_STATUS} for none.",
        )
        @click.option(
            reason_option,
            "wanted_reason",
            type=_REASONS,
            metavar="REASON",
            help=f"Only jobs with this reason: {', '.join(Reason)}.",
        )
        @click.option(
            "--since", type=SINCE, metavar="AGE|TIME", help="Only jobs of shares since: 90m, 12h, 7d or a time."
        )
        @click.option("--newer-than", type=AGO, metavar="DURATION", help="Only jobs of shares that came later: 90m.")
        @click.option("--older-than", type=AGO, metavar="DURATION", help="Only jobs of shares that came before: 7d.")
        @click.option("--limit", type=click.IntRange(1), metavar="N", help="At most N jobs, the oldest first.")
        @wraps(verb)
        def wrapped(**arguments: Any) -> None:
            verb(wanted=_filter(arguments), **arguments)

        return wrapped

    return decorate


def _filter(arguments: dict[str, Any]) -> Filter:
    """Remove the filter options from a verb's `arguments`, and return them as one filter."""
    moments_since = [each for each in (arguments.pop("since"), arguments.pop("newer_than")) if each is not None]
    status = arguments.pop("status")
    return Filter(
        channel=arguments.pop("channel"),
        incident=arguments.pop("incident"),
        kind=arguments.pop("kind"),
        status=None if status is None else status.strip().lower(),
        reason=arguments.pop("wanted_reason"),
        since=max(moments_since, default=None),
        until=arguments.pop("older_than"),
    )


def described(wanted: Filter, limit: int | None) -> dict[str, Any]:
    """Return a JSON object of the filters that the operator gave; times are ISO 8601 in UTC."""
    times = {"since": moments.iso_or_none(wanted.since), "until": moments.iso_or_none(wanted.until)}
    found = {**vars(wanted), **times, "limit": limit}
    return {name: value for name, value in found.items() if value is not None}


def dead_letters(stack: Stack, run: Run = map) -> DeadLetters:
    """Return the stack's dead-letter queue; `run` calls a function for each batch, as `map` does, maybe in parallel.

    Raises StackMissingError.
    """
    return DeadLetters(stack.sqs, stack.output("DeadLetterQueueUrl"), stack.effects.clock, run)


@contextmanager
def reading(queue: DeadLetters, clock: Callable[[], float]) -> Iterator[tuple[Depth, list[HeldMessage]]]:
    """Receive all visible messages, and keep them invisible to other readers while the block runs."""
    depth = queue.depth()
    with terminal.stop_on_interrupt() as stop, queue.holding():
        yield depth, scan(queue, depth, stop, clock)


def all_jobs(stack: Stack) -> tuple[list[Job | None], int]:
    """Return all dead-lettered jobs, None for a message that is no job, and the number that another reader holds."""
    queue = dead_letters(stack)
    with reading(queue, stack.effects.clock) as (depth, found):
        return [held.job for held in found], depth.held


def scan(queue: DeadLetters, depth: Depth, stop: threading.Event, clock: Callable[[], float]) -> list[HeldMessage]:
    """Return all messages that can be received. Raises KeyboardInterrupt after a Ctrl-C."""
    found = []
    with counting("reading the queue", f"of about {depth.about}", clock) as show:
        for held in queue.scan():
            found.append(held)
            show(len(found))
            if stop.is_set():
                break
    if stop.is_set():
        raise KeyboardInterrupt
    return found


def matching(found: list[HeldMessage], wanted: Filter, limit: int | None) -> list[HeldMessage]:
    """Return the messages whose jobs match the filter `wanted`, oldest first, as a replay takes them.

    `limit` is the maximum number of messages; None for all.
    """
    return [held for held, job in in_order(found) if wanted.matches(job)][:limit]


def show_summary(sums: dict[str, Any]) -> None:
    """Print the counts of `listing.summary`."""
    for line in listing.summary_lines(sums):
        terminal.show_line(line, indent=listing.SUMMARY_INDENT)


def nothing_matched(depth: Depth) -> NoReturn:
    """Write to stderr that no message matched, and exit with code 3."""
    unseen = [f"none of about {depth.visible} messages matched"] if depth.visible else []
    unseen += [held_elsewhere(depth.held)] if depth.held else []
    terminal.nothing("; ".join(unseen) or "the dead-letter queue is empty")


def say_held(depth: Depth) -> None:
    """Write to stderr the number of messages that another reader holds, if any."""
    if depth.held:
        click.echo(held_elsewhere(depth.held), err=True)


def held_elsewhere(count: int) -> str:
    """Return a sentence about messages that another reader holds; `count` is their number."""
    return f"about {count} messages are held by another reader and cannot be read; try again in two minutes"
