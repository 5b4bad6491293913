"""Reading of the dead-letter queue for the verbs of `relayctl dlq`, and texts for the operator about the result."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import click

from relay.jobs.job import Job
from relayctl import dead_letter_listing, terminal
from relayctl.dead_letter_mover import Filter
from relayctl.dead_letter_queue import DeadLetters, Depth, HeldMessage, Run
from relayctl.progress import counting
from relayctl.replay_order import in_order
from relayctl.stack import Stack


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


def count_by_channel(stack: Stack) -> tuple[Counter[str], int]:
    """Return the number of dead-lettered messages by channel, and the number that another reader holds.

    Messages that are no jobs of the relay count for the channel "". Those that another reader holds cannot be read.
    """
    queue = dead_letters(stack)
    with reading(queue, stack.effects.clock) as (depth, found):
        return Counter(held.job.channel if held.job else "" for held in found), depth.held


def jobs_of(stack: Stack, channel: str) -> tuple[list[Job], int]:
    """Return the dead-lettered jobs of a channel, and the number of messages that another reader holds."""
    queue = dead_letters(stack)
    with reading(queue, stack.effects.clock) as (depth, found):
        return [held.job for held in found if held.job and held.job.channel == channel], depth.held


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
    """Print the counts of `dead_letter_listing.summary`."""
    for line in dead_letter_listing.summary_lines(sums):
        terminal.show_line(line, indent=dead_letter_listing.SUMMARY_INDENT)


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
