"""Status of a channel, and the judgement of its health. Pure code."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from relay.errors import Reason
from relay.ledger.entry import Entry
from relay.ledger.rate_limiter import Gate
from relayctl import moments
from relayctl.credential_uses import Use
from relayctl.hour_traffic import Traffic
from relayctl.timeline_ledger import next_attempt

# A critical that is owed for longer makes the channel sick: the first attempts and retries are over by then.
SICK_CRITICAL_SECONDS = 120.0
# Any debt that is older makes the channel sick: the longest backoff is over by then.
SICK_SECONDS = 900.0


class Health(StrEnum):
    """Health of a channel, the worst first."""

    SICK = "sick"
    UNKNOWN = "unknown"
    OWES = "owes"
    OK = "ok"


@dataclass
class Debts:
    """Debts of a channel.

    Attributes:
        critical: Number of owed criticals.
        other: Number of other owed states.
        given_up: Number of dead-lettered criticals that the fallback topic was not notified of yet.
        unconfirmed: Number of critical signals without a page, not yet announced to the fallback topic.
        oldest: Since when the oldest state is owed (epoch seconds); None if none is.
        oldest_critical: The same for criticals.
        next_attempt: The latest time of the next attempt (epoch seconds); None if none waits.
        reasons: Number of owed states by the reason of their last failure or wait.
    """

    critical: int = 0
    other: int = 0
    given_up: int = 0
    unconfirmed: int = 0
    oldest: float | None = None
    oldest_critical: float | None = None
    next_attempt: float | None = None
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def owed(self) -> int:
        """Number of owed states for which an attempt waits."""
        return self.critical + self.other

    def add(self, entry: Entry) -> None:
        """Count the entry of a row of the ledger's index."""
        self.unconfirmed += entry.debt.unconfirmed
        if entry.debt.since is None:
            return
        if entry.dead_letter.state is not None:
            self.given_up += 1
            return
        self.reasons.update([entry.debt.reason] if entry.debt.reason else [])
        self.oldest = _earliest(self.oldest, entry.debt.since)
        self.next_attempt = _earliest(self.next_attempt, next_attempt(entry))
        if entry.debt.is_critical:
            self.critical += 1
            self.oldest_critical = _earliest(self.oldest_critical, entry.debt.since)
        else:
            self.other += 1


class ChannelStatus(NamedTuple):
    """What is known of a channel. None stands for a part that could not be read.

    Attributes:
        name: Name of the channel.
        changed_at: Time of the last change of its secret (epoch seconds).
        problem: Why its secret cannot be used; None if it can, or it was not read.
        limit: Signals a minute at most.
        confirms_pages: True if the channel has access to xMatters' REST API.
        traffic: Traffic of the last hour.
        debts: Its debts.
        gate: Its rate limiter and circuit breaker.
        page_at: Time of the newest signal whose page is known (epoch seconds); None if none of the hour's is.
        page: Number of that page.
        uses: Last uses of its credentials.
    """

    name: str
    changed_at: float | None = None
    problem: str | None = None
    limit: int | None = None
    confirms_pages: bool | None = None
    traffic: Traffic | None = None
    debts: Debts | None = None
    gate: Gate | None = None
    page_at: float | None = None
    page: str = ""
    uses: Sequence[Use] = ()


class Judgement(NamedTuple):
    """Health of a channel, and the reasons for it in words, the most important first."""

    health: Health
    why: tuple[str, ...]


def judge(status: ChannelStatus, now: float) -> Judgement:
    """Return the health of a channel at `now` (epoch seconds)."""
    sick = [status.problem] if status.problem else []
    if is_open(status.gate, now) and status.gate:
        sick.append(f"circuit open until {moments.clock(status.gate.circuit.open_until or now)}")
    debts = status.debts
    if debts:
        sick += _sick_debts(debts, now)
    if sick:
        return Judgement(Health.SICK, tuple(sick))
    if debts is None:
        return Judgement(Health.UNKNOWN, ("its debts could not be read",))
    if debts.owed:
        return Judgement(Health.OWES, (f"owed for {_age(debts.oldest, now)}{_reasons(debts)}",))
    return Judgement(Health.OK, ())


def is_open(gate: Gate | None, now: float) -> bool:
    """True if the circuit blocks all signals."""
    return gate is not None and gate.circuit.is_open(now)


def circuit(gate: Gate, now: float) -> str:
    """Return the circuit's state: `closed`, `open`, or `probing` after an open circuit's time is over."""
    if gate.circuit.open_until is None:
        return "closed"
    return "open" if is_open(gate, now) else "probing"


def in_order(found: Sequence[ChannelStatus], now: float) -> list[tuple[ChannelStatus, Judgement]]:
    """Return the channels with their judgements: the least healthy first, then the oldest debt, then the name."""
    judged = [(each, judge(each, now)) for each in found]
    ranks = list(Health)

    def place(each: tuple[ChannelStatus, Judgement]) -> tuple[int, float, str]:
        oldest = each[0].debts.oldest if each[0].debts else None
        return ranks.index(each[1].health), now if oldest is None else oldest, each[0].name

    return sorted(judged, key=place)


def document(status: ChannelStatus, judgement: Judgement, now: float) -> dict[str, Any]:
    """Return a channel's status for programs; null for what is not known."""
    traffic, debts, gate = status.traffic, status.debts, status.gate
    oldest = debts.oldest if debts else None
    return {
        "channel": status.name,
        "health": judgement.health,
        "why": list(judgement.why),
        "shares_last_hour": traffic.shares if traffic else None,
        "signals_last_hour": traffic.signals if traffic else None,
        "last_share_at": moments.iso_or_none(traffic.last_share if traffic else None),
        "last_signal_at": moments.iso_or_none(traffic.last_signal if traffic else None),
        "owed_critical": debts.critical if debts else None,
        "owed_other": debts.other if debts else None,
        "oldest_debt_at": moments.iso_or_none(oldest),
        "oldest_debt_seconds": None if oldest is None else max(0, round(now - oldest)),
        "next_attempt_by": moments.iso_or_none(debts.next_attempt if debts else None),
        "reasons": dict(debts.reasons) if debts else None,
        "given_up": debts.given_up if debts else None,
        "unconfirmed": debts.unconfirmed if debts else None,
        "circuit": circuit(gate, now) if gate else None,
        "circuit_open_until": moments.iso_or_none(gate.circuit.open_until if gate and is_open(gate, now) else None),
        "failures": gate.circuit.failures if gate else None,
        "rate_used": gate.counted(now) if gate else None,
        "rate_limit": status.limit,
        "last_page_confirmed_at": moments.iso_or_none(status.page_at),
        "last_page": status.page or None,
        "secret_changed_at": moments.iso_or_none(status.changed_at),
        "credentials": [each.document() for each in status.uses],
    }


def _sick_debts(debts: Debts, now: float) -> list[str]:
    found = []
    if debts.oldest_critical is not None and now - debts.oldest_critical > SICK_CRITICAL_SECONDS:
        found.append(f"a critical is owed for {_age(debts.oldest_critical, now)}{_reasons(debts)}")
    elif debts.oldest is not None and now - debts.oldest > SICK_SECONDS:
        found.append(f"owed for {_age(debts.oldest, now)}{_reasons(debts)}")
    elif debts.reasons[Reason.CREDENTIALS]:
        found.append("xMatters refuses the credentials")
    if debts.given_up:
        found.append(f"{debts.given_up} dead-lettered criticals")
    if debts.unconfirmed:
        found.append(f"{debts.unconfirmed} critical signals made no page")
    return found


def _reasons(debts: Debts) -> str:
    named = ", ".join(f"{reason} {count}" for reason, count in debts.reasons.most_common(3))
    return f" ({named})" if named else ""


def _age(at: float | None, now: float) -> str:
    return "?" if at is None else moments.age(now - at)


def _earliest(known: float | None, found: float | None) -> float | None:
    return min((each for each in (known, found) if each is not None), default=None)
