"""Logs of the requests that a stand-in received, refused requests included."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Call:
    """One request to a vendor's API, logged before it is answered.

    Attributes
    ----------
    index
        Number of the request, from 0; never reused.
    route
        A route of BigPanda or xMatters, by its name in `sandbox.http.faults`.
    environment_id, incident_id
        The ids in the path; for a release of the callback lock, the incident's id in the body. None without them.
    query
        The last value of each parameter.
    document
        The body as parsed JSON, without secrets; None if it is not JSON.
    status
        Status of the answer; None if the connection was cut before an answer.
    accepted
        True if the vendor did what was asked, even if a fault hid the answer.
    fault
        Kind of the scripted fault that met the request; None without a fault.
    """

    index: int
    received_at: datetime
    route: str
    environment_id: str | None
    incident_id: str | None
    query: Mapping[str, str]
    document: Any
    status: int | None
    accepted: bool
    fault: str | None

    def as_json(self) -> dict[str, Any]:
        """Return the logged request as JSON types, as the control API shows it."""
        return vars(self) | {"received_at": self.received_at.isoformat(), "query": dict(self.query)}


class CallLog[Entry]:
    """Entries for requests, in the order of arrival. Each has an index. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: list[Entry] = []
        self._next_index = 0

    def add(self, make: Callable[[int], Entry]) -> Entry:
        """Add an entry to the log, and return it; `make` builds the entry from the next index."""
        with self._lock:
            entry = make(self._next_index)
            self._entries.append(entry)
            self._next_index += 1
        return entry

    def all(self) -> list[Entry]:
        """Return every entry since the last `clear`."""
        with self._lock:
            return list(self._entries)

    def clear(self) -> None:
        """Remove all entries; the index goes on counting."""
        with self._lock:
            self._entries.clear()
