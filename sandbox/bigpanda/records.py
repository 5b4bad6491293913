"""Records of live incidents, and the newest webhooks.

A record holds the data of one incident that API v2 does not show: its title, and its log.

Not safe to use from several threads: `Live` and `Sharing` use it under the store's lock.
"""

from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sandbox.bigpanda import alerts, states
from sandbox.bigpanda.alerts import word
from sandbox.bigpanda.incidents import Incident
from sandbox.bigpanda.sender import WebhookAnswer
from sandbox.bigpanda.webhooks import Webhook

MOST_ENTRIES = 50
MOST_WEBHOOKS = 200
MOST_TEXT = 300


@dataclass
class Record:
    """Data about one live incident that its object of API v2 does not have.

    Attributes:
        title: Title that the sandbox's web page shows; BigPanda's own title comes from the primary alert.
        is_opened: True if the incident was opened; False if it was declared.
        log: The newest entries of the incident's log, oldest first; each has ``at``, ``kind`` and ``text``.
    """

    title: str
    is_opened: bool = False
    log: deque[dict[str, str]] = field(default_factory=lambda: deque(maxlen=MOST_ENTRIES))

    def say(self, at: datetime, kind: str, text: str) -> None:
        """Add an entry to the incident's log; `kind` is change, share, comment or assignment."""
        self.log.append({"at": at.isoformat(), "kind": kind, "text": text})


class Records:
    """The records of all live incidents, by incident id, oldest first; and a log of the newest webhooks."""

    def __init__(self) -> None:
        self.by_id: OrderedDict[str, Record] = OrderedDict()
        self.webhooks: deque[dict[str, Any]] = deque(maxlen=MOST_WEBHOOKS)

    def of(self, incident: Incident) -> Record:
        """Return the record of an incident. If there is none, make it: a declared incident has no record at first."""
        return self.by_id.setdefault(incident["id"], Record(_title(incident)))

    def sent(self, webhook: Webhook, answer: WebhookAnswer, at: datetime) -> None:
        """Add a webhook that was sent, and the answer to it, to the log of webhooks."""
        self.webhooks.append(
            {
                "at": at.isoformat(),
                "incident_id": webhook.incident_id,
                "event": webhook.event,
                "attempt": webhook.attempt,
                "status": answer.status,
                "outcome": answer.outcome,
                "document": answer.document,
            }
        )

    def clear(self) -> None:
        """Remove all records of incidents, and the log of webhooks."""
        self.by_id.clear()
        self.webhooks.clear()

    def shown(self, incident: Incident, possible: Sequence[str]) -> dict[str, Any]:
        """Return one incident's data for the sandbox's web page: its state, its log, and the `possible` actions."""
        record = self.by_id.get(incident["id"])
        return {
            "id": incident["id"],
            "title": record.title if record else _title(incident),
            "status": word(incident["status"]),
            "is_open": states.is_open(incident),
            "snoozed_until": incident["snooze"].get("end_time") if states.is_snoozed(incident) else None,
            "is_flapping": incident["flapping"],
            "is_shared": incident["shared"],
            "alerts": [_alert(each) for each in incident["alerts"]],
            "assignee": _name(incident["assignee"]),
            "opened_at": incident["start"],
            "changed_at": incident["changed_at"],
            "can": list(possible),
            "log": list(record.log) if record else [],
        }


def cut(text: str) -> str:
    """Return a text, cut to at most MOST_TEXT characters."""
    return text if len(text) <= MOST_TEXT else f"{text[: MOST_TEXT - 1]}…"


def _title(incident: Incident) -> str:
    return alerts.description(alerts.primary(incident["alerts"])) or f"Incident {incident['id']}"


def _alert(alert: Mapping[str, Any]) -> dict[str, str]:
    return {
        "id": alert["alert_id"],
        "status": word(alert.get("status")),
        "description": alerts.description(alert),
    }


def _name(person: Mapping[str, Any] | None) -> str | None:
    return next((person[key] for key in ("name", "email", "user_id") if key in person), None) if person else None
