"""Deadline for work in a request, with a record of the time spent on each part of the work."""

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue


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

    def run[T](
        self,
        call: Callable[[], T],
        *,
        part: str,
        reserve: float = 0.0,
        at_least: float = 0.0,
        at_most: float = math.inf,
    ) -> T:
        """Return the result of `call`, or raise its exception. Raises TimeoutError at `reserve` s before the deadline.

        The call gets `at_least` seconds even if the deadline has passed, and `at_most` seconds in any case. Its time is
        counted as spent on `part`.

        The call runs in a thread of its own, which is abandoned after the time limit. Socket time-outs are not enough:
        they limit single reads, a DNS look-up has none, and an answer that trickles in resets them again and again.
        """
        outcome: list[T] = []
        failure: list[BaseException] = []
        thread, running = _idle_thread(), threading.Lock()

        def work() -> None:
            try:
                outcome.append(call())
            except BaseException as error:  # noqa: BLE001 - raised again in the calling thread
                failure.append(error)
            _IDLE.append(thread)
            running.release()

        running.acquire()
        with self.timed(part):
            thread.begin(work)
            running.acquire(timeout=min(at_most, max(at_least, self.remaining(reserve))))
        if failure:
            raise failure[0]
        if outcome:
            return outcome[0]
        raise TimeoutError("no result in time")


class _Thread:
    """Thread that runs calls one after the other. A new thread for each call costs several times as much."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[Callable[[], None]] = SimpleQueue()
        threading.Thread(target=self._work, daemon=True).start()

    def begin(self, call: Callable[[], None]) -> None:
        """Run a call in the thread, without waiting for its end. `call` must not raise an exception."""
        self._calls.put(call)

    def _work(self) -> None:
        while True:
            self._calls.get()()


# Idle threads. An abandoned thread returns here when its call ends after all.
_IDLE: list[_Thread] = []


def _idle_thread() -> _Thread:
    try:
        return _IDLE.pop()
    except IndexError:
        return _Thread()
