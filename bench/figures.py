"""What was measured: figures with their spread, what they are compared with, and what is aimed at. Pure code."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self


@dataclass(frozen=True)
class Spread:
    """The median of some values, and the quartiles below and above it."""

    median: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """The spread of at least one value. Raises ValueError where there is none."""
        if not values:
            raise ValueError("there is nothing to take the median of")
        if len(values) == 1:
            return cls(values[0], values[0], values[0], 1)
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high, len(values))


@dataclass(frozen=True)
class Aim:
    """What a figure, or its ratio, should be: at most `limit`, or at least that."""

    limit: float
    of: Literal["value", "ratio"] = "value"
    at_least: bool = False

    def is_met_by(self, value: float) -> bool:
        """Whether a value is as good as that."""
        return value >= self.limit if self.at_least else value <= self.limit


@dataclass(frozen=True)
class Figure:
    """One row: a value in its unit, what it is compared with in the same run, and the ratio of both."""

    name: str
    unit: str
    value: Spread
    against: str | None = None
    base: Spread | None = None
    ratio: Spread | None = None
    aim: Aim | None = None

    @property
    def is_met(self) -> bool | None:
        """Whether its median is what is aimed at; None where nothing is."""
        judged = self.ratio if self.aim and self.aim.of == "ratio" else self.value
        return self.aim.is_met_by(judged.median) if self.aim and judged else None


@dataclass(frozen=True)
class Section:
    """The figures of one benchmark, and what has to be known to read them."""

    name: str
    title: str
    figures: Sequence[Figure]
    notes: Sequence[str] = ()


def measured(name: str, unit: str, *values: float, aim: Aim | None = None) -> Figure:
    """A figure that stands for itself."""
    return Figure(name, unit, Spread.of(values), aim=aim)


def compared(
    name: str, unit: str, values: Sequence[float], bases: Sequence[float], against: str, aim: Aim | None = None
) -> Figure:
    """A figure beside what was measured in the same rounds.

    The ratio is taken round by round, so that a machine which slows down for a while slows both.
    """
    ratios = [value / base for value, base in zip(values, bases, strict=True)]
    return Figure(name, unit, Spread.of(values), against, Spread.of(bases), Spread.of(ratios), aim)
