"""People, their devices, and groups in xMatters' REST API.

Documented by xMatters, or recorded from a tenant (docs/vendors.md, "People, groups, on-call"):

- the routes of one person and one group; a name in a path is a target name or a UUID;
- ``recipientType``, ``targetName``, and ``status`` as ACTIVE;
- lists have ``limit`` and ``offset``, 100 entries by default, 1,000 at most; ``webLogin`` finds a person;
- the types of devices, and their members in a public client; the error object; credentials as for events.

Guesses, to be checked against a tenant:

- 404 for an unknown name; names are compared without regard to letter case;
- INACTIVE as the other ``status``; ``webLogin`` is the target name;
- ``delay`` is in minutes, rounded up; the values of a device's members, with ``sequence`` from 1;
- ``search`` finds parts of names; an unknown parameter is 400;
- every caller with credentials sees everything; 403 and 429 are answered only when scripted.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

from sandbox.http import answers
from sandbox.http.answers import VendorAnswer
from sandbox.http.calls import Call, CallLog
from sandbox.xmatters.access import Rest
from sandbox.xmatters.paging import limit_and_offset, page
from sandbox.xmatters.people import Device, Group, People, Person, identity

PEOPLE_PATH = "/api/xm/1/people"
PERSON_PATH = "/api/xm/1/people/{name}"
DEVICES_PATH = "/api/xm/1/people/{name}/devices"
GROUPS_PATH = "/api/xm/1/groups"
GROUP_PATH = "/api/xm/1/groups/{name}"


class Directory:
    """REST API of people and groups.

    Attributes:
        calls: Log of every request for people, groups and on-call.
    """

    def __init__(self, people: People, rest: Rest) -> None:
        self.calls = CallLog[Call]()
        self._people = people
        self._rest = rest

    def add_to(self, app: web.Application) -> None:
        """Add the routes to the application of the xMatters stand-in."""
        for path, route, answer in (
            (PEOPLE_PATH, "people", lambda request, _: _listed(request, self._people.people())),
            (PERSON_PATH, "person", lambda request, _: _one(self._people.person(request.match_info["name"]))),
            (DEVICES_PATH, "devices", self._devices),
            (GROUPS_PATH, "groups", lambda request, _: _listed(request, self._people.groups())),
            (GROUP_PATH, "group", lambda request, _: _one(self._people.group(request.match_info["name"]))),
        ):
            app.router.add_get(path, self._rest.handler(route, answer, self.calls))

    def _devices(self, request: web.Request, _: Any) -> VendorAnswer:
        limit, offset = limit_and_offset(request.query, {"embed"})
        person = self._people.person(request.match_info["name"])
        if person is None:
            return unknown()
        found = [shown_device(person, each) for each in person.devices]
        return answers.document(200, page(request.path, request.query, found, limit, offset))


def shown(entry: Person | Group) -> dict[str, Any]:
    """Return a person or a group as xMatters' REST API shows it."""
    kind, route = ("PERSON", "people") if isinstance(entry, Person) else ("GROUP", "groups")
    document: dict[str, Any] = {"id": entry.id, "targetName": entry.name, "recipientType": kind, "status": entry.status}
    if isinstance(entry, Person):
        document |= {"firstName": entry.first_name, "lastName": entry.last_name, "webLogin": entry.name}
    return document | {"links": {"self": f"/api/xm/1/{route}/{entry.id}"}}


def shown_device(person: Person, device: Device) -> dict[str, Any]:
    """Return a person's device as xMatters' REST API shows it."""
    name = f"{person.name}|{device.name}"
    identifier = identity("DEVICE", name)
    address: Mapping[str, Any] = {"emailAddress": person.email} if device.kind == "EMAIL" and person.email else {}
    return {
        "id": identifier,
        "name": device.name,
        "targetName": name,
        "recipientType": "DEVICE",
        "deviceType": device.kind,
        "status": "ACTIVE",
        "delay": minutes(device.delay_seconds),
        "priorityThreshold": "LOW",
        "sequence": person.devices.index(device) + 1 if device in person.devices else 1,
        "owner": {key: value for key, value in shown(person).items() if key != "status"},
        **address,
        "links": {"self": f"/api/xm/1/devices/{identifier}"},
    }


def unknown() -> VendorAnswer:
    """Return the answer for an unknown name."""
    return answers.xmatters_error(404, "The name is unknown")


def minutes(seconds: float) -> int:
    """Return a delay as the REST API shows it: whole minutes, rounded up."""
    return math.ceil(seconds / 60)


def _one(found: Person | Group | None) -> VendorAnswer:
    return answers.document(200, shown(found)) if found else unknown()


def _listed(request: web.Request, entries: Sequence[Person | Group]) -> VendorAnswer:
    query = request.query
    limit, offset = limit_and_offset(query, {"webLogin", "search", "embed"})
    login, part = query.get("webLogin", "").lower(), query.get("search", "").lower()
    found = [shown(each) for each in entries if login in ("", each.name.lower()) and part in _searched(each)]
    return answers.document(200, page(request.path, query, found, limit, offset))


def _searched(entry: Person | Group) -> str:
    return f"{entry.name} {entry.full_name}".lower() if isinstance(entry, Person) else entry.name.lower()
