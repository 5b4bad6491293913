"""Results of benchmarks: figures, the aims that judge them, and their table."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text


@dataclass(frozen=True)
class Figure:
    """One row of a table. Two spaces in front of a name indent it. `aim` is the upper bound of the median, if any."""

    name: str
    unit: str
    values: Sequence[float]
    aim: float | None = None

    @property
    def is_met(self) -> bool | None:
        """True if the median keeps to the aim; None without an aim."""
        return None if self.aim is None else statistics.median(self.values) <= self.aim


@dataclass(frozen=True)
class Section:
    """Result of one benchmark: a table, and below it the conditions of the measurement (`notes`)."""

    title: str
    figures: Sequence[Figure]
    notes: Sequence[str] = ()


def render(section: Section) -> Iterator[RenderableType]:
    """Yield a benchmark's title, table and notes, for a console of 112 columns."""
    yield Text(f"\n{section.title}", style="bold")
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("", no_wrap=True)
    for name in ("median", "aim"):
        table.add_column(name, justify="right", no_wrap=True)
    for figure in section.figures:
        aim = "" if figure.aim is None else f"≤ {figure.aim:g} {'met' if figure.is_met else 'missed'}"
        table.add_row(figure.name, f"{number(statistics.median(figure.values))} {figure.unit}".rstrip(), aim)
    yield table
    for note in section.notes:
        yield Padding(Text(note, style="dim"), (0, 0, 0, 2))


def number(value: float) -> str:
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.3f}"
