"""Look-ups of recipients in xMatters: the meaning of each answer, and the number of requests."""

import json
from typing import Any

import pytest
import requests

from relay.channels.channel import Rest
from relay.deadline import Deadline
from relay.failures import BadAnswer, Reason
from relay.http.client import HttpClient
from relay.http.session import HttpAnswer
from relay.xmatters.directory import Directory, Kind, RecipientCheck
from tests import samples
from tests.fakes import Clock, FakeSession
from tests.unit.xmatters_tenant import NOT_FOUND, REST, Tenant


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
        assert lookup.tenant.paths == []


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
    [said({}, 429), said({}, 401), requests.ConnectTimeout(), requests.ReadTimeout()],
    ids=["429", "401", "unreachable", "late"],
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
