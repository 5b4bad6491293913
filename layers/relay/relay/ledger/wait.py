"""Wait of a state before its next attempt, and the slot that the rate limiter reserved for its signal."""

from typing import NamedTuple

from relay.errors import Reason


class Slot(NamedTuple):
    """A reserved time for a signal, within the rate limit.

    Attributes:
        at: The time (epoch seconds).
        urgent: True in the line of critical signals.
    """

    at: float
    urgent: bool


class Wait(NamedTuple):
    """A wait before the next attempt.

    Attributes:
        reason: The reason for the wait.
        until: The end of the wait (epoch seconds).
        slot: The slot that the rate limiter reserved; None if it reserved none.
    """

    reason: Reason
    until: float
    slot: Slot | None = None
