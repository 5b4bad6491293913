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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from aiohttp import web

from sandbox.http import answers, transport
from sandbox.http.answers import VendorAnswer
from sandbox.http.calls import CallLog
from sandbox.http.faults import Script
from sandbox.http.schema import InvalidError
from sandbox.xmatters.groups import Group
from sandbox.xmatters.identity import identity
from sandbox.xmatters.paging import limit_and_offset, page
from sandbox.xmatters.people import Device, People, Person

PEOPLE_PATH = "/api/xm/1/people"
PERSON_PATH = "/api/xm/1/people/{name}"
DEVICES_PATH = "/api/xm/1/people/{name}/devices"
GROUPS_PATH = "/api/xm/1/groups"
GROUP_PATH = "/api/xm/1/groups/{name}"


@dataclass(frozen=True)
class DirectoryCall:
    """One request about people, groups or on-call, logged before it is answered.

    Attributes
    ----------
    index
        Number of the request, from 0; never reused.
    route
        person, people, devices, group or groups; shift, shifts, members, on_call or on_call_summary.
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
        """Return the logged request as JSON types, as the control API shows it."""
        return vars(self) | {"received_at": self.received_at.isoformat(), "names": list(self.names)}


class Directory:
    """REST API of people and groups. Safe to use from several threads.

    `now` returns the time for the log of requests. `refusal` returns the answer to a request without the right
    credentials or above the rate limit, and None for others.
    """

    def __init__(
        self,
        people: People,
        script: Script,
        now: Callable[[], datetime],
        refusal: Callable[[web.Request], VendorAnswer | None],
    ) -> None:
        self.calls = CallLog[DirectoryCall]()
        self._people = people
        self._script = script
        self._now = now
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
        """Answer a request for one person."""
        return await self._one(request, "person", self._people.person(request.match_info["name"]))

    async def group(self, request: web.Request) -> web.Response:
        """Answer a request for one group."""
        return await self._one(request, "group", self._people.group(request.match_info["name"]))

    async def people(self, request: web.Request) -> web.Response:
        """Answer a request for the list of people."""
        return await self.serve(request, "people", [], lambda: self._listed(request, self._people.people()))

    async def groups(self, request: web.Request) -> web.Response:
        """Answer a request for the list of groups."""
        return await self.serve(request, "groups", [], lambda: self._listed(request, self._people.groups()))

    async def devices(self, request: web.Request) -> web.Response:
        """Answer a request for the list of a person's devices."""
        name = request.match_info["name"]

        def unscripted() -> VendorAnswer:
            limit, offset = limit_and_offset(request.query, {"embed"})
            person = self._people.person(name)
            if person is None:
                return answers.xmatters_error(404, "The name is unknown")
            found = [shown_device(person, each) for each in person.devices]
            return answers.document(200, page(request.path, request.query, found, limit, offset))

        return await self.serve(request, "devices", [name], unscripted)

    async def _one(self, request: web.Request, route: str, found: Person | Group | None) -> web.Response:
        unscripted = (
            answers.document(200, shown(found)) if found else answers.xmatters_error(404, "The name is unknown")
        )
        return await self.serve(request, route, [request.match_info["name"]], lambda: unscripted)

    async def serve(
        self, request: web.Request, route: str, names: Sequence[str], unscripted: Callable[[], VendorAnswer]
    ) -> web.Response:
        """Answer a request, and log it.

        Bad credentials, and requests above the rate limit, are refused first. Otherwise `unscripted` returns the answer
        without a fault. If it raises InvalidError, the answer is 400. A scripted fault for the route may then replace
        the answer, truncate its body, delay it, or cut the connection. `names` are the people or groups for the log.
        """
        verdict = self._refusal(request) or _valid(unscripted)
        fault = self._script.take(route)
        answer = fault.changed(verdict, answers.xmatters_error) if fault else verdict
        status = None if fault and fault.cuts_before_answer else answer.status
        kind = fault.kind if fault else None
        self.calls.add(lambda index: DirectoryCall(index, self._now(), route, tuple(names), status, kind))
        return await transport.send(answer, fault, request)

    def _listed(self, request: web.Request, entries: Sequence[Person | Group]) -> VendorAnswer:
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
        "priorityThreshold": device.priority_threshold,
        "sequence": person.devices.index(device) + 1 if device in person.devices else 1,
        "owner": {key: value for key, value in shown(person).items() if key != "status"},
        **address,
        "links": {"self": f"/api/xm/1/devices/{identifier}"},
    }


def _valid(unscripted: Callable[[], VendorAnswer]) -> VendorAnswer:
    try:
        return unscripted()
    except InvalidError as error:
        return answers.xmatters_error(400, str(error))


def _searched(entry: Person | Group) -> str:
    return f"{entry.name} {entry.full_name}".lower() if isinstance(entry, Person) else entry.name.lower()


def minutes(seconds: float) -> int:
    return math.ceil(seconds / 60)
