"""Progress on stderr: a spinner with counts on a terminal, else a line every LINE_SECONDS."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
from rich.console import Console

# Seconds between two lines of progress, if stderr is not a terminal.
LINE_SECONDS = 5.0

# Takes the number of finished items, and a remark about them.
type Show = Callable[[int, str], None]


@contextmanager
def progress(title: str, of: str, clock: Callable[[], float]) -> Iterator[Show]:
    """Show progress while the block runs; `of` comes after the number of finished items, such as `of 25` or `lines`.

    The block calls the yielded function with that number and a remark, which may be empty.
    """
    console, last = Console(stderr=True, markup=False, emoji=False), clock()

    def line(done: int, said: str) -> None:
        nonlocal last
        if clock() - last >= LINE_SECONDS:
            last = clock()
            click.echo(f"{title}: {_words(done, of, said)}", err=True)

    if not console.is_terminal:
        yield line
        return
    with console.status(f"{title} …") as status:
        yield lambda done, said: status.update(f"{title} … {_words(done, of, said)}")


def _words(done: int, of: str, said: str) -> str:
    return f"{done} {of}{': ' if said else ''}{said}"
