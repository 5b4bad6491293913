"""Printed tables, one for each benchmark, within 112 columns."""

from collections.abc import Iterator

from rich import box
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from bench.figures import Aim, Figure, Section, Spread


def of(section: Section) -> Iterator[RenderableType]:
    """Yield a benchmark's title, table and notes."""
    yield Text(f"\n{section.title}", style="bold")
    if section.figures:
        yield _table(section)
    for note in section.notes:
        yield Padding(Text(note, style="dim"), (0, 0, 0, 2))


def _table(section: Section) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("", no_wrap=True)
    for name in ("median", "quartiles"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("against", no_wrap=True)
    for name in ("there", "ratio", "quartiles", "aim"):
        table.add_column(name, justify="right", no_wrap=True)
    for figure in section.figures:
        table.add_row(*_row(figure))
    return table


def _row(figure: Figure) -> tuple[str | Text, ...]:
    ratio = (f"{figure.ratio.median:.2f}", _quartiles(figure.ratio, ".2f")) if figure.ratio else ("", "")
    there = number(figure.base.median) if figure.base else ""
    value = f"{number(figure.value.median)} {figure.unit}".rstrip()
    return (figure.name, value, _quartiles(figure.value), figure.against or "", there, *ratio, _aim(figure))


def _quartiles(spread: Spread, form: str | None = None) -> str:
    if spread.count == 1:
        return ""
    return "…".join(format(value, form) if form else number(value) for value in (spread.low, spread.high))


def _aim(figure: Figure) -> str | Text:
    if figure.aim is None:
        return ""
    return Text(
        f"{_limit(figure.aim)} {'met' if figure.is_met else 'missed'}", style="green" if figure.is_met else "red"
    )


def _limit(aim: Aim) -> str:
    return f"{'≥' if aim.at_least else '≤'} {aim.limit:g}{'x' if aim.of == 'ratio' else ''}"


def number(value: float) -> str:
    """Return a number as text with its significant digits."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.3f}"
