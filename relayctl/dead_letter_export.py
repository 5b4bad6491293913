"""Export of dead-lettered jobs into a file that only the operator may read. The queue keeps them."""

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, NamedTuple

import click

from relayctl import dead_letter_file, terminal
from relayctl.dead_letter_mover import Filter
from relayctl.dead_letter_queue import DeadLetters, Depth, HeldMessage
from relayctl.dead_letter_reading import dead_letters, matching, scan
from relayctl.progress import progress
from relayctl.replay_order import PARALLEL_BATCHES
from relayctl.stack import Stack

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


def export(stack: Stack, place: str, wanted: Filter, limit: int | None) -> Exported:
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
            yield dead_letter_file.line_of(held.message_id, held.job, queue.envelope(held))


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
