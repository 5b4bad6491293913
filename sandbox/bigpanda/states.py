"""Reads and changes of an incident's state in API v2: open, snoozed, shared, folders and times. Pure code.

Facts: docs/vendors.md, "What BigPanda sends".

Guesses, to be checked against an organisation: a snoozed incident is not in the folder `active`; `unhandled` is open,
not shared, not assigned and not snoozed.
"""

from typing import Any

from sandbox.bigpanda.alerts import rank, word
from sandbox.bigpanda.incidents import Incident


def is_open(incident: Incident) -> bool:
    """Return True until the incident is resolved."""
    return bool(incident["active"])


def is_snoozed(incident: Incident) -> bool:
    """Return True while the incident is snoozed."""
    return bool(incident["snooze"]["snoozed"])


def is_quiet(incident: Incident) -> bool:
    """Return True while the incident is snoozed or flapping."""
    return is_snoozed(incident) or bool(incident["flapping"])


def stamped(incident: Incident, now: int, *, is_update: bool = True, **members: Any) -> Incident:
    """Return a copy of the incident with the given `members`, new timestamps and new ``folders``.

    ``updated_at`` becomes `now`. With `is_update`, the change triggers a sharing update: ``changed_at`` becomes `now`,
    too. Neither time moves back.
    """
    stamps = {"updated_at": max(now, incident["updated_at"])}
    if is_update:
        stamps["changed_at"] = max(now, incident["changed_at"])
    return in_folders({**incident, **stamps, **members})


def with_status(incident: Incident, status: str) -> Incident:
    """Return the incident with another status; its severity never falls."""
    worst = max(word(incident["severity"]), status, key=rank)
    return {**incident, "status": status.title(), "severity": worst.title()}


def in_folders(incident: Incident) -> Incident:
    """Return a copy of the incident whose ``folders`` are computed from the incident's state."""
    is_awake = is_open(incident) and not is_snoozed(incident)
    held = {
        "active": is_awake,
        "shared": incident["shared"],
        "snoozed": is_snoozed(incident),
        "resolved": not is_open(incident),
        "unhandled": is_awake and not incident["shared"] and incident["assignee"] is None,
        "maintenance": incident["maintenance"] is not None,
        "assigned": incident["assignee"] is not None,
    }
    return {**incident, "folders": [folder for folder, is_in in held.items() if is_in]}
