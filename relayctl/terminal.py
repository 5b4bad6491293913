"""Output to the operator's terminal, and Ctrl-C."""

import io
import json
import os
import shutil
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from textwrap import TextWrapper
from typing import IO, Any, NoReturn

import click

from relay.foreign_text import one_line, printable

# Seconds between two lines of progress, if stderr is not a terminal.
LINE_SECONDS = 5.0


def open_streams() -> None:
    """Make stdout and stderr write an escape for a character that their encoding lacks, in place of an error.

    In a terminal that is not UTF-8, an error after a change was stored would end the output, and hide a new credential.
    A closed stdin is read as an empty one, which is no terminal.
    """
    sys.stdin = sys.stdin or io.TextIOWrapper(io.BytesIO())
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _columns(stream: IO[str]) -> int | None:
    """Return the width of the terminal; None for a pipe or a file: `dlq list | grep ID` must find whole ids."""
    return shutil.get_terminal_size().columns if stream.isatty() or "COLUMNS" in os.environ else None


def show_line(line: str, *, lead: str = "", color: str | None = None, indent: int = 0) -> None:
    """Write `lead`, in `color`, and a line of plain text to stdout.

    On a terminal it is wrapped between words, with a margin of the length of `lead` plus `indent`.
    """
    text = lead + line
    if columns := _columns(sys.stdout):
        margin = " " * (len(lead) + indent)
        # A URL is not broken: it must be copied whole.
        wrap = TextWrapper(columns, initial_indent=lead, subsequent_indent=margin)
        wrap.break_on_hyphens = wrap.break_long_words = False
        text = wrap.fill(line) or lead
    click.echo(click.style(text[: len(lead)], fg=color) + text[len(lead) :])


def folded(message: str, prefix: str = "") -> str:
    """Return a message for stderr, wrapped on a terminal, without control characters. click prints `prefix` first."""
    lines = list(map(printable, message.splitlines()))
    if columns := _columns(sys.stderr):
        wrap = TextWrapper(columns, break_long_words=False, break_on_hyphens=False)
        wrap.initial_indent = " " * len(prefix)
        return "\n".join(map(wrap.fill, lines))[len(prefix) :]
    return "\n".join(lines)


def say(message: str) -> None:
    """Write a message to stderr; on a terminal it is wrapped between words."""
    click.echo(folded(message), err=True)


def document(found: Mapping[str, Any]) -> None:
    """Write a JSON object to stdout, on one line: the whole output of a verb with --json."""
    click.echo(json.dumps(found))


def private_file(path: Path) -> IO[str]:
    """Open a new file that only the operator may read. Raises OSError: an existing one may have another mode."""
    return open(path, "x", encoding="utf-8", opener=partial(os.open, mode=0o600))


# Longer than the excerpt of an answer.
_MAX_VALUE = 4000


def members(found: Mapping[str, Any], **texts: str) -> None:
    """Print the members of a JSON object that are not empty, each with its name; then each of `texts` under its name.

    Verbs without words of their own use it. The lines of `texts` are indented, so that none looks like a member.
    """
    for name, value in found.items():
        for number, line in enumerate(_texts(value)):
            show_line(line, lead=f"{'' if number else name.replace('_', ' '):22}")
    for name, text in texts.items():
        shown = text
        with suppress(ValueError, RecursionError):
            shown = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
        if shown:
            click.echo("\n  ".join([name, *map(printable, shown.splitlines())]))


def counts(found: Mapping[str, Any]) -> None:
    """Print the members of a JSON object, as `members` does, without those that are zero."""
    members({name: each for name, each in found.items() if each != 0})


def result(found: Mapping[str, Any], *, as_json: bool, **objects: Any) -> None:
    """Print a JSON object with further members `objects`: as one JSON document (`as_json`), or as `members` does."""
    if as_json:
        document({**found, **objects})
    else:
        members(found, **{name: json.dumps(each) for name, each in objects.items()})


def _texts(value: Any) -> list[str]:
    """Return a line for each object in a list, and one line for another value; none if it is empty."""
    if isinstance(value, list) and any(isinstance(each, dict) for each in value):
        return [text for each in value for text in _texts(each)]
    if isinstance(value, dict):
        # The names in a Counter are data, in which an underscore is no space.
        own = ((name.replace("_", " "), each) for name, each in value.items())
        named = value.most_common() if isinstance(value, Counter) else own
        some = (f"{one_line(str(name), _MAX_VALUE)} {text}" for name, each in named for text in _texts(each))
        return [", ".join(some)] if value else []
    if isinstance(value, list):
        return [", ".join(one_line(str(each), _MAX_VALUE) for each in value)] if value else []
    return [] if value in (None, "") else [one_line(str(value), _MAX_VALUE)]


def counted(number: int, what: str) -> str:
    """Return a number of things in words, such as `1 share` or `1,200 shares`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def nothing(message: str) -> NoReturn:
    """Write `message` to stderr, and exit with code 3. The message says that nothing was found."""
    click.echo(printable(message), err=True)
    click.get_current_context().exit(3)


def fail_if(is_failure: object) -> None:
    """Exit with code 1 if `is_failure` is true. Raises KeyboardInterrupt first if a step went on after a Ctrl-C."""
    end_if_interrupted()
    if is_failure:
        click.get_current_context().exit(1)


def confirm(question: str, *, yes: bool, as_json: bool = False) -> None:
    """Ask on stderr, unless the operator gave --yes. Raises Abort for a no, UsageError if nobody can be asked."""
    if not yes and (as_json or not sys.stdin.isatty()):
        raise click.UsageError(f"{question} Not a terminal, or --json: give --yes")
    if not yes:
        # Also in `stop_on_interrupt`: while the operator is asked, there is no step to complete.
        with _on_interrupt(signal.default_int_handler):
            click.confirm(question, abort=True, err=True)


@contextmanager
def status(text: str) -> Iterator[None]:
    """Show `text` with a spinner while the block runs, if stderr is a terminal. The block must print nothing."""
    # Imported here: rich would take more than a third of the time of `relayctl --help`.
    from rich.console import Console  # noqa: PLC0415

    console = Console(stderr=True, markup=False, emoji=False)
    with console.status(printable(text)) if console.is_terminal else nullcontext():
        yield


@contextmanager
def progress(title: str, of: str, clock: Callable[[], float]) -> Iterator[Callable[[int, str], None]]:
    """Yield a function that shows progress on stderr, with at most one line in LINE_SECONDS.

    The block calls it with the number of finished items, and a remark. `of` follows the number: `of 25`, or `lines`.
    """
    last = clock()

    def line(done: int, said: str) -> None:
        nonlocal last
        if clock() - last >= LINE_SECONDS:
            last = clock()
            click.echo(f"{title}: {done} {of}{': ' if said else ''}{said}", err=True)

    yield line


_IS_INTERRUPTED = f"{__name__}.is_interrupted"


def outlast(error: BaseException) -> None:
    """Note that a step goes on after a Ctrl-C, if `error` is one. `end_if_interrupted` raises it after the step."""
    if isinstance(error, KeyboardInterrupt):
        click.get_current_context().meta[_IS_INTERRUPTED] = True


def end_if_interrupted() -> None:
    """Raise KeyboardInterrupt if a step went on after a Ctrl-C."""
    if _IS_INTERRUPTED in click.get_current_context().meta:
        raise KeyboardInterrupt


@contextmanager
def _on_interrupt(act: Callable[..., object]) -> Iterator[None]:
    before = signal.signal(signal.SIGINT, act)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def stop_on_interrupt() -> Iterator[threading.Event]:
    """Yield an event that the first Ctrl-C sets, for the block to stop safely. The second raises KeyboardInterrupt."""
    stop = threading.Event()

    def on_interrupt(*_: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        click.get_current_context().meta[_IS_INTERRUPTED] = True
        click.echo("stopping after the current step; Ctrl-C again stops at once", err=True)

    with _on_interrupt(on_interrupt):
        yield stop
