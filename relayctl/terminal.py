"""Output to a person's terminal, and Ctrl-C."""

import os
import shutil
import signal
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import NoReturn

import click
from rich.console import Console
from rich.text import Text

from relay.foreign_text import printable

# How a shell says that a program was ended by Ctrl-C.
INTERRUPTED = 130
# A pipe or a file has no edge: `dlq list | grep ID` must find whole ids.
UNFOLDED_COLUMNS = 1000


def output() -> Console:
    """Where results go. Square brackets and colons in what is printed mean themselves."""
    folded = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(width=None if folded else UNFOLDED_COLUMNS, markup=False, emoji=False, highlight=False)


def show_line(line: str, *, lead: Text | None = None, indent: int = 0) -> None:
    """Write a line of plain text after `lead` to stdout.

    On a terminal a line that is too long is wrapped between words; only a word that is longer than a line is broken.
    The lines that follow are indented by the length of `lead` and `indent`.
    """
    console, lead = output(), lead or Text()
    if console.width == UNFOLDED_COLUMNS:
        console.print(Text.assemble(lead, line), soft_wrap=True)
        return
    margin = lead.cell_len + indent
    before: Text | str = lead
    for part in Text(line).wrap(console, max(console.width - margin, 1), overflow="fold"):
        part.rstrip()
        console.print(Text.assemble(before, part))
        before = " " * margin


def folded(message: str, prefix: str = "") -> str:
    """Return a message for stderr that can't steer a terminal, with its lines.

    On a terminal its lines are wrapped between words, the first one after `prefix`.
    """
    message = "\n".join(map(printable, message.splitlines()))
    if not (sys.stderr.isatty() or "COLUMNS" in os.environ):
        return message
    wrap = textwrap.TextWrapper(shutil.get_terminal_size().columns, break_long_words=False, break_on_hyphens=False)
    wrap.initial_indent = " " * len(prefix)
    return "\n".join(wrap.fill(line) for line in message.splitlines())[len(prefix) :]


def say(message: str) -> None:
    """Write a message to stderr: on a terminal wrapped between words, elsewhere in one line."""
    click.echo(folded(message), err=True)


def labelled(label: str, value: str, columns: int = 15) -> None:
    """Write a label in so many columns and a value to stdout; a line for each on a terminal too narrow for both."""
    is_folded, value = sys.stdout.isatty() or "COLUMNS" in os.environ, printable(value)
    line = f"{label:{columns}}{value}"
    is_too_wide = is_folded and len(line) > shutil.get_terminal_size().columns
    click.echo(f"{label.rstrip()}\n{value}" if is_too_wide else line)


def nothing(message: str) -> NoReturn:
    """Say that nothing matched, and end with the exit code for that."""
    click.echo(printable(message), err=True)
    click.get_current_context().exit(3)


@contextmanager
def status(text: str) -> Iterator[None]:
    """Show on stderr, on a terminal, what is under way for as long as the block lasts; it must print nothing."""
    console = Console(stderr=True, markup=False, emoji=False)
    with console.status(printable(text)) if console.is_terminal else nullcontext():
        yield


@contextmanager
def stop_on_interrupt() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets, so that the work ends where it is safe; the second is a Ctrl-C again."""
    stop = threading.Event()

    def on_interrupt(*_: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        click.echo("stopping after what is under way; Ctrl-C again stops at once", err=True)

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
