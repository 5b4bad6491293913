"""xMatters' three flood controls, which suppress silently. They are off unless switched on.

Documented by xMatters (docs/vendors.md, "Flood control"):

- trigger flood control: above 4 signals a minute of one trigger that have equal values in chosen fields (xMatters calls
  them outputs); signals pass again when the rate drops;
- alert rate filter: above 4 alerts a minute of one integration to the same recipients;
- notification flood control: above 1 notification in 300 seconds to mobile, SMS and voice devices.

Guesses, to be checked against a tenant:

- the minute is a sliding one, and suppressed signals count, too;
- the outputs that signals are compared by: incident, status, recipients;
- the 300 seconds are counted for each device.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Hashable
from datetime import datetime, timedelta

from sandbox.xmatters.flow import Order

MOST_A_MINUTE = 4
MINUTE = timedelta(seconds=60)
PAUSE = timedelta(seconds=300)
# Devices that notification flood control leaves alone.
EXEMPT = {"EMAIL", "FAX"}


class Floods:
    """Counters of the three flood controls. They count while `are_on` is true. Callers must hold `Pages.lock`."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.are_on = False
        self._now = now
        self._times: defaultdict[Hashable, deque[datetime]] = defaultdict(deque)

    def clear(self) -> None:
        """Forget all counts."""
        self._times.clear()

    def control_against(self, function: str, order: Order) -> str | None:
        """Count a signal, and return the name of the flood control that suppresses it; None if none does."""
        if not self.are_on:
            return None
        alike = self._is_above(("trigger", function, order.incident_id, order.status, order.recipients))
        same_recipients = self._is_above(("alert", function, order.recipients))
        return "trigger flood control" if alike else "the alert rate filter" if same_recipients else None

    def suppresses_notification(self, person: str, device: str, kind: str) -> bool:
        """Return True if notification flood control suppresses this notification; count it otherwise."""
        if kind in EXEMPT or not self.are_on:
            return False
        times, now = self._times["notification", person, device], self._now()
        if times and now - times[-1] < PAUSE:
            return True
        times.clear()
        times.append(now)
        return False

    def _is_above(self, key: Hashable) -> bool:
        times, now = self._times[key], self._now()
        times.append(now)
        while now - times[0] >= MINUTE:
            times.popleft()
        return len(times) > MOST_A_MINUTE
