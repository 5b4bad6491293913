"""What was posted to xMatters' triggers: every try, whether it rang or not."""

import base64
import functools
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from multidict import CIMultiDictProxy

from sandbox.schema import InvalidError, parse_json


@dataclass(frozen=True)
class Signal:
    """One POST to a trigger, written down before it is answered.

    Attributes
    ----------
    index
        Counts all tries from 0 and is never given twice.
    function
        The trigger's uuid, as it stood in the URL.
    request_id
        What an accepted signal was given; else None.
    auth
        The kind of credentials that let it in, or else the first kind it showed; None when it showed none.
    headers
        Without credentials and cookies; names in any letter case.
    body_bytes
        Exactly what was sent.
    status
        What was answered; None when the connection was cut instead.
    accepted
        Whether xMatters took it, so that phones may ring, whatever the caller got to see.
    fault
        The kind of the scripted fault that met it.
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
        """The body as parsed JSON; None when it isn't JSON."""
        try:
            return parse_json(self.body_bytes)
        except InvalidError:
            return None

    @property
    def incident_id(self) -> str | None:
        """From ``incident.id``, ``id``, ``incident_id`` or ``properties.incident_id`` of the body."""
        body = _object(self.body)
        found = [
            _object(body.get("incident")).get("id"),
            body.get("id"),
            body.get("incident_id"),
            _object(body.get("properties")).get("incident_id"),
        ]
        return next((str(each) for each in found if each is not None), None)

    def as_json(self) -> dict[str, Any]:
        """For the control API: header names in lower case, the body both parsed and as base64."""
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
