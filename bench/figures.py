"""Results of benchmarks: figures with their spread, the compared figure, the ratio and the aim. Pure code."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of some values.

    Attributes:
        median: the median.
        low: the first quartile.
        high: the third quartile.
        count: number of values.
    """

    median: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Return the spread of some values. Raises ValueError if there are none."""
        if not values:
            raise ValueError("nothing was measured: there is no median")
        if len(values) == 1:
            return cls(values[0], values[0], values[0], 1)
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high, len(values))


@dataclass(frozen=True)
class Aim:
    """Aim for a figure.

    Attributes:
        limit: the bound, in the figure's unit or as a ratio.
        of: selects the median that is compared with the limit: the median of the value, or of the ratio.
        at_least: True if `limit` is a lower bound, False if it is an upper bound.
    """

    limit: float
    of: Literal["value", "ratio"] = "value"
    at_least: bool = False

    def is_met_by(self, value: float) -> bool:
        """Return True if a value keeps to the limit."""
        return value >= self.limit if self.at_least else value <= self.limit


@dataclass(frozen=True)
class Figure:
    """One row of a table.

    Attributes:
        name: the row's label; two spaces in front indent it below the row before.
        unit: unit of the value and the base; empty for a plain number.
        value: the measured spread.
        against: name of the compared figure; None if the value is not compared.
        base: spread of the compared figure in the same rounds; None if the value is not compared.
        ratio: spread of value divided by base, round by round; None if the value is not compared.
        aim: the aim that judges the row; None if there is none.
    """

    name: str
    unit: str
    value: Spread
    against: str | None = None
    base: Spread | None = None
    ratio: Spread | None = None
    aim: Aim | None = None

    @property
    def is_met(self) -> bool | None:
        """True if the median keeps to the aim; None without an aim."""
        judged = self.ratio if self.aim and self.aim.of == "ratio" else self.value
        return self.aim.is_met_by(judged.median) if self.aim and judged else None


@dataclass(frozen=True)
class Section:
    """Result of one benchmark.

    Attributes:
        name: the benchmark's name, as `--only` takes it.
        title: heading of the table.
        figures: rows of the table.
        notes: conditions of the measurement, printed below the table.
    """

    name: str
    title: str
    figures: Sequence[Figure]
    notes: Sequence[str] = ()


def measured(name: str, unit: str, *values: float, aim: Aim | None = None) -> Figure:
    """Return a figure that is not compared with another."""
    return Figure(name, unit, Spread.of(values), aim=aim)


def compared(
    name: str, unit: str, values: Sequence[float], bases: Sequence[float], against: str, aim: Aim | None = None
) -> Figure:
    """Return a figure with its ratio to a base that was measured in the same rounds.

    The ratio is computed for each round, so that a slow phase of the machine affects both sides alike.
    """
    ratios = [value / base for value, base in zip(values, bases, strict=True)]
    return Figure(name, unit, Spread.of(values), against, Spread.of(bases), Spread.of(ratios), aim)
