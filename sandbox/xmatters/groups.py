"""Groups of people, their shifts, and who is on call.

Documented by xMatters: a group has shifts; a shift has members in order, with escalation delays; absent or inactive
members are skipped without waiting.

Guesses, to be checked against a tenant:

- if two shifts cover a time, the members of both are on call, in the order of the shifts;
- the first member of a later shift waits for its own delay, as any other member does.

Here a shift is the same every day, and its hours are in UTC.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sandbox.http.schema import InvalidError, compiled
from sandbox.xmatters.identity import identity

ESCALATION_SECONDS = 300
LONGEST_DELAY_SECONDS = 7 * 86400
MOST_MEMBERS = 1000
MOST_SHIFTS = 50
DEFAULT_SHIFT = "Default Shift"
_MINUTES_A_DAY = 24 * 60

_NAME = {"type": "string", "minLength": 1, "maxLength": 200}
_HOUR = {"type": "string", "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$", "default": "00:00"}
_MEMBERS = {"type": "array", "maxItems": MOST_MEMBERS, "default": []}
_MEMBER = compiled(
    {"name": _NAME}, {"after_seconds": {"type": "number", "minimum": 0, "maximum": LONGEST_DELAY_SECONDS}}
)
_SHIFT = compiled({"name": _NAME}, {"begins": _HOUR, "ends": _HOUR, "members": _MEMBERS})


@dataclass(frozen=True)
class Member:
    """A member of a shift; `after_seconds` is the wait after the previous active member."""

    name: str
    after_seconds: float


@dataclass(frozen=True)
class Shift:
    """A shift of a group, the same every day.

    Attributes
    ----------
    begins, ends
        Hours in UTC, such as "08:00"; the whole day if they are equal. A shift may go past midnight.
    members
        Members of the shift, in the order of escalation.
    """

    name: str = DEFAULT_SHIFT
    begins: str = "00:00"
    ends: str = "00:00"
    members: tuple[Member, ...] = ()

    @property
    def minutes(self) -> int:
        """Length of the shift in minutes."""
        return (_minute(self.ends) - _minute(self.begins) - 1) % _MINUTES_A_DAY + 1

    def begun_at(self, time: datetime) -> datetime:
        """Return the latest time, at or before `time`, at which this daily shift begins."""
        day = time.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        begun = day + timedelta(minutes=_minute(self.begins))
        return begun if begun <= time else begun - timedelta(days=1)

    def ends_at(self, time: datetime) -> datetime:
        """Return the end of the shift that begins at `begun_at(time)`."""
        return self.begun_at(time) + timedelta(minutes=self.minutes)

    def covers(self, time: datetime) -> bool:
        """True if the shift's members are on call at this time."""
        return time < self.ends_at(time)

    def as_json(self) -> dict[str, Any]:
        """Return the shift in the form that `shifts_of` takes."""
        return vars(self) | {"members": [dict(vars(each)) for each in self.members]}


@dataclass(frozen=True)
class Group:
    """A group, and its shifts in order."""

    name: str
    status: str = "ACTIVE"
    shifts: tuple[Shift, ...] = ()

    @property
    def id(self) -> str:
        """UUID of the group."""
        return identity("GROUP", self.name)

    @property
    def members(self) -> tuple[Member, ...]:
        """Members of all shifts, each once."""
        found = {member.name: member for shift in reversed(self.shifts) for member in reversed(shift.members)}
        return tuple(reversed(found.values()))

    def shifts_at(self, time: datetime) -> list[Shift]:
        """Return the shifts whose members are on call at a time."""
        return [each for each in self.shifts if each.covers(time)]

    def as_json(self) -> dict[str, Any]:
        """Return the group in the form that `sandbox.xmatters.people.People.declare_phones` takes."""
        return vars(self) | {"shifts": [each.as_json() for each in self.shifts]}


def shifts_of(entry: Mapping[str, Any], name: str) -> tuple[Shift, ...]:
    """Return the shifts of a declared group, which has ``shifts``, or ``members`` for one shift of the whole day.

    Raises
    ------
    InvalidError
        If an entry is invalid; the message names the entry and the key.
    """
    if "members" not in entry:
        return tuple(_shift(each, f"{name}.shifts[{at}]") for at, each in enumerate(entry.get("shifts", [])))
    if "shifts" in entry:
        raise InvalidError(f"{name} has members and shifts: the members of a group with shifts are those of its shifts")
    return (Shift(members=_members(entry["members"], f"{name}.members")),)


def all_day(names: Iterable[str]) -> tuple[Shift, ...]:
    """Return one shift of the whole day with these members and default delays."""
    return (Shift(members=_members([{"name": name} for name in names], "members")),)


def _shift(declared: object, name: str) -> Shift:
    entry = _SHIFT(declared, name)
    return Shift(entry["name"], entry["begins"], entry["ends"], _members(entry["members"], f"{name}.members"))


def _members(declared: Iterable[object], name: str) -> tuple[Member, ...]:
    entries = [_MEMBER(each, f"{name}[{at}]") for at, each in enumerate(declared)]
    return tuple(
        Member(each["name"], each.get("after_seconds", ESCALATION_SECONDS if place else 0))
        for place, each in enumerate(entries)
    )


def _minute(hour: str) -> int:
    hours, _, minutes = hour.partition(":")
    return int(hours) * 60 + int(minutes)
