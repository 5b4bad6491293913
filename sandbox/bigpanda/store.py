"""The one store of BigPanda's incidents: objects of API v2, by environment.

It holds declared and live incidents alike. An incident is never changed in place: a change replaces the object.
"""

import threading
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sandbox.bigpanda.incidents import ENVIRONMENTS, Incident


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
