"""Shifts and members of groups, and who is on call, in xMatters' REST API. A group's one shift is the whole day.

Documented by xMatters, or recorded from a tenant (docs/vendors.md, "People, groups, on-call"):

- on-call: ``groups`` is required, names separated by commas; ``membersPerShift`` is 1 to 100; ``at`` is a time; an
  entry has ``group``, ``shift``, ``members``, ``start`` and ``end``;
- on-call-summary: a bare array, at most 1,000 entries, active members in the order of escalation, each with ``group``,
  ``shift``, ``recipient``, ``delay`` and ``escalationLevel``.

Seen in the public clients that tests/clients runs against this stand-in:

- an on-call member is an object with ``member``, ``position``, ``delay`` and ``escalationType``; the ``total`` of
  ``members`` counts the members that are listed, since python-xmatters never ends at a listing with a larger total;
- the paths of on-call and its summary may end with a slash;
- the routes of a group's shifts, of a shift's members, and of a group's members with their shifts.

The clients differ from a fact above in one point: they encode each comma in ``groups``. A comma between names is plain,
and an encoded one is part of a name, so one call of such a client can ask for one group. python-xmatters can repeat
``groups`` instead.

Guesses, to be checked against a tenant:

- ``members`` of on-call has one member a shift by default; ``position`` counts from 1; ``escalationType`` is PEER;
- on-call and its summary leave out unknown groups, and groups with no active member;
- ``escalationLevel`` counts from 1; a group's members include those that are inactive.
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
from sandbox.xmatters.directory import GROUP_PATH, GROUPS_PATH, minutes, shown, unknown
from sandbox.xmatters.paging import LARGEST_PAGE, check_parameters, limit_and_offset, moment, page, whole_number
from sandbox.xmatters.people import Group, People, Person, identity
from sandbox.xmatters.rest import Rest

SHIFTS_PATH = GROUP_PATH + "/shifts"
SHIFT_PATH = SHIFTS_PATH + "/{shift}"
SHIFT_MEMBERS_PATH = SHIFT_PATH + "/members"
MEMBERS_PATH = GROUP_PATH + "/members"
ON_CALL_PATH = "/api/xm/1/on-call"
SUMMARY_PATH = "/api/xm/1/on-call-summary"
SHIFT = "Default Shift"


class Rosters:
    """REST API of shifts and on-call; `clock` tells the day."""

    def __init__(self, people: People, rest: Rest, clock: Clock, calls: CallLog[Call]) -> None:
        self._people = people
        self._rest = rest
        self._clock = clock
        self._calls = calls

    def add_to(self, app: web.Application) -> None:
        """Add the routes to the application of the xMatters stand-in."""
        for path, route, answer in (
            (SHIFTS_PATH, "shifts", self._shifts),
            (SHIFT_PATH, "shift", self._shift),
            (SHIFT_MEMBERS_PATH, "shift", self._shift_members),
            (MEMBERS_PATH, "members", self._members),
            (ON_CALL_PATH, "on_call", self._on_call),
            (ON_CALL_PATH + "/", "on_call", self._on_call),
            (SUMMARY_PATH, "on_call_summary", self._summary),
            (SUMMARY_PATH + "/", "on_call_summary", self._summary),
        ):
            app.router.add_get(path, self._rest.handler(route, answer, self._calls))

    def _shifts(self, request: web.Request, _: Any) -> VendorAnswer:
        limit, offset = limit_and_offset(request.query, {"embed"})
        group = self._people.group(request.match_info["name"])
        found = [self._shown_shift(group)] if group else []
        return answers.document(200, page(request.path, request.query, found, limit, offset)) if group else unknown()

    def _shift(self, request: web.Request, _: Any) -> VendorAnswer:
        check_parameters(request.query, {"embed"})
        group = self._group_of_shift(request)
        return answers.document(200, self._shown_shift(group)) if group else unknown()

    def _shift_members(self, request: web.Request, _: Any) -> VendorAnswer:
        limit, offset = limit_and_offset(request.query, ())
        group = self._group_of_shift(request)
        if group is None:
            return unknown()
        found = [
            {
                "position": place,
                "delay": minutes(each.after_seconds),
                "escalationType": "PEER",
                "inRotation": False,
                "recipient": shown(self._people.member(each.name)),
                "shift": _reference(group),
            }
            for place, each in enumerate(group.members, start=1)
        ]
        return answers.document(200, page(request.path, request.query, found, limit, offset))

    def _members(self, request: web.Request, _: Any) -> VendorAnswer:
        limit, offset = limit_and_offset(request.query, {"embed"})
        group = self._people.group(request.match_info["name"])
        if group is None:
            return unknown()
        shift = _reference(group) | {"group": _shown_reference(group)}
        wants_shifts = "shifts" in request.query.get("embed", "").split(",")
        shifts = {"shifts": {"count": 1, "total": 1, "data": [shift]}} if wants_shifts else {}
        found = [
            {"group": _shown_reference(group), "member": _shown_reference(self._people.member(each.name)), **shifts}
            for each in group.members
        ]
        return answers.document(200, page(request.path, request.query, found, limit, offset))

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

    def _on_call_members(self, group: Group, most: int) -> list[dict[str, Any]]:
        return [
            {"position": place, "delay": minutes(seconds) if place > 1 else 0, "escalationType": "PEER"}
            | {"member": shown(person)}
            for place, (person, seconds) in enumerate(self._people.active_members(group)[:most], start=1)
        ]

    def _summary(self, request: web.Request, _: Any) -> VendorAnswer:
        check_parameters(request.query, {"groups"})
        found = [
            {
                "group": {"id": group.id, "name": group.name, "targetName": group.name},
                "shift": _named(group),
                "recipient": shown(person),
                "delay": minutes(seconds) if level > 1 else 0,
                "escalationLevel": level,
            }
            for group in self._wanted(request)
            for level, (person, seconds) in enumerate(self._people.active_members(group), start=1)
        ]
        return answers.document(200, found[:LARGEST_PAGE])

    def _wanted(self, request: web.Request) -> list[Group]:
        wanted = {name.lower() for name in _listed_names(request)}
        if not wanted:
            raise InvalidError("groups must name at least one group")
        return [each for each in self._people.groups() if wanted & {each.name.lower(), each.id}]

    def _group_of_shift(self, request: web.Request) -> Group | None:
        group, shift = self._people.group(request.match_info["name"]), request.match_info["shift"].lower()
        return group if group and shift in (SHIFT.lower(), _shift_id(group)) else None

    def _shown_shift(self, group: Group) -> dict[str, Any]:
        return _reference(group) | {"group": _shown_reference(group), **self._day(), "timezone": "UTC"}

    def _day(self) -> dict[str, str]:
        begin = self._clock.now().replace(hour=0, minute=0, second=0, microsecond=0)
        return {"start": begin.isoformat(), "end": (begin + timedelta(days=1)).isoformat()}


def _reference(group: Group) -> dict[str, Any]:
    link = f"{GROUPS_PATH}/{group.id}/shifts/{_shift_id(group)}"
    return _named(group) | {"links": {"self": link}}


def _named(group: Group) -> dict[str, Any]:
    return {"id": _shift_id(group), "name": SHIFT}


def _shown_reference(entry: Person | Group) -> dict[str, Any]:
    names = ("id", "targetName", "recipientType", "links")
    return {name: value for name, value in shown(entry).items() if name in names}


def _shift_id(group: Group) -> str:
    return identity("SHIFT", f"{group.name}/{SHIFT}")


def _listed_names(request: web.Request) -> Sequence[str]:
    """Return the names in a request's ``groups``; an encoded comma is part of a name."""
    raw = request.rel_url.raw_query_string
    values = [each.partition("=")[2] for each in raw.split("&") if each.partition("=")[0] == "groups"]
    return [unquote_plus(name) for value in values for name in value.split(",") if name]
