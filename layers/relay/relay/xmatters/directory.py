"""Clients for xMatters' REST API: pages of signals, and a check of recipients.

Facts and open questions: docs/vendors.md, "People, groups, on-call".
"""

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from copy import replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, NamedTuple
from urllib.parse import urlencode

from relay.channels.channel import Rest
from relay.deadline import Deadline
from relay.failures import Reason, SendError, reason_for_status
from relay.foreign_text import url_part
from relay.http.client import HttpClient, json_object
from relay.http.session import HttpAnswer
from relay.incidents.share import Fields, fields_of, iso_time, nested, scalar
from relay.ledger.receipt import Heard
from relay.xmatters.authorization import Login, Logins

# A workflow makes one page of a signal for each step that creates one.
MAX_PAGES = 10
# Longer than any UUID or number of a page. Bounded, since the ledger stores them.
MAX_NAME = 100
# The page does not exist, or is terminated already: nothing is left to do.
_DONE = frozenset({404, 409})


class Page(NamedTuple):
    """A page that xMatters made of a signal. `number` is the number that people see; empty if unknown."""

    id: str
    number: str
    is_active: bool


class RestApi:
    """Client for xMatters' REST API. If an old OAuth token was refused, a request is repeated with a new one."""

    def __init__(self, outward: HttpClient) -> None:
        self._outward = outward
        self._logins = Logins(outward)

    def ask(
        self,
        rest: Rest,
        method: str,
        path: str,
        document: Mapping[str, Any] | None,
        deadline: Deadline,
        *,
        says: Callable[[HttpAnswer], object] = lambda _: True,
        also: Collection[int] = (),
    ) -> HttpAnswer:
        """Send a request, and return its answer if it is a success (2xx), or has a status in `also`. Raises SendError.

        `path` begins with a slash, and is quoted already. `document` is the JSON body; None for no body. A success for
        which `says` returns None is a BadAnswer with the reason UPSTREAM. So is a 404 without xMatters' error object,
        also if `also` has 404: a proxy made it.
        """
        login = Login(rest.auth, rest.base_url)
        body = None if document is None else json.dumps(document).encode()
        is_renewed = False
        while True:
            shown = self._logins.headers(login, deadline)
            headers = {"Content-Type": "application/json"} | shown
            answer = self._outward.ask(method, rest.base_url + path, body, headers, deadline)
            is_of_proxy = answer.status == 404 and not _says_not_found(answer)
            if (answer.status in also and not is_of_proxy) or (answer.is_success and says(answer) is not None):
                return answer
            reason = Reason.UPSTREAM if is_of_proxy else reason_for_status(answer.status)
            if reason == Reason.CREDENTIALS and not is_renewed and self._logins.renew(login):
                is_renewed = True
                continue
            secrets = {value.partition(" ")[2] for value in shown.values()} | set(rest.auth.members.values())
            raise self._outward.bad_answer(answer, reason, secrets)

    def listed(self, rest: Rest, path: str, deadline: Deadline) -> list[Any]:
        """Return the items of a list in xMatters' answer. Raises SendError."""
        return listed(self.ask(rest, "GET", path, None, deadline, says=listed)) or []


def listed(answer: HttpAnswer) -> list[Any] | None:
    """Return the items of a list in xMatters' answer; None if the answer has no list, or was truncated."""
    found = json_object(answer.body).get("data")
    return found if isinstance(found, list) else None


class Pages(RestApi):
    """Client for xMatters' pages. Methods raise SendError when a request fails, except `were_suppressed`."""

    def of_request(self, rest: Rest, request_id: str, deadline: Deadline) -> list[Page]:
        """Return the pages that xMatters has made until now of the signal with this request id; empty if none."""
        query = urlencode({"requestId": request_id, "limit": MAX_PAGES}, errors="replace")
        return _pages(self.listed(rest, f"{EVENTS_PATH}?{query}", deadline), request_id)[:MAX_PAGES]

    def names_of_request(self, rest: Rest, request_id: str, deadline: Deadline) -> set[str]:
        pages = self.of_request(rest, request_id, deadline)
        return {name for page in pages for name in (page.id, page.number) if name}

    def heard_of(self, rest: Rest, page: str, deadline: Deadline) -> Heard:
        """Read from a page's audits (records) if a device was notified, and who answered."""
        # Not filtered by type: xMatters' names of most types are not documented (docs/vendors.md).
        audits = self._audits(rest, {"eventId": page}, deadline)
        if len(audits) >= MAX_AUDITS and not _heard(audits).answers:
            audits += self._answers(rest, page, deadline)
        return _heard(audits)

    def _answers(self, rest: Rest, page: str, deadline: Deadline) -> list[Any]:
        """Return the audits of a page's answers; none if xMatters refuses to filter by type."""
        try:
            return self._audits(rest, {"eventId": page, "auditType": _ANSWERED}, deadline)
        except SendError as error:
            if error.reason != Reason.REFUSED:
                raise
            return []

    def _audits(self, rest: Rest, wanted: Mapping[str, str], deadline: Deadline) -> list[Any]:
        query = urlencode({**wanted, "limit": MAX_AUDITS}, errors="replace")
        return self.listed(rest, f"{AUDITS_PATH}?{query}", deadline)

    def were_suppressed(self, rest: Rest, at: float, deadline: Deadline) -> bool:
        """True if flood control suppressed a page within SUPPRESSED_WITHIN_SECONDS of `at` (epoch seconds).

        Pages of any signal count, since xMatters' list does not name the signals (docs/vendors.md). False also if the
        request fails.
        """
        with suppress(SendError):
            found = self.listed(rest, f"{SUPPRESSIONS_PATH}?limit={MAX_AUDITS}", deadline)
            times = (iso_time(nested(nested(each, "match"), "at") or nested(each, "at")) for each in found)
            return any(abs(moment - at) <= SUPPRESSED_WITHIN_SECONDS for moment in times if moment)
        return False

    def terminate(self, rest: Rest, page_id: str, deadline: Deadline) -> None:
        """Terminate a page: xMatters notifies no further people. Raises SendError, except for an unknown page."""
        document = {"id": page_id, "status": "TERMINATED"}
        self.ask(rest, "POST", EVENTS_PATH, document, deadline, also=_DONE)


def _heard(audits: Iterable[Any]) -> Heard:
    is_notified, answers = False, []
    for each in map(fields_of, audits):
        kind = (scalar(each.first("audittype", "type")) or "").upper()
        response = each.first("response")
        notification = each.first("notification") or nested(response, "notification")
        status = (scalar(nested(notification, "deliverystatus")) or "").upper()
        is_notified = is_notified or status in _GOT_IT or kind == "NOTIFICATION_DELIVERED"
        if kind == _ANSWERED:
            device = nested(notification, "recipient")
            name = scalar(nested(nested(device, "owner"), "targetname")) or scalar(nested(device, "targetname")) or ""
            answers.append((name[:MAX_NAME], (scalar(nested(response, "response")) or "")[:MAX_NAME]))
    return Heard(is_notified, tuple(answers))


def _pages(found: list[Any], request_id: str) -> list[Page]:
    """Read the pages of a signal from a list of xMatters' events, without those of other signals."""
    # xMatters could ignore the request's filter, and list the events of all signals.
    pages = []
    for each in found:
        fields = Fields(each) if isinstance(each, dict) else Fields({})
        page_id, made_by = scalar(fields.first("id")), scalar(fields.first("requestid"))
        is_ours = made_by is None or made_by.lower() == request_id.lower()
        if is_ours and page_id and len(page_id) <= MAX_NAME:
            status = (scalar(fields.first("status")) or "").upper()
            number = (scalar(fields.first("eventid")) or "")[:MAX_NAME]
            pages.append(Page(page_id, number, status != "TERMINATED"))
    return pages


EVENTS_PATH, AUDITS_PATH = "/api/xm/1/events", "/api/xm/1/audits"
SUPPRESSIONS_PATH = "/api/xm/1/event-suppressions"
# Flood control counts the signals of a minute. xMatters' clock and AWS's differ by less.
SUPPRESSED_WITHIN_SECONDS = 60.0
# Audits of a page, and suppressions, that are read: xMatters' default.
MAX_AUDITS = 100
_ANSWERED = "RESPONSE_RECEIVED"
# Delivery statuses of a notification that reached a device.
_GOT_IT = frozenset({"DELIVERED", "RESPONDED"})


PEOPLE_PATH = "/api/xm/1/people"
GROUPS_PATH = "/api/xm/1/groups"
ON_CALL_PATH = "/api/xm/1/on-call"
ABSENCES_PATH = "/api/xm/1/temporary-absences"
# Few, since only their number is told. That of all is in the shift's `total`.
MEMBERS_A_SHIFT = 10
# After these failures, further requests would fail as well, and could make an overload worse.
_STOPS_ALL_REQUESTS = {Reason.RATE_LIMITED, Reason.UNREACHABLE, Reason.TIMEOUT}
_ODD = "xMatters' answer is not one that can be read"


class Kind(StrEnum):
    """Kind of recipient that xMatters has under a given name. Dynamic teams are not searched.

    Attributes:
        NOTHING: Neither a user nor a group.
        NOT_KNOWN: xMatters gave no usable answer.
    """

    USER = "user"
    GROUP = "group"
    NOTHING = "nothing"
    NOT_KNOWN = "not_known"


class RecipientCheck(NamedTuple):
    """Result of the check of one recipient in xMatters.

    Attributes:
        name: The recipient as the caller gave it.
        is_active: None if unknown.
        on_call: Number of people on call now, for an active group; None if unknown, or for other kinds.
        detail: Cause of an unknown value, without secrets; empty if all is known.
        id: xMatters' id of the recipient; empty if there is no such recipient, or xMatters could not be asked.
    """

    name: str
    kind: Kind
    is_active: bool | None = None
    on_call: int | None = None
    detail: str = ""
    id: str = ""

    @property
    def hindrance(self) -> str:
        """Reason why xMatters would notify nobody, in words; empty if it may notify a person."""
        if self.kind == Kind.NOTHING:
            return "no user and no group of that name"
        if self.is_active is False:
            return f"{self.kind}, inactive"
        return "group, nobody is on call" if self.on_call == 0 else ""


class Directory(RestApi):
    """Client for xMatters' people and groups, to check recipients. Requests are sent one after the other."""

    def try_credentials(self, rest: Rest, deadline: Deadline) -> None:
        """Send the smallest request that follow-ups need, to test the credentials. Raises SendError."""
        self.listed(rest, f"{EVENTS_PATH}?limit=1", deadline)

    def check(self, rest: Rest, names: Sequence[str], deadline: Deadline) -> list[RecipientCheck]:
        """Check if recipients exist in xMatters. Return a result for each, in the order of `names`.

        For `name|Device`, the part before the bar is checked. A failed request raises nothing: the kind is NOT_KNOWN,
        or `on_call` is None. After a time-out or a like failure, no further request is sent.
        """
        not_asked: str | None = None
        found: dict[str, RecipientCheck] = {}
        for target in dict.fromkeys(map(_target, names)):
            try:
                found[target] = _not_known(target, not_asked) if not_asked else self._find(rest, target, deadline)
            except SendError as error:
                found[target] = _not_known(target, str(error))
                not_asked = _not_asked(error)
        groups = [each for each in found.values() if each.kind == Kind.GROUP and each.is_active]
        if groups and not_asked is None:
            found |= {each.name: each for each in self._counted(rest, groups, deadline)}
        elif not_asked:
            found |= {each.name: replace(each, detail=not_asked) for each in groups}
        return [replace(found[_target(name)], name=name) for name in names]

    def hindrances(self, rest: Rest, names: Sequence[str], now: float, deadline: Deadline) -> dict[str, str]:
        """Return the recipients whom xMatters would not notify at `now` (epoch seconds), each with the reason.

        Recipients of whom this is unknown are returned, too, with an empty reason. A failed request raises nothing.
        """
        found = self.check(rest, names, deadline)
        reasons = self.personal_hindrances(rest, found, now, deadline)
        has_failed = any(each.kind == Kind.NOT_KNOWN for each in found)
        said = {each: reasons.get(each.name) or each.hindrance for each in found}
        unsaid = {each for each in found if each.detail or (has_failed and each.kind == Kind.USER)}
        return {each.name: why for each, why in said.items() if why or each in unsaid}

    def personal_hindrances(
        self, rest: Rest, found: Sequence[RecipientCheck], now: float, deadline: Deadline
    ) -> dict[str, str]:
        """Return the people who are absent without a replacement at `now` (epoch seconds), or have no active device.

        The values are the reasons in words. `found` are results of `check`. People of whom xMatters does not say this
        are left out. A failed request raises nothing.
        """
        users = {each.name: each.id for each in found if each.kind == Kind.USER and each.is_active}
        if not users or any(each.kind == Kind.NOT_KNOWN for each in found):
            # Further requests could make an overload worse.
            return {}
        reasons: dict[str, str] = {}
        with suppress(SendError):
            absent = self._absent(rest, set(users.values()), now, deadline)
            reasons = {name: "absent, without a replacement" for name, user in users.items() if user in absent}
        with suppress(SendError):
            for name in users.keys() - reasons.keys():
                path = f"{PEOPLE_PATH}/{url_part(users[name])}/devices"
                if not any(map(_is_active, self.listed(rest, path, deadline))):
                    reasons[name] = "without an active device"
        return reasons

    def _absent(self, rest: Rest, users: Collection[str], now: float, deadline: Deadline) -> set[str]:
        """Return the ids of the users who are absent at `now` (epoch seconds), without a replacement."""
        moments = {name: datetime.fromtimestamp(at, UTC).isoformat() for name, at in (("from", now), ("to", now + 60))}
        query = urlencode({"member": ",".join(sorted(users))} | moments, safe=",")
        absences = [fields_of(each) for each in self.listed(rest, f"{ABSENCES_PATH}?{query}", deadline)]
        members = (scalar(nested(each.first("member"), "id")) for each in absences if _is_unreplaced(each, now))
        return {user for user in members if user and user in users}

    def is_person(self, rest: Rest, name: str, deadline: Deadline) -> bool:
        """True if xMatters has a person of that name; False also if its answer can't be read. Raises SendError."""
        if not name.strip("."):
            return False
        answer = self.ask(rest, "GET", f"{PEOPLE_PATH}/{url_part(name)}", None, deadline, also={404})
        return answer.status != 404 and _read(answer, name, Kind.USER, "PERSON").kind == Kind.USER

    def _find(self, rest: Rest, target: str, deadline: Deadline) -> RecipientCheck:
        if not target.strip("."):
            # A name of dots would change the URL's path.
            return _not_known(target, "an empty name, or one of dots, can't be looked up")
        for path, kind, word in ((PEOPLE_PATH, Kind.USER, "PERSON"), (GROUPS_PATH, Kind.GROUP, "GROUP")):
            answer = self.ask(rest, "GET", f"{path}/{url_part(target)}", None, deadline, also={404})
            if answer.status != 404:
                return _read(answer, target, kind, word)
        return RecipientCheck(target, Kind.NOTHING)

    def _counted(self, rest: Rest, groups: list[RecipientCheck], deadline: Deadline) -> list[RecipientCheck]:
        """Return the groups with their number of people on call, or with the cause why it is unknown."""
        asked = ",".join(url_part(each.id) for each in groups)
        path = f"{ON_CALL_PATH}?groups={asked}&membersPerShift={MEMBERS_A_SHIFT}"
        try:
            counts = _counts(self.ask(rest, "GET", path, None, deadline), groups)
        except SendError as error:
            return [replace(each, detail=f"who is on call: {error}") for each in groups]
        unsaid = f"who is on call: {_ODD}"
        return [
            replace(each, on_call=count, detail=unsaid if count is None else "")
            for each, count in zip(groups, counts, strict=True)
        ]


def _is_active(device: Any) -> bool:
    return (scalar(nested(device, "status")) or "").upper() != "INACTIVE"


def _is_unreplaced(absence: Fields, now: float) -> bool:
    """True if an absence is on at `now` (epoch seconds), covers all notifications, and names no replacement."""
    if "group" in absence or "replacement" in absence or absence.first("includedirectnotifications") is False:
        return False
    begins, ends = (iso_time(absence.first(name)) for name in ("start", "end"))
    return begins is not None and ends is not None and begins <= now < ends


def _not_known(name: str, detail: str) -> RecipientCheck:
    return RecipientCheck(name, Kind.NOT_KNOWN, detail=detail)


def _target(name: str) -> str:
    """Return the user or group that a recipient names: the part before the bar in `name|Device`."""
    return name.partition("|")[0].strip()


def _not_asked(error: SendError) -> str | None:
    """Return the cause if a check must stop after a failure; None if it may go on."""
    is_hopeless = error.reason in _STOPS_ALL_REQUESTS or error.http_status == 401 or not error.was_sent
    return f"not asked, after {error}" if is_hopeless else None


def _says_not_found(answer: HttpAnswer) -> bool:
    # A 404 of xMatters has its error object, a proxy's has none.
    return scalar(json_object(answer.body).get("code")) == "404"


def _read(answer: HttpAnswer, target: str, kind: Kind, word: str) -> RecipientCheck:
    """Read the check's result from an answer about the recipient `target`; NOT_KNOWN if it is about something else."""
    fields = Fields(json_object(answer.body))
    identity, says = scalar(fields.first("id")), (scalar(fields.first("recipienttype")) or word).upper()
    names = {text.lower() for text in (identity, scalar(fields.first("targetname")) or target) if text}
    if not identity or says != word or target.lower() not in names:
        return _not_known(target, _ODD)
    status = (scalar(fields.first("status")) or "").upper()
    is_active = {"ACTIVE": True, "INACTIVE": False}.get(status)
    unsaid = "xMatters does not say whether it is active"
    return RecipientCheck(target, kind, is_active, detail=unsaid if is_active is None else "", id=identity)


def _counts(answer: HttpAnswer, groups: list[RecipientCheck]) -> list[int | None]:
    """Return the number of people on call for each group; None if unknown. Somebody in two shifts counts twice."""
    # Zero is returned only if the answer is complete, since an incomplete answer may lack the group.
    entries = listed(answer)
    named = [(_names(nested(entry, "group")), _on_call(nested(entry, "members"))) for entry in entries or ()]
    # An entry without a group could belong to any group, so absent groups are unknown.
    is_whole = entries is not None and _is_whole(answer, len(entries)) and all(names for names, _ in named)

    def count(group: RecipientCheck) -> int | None:
        found = [people for names, people in named if names & {group.name.lower(), group.id.lower()}]
        total = sum(people or 0 for people in found)
        return total if None not in found and (total or is_whole) else None

    return [count(each) for each in groups]


def _on_call(members: Any) -> int | None:
    """Return the number of people of a shift, from its member list in xMatters' answer; None if it can't be read."""
    people, total = nested(members, "data"), nested(members, "total")
    return max(len(people), total if isinstance(total, int) else 0) if isinstance(people, list) else None


def _names(group: Any) -> set[str]:
    texts = [scalar(nested(group, name)) for name in ("id", "targetname", "name")]
    return {text.lower() for text in texts if text}


def _is_whole(answer: HttpAnswer, count: int) -> bool:
    """True if an answer with `count` results has all of them, so that there is no further page."""
    page = Fields(json_object(answer.body))
    total = page.first("total")
    return nested(page.first("links"), "next") is None and (not isinstance(total, int) or total <= count)
