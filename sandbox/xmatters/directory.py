"""People, groups and on-call in xMatters' REST API.

Documented by xMatters, or recorded from a tenant (docs/vendors.md, "People, groups, on-call"):

- the three routes; a name in a path is a target name or a UUID;
- ``recipientType``, ``targetName``, and ``status`` as ACTIVE;
- on-call: ``groups`` is required, names separated by commas; ``membersPerShift`` is 1 to 100; an entry has ``group``,
  ``shift``, ``members``, ``start`` and ``end``;
- the error object; credentials as for events.

Guesses, to be checked against a tenant:

- 404 for an unknown name; names are compared without regard to letter case;
- INACTIVE as the other ``status``;
- ``members`` is a listing of people, one a shift by default, with a ``total`` of all;
- on-call leaves out unknown groups, and groups with no member on call;
- an unknown parameter is 400;
- every caller with credentials sees everything; 403 and 429 are answered only when scripted.
"""

import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote_plus

from aiohttp import web

from sandbox.http import answers, transport
from sandbox.http.answers import Answer
from sandbox.http.calls import CallLog
from sandbox.http.faults import Script
from sandbox.http.schema import InvalidError, compiled

PERSON_PATH = "/api/xm/1/people/{name}"
GROUP_PATH = "/api/xm/1/groups/{name}"
ON_CALL_PATH = "/api/xm/1/on-call"

_TEXT = {"type": "string", "minLength": 1}
_STATUS = {"enum": ["ACTIVE", "INACTIVE"], "default": "ACTIVE"}
_PERSON = compiled({"targetName": _TEXT}, {"status": _STATUS})
_GROUP = compiled(
    {"targetName": _TEXT}, {"status": _STATUS, "onCall": {"type": "array", "items": _TEXT, "default": []}}
)
_PARAMETERS = {"groups", "membersPerShift", "embed"}


@dataclass(frozen=True)
class Asked:
    """One request to these routes, logged before it is answered.

    Attributes
    ----------
    index
        Number of the request, from 0; never reused.
    route
        person, group or on_call.
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
    """All people and groups; none at the start. Safe to use from several threads.

    `refusal` returns the answer to a request without the right credentials, and None if they are right.
    """

    def __init__(
        self, script: Script, now: Callable[[], datetime], refusal: Callable[[web.Request], Answer | None]
    ) -> None:
        self.calls = CallLog[Asked]()
        self._script = script
        self._now = now
        self._refusal = refusal
        self._lock = threading.Lock()
        self._people: tuple[Mapping[str, Any], ...] = ()
        self._groups: tuple[Mapping[str, Any], ...] = ()

    def declare(self, people: object = (), groups: object = ()) -> None:
        """Replace all people and groups.

        Each has a ``targetName`` and an optional ``status``. A group may have ``onCall``: the names of its members on
        call now.

        Raises
        ------
        InvalidError
            If an entry is invalid; the message names the entry and the key, and nothing has changed.
        """
        checked = _entries(people, _PERSON, "people"), _entries(groups, _GROUP, "groups")
        with self._lock:
            self._people, self._groups = checked

    def document(self) -> dict[str, Any]:
        """Return the declared people and groups, for the control API."""
        with self._lock:
            return {"people": list(self._people), "groups": list(self._groups)}

    async def person(self, request: web.Request) -> web.Response:
        """Route: one person."""
        return await self._one(request, "person", "PERSON", self.document()["people"])

    async def group(self, request: web.Request) -> web.Response:
        """Route: one group."""
        return await self._one(request, "group", "GROUP", self.document()["groups"])

    async def on_call(self, request: web.Request) -> web.Response:
        """Route: the members on call of some groups."""
        names = _listed_names(request)
        try:
            honest = answers.document(200, self._page(request, names))
        except InvalidError as error:
            honest = answers.error(400, str(error))
        return await self._serve(request, "on_call", names, honest)

    async def _one(
        self, request: web.Request, route: str, kind: str, entries: Sequence[Mapping[str, Any]]
    ) -> web.Response:
        name = request.match_info["name"]
        found = _named(entries, kind, name)
        honest = answers.document(200, found) if found else answers.error(404, "The name is unknown")
        return await self._serve(request, route, [name], honest)

    async def _serve(self, request: web.Request, route: str, names: Sequence[str], honest: Answer) -> web.Response:
        honest = self._refusal(request) or honest
        fault = self._script.take(route)
        answer = fault.changed(honest, answers.error) if fault else honest
        status = None if fault and fault.cuts_before_answer else answer.status
        kind = fault.kind if fault else None
        self.calls.add(lambda index: Asked(index, self._now(), route, tuple(names), status, kind))
        return await transport.send(answer, fault, request)

    def _page(self, request: web.Request, names: Sequence[str]) -> dict[str, Any]:
        unknown = sorted(request.query.keys() - _PARAMETERS)
        if unknown:
            raise InvalidError(f"{unknown[0]} is an unknown parameter")
        if not names:
            raise InvalidError("groups must name at least one group")
        most = request.query.get("membersPerShift", "1")
        if not most.isdecimal() or not 1 <= int(most) <= 100:
            raise InvalidError("membersPerShift must be a whole number from 1 to 100")
        declared = self.document()
        wanted = {name.lower() for name in names}
        groups = [each for each in declared["groups"] if wanted & _keys("GROUP", each)]
        shifts = [self._shift(group, declared["people"], int(most)) for group in groups]
        data = [each for each in shifts if each["members"]["total"]]
        return {"count": len(data), "total": len(data), "data": data, "links": {"self": str(request.rel_url)}}

    def _shift(self, group: Mapping[str, Any], people: Sequence[Mapping[str, Any]], most: int) -> dict[str, Any]:
        members = [_named(people, "PERSON", name) or _shown("PERSON", {"targetName": name}) for name in group["onCall"]]
        reached = [each for each in members if each["status"] == "ACTIVE"]
        now = self._now().astimezone(UTC).replace(microsecond=0)
        return {
            "group": _shown("GROUP", group),
            "shift": {"id": _uuid("SHIFT", group["targetName"]), "name": "Default Shift"},
            "members": {"count": len(reached[:most]), "total": len(reached), "data": reached[:most]},
            "start": (now - timedelta(hours=1)).isoformat(),
            "end": (now + timedelta(hours=1)).isoformat(),
        }


def _entries(declared: object, check: Callable[[object, str], dict[str, Any]], name: str) -> tuple[dict[str, Any], ...]:
    if not isinstance(declared, list | tuple):
        raise InvalidError(f"{name} must be a list")
    return tuple(check(each, f"{name}[{place}]") for place, each in enumerate(declared))


def _named(entries: Sequence[Mapping[str, Any]], kind: str, name: str) -> dict[str, Any] | None:
    return next((_shown(kind, each) for each in entries if name.lower() in _keys(kind, each)), None)


def _keys(kind: str, entry: Mapping[str, Any]) -> set[str]:
    return {entry["targetName"].lower(), _uuid(kind, entry["targetName"])}


def _shown(kind: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return a person or a group as xMatters' REST API shows it."""
    identity = _uuid(kind, entry["targetName"])
    route = {"PERSON": "people", "GROUP": "groups"}[kind]
    return {
        "id": identity,
        "targetName": entry["targetName"],
        "recipientType": kind,
        "status": entry.get("status", "ACTIVE"),
        "links": {"self": f"/api/xm/1/{route}/{identity}"},
    }


def _uuid(kind: str, name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{kind}/{name}"))


def _listed_names(request: web.Request) -> list[str]:
    """Return the groups that a request names; an encoded comma is part of a name."""
    raw = request.rel_url.raw_query_string
    values = [each.partition("=")[2] for each in raw.split("&") if each.partition("=")[0] == "groups"]
    return [unquote_plus(name) for value in values for name in value.split(",") if name]
