"""The report of a run: each check, the sentence of the documents that it checks, what was seen, and a bill."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tools.staging.target import Target


class Verdict(StrEnum):
    """Result of a check, or of one observation in it; a check has the first one that any of its observations has.

    Attributes:
        DIFFERS: The documents say something else.
        HELD: As the documents say.
        NOTED: A fact about which the documents say nothing.
        SKIPPED: Nothing was looked at.
    """

    DIFFERS = "differs"
    HELD = "held"
    NOTED = "noted"
    SKIPPED = "skipped here"


@dataclass(frozen=True)
class Seen:
    """One observation.

    Attributes:
        what: The subject, such as a request.
        verdict: The result.
        said: What was seen; or the reason why nothing was looked at.
    """

    what: str
    verdict: Verdict
    said: str


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        name: Its name.
        source: Path of the document, from the root of the clone.
        says: What it says, word for word.
        run: Yields the observations, at least one; may raise anything.
    """

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
    """A check that was run, with its observations."""

    check: Check
    seen: Sequence[Seen]

    @property
    def verdict(self) -> Verdict:
        """The first verdict, in the order of `Verdict`, that an observation has."""
        return next(verdict for verdict in Verdict if verdict in {each.verdict for each in self.seen})


def judged(what: str, said: object, *, holds: bool) -> Seen:
    """Return an observation that agrees with the documents, or does not."""
    return Seen(what, Verdict.HELD if holds else Verdict.DIFFERS, str(said))


def noted(what: str, said: object) -> Seen:
    """Return a fact about which the documents say nothing."""
    return Seen(what, Verdict.NOTED, str(said))


def skipped(what: str, why: str) -> Seen:
    """Return an observation that was not made, with the reason."""
    return Seen(what, Verdict.SKIPPED, why)


def markdown(place: str, found: Sequence[Checked], left: Sequence[str], bill: Mapping[str, str]) -> str:
    """Return the report of a run: a table, each check, what the removal left behind, and amounts by item."""
    lines = [f"# Staging: {place}", "", "| check | verdict |", "| --- | --- |"]
    lines += [f"| {number}. {each.check.name} | **{each.verdict}** |" for number, each in enumerate(found, start=1)]
    for each in found:
        lines += ["", f"## {each.check.name}", "", f"{each.check.source} says: {each.check.says}", ""]
        lines += [f"- *{seen.verdict}*: {seen.what}: {' '.join(seen.said.split())}" for seen in each.seen]
    lines += ["", "## Removal", "", *([f"- **left behind**: {each}" for each in left] or ["Nothing is left."])]
    lines += ["", "## Bill", "", *(f"- {item}: {amount}" for item, amount in bill.items()), ""]
    return "\n".join(lines)
