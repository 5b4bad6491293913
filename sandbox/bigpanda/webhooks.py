"""Bodies of BigPanda's notification webhooks, versions 1 and 2, from an incident of API v2. Pure code.

Documented by BigPanda (docs/vendors.md, "What BigPanda sends"):

- v1: the incident with whole alerts, statuses in lower case, ``snooze`` with ``end_time`` and ``autoCancel``;
- v2: the body is a template of the customer's, one for each trigger; its variables include the incident's times and its
  primary alert.

Seen in a client's code: v1 wraps the incident in ``incident``, beside ``metadata.environment_id``; it has ``resolved``.

Guesses, to be checked against an organisation:

- v1 names the times ``startedOn``, ``changedOn``, ``updatedOn`` and ``endedOn``, as the pages of the v1 API do;
- v1 names no event;
- the template of v2 is the one in docs/bigpanda-webhook-v2.json, and each trigger writes its own name into ``event``;
- v2 renders statuses with a capital, times as texts, and a variable that is not set as an empty text.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.bigpanda import alerts
from sandbox.bigpanda.alerts import Alert, word
from sandbox.bigpanda.channels import Channel
from sandbox.bigpanda.incidents import Incident

_TIMES = {"startedOn": "start", "changedOn": "changed_at", "updatedOn": "updated_at", "endedOn": "end"}
_ALERT_TEXTS = ("primary_property", "secondary_property", "source_system", "description")


@dataclass(frozen=True)
class Webhook:
    """One webhook to send: an incident's state at one moment.

    Attributes
    ----------
    channel
        The channel to post to.
    environment_id
        Id of the incident's environment.
    incident
        The incident as it was when the update was triggered.
    event
        The trigger's name in webhook v2.
    attempt
        Number of the attempt, from 1.
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
        """Return the body as JSON, in the version of webhooks that the channel is set to."""
        version = version_1 if self.channel.version == "v1" else version_2
        return json.dumps(version(self)).encode()


def version_1(webhook: Webhook) -> dict[str, Any]:
    """Return the body of a webhook in BigPanda's version 1, as a JSON object."""
    incident = webhook.incident
    snooze = incident["snooze"]
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
    return {"incident": document, "metadata": {"environment_id": webhook.environment_id}}


def version_2(webhook: Webhook) -> dict[str, Any]:
    """Return the body of a webhook in BigPanda's version 2, as a JSON object."""
    incident = webhook.incident
    primary = alerts.primary(incident["alerts"])
    return {
        "event": webhook.event,
        "incident_id": incident["id"],
        "status": incident["status"],
        "severity": incident["severity"],
        "updated_at": str(incident["updated_at"]),
        "environment_id": webhook.environment_id,
        "subject": alerts.description(primary),
        "host": alerts.tag(primary, "host"),
        "check": alerts.tag(primary, "check"),
    }


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
