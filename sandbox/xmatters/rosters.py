"""On-call people and absences in xMatters' REST API. A group's one shift is the whole day.

Documented by xMatters, or recorded from a tenant (docs/vendors.md, "People, groups, on-call"):

- on-call: ``groups`` is required, names separated by commas; ``membersPerShift`` is 1 to 100; ``at`` is a time; an
  entry has ``group``, ``shift``, ``members``, ``start`` and ``end``;
- absences: ``member``, ``from`` and ``to``, and the names of their members.

Seen in the public clients that tests/clients runs against this stand-in:

- an on-call member is an object with ``member``, ``position``, ``delay`` and ``escalationType``; the ``total`` of
  ``members`` counts the members that are listed, since python-xmatters never ends at a listing with a larger total;
- the path of on-call may end with a slash.

The clients differ from a fact above in one point: they encode each comma in ``groups``. A comma between names is plain,
and an encoded one is part of a name, so one call of such a client can ask for one group. python-xmatters can repeat
``groups`` instead.

Guesses, to be checked against a tenant:

- ``members`` of on-call has one member a shift by default; ``position`` counts from 1; ``escalationType`` is PEER;
- on-call leaves out unknown groups, and groups with no active member;
- ``member`` of absences names people, separated by commas; an absence without a replacement has no such member.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import unquote_plus

from aiohttp import web

from sandbox.clock import Clock
from sandbox.http import answers
from sandbox.http.answers import VendorAnswer
from sandbox.http.calls import Call, CallLog
from sandbox.http.schema import InvalidError
from sandbox.xmatters.access import Rest
from sandbox.xmatters.directory import minutes, shown
from sandbox.xmatters.paging import limit_and_offset, moment, page, whole_number
from sandbox.xmatters.people import Group, People, identity

ON_CALL_PATH = "/api/xm/1/on-call"
ABSENCES_PATH = "/api/xm/1/temporary-absences"
SHIFT = "Default Shift"
_ALWAYS = {"start": "2000-01-01T00:00:00.000Z", "end": "2100-01-01T00:00:00.000Z"}


class Rosters:
    """REST API of on-call and absences; `clock` tells the day."""

    def __init__(self, people: People, rest: Rest, clock: Clock, calls: CallLog[Call]) -> None:
        self._people = people
        self._rest = rest
        self._clock = clock
        self._calls = calls

    def add_to(self, app: web.Application) -> None:
        """Add the routes to the application of the xMatters stand-in."""
        for path in (ON_CALL_PATH, ON_CALL_PATH + "/"):
            app.router.add_get(path, self._rest.handler("on_call", self._on_call, self._calls))
        app.router.add_get(ABSENCES_PATH, self._rest.handler("absences", self._absences, self._calls))

    def _on_call(self, request: web.Request, _: Any) -> VendorAnswer:
        limit, offset = limit_and_offset(request.query, {"groups", "membersPerShift", "embed", "at"})
        most = whole_number(request.query, "membersPerShift", 1, range(1, 101))
        moment(request.query, "at")
        found = [
            {
                "group": shown(group),
                "shift": _named(group),
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


def _named(group: Group) -> dict[str, Any]:
    return {"id": _shift_id(group), "name": SHIFT}


def _shift_id(group: Group) -> str:
    return identity("SHIFT", f"{group.name}/{SHIFT}")


def _listed_names(request: web.Request) -> Sequence[str]:
    """Return the names in a request's ``groups``; an encoded comma is part of a name."""
    raw = request.rel_url.raw_query_string
    values = [each.partition("=")[2] for each in raw.split("&") if each.partition("=")[0] == "groups"]
    return [unquote_plus(name) for value in values for name in value.split(",") if name]
