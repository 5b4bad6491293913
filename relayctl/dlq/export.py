"""relayctl dlq export: dead-lettered jobs as a file that only the operator may read. The queue keeps them."""

import json
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, NamedTuple

import click

from relayctl import terminal
from relayctl.dlq import jsonl
from relayctl.dlq.mover import PARALLEL_BATCHES, Filter
from relayctl.dlq.queue import DeadLetters, Depth, HeldMessage
from relayctl.dlq.reading import dead_letters, filtered, matching, nothing_matched, say_held, scan
from relayctl.progress import progress
from relayctl.stack.deployed import Stack, on_stack

# Only the operator may read the file.
MODE = 0o600
STDOUT = "-"


class Exported(NamedTuple):
    """Result of an export.

    Attributes:
        jobs: Number of exported jobs; without any there is no file.
        unreadable: Number of messages that are no jobs of the relay, and were not exported; 0 with a filter.
        depth: Numbers of messages on the queue before the export.
    """

    jobs: int
    unreadable: int
    depth: Depth


def refuse_existing(place: str) -> None:
    """Raise UsageError if the path of the new file exists; `-` stands for stdout."""
    if place != STDOUT and os.path.lexists(place):
        raise click.UsageError(f"{place} exists, and is not replaced")


def write_jobs(stack: Stack, place: str, wanted: Filter, limit: int | None) -> Exported:
    """Write the matching jobs to a new file, or to stdout (`-`), oldest first.

    After an error or a Ctrl-C there is no file. Raises ClickException if it cannot be written.
    """
    with ThreadPoolExecutor(PARALLEL_BATCHES) as pool:
        queue = dead_letters(stack, pool.map)
        depth = queue.depth()
        with terminal.stop_on_interrupt() as stop, queue.holding():
            found = scan(queue, depth, stop, stack.effects.clock)
            chosen = matching(found, wanted, limit)
            # relayctl has copies of the envelopes now, and writing them may take long if the file is a pipe.
            queue.let_go(found)
            if chosen:
                with _opened(place) as file, progress("exporting", len(chosen), stack.effects.clock) as show:
                    for number, line in enumerate(_lines(queue, chosen), start=1):
                        file.write(line)
                        show(number, "")
                        if stop.is_set():
                            raise KeyboardInterrupt
    unreadable = sum(held.job is None for held in found) if wanted == Filter() else 0
    return Exported(len(chosen), unreadable, depth)


def _lines(queue: DeadLetters, chosen: list[HeldMessage]) -> Iterator[str]:
    for held in chosen:
        if held.job is not None:
            yield jsonl.line_of(held.message_id, held.job, queue.envelope(held))


@contextmanager
def _opened(place: str) -> Iterator[IO[str]]:
    """Create and open the file; an error or a Ctrl-C in the block removes it. Raises ClickException."""
    if place == STDOUT:
        yield sys.stdout
        return
    try:
        # Without O_EXCL the file could be another person's, with another mode.
        file = os.fdopen(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE), "w", encoding="ascii")
    except OSError as error:
        raise click.ClickException(f"{place}: cannot write: {error.strerror or 'failed'}") from error
    try:
        with file:
            yield file
            file.flush()
            # An operator may drop the messages next.
            os.fsync(file.fileno())
    except BaseException as error:
        with suppress(OSError):
            Path(place).unlink()
        if isinstance(error, OSError):
            raise click.ClickException(f"{place}: cannot write: {error.strerror or 'failed'}") from error
        raise


@click.command()
@click.argument("place", metavar="FILE")
@filtered()
@on_stack
def export(stack: Stack, place: str, wanted: Filter, limit: int | None, as_json: bool) -> None:
    """Write dead-lettered jobs to a new FILE, or to stdout (-), oldest first. The queue keeps them.

    The file is JSON Lines: one message a line, with its envelope and its attributes, for relayctl dlq import. The
    bodies may hold texts of incidents, so only you may read the file (mode 0600). It has no credential of
    the relay.

    A job has to match all filters. Messages that are no jobs of the relay are not exported; without a filter, they make
    the exit code 1. What another reader holds is not exported either, and is counted on stderr.

    Exit codes: 0 every job that was read and matched is exported, 1 a message is no job of the relay, or FILE can't be
    written, 2 usage, 3 nothing matched, 130 interrupted. After 130, and after an error, there is no file.

    \b
    Example:
      relayctl dlq export dead.jsonl
      relayctl dlq export - --channel payments --older-than 7d > dead.jsonl
    """
    if place == STDOUT and as_json:
        raise click.UsageError("--json prints a document of its own on stdout; give a FILE")
    refuse_existing(place)
    done = write_jobs(stack, place, wanted, limit)
    if as_json:
        counts = {"exported": done.jobs, "unreadable": done.unreadable}
        counts |= {"about": done.depth.about, "held": done.depth.held}
        click.echo(json.dumps({"file": place if done.jobs else None, **counts}))
    if not done.jobs and not done.unreadable:
        nothing_matched(done.depth)
    if done.jobs:
        where = f" to {place}; only you may read it" if place != STDOUT else ""
        terminal.say(f"{done.jobs} exported{where}. The bodies may hold texts of incidents.")
    say_held(done.depth)
    if done.unreadable:
        terminal.say(f"{done.unreadable} not exported: no jobs of the relay; relayctl dlq list shows them")
        click.get_current_context().exit(1)
