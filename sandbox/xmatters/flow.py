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
    "incidentid": "Incident",
    "status": "Status",
    "severity": "Severity",
    "environmentid": "Environment",
    "host": "Host",
    "check": "Check",
    "sourcesystems": "Sources",
    "alertsactive": "Active alerts",
    "alertstotal": "Alerts",
    "link": "Link",
}


@dataclass(frozen=True)
class Order:
    """A page to make, as a flow's *Create Alert* step gets it.

    Attributes
    ----------
    incident_id, environment_id
        BigPanda's ids; None if there are none.
    status
        BigPanda's status, in lower case; "" if there is none.
    is_over
        True if the incident is resolved: the page is then for information.
    subject
        Headline of the page.
    details
        Pairs of a label and a text, which a person sees after acknowledging.
    priority
        One of `PRIORITIES`.
    recipients
        Names of users, groups, and devices as ``user|device``.
    expiration_minutes
        Minutes until the page expires.
    """

    incident_id: str | None
    environment_id: str | None
    status: str
    is_over: bool
    subject: str
    details: tuple[tuple[str, str], ...]
    priority: str
    recipients: tuple[str, ...]
    expiration_minutes: int = EXPIRATION_MINUTES


def read(signal: Signal) -> Order | None:
    """Return the page to make of a signal; None if the flow fails, since the body is not JSON."""
    if signal.body is None:
        return None
    document, said = _Members(signal.body), signal.decision
    wrapped, own = document.get("incident"), said.get("body") == "xmatters"
    incident = _Members(document.get("properties") if own else wrapped if isinstance(wrapped, dict) else signal.body)
    status = said["status"] if said else _line(incident.get("status")).lower()
    is_over = said["is_over"] if said else _is_over(incident, status)
    environment_id = said["environment_id"] if said else _environment(document, incident)
    minutes = None if said else document.get("expirationinminutes")
    return Order(
        incident_id=signal.incident_id,
        environment_id=environment_id or None,
        status=status,
        is_over=is_over,
        subject=_own_subject(incident) if own else _subject(incident, status, is_over, signal.incident_id),
        details=tuple(_own_details(incident) if own else _details(document, incident, signal.incident_id)),
        priority=said["priority"] if said else _priority(status, is_over=is_over),
        recipients=tuple(dict.fromkeys(said["recipients"] if said else signal.recipients))[:MOST_RECIPIENTS],
        expiration_minutes=minutes if type(minutes) is int and 1 <= minutes <= 100_000 else EXPIRATION_MINUTES,
    )


class _Members(dict[str, Any]):
    """Members of a JSON object by their simplified names: in lower case, without hyphens and underscores.

    Empty if the value is no JSON object. Members that are null are left out.
    """

    def __init__(self, value: Any) -> None:
        super().__init__()
        for name, member in (value if isinstance(value, dict) else {}).items():
            if member is not None:
                self.setdefault(re.sub("[_-]", "", name).lower(), member)

    def first(self, *names: str) -> str:
        """Return the text of the first of the members `names` that is not empty; "" if all are empty or missing."""
        return next((text for name in names if (text := _line(self.get(name)))), "")


def _line(value: Any) -> str:
    """Return a text or a number as one line; "" for other values."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    return re.sub(r"[\s\x00-\x1f\x7f]+", " ", str(value)[: 4 * PROPERTY_LIMIT]).strip()[:PROPERTY_LIMIT]


def _flag(value: Any) -> bool | None:
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.strip().lower())
    return value if isinstance(value, bool) else None


def _is_over(incident: _Members, status: str) -> bool:
    active = _flag(incident.get("active"))
    if active is False or status == "ok":
        return True
    return active is not True and _flag(incident.get("resolved")) is True


def _environment(document: _Members, incident: _Members) -> str | None:
    outside = _Members(document.get("metadata"))
    return outside.first("environmentid") or document.first("environmentid") or incident.first("environmentid") or None


def _priority(status: str, *, is_over: bool) -> str:
    return "LOW" if is_over else "HIGH" if status == "critical" else "MEDIUM"


def _own_subject(properties: _Members) -> str:
    return properties.first("subject") or f"BigPanda incident {properties.first('incidentid')}".strip()


def _own_details(properties: _Members) -> Iterable[tuple[str, str]]:
    found = ((label, properties.get(name)) for name, label in _OWN_LABELS.items())
    # The description has a line for each alert.
    return [(label, str(text).strip()[:PROPERTY_LIMIT]) for label, text in found if _line(text)]


def _subject(incident: _Members, status: str, is_over: bool, incident_id: str | None) -> str:
    worst = next(iter(_alerts(incident)), _Members({}))
    title = incident.first("title", "subject") or _described(worst) or incident.first("description")
    state = "RESOLVED" if is_over else status.upper()
    return ": ".join(part for part in (state, title or f"BigPanda incident {incident_id or ''}".strip()) if part)


def _details(document: _Members, incident: _Members, incident_id: str | None) -> Iterable[tuple[str, str]]:
    alerts = _alerts(incident)
    active = sum(_line(alert.get("status")).lower() != "ok" for alert in alerts)
    found = [
        ("Incident", incident_id or ""),
        ("Status", incident.first("status")),
        ("Severity", incident.first("severity")),
        ("Environment", _environment(document, incident) or ""),
        ("Assignee", _person(document.get("assignee")) or _person(incident.get("assignee"))),
        ("Host", incident.first("host")),
        ("Check", incident.first("check")),
        ("Alerts", f"{active} active of {len(alerts)}" if alerts else ""),
        *(("Alert", f"{alert.first('status').upper()} {_described(alert)}".strip()) for alert in alerts[:MOST_ALERTS]),
        ("Further alerts", str(len(alerts) - MOST_ALERTS) if len(alerts) > MOST_ALERTS else ""),
        ("Link", incident.first("link") or document.first("link")),
    ]
    return [(label, text) for label, text in found if text]


def _person(value: Any) -> str:
    return _Members(value).first("name", "username", "email") or _line(value)


def _alerts(incident: _Members) -> list[_Members]:
    """Return the incident's alerts, the worst status first."""
    listed = incident.get("alerts")
    found = [_Members(each) for each in (listed if isinstance(listed, list) else []) if isinstance(each, dict)]

    def rank(alert: _Members) -> int:
        status = alert.first("status").lower()
        return _STATUSES.index(status) if status in _STATUSES else _STATUSES.index("unknown")

    return sorted(found, key=rank)


def _described(alert: _Members) -> str:
    tags = _tags(alert.get("tags"))
    place = " ".join(part for part in (tags.get("host", ""), tags.get("check", "")) if part)
    return ": ".join(part for part in (place, alert.first("description")) if part)


def _tags(value: Any) -> Mapping[str, str]:
    if isinstance(value, dict):
        return {str(name).lower(): _line(text) for name, text in value.items()}
    pairs = [_Members(each) for each in (value if isinstance(value, list) else [])]
    return {pair.first("name").lower(): pair.first("value") for pair in pairs}
