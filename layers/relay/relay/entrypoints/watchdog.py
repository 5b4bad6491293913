"""Watchdog for requests: a request is answered in time, even if a call in its work never ends.

Calls have time limits. But a name look-up has none, and an answer of AWS that trickles in resets its limit each time.
"""

import time
from collections.abc import Callable
from queue import SimpleQueue
from threading import Lock, Thread

from relay.deadline import time_limit

# Does some work within a number of seconds. Raises TimeoutError if the work is not done by then.
type Watch = Callable[[Callable[[], None], float], None]


class Watchdog:
    """Runs the work for a request in a thread, and stops waiting for it after a time limit."""

    def __init__(self) -> None:
        self._idle: list[_Worker] = []

    def run(self, work: Callable[[], None], seconds: float) -> None:
        """Do the work, and raise its exception if it raises one. Raises TimeoutError after `seconds`.

        The work is then abandoned. Lambda freezes the function after the answer, so the thread may go on hours later.
        By then the time limit of its calls has passed: a call that hung may end, and no other call is begun.
        """
        failure: list[BaseException] = []
        worker, running, until = self._worker(), Lock(), time.time() + seconds

        def watched() -> None:
            try:
                # It counts from before the hand-over, so that it has passed when the work is abandoned.
                with time_limit(until - time.time()):
                    work()
            except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
                failure.append(error)
            self._idle.append(worker)
            running.release()

        running.acquire()
        worker.begin(watched)
        if not running.acquire(timeout=seconds):
            raise TimeoutError("the work for the request hangs")
        if failure:
            raise failure[0]

    def _worker(self) -> "_Worker":
        try:
            return self._idle.pop()
        except IndexError:
            return _Worker()


class _Worker:
    """Thread for the work of one request after the other: to start a thread takes longer than to hand work over."""

    def __init__(self) -> None:
        self._works: SimpleQueue[Callable[[], None]] = SimpleQueue()
        Thread(target=self._run, daemon=True).start()

    def begin(self, work: Callable[[], None]) -> None:
        """Do some work in the thread, without waiting for its end. `work` must not raise an exception."""
        self._works.put(work)

    def _run(self) -> None:
        while True:
            self._works.get()()
