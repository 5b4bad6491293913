"""Rate limit and circuit breaker of a channel, shared by all functions that signal it.

A gate is one item of the ledger's table, updated atomically. It counts signals by the second, so that no minute holds
more than the limit. A signal above the limit gets a slot: the next free time of its line, critical or other. While a
critical is expected to use its slot, other signals wait.

The gate also has the channel's circuit breaker. After failures in a row, or a 429, no signal is sent for some time.
Then one signal probes xMatters.
"""

import string
from collections.abc import Callable, Mapping
from copy import replace
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from relay.failures import HANDLING, LONGEST_WAIT_SECONDS, LedgerError, Reason
from relay.ledger.debt import Slot, Ticket, Wait
from relay.ledger.entry import recipients_name

if TYPE_CHECKING:
    from relay.channels.channel import Channel
    from relay.deadline import Clock
    from relay.ledger.table import Table


# Failures in a row that open the circuit.
FAILURES_IN_A_ROW = 5
# Time that the circuit stays open after them.
OPEN_SECONDS = 30.0
# Longer than an attempt takes, so that a second probe starts only if the sender of the first one died.
PROBE_SECONDS = 12.0
# After a circuit's end, the critical signals that wait for it are spread over this time, and then the others as long.
SPREAD_SECONDS = 5.0
# Bounds of a pause by Retry-After. After the longest one, the probe's message is still within SQS's longest delay.
LONGEST_PAUSE_SECONDS = LONGEST_WAIT_SECONDS - 2 * SPREAD_SECONDS
SHORTEST_PAUSE_SECONDS = 5.0


class Circuit(NamedTuple):
    """State of a channel's circuit breaker, which blocks signals while xMatters fails.

    Attributes:
        open_until: End of the open state (epoch seconds); None if the circuit is closed.
        failures: Number of failures in a row, since the last success.
        probed_at: The last `open_until` for which a waiting signal was chosen as the probe; 0 for none. A message wakes
            only that signal, and the others wait for its result.
        critical_probed_at: The same for a critical signal: one of these is chosen, too.
    """

    open_until: float | None = None
    failures: int = 0
    probed_at: float = 0.0
    critical_probed_at: float = 0.0

    def is_open(self, now: float) -> bool:
        """True if the circuit breaker blocks all signals of the channel at `now` (epoch seconds)."""
        return self.open_until is not None and now < self.open_until


# A circuit without recent failures.
CLOSED = Circuit()


# No slot is further ahead than this: most signals that wait so long are superseded by then.
HORIZON_SECONDS = 300.0
# Time that a line waits for a signal that misses its slot. After it, other signals no longer give way.
GRACE_SECONDS = 6.0
# Clocks of two functions may differ by this much and the line still keeps its order. They hardly ever do.
CLOCKS_SECONDS = 2.0
# A critical that finds no room in its own slot asks again after this time, until its grace is over.
SLOT_AGAIN_SECONDS = 1.0
# A signal may use its slot this much too early.
EARLY_SLOT_SECONDS = 1.0
# A function remembers for this time that a gate was full or its circuit open. That saves two writes for each signal.
KNOWN_SECONDS = 1.0
# Time limit of one call. A gate is updated in milliseconds, so after this time the table counts as down.
LIMITER_SECONDS = 1.0
# Counts of past seconds are removed with the next write. If the function does not know their names before that write,
# they are removed in a second write once there are more than this.
MAX_STALE = 40

_DIGITS = string.digits + string.ascii_lowercase


# A signal is counted for 60 to 61 s, since counts have a resolution of one second.
WINDOW_SECONDS = 61


class MinuteLimit(NamedTuple):
    """A rate limit: at most `most` signals a minute, counted in the table item with the name `gate`."""

    gate: str
    most: int

    @property
    def spacing(self) -> float:
        """Time between two slots of signals that wait (seconds)."""
        return WINDOW_SECONDS / self.most


def gate_of(channel: str) -> str:
    """Return the name of the table item ("gate") that counts all signals of a channel."""
    return f"gate/{channel}"


def limits_of(channel: "Channel", recipients: tuple[str, ...]) -> tuple[MinuteLimit, ...]:
    """Return the rate limits of a signal: the channel's, and that of its set of recipients if the policy has one."""
    policy = channel.policy
    of_channel = MinuteLimit(gate_of(channel.name), policy.max_per_minute)
    if policy.max_per_minute_per_recipients is None:
        return (of_channel,)
    return (
        of_channel,
        MinuteLimit(f"{of_channel.gate}/{recipients_name(recipients)}", policy.max_per_minute_per_recipients),
    )


class Gate(NamedTuple):
    """Content of a gate, the table item that counts a rate limit's signals.

    Attributes:
        counts: Number of signals by the second in which they were counted (epoch seconds).
        critical_line_end: End of the last slot of a waiting critical signal (epoch seconds); 0 if none waits.
        other_line_end: The same for all other signals.
        circuit: Used only in the gate of a whole channel.
    """

    counts: Mapping[int, int]
    critical_line_end: float
    other_line_end: float
    circuit: Circuit = CLOSED

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> "Gate":
        """Read a gate from its item's attributes (`Table.attributes`); without any, no signal is counted or waits."""
        counted = {_second(name): int(value) for name, value in item.items() if name.startswith(_PREFIX)}
        circuit = Circuit(
            item.get("open_until"),
            int(item.get("failures", 0)),
            item.get("probed_at", 0.0),
            item.get("critical_probed_at", 0.0),
        )
        return cls(counted, item.get("critical", 0.0), item.get("other", 0.0), circuit)

    def counted(self, now: float) -> int:
        """Return the number of signals counted in the WINDOW_SECONDS (a minute) before `now` (epoch seconds)."""
        return sum(count for second, count in self.counts.items() if second > now - WINDOW_SECONDS)

    def free(self, now: float, limit: int) -> float:
        """Return when the counts leave room under `limit`: `now` or later (epoch seconds). Slots are not regarded."""
        excess = self.counted(now) - (limit - 1)
        for second in sorted(self.counts):
            if excess <= 0:
                break
            if second > now - WINDOW_SECONDS:
                excess -= self.counts[second]
                now = float(second + WINDOW_SECONDS) if excess <= 0 else now
        return now

    def is_waited_for(self, end: float, spacing: float, now: float) -> bool:
        """True if a line of waiting signals still keeps back other signals at `now`. Times are epoch seconds.

        `end` is the end of the line, 0 if it is empty. Slots are `spacing` seconds long. The line's last signal may
        come late, up to GRACE_SECONDS after the beginning of its slot: so long others are kept back.
        """
        return end - spacing + GRACE_SECONDS > now

    def must_step_back(self, limit: MinuteLimit, now: float, *, is_critical: bool, is_due: bool) -> bool:
        """True if a signal has to wait, although there is room, because signals with slots (reserved times) come first.

        `is_due` is True if the signal may use its own slot now.

        | signal | waits for |
        | --- | --- |
        | critical, due | none |
        | critical, not due | criticals with slots |
        | not critical, due | criticals with slots |
        | not critical, not due | all signals with slots |
        """
        is_critical_waited_for = self.is_waited_for(self.critical_line_end, limit.spacing, now)
        if is_critical:
            return is_critical_waited_for and not is_due
        return is_critical_waited_for or (not is_due and self.is_waited_for(self.other_line_end, limit.spacing, now))

    def stale(self, now: float) -> list[str]:
        """Return the attribute names of counts that are older than a minute at `now` (epoch seconds)."""
        return [count_name(second) for second in self.counts if second <= now - WINDOW_SECONDS - 1]


_PREFIX = "s"


def count_name(second: int) -> str:
    """Return the attribute's name for the count of a second (epoch seconds): short, since an item has many."""
    digits = ""
    while second:
        second, digit = divmod(second, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    return _PREFIX + digits


def _second(name: str) -> int:
    return int(name.removeprefix(_PREFIX), len(_DIGITS))


def circuit_of(table: "Table", channel: str) -> Circuit:
    return Gate.of(table.attributes(gate_of(channel))).circuit


@dataclass(frozen=True)
class RateLimiter:
    """Rate limiter and circuit breaker of all channels. Every method raises LedgerError when the table fails.

    Attributes:
        random: Returns a random number from 0 to 1, to spread waits.
        seen: Last known content of each gate (the table's item with a limit's counts and circuit), and the time of the
            reading (epoch seconds), by the gate's name. A gate is not read again within KNOWN_SECONDS if it had no
            room then, or if its circuit was open.
    """

    table: "Table"
    clock: "Clock"
    random: Callable[[], float]
    seen: dict[str, tuple[float, Gate]] = field(default_factory=dict, repr=False)

    def enter(
        self, channel: "Channel", recipients: tuple[str, ...], *, is_critical: bool, slot: Slot | None = None
    ) -> Ticket | Wait:
        """Return a ticket if all rate limits (`limits_of`) and the circuit breaker allow a signal now, else a wait.

        `slot` is the time that an earlier wait reserved for the incident; None for none. A wait for a rate limit has a
        new slot. If a critical's slot has come, but others have used up the limit, it keeps that slot. A wait has no
        slot if none is free within HORIZON_SECONDS, or if the circuit is open. Raises LedgerError.
        """
        now, limits = self.clock(), limits_of(channel, recipients)
        is_due = _is_due(slot, now)
        taken: dict[str, int] = {}
        gates: list[Gate] = []
        for limit in limits:
            try:
                entered = self._enter(limit, now, is_critical=is_critical, slot=slot, is_circuit=not taken)
            except LedgerError:
                self.leave(Ticket(taken))
                raise
            if isinstance(entered, Wait):
                self.leave(Ticket(taken))
                return entered
            taken[limit.gate] = int(now)
            gates.append(entered)
        # Probe last: a sender without room would not send its probe, but would block the probes of others.
        circuit = gates[0].circuit
        name, troubled = limits[0].gate, circuit != CLOSED
        wait = self._wait_for_probe(name, circuit, is_critical=is_critical) if troubled else None
        ticket = Ticket(taken, troubled=troubled, is_probe=circuit.open_until is not None)
        if wait:
            self.leave(ticket)
            return wait
        if slot and is_due:
            for limit, gate in zip(limits, gates, strict=True):
                self._end_line(limit, gate, slot)
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Give back a ticket that was not used: its signal no longer counts."""
        for gate, second in ticket.taken.items():
            self._update(gate, add={count_name(second): -1})

    def report(self, channel: str, ticket: Ticket, failure: Reason | None, retry_after: float | None) -> bool:
        """Report the result of a signal to the channel's circuit breaker. Return True if the signal closed the circuit.

        A success (`failure` None), or a failure that does not count (`Handling.breaks_circuit`), closes the circuit. A
        429 opens it for about `retry_after` seconds (None: OPEN_SECONDS), and FAILURES_IN_A_ROW other failures for
        OPEN_SECONDS.
        """
        gate = gate_of(channel)
        if failure is None or not HANDLING[failure].breaks_circuit:
            if ticket.troubled:
                self._update(gate, remove=["failures", "open_until", "probed_at", "critical_probed_at"])
            # A signal that was let through before the circuit opened may close it: then the sweeper wakes what waits.
            return ticket.is_probe
        now = self.clock()
        if failure == Reason.RATE_LIMITED:
            pause = OPEN_SECONDS if retry_after is None else retry_after
            pause = min(max(pause, SHORTEST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)
            # Not below a longer pause, for which another answer asked.
            self._update(gate, put={"open_until": now + pause}, below=("open_until", now + pause))
            return False
        failed = self._update(gate, add={"failures": 1})
        if failed and failed.circuit.failures >= FAILURES_IN_A_ROW:
            until = now + OPEN_SECONDS
            self._update(gate, put={"open_until": until}, below=("open_until", until))
        return False

    def _enter(
        self, limit: MinuteLimit, now: float, *, is_critical: bool, slot: Slot | None, is_circuit: bool
    ) -> Gate | Wait:
        """Count a signal for one rate limit. Return its gate if that has room and no open circuit, else a wait."""
        is_due = _is_due(slot, now)
        known = self._known_wait(limit, now, is_critical=is_critical, is_due=is_due, is_circuit=is_circuit)
        if known:
            return known
        gate = self._update(limit.gate, add={count_name(int(now)): 1}) or Gate.of({})
        wait = self._wait_for_circuit(limit.gate, gate.circuit, now, is_critical=is_critical) if is_circuit else None
        if wait:
            self._update(limit.gate, add={count_name(int(now)): -1})
            return wait
        is_full = gate.counted(now) > limit.most
        again = now + SLOT_AGAIN_SECONDS
        is_in_grace = slot is not None and is_due and again < slot.at + GRACE_SECONDS - CLOCKS_SECONDS
        if is_critical and is_full and is_in_grace:
            # Another sender that steps back was counted at the same moment (docs/decisions.md, D-slots).
            self._update(limit.gate, add={count_name(int(now)): -1})
            return Wait(Reason.PACED, again, slot)
        if is_full or gate.must_step_back(limit, now, is_critical=is_critical, is_due=is_due):
            return self._set_aside(limit, gate, now, is_critical=is_critical)
        return gate

    def _known_wait(
        self, limit: MinuteLimit, now: float, *, is_critical: bool, is_due: bool, is_circuit: bool
    ) -> Wait | None:
        """Return a wait if the last known content of a gate shows that a signal has to wait: this saves an update."""
        seen_at, gate = self.seen.get(limit.gate, (0.0, None))
        if gate is None or not 0 <= now - seen_at < KNOWN_SECONDS:
            return None
        if is_circuit and (wait := self._wait_for_circuit(limit.gate, gate.circuit, now, is_critical=is_critical)):
            return wait
        end = gate.critical_line_end if is_critical else max(gate.critical_line_end, gate.other_line_end)
        return None if is_due or end - now <= HORIZON_SECONDS else self._beyond_the_horizon(now)

    def _set_aside(self, limit: MinuteLimit, gate: Gate, now: float, *, is_critical: bool) -> Wait:
        """Take the signal out of this second's count, and reserve the next free slot for it within HORIZON_SECONDS."""
        uncount = {count_name(int(now)): -1}
        # The gate's content still includes this signal.
        mine = replace(gate, counts={**gate.counts, int(now): gate.counts.get(int(now), 1) - 1})
        free = mine.free(now, limit.most)
        if not is_critical and gate.is_waited_for(gate.critical_line_end, limit.spacing, now):
            free = max(free, gate.critical_line_end)
        line, end = ("critical", gate.critical_line_end) if is_critical else ("other", gate.other_line_end)
        if max(free, end) - now > HORIZON_SECONDS:
            self._update(limit.gate, add=uncount)
            return self._beyond_the_horizon(now)
        moment = free
        if end >= free or not self._update(
            limit.gate, add=uncount, put={line: free + limit.spacing}, below=(line, free)
        ):
            # Append to the line atomically, also if other senders changed its end meanwhile.
            after = self._update(limit.gate, add={**uncount, line: limit.spacing}) or gate
            moment = (after.critical_line_end if is_critical else after.other_line_end) - limit.spacing
        return Wait(Reason.PACED, moment, Slot(moment, is_critical))

    def _beyond_the_horizon(self, now: float) -> Wait:
        return Wait(Reason.PACED, now + HORIZON_SECONDS * (0.8 + 0.2 * self.random()))

    def _end_line(self, limit: MinuteLimit, gate: Gate, slot: Slot) -> None:
        """Mark a line as empty if `slot` was its last one: no other signal has to wait for the line any more."""
        line, end = ("critical", gate.critical_line_end) if slot.is_critical else ("other", gate.other_line_end)
        if 0 < end <= slot.at + limit.spacing + 0.001:
            self._update(limit.gate, put={line: 0.0}, only_if=(line, end))

    def _wait_for_circuit(self, name: str, circuit: Circuit, now: float, *, is_critical: bool) -> Wait | None:
        """Return the wait that an open circuit asks for; None if the circuit does not block signals at `now`.

        The first signal that comes, and the first critical one, is to probe the circuit at its end (`Wait.is_probe`).
        """
        end = circuit.open_until
        if end is None or not circuit.is_open(now):
            return None
        wait = self._after(end, is_critical=is_critical)
        probed, known = "probed_at", circuit.probed_at
        if is_critical:
            probed, known = "critical_probed_at", circuit.critical_probed_at
        return wait._replace(is_probe=known < end and bool(self._update(name, put={probed: end}, below=(probed, end))))

    def _wait_for_probe(self, name: str, circuit: Circuit, *, is_critical: bool) -> Wait | None:
        """Return the wait for the result of another sender's probe; None if this sender may send."""
        if circuit.open_until is None:
            return None
        now = self.clock()
        probes = self._update(name, put={"open_until": now + PROBE_SECONDS}, only_if=("open_until", circuit.open_until))
        # Another sender probes, and will have its result soon.
        return self._after(now + SPREAD_SECONDS, is_critical=is_critical) if probes is None else None

    def _after(self, moment: float, *, is_critical: bool) -> Wait:
        # Critical signals return first, since the rate limit may leave room for them only.
        delay = self.random() if is_critical else 1 + self.random()
        return Wait(Reason.CIRCUIT_OPEN, moment + delay * SPREAD_SECONDS)

    def _update(self, gate: str, **changes: Any) -> Gate | None:
        """Update a gate by `Table.update`, and remove old counts from it. Return None if the condition did not hold."""
        now = self.clock()
        _, seen = self.seen.get(gate, (0.0, None))
        old = [name for name in (seen.stale(now) if seen else []) if name not in changes.get("add", {})]
        if not {"only_if", "below"} & changes.keys():
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


def _is_due(slot: Slot | None, now: float) -> bool:
    return slot is not None and slot.at <= now + EARLY_SLOT_SECONDS
