"""Rate limit and circuit breaker of a channel, shared by all functions that signal it.

A gate is one item of the ledger's table, and stays small whatever the limit is. It counts signals by the second, so
that no minute ever holds more than the limit. A signal that finds no room gets the next free moment of its line,
critical or other; a line is one number, its end. Critical signals go first: as long as one of them is waited for, the
others step back. To enter, a sender counts itself and looks at what the gate says then; so there are no locks, and of
two senders that meet at the last place both step back.

The channel's gate is its circuit breaker, too: after a few failures in a row it is closed to all for a while, then one
sender may probe.
"""

import string
from collections.abc import Callable, Mapping, Sequence
from copy import replace
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from relay.deadline import Deadline
from relay.errors import HANDLING, LedgerError, Reason
from relay.ledger.entry import Slot, Wait
from relay.ledger.table import Table

# A signal counts in the second in which it was let through: for 60 to 61 s (docs/decisions.md, D-61-seconds).
WINDOW_SECONDS = 61
# Nothing is set aside further ahead: most of what would be is superseded by then.
HORIZON_SECONDS = 300.0
# The line waits so long for a signal that does not come to its moment; then nobody need step back any more.
GRACE_SECONDS = 3.0
# A signal may come a little before its moment.
EARLY_SECONDS = 1.0
# A gate that was full, or closed, a moment ago is not asked again by this function: that saves two writes each time.
KNOWN_SECONDS = 1.0
# The gate is asked in milliseconds; when it takes this long, the table is down.
PACE_SECONDS = 1.0
FAILURES_IN_A_ROW = 5
OPEN_SECONDS = 30.0
# Longer than an attempt takes, so that a second probe starts only if the first is gone.
PROBE_SECONDS = 12.0
# Signals that wait for a circuit come back one after the other, critical ones before others.
SPREAD_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 900.0
SHORTEST_PAUSE_SECONDS = 5.0
# Counts of past seconds are removed with the next write; a function that does not know of them does it at so many.
MAX_STALE = 40

_DIGITS = string.digits + string.ascii_lowercase


class Rule(NamedTuple):
    """No more than `limit` signals a minute through the gate of that name."""

    gate: str
    limit: int

    @property
    def spacing(self) -> float:
        """The seconds between two moments of a line."""
        return WINDOW_SECONDS / self.limit


def gate_of(channel: str) -> str:
    """Return the name of the gate that all signals of a channel pass."""
    return f"gate/{channel}"


class Ticket(NamedTuple):
    """Leave to signal.

    Attributes:
        taken: by gate, the second in which the signal was counted.
        troubled: the channel failed lately, so that a success has to be told to the circuit.
        is_unasked: the gate could not be asked.
    """

    taken: Mapping[str, int]
    troubled: bool = False
    is_unasked: bool = False


class Gate(NamedTuple):
    """The content of a gate's item.

    Attributes:
        counts: signals by the epoch second in which they were counted.
        critical: end of the line of critical signals: the moment after the last that was set aside (epoch seconds).
        other: end of the line of the others.
        open_until: the circuit is open until then (epoch seconds); None if it is closed.
        failures: failures in a row.
    """

    counts: Mapping[int, int]
    critical: float
    other: float
    open_until: float | None
    failures: int

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> "Gate":
        """Read an item as the table gives it."""
        counted = {_second(name): int(value) for name, value in item.items() if name.startswith(_PREFIX)}
        return cls(
            counted,
            item.get("critical", 0.0),
            item.get("other", 0.0),
            item.get("open_until"),
            int(item.get("failures", 0)),
        )

    def counted(self, now: float) -> int:
        """The number of signals of the last minute."""
        return sum(count for second, count in self.counts.items() if second > now - WINDOW_SECONDS)

    def free(self, now: float, limit: int) -> float:
        """The earliest moment from `now` on at which one more signal is within the limit, if no other one comes."""
        excess = self.counted(now) - (limit - 1)
        for second in sorted(self.counts):
            if excess <= 0:
                break
            if second > now - WINDOW_SECONDS:
                excess -= self.counts[second]
                now = max(now, float(second + WINDOW_SECONDS)) if excess <= 0 else now
        return now

    def is_waited_for(self, end: float, spacing: float, now: float) -> bool:
        """True if a line that ends then may have a signal that did not come yet."""
        return end - spacing + GRACE_SECONDS > now

    def must_step_back(self, rule: Rule, now: float, *, urgent: bool, is_due: bool) -> bool:
        """True if signals go first that stand before the asker in line, though there may be room."""
        is_critical_waited_for = self.is_waited_for(self.critical, rule.spacing, now)
        if urgent:
            return is_critical_waited_for and not is_due
        return is_critical_waited_for or (not is_due and self.is_waited_for(self.other, rule.spacing, now))

    def stale(self, now: float) -> list[str]:
        """The names of the counts that mean nothing any more."""
        return [count_name(second) for second in self.counts if second <= now - WINDOW_SECONDS - 1]


_PREFIX = "s"


def count_name(second: int) -> str:
    """Return the attribute that counts the signals of a second: short, since there are many of them in an item."""
    digits = ""
    while second:
        second, digit = divmod(second, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    return _PREFIX + digits


def _second(name: str) -> int:
    return int(name.removeprefix(_PREFIX), len(_DIGITS))


@dataclass(frozen=True)
class Pace:
    """The gates of all channels. Every method raises LedgerError when the table fails.

    Attributes:
        table: the table that holds the gates.
        clock: gives epoch seconds.
        random: gives a number from 0 to 1.
        seen: the gates as this function saw them last, and when (epoch seconds): it asks a full gate less often, and
            knows which counts to remove.
    """

    table: Table
    clock: Callable[[], float]
    random: Callable[[], float]
    seen: dict[str, tuple[float, Gate]] = field(default_factory=dict, repr=False)

    def within(self, deadline: Deadline) -> "Pace":
        """Return the gates, whose calls take no longer than there is time, but PACE_SECONDS each in any case."""
        table = self.table.within(deadline, "pace", at_least=PACE_SECONDS, at_most=PACE_SECONDS)
        return Pace(table, self.clock, self.random, self.seen)

    def enter(self, rules: Sequence[Rule], *, urgent: bool, slot: Slot | None = None) -> Ticket | Wait:
        """Return leave to signal now, by all rules; the first one's gate is the circuit's.

        `slot` is the moment that was set aside for the asker before. An asker that finds no room gets another.
        """
        now = self.clock()
        is_due = slot is not None and slot.at <= now + EARLY_SECONDS
        taken: dict[str, int] = {}
        gates: list[Gate] = []
        for rule in rules:
            try:
                entered = self._enter(rule, now, urgent=urgent, is_due=is_due, is_circuit=not taken)
            except LedgerError:
                self.leave(Ticket(taken))
                raise
            if isinstance(entered, Wait):
                self.leave(Ticket(taken))
                return entered
            taken[rule.gate] = int(now)
            gates.append(entered)
        # Last: an asker without room would be no probe, and keep others from being one.
        closed = self._probe(rules[0], gates[0], urgent=urgent)
        ticket = Ticket(taken, troubled=gates[0].failures > 0 or gates[0].open_until is not None)
        if closed:
            self.leave(ticket)
            return closed
        if slot and is_due:
            for rule, gate in zip(rules, gates, strict=True):
                self._end_line(rule, gate, slot)
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Give back what was taken: nothing was sent."""
        for gate, second in ticket.taken.items():
            self._update(gate, add={count_name(second): -1})

    def report(self, rules: Sequence[Rule], ticket: Ticket, failure: Reason | None, retry_after: float | None) -> None:
        """Tell the circuit what came of a signal; a success without any trouble before needs no telling.

        `failure` is the reason of its failure, None if it was accepted; `retry_after` what xMatters asked for, in
        seconds.
        """
        gate = rules[0].gate
        if failure is None or not HANDLING[failure].breaks_circuit:
            if ticket.troubled:
                self._update(gate, remove=["failures", "open_until"])
            return
        now = self.clock()
        if failure == Reason.RATE_LIMITED:
            pause = OPEN_SECONDS if retry_after is None else retry_after
            pause = min(max(pause, SHORTEST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)
            self._update(gate, put={"open_until": now + pause})
            return
        failed = self._update(gate, add={"failures": 1})
        if failed and failed.failures >= FAILURES_IN_A_ROW:
            self._update(gate, put={"open_until": max(failed.open_until or 0.0, now + OPEN_SECONDS)})

    def _enter(self, rule: Rule, now: float, *, urgent: bool, is_due: bool, is_circuit: bool) -> Gate | Wait:
        """Return the gate with the asker counted, or a moment for it."""
        known = self._known_closed(rule, now, urgent=urgent, is_due=is_due, is_circuit=is_circuit)
        if known:
            return known
        gate = self._update(rule.gate, add={count_name(int(now)): 1}) or Gate.of({})
        closed = self._circuit(gate, now, urgent=urgent) if is_circuit else None
        if closed:
            self._update(rule.gate, add={count_name(int(now)): -1})
            return closed
        is_full = gate.counted(now) > rule.limit
        if is_full or gate.must_step_back(rule, now, urgent=urgent, is_due=is_due):
            return self._set_aside(rule, gate, now, urgent=urgent)
        return gate

    def _known_closed(self, rule: Rule, now: float, *, urgent: bool, is_due: bool, is_circuit: bool) -> Wait | None:
        """Return the answer of a gate that this function asked a moment ago, if it would be the same."""
        seen_at, gate = self.seen.get(rule.gate, (0.0, None))
        if gate is None or not 0 <= now - seen_at < KNOWN_SECONDS:
            return None
        if is_circuit and (closed := self._circuit(gate, now, urgent=urgent)):
            return closed
        end = gate.critical if urgent else max(gate.critical, gate.other)
        return None if is_due or end - now <= HORIZON_SECONDS else self._beyond_the_horizon(now)

    def _set_aside(self, rule: Rule, gate: Gate, now: float, *, urgent: bool) -> Wait:
        """Uncount the asker, and give it the next free moment of its line."""
        uncount = {count_name(int(now)): -1}
        # The asker itself is counted still.
        mine = replace(gate, counts={**gate.counts, int(now): gate.counts.get(int(now), 1) - 1})
        free = mine.free(now, rule.limit)
        if not urgent and gate.is_waited_for(gate.critical, rule.spacing, now):
            free = max(free, gate.critical)
        line, end = ("critical", gate.critical) if urgent else ("other", gate.other)
        if max(free, end) - now > HORIZON_SECONDS:
            self._update(rule.gate, add=uncount)
            return self._beyond_the_horizon(now)
        moment = free
        if end >= free or not self._update(rule.gate, add=uncount, put={line: free + rule.spacing}, below=(line, free)):
            # There is a line: the end of it, whoever came in between.
            after = self._update(rule.gate, add={**uncount, line: rule.spacing}) or gate
            moment = (after.critical if urgent else after.other) - rule.spacing
        return Wait(Reason.PACED, moment, Slot(moment, urgent))

    def _beyond_the_horizon(self, now: float) -> Wait:
        return Wait(Reason.PACED, now + HORIZON_SECONDS * (0.8 + 0.2 * self.random()))

    def _end_line(self, rule: Rule, gate: Gate, slot: Slot) -> None:
        """Let nobody step back any more for a line whose last signal was let through."""
        line, end = ("critical", gate.critical) if slot.urgent else ("other", gate.other)
        if 0 < end <= slot.at + rule.spacing + 0.001:
            self._update(rule.gate, put={line: 0.0}, only_if=(line, end))

    def _circuit(self, gate: Gate, now: float, *, urgent: bool) -> Wait | None:
        if gate.open_until is None or now >= gate.open_until:
            return None
        return self._closed_until(gate.open_until, urgent=urgent)

    def _probe(self, rule: Rule, gate: Gate, *, urgent: bool) -> Wait | None:
        """Return None if the circuit is closed, or was open and the asker is the one that may probe."""
        if gate.open_until is None:
            return None
        now = self.clock()
        probes = self._update(
            rule.gate, put={"open_until": now + PROBE_SECONDS}, only_if=("open_until", gate.open_until)
        )
        # Another one probes: the answer is near.
        return self._closed_until(now + SPREAD_SECONDS, urgent=urgent) if probes is None else None

    def _closed_until(self, moment: float, *, urgent: bool) -> Wait:
        # Critical ones come back first: there may be room for no more than them.
        turn = self.random() if urgent else 1 + self.random()
        return Wait(Reason.CIRCUIT_OPEN, moment + turn * SPREAD_SECONDS)

    def _update(self, gate: str, **changes: Any) -> Gate | None:
        """Change a gate and return it; None if a condition did not hold. Counts of past seconds are removed."""
        now = self.clock()
        _, seen = self.seen.get(gate, (0.0, None))
        old = [name for name in (seen.stale(now) if seen else []) if name not in changes.get("add", {})]
        if old and not {"only_if", "below"} & changes.keys():
            changes["remove"] = [*changes.get("remove", ()), *old]
        item = self.table.update(gate, **changes)
        if item is None:
            self.seen.pop(gate, None)
            return None
        found = Gate.of(item)
        if len(stale := found.stale(now)) > MAX_STALE:
            found = Gate.of(self.table.update(gate, remove=stale) or item)
        self.seen[gate] = (now, found)
        return found
