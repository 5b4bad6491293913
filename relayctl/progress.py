"""Progress on stderr: a bar or a status on a terminal, else a line every LINE_SECONDS."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

# Seconds between two lines of progress, if stderr is not a terminal.
LINE_SECONDS = 5.0

# Takes the number of finished items, and a remark about them.
type Show = Callable[[int, str], None]


@contextmanager
def progress(title: str, total: int, clock: Callable[[], float]) -> Iterator[Show]:
    """Show progress of a known total while the block runs.

    The block calls the yielded function with the number of finished items and a remark.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines(title, f"of {total}", clock)
        return
    columns = (
        TextColumn(title),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TextColumn("{task.fields[said]}", markup=False),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=total, said="")
        yield lambda done, said: bar.update(task, completed=done, said=said)


@contextmanager
def counting(title: str, unit: str, clock: Callable[[], float]) -> Iterator[Callable[[int], None]]:
    """Show progress of an unknown total while the block runs; `unit` comes after the number of finished items.

    The block calls the yielded function with that number.
    """
    console = Console(stderr=True, markup=False, emoji=False)
    if not console.is_terminal:
        show = _lines(title, unit, clock)
        yield lambda done: show(done, "")
        return
    with console.status(f"{title} …") as status:
        yield lambda done: status.update(f"{title} … {done} {unit}")


def _lines(title: str, unit: str, clock: Callable[[], float]) -> Show:
    last = clock()

    def show(done: int, said: str) -> None:
        nonlocal last
        if clock() - last >= LINE_SECONDS:
            last = clock()
            click.echo(f"{title}: {done} {unit}{': ' if said else ''}{said}", err=True)

    return show
