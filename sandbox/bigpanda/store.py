"""The store of BigPanda's incidents, by environment, and the log of their activities, as API v2 lists them.

The store holds declared and live incidents alike. An incident is never changed in place: a change replaces the object.

Documented by BigPanda for activities (docs/vendors.md, "BigPanda's API"): the newest come first; ``types``, ``page``
and ``per_page`` (20 by default); the names of the types.

Guesses, to be checked against an organisation: the answer is a list; what a caller of the API writes is by the user of
its key; a comment is in ``params.comment``, and a user in
``params.assignee``; ``incident_shared`` has ``share_target`` and ``share_auto`` in ``params``.
"""

import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sandbox.bigpanda.incidents import ENVIRONMENTS, Incident, positive_number

type Activity = Mapping[str, Any]

# Activities on a page, by default.
PAGE_SIZE = 20


class Activities:
    """Log of incidents' activities, also for ids of which no incident exists. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_incident: defaultdict[str, list[Activity]] = defaultdict(list)
        self._next = 0

    def add(self, incident_id: str, kind: str, params: Any, timestamp: int, created_by: str | None = None) -> None:
        """Add an activity; `kind` is its type, such as `incident_commented`, and `timestamp` is in epoch seconds.

        `created_by` is the id of the user who acted; None for what BigPanda did.
        """
        with self._lock:
            activity = {"id": f"activity-{self._next}", "type": kind, "timestamp": timestamp, "params": params}
            activity |= {"created_by": created_by} if created_by else {}
            self._by_incident[incident_id].append(activity)
            self._next += 1

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


class Place(NamedTuple):
    """An incident, and the id of its environment."""

    environment_id: str
    incident: Incident


class Store:
    """All incidents. Safe to use from several threads; hold `lock` to read, change and write as one step."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._environments: dict[str, tuple[Incident, ...]] = dict(ENVIRONMENTS)

    def environments(self) -> Mapping[str, Sequence[Incident]]:
        """Return all incidents, by environment."""
        with self.lock:
            return dict(self._environments)

    def of(self, environment_id: str) -> tuple[Incident, ...] | None:
        """Return the incidents of an environment; None if there is no such environment."""
        return self._environments.get(environment_id)

    def find(self, incident_id: str) -> Place | None:
        """Return the incident of this id, with its environment; None if there is none."""
        with self.lock:
            return next(
                (
                    Place(environment_id, each)
                    for environment_id, incidents in self._environments.items()
                    for each in incidents
                    if each["id"] == incident_id
                ),
                None,
            )

    def replace_all(self, environment_id: str, incidents: tuple[Incident, ...]) -> None:
        """Replace the incidents of an environment."""
        with self.lock:
            self._environments[environment_id] = incidents

    def add(self, environment_id: str, incident: Incident) -> None:
        """Add an incident to an environment; make the environment if it does not exist."""
        with self.lock:
            self._environments[environment_id] = (*self._environments.get(environment_id, ()), incident)

    def replace(self, environment_id: str, incident: Incident) -> None:
        """Put `incident` in the place of the stored incident that has the same id."""
        with self.lock:
            self._environments[environment_id] = tuple(
                incident if each["id"] == incident["id"] else each for each in self._environments[environment_id]
            )

    def remove(self, environment_id: str, incident_id: str) -> None:
        """Remove an incident."""
        with self.lock:
            self._environments[environment_id] = tuple(
                each for each in self._environments[environment_id] if each["id"] != incident_id
            )
