"""Flow behind the triggers: reads a signal, and says which page to make of it.

There are two flows:

- with the relay's header ``X-Relay-Decision``, the flow of docs/xmatters/trigger.js: incident, end, priority and
  recipients are those of the header, and the body, BigPanda's or the relay's own, gives only texts;
- without it, the BigPanda workflow, which reads the body of BigPanda's webhook, wrapped in ``incident`` or bare.

Documented by xMatters: ``recipients`` of the URL name users and groups; a body that is not JSON fails inside the flow,
after the signal was accepted.

Guesses, to be checked against a tenant (the script of the BigPanda workflow is not public):

- which members of BigPanda's body the workflow reads, the words of the subject, and the details;
- its priority: HIGH for critical, LOW for a resolve, MEDIUM for the rest;
- a resolve makes a page for information, without responses; it ends no other page;
- with no recipients anywhere the page is made, and notifies nobody.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.xmatters.signals import Signal

EXPIRATION_MINUTES = 180
PROPERTY_LIMIT = 2000
MOST_ALERTS = 5
MOST_RECIPIENTS = 100
_STATUSES = ["critical", "warning", "unknown", "ok"]
_OWN_LABELS = {
    "description": "Description",
    "incident_id": "Incident",
    "status": "Status",
    "severity": "Severity",
    "environment_id": "Environment",
    "host": "Host",
    "check": "Check",
    "source_systems": "Sources",
    "alerts_active": "Active alerts",
    "alerts_total": "Alerts",
    "link": "Link",
}


@dataclass(frozen=True)
class Order:
    """A page to make, as a flow's *Create Alert* step gets it.

    Attributes:
        incident_id, environment_id: BigPanda's ids; None if there are none.
        status: BigPanda's status, in lower case; "" if there is none.
        is_over: True if the incident is resolved: the page is then for information.
        subject: Headline of the page.
        details: Pairs of a label and a text, which a person sees after acknowledging.
        priority: HIGH, MEDIUM or LOW.
        recipients: Names of users, groups, and devices as ``user|device``.
    """

    incident_id: str | None
    environment_id: str | None
    status: str
    is_over: bool
    subject: str
    details: tuple[tuple[str, str], ...]
    priority: str
    recipients: tuple[str, ...]


def read(signal: Signal) -> Order | None:
    """Return the page to make of a signal; None if the flow fails, since the body is not JSON."""
    if signal.body is None:
        return None
    document, said = _object(signal.body), signal.decision
    own = _object(document.get("properties")) if said.get("body") == "xmatters" else None
    incident = _object(document["incident"]) if "incident" in document else document
    status = said["status"] if said else _line(incident.get("status")).lower()
    is_over = said["is_over"] if said else status == "ok" or incident.get("active") is False
    environment_id = said["environment_id"] if said else _line(_object(document.get("metadata")).get("environment_id"))
    return Order(
        incident_id=signal.incident_id,
        environment_id=environment_id or None,
        status=status,
        is_over=is_over,
        subject=_own_subject(own) if own is not None else _subject(incident, status, is_over, signal.incident_id),
        details=tuple(_own_details(own) if own is not None else _details(incident, environment_id, signal.incident_id)),
        priority=said["priority"] if said else "LOW" if is_over else "HIGH" if status == "critical" else "MEDIUM",
        recipients=tuple(dict.fromkeys(said["recipients"] if said else signal.recipients))[:MOST_RECIPIENTS],
    )


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _line(value: Any) -> str:
    """Return a text or a number as one line; "" for other values."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    return re.sub(r"[\s\x00-\x1f\x7f]+", " ", str(value)[: 4 * PROPERTY_LIMIT]).strip()[:PROPERTY_LIMIT]


def _own_subject(properties: Mapping[str, Any]) -> str:
    return _line(properties.get("subject")) or "BigPanda incident"


def _own_details(properties: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    found = ((label, properties.get(name)) for name, label in _OWN_LABELS.items())
    # The description has a line for each alert.
    return [(label, str(text).strip()[:PROPERTY_LIMIT]) for label, text in found if _line(text)]


def _subject(incident: Mapping[str, Any], status: str, is_over: bool, incident_id: str | None) -> str:
    worst = next((_described(each) for each in _alerts(incident)), "")
    title = _line(incident.get("title")) or _line(incident.get("subject")) or worst
    state = "RESOLVED" if is_over else status.upper()
    return ": ".join(part for part in (state, title or f"BigPanda incident {incident_id or ''}".strip()) if part)


def _details(incident: Mapping[str, Any], environment_id: Any, incident_id: str | None) -> Iterable[tuple[str, str]]:
    alerts = _alerts(incident)
    active = sum(_line(alert.get("status")).lower() != "ok" for alert in alerts)
    found = [
        ("Incident", incident_id or ""),
        ("Status", _line(incident.get("status"))),
        ("Severity", _line(incident.get("severity"))),
        ("Environment", _line(environment_id)),
        ("Alerts", f"{active} active of {len(alerts)}" if alerts else ""),
        *(
            ("Alert", f"{_line(each.get('status')).upper()} {_described(each)}".strip())
            for each in alerts[:MOST_ALERTS]
        ),
        ("Further alerts", str(len(alerts) - MOST_ALERTS) if len(alerts) > MOST_ALERTS else ""),
    ]
    return [(label, text) for label, text in found if text]


def _alerts(incident: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the incident's alerts, the worst status first."""
    listed = incident.get("alerts")
    found = [each for each in (listed if isinstance(listed, list) else []) if isinstance(each, dict)]

    def rank(alert: Mapping[str, Any]) -> int:
        status = _line(alert.get("status")).lower()
        return _STATUSES.index(status) if status in _STATUSES else _STATUSES.index("unknown")

    return sorted(found, key=rank)


def _described(alert: Mapping[str, Any]) -> str:
    listed = alert.get("tags")
    pairs = map(_object, listed if isinstance(listed, list) else [])
    tags = {_line(pair.get("name")).lower(): _line(pair.get("value")) for pair in pairs}
    place = " ".join(part for part in (tags.get("host", ""), tags.get("check", "")) if part)
    return ": ".join(part for part in (place, _line(alert.get("description"))) if part)
