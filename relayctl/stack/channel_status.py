"""Status of a channel, and the judgement of its health. Pure code."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from relay.channels.channel import Channel
from relay.channels.policy import Policy
from relay.delivery.channel_health import (
    Debts,
    ShareWatch,
    age,
    momentary_reasons,
    ongoing_reasons,
    owed_reasons,
)
from relay.incidents.share import TEST_PREFIX
from relay.ledger.channel_rate_limiter import Gate
from relay.sweeper.canary import Canary
from relayctl import moments
from relayctl.channel import pauses
from relayctl.channel.endpoints import Use, last_use
from relayctl.failed_calls import Readings
from relayctl.log_lines import JOB_WORKER, WEBHOOK, Line, LinesCutError, LogReader
from relayctl.moments import DAY, HOUR
from relayctl.terminal import counted

# The lines that count: function and message, how far back in seconds, and answers of FilterLogEvents that are read.
_READ = ((WEBHOOK, "share", HOUR, 60), (JOB_WORKER, "job", HOUR, 60), (WEBHOOK, "request refused", DAY, 30))


@dataclass
class Traffic:
    """Traffic of a channel in the last hour, and its refused requests of the last day. Times are epoch seconds."""

    shares: int = 0
    signals: int = 0  # Number of signals that xMatters accepted
    last_share: float | None = None  # Other than of a test incident
    last_signal: float | None = None  # Time of the last accepted signal
    refused: int = 0  # Requests with a wrong credential
    refused_at: float = 0.0  # Time of the last one

    def add(self, line: Line) -> None:
        if line.message == "request refused":
            is_share = line.fields.get("may_be_share") is True
            self.refused, self.refused_at = self.refused + is_share, max(self.refused_at, line.at * is_share)
            return
        is_share = line.message == "share"
        self.shares += is_share
        if is_share and not line.text("incident_id").startswith(TEST_PREFIX):
            self.last_share = max(self.last_share or 0.0, line.at)
        if line.text("outcome") == "delivered" and (is_share or line.text("kind") in {"signal", ""}):
            self.signals += 1
            self.last_signal = max(self.last_signal or 0.0, line.at)

    def refused_words(self, now: float) -> str:
        requests, ago = counted(self.refused, "request"), age(now - self.refused_at)
        return f"{requests} with a wrong credential refused in a day, the last {ago} ago"


def read_traffic(reader: LogReader, readings: Readings, now: float) -> Mapping[str, Traffic] | None:
    """Return the traffic by channel, which is too low if there are too many lines; None if a log cannot be read."""
    found, complete = defaultdict[str, Traffic](Traffic), 0
    for function, message, seconds, most in _READ:
        with readings.reading(f"log {function}"):
            try:
                for line in reader.lines(function, (message,), now - seconds, most):
                    found[line.text("channel")].add(line)
            except LinesCutError as error:
                readings.note(f"log {function}", str(error))
            complete += 1
    return found if complete == len(_READ) else None


class Health(StrEnum):
    """Degree of a channel's health; the members are in order, the worst first."""

    SICK = "sick"
    UNKNOWN = "unknown"
    OWES = "owes"
    OK = "ok"


class ChannelStatus(NamedTuple):
    """Status of a channel, from which its health is judged. An attribute is None if it could not be read."""

    name: str
    changed_at: float | None = None  # Time of the last change of its secret (epoch seconds)
    problem: str | None = None  # Why the secret cannot be used; None if it is valid, or was not read
    channel: Channel | None = None
    traffic: Traffic | None = None  # Traffic of the last hour
    debts: Debts | None = None  # The channel's states that are owed to xMatters; None if they could not be read
    gate: Gate | None = None  # State of its rate limiter and circuit breaker (`ledger.channel_rate_limiter`)
    uses: Sequence[Use] = ()  # Last uses of its credentials; empty if they could not be read
    shares: ShareWatch | None = None  # None if its policy expects none, or the last one is not known
    refused: Sequence[str] = ()  # Texts about unchanged credentials that a vendor refused when last probed
    canary: Canary | None = None  # Its canary; None if it has none, or if it could not be read

    @property
    def policy(self) -> Policy | None:
        return self.channel.policy if self.channel else None

    @property
    def shared_at(self) -> float | None:
        """Time of the last share with the right credentials, up to an hour too early (epoch seconds), or None."""
        return last_use(self.uses, "inbound", "current", "previous")


class Judgement(NamedTuple):
    """Health of a channel, and the reasons for it in words, the most important first."""

    health: Health
    why: tuple[str, ...]


def judge(status: ChannelStatus, now: float) -> Judgement:
    debts = status.debts
    sick = [status.problem] if status.problem else []
    circuit = status.gate.circuit if status.gate else None
    failed = status.canary.failure if status.canary else ""
    sick += ongoing_reasons(debts, circuit, status.shares, now, refused=status.refused, canary=failed)
    sick += filter(None, [only_refused(status, now)])
    if debts:
        sick += momentary_reasons(debts)
    if sick:
        return Judgement(Health.SICK, tuple(sick))
    if debts is None:
        return Judgement(Health.UNKNOWN, ("its debts could not be read",))
    if debts.oldest is not None and debts.oldest > now:
        # The ledger has no reason for a flap.
        until = moments.moment(debts.oldest)
        return Judgement(Health.OWES, (f"{owed_words(debts)}, waiting for the end of a pause or a flap at {until}",))
    if debts.owed:
        since = "?" if debts.oldest is None else age(now - debts.oldest)
        return Judgement(Health.OWES, (f"owed for {since}{owed_reasons(debts)}",))
    if debts.given_up_other:
        return Judgement(Health.OWES, (f"{debts.given_up_other} given up",))
    return Judgement(Health.OK, ())


def owed_words(debts: Debts) -> str:
    """Return the owed states in words, such as `1 critical, 2 other owed`; empty if nothing is owed."""
    counts = {"critical": debts.critical, "other": debts.other}
    said = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    return f"{said} owed" if said else ""


def only_refused(status: ChannelStatus, now: float) -> str | None:
    """Return the reason why the channel is sick if requests were refused and no share was accepted since, else None."""
    traffic = status.traffic
    if traffic is None or not traffic.refused:
        return None
    # Without the right to read the secret the uses are not known, and only the last hour is judged.
    used_at = min((status.shared_at or 0.0) + HOUR, now - HOUR) if status.uses else now - HOUR
    is_accepted = (traffic.last_share or used_at) >= traffic.refused_at
    return None if is_accepted else f"{traffic.refused_words(now)}, and no share came since"


def circuit(gate: Gate, now: float) -> str:
    """Return the circuit's state at `now` (epoch seconds): `closed`, `open`, or, after `open_until`, `probing`."""
    if gate.circuit.open_until is None:
        return "closed"
    return "open" if gate.circuit.is_open(now) else "probing"


def in_order(found: Sequence[ChannelStatus], now: float) -> list[ChannelStatus]:
    """Return the channels: the least healthy first, then by name."""
    return sorted(found, key=lambda each: (list(Health).index(judge(each, now).health), each.name))


def document(status: ChannelStatus, now: float) -> dict[str, Any]:
    traffic, debts, gate, judgement = status.traffic, status.debts, status.gate, judge(status, now)
    return {
        "channel": status.name,
        "health": judgement.health,
        "why": list(judgement.why),
        **pauses.document(status.policy, now),
        "shares_last_hour": traffic.shares if traffic else None,
        "signals_last_hour": traffic.signals if traffic else None,
        "refused_last_day": traffic.refused if traffic else None,
        "last_share_at": moments.iso_or_none(traffic.last_share if traffic else status.shared_at),
        "last_signal_at": moments.iso_or_none(traffic.last_signal if traffic else None),
        "owed_critical": debts.critical if debts else None,
        "owed_other": debts.other if debts else None,
        "oldest_debt_at": moments.iso_or_none(debts.oldest if debts else None),
        "given_up_critical": debts.given_up if debts else None,
        "given_up_other": debts.given_up_other if debts else None,
        "circuit": circuit(gate, now) if gate else None,
        "circuit_open_until": moments.iso_or_none(
            gate.circuit.open_until if gate and gate.circuit.is_open(now) else None
        ),
        "rate_used": gate.counted(now) if gate else None,
        "rate_limit": status.policy.max_per_minute if status.policy else None,
        "secret_changed_at": moments.iso_or_none(status.changed_at),
        "credentials": [each.document() for each in status.uses],
        "canary_at": moments.iso_or_none((status.canary and status.canary.judged_at) or None),
        "canary_failure": (status.canary and status.canary.failure) or None,
    }
