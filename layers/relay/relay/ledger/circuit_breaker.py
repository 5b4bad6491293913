"""Circuit breaker of a channel.

After several failures in a row, or a 429, the circuit opens and blocks all signals for some time. Then one sender may
probe: send one signal as a test. The circuit is stored in the channel's gate: the table item with the counts of the
rate limiter (`ledger.channel_rate_limiter`).

Of all signals that wait for an open circuit, only the first one and the first critical one keep a message that wakes
them at the circuit's end, and the sweeper wakes one in each run. So the wakes during an outage do not grow with the
number of waiting signals. A signal that closes the circuit queues a `recovery` job, which wakes as many of the others
as the rate limit allows. The sweeper wakes the rest, minute by minute.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from relay.failures import HANDLING, Reason
from relay.ledger.debt import Wait

# Failures in a row that open the circuit.
FAILURES_IN_A_ROW = 5
# Time that the circuit stays open after them.
OPEN_SECONDS = 30.0
# Longer than an attempt takes, so that a second probe starts only if the sender of the first one died.
PROBE_SECONDS = 12.0
# Signals that wait for a circuit are spread over this time, and critical ones over the first part of it.
SPREAD_SECONDS = 5.0
# Bounds of a pause by Retry-After.
LONGEST_PAUSE_SECONDS = 900.0
SHORTEST_PAUSE_SECONDS = 5.0


class Circuit(NamedTuple):
    """State of a channel's circuit breaker.

    Attributes:
        open_until: End of the open state (epoch seconds); None if the circuit is closed.
        failures: Number of failures in a row, since the last success.
        probed_at: The last end of the open state for which a waiting signal keeps its message (epoch seconds).
        critical_probed_at: The same for a critical signal.
    """

    open_until: float | None = None
    failures: int = 0
    probed_at: float = 0.0
    critical_probed_at: float = 0.0

    def is_open(self, now: float) -> bool:
        """True if the circuit blocks all signals at `now` (epoch seconds)."""
        return self.open_until is not None and now < self.open_until


# A circuit without recent failures.
CLOSED = Circuit()


class HasCircuit(Protocol):
    """Interface of a channel's gate for the circuit breaker: only its attribute `circuit`.

    A gate is the table item with the counts of a channel's rate limit.
    """

    @property
    def circuit(self) -> Circuit:
        """State of the channel's circuit breaker."""


class UpdateGate(Protocol):
    """Function that updates numbers of a channel's gate: the table item with its rate limit's counts."""

    def __call__(self, gate: str, **changes: Any) -> HasCircuit | None:
        """Update the gate of that name atomically; `changes` are arguments of `Table.update`.

        Returns the gate after the update; None if the update's condition did not hold. Raises LedgerError.
        """


@dataclass(frozen=True)
class CircuitBreaker:
    """Circuit breaker of all channels. Every method raises LedgerError when the table fails.

    Attributes:
        update: Updates a channel's gate: the table item with its rate limit's counts and its circuit.
        clock: The time in epoch seconds.
        random: Returns a random number from 0 to 1.
    """

    update: UpdateGate
    clock: Callable[[], float]
    random: Callable[[], float]

    def wait(self, gate: str, circuit: Circuit, now: float, *, is_critical: bool) -> Wait | None:
        """Return the wait that an open circuit asks for; None if the circuit does not block signals at `now`.

        `gate` is the name of the channel's table item, and `circuit` the state in it. `now` is in epoch seconds.
        `is_critical` is True for a critical signal, which gets the shorter wait. The first signal that asks keeps its
        message, to probe the circuit at its end (`Wait.is_probe`); so does the first critical one.
        """
        end = circuit.open_until
        if end is None or not circuit.is_open(now):
            return None
        wait = self._wait(end, is_critical=is_critical)
        name, known = "probed_at", circuit.probed_at
        if is_critical:
            name, known = "critical_probed_at", circuit.critical_probed_at
        return wait._replace(is_probe=known < end and bool(self.update(gate, put={name: end}, below=(name, end))))

    def wait_for_probe(self, gate: str, circuit: Circuit, *, is_critical: bool) -> Wait | None:
        """Return the wait for another sender's probe; None if this sender may send.

        It is called when `wait` returned None: the circuit was never open, or its open time has passed. Only one sender
        may probe a circuit that was open; the others wait for the result of its signal. `gate` is the name of the
        channel's table item, and `circuit` the state in it. `is_critical` is True for a critical signal.
        """
        if circuit.open_until is None:
            return None
        now = self.clock()
        probes = self.update(gate, put={"open_until": now + PROBE_SECONDS}, only_if=("open_until", circuit.open_until))
        # Another sender probes, and will have its result soon.
        return self._wait(now + SPREAD_SECONDS, is_critical=is_critical) if probes is None else None

    def report(self, gate: str, failure: Reason | None, retry_after: float | None, *, troubled: bool) -> bool:
        """Report a signal's result for the circuit in the table item `gate`. Return True if it closed the circuit.

        A success is written only if it resets the circuit. `failure` is the reason of the failure, None if the signal
        was accepted. A failure that the circuit breaker does not count (`Handling.breaks_circuit`) has the same effect
        as a success. `retry_after` is xMatters' Retry-After in seconds, None without one. `troubled` is True if the
        circuit had recent failures when the rate limiter let the signal through.
        """
        if failure is None or not HANDLING[failure].breaks_circuit:
            if troubled:
                self.update(gate, remove=["failures", "open_until", "probed_at", "critical_probed_at"])
            return troubled
        now = self.clock()
        if failure == Reason.RATE_LIMITED:
            pause = OPEN_SECONDS if retry_after is None else retry_after
            pause = min(max(pause, SHORTEST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)
            self.update(gate, put={"open_until": now + pause})
            return False
        failed = self.update(gate, add={"failures": 1})
        if failed and failed.circuit.failures >= FAILURES_IN_A_ROW:
            self.update(gate, put={"open_until": max(failed.circuit.open_until or 0.0, now + OPEN_SECONDS)})
        return False

    def _wait(self, moment: float, *, is_critical: bool) -> Wait:
        # Critical signals return first, since the rate limit may leave room for them only.
        delay = self.random() if is_critical else 1 + self.random()
        return Wait(Reason.CIRCUIT_OPEN, moment + delay * SPREAD_SECONDS)
