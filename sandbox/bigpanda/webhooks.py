"""BigPanda's notification webhooks of version 1: the channel that they are posted to, and their body. Pure code.

Documented by BigPanda (docs/vendors.md, "What BigPanda sends"): the incident with whole alerts, statuses in lower case,
``snooze`` with ``end_time`` and ``autoCancel``; one URL for each integration, with a static header.

Seen in a client's code: the incident is wrapped in ``incident``, beside ``metadata.environment_id``; it has
``resolved``.

Guesses, to be checked against an organisation: the times are ``startedOn``, ``changedOn``, ``updatedOn`` and
``endedOn``, as on the pages of the v1 API; no event is named.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.bigpanda.alerts import Alert, word
from sandbox.bigpanda.incidents import Incident
from sandbox.http.schema import HEADER, LOOPBACK_URL, compiled

RESEND_SECONDS = 10

_CHANNEL = compiled(
    {"url": LOOPBACK_URL, "header": HEADER},
    {"resend_seconds": {"type": "number", "minimum": 0, "maximum": 3600, "default": RESEND_SECONDS}},
)
_TIMES = {"startedOn": "start", "changedOn": "changed_at", "updatedOn": "updated_at", "endedOn": "end"}
_ALERT_TEXTS = ("primary_property", "secondary_property", "source_system", "description")


@dataclass(frozen=True)
class Channel:
    """Settings of BigPanda's sharing channel, through which live incidents are shared by webhooks.

    Attributes:
        url: Address that webhooks are posted to, on this machine.
        header: Name and value of the header by which the receiver authenticates BigPanda.
        resend_seconds: Seconds between the attempts to send a webhook that fails.
    """

    url: str
    header: tuple[str, str]
    resend_seconds: float

    @classmethod
    def parse(cls, declared: object) -> "Channel":
        """Return the channel that a JSON object declares. Raises InvalidError, which names the invalid key."""
        wanted = _CHANNEL(declared, "channel")
        header = wanted["header"]
        return cls(wanted["url"], (header["name"], header["value"]), wanted["resend_seconds"])

    def shown(self) -> dict[str, Any]:
        """Return the channel's settings without secrets: the header's value and the URL's query are left out."""
        return vars(self) | {"header": {"name": self.header[0]}, "url": self.url.partition("?")[0]}


@dataclass(frozen=True)
class Webhook:
    """One webhook to send: an incident's state at one moment.

    Attributes:
        channel: The channel to post to.
        environment_id: Id of the incident's environment.
        incident: The incident as it was when the update was triggered.
        event: The trigger's name in webhook v2, for the log.
        attempt: Number of the attempt, from 1.
    """

    channel: Channel
    environment_id: str
    incident: Incident
    event: str
    attempt: int = 1

    @property
    def incident_id(self) -> str:
        """The incident's id."""
        return str(self.incident["id"])

    def body(self) -> bytes:
        """Return the body as JSON."""
        incident, snooze = self.incident, self.incident["snooze"]
        document = {
            "id": incident["id"],
            "status": word(incident["status"]),
            "severity": word(incident["severity"]),
            "active": incident["active"],
            "resolved": not incident["active"],
            "flapping": incident["flapping"],
            "snooze": {
                "snoozed": snooze["snoozed"],
                "end_time": snooze.get("end_time"),
                "autoCancel": bool(snooze.get("cancel_on_incident_updates")),
            },
            **{name: incident[member] for name, member in _TIMES.items()},
            "alerts": [_alert(each, incident) for each in incident["alerts"]],
        }
        return json.dumps({"incident": document, "metadata": {"environment_id": self.environment_id}}).encode()


def _alert(alert: Alert, incident: Mapping[str, Any]) -> dict[str, Any]:
    status = word(alert.get("status"))
    return {
        "id": alert["alert_id"],
        "status": status,
        "active": alert.get("active", status != "ok"),
        **{name: alert.get(member, incident[member]) for name, member in _TIMES.items()},
        **{name: alert.get(name) for name in _ALERT_TEXTS},
        "tags": alert.get("tags", []),
    }
