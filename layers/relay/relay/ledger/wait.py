"""Answers of the rate limiter: a wait, maybe with a slot, or a ticket. And the rules that it is asked with."""

from collections.abc import Mapping
from typing import NamedTuple

from relay.failures.reasons import Reason

# A signal is counted for 60 to 61 s, since counts have a resolution of one second.
WINDOW_SECONDS = 61


class Slot(NamedTuple):
    """A time that the rate limiter reserved for a signal that has to wait.

    Attributes:
        at: The time (epoch seconds).
        is_critical: True if it is reserved in the line of critical signals, which go first.
    """

    at: float
    is_critical: bool


class Wait(NamedTuple):
    """A wait of a state before its next attempt.

    Attributes:
        reason: The reason for the wait.
        until: The end of the wait (epoch seconds).
        slot: The time that the rate limiter reserved for the signal; None if it reserved none.
        paused_by: Id of the pause for whose end the state waits (`Pause.id`); empty for another reason.
        is_probe: True if the state's message wakes it at the end of the wait for an open circuit, to probe the circuit.
    """

    reason: Reason
    until: float
    slot: Slot | None = None
    paused_by: str = ""
    is_probe: bool = False


class Rule(NamedTuple):
    """A rate limit, and the table item ("gate") that counts its signals.

    Attributes:
        gate: Name of the table item.
        limit: Signals a minute at most: the policy's `max_per_minute`.
    """

    gate: str
    limit: int

    @property
    def spacing(self) -> float:
        """The time between two slots of a line (seconds). A line has the slots (reserved times) of waiting signals."""
        return WINDOW_SECONDS / self.limit


def gate_of(channel: str) -> str:
    """Return the name of a channel's gate: the table item that counts all signals of the channel."""
    return f"gate/{channel}"


class Ticket(NamedTuple):
    """Permission of the rate limiter to send a signal now.

    Attributes:
        taken: The second (epoch seconds) in which the signal was counted, for each gate by its name; empty if it was
            not counted.
        troubled: True if the circuit breaker has recent failures, so that a success has to be reported to reset it.
        is_probe: True if the signal probes a circuit that was open.
        is_failed_open: True if the rate limiter could not read its table, and let the signal through uncounted.
    """

    taken: Mapping[str, int]
    troubled: bool = False
    is_probe: bool = False
    is_failed_open: bool = False
