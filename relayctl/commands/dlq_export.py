"""relayctl dlq export: dead-lettered jobs as a file."""

import json
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import click

from relay.delivery.replay import Filter
from relay.delivery.replay_order import PARALLEL_BATCHES
from relay.jobs.dead_letters import DeadLetters, Held
from relayctl import dead_letter_file, terminal
from relayctl.dead_letter_filter import filtered
from relayctl.dead_letter_reading import dead_letters, matching, nothing_matched, say_held, scan
from relayctl.progress import progress
from relayctl.stack import Stack, on_stack

# Only the operator may read the file.
MODE = 0o600
STDOUT = "-"


@click.command()
@click.argument("place", metavar="FILE")
@filtered()
@on_stack
def export(stack: Stack, place: str, wanted: Filter, limit: int | None, as_json: bool) -> None:
    """Write dead-lettered jobs to a new FILE, or to stdout (-), oldest first. The queue keeps them.

    The file is JSON Lines: one message a line, with its envelope and its attributes, for relayctl dlq import. The
    bodies may hold texts of incidents, so only you may read the file (mode 0600). It has no credential of
    the relay.

    A job has to match all filters. Messages that are no jobs of the relay are not exported.

    Exit codes: 0 all exported, 1 not all or not written, 2 usage, 3 nothing matched, 130 interrupted: then there is no
    file.

    \b
    Example:
      relayctl dlq export dead.jsonl
      relayctl dlq export - --channel payments --older-than 7d > dead.jsonl
    """
    if place == STDOUT and as_json:
        raise click.UsageError("--json prints a document of its own on stdout; give a FILE")
    if place != STDOUT and os.path.lexists(place):
        raise click.UsageError(f"{place} exists, and is not replaced")
    with ThreadPoolExecutor(PARALLEL_BATCHES) as pool:
        queue = dead_letters(stack, pool.map)
        depth = queue.depth()
        with terminal.stop_on_interrupt() as stop, queue.holding():
            found = scan(queue, depth, stop, stack.effects.clock)
            chosen = matching(found, wanted, limit)
            # The envelopes are here now, and the file may be a pipe that takes its time.
            queue.let_go(found)
            if chosen:
                with _opened(place) as file, progress("exporting", len(chosen), stack.effects.clock) as show:
                    for number, line in enumerate(_lines(queue, chosen), start=1):
                        file.write(line)
                        show(number, "")
                        if stop.is_set():
                            raise KeyboardInterrupt
    unreadable = sum(held.job is None for held in found) if wanted == Filter() else 0
    counts = {"exported": len(chosen), "unreadable": unreadable, "about": depth.about, "held": depth.held}
    if as_json:
        click.echo(json.dumps({"file": place if chosen else None, **counts}))
    if not chosen and not unreadable:
        nothing_matched(depth)
    if chosen:
        where = f" to {place}; only you may read it" if place != STDOUT else ""
        terminal.say(f"{len(chosen)} exported{where}. The bodies may hold texts of incidents.")
    say_held(depth)
    if unreadable:
        terminal.say(f"{unreadable} not exported: no jobs of the relay; relayctl dlq list shows them")
        click.get_current_context().exit(1)


def _lines(queue: DeadLetters, chosen: list[Held]) -> Iterator[str]:
    for held in chosen:
        if held.job is not None:
            yield dead_letter_file.line_of(held.message_id, held.job, queue.envelope(held))


@contextmanager
def _opened(place: str) -> Iterator[IO[str]]:
    """Open the file; after an error or a Ctrl-C in the block there is no file. Raises ClickException."""
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
