"""Figures of reports from log lines: what came, what rang or would have rung, how soon, and what nobody heard."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import ceil
from typing import Any, NamedTuple

from relay.delivery.channel_health import age
from relay.incidents.share import time_of
from relay.jobs.outcome import Outcome
from relayctl import moments
from relayctl.log_lines import Line
from relayctl.moments import HOUR, MINUTE

# Fields of a log line that are counted.
FIELDS = (
    *("message", "channel", "incident_id", "outcome", "transition", "queue", "milliseconds", "kind", "received_at"),
    *("missed", "why", "status", "recipients", "unguarded"),
)
# Transitions that begin something that people have to answer.
_BEGINS = frozenset({"opened", "worsened", "reopened"})
# Outcomes of shares for which no phone has to ring.
_QUIET = frozenset({Outcome.DUPLICATE, Outcome.UNCHANGED, Outcome.SUPERSEDED, Outcome.SHADOWED})


class Spread(NamedTuple):
    """Median, 90 % and worst of some times (seconds)."""

    median: float
    ninety: float
    worst: float

    @classmethod
    def of(cls, times: Iterable[float]) -> "Spread | None":
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


def period_figures(found: Iterable[Line], since: float, until: float, objective: float) -> dict[str, Any]:
    """Return the figures of a period as a JSON object. `objective` is the part of the shares to keep, from 0 to 1."""
    lines = sorted(found, key=lambda each: each.at)
    shares = [line for line in lines if line.message == "share"]
    signals = [line for line in lines if line.message == "share" or _is(line, "job", kind="signal")]
    rung = [line for line in signals if line.text("outcome") == Outcome.DELIVERED]
    outcomes = Counter(line.text("outcome") for line in shares)
    fallbacks = [line.fields.get("missed") for line in lines if line.message == "fallback notified"]
    missed = Counter(step for each in fallbacks if isinstance(each, Mapping) for step in each.values())
    dead = [line for line in signals if line.text("queue") == "dead_letter"]
    begun, answered = _answers(lines, rung)
    ring, answer = Spread.of(map(_seconds_to_ring, rung)), Spread.of(answered)
    # BigPanda is told to send a share again that the relay could neither deliver nor keep.
    unsafe, count = outcomes[Outcome.UNSAFE], len(shares)
    return {
        "since": moments.iso(since),
        "until": moments.iso(until),
        "shares": count,
        "incidents": len(set(map(_incident, shares))),
        "signals": len(rung),
        "repeats_not_rung": outcomes[Outcome.DUPLICATE] + outcomes[Outcome.UNCHANGED],
        "stale_not_rung": outcomes[Outcome.SUPERSEDED],
        "to_ring": ring.document() if ring else None,
        "rung_incidents": begun,
        "answered_incidents": len(answered),
        "to_answer": answer.document() if answer else None,
        "unheard_criticals": dict(missed.most_common()),
        "fallback_messages": len(fallbacks),
        "dead_letters": len(dead) + sum(line.message == "dead_lettered" for line in lines),
        "kept": round(1.0 - unsafe / count, 6) if count else 1.0,
        "objective": objective,
        "error_budget_used": round(unsafe / (count * (1.0 - objective)), 4) if count else 0.0,
        "by_hour": list(_by_hour(rung, [line for line in shares if line.text("outcome") in _QUIET], since, until)),
    }


def _is(line: Line, message: str, **fields: str) -> bool:
    return line.message == message and all(line.text(name) == value for name, value in fields.items())


def _incident(line: Line) -> tuple[str, str]:
    return line.text("channel"), line.text("incident_id")


def _seconds_to_ring(line: Line) -> float:
    if line.message == "share":
        spent = line.fields.get("milliseconds")
        return sum(spent.values()) / 1000 if isinstance(spent, Mapping) else 0.0
    return max(0.0, line.at - (time_of(line.text("received_at")) or line.at))


def _answers(lines: Sequence[Line], rung: Sequence[Line]) -> tuple[int, list[float]]:
    """Return how often an incident began to ring, and the times from then to the first answer (seconds)."""
    begun, answered, signals = 0, list[float](), set(map(id, rung))
    # Time of an incident's first signal; None once it is answered: the next answer is to the same pages.
    rang_at = dict[tuple[str, str], float | None]()
    for line in lines:
        incident, transition = _incident(line), line.text("transition")
        if id(line) in signals and transition in _BEGINS and incident not in rang_at:
            rang_at[incident] = line.at
            begun += 1
        elif id(line) in signals and transition == "resolved":
            rang_at.pop(incident, None)
        elif _is_answer(line) and (at := rang_at.get(incident)) is not None:
            answered.append(line.at - at)
            rang_at[incident] = None
    return begun, answered


def _is_answer(line: Line) -> bool:
    return _is(line, "callback", transition="response") and line.text("outcome") != Outcome.UNSAFE


def _by_hour(rung: Sequence[Line], quiet: Sequence[Line], since: float, until: float) -> Iterator[dict[str, Any]]:
    signals, silent = (Counter(int((line.at - since) // HOUR) for line in some) for some in (rung, quiet))
    for hour in range(ceil((until - since) / HOUR)):
        yield {"at": moments.iso(since + hour * HOUR), "signals": signals[hour], "quiet": silent[hour]}


# Outcomes of shares that a channel in shadow mode would not signal.
SUPPRESSED: Mapping[str, str] = {
    Outcome.UNCHANGED: "nothing that the channel announces",
    Outcome.DUPLICATE: "a copy of a known share",
    Outcome.SUPERSEDED: "a newer state of the incident was known",
}


def shadow_figures(lines: Sequence[Line], most: int) -> dict[str, Any]:
    """Return the counts of a channel's shares as a JSON object, in which the newest `most` signals are listed."""
    signals = sorted((line for line in lines if line.text("outcome") == Outcome.SHADOWED), key=lambda line: line.at)
    suppressed = Counter(
        (line.text("outcome"), line.text("transition"), line.text("why"))
        for line in lines
        if line.text("outcome") in SUPPRESSED
    )
    minutes = Counter(int(line.at // MINUTE) for line in signals)
    # The latest minute, if several have as many signals.
    peak = max(minutes, key=lambda each: (minutes[each], each), default=None)
    return {
        "shares": len(lines),
        # The channel was not in shadow mode then.
        "live_shares": len(lines) - len(signals) - suppressed.total(),
        "signals": len(signals),
        "unguarded_signals": sum(bool(line.text("unguarded")) for line in signals),
        "by_transition": dict(Counter(line.text("transition") for line in signals).most_common()),
        "by_recipient": dict(Counter(name for line in signals for name in _recipients(line)).most_common()),
        # The workflow in xMatters names the recipients of these.
        "without_named_recipient": sum(not _recipients(line) for line in signals),
        "peak_signals": 0 if peak is None else minutes[peak],
        "peak_at": None if peak is None else moments.iso(peak * MINUTE),
        "listed": [
            {
                "at": moments.iso(line.at),
                "incident_id": line.text("incident_id"),
                **{name: line.text(name) or None for name in ("transition", "why", "status")},
                "recipients": _recipients(line),
                "unguarded": bool(line.text("unguarded")),
            }
            for line in signals[len(signals) - min(most, len(signals)) :]
        ],
        "suppressed": [
            {"outcome": outcome, "transition": transition, "why": why, "count": number}
            for (outcome, transition, why), number in suppressed.most_common()
        ],
    }


def _recipients(line: Line) -> list[str]:
    named = line.fields.get("recipients")
    return list(map(str, named)) if isinstance(named, list) else []
