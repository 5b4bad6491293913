"""Log entries of the requests to xMatters' triggers, accepted or not."""

import base64
import functools
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from multidict import CIMultiDictProxy

from sandbox.http.schema import json_or_none


@dataclass(frozen=True)
class Signal:
    """One POST to a trigger, logged before it is answered.

    Attributes:
        index: Number of the request, from 0; never reused.
        function: The trigger's uuid, as written in the URL.
        request_id: xMatters' id of an accepted signal; else None.
        recipients: The names in the URL's ``recipients``; empty if there are none.
        auth: Kind of the credentials in the request: those that the trigger accepts, else the first. None without any.
        headers: Headers without credentials and cookies; names in any letter case.
        body_bytes: The body, byte for byte.
        status: Status of the answer; None if the connection was cut before an answer.
        accepted: True if xMatters accepted the signal, even if a fault hid the answer: phones may ring.
        fault: Kind of the scripted fault that met the request; None without a fault.
    """

    index: int
    received_at: datetime
    function: str
    request_id: str | None
    recipients: tuple[str, ...]
    auth: str | None
    headers: CIMultiDictProxy[str]
    body_bytes: bytes
    status: int | None
    accepted: bool
    fault: str | None

    @functools.cached_property
    def body(self) -> Any:
        """The body as parsed JSON; None if it is not JSON."""
        return json_or_none(self.body_bytes)

    @functools.cached_property
    def decision(self) -> dict[str, Any]:
        """The relay's decision, from the header ``X-Relay-Decision``; empty without one."""
        return _object(json_or_none(self.headers.get("X-Relay-Decision", "").encode()))

    @property
    def incident_id(self) -> str | None:
        """The decision's incident; without one the body's ``incident.id``, ``id`` or ``incident_id``; else None."""
        body = _object(self.body)
        found = [
            self.decision.get("incident_id"),
            _object(body.get("incident")).get("id"),
            body.get("id"),
            body.get("incident_id"),
        ]
        return next((str(each) for each in found if each is not None), None)

    def as_json(self) -> dict[str, Any]:
        """Return the signal for the control API: header names in lower case, the body both parsed and as base64."""
        return {
            "index": self.index,
            "received_at": self.received_at.isoformat(),
            "function": self.function,
            "request_id": self.request_id,
            "recipients": list(self.recipients),
            "auth": self.auth,
            "headers": {name.lower(): ", ".join(self.headers.getall(name)) for name in self.headers},
            "body_base64": base64.b64encode(self.body_bytes).decode(),
            "body": self.body,
            "status": self.status,
            "accepted": self.accepted,
            "fault": self.fault,
        }


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
