"""xMatters' REST API, as far as people, groups and who is on call go.

Documented by xMatters, or recorded from a tenant (docs/vendors.md, "People, groups, on-call"):

- the three routes, and that a name in a path is a target name or a UUID;
- ``recipientType``, ``targetName``, and ``status`` as ACTIVE;
- who is on call: ``groups`` must be there, with commas in between; ``membersPerShift`` from 1 to 100; a page of
  ``group``, ``shift``, ``members``, ``start`` and ``end``;
- the error object; credentials as for events.

Our guesses, to be checked against a tenant:

- 404 for a name that is not there; names are compared without regard to letter case;
- INACTIVE as the other ``status``;
- ``members`` is a page of people, one a shift if nothing is said, with a ``total`` of all;
- a group without anybody on call, or that nobody knows, is left out of the page;
- a parameter that is not known here is 400;
- everybody is shown to whoever may ask at all: 403 and 429 come only when scripted.
"""

import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote_plus

from aiohttp import web

from sandbox import answers, wire
from sandbox.answers import Answer
from sandbox.faults import Script
from sandbox.log import Log
from sandbox.schema import InvalidError, compiled

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
    """One question, written down before it is answered.

    `route` is person, group or on_call; `names` are whom it was about. `status` is None where the connection was cut.
    """

    index: int
    received_at: datetime
    route: str
    names: Sequence[str]
    status: int | None
    fault: str | None

    def as_json(self) -> dict[str, Any]:
        """For the control API."""
        return vars(self) | {"received_at": self.received_at.isoformat(), "names": list(self.names)}


class Directory:
    """All people and groups, nobody to begin with. Its methods may be called from any thread.

    `refusal` says what is answered to whoever may not ask; None lets a request in.
    """

    def __init__(
        self, script: Script, now: Callable[[], datetime], refusal: Callable[[web.Request], Answer | None]
    ) -> None:
        self.calls = Log[Asked]()
        self._script = script
        self._now = now
        self._refusal = refusal
        self._lock = threading.Lock()
        self._people: tuple[Mapping[str, Any], ...] = ()
        self._groups: tuple[Mapping[str, Any], ...] = ()

    def declare(self, people: object = (), groups: object = ()) -> None:
        """Have these people and groups, and no others.

        Each has a ``targetName`` and maybe a ``status``; a group has ``onCall``, the names of whom it would ring now.

        Raises
        ------
        InvalidError
            When they can't be used; the message names the entry and the key, and nothing has changed.
        """
        checked = _entries(people, _PERSON, "people"), _entries(groups, _GROUP, "groups")
        with self._lock:
            self._people, self._groups = checked

    def document(self) -> dict[str, Any]:
        """What was declared, for the control API."""
        with self._lock:
            return {"people": list(self._people), "groups": list(self._groups)}

    async def person(self, request: web.Request) -> web.Response:
        """Route: one person."""
        return await self._one(request, "person", "PERSON", self.document()["people"])

    async def group(self, request: web.Request) -> web.Response:
        """Route: one group."""
        return await self._one(request, "group", "GROUP", self.document()["groups"])

    async def on_call(self, request: web.Request) -> web.Response:
        """Route: who is on call for some groups."""
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
        honest = answers.document(200, found) if found else answers.error(404, "There is nothing of that name")
        return await self._serve(request, route, [name], honest)

    async def _serve(self, request: web.Request, route: str, names: Sequence[str], honest: Answer) -> web.Response:
        honest = self._refusal(request) or honest
        fault = self._script.take(route)
        answer = fault.changed(honest, answers.error) if fault else honest
        status = None if fault and fault.cuts_before_answer else answer.status
        kind = fault.kind if fault else None
        self.calls.add(lambda index: Asked(index, self._now(), route, tuple(names), status, kind))
        return await wire.send(answer, fault, request)

    def _page(self, request: web.Request, names: Sequence[str]) -> dict[str, Any]:
        unknown = sorted(request.query.keys() - _PARAMETERS)
        if unknown:
            raise InvalidError(f"{unknown[0]} is not known here")
        if not names:
            raise InvalidError("groups must name at least one")
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
    """As xMatters shows a person or a group."""
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
    """The groups that are asked for: a comma that was encoded is part of a name."""
    raw = request.rel_url.raw_query_string
    values = [each.partition("=")[2] for each in raw.split("&") if each.partition("=")[0] == "groups"]
    return [unquote_plus(name) for value in values for name in value.split(",") if name]
