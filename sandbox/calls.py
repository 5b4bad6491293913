"""What was asked of a vendor's API: every try, whether it was done or not."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Call:
    """One request, written down before it is answered.

    Attributes
    ----------
    index
        Counts all tries from 0 and is never given twice.
    route
        BigPanda's comment, assignment, activities, users, release, incidents or incident; xMatters' events or event.
    environment_id, incident_id
        As they stood in the path, or in the body of a release; None where neither has one.
    query
        The last value of each parameter.
    document
        The body as parsed JSON, without secrets; None when it isn't JSON.
    status
        What was answered; None when the connection was cut instead.
    accepted
        Whether the vendor did it, whatever the caller got to see.
    fault
        The kind of the scripted fault that met it.
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
        """For the control API."""
        return vars(self) | {"received_at": self.received_at.isoformat(), "query": dict(self.query)}
