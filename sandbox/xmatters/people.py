"""People with devices, and groups with shifts: one directory for the REST API and for notifying.

Documented by xMatters, or recorded from a tenant: the types of devices; a device is not notified of
pages below its priority threshold; a group's members in order, with escalation delays. In the REST API the delays of
devices and of escalations are whole minutes; here they are seconds.

Guesses, to be checked against a tenant:

- a device's delay counts from the previous device of the same person; the first one's from the start;
- a device whose threshold is above the page's priority is left out, and the next device keeps its own delay;
- a member's delay counts from the previous active member; the first active member is notified at once;
- a person who is declared without devices has one for e-mail, and so has a group's member who is not declared.
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.http.schema import InvalidError, compiled
from sandbox.xmatters.groups import LONGEST_DELAY_SECONDS, MOST_SHIFTS, Group, Shift, all_day, shifts_of
from sandbox.xmatters.identity import identity

KINDS = [
    *("EMAIL", "VOICE", "TEXT_PHONE", "APPLE_PUSH", "ANDROID_PUSH", "BLACKBERRY_PUSH"),
    *("FAX", "IM", "BES", "TEXT_PAGER", "NUMERIC_PAGER"),
]
PRIORITIES = ["LOW", "MEDIUM", "HIGH"]
MOST_ENTRIES = 1000

_TEXT = {"type": "string", "minLength": 1}
_NAME = {"type": "string", "minLength": 1, "maxLength": 200}
_LIST = {"type": "array", "maxItems": MOST_ENTRIES, "default": []}
_SECONDS = {"type": "number", "minimum": 0, "maximum": LONGEST_DELAY_SECONDS}
_STATUS = {"enum": ["ACTIVE", "INACTIVE"], "default": "ACTIVE"}
# The form of the REST API's names, for `People.declare`.
_PERSON = compiled({"targetName": _TEXT}, {"status": _STATUS})
_GROUP = compiled({"targetName": _TEXT}, {"status": _STATUS, "onCall": {"type": "array", "items": _TEXT}})
# The form with devices and delays, for `People.declare_phones`.
_PHONES = compiled({}, {"people": _LIST, "groups": _LIST})
_OWNER = compiled(
    {"name": _NAME},
    {
        "full_name": _NAME,
        "email": {"type": ["string", "null"], "minLength": 1, "maxLength": 200},
        "status": _STATUS,
        "devices": {"type": "array", "maxItems": 20},
    },
)
_DEVICE = compiled(
    {"name": _NAME, "kind": {"enum": KINDS}},
    {
        "delay_seconds": _SECONDS | {"default": 0},
        "priority_threshold": {"enum": PRIORITIES, "default": "LOW"},
        "fails": {"type": "boolean", "default": False},
    },
)
_ROSTER = compiled(
    {"name": _NAME},
    {
        "status": _STATUS,
        "members": {"type": "array", "maxItems": MOST_ENTRIES},
        "shifts": {"type": "array", "maxItems": MOST_SHIFTS},
    },
)


@dataclass(frozen=True)
class Device:
    """A device of a person.

    Attributes
    ----------
    name
        Its name, such as "Work Phone".
    kind
        One of `KINDS`.
    delay_seconds
        Wait after the person's previous device.
    priority_threshold
        The lowest priority of a page that the device is notified of: one of `PRIORITIES`.
    fails
        True if no notification can be delivered to it.
    """

    name: str
    kind: str
    delay_seconds: float = 0
    priority_threshold: str = "LOW"
    fails: bool = False

    def takes(self, priority: str) -> bool:
        """True if the device is notified of pages with this priority."""
        return PRIORITIES.index(priority) >= PRIORITIES.index(self.priority_threshold)


DEFAULT_DEVICES = (Device("Work Email", "EMAIL"),)


@dataclass(frozen=True)
class Person:
    """A user of xMatters; `devices` are in the order in which they are notified. `email` is None if unknown."""

    name: str
    full_name: str
    email: str | None = None
    status: str = "ACTIVE"
    devices: tuple[Device, ...] = DEFAULT_DEVICES

    @property
    def first_name(self) -> str:
        """The full name up to its last word; the whole name if it is one word."""
        return self.full_name.rpartition(" ")[0] or self.full_name

    @property
    def last_name(self) -> str:
        """The last word of the full name; "" if the name is one word."""
        first, _, last = self.full_name.rpartition(" ")
        return last if first else ""

    @property
    def id(self) -> str:
        """UUID of the person."""
        return identity("PERSON", self.name)

    def as_json(self) -> dict[str, Any]:
        """Return the person in the form that `People.declare_phones` takes."""
        return vars(self) | {"devices": [dict(vars(each)) for each in self.devices]}


class People:
    """All people and groups; none at the start. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._people: tuple[Person, ...] = ()
        self._groups: tuple[Group, ...] = ()

    def declare(self, people: object, groups: object) -> None:
        """Replace all people and groups, given without devices and delays, as `Directory.declare` describes."""
        found = [_person(each) for each in _entries(people, _PERSON, "people")]
        self._replace(found, [_group(each) for each in _entries(groups, _GROUP, "groups")])

    def declare_phones(self, document: object) -> None:
        """Replace all people and groups, with devices and delays.

        A person has a ``name``, and may have ``full_name``, ``email``, ``status`` and ``devices``, each with ``name``,
        ``kind``, ``delay_seconds`` (0), ``priority_threshold`` (LOW) and ``fails`` (false). A group has a ``name``, and
        may have ``status``, and ``shifts`` or ``members``. A shift has a ``name``, and may have ``begins`` and ``ends``
        (hours in UTC such as 08:00; the whole day) and ``members``. A member has a ``name``, and may have
        ``after_seconds`` (300; 0 for the first). ``members`` of a group are those of one shift for the whole day.

        Raises
        ------
        InvalidError
            If an entry is invalid; the message names the entry and the key, and nothing has changed.
        """
        checked = _PHONES(document, "phones")
        people = [_owner(each, name) for name, each in _named_entries(checked["people"], _OWNER, "people")]
        rosters = _named_entries(checked["groups"], _ROSTER, "groups")
        groups = [Group(each["name"], each["status"], shifts_of(each, name)) for name, each in rosters]
        names = [each.name for each in people] + [each.name for each in groups]
        _check_unique(names, "a name of people and groups")
        self._replace(people, groups)

    def people(self) -> tuple[Person, ...]:
        """Return all people."""
        with self._lock:
            return self._people

    def groups(self) -> tuple[Group, ...]:
        """Return all groups."""
        with self._lock:
            return self._groups

    def person(self, name: str) -> Person | None:
        """Return the person with this name, in any letter case, or this UUID; None if unknown."""
        return _found(self.people(), name)

    def group(self, name: str) -> Group | None:
        """Return the group with this name, in any letter case, or this UUID; None if unknown."""
        return _found(self.groups(), name)

    def member(self, name: str) -> Person:
        """Return the person with this name or UUID; for an unknown name, an active person with default devices."""
        return self.person(name) or Person(name, name)

    def active_members(self, shifts: Iterable[Shift]) -> list[tuple[Person, float]]:
        """Return the active members of shifts, in order, each with the wait after the previous one (seconds)."""
        members = [(self.member(each.name), each.after_seconds) for shift in shifts for each in shift.members]
        return [(person, seconds) for person, seconds in members if person.status == "ACTIVE"]

    def _replace(self, people: Iterable[Person], groups: Iterable[Group]) -> None:
        with self._lock:
            self._people, self._groups = tuple(people), tuple(groups)


def _found[Named: (Person, Group)](entries: tuple[Named, ...], name: str) -> Named | None:
    wanted = name.lower()
    return next((each for each in entries if wanted in (each.name.lower(), each.id)), None)


type _Check = Callable[[object, str], dict[str, Any]]


def _named_entries(declared: object, check: _Check, name: str) -> list[tuple[str, dict[str, Any]]]:
    if not isinstance(declared, list | tuple):
        raise InvalidError(f"{name} must be a list")
    return [(f"{name}[{at}]", check(each, f"{name}[{at}]")) for at, each in enumerate(declared)]


def _entries(declared: object, check: _Check, name: str) -> list[dict[str, Any]]:
    return [entry for _, entry in _named_entries(declared, check, name)]


def _person(entry: Mapping[str, Any]) -> Person:
    return Person(entry["targetName"], entry["targetName"], status=entry["status"])


def _group(entry: Mapping[str, Any]) -> Group:
    return Group(entry["targetName"], entry["status"], all_day(entry.get("onCall", [])))


def _owner(entry: Mapping[str, Any], name: str) -> Person:
    person = Person(entry["name"], entry.get("full_name") or entry["name"], entry.get("email"), entry["status"])
    if "devices" not in entry:
        return person
    devices = tuple(Device(**each) for each in _entries(entry["devices"], _DEVICE, f"{name}.devices"))
    _check_unique([each.name for each in devices], f"a name in {name}.devices")
    return Person(person.name, person.full_name, person.email, person.status, devices)


def _check_unique(names: list[str], what: str) -> None:
    if len({name.lower() for name in names}) != len(names):
        raise InvalidError(f"{what} occurs twice")
