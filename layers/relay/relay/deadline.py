"""Time limits: the deadline of a request or job, and the limit of the calls that a thread makes."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

# Time by which this thread's calls must be over (epoch seconds). Not a monotonic clock, which may stand still while
# Lambda has the function frozen: for an abandoned thread that wakes hours later, the time must be over.
_latest = ContextVar("latest", default=math.inf)
# Times of this thread's calls by part (milliseconds); None if nobody collects them.
_spent = ContextVar[dict[str, float] | None]("spent", default=None)
# Makes a call within a time limit, and returns its result.
type Run = Callable[[Callable[[], Any]], Any]
# Gives the time in epoch seconds.
type Clock = Callable[[], float]
# Makes a deadline that ends after a number of seconds.
type Deadlines = Callable[[float], "Deadline"]


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Limit the calls in a `with` block to `seconds` from now. An outer limit that ends earlier stays in force.

    No call is interrupted: each one asks `seconds_left` before it sends or reads.
    """
    token = _latest.set(min(_latest.get(), time.time() + seconds))
    try:
        yield
    finally:
        _latest.reset(token)


def seconds_left() -> float:
    """Return the seconds until this thread's time limit: zero or less if it has passed, infinite without a limit."""
    return _latest.get() - time.time()


@contextmanager
def times_collected(spent: dict[str, float]) -> Iterator[None]:
    """Add the durations of this thread's `Deadline.run` calls in a `with` block to `spent`: milliseconds by part."""
    token = _spent.set(spent)
    try:
        yield
    finally:
        _spent.reset(token)


class Deadline:
    """Time limit of some work: it ends `seconds` after its creation. `clock` is a monotonic clock in seconds."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._end = clock() + seconds

    def remaining(self, reserve: float = 0.0) -> float:
        """Return the seconds left until `reserve` seconds before the deadline; zero if that time has passed."""
        return max(0.0, self._end - reserve - self._clock())

    def run[T](self, call: Callable[[], T], *, part: str, at_least: float = 0.0, at_most: float = math.inf) -> T:
        """Return the result of `call`. Raises TimeoutError, without the call, if no time is left for it.

        `call` is not interrupted: it has to heed `seconds_left`. That is the time until the deadline, but not less than
        `at_least` seconds, and not more than `at_most` or an outer `time_limit`. `part`, such as `ledger`, is the name
        under which the duration is collected (`times_collected`).
        """
        start, now = self._clock(), time.time()
        latest = min(_latest.get(), now + min(at_most, max(at_least, self._end - start)))
        if latest <= now:
            raise TimeoutError("no time was left")
        token = _latest.set(latest)
        try:
            return call()
        finally:
            _latest.reset(token)
            if (spent := _spent.get()) is not None:
                spent[part] = round(spent.get(part, 0.0) + (self._clock() - start) * 1000, 3)


def limited(deadlines: Deadlines, seconds: float, part: str) -> Run:
    """Return a function that runs each call (`Deadline.run`) with its own deadline, `seconds` after its begin."""
    return lambda call: deadlines(seconds).run(call, part=part)


# Does some work within a number of seconds. Raises TimeoutError if the work is not done by then.
type Watch = Callable[[Callable[[], None], float], None]
