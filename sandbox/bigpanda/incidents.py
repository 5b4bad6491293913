"""Incidents of BigPanda's API v2: declared by tests, and listed by folder.

Facts: docs/vendors.md, "BigPanda's API".

Guesses, to be checked against an organisation:

- ``folders`` names the folders of an incident; `assigned` is one of them, though only BigPanda's documentation of the
  incident object names it;
- the last change is ``changed_at``, newest first; ``total`` counts all pages; a page after the last is empty;
- an unknown folder, page or ``expand`` is 400; a page without alerts has no limit;
- whole alerts are shown as declared, ``alert_id`` included.

A declared incident may leave out most members: see `parse`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sandbox.http.schema import InvalidError, compiled, object_of, whole_number

type Incident = Mapping[str, Any]

FOLDERS = ("active", "shared", "snoozed", "resolved", "unhandled", "maintenance", "assigned")
# Incidents on a page, by default.
PAGE_SIZE = 10
POSITIVE = range(1, 2**41)
# The most incidents on a page with their alerts.
MOST_EXPANDED = 10
# The environment of the samples in events/. It exists without a declaration, and is empty.
ENVIRONMENT = "5f3c1a2b9d8e7f6a5b4c3d2e"
ENVIRONMENTS: Mapping[str, tuple[Incident, ...]] = {ENVIRONMENT: ()}

_TEXT = {"type": "string", "minLength": 1}
_STATUS = {"type": "string", "pattern": "^([Cc]ritical|[Ww]arning|[Uu]nknown|[Oo]k)$"}
_TIME = {"type": "integer", "minimum": 1}
_FLAG = {"type": "boolean"}
_SNOOZE = object_of({"snoozed": _FLAG}, {"end_time": _TIME, "cancel_on_incident_updates": _FLAG})
_ALERT = {"type": "object", "required": ["alert_id"], "properties": {"alert_id": _TEXT}}
_OBJECTS = {"type": "array", "items": {"type": "object"}}
_PERSON = {"type": ["object", "null"], "properties": {"user_id": _TEXT, "name": _TEXT, "email": _TEXT}}
_INCIDENT = compiled(
    {
        "id": _TEXT,
        "status": _STATUS,
        "active": _FLAG,
        "changed_at": _TIME,
        "folders": {"type": "array", "items": {"enum": list(FOLDERS)}},
    },
    {
        "severity": _STATUS,
        "flapping": _FLAG | {"default": False},
        "shared": _FLAG | {"default": True},
        "snooze": _SNOOZE | {"default": {"snoozed": False}},
        "maintenance": {"enum": [None, "partial", "active"], "default": None},
        "start": _TIME,
        "updated_at": _TIME,
        "end": {"type": ["integer", "null"], "default": None},
        "alerts": {"type": "array", "items": _ALERT, "default": []},
        "environments": {"type": "array", "items": _TEXT},
        "incident_tags": _OBJECTS | {"default": []},
        "assignee": _PERSON | {"default": None},
        "assigner": _PERSON | {"default": None},
        "correlation_matchers_log": {"type": "array", "items": _OBJECTS, "default": []},
    },
)


def parse(declared: object, environment: str) -> tuple[Incident, ...]:
    """Parse the declared incidents of an environment: objects of API v2.

    ``id``, ``status``, ``active``, ``changed_at`` and ``folders`` are required. By default, ``start`` and
    ``updated_at`` are ``changed_at``, ``severity`` is ``status``, and the incident is shared.

    Raises InvalidError, which names the entry and the key.
    """
    if not isinstance(declared, list):
        raise InvalidError("incidents must be a list")
    return tuple(_whole(_INCIDENT(each, f"incidents[{place}]"), environment) for place, each in enumerate(declared))


def page(incidents: Sequence[Incident], query: Mapping[str, str]) -> dict[str, Any]:
    """Return one page of a folder's incidents, newest change first. Raises InvalidError if the query is invalid.

    Reads ``folder``, ``from``, ``to``, ``page``, ``page_size`` and ``expand``. Ignores ``query``, which is in a
    language of BigPanda's own.
    """
    folder, is_expanded = query.get("folder"), _is_expanded(query)
    number, size = (whole_number(query, *each, POSITIVE) for each in (("page", 1), ("page_size", PAGE_SIZE)))
    if folder is not None and folder not in FOLDERS:
        raise InvalidError(f"folder must be one of {', '.join(FOLDERS)}")
    if is_expanded and size > MOST_EXPANDED:
        raise InvalidError(f"page_size must be at most {MOST_EXPANDED} with expand=alerts")
    held = [each for each in incidents if (folder is None or folder in each["folders"]) and _was_active(each, query)]
    newest = sorted(held, key=lambda each: -each["changed_at"])
    items = [_shown(each, is_expanded=is_expanded) for each in newest[(number - 1) * size : number * size]]
    return {"total": len(held), "items": items}


def _was_active(incident: Incident, query: Mapping[str, str]) -> bool:
    """True if the incident was active between ``from`` and ``to``; if either is missing, that side is open."""
    start, end = (whole_number(query, *each, POSITIVE) for each in (("from", 1), ("to", 2**40)))
    last = incident["changed_at"] if incident["end"] is None else max(incident["end"], incident["changed_at"])
    return bool(incident["start"] <= end and start <= last)


def one(incidents: Sequence[Incident], name: str, query: Mapping[str, str]) -> dict[str, Any] | None:
    """Return the incident with the id `name`; None if there is none.

    The incident has whole alerts if the query has ``expand=alerts``, else only their ids. Raises InvalidError if
    ``expand`` has another value.
    """
    is_expanded = _is_expanded(query)
    return next((_shown(each, is_expanded=is_expanded) for each in incidents if each["id"] == name), None)


def _whole(incident: Incident, environment: str) -> Incident:
    changed = incident["changed_at"]
    unsaid = {"severity": incident["status"], "start": changed, "updated_at": changed, "environments": [environment]}
    return unsaid | dict(incident)


def _is_expanded(query: Mapping[str, str]) -> bool:
    if query.get("expand", "alerts") != "alerts":
        raise InvalidError("expand must be alerts")
    return "expand" in query


def _shown(incident: Incident, *, is_expanded: bool) -> dict[str, Any]:
    alerts = incident["alerts"]
    return {**incident, "alerts": alerts if is_expanded else [{"alert_id": each["alert_id"]} for each in alerts]}
