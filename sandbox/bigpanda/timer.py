"""Actions at a later time, on one background thread."""

import threading
import time
from collections.abc import Callable, Hashable

# Actions that wait at the same time.
MOST_WAITING = 2000


class Timer:
    """Actions by key, each run once. Safe to use from several threads; actions run on the timer's thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: dict[Hashable, tuple[float, Callable[[], object]]] = {}
        self._thread: threading.Thread | None = None

    def set(self, key: Hashable, seconds: float, action: Callable[[], object]) -> bool:
        """Plan to run an action once after `seconds`; it replaces a waiting action that has the same key.

        Return True if the action is planned; False if MOST_WAITING actions with other keys wait already.
        """
        with self._changed:
            if key not in self._waiting and len(self._waiting) >= MOST_WAITING:
                return False
            self._waiting[key] = (time.monotonic() + seconds, action)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="bigpanda-timer", daemon=True)
                self._thread.start()
            self._changed.notify()
        return True

    def cancel(self, key: Hashable) -> None:
        """Drop the action of this key, if it waits."""
        with self._changed:
            self._waiting.pop(key, None)

    def clear(self) -> None:
        """Drop all actions."""
        with self._changed:
            self._waiting.clear()

    def stop(self) -> None:
        """Drop all actions, and end the thread; a later `set` starts it again."""
        with self._changed:
            self._waiting.clear()
            thread, self._thread = self._thread, None
            self._changed.notify()
        if thread:
            thread.join()

    def _run(self) -> None:
        while action := self._next():
            action()

    def _next(self) -> Callable[[], object] | None:
        with self._changed:
            while self._thread is threading.current_thread():
                key = min(self._waiting, key=lambda each: self._waiting[each][0], default=None)
                seconds = None if key is None else self._waiting[key][0] - time.monotonic()
                if seconds is not None and seconds <= 0:
                    return self._waiting.pop(key)[1]
                self._changed.wait(None if seconds is None else min(seconds, threading.TIMEOUT_MAX))
        return None
