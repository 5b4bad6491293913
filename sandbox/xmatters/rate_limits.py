"""Rate limits of xMatters: requests a minute to triggers and to the REST API. There are none unless declared.

Documented by xMatters (docs/vendors.md, "Answers"): over the plan's requests a minute a trigger answers 429, and the
signal is rejected, not queued. Recorded from a tenant, for an older route: ``X-Rate-Limit-Limit`` with 60.

Guesses, to be checked against a tenant:

- the figures, which depend on the plan; a sliding minute, in which rejected requests do not count;
- the header on these routes; one limit for all routes of the REST API.
"""

import threading
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sandbox.http import answers
from sandbox.http.answers import VendorAnswer
from sandbox.http.schema import compiled

MINUTE = timedelta(seconds=60)
_LIMIT = {"type": ["integer", "null"], "minimum": 0, "maximum": 1_000_000}
_LIMITS = compiled({}, {"trigger": _LIMIT, "rest": _LIMIT})


class RateLimits:
    """Counters of requests by resource, "trigger" or "rest". Safe to use from several threads."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._limits: dict[str, int | None] = {"trigger": None, "rest": None}
        self._times: dict[str, deque[datetime]] = {"trigger": deque(), "rest": deque()}

    def set(self, document: object) -> None:
        """Set the rate limits for ``trigger`` and ``rest`` from a JSON object: requests a minute, or null for no limit.

        A limit that the object does not have stays as it is.

        Raises
        ------
        InvalidError
            If a limit is invalid; the message names the key, and nothing has changed.
        """
        wanted = _LIMITS(document, "limits")
        with self._lock:
            self._limits |= wanted
            for times in self._times.values():
                times.clear()

    def settings(self) -> Mapping[str, Any]:
        """Return the limits: requests a minute by resource; None for no limit."""
        with self._lock:
            return dict(self._limits)

    def refusal(self, resource: str) -> VendorAnswer | None:
        """Count a request; return the answer to a request above the limit, None for others."""
        with self._lock:
            limit, times, now = self._limits[resource], self._times[resource], self._now()
            if limit is None:
                return None
            while times and now - times[0] >= MINUTE:
                times.popleft()
            if len(times) < limit:
                times.append(now)
                return None
        return answers.xmatters_error(
            429, "The limit of requests a minute is exceeded", {"X-Rate-Limit-Limit": str(limit)}
        )
