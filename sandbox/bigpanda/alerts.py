"""Alerts of live incidents: created as a caller declares them, and changed to another status. Pure code.

Documented by BigPanda (docs/vendors.md, "What BigPanda sends"): an alert's members, and its limits of 2,048 characters
a description and 300 alerts an incident.

Guesses, to be checked against an organisation: in API v2, too, a whole alert has ``description``,
``primary_property``, ``secondary_property``, ``source_system`` and ``tags``;
its times have the same names as those of an incident.
"""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from sandbox.http.schema import object_of

type Alert = Mapping[str, Any]

# From good to bad.
STATUSES = ("ok", "unknown", "warning", "critical")
MOST_ALERTS = 300
MOST_DESCRIPTION = 2048
MOST_TAGS = 30

_TEXT = {"type": "string", "minLength": 1, "maxLength": 512}
_TAG = object_of({"name": _TEXT, "value": _TEXT})
# Schema of an alert that a caller declares.
DECLARED = object_of(
    {},
    {
        "description": {"type": "string", "minLength": 1, "maxLength": MOST_DESCRIPTION},
        "status": {"enum": list(STATUSES)},
        "tags": {"type": "array", "items": _TAG, "maxItems": MOST_TAGS},
    },
)
# Description, host and check of alerts that are declared without them, in turn.
_SAMPLES = (
    ("Replica lag is 340 s (limit 30 s)", "pay-db-1", "replication"),
    ("p99 latency is 2.4 s (limit 1 s)", "pay-api-3", "latency"),
    ("Error rate is 7 % (limit 1 %)", "pay-api-4", "errors"),
    ("Queue depth is 48,000 (limit 1,000)", "pay-queue-2", "depth"),
)


def rank(status: str) -> int:
    """Return a number for a status: the worse, the larger."""
    return STATUSES.index(status)


def word(status: object) -> str:
    """Return a status in lower case; "unknown" if it is not one of `STATUSES`."""
    lowered = status.lower() if isinstance(status, str) else ""
    return lowered if lowered in STATUSES else "unknown"


def description(alert: Alert) -> str:
    """Return an alert's description; "" if it has none."""
    found = alert.get("description")
    return found if isinstance(found, str) else ""


def primary(alerts: Sequence[Alert]) -> Alert:
    """Return the primary alert: the first of the most severe alerts; an empty object if there are no alerts."""
    return max(alerts, key=lambda each: rank(word(each.get("status"))), default={})


def made(
    declared: Sequence[Mapping[str, Any]], title: str | None, status: str, now: int, *, place: int = 0
) -> list[Alert]:
    """Return new alerts, as objects of API v2.

    `declared` has one entry for each alert, which fits the schema `DECLARED`. Missing texts and tags come from a fixed
    list of samples.

    `title` is the description of the first alert if its entry has none. `status` is the status of each alert whose
    entry has none. `place` is the number of alerts that the incident has already; it selects the first sample.
    """
    first: dict[str, Any] = {"description": title} if title else {}
    entries = [{**first, **declared[0]}, *declared[1:]]
    return [_made({"status": status, **each}, now, place + number) for number, each in enumerate(entries)]


def turned(alert: Alert, status: str, now: int) -> Alert:
    """Return a copy of the alert with a new status, changed at `now` (epoch seconds); the status ok ends the alert."""
    is_over = status == "ok"
    stamps = {"changed_at": now, "updated_at": now, "end": now if is_over else None}
    return {**alert, "status": status.title(), "active": not is_over, **stamps}


def _made(entry: Mapping[str, Any], now: int, place: int) -> Alert:
    text, host, check = _SAMPLES[place % len(_SAMPLES)]
    tags = entry.get("tags", [{"name": "host", "value": host}, {"name": "check", "value": check}])
    plain = {
        "alert_id": secrets.token_hex(12), "start": now, "primary_property": "host", "secondary_property": "check",
        "source_system": "nagios.nagios_east", "description": entry.get("description", text), "tags": tags,
    }  # fmt: skip
    return turned(plain, entry["status"], now)
