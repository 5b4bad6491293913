"""Figures of a period, from log lines: what came, what rang and how soon, and what nobody heard. Pure code."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any, NamedTuple

from relay.jobs.job import seconds_of
from relay.jobs.outcome import Outcome
from relayctl import moments
from relayctl.log_lines import Line

HOUR = 3600.0
# Transitions that begin something that people have to answer.
_BEGINS = frozenset({"opened", "worsened", "reopened"})


class Happened(NamedTuple):
    """What a log line says, as far as the report needs it.

    Attributes:
        at: Time of the line (epoch seconds).
        incident: Channel and id of the incident.
        kind: `share`, `job`, `answer`, `fallback` or `dead_letter`.
        outcome: Outcome of a share or a job; text of an answer.
        transition: Transition of the signal; empty without one.
        seconds: From the share's arrival to the accepted signal; 0 for other lines.
        is_dead: True if the share or the job was dead-lettered.
        missed: Steps of criticals that nobody heard, by incident id; empty for other lines.
    """

    at: float
    incident: tuple[str, str]
    kind: str
    outcome: str = ""
    transition: str = ""
    seconds: float = 0.0
    is_dead: bool = False
    missed: Mapping[str, str] = {}


def happened(line: Line) -> Happened | None:
    """Return what a log line of one of the functions says; None for a line that the report leaves out."""
    incident, make = (line.text("channel"), line.text("incident_id")), _KINDS.get(line.message)
    return make(line, incident) if make else None


def _share(line: Line, incident: tuple[str, str]) -> Happened:
    spent = line.fields.get("milliseconds")
    seconds = sum(spent.values()) / 1000 if isinstance(spent, Mapping) else 0.0
    return _signal(line, incident, "share", seconds)


def _job(line: Line, incident: tuple[str, str]) -> Happened | None:
    if line.text("kind") != "signal":
        return None
    try:
        came = seconds_of(line.text("received_at"))
    except ValueError:
        came = line.at
    return _signal(line, incident, "job", max(0.0, line.at - came))


def _signal(line: Line, incident: tuple[str, str], kind: str, seconds: float) -> Happened:
    outcome, is_dead = line.text("outcome"), line.text("queue") == "dead_letter"
    is_rung = outcome == Outcome.DELIVERED
    return Happened(line.at, incident, kind, outcome, line.text("transition"), seconds if is_rung else 0.0, is_dead)


def _answer(line: Line, incident: tuple[str, str]) -> Happened | None:
    if line.text("transition") != "response" or line.text("outcome") == Outcome.UNSAFE:
        return None
    return Happened(line.at, incident, "answer", line.text("answer"))


def _fallback(line: Line, incident: tuple[str, str]) -> Happened:
    missed = line.fields.get("missed")
    return Happened(line.at, incident, "fallback", missed=missed if isinstance(missed, Mapping) else {})


_KINDS: Mapping[str, Callable[[Line, tuple[str, str]], Happened | None]] = {
    "share": _share,
    "job": _job,
    "callback": _answer,
    "fallback notified": _fallback,
    "dead_lettered": lambda line, incident: Happened(line.at, incident, "dead_letter"),
}


class Spread(NamedTuple):
    """Median, 90 % and worst of some times (seconds)."""

    median: float
    ninety: float
    worst: float

    @classmethod
    def of(cls, times: Iterable[float]) -> "Spread | None":
        """Return the spread of times; None without any."""
        ordered = sorted(times)
        if not ordered:
            return None
        return cls(ordered[ceil(len(ordered) / 2) - 1], ordered[ceil(len(ordered) * 0.9) - 1], ordered[-1])

    def document(self) -> dict[str, float]:
        """Return the spread as members of a JSON object, to a tenth of a second."""
        return {f"{name}_seconds": round(value, 1) for name, value in self._asdict().items()}


@dataclass
class Period:
    """Figures of a period.

    Attributes:
        since: Start (epoch seconds).
        until: End (epoch seconds).
        objective: Part of the shares that have to be kept, from 0 to 1: of the rest is the error budget.
        shares: Number of shares.
        outcomes: Number of shares by outcome.
        incidents: Incidents of the shares.
        rings: Number of accepted signals, by the hour since the start.
        quiet: Number of shares that rang nobody, by the hour since the start.
        to_ring: Times from a share to its accepted signal (seconds).
        to_answer: Times from the first signal of an incident to the first answer (seconds).
        answerable: Number of times that an incident began to ring.
        missed: Number of criticals that nobody heard, by step.
        fallbacks: Number of messages to the fallback topic.
        dead_letters: Number of dead-lettered jobs.
    """

    since: float
    until: float
    objective: float
    shares: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    incidents: set[tuple[str, str]] = field(default_factory=set)
    rings: Counter[int] = field(default_factory=Counter)
    quiet: Counter[int] = field(default_factory=Counter)
    to_ring: list[float] = field(default_factory=list)
    to_answer: list[float] = field(default_factory=list)
    answerable: int = 0
    missed: Counter[str] = field(default_factory=Counter)
    fallbacks: int = 0
    dead_letters: int = 0
    _rang_at: dict[tuple[str, str], float | None] = field(default_factory=dict)

    def count(self, lines: Sequence[Happened]) -> None:
        """Count all lines of the period, which may come in any order."""
        for each in sorted(lines, key=lambda line: line.at):
            match each.kind:
                case "share" | "job":
                    self._count_signal(each)
                case "answer":
                    self._count_answer(each)
                case "fallback":
                    self.fallbacks += 1
                    self.missed.update(each.missed.values())
            self.dead_letters += each.is_dead or each.kind == "dead_letter"

    def _count_signal(self, each: Happened) -> None:
        hour = int((each.at - self.since) // HOUR)
        if each.kind == "share":
            self.shares += 1
            self.outcomes[each.outcome] += 1
            self.incidents.add(each.incident)
            self.quiet[hour] += each.outcome in _QUIET
        if each.outcome != Outcome.DELIVERED:
            return
        self.rings[hour] += 1
        self.to_ring.append(each.seconds)
        if each.transition in _BEGINS and each.incident not in self._rang_at:
            self._rang_at[each.incident] = each.at
            self.answerable += 1
        elif each.transition == "resolved":
            self._rang_at.pop(each.incident, None)

    def _count_answer(self, each: Happened) -> None:
        rang_at = self._rang_at.get(each.incident)
        if rang_at is not None:
            self.to_answer.append(each.at - rang_at)
            # The next answer is to the same pages.
            self._rang_at[each.incident] = None

    @property
    def unsafe(self) -> int:
        """Number of shares that the relay could neither deliver nor keep; BigPanda was told to send them again."""
        return self.outcomes[Outcome.UNSAFE]

    @property
    def kept(self) -> float:
        """Part of the shares that were delivered or kept, from 0 to 1."""
        return 1.0 if not self.shares else 1.0 - self.unsafe / self.shares

    @property
    def budget_used(self) -> float:
        """Part of the error budget that was used; above 1 if the objective was missed."""
        return self.unsafe / (self.shares * (1.0 - self.objective)) if self.shares else 0.0

    def document(self) -> dict[str, Any]:
        """Return the figures as a JSON object."""
        ring, answer = Spread.of(self.to_ring), Spread.of(self.to_answer)
        hours = range(ceil((self.until - self.since) / HOUR))
        return {
            "since": moments.iso(self.since),
            "until": moments.iso(self.until),
            "shares": self.shares,
            "incidents": len(self.incidents),
            "signals": sum(self.rings.values()),
            "repeats_not_rung": self.outcomes[Outcome.DUPLICATE] + self.outcomes[Outcome.UNCHANGED],
            "stale_not_rung": self.outcomes[Outcome.SUPERSEDED],
            "to_ring": ring.document() if ring else None,
            "rung_incidents": self.answerable,
            "answered_incidents": len(self.to_answer),
            "to_answer": answer.document() if answer else None,
            "unheard_criticals": dict(self.missed.most_common()),
            "fallback_messages": self.fallbacks,
            "dead_letters": self.dead_letters,
            "kept": round(self.kept, 6),
            "objective": self.objective,
            "error_budget_used": round(self.budget_used, 4),
            "by_hour": [
                {"at": moments.iso(self.since + hour * HOUR), "signals": self.rings[hour], "quiet": self.quiet[hour]}
                for hour in hours
            ],
        }


# Outcomes of shares for which no phone has to ring.
_QUIET = frozenset({Outcome.DUPLICATE, Outcome.UNCHANGED, Outcome.SUPERSEDED, Outcome.SHADOWED})
