"""People, groups and on-call in xMatters' REST API.

Documented by xMatters, or recorded from a tenant (docs/vendors.md, "People, groups, on-call"):

- the routes of one person, one group and on-call; a name in a path is a target name or a UUID;
- ``recipientType``, ``targetName``, and ``status`` as ACTIVE;
- on-call: ``groups`` is required, names separated by commas; ``membersPerShift`` is 1 to 100; ``at``, or ``from`` and
  ``to``, are times; an entry has ``group``, ``shift``, ``members``, ``start`` and ``end``;
- on-call-summary: a bare array, at most 1,000 entries, active members in the order of escalation, each with ``group``,
  ``shift``, ``recipient``, ``delay`` and ``escalationLevel``;
- lists have ``limit`` and ``offset``, 100 entries by default, 1,000 at most; ``webLogin`` finds a person;
- the types of devices, and their members in a public client; the error object; credentials as for events.

Seen in the public clients that tests/clients runs against this stand-in:

- an on-call member is an object with ``member``, ``position``, ``delay`` and ``escalationType``; the ``total`` of
  ``members`` counts the members that are listed, since python-xmatters never ends at a listing with a larger total;
- the paths of on-call and its summary may end with a slash.

The clients differ from a fact above in one point: they encode each comma in ``groups``. A comma between names is plain,
and an encoded one is part of a name, so one call of such a client can ask for one group. python-xmatters can repeat
``groups`` instead.

Guesses, to be checked against a tenant:

- 404 for an unknown name; names are compared without regard to letter case;
- INACTIVE as the other ``status``;
- ``members`` has one member a shift by default; ``position`` counts from 1; ``escalationType`` is always PEER;
- who is on call never changes with time, so ``at``, ``from`` and ``to`` are checked, and select nothing;
- on-call and its summary leave out unknown groups, and groups with no member on call;
- ``escalationLevel`` counts from 1; ``delay`` is in minutes, rounded up; ``webLogin`` is the target name;
- the values of a device's members, with ``sequence`` from 1; ``search`` finds parts of names;
- an unknown parameter is 400;
- every caller with credentials sees everything; 403 and 429 are answered only when scripted.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote_plus

from aiohttp import web

from sandbox.http import answers, transport
from sandbox.http.answers import HttpAnswer
from sandbox.http.calls import CallLog
from sandbox.http.faults import Script
from sandbox.http.schema import InvalidError
from sandbox.xmatters.paging import LARGEST_PAGE, check_parameters, limit_and_offset, moment, page, whole_number
from sandbox.xmatters.people import Device, Group, People, Person, identity

PEOPLE_PATH = "/api/xm/1/people"
PERSON_PATH = "/api/xm/1/people/{name}"
DEVICES_PATH = "/api/xm/1/people/{name}/devices"
GROUPS_PATH = "/api/xm/1/groups"
GROUP_PATH = "/api/xm/1/groups/{name}"
ON_CALL_PATH = "/api/xm/1/on-call"
SUMMARY_PATH = "/api/xm/1/on-call-summary"
_TIMES = ("at", "from", "to")


@dataclass(frozen=True)
class Asked:
    """One request to these routes, logged before it is answered.

    Attributes
    ----------
    index
        Number of the request, from 0; never reused.
    route
        person, people, devices, group, groups, on_call or on_call_summary.
    names
        The person or the groups that the request names.
    status
        Status of the answer; None if the connection was cut before an answer.
    fault
        Kind of the scripted fault that met the request; None without a fault.
    """

    index: int
    received_at: datetime
    route: str
    names: Sequence[str]
    status: int | None
    fault: str | None

    def as_json(self) -> dict[str, Any]:
        """Return the request for the control API."""
        return vars(self) | {"received_at": self.received_at.isoformat(), "names": list(self.names)}


class Directory:
    """REST API of people and groups. Safe to use from several threads.

    `now` is the time of the log, `shift_now` that of shifts. `refusal` returns the answer to a request without the
    right credentials, and None if they are right.
    """

    def __init__(
        self,
        people: People,
        script: Script,
        now: Callable[[], datetime],
        shift_now: Callable[[], datetime],
        refusal: Callable[[web.Request], HttpAnswer | None],
    ) -> None:
        self.calls = CallLog[Asked]()
        self._people = people
        self._script = script
        self._now = now
        self._shift_now = shift_now
        self._refusal = refusal

    def declare(self, people: object = (), groups: object = ()) -> None:
        """Replace all people and groups; their devices and delays are then the defaults of `sandbox.xmatters.people`.

        Each has a ``targetName`` and an optional ``status``. A group may have ``onCall``: the names of its members on
        call now.

        Raises
        ------
        InvalidError
            If an entry is invalid; the message names the entry and the key, and nothing has changed.
        """
        self._people.declare(people, groups)

    def document(self) -> dict[str, Any]:
        """Return the declared people and groups, for the control API."""
        people = [{"targetName": each.name, "status": each.status} for each in self._people.people()]
        groups = [
            {"targetName": each.name, "status": each.status, "onCall": [member.name for member in each.members]}
            for each in self._people.groups()
        ]
        return {"people": people, "groups": groups}

    async def person(self, request: web.Request) -> web.Response:
        """Route: one person."""
        return await self._one(request, "person", self._people.person(request.match_info["name"]))

    async def group(self, request: web.Request) -> web.Response:
        """Route: one group."""
        return await self._one(request, "group", self._people.group(request.match_info["name"]))

    async def people(self, request: web.Request) -> web.Response:
        """Route: list people."""
        return await self._serve(request, "people", [], lambda: self._listed(request, self._people.people()))

    async def groups(self, request: web.Request) -> web.Response:
        """Route: list groups."""
        return await self._serve(request, "groups", [], lambda: self._listed(request, self._people.groups()))

    async def devices(self, request: web.Request) -> web.Response:
        """Route: the devices of a person."""
        name = request.match_info["name"]

        def honest() -> HttpAnswer:
            limit, offset = limit_and_offset(request.query, {"embed"})
            person = self._people.person(name)
            if person is None:
                return answers.error(404, "The name is unknown")
            found = [shown_device(person, each) for each in person.devices]
            return answers.document(200, page(request.path, request.query, found, limit, offset))

        return await self._serve(request, "devices", [name], honest)

    async def on_call(self, request: web.Request) -> web.Response:
        """Route: the members on call of some groups."""
        names = _listed_names(request)
        return await self._serve(request, "on_call", names, lambda: self._on_call(request, names))

    async def on_call_summary(self, request: web.Request) -> web.Response:
        """Route: the members on call of some groups in the order of escalation, as a bare array."""
        names = _listed_names(request)

        def honest() -> HttpAnswer:
            check_parameters(request.query, {"groups"})
            found = [each for group in self._wanted(names) for each in self._summary(group)]
            return answers.document(200, found[:LARGEST_PAGE])

        return await self._serve(request, "on_call_summary", names, honest)

    async def _one(self, request: web.Request, route: str, found: Person | Group | None) -> web.Response:
        honest = answers.document(200, shown(found)) if found else answers.error(404, "The name is unknown")
        return await self._serve(request, route, [request.match_info["name"]], lambda: honest)

    async def _serve(
        self, request: web.Request, route: str, names: Sequence[str], honest: Callable[[], HttpAnswer]
    ) -> web.Response:
        verdict = self._refusal(request) or _valid(honest)
        fault = self._script.take(route)
        answer = fault.changed(verdict, answers.error) if fault else verdict
        status = None if fault and fault.cuts_before_answer else answer.status
        kind = fault.kind if fault else None
        self.calls.add(lambda index: Asked(index, self._now(), route, tuple(names), status, kind))
        return await transport.send(answer, fault, request)

    def _listed(self, request: web.Request, entries: Sequence[Person | Group]) -> HttpAnswer:
        query = request.query
        limit, offset = limit_and_offset(query, {"webLogin", "targetName", "search", "embed"})
        names = [query[key].lower() for key in ("webLogin", "targetName") if key in query]
        part = query.get("search", "").lower()
        found = [
            shown(each)
            for each in entries
            if all(each.name.lower() == name for name in names) and part in _searched(each)
        ]
        return answers.document(200, page(request.path, query, found, limit, offset))

    def _on_call(self, request: web.Request, names: Sequence[str]) -> HttpAnswer:
        query = request.query
        limit, offset = limit_and_offset(query, {"groups", "membersPerShift", "embed", *_TIMES})
        groups = self._wanted(names)
        most = whole_number(query, "membersPerShift", 1, range(1, 101))
        for name in _TIMES:
            moment(query, name)
        found = [self._shift(group, most) for group in groups]
        found = [each for each in found if each["members"]["total"]]
        # The query as it came: encoded anew, a comma between two names would become part of a name.
        raw = request.rel_url.raw_query_string
        return answers.document(200, page(ON_CALL_PATH, raw, found, limit, offset))

    def _wanted(self, names: Sequence[str]) -> list[Group]:
        if not names:
            raise InvalidError("groups must name at least one group")
        wanted = {name.lower() for name in names}
        return [each for each in self._people.groups() if wanted & {each.name.lower(), each.id}]

    def _shift(self, group: Group, most: int) -> dict[str, Any]:
        members = [
            {"position": place, "delay": _minutes(seconds) if place > 1 else 0, "escalationType": "PEER"}
            | {"member": shown(person)}
            for place, (person, seconds) in enumerate(self._people.active_members(group)[:most], start=1)
        ]
        now = self._shift_now().astimezone(UTC).replace(microsecond=0)
        return {
            "group": shown(group),
            "shift": _shown_shift(group),
            "members": {"count": len(members), "total": len(members), "data": members},
            "start": (now - timedelta(hours=1)).isoformat(),
            "end": (now + timedelta(hours=1)).isoformat(),
        }

    def _summary(self, group: Group) -> list[dict[str, Any]]:
        return [
            {
                "group": {"id": group.id, "name": group.name, "targetName": group.name},
                "shift": _shown_shift(group),
                "recipient": shown(person),
                "delay": _minutes(seconds) if level > 1 else 0,
                "escalationLevel": level,
            }
            for level, (person, seconds) in enumerate(self._people.active_members(group), start=1)
        ]


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
        "delay": _minutes(device.delay_seconds),
        "sequence": person.devices.index(device) + 1 if device in person.devices else 1,
        "owner": {key: value for key, value in shown(person).items() if key != "status"},
        **address,
        "links": {"self": f"/api/xm/1/devices/{identifier}"},
    }


def _valid(honest: Callable[[], HttpAnswer]) -> HttpAnswer:
    try:
        return honest()
    except InvalidError as error:
        return answers.error(400, str(error))


def _shown_shift(group: Group) -> dict[str, Any]:
    return {"id": identity("SHIFT", group.name), "name": "Default Shift"}


def _searched(entry: Person | Group) -> str:
    return f"{entry.name} {entry.full_name}".lower() if isinstance(entry, Person) else entry.name.lower()


def _minutes(seconds: float) -> int:
    return math.ceil(seconds / 60)


def _listed_names(request: web.Request) -> list[str]:
    """Return the groups that a request names; an encoded comma is part of a name."""
    raw = request.rel_url.raw_query_string
    values = [each.partition("=")[2] for each in raw.split("&") if each.partition("=")[0] == "groups"]
    return [unquote_plus(name) for value in values for name in value.split(",") if name]
