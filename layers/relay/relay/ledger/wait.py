"""Wait of a state before its next attempt, and the slot that the rate limiter reserved for its signal."""

from typing import NamedTuple

from relay.failures.reasons import Reason


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
    """

    reason: Reason
    until: float
    slot: Slot | None = None
    paused_by: str = ""
