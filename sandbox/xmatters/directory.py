"""People, their devices, groups, on-call and absences in xMatters' REST API. A group's one shift is the whole day.

Facts: docs/vendors.md, "People, groups, on-call". Documented by xMatters: lists have ``limit`` and ``offset``, 100
entries by default, 1,000 at most; ``webLogin`` finds a person.

Seen in public clients, of which tests/clients runs python-xmatters against this stand-in:

- an on-call member is an object with ``member``, ``position``, ``delay`` and ``escalationType``; the ``total`` of
  ``members`` counts the members that are listed, since python-xmatters never ends at a listing with a larger total;
- the path of on-call may end with a slash.

The clients differ from a fact above in one point: they encode each comma in ``groups``. A comma between names is plain,
and an encoded one is part of a name, so one call of such a client can ask for one group. python-xmatters can repeat
``groups`` instead.

Guesses, to be checked against a tenant:

- 404 for an unknown name; names are compared without regard to letter case;
- INACTIVE as the other ``status``; ``webLogin`` is the target name;
- ``delay`` is in minutes, rounded up; the values of a device's members, with ``sequence`` from 1;
- ``search`` finds parts of names; an unknown parameter is 400;
- every caller with credentials sees everything; 403 and 429 are answered only when scripted;
- ``members`` of on-call has one member a shift by default; ``position`` counts from 1; ``escalationType`` is PEER;
- on-call leaves out unknown groups, and groups with no active member;
- ``member`` of absences names people, separated by commas; an absence without a replacement has no such member.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import unquote_plus

from aiohttp import web

from sandbox.clock import Clock
from sandbox.http import answers
from sandbox.http.answers import VendorAnswer
from sandbox.http.calls import Call, CallLog
from sandbox.http.schema import InvalidError, whole_number
from sandbox.xmatters.access import Rest
from sandbox.xmatters.listing import limit_and_offset, moment, page
from sandbox.xmatters.people import Device, Group, People, Person, identity

PEOPLE_PATH = "/api/xm/1/people"
PERSON_PATH = "/api/xm/1/people/{name}"
DEVICES_PATH = "/api/xm/1/people/{name}/devices"
GROUPS_PATH = "/api/xm/1/groups"
GROUP_PATH = "/api/xm/1/groups/{name}"
ON_CALL_PATH = "/api/xm/1/on-call"
ABSENCES_PATH = "/api/xm/1/temporary-absences"
SHIFT = "Default Shift"
_ALWAYS = {"start": "2000-01-01T00:00:00.000Z", "end": "2100-01-01T00:00:00.000Z"}


class Directory:
    """REST API of people, groups, on-call and absences; `clock` tells the day.

    Attributes:
        calls: Log of every request for people, groups and on-call.
    """

    def __init__(self, people: People, rest: Rest, clock: Clock) -> None:
        self.calls = CallLog[Call]()
        self._people = people
        self._rest = rest
        self._clock = clock

    def add_to(self, app: web.Application) -> None:
        """Add the routes to the application of the xMatters stand-in."""
        for path, route, answer in (
            (PEOPLE_PATH, "people", lambda request, _: _listed(request, self._people.people())),
            (PERSON_PATH, "person", lambda request, _: _one(self._people.person(request.match_info["name"]))),
            (DEVICES_PATH, "devices", self._devices),
            (GROUPS_PATH, "groups", lambda request, _: _listed(request, self._people.groups())),
            (GROUP_PATH, "group", lambda request, _: _one(self._people.group(request.match_info["name"]))),
            (ON_CALL_PATH, "on_call", self._on_call),
            (ON_CALL_PATH + "/", "on_call", self._on_call),
            (ABSENCES_PATH, "absences", self._absences),
        ):
            app.router.add_get(path, self._rest.handler(route, answer, self.calls))

    def _devices(self, request: web.Request, _: Any) -> VendorAnswer:
        limit, offset = limit_and_offset(request.query, {"embed"})
        person = self._people.person(request.match_info["name"])
        if person is None:
            return unknown()
        found = [shown_device(person, each) for each in person.devices]
        return answers.document(200, page(request.path, request.query, found, limit, offset))

    def _on_call(self, request: web.Request, _: Any) -> VendorAnswer:
        limit, offset = limit_and_offset(request.query, {"groups", "membersPerShift", "embed", "at"})
        most = whole_number(request.query, "membersPerShift", 1, range(1, 101))
        moment(request.query, "at")
        found = [
            {
                "group": shown(group),
                "shift": {"id": identity("SHIFT", f"{group.name}/{SHIFT}"), "name": SHIFT},
                "members": {"count": len(members), "total": len(members), "data": members},
                **self._day(),
            }
            for group in self._wanted(request)
            if (members := self._on_call_members(group, most))
        ]
        # The query as it came: encoded anew, a comma between two names would become part of a name.
        raw = request.rel_url.raw_query_string
        return answers.document(200, page(ON_CALL_PATH, raw, found, limit, offset))

    def _absences(self, request: web.Request, _: Any) -> VendorAnswer:
        limit, offset = limit_and_offset(request.query, {"member", "from", "to"})
        moment(request.query, "from")
        moment(request.query, "to")
        wanted = {name.lower() for name in request.query.get("member", "").split(",") if name}
        found = [
            {"absenceType": "TIME_OFF", "includeDirectNotifications": True, "member": shown(person), **_ALWAYS}
            for person in (self._people.people() if self._people.all_absent else ())
            if not wanted or wanted & {person.name.lower(), person.id}
        ]
        return answers.document(200, page(request.path, request.query, found, limit, offset))

    def _on_call_members(self, group: Group, most: int) -> list[dict[str, Any]]:
        return [
            {"position": place, "delay": minutes(seconds) if place > 1 else 0, "escalationType": "PEER"}
            | {"member": shown(person)}
            for place, (person, seconds) in enumerate(self._people.active_members(group)[:most], start=1)
        ]

    def _wanted(self, request: web.Request) -> list[Group]:
        wanted = {name.lower() for name in _listed_names(request)}
        if not wanted:
            raise InvalidError("groups must name at least one group")
        return [each for each in self._people.groups() if wanted & {each.name.lower(), each.id}]

    def _day(self) -> dict[str, str]:
        begin = self._clock.now().replace(hour=0, minute=0, second=0, microsecond=0)
        return {"start": begin.isoformat(), "end": (begin + timedelta(days=1)).isoformat()}


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


def _listed_names(request: web.Request) -> Sequence[str]:
    """Return the names in a request's ``groups``; an encoded comma is part of a name."""
    raw = request.rel_url.raw_query_string
    values = [each.partition("=")[2] for each in raw.split("&") if each.partition("=")[0] == "groups"]
    return [unquote_plus(name) for value in values for name in value.split(",") if name]
