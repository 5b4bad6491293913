"""The report of a run: each check, the sentence of the documents that it checks, and what was seen."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tools.staging.target import Target


class Verdict(StrEnum):
    """Result of a check, or of one observation in it; a check has the first one that any of its observations has.

    Attributes:
        DIFFERS: The documents say something else.
        HELD: As the documents say.
        NOTED: A fact about which the documents say nothing.
    """

    DIFFERS = "differs"
    HELD = "held"
    NOTED = "noted"


@dataclass(frozen=True)
class Seen:
    """One observation: its subject (such as a request), the result, and what was seen."""

    what: str
    verdict: Verdict
    said: str


@dataclass(frozen=True)
class Check:
    """One check: the path of a document, what it says, word for word, and a function that yields observations."""

    name: str
    source: str
    says: str
    run: Callable[[Target], Iterator[Seen]]

    def checked(self, target: Target) -> "Checked":
        """Run the check; an exception is one more observation, which differs."""
        seen = list[Seen]()
        try:
            for each in self.run(target):
                seen.append(each)
        except Exception as error:  # noqa: BLE001 - the other checks go on
            seen.append(judged("the check itself", f"{type(error).__name__}: {error}", holds=False))
        return Checked(self, seen)


@dataclass(frozen=True)
class Checked:
    check: Check
    seen: Sequence[Seen]

    @property
    def verdict(self) -> Verdict:
        """The first verdict, in the order of `Verdict`, that an observation has."""
        return next(verdict for verdict in Verdict if verdict in {each.verdict for each in self.seen})


def judged(what: str, said: object, *, holds: bool) -> Seen:
    return Seen(what, Verdict.HELD if holds else Verdict.DIFFERS, str(said))


def noted(what: str, said: object) -> Seen:
    """Return a fact about which the documents say nothing."""
    return Seen(what, Verdict.NOTED, str(said))


def markdown(region: str, found: Sequence[Checked], left: Sequence[str]) -> str:
    """Return the report of a run: a table, each check, and what the removal left behind."""
    lines = [f"# Staging: AWS, {region}", "", "| check | verdict |", "| --- | --- |"]
    lines += [f"| {number}. {each.check.name} | **{each.verdict}** |" for number, each in enumerate(found, start=1)]
    for each in found:
        lines += ["", f"## {each.check.name}", "", f"{each.check.source} says: {each.check.says}", ""]
        lines += [f"- *{seen.verdict}*: {seen.what}: {' '.join(seen.said.split())}" for seen in each.seen]
    lines += ["", "## Removal", "", *([f"- **left behind**: {each}" for each in left] or ["Nothing is left."])]
    return "\n".join([*lines, ""])
