"""Deadline of inline work, and the time that each part of the work took."""

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue


class Deadline:
    """A moment after which nobody waits any longer. `clock` gives seconds and never goes back.

    `spent` has the milliseconds of each part of the work, by name.
    """

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._end = clock() + seconds
        self.spent: dict[str, float] = {}

    def remaining(self, reserve: float = 0.0) -> float:
        """Seconds left, less `reserve`; never below zero."""
        return max(0.0, self._end - reserve - self._clock())

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Count the time of the block as spent on `part`."""
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
        """Return what `call` returns or raise what it raises; raise TimeoutError when the time less `reserve` is up.

        `at_least` so many seconds are given, even when the time is up: for what must be done all the same; and
        `at_most` so many: for what is not worth more.

        Socket time-outs bound a single read; a name look-up has none, and an answer that trickles in resets them
        again and again. So the call runs in a thread of its own, which is left behind when it is too late.
        """
        outcome: list[T] = []
        failure: list[BaseException] = []
        thread, running = _idle_thread(), threading.Lock()

        def work() -> None:
            try:
                outcome.append(call())
            except BaseException as error:  # noqa: BLE001 - it is raised again where it is waited for
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
    """A thread that does one call after the other: to start one for each costs several times as much."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[Callable[[], None]] = SimpleQueue()
        threading.Thread(target=self._work, daemon=True).start()

    def begin(self, call: Callable[[], None]) -> None:
        """Do this next, without waiting for it. It must not raise."""
        self._calls.put(call)

    def _work(self) -> None:
        while True:
            self._calls.get()()


# Those that have nothing to do. One that was left behind comes back once its call is over after all.
_IDLE: list[_Thread] = []


def _idle_thread() -> _Thread:
    try:
        return _IDLE.pop()
    except IndexError:
        return _Thread()
