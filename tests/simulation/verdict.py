"""Verdict of a schedule."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """Result of a schedule.

    Attributes:
        seed: seed of the schedule.
        problems: broken invariants; empty if all held.
        words: the schedule in words, line by line.
    """

    seed: int
    problems: list[str]
    words: list[str]
