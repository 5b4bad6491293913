"""Pace and circuit: when a channel may be signalled, for all functions that signal it together.

A gate is one item of the ledger's table. It holds the moments of the signals of the last minute and, in two lines, the
moments that were set aside for those that wait: critical incidents stand before all others. To enter, a sender adds
its own moment and looks at what is there then. So nobody waits for a lock, and two that meet at a full gate both step
back rather than both go through.

The channel's gate is its circuit breaker, too: after a few failures in a row it is closed to all for a while, then one
sender may try.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from relay.errors import HANDLING, Reason
from relay.table import Table

# A little more than the minute that is promised, for clocks and networks differ.
WINDOW_SECONDS = 61.0
# Nothing is set aside further ahead: most of what would be is overtaken by then.
HORIZON_SECONDS = 300.0
# Whoever does not come to the moment that was set aside for it is not waited for.
LATE_SECONDS = 20.0
FAILURES_IN_A_ROW = 5
OPEN_SECONDS = 30.0
# Longer than a try takes, so that a second one starts only if the first is gone.
PROBE_SECONDS = 12.0
# Those that wait for a circuit come back one after the other, critical ones before others.
SPREAD_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 900.0
SHORTEST_PAUSE_SECONDS = 5.0
MAX_STALE = 64
# Moments that are set aside lie at random so far behind the place that they are for.
JITTER_SECONDS = 0.001
# So many moments fit into one expression.
MAX_FORGOTTEN = 200


class Rule(NamedTuple):
    """No more than `limit` signals a minute through the gate of that name."""

    gate: str
    limit: int


class Slot(NamedTuple):
    """A moment, in epoch seconds, that was set aside; `urgent` says in which line."""

    at: float
    urgent: bool


class Ticket(NamedTuple):
    """Leave to signal: the moments that were taken, by gate. `troubled` says that the channel failed lately."""

    taken: Mapping[str, float]
    troubled: bool = False


class Closed(NamedTuple):
    """No leave now, but from `until` on; `slot` is what was set aside for who asked."""

    reason: Reason
    until: float
    slot: Slot | None = None


class Gate(NamedTuple):
    """What stands in a gate's item; the moments are in order."""

    taken: Sequence[float]
    urgent: Sequence[float]
    others: Sequence[float]
    open_until: float | None
    failures: int

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> "Gate":
        """Read an item as the table gives it."""
        return cls(
            item.get("taken", ()),
            item.get("urgent", ()),
            item.get("others", ()),
            item.get("open_until"),
            int(item.get("failures", 0)),
        )

    def first_free(self, mine: float, now: float, limit: int, *, urgent: bool, slot: Slot | None) -> float:
        """The earliest moment from `now` on that keeps any minute within the limit.

        What counts is what was taken (but for `mine`, the asker's own) and what is set aside for those who stand
        before the asker: critical ones before others, and within a line those with an earlier moment than `slot`, the
        asker's own; who has none stands behind all. An asker whose moment was lost to a critical one gets the next
        that nobody else in its line has: else all behind it would have to move, each of them many times.
        """
        taken = [moment for moment in self.taken if moment > now - WINDOW_SECONDS and moment != mine]
        urgents, others = _waited_for(self.urgent, now), _waited_for(self.others, now)
        ahead, line = (taken, urgents) if urgent else (sorted([*taken, *urgents]), others)
        place = slot.at if slot and slot.urgent == urgent else math.inf
        candidates = [now, *(moment + WINDOW_SECONDS for moment in sorted([*ahead, *line]))]
        free = (each for each in candidates if _fits(each, ahead, line, place, limit))
        return next(free, candidates[-1])

    def stale(self, now: float) -> dict[str, list[float]]:
        """The moments of each set that mean nothing any more, if there are enough of them to be worth a write."""
        old = {
            "taken": [moment for moment in self.taken if moment <= now - WINDOW_SECONDS],
            "urgent": [moment for moment in self.urgent if moment <= now - LATE_SECONDS],
            "others": [moment for moment in self.others if moment <= now - LATE_SECONDS],
        }
        if sum(map(len, old.values())) <= MAX_STALE:
            return {}
        return {name: moments[:MAX_FORGOTTEN] for name, moments in old.items() if moments}


def _waited_for(line: Sequence[float], now: float) -> list[float]:
    return [moment for moment in line if moment > now - LATE_SECONDS]


def _fits(candidate: float, ahead: Sequence[float], line: Sequence[float], place: float, limit: int) -> bool:
    """Whether no window that holds the candidate would hold more than the limit."""
    near = sorted([*_near(ahead, candidate, math.inf), *_near(line, candidate, max(place, candidate + JITTER_SECONDS))])
    middle = bisect_left(near, candidate)
    near.insert(middle, candidate)
    starts = range(max(0, middle - limit), min(middle, len(near) - limit - 1) + 1)
    return all(near[start + limit] - near[start] >= WINDOW_SECONDS for start in starts)


def _near(moments: Sequence[float], candidate: float, before: float) -> Sequence[float]:
    """Those that may share a window with the candidate."""
    first = bisect_right(moments, candidate - WINDOW_SECONDS)
    return moments[first : bisect_left(moments, min(before, candidate + WINDOW_SECONDS))]


@dataclass(frozen=True)
class Pace:
    """The gates of all channels. `clock` gives epoch seconds, `random` a number from 0 to 1.

    Every method raises LedgerError when the table fails.
    """

    table: Table
    clock: Callable[[], float]
    random: Callable[[], float]

    def enter(self, rules: Sequence[Rule], *, urgent: bool, slot: Slot | None = None) -> Ticket | Closed:
        """Leave to signal now, by all rules; the first one's gate is the circuit's.

        `slot` is the moment that was set aside for the asker before. Where there is no leave for want of room, one
        is set aside.
        """
        taken: dict[str, float] = {}
        gates: list[Gate] = []
        for rule in rules:
            mine = self._moment()
            gate = self._update(rule.gate, add={"taken": [mine]}, delete=_set(slot))
            closed = self._circuit(gate, urgent=urgent)
            closed = closed or self._room(rule, gate, mine, urgent=urgent, slot=slot)
            if closed:
                self._update(rule.gate, add=_set(closed.slot), delete={"taken": [mine]})
                self.leave(Ticket(taken))
                return closed
            taken[rule.gate] = mine
            gates.append(gate)
        # Last, for who has no room would be no probe, and keep others from being one.
        closed = self._probe(rules[0], gates[0], urgent=urgent)
        ticket = Ticket(taken, troubled=gates[0].failures > 0 or gates[0].open_until is not None)
        if closed:
            self.leave(ticket)
        return closed or ticket

    def leave(self, ticket: Ticket) -> None:
        """Give back what was taken: nothing was sent."""
        for gate, moment in ticket.taken.items():
            self.table.update(gate, delete={"taken": [moment]})

    def report(self, rules: Sequence[Rule], ticket: Ticket, failure: Reason | None, retry_after: float | None) -> None:
        """Tell the circuit what came of a signal; a success without any trouble before needs no telling."""
        gate = rules[0].gate
        if failure is None or not HANDLING[failure].breaks_circuit:
            if ticket.troubled:
                self.table.update(gate, remove=["failures", "open_until"])
            return
        now = self.clock()
        if failure == Reason.RATE_LIMITED:
            pause = OPEN_SECONDS if retry_after is None else retry_after
            pause = min(max(pause, SHORTEST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)
            self.table.update(gate, put={"open_until": now + pause})
            return
        failed = Gate.of(self.table.update(gate, add={"failures": 1}) or {})
        if failed.failures >= FAILURES_IN_A_ROW:
            self.table.update(gate, put={"open_until": max(failed.open_until or 0.0, now + OPEN_SECONDS)})

    def _circuit(self, gate: Gate, *, urgent: bool) -> Closed | None:
        if gate.open_until is None or self.clock() >= gate.open_until:
            return None
        return self._closed_until(gate.open_until, urgent=urgent)

    def _probe(self, rule: Rule, gate: Gate, *, urgent: bool) -> Closed | None:
        """None if the circuit is closed, or was open and the asker is the one who may try."""
        if gate.open_until is None:
            return None
        now = self.clock()
        probes = self.table.update(
            rule.gate, put={"open_until": now + PROBE_SECONDS}, only_if=("open_until", gate.open_until)
        )
        # Another one probes: the answer is near.
        return self._closed_until(now + SPREAD_SECONDS, urgent=urgent) if probes is None else None

    def _closed_until(self, moment: float, *, urgent: bool) -> Closed:
        # Critical ones come back first: there may be room for no more than them.
        turn = self.random() if urgent else 1 + self.random()
        return Closed(Reason.CIRCUIT_OPEN, moment + turn * SPREAD_SECONDS)

    def _room(self, rule: Rule, gate: Gate, mine: float, *, urgent: bool, slot: Slot | None) -> Closed | None:
        now = self.clock()
        free = gate.first_free(mine, now, rule.limit, urgent=urgent, slot=slot)
        if free <= now:
            return None
        if free - now > HORIZON_SECONDS:
            return Closed(Reason.PACED, now + HORIZON_SECONDS * (0.8 + 0.2 * self.random()))
        free += self.random() * JITTER_SECONDS
        return Closed(Reason.PACED, free, Slot(free, urgent))

    def _update(self, gate: str, **changes: Any) -> Gate:
        """Change a gate and return it, and forget what is stale in it from time to time."""
        found = Gate.of(self.table.update(gate, **changes) or {})
        stale = found.stale(self.clock())
        if stale:
            self.table.update(gate, delete=stale)
        return found

    def _moment(self) -> float:
        # Two that come at the same time must not be counted as one, and a window has half a second to spare.
        return self.clock() + self.random() / 2


def _set(slot: Slot | None) -> dict[str, list[float]]:
    return {"urgent" if slot.urgent else "others": [slot.at]} if slot else {}
