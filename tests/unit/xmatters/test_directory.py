"""Look-ups of recipients in xMatters: the meaning of each answer, and the number of requests."""

import json
from contextlib import nullcontext
from copy import replace
from functools import partial
from typing import Any

import pytest
import requests

from relay.channels.channel import Rest
from relay.deadline import Deadline
from relay.failures import BadAnswer, Reason
from relay.http.client import HttpClient
from relay.http.session import ForbiddenUrl, HttpAnswer
from relay.ledger.receipt import Heard
from relay.xmatters.directory import Directory, Kind, Pages, RecipientCheck
from tests import samples
from tests.fakes import Clock, FakeSession
from tests.unit.xmatters_tenant import NOT_FOUND, REST, Tenant, listed


def rest() -> Rest:
    document = samples.secret()
    document["xmatters"]["rest"] = REST | {"auth": samples.BASIC}
    found = samples.parsed(document).rest
    assert found
    return found


def said(document: Any, status: int = 200) -> HttpAnswer:
    return HttpAnswer(status, {}, json.dumps(document).encode())


def person(name: str, **members: Any) -> HttpAnswer:
    plain = {"id": f"id-{name}", "targetName": name, "recipientType": "PERSON", "status": "ACTIVE"}
    return said({key: value for key, value in (plain | members).items() if value is not None})


def group(name: str, **members: Any) -> HttpAnswer:
    return person(name, **{"recipientType": "GROUP", **members})


def shift(name: str, *members: str, **more: Any) -> dict[str, Any]:
    people = [{"id": f"id-{each}", "targetName": each} for each in members]
    return {"group": {"id": f"id-{name}"}, "members": {"count": len(people), "data": people, **more}}


def audit(kind: str, **notification: str) -> dict[str, Any]:
    return {"type": kind, "notification": notification}


class Lookup:
    """Look-ups in a tenant of xMatters that has nobody but those of `replies`, by path."""

    def __init__(self, **replies: HttpAnswer | Exception) -> None:
        self.tenant = Tenant()
        self.tenant.status.clear()
        self.tenant.replies |= {name.replace("_", "/"): reply for name, reply in replies.items()}
        self.clock = Clock()
        self.directory = Directory(HttpClient(FakeSession(self.tenant.rest), clock=self.clock))

    def check(self, *names: str) -> list[RecipientCheck]:
        return self.directory.check(rest(), names, Deadline(30, self.clock))

    def check_one(self, name: str) -> RecipientCheck:
        [finding] = self.check(name)
        assert finding.name == name
        return finding


def of_shape(finding: RecipientCheck) -> tuple[Kind, bool | None, int | None]:
    return finding.kind, finding.is_active, finding.on_call


class TestOneName:
    def test_group_is_looked_for_after_users_and_its_on_call_people_are_counted(self) -> None:
        lookup = Lookup(groups_Net=group("Net"))
        lookup.tenant.on_call["Net"] = 2
        assert of_shape(lookup.check_one("Net")) == (Kind.GROUP, True, 2)
        assert lookup.tenant.paths == ["people/Net", "groups/Net", "on-call"]

    def test_nobody_is_asked_who_is_on_call_of_an_inactive_group(self) -> None:
        lookup = Lookup(groups_Net=group("Net", status="INACTIVE"))
        assert of_shape(lookup.check_one("Net")) == (Kind.GROUP, False, None)
        assert lookup.tenant.paths == ["people/Net", "groups/Net"]

    @pytest.mark.parametrize(
        ("name", "path"),
        [
            ("a/b", "people/a%2Fb"),
            ("a?b#c", "people/a%3Fb%23c"),
            ("../x", "people/..%2Fx"),
            ("50%", "people/50%25"),
            ("Zoë K", "people/Zo%C3%AB%20K"),
            ("\ud800", "people/%3F"),
        ],
    )
    def test_name_is_quoted_in_the_path(self, name: str, path: str) -> None:
        lookup = Lookup()
        assert lookup.check_one(name).kind == Kind.NOTHING
        assert lookup.tenant.paths[0] == path

    @pytest.mark.parametrize("name", [".", "..", "|Phone", " | "])
    def test_name_that_would_change_the_path_is_not_asked_for(self, name: str) -> None:
        lookup = Lookup()
        assert lookup.check_one(name).kind == Kind.NOT_KNOWN
        assert not lookup.directory.is_person(rest(), name.partition("|")[0].strip(), Deadline(5, lookup.clock))
        assert lookup.tenant.paths == []

    def test_only_a_person_is_a_person(self) -> None:
        lookup = Lookup(people_anna=person("anna"), people_phone=person("phone", recipientType="DEVICE"))
        found = [lookup.directory.is_person(rest(), name, Deadline(5, lookup.clock)) for name in ("anna", "phone")]
        assert found == [True, False]

    def test_user_of_whom_xmatters_says_no_status_is_neither_active_nor_inactive(self) -> None:
        finding = Lookup(people_jdoe=person("jdoe", status=None)).check_one("jdoe")
        assert (of_shape(finding), bool(finding.detail)) == ((Kind.USER, None, None), True)


@pytest.mark.parametrize(
    "answer",
    [
        said({"data": []}),
        HttpAnswer(200, {}, b"<html>"),
        HttpAnswer(200, {}, b'{"id": "id-jdoe", "targ'),
        person("somebody-else"),
        person("jdoe", recipientType="DEVICE"),
        person("jdoe", id=None),
        HttpAnswer(404, {}, b"<html>404</html>"),
        said({"code": 404, "x": "[" * 5}, 400),
    ],
    ids=lambda answer: f"{answer.status} {answer.body[:30]!r}",
)
def test_odd_answer_for_a_name_is_not_known_and_never_nothing(answer: HttpAnswer) -> None:
    finding = Lookup(people_jdoe=answer).check_one("jdoe")
    assert of_shape(finding) == (Kind.NOT_KNOWN, None, None)
    assert finding.detail
    assert ("HTTP 200 with a web page" in finding.detail) == (answer.body == b"<html>")


@pytest.mark.parametrize(
    ("page", "count"),
    [
        ({"data": [shift("Net", "a")], "total": 1}, 1),
        ({"data": [shift("Net", "a", total=12)]}, 12),
        ({"data": [], "count": 0, "total": 0}, 0),
        ({"data": [{"group": {"targetName": "net"}, "members": {"data": [{}, {"member": {"id": 1}}]}}]}, 2),
        ({"data": [shift("Net", "a")], "links": {"next": "/more"}}, 1),
        # An answer that lists no people is not taken for an empty list.
        ({"data": [], "links": {"next": "/more"}}, None),
        ({"data": [], "total": 5}, None),
        ({"data": [{"group": {"id": "id-Net"}, "members": {"data": "many"}}]}, None),
        ({"data": [shift("Net", "a"), {"group": {"id": "id-Net"}, "members": 3}]}, None),
        ("<html>", None),
    ],
)
def test_on_call_people_are_counted_only_if_the_answer_lists_them(page: Any, count: int | None) -> None:
    lookup = Lookup(groups_Net=group("Net"))
    lookup.tenant.replies["on-call"] = said(page)
    finding = lookup.check_one("Net")
    assert of_shape(finding) == (Kind.GROUP, True, count)
    assert bool(finding.detail) is (count is None)


@pytest.mark.parametrize(
    "reply",
    [
        *(said({}, 429), said({}, 401), requests.ConnectTimeout(), requests.ReadTimeout()),
        ForbiddenUrl("its host is not allowed"),
    ],
    ids=["429", "401", "unreachable", "late", "not sent"],
)
def test_lasting_failure_ends_the_requests_for_other_names(reply: HttpAnswer | Exception) -> None:
    lookup = Lookup(groups_Net=group("Net"), people_b=reply, people_c=person("c"))
    found = lookup.check("Net", "b", "c", "d")
    assert [of_shape(each) for each in found] == [
        (Kind.GROUP, True, None),
        *[(Kind.NOT_KNOWN, None, None)] * 3,
    ]
    assert all("not asked, after" in found[place].detail for place in (0, 2, 3))
    assert lookup.tenant.paths == ["people/Net", "groups/Net", "people/b"]


def test_failure_for_one_name_leaves_other_users_unknown_and_no_group() -> None:
    lookup = Lookup(groups_Net=group("Net"), people_jdoe=person("jdoe"), people_b=said({}, 503))
    lookup.tenant.on_call["Net"] = 1
    hindrances = partial(lookup.directory.hindrances, rest(), now=lookup.clock.now, deadline=Deadline(30, lookup.clock))
    assert hindrances(["Net", "jdoe", "b"]) == {"jdoe": "", "b": ""}
    assert hindrances(["jdoe"]) == {}
    lookup.tenant.paths.clear()
    assert hindrances(["Net"]) == {}
    assert lookup.tenant.paths == ["people/Net", "groups/Net", "on-call"], "nothing is asked about users"


@pytest.mark.parametrize(
    ("audits", "heard"),
    [
        ([audit("NOTIFICATION", deliveryStatus="DELIVERED"), audit("NOTIFICATION", deliveryStatus="FAILED")], True),
        ([{"type": "NOTIFICATION_DELIVERED"}, {}], True),
        ([{}, None, audit("NOTIFICATION"), {"type": None}], False),
    ],
)
def test_device_was_notified_if_one_audit_of_its_page_says_so(audits: list[Any], heard: bool) -> None:
    clock, answer = Clock(), {"type": "RESPONSE_RECEIVED"}
    pages = Pages(HttpClient(FakeSession(said({"data": [*audits, answer]})), clock=clock))
    assert pages.heard_of(rest(), "page-1", Deadline(5, clock)) == Heard(heard, (("", ""),))


@pytest.mark.parametrize(("kind", "times"), [("RESPONSE_RECEIVED", 1), ("NOTIFICATION", 2)])
def test_answers_of_a_page_with_many_audits_are_asked_for_apart_only_if_none_was_found(kind: str, times: int) -> None:
    session, clock = FakeSession(said({"data": [{"type": kind}] * 100})), Clock()
    Pages(HttpClient(session, clock=clock)).heard_of(rest(), "page-1", Deadline(5, clock))
    assert len(session.calls) == times


@pytest.mark.parametrize("last", [listed(), samples.refused(401)])
def test_each_request_is_repeated_once_with_a_new_token_if_the_old_one_was_refused(last: HttpAnswer) -> None:
    session, clock = FakeSession(samples.token("t1"), samples.refused(401), samples.token("t2"), last), Clock()
    oauth = replace(rest(), auth=samples.parsed(samples.secret(auth=samples.OAUTH)).auth)
    directory = Directory(HttpClient(session, clock=clock))
    with pytest.raises(BadAnswer) if last.status == 401 else nullcontext():
        directory.try_credentials(oauth, Deadline(5, clock))
    session.steps = [samples.refused(401), samples.token("t3"), listed()]
    directory.try_credentials(oauth, Deadline(5, clock))
    shown = [call.headers.get("Authorization") for call in session.calls]
    assert shown == [None, "Bearer t1", None, "Bearer t2", "Bearer t2", None, "Bearer t3"]


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (said({}, 401), Reason.CREDENTIALS),
        (said({}, 403), Reason.CREDENTIALS),
        (NOT_FOUND, Reason.REFUSED),
        (HttpAnswer(200, {}, b"<html>log in</html>"), Reason.UPSTREAM),
        (HttpAnswer(302, {}, b""), Reason.UPSTREAM),
    ],
)
def test_try_of_credentials_fails_if_the_answer_is_no_list_of_pages(reply: HttpAnswer, reason: Reason) -> None:
    lookup = Lookup(events=reply)
    with pytest.raises(BadAnswer) as caught:
        lookup.directory.try_credentials(rest(), Deadline(5, lookup.clock))
    assert caught.value.reason == reason
