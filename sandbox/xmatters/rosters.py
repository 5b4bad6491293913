"""Shifts and members of groups, and who is on call, in xMatters' REST API.

Documented by xMatters, or recorded from a tenant (docs/vendors.md, "People, groups, on-call"):

- on-call: ``groups`` is required, names separated by commas; ``membersPerShift`` is 1 to 100; ``at``, or ``from`` and
  ``to``, are times; an entry has ``group``, ``shift``, ``members``, ``start`` and ``end``;
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
- ``from`` and ``to`` select the shifts that cover a time between them;
- on-call and its summary leave out unknown groups, and shifts with no active member;
- ``escalationLevel`` counts from 1; ``recurrence`` is left out, since every shift here is daily;
- a group's members include those that are not on call, or inactive.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from urllib.parse import unquote_plus

from aiohttp import web

from sandbox.clock import Clock
from sandbox.http import answers
from sandbox.http.answers import VendorAnswer
from sandbox.http.schema import InvalidError
from sandbox.xmatters.directory import GROUP_PATH, GROUPS_PATH, Directory, minutes, shown
from sandbox.xmatters.groups import Group, Shift
from sandbox.xmatters.identity import identity
from sandbox.xmatters.paging import LARGEST_PAGE, check_parameters, limit_and_offset, moment, page, whole_number
from sandbox.xmatters.people import People, Person

SHIFTS_PATH = GROUP_PATH + "/shifts"
SHIFT_PATH = SHIFTS_PATH + "/{shift}"
SHIFT_MEMBERS_PATH = SHIFT_PATH + "/members"
MEMBERS_PATH = GROUP_PATH + "/members"
ON_CALL_PATH = "/api/xm/1/on-call"
SUMMARY_PATH = "/api/xm/1/on-call-summary"
_TIMES = ("at", "from", "to")


class Rosters:
    """REST API of shifts and on-call. Safe to use from several threads; `clock` tells which shift is on."""

    def __init__(self, people: People, directory: Directory, clock: Clock) -> None:
        self._people = people
        self._directory = directory
        self._clock = clock

    def add_to(self, app: web.Application) -> None:
        """Add the routes to the application of the xMatters stand-in."""
        app.router.add_get(SHIFTS_PATH, self.shifts)
        app.router.add_get(SHIFT_PATH, self.shift)
        app.router.add_get(SHIFT_MEMBERS_PATH, self.shift_members)
        app.router.add_get(MEMBERS_PATH, self.members)
        for slash in ("", "/"):
            app.router.add_get(ON_CALL_PATH + slash, self.on_call)
            app.router.add_get(SUMMARY_PATH + slash, self.on_call_summary)

    async def shifts(self, request: web.Request) -> web.Response:
        """Answer a request for the list of a group's shifts."""

        def unscripted() -> VendorAnswer:
            limit, offset = limit_and_offset(request.query, {"embed"})
            group = self._people.group(request.match_info["name"])
            if group is None:
                return _unknown()
            found = [self._shown_shift(group, each) for each in group.shifts]
            return answers.document(200, page(request.path, request.query, found, limit, offset))

        return await self._directory.serve(request, "shifts", [request.match_info["name"]], unscripted)

    async def shift(self, request: web.Request) -> web.Response:
        """Answer a request for one shift."""

        def unscripted() -> VendorAnswer:
            check_parameters(request.query, {"embed"})
            group, shift = self._wanted_shift(request)
            return answers.document(200, self._shown_shift(group, shift)) if group and shift else _unknown()

        return await self._directory.serve(request, "shift", [request.match_info["name"]], unscripted)

    async def shift_members(self, request: web.Request) -> web.Response:
        """Answer a request for the list of a shift's members."""

        def unscripted() -> VendorAnswer:
            limit, offset = limit_and_offset(request.query, ())
            group, shift = self._wanted_shift(request)
            if group is None or shift is None:
                return _unknown()
            found = self._shift_members(group, shift)
            return answers.document(200, page(request.path, request.query, found, limit, offset))

        return await self._directory.serve(request, "shift", [request.match_info["name"]], unscripted)

    async def members(self, request: web.Request) -> web.Response:
        """Answer a request for the list of a group's members, with their shifts if ``embed`` asks for them."""

        def unscripted() -> VendorAnswer:
            limit, offset = limit_and_offset(request.query, {"embed"})
            group = self._people.group(request.match_info["name"])
            if group is None:
                return _unknown()
            with_shifts = "shifts" in request.query.get("embed", "").split(",")
            found = [self._membership(group, each.name, with_shifts=with_shifts) for each in group.members]
            return answers.document(200, page(request.path, request.query, found, limit, offset))

        return await self._directory.serve(request, "members", [request.match_info["name"]], unscripted)

    async def on_call(self, request: web.Request) -> web.Response:
        """Answer a request for the on-call members of some groups, by shift."""
        names = _listed_names(request)
        return await self._directory.serve(request, "on_call", names, lambda: self._on_call(request, names))

    async def on_call_summary(self, request: web.Request) -> web.Response:
        """Answer a request for the on-call members of some groups: a bare array in the order of escalation."""
        names = _listed_names(request)

        def unscripted() -> VendorAnswer:
            check_parameters(request.query, {"groups"})
            found = [each for group in self._wanted(names) for each in self._summary(group)]
            return answers.document(200, found[:LARGEST_PAGE])

        return await self._directory.serve(request, "on_call_summary", names, unscripted)

    def _on_call(self, request: web.Request, names: Sequence[str]) -> VendorAnswer:
        query = request.query
        limit, offset = limit_and_offset(query, {"groups", "membersPerShift", "embed", *_TIMES})
        groups = self._wanted(names)
        most = whole_number(query, "membersPerShift", 1, range(1, 101))
        at, begin, end = (moment(query, name) for name in _TIMES)
        first = at or begin or self._clock.now()
        last = max(first, end or first)
        found = [
            self._on_call_entry(group, shift, most, first if shift.covers(first) else last)
            for group in groups
            for shift in group.shifts
            if shift.covers(first) or shift.begun_at(last) > first
        ]
        found = [each for each in found if each["members"]["total"]]
        # The query as it came: encoded anew, a comma between two names would become part of a name.
        raw = request.rel_url.raw_query_string
        return answers.document(200, page(ON_CALL_PATH, raw, found, limit, offset))

    def _on_call_entry(self, group: Group, shift: Shift, most: int, time: datetime) -> dict[str, Any]:
        members = [
            {"position": place, "delay": minutes(seconds) if place > 1 else 0, "escalationType": "PEER"}
            | {"member": shown(person)}
            for place, (person, seconds) in enumerate(self._people.active_members([shift])[:most], start=1)
        ]
        return {
            "group": shown(group),
            "shift": _named(group, shift),
            "members": {"count": len(members), "total": len(members), "data": members},
            "start": shift.begun_at(time).isoformat(),
            "end": shift.ends_at(time).isoformat(),
        }

    def _summary(self, group: Group) -> list[dict[str, Any]]:
        members = [
            (shift, *member)
            for shift in group.shifts_at(self._clock.now())
            for member in self._people.active_members([shift])
        ]
        return [
            {
                "group": {"id": group.id, "name": group.name, "targetName": group.name},
                "shift": _named(group, shift),
                "recipient": shown(person),
                "delay": minutes(seconds) if level > 1 else 0,
                "escalationLevel": level,
            }
            for level, (shift, person, seconds) in enumerate(members, start=1)
        ]

    def _wanted(self, names: Sequence[str]) -> list[Group]:
        if not names:
            raise InvalidError("groups must name at least one group")
        wanted = {name.lower() for name in names}
        return [each for each in self._people.groups() if wanted & {each.name.lower(), each.id}]

    def _wanted_shift(self, request: web.Request) -> tuple[Group | None, Shift | None]:
        group = self._people.group(request.match_info["name"])
        wanted = request.match_info["shift"].lower()
        shifts = group.shifts if group else ()
        return group, next((s for s in shifts if group and wanted in (s.name.lower(), _shift_id(group, s))), None)

    def _shown_shift(self, group: Group, shift: Shift) -> dict[str, Any]:
        now = self._clock.now()
        return _reference(group, shift) | {
            "group": _shown_reference(group),
            "start": shift.begun_at(now).isoformat(),
            "end": shift.ends_at(now).isoformat(),
            "timezone": "UTC",
        }

    def _shift_members(self, group: Group, shift: Shift) -> list[dict[str, Any]]:
        return [
            {
                "position": place,
                "delay": minutes(each.after_seconds),
                "escalationType": "PEER",
                "inRotation": False,
                "recipient": shown(self._people.member(each.name)),
                "shift": _reference(group, shift),
            }
            for place, each in enumerate(shift.members, start=1)
        ]

    def _membership(self, group: Group, name: str, *, with_shifts: bool) -> dict[str, Any]:
        membership: dict[str, Any] = {
            "group": _shown_reference(group),
            "member": _shown_reference(self._people.member(name)),
        }
        if with_shifts:
            shifts = [each for each in group.shifts if name in [member.name for member in each.members]]
            found = [_reference(group, each) | {"group": _shown_reference(group)} for each in shifts]
            membership["shifts"] = {"count": len(found), "total": len(found), "data": found}
        return membership


def _reference(group: Group, shift: Shift) -> dict[str, Any]:
    identifier = _shift_id(group, shift)
    link = f"{GROUPS_PATH}/{group.id}/shifts/{identifier}"
    return {"id": identifier, "name": shift.name, "links": {"self": link}}


def _named(group: Group, shift: Shift) -> dict[str, Any]:
    return {"id": _shift_id(group, shift), "name": shift.name}


def _shown_reference(entry: Person | Group) -> dict[str, Any]:
    names = ("id", "targetName", "recipientType", "links")
    return {name: value for name, value in shown(entry).items() if name in names}


def _shift_id(group: Group, shift: Shift) -> str:
    return identity("SHIFT", f"{group.name}/{shift.name}")


def _unknown() -> VendorAnswer:
    return answers.xmatters_error(404, "The name is unknown")


def _listed_names(request: web.Request) -> list[str]:
    """Return the names in a request's ``groups``; an encoded comma is part of a name."""
    raw = request.rel_url.raw_query_string
    values = [each.partition("=")[2] for each in raw.split("&") if each.partition("=")[0] == "groups"]
    return [unquote_plus(name) for value in values for name in value.split(",") if name]
