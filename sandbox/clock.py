"""Clock that can be turned ahead, and runs actions when their time has come.

Only xMatters' delays follow this clock: devices, escalation, expiry. BigPanda's timestamps, OAuth tokens and the logs
of requests use the real time.
"""

import heapq
import itertools
import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

# A shorter wait would keep a processor busy if a test stops the real time just before an action.
SHORTEST_WAIT_SECONDS = 0.02
# Far below the last year that Python knows, which the sum of many turns would reach.
MOST_AHEAD_SECONDS = 366 * 86400

_LOG = logging.getLogger(__name__)


def utc_now() -> datetime:
    """Return the time on this machine."""
    return datetime.now(UTC)


class Alarm:
    """An action that a clock runs once at a planned time, unless the action is cancelled."""

    def __init__(self, when: datetime, action: Callable[[], None]) -> None:
        self.when = when
        self._action: Callable[[], None] | None = action

    def cancel(self) -> None:
        """Forget the action; no effect if it has run."""
        self._action = None

    def run(self) -> None:
        """Run the action once, unless it is cancelled; an exception is logged."""
        action, self._action = self._action, None
        if action is None:
            return
        try:
            action()
        except Exception:  # noqa: BLE001 - one action must not take the clock's thread and the other actions with it
            _LOG.exception("an action of the sandbox's clock failed")


class Clock:
    """Clock that shows the real time plus the seconds by which it was turned ahead, and runs planned actions.

    Safe to use from several threads.

    A thread of its own runs the actions that become due as the real time goes on. It starts with the first action.

    `real` returns the real time, in UTC.
    """

    def __init__(self, real: Callable[[], datetime] = utc_now) -> None:
        self._real = real
        self._changed = threading.Condition()
        self._running = threading.RLock()
        self._ahead = timedelta()
        self._alarms: list[tuple[datetime, int, Alarm]] = []
        self._order = itertools.count()
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def now(self) -> datetime:
        """Return the real time plus the time by which the clock was turned forward."""
        with self._changed:
            return self._real() + self._ahead

    @property
    def ahead_seconds(self) -> float:
        """Seconds by which the clock was turned forward."""
        with self._changed:
            return self._ahead.total_seconds()

    def call_at(self, when: datetime, action: Callable[[], None]) -> Alarm:
        """Run `action` at `when`, or as soon as possible if that time has passed; never within this call."""
        alarm = Alarm(when, action)
        with self._changed:
            is_first = not self._alarms or when < self._alarms[0][0]
            heapq.heappush(self._alarms, (when, next(self._order), alarm))
            if self._thread is None and not self._is_closed:
                self._thread = threading.Thread(target=self._watch, name="sandbox-clock", daemon=True)
                self._thread.start()
            elif is_first:
                self._changed.notify_all()
        return alarm

    def turn(self, seconds: float) -> None:
        """Turn the clock ahead, and run all actions that become due, in the order of their time.

        While an action runs, `now` returns the time for which the action was planned. So an action that plans the next
        one relative to `now` gets the right time.

        Raises ValueError if `seconds` is not above 0, or if the clock would be ahead by more than `MOST_AHEAD_SECONDS`.
        """
        with self._running:
            if not 0 < seconds <= MOST_AHEAD_SECONDS - self.ahead_seconds:
                raise ValueError(f"seconds must be above 0, and the clock ahead by {MOST_AHEAD_SECONDS} at most")
            with self._changed:
                target = self._ahead + timedelta(seconds=seconds)
            while alarm := self._next_due(target):
                alarm.run()
            with self._changed:
                self._ahead = max(self._ahead, target)
                self._changed.notify_all()

    def run_due(self) -> None:
        """Run all actions whose time has come."""
        with self._running:
            while alarm := self._next_due():
                alarm.run()

    def close(self) -> None:
        """Forget all actions, and end the clock's thread."""
        with self._changed:
            self._is_closed = True
            self._alarms.clear()
            thread, self._thread = self._thread, None
            self._changed.notify_all()
        if thread and thread is not threading.current_thread():
            thread.join()

    def _next_due(self, ahead: timedelta | None = None) -> Alarm | None:
        """Remove and return the next action that is due; None if none is due.

        Without `ahead`, an action is due if its time is not after the clock's time. With `ahead`, an action is due if
        its time is not after the real time plus `ahead`. The clock is then turned ahead to the time of that action.
        """
        with self._changed:
            real = self._real()
            limit = real + (self._ahead if ahead is None else ahead)
            if not self._alarms or self._alarms[0][0] > limit:
                return None
            when, _, alarm = heapq.heappop(self._alarms)
            if ahead is not None:
                self._ahead = max(self._ahead, when - real)
            return alarm

    def _watch(self) -> None:
        while True:
            self.run_due()
            with self._changed:
                if self._is_closed:
                    return
                self._changed.wait(self._wait_seconds())

    def _wait_seconds(self) -> float | None:
        if not self._alarms:
            return None
        left = (self._alarms[0][0] - self._real() - self._ahead).total_seconds()
        return min(max(left, SHORTEST_WAIT_SECONDS), threading.TIMEOUT_MAX)
