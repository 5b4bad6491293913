"""Request bodies of shares as BigPanda posts them."""

import json
from typing import Any

# In the past: the relay does not believe or compare a time stamp that is ahead of the clock.
EPOCH = 1_760_000_000


def body(incident_id: str, alerts: int, *, age: int = 0, status: str = "critical") -> bytes:
    """Return the share of an incident with so many alerts, `age` seconds after its start. Status "ok" is a resolve."""
    is_open = status != "ok"
    stamps = {"startedOn": EPOCH, "changedOn": EPOCH + age, "updatedOn": EPOCH + age}
    incident = {
        "id": incident_id,
        "status": status,
        "severity": status,
        "active": is_open,
        "resolved": not is_open,
        "flapping": False,
        "snooze": {"snoozed": False, "end_time": None, "autoCancel": False},
        **stamps,
        "endedOn": None if is_open else EPOCH + age,
        "alerts": [_alert(number, status, stamps) for number in range(alerts)],
    }
    return json.dumps({"incident": incident, "metadata": {"environment_id": "5f3c1a2b9d8e7f6a5b4c3d2e"}}).encode()


def _alert(number: int, status: str, stamps: dict[str, int]) -> dict[str, Any]:
    tags = {"host": f"pay-api-{number}", "check": "latency", "team": "payments", "service": "checkout", "site": "fra-1"}
    return {
        "id": f"{number:024x}",
        "status": status,
        "active": status != "ok",
        **stamps,
        "endedOn": None,
        "primary_property": "host",
        "secondary_property": "check",
        "source_system": "nagios.nagios_east",
        "description": f"p99 latency of pay-api-{number} is 2.4 s (limit 1 s) for 5 minutes",
        "tags": [{"name": name, "value": value} for name, value in tags.items()],
    }
