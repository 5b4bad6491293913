"""Reading of the dead-letter queue for the verbs of `relayctl dlq`, and its messages to the operator."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import click

from relay.delivery.replay import Filter
from relay.delivery.replay_order import in_order
from relay.jobs.dead_letters import DeadLetters, Depth, HeldMessage, Run
from relayctl import dead_letter_listing, terminal
from relayctl.progress import counting
from relayctl.stack import Stack


def dead_letters(stack: Stack, run: Run = map) -> DeadLetters:
    """Return the stack's dead-letter queue. Raises StackMissingError."""
    return DeadLetters(stack.sqs, stack.output("DeadLetterQueueUrl"), stack.effects.clock, run)


@contextmanager
def reading(queue: DeadLetters, clock: Callable[[], float]) -> Iterator[tuple[Depth, list[HeldMessage]]]:
    """Hold the messages that can be received while the block runs."""
    depth = queue.depth()
    with terminal.stop_on_interrupt() as stop, queue.holding():
        yield depth, scan(queue, depth, stop, clock)


def count_by_channel(stack: Stack) -> tuple[Counter[str], int]:
    """Count the dead-lettered messages by channel; those that are no jobs of the relay count for the channel "".

    The second number is that of messages that another reader holds, which cannot be read.
    """
    queue = dead_letters(stack)
    with reading(queue, stack.effects.clock) as (depth, found):
        return Counter(held.job.channel if held.job else "" for held in found), depth.held


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
    """Return the readable messages that match, in the order of a replay."""
    return [held for held, job in in_order(found) if wanted.matches(job)][:limit]


def show_summary(sums: dict[str, Any]) -> None:
    """Print the counts of `dead_letter_listing.summary`."""
    for line in dead_letter_listing.summary_lines(sums):
        terminal.show_line(line, indent=dead_letter_listing.SUMMARY_INDENT)


def nothing_matched(depth: Depth) -> NoReturn:
    """Say that nothing matched, and exit with code 3."""
    unseen = [f"none of about {depth.visible} messages matched"] if depth.visible else []
    unseen += [held_elsewhere(depth.held)] if depth.held else []
    terminal.nothing("; ".join(unseen) or "the dead-letter queue is empty")


def say_held(depth: Depth) -> None:
    """Say how many messages another reader holds, if any."""
    if depth.held:
        click.echo(held_elsewhere(depth.held), err=True)


def held_elsewhere(count: int) -> str:
    """Return words for messages that another reader holds."""
    return f"about {count} messages are held by another reader and cannot be read; try again in two minutes"
