"""BigPanda's incidents by environment, their records and activities, and the newest webhooks.

The store holds declared and live incidents alike. An incident is never changed in place: a change replaces the object.

Documented by BigPanda for activities (docs/vendors.md, "BigPanda's API"): the newest come first; ``types``, ``page``
and ``per_page`` (20 by default); the names of the types.

Guesses, to be checked against an organisation: the answer is a list; what a caller of the API writes is by the user of
its key; a comment is in ``params.comment``, and a user in
``params.assignee``; ``incident_shared`` has ``share_target`` and ``share_auto`` in ``params``.
"""

import threading
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from sandbox.bigpanda.incidents import ENVIRONMENT, POSITIVE, Incident
from sandbox.http.schema import whole_number

type Activity = Mapping[str, Any]

# Activities on a page, by default.
PAGE_SIZE = 20
MOST_ENTRIES = 50
MOST_WEBHOOKS = 200
MOST_TEXT = 300


class Place(NamedTuple):
    """An incident, and the id of its environment."""

    environment_id: str
    incident: Incident


@dataclass
class Record:
    """Data about one live incident that its object of API v2 does not have.

    Attributes:
        title: Title that the sandbox's web page shows; None for the description of the primary alert.
        log: The newest entries of the incident's log, oldest first; each has ``at``, ``kind`` and ``text``.
    """

    title: str | None = None
    log: deque[dict[str, str]] = field(default_factory=lambda: deque(maxlen=MOST_ENTRIES))

    def say(self, at: datetime, kind: str, text: str) -> None:
        """Add an entry to the incident's log, cut; `kind` is change, share, comment or assignment."""
        self.log.append({"at": at.isoformat(), "kind": kind, "text": cut(text)})


class Store:
    """All incidents. Safe to use from several threads; hold `lock` to read, change and write as one step.

    Attributes:
        records: The records of live incidents, by incident id; a declared incident has none at first.
        webhooks: The newest webhooks, oldest first.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.clear()

    def clear(self) -> None:
        """Forget everything. The environment of the samples stays, and is empty."""
        with self.lock:
            self._environments: dict[str, dict[str, Incident]] = {ENVIRONMENT: {}}
            self._activities: defaultdict[str, list[Activity]] = defaultdict(list)
            self.records: dict[str, Record] = {}
            self.webhooks: deque[dict[str, Any]] = deque(maxlen=MOST_WEBHOOKS)

    def of(self, environment_id: str) -> list[Incident] | None:
        """Return the incidents of an environment; None if there is no such environment."""
        with self.lock:
            found = self._environments.get(environment_id)
            return None if found is None else list(found.values())

    def find(self, incident_id: str) -> Place | None:
        """Return the incident of this id, with its environment; None if there is none."""
        with self.lock:
            found = ((name, held.get(incident_id)) for name, held in self._environments.items())
            return next((Place(name, incident) for name, incident in found if incident), None)

    def put(self, environment_id: str, incident: Incident) -> None:
        """Add an incident to an environment, or put it in the place of the one that has the same id."""
        with self.lock:
            self._environments[environment_id][incident["id"]] = incident

    def replace_all(self, environment_id: str, incidents: Sequence[Incident]) -> None:
        """Replace the incidents of an environment."""
        with self.lock:
            self._environments[environment_id] = {each["id"]: each for each in incidents}
            self.records = {name: record for name, record in self.records.items() if self.find(name)}

    def record(self, incident_id: str) -> Record:
        """Return the record of an incident; make it if there is none."""
        return self.records.setdefault(incident_id, Record())

    def note(self, incident_id: str, kind: str, params: Any, timestamp: int, created_by: str | None = None) -> None:
        """Add an activity, also for an id of which no incident exists.

        `kind` is its type, such as `incident_commented`, and `timestamp` is in epoch seconds. `created_by` is the id of
        the user who acted; None for what BigPanda did.
        """
        with self.lock:
            held = self._activities[incident_id]
            activity = {"id": f"{incident_id}-{len(held)}", "type": kind, "timestamp": timestamp, "params": params}
            held.append(activity | ({"created_by": created_by} if created_by else {}))

    def activities(self, incident_id: str, query: Mapping[str, str]) -> list[Activity]:
        """Return one page of an incident's activities, newest first. Raises InvalidError if the query is invalid."""
        number, size = (whole_number(query, *each, POSITIVE) for each in (("page", 1), ("per_page", PAGE_SIZE)))
        types = [name.strip() for name in query.get("types", "").split(",") if name.strip()]
        with self.lock:
            newest = list(reversed(self._activities.get(incident_id, ())))
        wanted = [each for each in newest if not types or each["type"] in types]
        return wanted[(number - 1) * size : number * size]


def cut(text: str) -> str:
    """Return a text, cut to at most MOST_TEXT characters."""
    return text if len(text) <= MOST_TEXT else f"{text[: MOST_TEXT - 1]}…"
