"""People with devices, and groups with members: one directory for the REST API and for notifying.

Documented by xMatters, or recorded from a tenant: the types of devices; a group's members in order, with escalation
delays; absent or inactive members are skipped without waiting. In the REST API the delays of devices and of escalations
are whole minutes; here they are seconds. A group has one shift here, which is the whole of every day.

Guesses, to be checked against a tenant:

- a device's delay counts from the previous device of the same person; the first one's from the start;
- a member's delay counts from the previous active member; the first active member is notified at once;
- a person who is declared without devices has one for e-mail, and so has a group's member who is not declared.
"""

import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sandbox.http.schema import InvalidError, compiled, object_of

KINDS = ["EMAIL", "VOICE", "TEXT_PHONE", "APPLE_PUSH", "ANDROID_PUSH"]
ESCALATION_SECONDS = 300
LONGEST_DELAY_SECONDS = 7 * 86400
MOST_ENTRIES = 1000

_NAME = {"type": "string", "minLength": 1, "maxLength": 200}
_LIST = {"type": "array", "maxItems": MOST_ENTRIES, "default": []}
_SECONDS = {"type": "number", "minimum": 0, "maximum": LONGEST_DELAY_SECONDS}
_STATUS = {"enum": ["ACTIVE", "INACTIVE"], "default": "ACTIVE"}
_DEVICE = object_of({"name": _NAME, "kind": {"enum": KINDS}}, {"delay_seconds": _SECONDS | {"default": 0}})
_PERSON = object_of(
    {"name": _NAME},
    {
        "full_name": _NAME,
        "email": {"type": ["string", "null"], "minLength": 1, "maxLength": 200},
        "status": _STATUS,
        "devices": {"type": "array", "maxItems": 20, "items": _DEVICE},
    },
)
_MEMBER = object_of({"name": _NAME}, {"after_seconds": _SECONDS})
_GROUP = object_of({"name": _NAME}, {"status": _STATUS, "members": _LIST | {"items": _MEMBER}})
_DECLARATION = compiled({}, {"people": _LIST | {"items": _PERSON}, "groups": _LIST | {"items": _GROUP}})


def identity(kind: str, name: str) -> str:
    """Return a UUID that depends on the kind of an object, such as "GROUP", and its name only: the same in each run."""
    # A name may hold a lone surrogate, which JSON can write and UTF-8 cannot.
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{kind}/{name}".encode("utf-8", "surrogatepass")))


@dataclass(frozen=True)
class Device:
    """A device of a person: its name, one of `KINDS`, and the wait after the person's previous device."""

    name: str
    kind: str
    delay_seconds: float = 0


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


@dataclass(frozen=True)
class Member:
    """A member of a group; `after_seconds` is the wait after the previous active member."""

    name: str
    after_seconds: float


@dataclass(frozen=True)
class Group:
    """A group, and its members in the order of escalation."""

    name: str
    status: str = "ACTIVE"
    members: tuple[Member, ...] = ()

    @property
    def id(self) -> str:
        """UUID of the group."""
        return identity("GROUP", self.name)


class People:
    """All people and groups; none at the start. Safe to use from several threads.

    Attributes:
        all_absent: True while everybody is absent, without a replacement.
    """

    def __init__(self) -> None:
        self.all_absent = False
        self._people: tuple[Person, ...] = ()
        self._groups: tuple[Group, ...] = ()

    def declare(self, document: object) -> None:
        """Replace all people and groups by those of a JSON object, which may have ``people`` and ``groups``.

        A person has a ``name``, and may have ``full_name``, ``email``, ``status`` and ``devices``, each with ``name``,
        ``kind`` and ``delay_seconds`` (0). A group has a ``name``, and may have ``status`` and ``members``, each with
        ``name`` and ``after_seconds`` (300; 0 for the first).

        Raises InvalidError if an entry is invalid; the message names the entry and the key, and nothing has changed.
        """
        checked = _DECLARATION(document, "phones")
        people = [_person(each, f"people[{place}]") for place, each in enumerate(checked["people"])]
        groups = list(map(_group, checked["groups"]))
        names = [each.name for each in people] + [each.name for each in groups]
        _check_unique(names, "a name of people and groups")
        self._people, self._groups = tuple(people), tuple(groups)

    def people(self) -> tuple[Person, ...]:
        """Return all people."""
        return self._people

    def groups(self) -> tuple[Group, ...]:
        """Return all groups."""
        return self._groups

    def as_json(self) -> dict[str, Any]:
        """Return people and groups as JSON types, in the form that `declare` takes."""
        return {
            "people": [asdict(each) for each in self.people()],
            "groups": [asdict(each) for each in self.groups()],
        }

    def person(self, name: str) -> Person | None:
        """Return the person with this name, in any letter case, or this UUID; None if unknown."""
        return _found(self.people(), name)

    def group(self, name: str) -> Group | None:
        """Return the group with this name, in any letter case, or this UUID; None if unknown."""
        return _found(self.groups(), name)

    def member(self, name: str) -> Person:
        """Return the person with this name or UUID; for an unknown name, an active person with default devices."""
        return self.person(name) or Person(name, name)

    def active_members(self, group: Group) -> list[tuple[Person, float]]:
        """Return a group's active members, in order, each with the wait after the previous one (seconds).

        Who is absent is left out.
        """
        if self.all_absent:
            return []
        members = [(self.member(each.name), each.after_seconds) for each in group.members]
        return [(person, seconds) for person, seconds in members if person.status == "ACTIVE"]


def _found[Named: (Person, Group)](entries: tuple[Named, ...], name: str) -> Named | None:
    wanted = name.lower()
    return next((each for each in entries if wanted in (each.name.lower(), each.id)), None)


def _person(entry: Mapping[str, Any], name: str) -> Person:
    devices = tuple(Device(**each) for each in entry["devices"]) if "devices" in entry else DEFAULT_DEVICES
    _check_unique([each.name for each in devices], f"a name in {name}.devices")
    return Person(entry["name"], entry.get("full_name") or entry["name"], entry.get("email"), entry["status"], devices)


def _group(entry: Mapping[str, Any]) -> Group:
    members = tuple(
        Member(each["name"], each.get("after_seconds", ESCALATION_SECONDS if place else 0))
        for place, each in enumerate(entry["members"])
    )
    return Group(entry["name"], entry["status"], members)


def _check_unique(names: list[str], what: str) -> None:
    if len({name.lower() for name in names}) != len(names):
        raise InvalidError(f"{what} occurs twice")
