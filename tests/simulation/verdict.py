"""Verdict of a schedule."""

import re
from dataclasses import dataclass
from hashlib import sha256


@dataclass(frozen=True)
class Verdict:
    """Result of a schedule: its broken invariants, and the schedule in words, line by line."""

    seed: int
    problems: list[str]
    words: list[str]

    @property
    def kinds(self) -> set[str]:
        """Kinds of the problems: their words before the colon, without numbers and names of incidents."""
        return {re.sub(r"\S*\d\S*", "*", problem.partition(":")[0]) for problem in self.problems}

    @property
    def digest(self) -> str:
        """Short digest of the words. The same schedule has another one if the library did something else in it."""
        return sha256("\n".join(self.words).encode()).hexdigest()[:8]
