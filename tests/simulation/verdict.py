"""Verdict of a schedule."""

import re
from dataclasses import dataclass
from hashlib import sha256


@dataclass(frozen=True)
class Verdict:
    """Result of a schedule: its broken invariants, and the schedule in words, line by line.

    Attributes:
        effects: digest of all that left the library; empty if it was not taken.
    """

    seed: int
    problems: list[str]
    words: list[str]
    effects: str = ""

    @property
    def kinds(self) -> set[str]:
        """Kinds of the problems: their words before the colon, without numbers and names of incidents."""
        return {re.sub(r"\S*\d\S*", "*", problem.partition(":")[0]) for problem in self.problems}

    @property
    def digest(self) -> str:
        """Digests of the log, which follows the story, and of the effects: others if the library did something else."""
        log = "\n".join(self.words).partition("\n\n")[2]
        return f"{sha256(log.encode()).hexdigest()[:8]}/{self.effects}"
