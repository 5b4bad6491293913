"""Progress of long work on a console: one line a step, with its duration."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn
from rich.text import Text


class Steps:
    """Writer of progress lines such as `demo: starting the cloud … 1.2 s`, one for each step.

    On a terminal the seconds are counted up while the step runs. `name` is the text before the colon. `clock` returns
    seconds, and is monotonic.
    """

    def __init__(self, name: str, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self.console = console
        self._clock = clock

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Show the step `what` for the length of a `with` block, then its duration and whether it failed."""
        began = self._clock()
        ended = "failed after"
        try:
            with self._live(what):
                yield
            ended = ""
        except KeyboardInterrupt:
            ended = "stopped after"
            raise
        finally:
            shown = f"{ended} {self._clock() - began:.1f} s".lstrip()
            line = Text(f"{self.name}: {what} … " if self.console.is_terminal else "")
            self.console.print(line.append(shown, style="red" if ended else "green"), soft_wrap=True)

    def say(self, what: str) -> None:
        """Write a line without a duration."""
        self.console.print(Text(f"{self.name}: {what}"), soft_wrap=True)

    @contextmanager
    def _live(self, what: str) -> Iterator[None]:
        label = f"{self.name}: {what} …"
        if not self.console.is_terminal:
            self.console.print(Text(label), end=" ", soft_wrap=True)
            yield
            return
        columns = (TextColumn(label, markup=False), SpinnerColumn(), TextColumn("{task.elapsed:.0f} s"))
        with Progress(*columns, console=self.console, transient=True) as progress:
            progress.add_task("")
            yield
