"""Time limits: the deadline of a request or job, and the limit of the calls to AWS and vendors that a thread makes."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

# Time by which this thread's calls must be over (epoch seconds). Not a monotonic clock, which may stand still while
# Lambda has the function frozen: for an abandoned thread that wakes hours later, the time must be over.
_latest = ContextVar("latest", default=math.inf)


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Limit the calls in a `with` block to `seconds` from now. An earlier limit around the block stays in force.

    Nothing is interrupted: each call asks `seconds_left` before it sends or reads.
    """
    token = _latest.set(min(_latest.get(), time.time() + seconds))
    try:
        yield
    finally:
        _latest.reset(token)


def seconds_left() -> float:
    """Return the seconds until this thread's time limit: not above zero if it has passed, infinite without a limit."""
    return _latest.get() - time.time()


class Deadline:
    """Time limit of some work: it ends `seconds` after its creation. `clock` is a monotonic clock in seconds.

    Attributes:
        spent: Time spent on each part of the work, by the part's name (milliseconds).
    """

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._end = clock() + seconds
        self.spent: dict[str, float] = {}

    def remaining(self, reserve: float = 0.0) -> float:
        """Return the seconds left until `reserve` seconds before the deadline; zero if that time has passed."""
        return max(0.0, self._end - reserve - self._clock())

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Count the time of the `with` block as spent on `part`."""
        start = self._clock()
        try:
            yield
        finally:
            self.spent[part] = round(self.spent.get(part, 0.0) + (self._clock() - start) * 1000, 3)

    def run[T](self, call: Callable[[], T], *, part: str, at_least: float = 0.0, at_most: float = math.inf) -> T:
        """Return the result of `call`. Raises TimeoutError, without the call, if no time is left for it.

        The call has the time until the deadline: `at_least` seconds even if the deadline has passed, and `at_most`
        seconds in any case. This is a time limit as of `time_limit`. The call's time is counted as spent on `part`.
        """
        with time_limit(min(at_most, max(at_least, self.remaining()))):
            if seconds_left() <= 0:
                raise TimeoutError("no time was left")
            with self.timed(part):
                return call()
