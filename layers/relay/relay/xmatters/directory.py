"""xMatters' people and groups, as far as recipients are checked: is there one of that name, and would anybody be rung.

Facts and what is not known of them: docs/vendors.md, "People, groups, on-call".
"""

from collections.abc import Sequence
from copy import replace
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple
from urllib.parse import quote

from relay.channels.channel import Rest
from relay.deadline import Deadline
from relay.errors import Reason, SendError
from relay.http.client import Outward, json_object
from relay.http.session import Answer
from relay.incidents.json_fields import Fields, nested, scalar
from relay.xmatters.rest import EVENTS_PATH, RestApi, listed

PEOPLE_PATH = "/api/xm/1/people"
GROUPS_PATH = "/api/xm/1/groups"
ON_CALL_PATH = "/api/xm/1/on-call"
# An answer is read up to 64 KiB; how many more there are in a shift is said by its total.
MEMBERS_A_SHIFT = 10
# After these there is no use in asking for the next name, and it may do harm.
_GIVE_UP = {Reason.RATE_LIMITED, Reason.UNREACHABLE, Reason.TIMEOUT}
_ODD = "xMatters' answer is not one that can be read"


class Kind(StrEnum):
    """Kind of a recipient. NOTHING: neither a user nor a group; a dynamic team is not looked for."""

    USER = "user"
    GROUP = "group"
    NOTHING = "nothing"
    NOT_KNOWN = "not_known"


class Finding(NamedTuple):
    """What xMatters says of a recipient.

    None stands for what it does not say. `on_call` is how many are on call now, of an active group alone. `detail` says
    why something is not known, without anything secret. `id` is xMatters' own name for it.
    """

    name: str
    kind: Kind
    is_active: bool | None = None
    on_call: int | None = None
    detail: str = ""
    id: str = ""


class Directory:
    """Asks xMatters about people and groups, one question after the other."""

    def __init__(self, outward: Outward) -> None:
        self._api = RestApi(outward)

    def log_in(self, rest: Rest, deadline: Deadline) -> None:
        """Ask for the least that following pages needs. Raises NoAnswer or BadAnswer."""
        self._api.ask(rest, "GET", f"{EVENTS_PATH}?limit=1", None, deadline, says=listed)

    def check(self, rest: Rest, names: Sequence[str], deadline: Deadline) -> list[Finding]:
        """A finding for each name, in their order. Nothing is raised: what xMatters does not say is not known.

        Of `name|Device` the part before the bar is looked for. There are two questions a name at most, and one for all
        groups; none is asked after one that showed that there is no use in it.
        """
        given_up: str | None = None
        found: dict[str, Finding] = {}
        for target in dict.fromkeys(map(_target, names)):
            try:
                found[target] = self._find(rest, target, deadline) if given_up is None else _not_known(target, given_up)
            except SendError as error:
                found[target] = _not_known(target, str(error))
                given_up = _given_up(error)
        groups = [each for each in found.values() if each.kind == Kind.GROUP and each.is_active]
        if groups and given_up is None:
            found |= {each.name: each for each in self._counted(rest, groups, deadline)}
        elif given_up:
            found |= {each.name: replace(each, detail=given_up) for each in groups}
        return [replace(found[_target(name)], name=name) for name in names]

    def is_person(self, rest: Rest, name: str, deadline: Deadline) -> bool | None:
        """True if xMatters has a person of that name, None if it does not say. Raises NoAnswer or BadAnswer."""
        if not name.strip("."):
            return None
        answer = self._api.ask(rest, "GET", f"{PEOPLE_PATH}/{_quoted(name)}", None, deadline, also={404})
        if answer.status == 404:
            return False if _says_not_found(answer) else None
        return True if _read(answer, name, Kind.USER, "PERSON").kind == Kind.USER else None

    def _find(self, rest: Rest, target: str, deadline: Deadline) -> Finding:
        if not target.strip("."):
            # Dots alone would lead to another path.
            return _not_known(target, "this is no name that can be asked for")
        for path, kind, word in ((PEOPLE_PATH, Kind.USER, "PERSON"), (GROUPS_PATH, Kind.GROUP, "GROUP")):
            answer = self._api.ask(rest, "GET", f"{path}/{_quoted(target)}", None, deadline, also={404})
            if answer.status != 404:
                return _read(answer, target, kind, word)
            if not _says_not_found(answer):
                return _not_known(target, _ODD)
        return Finding(target, Kind.NOTHING)

    def _counted(self, rest: Rest, groups: list[Finding], deadline: Deadline) -> list[Finding]:
        """The findings of groups with how many are on call."""
        asked = ",".join(_quoted(each.id) for each in groups)
        path = f"{ON_CALL_PATH}?groups={asked}&membersPerShift={MEMBERS_A_SHIFT}"
        try:
            counts = _counts(self._api.ask(rest, "GET", path, None, deadline), groups)
        except SendError as error:
            return [replace(each, detail=f"who is on call: {error}") for each in groups]
        unsaid = f"who is on call: {_ODD}"
        return [
            replace(each, on_call=count, detail=unsaid if count is None else "")
            for each, count in zip(groups, counts, strict=True)
        ]


def _not_known(name: str, detail: str) -> Finding:
    return Finding(name, Kind.NOT_KNOWN, detail=detail)


def _target(name: str) -> str:
    """The user or group in a recipient: what is in front of the bar, if there is one."""
    return name.partition("|")[0].strip()


def _quoted(text: str) -> str:
    return quote(text, safe="", errors="replace")


def _given_up(error: SendError) -> str | None:
    is_hopeless = error.reason in _GIVE_UP or error.http_status == 401 or not error.asked
    return f"not asked, after {error}" if is_hopeless else None


def _says_not_found(answer: Answer) -> bool:
    """Whether a 404 is xMatters' own word: what stands in between answers 404, too."""
    return scalar(json_object(answer.body).get("code")) == "404"


def _read(answer: Answer, target: str, kind: Kind, word: str) -> Finding:
    """Return xMatters' user or group of an answer; `word` is its own for that kind."""
    fields = Fields(json_object(answer.body))
    identity, says = scalar(fields.first("id")), (scalar(fields.first("recipienttype")) or word).upper()
    names = {text.lower() for text in (identity, scalar(fields.first("targetname")) or target) if text}
    if not identity or says != word or target.lower() not in names:
        return _not_known(target, _ODD)
    status = (scalar(fields.first("status")) or "").upper()
    is_active = {"ACTIVE": True, "INACTIVE": False}.get(status)
    unsaid = "xMatters does not say whether it is active"
    return Finding(target, kind, is_active, detail=unsaid if is_active is None else "", id=identity)


@dataclass
class _OnCall:
    """People on call for a group: by id, the number of others, and if all shifts could be read."""

    ids: set[str] = field(default_factory=set)
    more: int = 0
    is_told: bool = True

    def add(self, members: Any) -> None:
        """Count the members of a shift in."""
        people = nested(members, "data")
        if not isinstance(people, list):
            self.is_told = False
            return
        ids, total = [_member_id(each) for each in people], nested(members, "total")
        self.ids |= {each for each in ids if each}
        self.more += ids.count(None) + max(0, (total if isinstance(total, int) else 0) - len(people))

    def count(self, *, is_whole: bool) -> int | None:
        """Return their number; None if that is not known. A group of which a whole page says nothing has nobody."""
        found = len(self.ids) + self.more
        return found if self.is_told and (is_whole or found) else None


def _counts(answer: Answer, groups: list[Finding]) -> list[int | None]:
    """Return the number of people on call for each group."""
    entries = listed(answer)
    if entries is None:
        return [None] * len(groups)
    told = [_OnCall() for _ in groups]
    by_name = {text.lower(): each for group, each in zip(groups, told, strict=True) for text in (group.name, group.id)}
    is_whole = _is_whole(answer, len(entries))
    for entry in entries:
        names = _names(nested(entry, "group"))
        # An entry that names no group may be any group's.
        is_whole = is_whole and bool(names)
        if its_group := next((by_name[name] for name in names if name in by_name), None):
            its_group.add(nested(entry, "members"))
    return [each.count(is_whole=is_whole) for each in told]


def _member_id(member: Any) -> str | None:
    return scalar(nested(member, "id")) or scalar(nested(nested(member, "member", "recipient"), "id"))


def _names(group: Any) -> list[str]:
    texts = [scalar(nested(group, name)) for name in ("id", "targetname", "name")]
    return [text.lower() for text in texts if text]


def _is_whole(answer: Answer, count: int) -> bool:
    """Return True if a page has all that there is."""
    page = Fields(json_object(answer.body))
    total = page.first("total")
    return nested(page.first("links"), "next") is None and (not isinstance(total, int) or total <= count)
