"""Figures of a period, from log lines: what came, what rang and how soon, and what nobody heard. Pure code."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import Any, NamedTuple

from relay.delivery.channel_health import age
from relay.jobs.job import seconds_of
from relay.jobs.outcome import Outcome
from relayctl import moments
from relayctl.log_lines import Line

HOUR = 3600.0
# Fields of a log line that are counted.
FIELDS = (
    *("message", "channel", "incident_id", "outcome", "transition", "queue", "milliseconds", "kind", "received_at"),
    "missed",
)
# Transitions that begin something that people have to answer.
_BEGINS = frozenset({"opened", "worsened", "reopened"})


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


def spread_words(times: Mapping[str, float]) -> str:
    """Return the members of a spread's JSON object in words."""
    median, ninety, worst = (_duration(times[f"{name}_seconds"]) for name in Spread._fields)
    return f"{median} (median), {ninety} (90 %), {worst} (worst)"


def _duration(seconds: float) -> str:
    return f"{seconds:.1f}s" if seconds < 60 else age(seconds)


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

    def count(self, lines: Iterable[Line]) -> None:
        """Count all lines of the period, which may come in any order."""
        for line in sorted(lines, key=lambda each: each.at):
            incident = (line.text("channel"), line.text("incident_id"))
            match line.message:
                case "share":
                    self._count_share(line, incident)
                case "job" if line.text("kind") == "signal":
                    self._count_signal(line, incident, max(0.0, line.at - _came(line)))
                case "callback" if line.text("transition") == "response" and line.text("outcome") != Outcome.UNSAFE:
                    self._count_answer(line, incident)
                case "fallback notified":
                    missed = line.fields.get("missed")
                    self.fallbacks += 1
                    self.missed.update(missed.values() if isinstance(missed, Mapping) else ())
                case "dead_lettered":
                    self.dead_letters += 1

    def _count_share(self, line: Line, incident: tuple[str, str]) -> None:
        outcome, spent = line.text("outcome"), line.fields.get("milliseconds")
        self.shares += 1
        self.outcomes[outcome] += 1
        self.incidents.add(incident)
        self.quiet[self._hour(line)] += outcome in _QUIET
        self._count_signal(line, incident, sum(spent.values()) / 1000 if isinstance(spent, Mapping) else 0.0)

    def _count_signal(self, line: Line, incident: tuple[str, str], seconds: float) -> None:
        """Count a line of a share or a job; `seconds` is the time from the share to the line."""
        transition = line.text("transition")
        self.dead_letters += line.text("queue") == "dead_letter"
        if line.text("outcome") != Outcome.DELIVERED:
            return
        self.rings[self._hour(line)] += 1
        self.to_ring.append(seconds)
        if transition in _BEGINS and incident not in self._rang_at:
            self._rang_at[incident] = line.at
            self.answerable += 1
        elif transition == "resolved":
            self._rang_at.pop(incident, None)

    def _count_answer(self, line: Line, incident: tuple[str, str]) -> None:
        rang_at = self._rang_at.get(incident)
        if rang_at is not None:
            self.to_answer.append(line.at - rang_at)
            # The next answer is to the same pages.
            self._rang_at[incident] = None

    def _hour(self, line: Line) -> int:
        return int((line.at - self.since) // HOUR)

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


def _came(line: Line) -> float:
    try:
        return seconds_of(line.text("received_at"))
    except ValueError:
        return line.at
