"""Activities of incidents, as API v2 lists them.

Documented by BigPanda (docs/vendors.md, "BigPanda's API"): the newest come first; ``types``, ``page`` and ``per_page``
(20 by default); the names of the types.

Guesses, to be checked against an organisation: the answer is a list; a comment is in ``params.comment``, and a user in
``params.assignee``; ``incident_shared`` has ``share_target`` and ``share_auto`` in ``params``.
"""

import threading
from collections import OrderedDict, deque
from collections.abc import Mapping
from typing import Any

from sandbox.bigpanda.incidents import positive_number

type Activity = Mapping[str, Any]

# Activities on a page, by default.
PAGE_SIZE = 20
# The newest activities that are kept of an incident, and the newest incidents that any are kept of.
MOST_ACTIVITIES = 1000
MOST_INCIDENTS = 5000


class Activities:
    """Log of incidents' activities, also for ids of which no incident exists. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_incident: OrderedDict[str, deque[Activity]] = OrderedDict()
        self._next = 0

    def add(self, incident_id: str, kind: str, params: Any, timestamp: int) -> None:
        """Add an activity; `kind` is its type, such as `incident_commented`, and `timestamp` is in epoch seconds."""
        with self._lock:
            happened = self._by_incident.setdefault(incident_id, deque(maxlen=MOST_ACTIVITIES))
            happened.append({"id": f"activity-{self._next}", "type": kind, "timestamp": timestamp, "params": params})
            self._next += 1
            if len(self._by_incident) > MOST_INCIDENTS:
                self._by_incident.popitem(last=False)

    def page(self, incident_id: str, query: Mapping[str, str]) -> list[Activity]:
        """Return one page of an incident's activities, newest first. Raises InvalidError if the query is invalid."""
        number, size = positive_number(query, "page", 1), positive_number(query, "per_page", PAGE_SIZE)
        types = [name.strip() for name in query.get("types", "").split(",") if name.strip()]
        with self._lock:
            newest = list(reversed(self._by_incident.get(incident_id, ())))
        wanted = [each for each in newest if not types or each["type"] in types]
        return wanted[(number - 1) * size : number * size]

    def clear(self) -> None:
        """Forget all activities."""
        with self._lock:
            self._by_incident.clear()
