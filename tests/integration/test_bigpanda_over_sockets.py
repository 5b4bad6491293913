"""The client of BigPanda's API over real sockets: what goes out, and what each answer is taken for, shape by shape."""

import json
import socket
from collections.abc import Callable
from copy import replace
from typing import Any

import pytest

from relay.bigpanda.client import ACTIVITIES_A_PAGE, INCIDENTS_A_PAGE, BigPanda, Incident, Listing
from relay.channels.channel import Access
from relay.deadline import Deadline
from relay.errors import BadAnswer, Reason, SendError
from relay.http.client import HttpClient
from relay.http.session import Session
from sandbox.bigpanda.users import USERS
from sandbox.server.in_process import Box
from tests import samples
from tests.integration.live import LOOPBACK, Received, Script, deadline, site

KEY = "BPU-canary-key"
APP = "app-canary-key"
INCIDENT = Incident("63bd", "i/1 ü")
MARK = "[relay 1a2b3c4d]"
JANE = USERS[0]

type Ask = Callable[[BigPanda, Access, Deadline], object]


def comment(client: BigPanda, access: Access, time_left: Deadline) -> None:
    client.comment(access, INCIDENT, f'Jane ("jdoe") — on it {MARK}', time_left)


def assign(client: BigPanda, access: Access, time_left: Deadline) -> None:
    client.assign(access, INCIDENT, JANE["id"], time_left)


def is_ours(text: str) -> bool:
    return MARK in text


def look(client: BigPanda, access: Access, time_left: Deadline) -> bool:
    return client.has_comment(access, INCIDENT, is_ours, time_left)


def find(client: BigPanda, access: Access, time_left: Deadline) -> str | None:
    return client.user_id(access, ["jdoe", JANE["userName"]], time_left)


def release(client: BigPanda, access: Access, time_left: Deadline) -> None:
    client.release(access, INCIDENT.id, "incident#new", time_left)


def search(client: BigPanda, access: Access, time_left: Deadline) -> Listing:
    return client.incidents(access, INCIDENT.environment_id, "shared", 1, None, time_left)


def show(client: BigPanda, access: Access, time_left: Deadline) -> dict[str, Any]:
    return client.incident(access, INCIDENT, time_left)


ROUTES: dict[str, Ask] = {
    "incidents": search,
    "incident": show,
    "comment": comment,
    "assignment": assign,
    "activities": look,
    "users": find,
    "release": release,
}


def known(name: str = INCIDENT.id, changed_at: int = 1_800_000_000, **members: Any) -> dict[str, Any]:
    """An incident as the stand-in is told of it."""
    plain = {"id": name, "status": "Critical", "active": True, "changed_at": changed_at, "folders": ["shared"]}
    return plain | members


def new_client() -> BigPanda:
    return BigPanda(HttpClient(Session(LOOPBACK)))


def access_to(url: str, api_key: str = KEY, app_key: str = APP) -> Access:
    bigpanda = {"api_key": api_key, "base_url": "https://api.bigpanda.io", "callbacks": True, "app_key": app_key}
    found = samples.parsed(samples.secret(bigpanda=bigpanda)).bigpanda
    assert found
    return replace(found, base_url=url)


@pytest.fixture
def access(box: Box) -> Access:
    """Access to the stand-in."""
    box.bigpanda.let_in(KEY)
    box.bigpanda.let_app_in(APP)
    box.bigpanda.declare_incidents(INCIDENT.environment_id, [known()])
    return access_to(box.bigpanda.url)


def failure(ask: Ask, access: Access, seconds: float = 20) -> SendError:
    with pytest.raises(SendError) as caught:
        ask(new_client(), access, deadline(seconds))
    return caught.value


class TestDone:
    def test_a_comment_stands_there_as_it_was_said(self, box: Box, access: Access) -> None:
        comment(new_client(), access, deadline(20))
        [kept] = box.bigpanda.comments()
        assert (kept.environment_id, kept.incident_id) == ("63bd", "i/1 ü")
        assert kept.document == {"comment": f'Jane ("jdoe") — on it {MARK}'}

    def test_an_assignment_is_made(self, box: Box, access: Access) -> None:
        assign(new_client(), access, deadline(20))
        [made] = box.bigpanda.assignments()
        assert (made.incident_id, made.document) == ("i/1 ü", {"assignee": JANE["id"]})

    def test_an_incident_is_released(self, box: Box, access: Access) -> None:
        release(new_client(), access, deadline(20))
        [told] = box.bigpanda.releases()
        assert (told.incident_id, told.status) == ("i/1 ü", 200)
        assert told.document == {"event_type": "incident#new", "incident_id": "i/1 ü", "app_key": "****"}

    @pytest.mark.parametrize("kind", ["status", "html"])
    @pytest.mark.parametrize("status", [404, 409])
    def test_that_there_is_nothing_to_release_is_no_failure(
        self, box: Box, access: Access, kind: str, status: int
    ) -> None:
        box.script([{"kind": kind, "status": status, "on": "release"}])
        release(new_client(), access, deadline(20))
        assert [(call.route, call.status) for call in box.bigpanda.calls.all()] == [("release", status)]

    def test_a_comment_is_found_and_nobody_elses_is(self, access: Access) -> None:
        assert look(new_client(), access, deadline(20)) is False
        comment(new_client(), access, deadline(20))
        assert look(new_client(), access, deadline(20)) is True
        other = Incident("63bd", "i2")
        assert new_client().has_comment(access, other, is_ours, deadline(20)) is False

    def test_a_comment_is_found_behind_a_page_of_others(self, box: Box, access: Access) -> None:
        client = new_client()
        comment(client, access, deadline(20))
        for number in range(ACTIVITIES_A_PAGE):
            client.comment(access, INCIDENT, f"of somebody else, {number}", deadline(20))
        assert look(client, access, deadline(20)) is True
        asked = [call.query for call in box.bigpanda.calls.all() if call.route == "activities"]
        assert [each["page"] for each in asked] == ["1", "2"]
        assert {each["types"] for each in asked} == {"incident_commented"}

    def test_a_user_is_found_by_any_name_in_one_request(self, box: Box, access: Access) -> None:
        assert find(new_client(), access, deadline(20)) == JANE["id"]
        assert len(box.bigpanda.calls.all()) == 1

    @pytest.mark.parametrize("name", ['quote "here', "back\\slash", "jörg@acme.example", "a or b", "&filter=x#"])
    def test_odd_names_are_asked_for_as_they_are(self, box: Box, access: Access, name: str) -> None:
        box.bigpanda.declare_users([*USERS, {"id": "odd", "userName": name}])
        try:
            assert new_client().user_id(access, [name], deadline(20)) == "odd"
        finally:
            box.bigpanda.declare_users(list(USERS))

    def test_incidents_of_a_folder_are_told_a_page_at_a_time(self, box: Box, access: Access) -> None:
        several = [known(f"i{number}", 1_800_000_000 + number) for number in range(INCIDENTS_A_PAGE + 1)]
        box.bigpanda.declare_incidents("63 ü", [*several, known("other", folders=["resolved"])])
        pages = [new_client().incidents(access, "63 ü", "shared", page, None, deadline(20)) for page in (1, 2, 3)]
        assert [len(page.items) for page in pages] == [INCIDENTS_A_PAGE, 1, 0]
        assert {page.total for page in pages} == {INCIDENTS_A_PAGE + 1}
        assert (pages[0].items[0]["id"], pages[1].items[0]["id"]) == (f"i{INCIDENTS_A_PAGE}", "i0")
        assert [call.query for call in box.bigpanda.calls.all()] == [
            {"folder": "shared", "page": str(page), "page_size": str(INCIDENTS_A_PAGE), "sort_by": "last_change"}
            for page in (1, 2, 3)
        ]

    def test_a_channels_own_query_is_asked_for_as_it_is(self, box: Box, access: Access) -> None:
        search(new_client(), replace(access, reconcile_query='team = "ä&b" AND n > 5%'), deadline(20))
        assert box.bigpanda.calls.all()[0].query["query"] == 'team = "ä&b" AND n > 5%'

    def test_an_incident_is_told_with_the_details_of_its_alerts(self, box: Box, access: Access) -> None:
        alerts = [{"alert_id": "a1", "description": "disk full"}]
        box.bigpanda.declare_incidents(INCIDENT.environment_id, [known(alerts=alerts)])
        assert show(new_client(), access, deadline(20))["alerts"] == alerts
        assert search(new_client(), access, deadline(20)).items[0]["alerts"] == [{"alert_id": "a1"}]

    def test_one_connection_serves_all_that_a_callback_needs(self) -> None:
        def script(received: Received) -> tuple[int, dict[str, str], bytes]:
            return (204, {}, b"") if received.method != "GET" else (200, {}, json.dumps([JANE]).encode())

        with site(script) as server:
            client = new_client()
            for ask in (find, assign, comment):
                ask(client, access_to(server.url), deadline(20))
            assert server.connections == 1
            assert [each.method for each in server.received] == ["GET", "PUT", "POST"]
            assert {each.headers["authorization"] for each in server.received} == {f"Bearer {KEY}"}
            assert {each.headers["accept"] for each in server.received} == {"application/json"}


COMMENTED = {"type": "incident_commented", "params": {"comment": f"words {MARK}"}}


class TestShapes:
    """Where BigPanda's documents are silent, or disagree."""

    @pytest.mark.parametrize(
        "page",
        [
            [COMMENTED],
            {"items": [COMMENTED]},
            {"Items": [COMMENTED], "total": 1},
            {"activities": [COMMENTED]},
            [{"type": "incident_commented", "text": f"a\u00fc {MARK}"}],
            [{"event": {"deeply": [{"hidden": MARK}]}}],
        ],
    )
    def test_a_comment_is_found_wherever_it_stands(self, page: Any) -> None:
        with site(answering(200, json.dumps(page).encode())) as server:
            assert look(new_client(), access_to(server.url), deadline(20)) is True

    @pytest.mark.parametrize("body", [b"", b"null", b"[]", b'{"items": []}', b"<html>", b'[{"comment": "[relay 1a2b'])
    def test_a_page_that_holds_none_is_the_last(self, body: bytes) -> None:
        with site(answering(200, body)) as server:
            assert look(new_client(), access_to(server.url), deadline(20)) is False
            assert len(server.received) == 1

    @pytest.mark.parametrize(
        "page", [{"Resources": [JANE]}, {"resources": [JANE]}, [JANE], {"Resources": [None, "x", {"id": 7}, JANE]}]
    )
    def test_users_come_as_a_list_or_in_one(self, page: Any) -> None:
        with site(answering(200, json.dumps(page).encode())) as server:
            assert find(new_client(), access_to(server.url), deadline(20)) == JANE["id"]

    @pytest.mark.parametrize("body", [b"", b"{}", b"<html>", b'{"Resources": 7}', json.dumps([USERS[1]]).encode()])
    def test_somebody_else_or_nobody_is_nobody(self, body: bytes) -> None:
        with site(answering(200, body)) as server:
            assert find(new_client(), access_to(server.url), deadline(20)) is None

    @pytest.mark.parametrize(
        ("page", "total"),
        [
            ({"total": 7, "items": [known()]}, 7),
            ({"items": [known()]}, None),
            ({"total": "7", "items": [None, "x", known()]}, None),
            ([known()], None),
        ],
    )
    def test_incidents_come_as_a_list_or_in_one(self, page: Any, total: int | None) -> None:
        with site(answering(200, json.dumps(page).encode())) as server:
            assert search(new_client(), access_to(server.url), deadline(20)) == Listing([known()], total)

    @pytest.mark.parametrize(
        "body",
        [b"", b"null", b"{}", b"<html>", b'{"items": {}}', b'{"total": 3, "items": []}', b'{"items": [{"id": "i'],
    )
    def test_what_holds_no_list_does_not_say_that_there_are_none(self, body: bytes) -> None:
        with site(answering(200, body)) as server, pytest.raises(BadAnswer) as caught:
            search(new_client(), access_to(server.url), deadline(20))
        assert (caught.value.reason, caught.value.http_status) == (Reason.UPSTREAM, 200)

    @pytest.mark.parametrize("body", [b"", b"null", b"[]", b"<html>", b'{"id": "i/1'])
    def test_nor_is_it_an_incident(self, body: bytes) -> None:
        with site(answering(200, body)) as server, pytest.raises(BadAnswer) as caught:
            show(new_client(), access_to(server.url), deadline(20))
        assert caught.value.reason == Reason.UPSTREAM

    @pytest.mark.parametrize(
        ("status", "body"), [(204, b""), (200, b'{"status": 204, "data": {}}'), (201, b""), (202, b"<html>")]
    )
    @pytest.mark.parametrize("ask", [comment, assign, release])
    def test_any_2xx_is_done_whatever_its_body(self, ask: Ask, status: int, body: bytes) -> None:
        with site(answering(status, body)) as server:
            ask(new_client(), access_to(server.url), deadline(20))
            assert len(server.received) == 1


def answering(status: int, body: bytes) -> Script:
    return lambda _: (status, {}, body)


FAILURES: list[tuple[dict[str, Any], Reason, bool]] = [
    ({"kind": "status", "status": 400}, Reason.REFUSED, False),
    ({"kind": "status", "status": 401}, Reason.CREDENTIALS, False),
    ({"kind": "status", "status": 403}, Reason.CREDENTIALS, False),
    ({"kind": "status", "status": 404}, Reason.REFUSED, False),
    ({"kind": "status", "status": 409}, Reason.REFUSED, False),
    ({"kind": "status", "status": 410}, Reason.REFUSED, False),
    ({"kind": "status", "status": 429}, Reason.RATE_LIMITED, False),
    ({"kind": "status", "status": 500}, Reason.UPSTREAM, True),
    ({"kind": "status", "status": 501}, Reason.UPSTREAM, True),
    ({"kind": "html", "status": 404}, Reason.REFUSED, False),
    ({"kind": "html", "status": 503}, Reason.UPSTREAM, True),
    ({"kind": "redirect", "location": "https://evil.example/"}, Reason.REFUSED, False),
    ({"kind": "reset"}, Reason.UNREACHABLE, True),
    ({"kind": "accept_then_reset"}, Reason.UNREACHABLE, True),
    # An answer that does not come while the test runs: who waited for it would take it for a good one.
    ({"kind": "slow", "seconds": 60}, Reason.TIMEOUT, True),
]
# That there is nothing to release is no failure of a release.
FAILURES_OF_ROUTES = [
    (route, *failure)
    for route in ROUTES
    for failure in FAILURES
    if (route, failure[0].get("status")) not in {("release", 404), ("release", 409)}
]


class TestFailures:
    @pytest.mark.parametrize(
        ("route", "fault", "reason", "may_be_done"),
        FAILURES_OF_ROUTES,
        ids=lambda value: json.dumps(value) if isinstance(value, dict) else value if value in ROUTES else "",
    )
    def test_each_has_its_reason_and_says_whether_it_may_be_done(
        self, box: Box, access: Access, route: str, fault: dict[str, Any], reason: Reason, may_be_done: bool
    ) -> None:
        box.script([fault | {"on": route}])
        found = failure(ROUTES[route], access, seconds=1 if fault["kind"] == "slow" else 20)
        assert (found.reason, found.may_have_rung, found.asked) == (reason, may_be_done, True)
        assert isinstance(found, BadAnswer) == ("status" in fault or fault["kind"] == "redirect")
        assert len(box.bigpanda.calls.all()) == 1, "nothing is tried again at once"

    def test_a_wrong_key_is_refused(self, box: Box, access: Access) -> None:
        for ask in ROUTES.values():
            assert failure(ask, access_to(box.bigpanda.url, "BPU-wrong")).reason == Reason.CREDENTIALS
        assert [call.accepted for call in box.bigpanda.calls.all()] == [False] * len(ROUTES)

    def test_a_wrong_app_key_is_refused(self, box: Box, access: Access) -> None:
        found = failure(release, replace(access, app_key="app-canary-wrong"))
        assert (found.reason, found.http_status) == (Reason.CREDENTIALS, 403)
        assert box.bigpanda.releases() == []

    @pytest.mark.parametrize("ask", [comment, release])
    def test_what_bigpanda_says_of_it_is_kept_without_the_keys(self, ask: Ask) -> None:
        def echo(received: Received) -> tuple[int, dict[str, str], bytes]:
            return 400, {}, json.dumps({"errors": ["no", dict(received.headers), received.body.decode()]}).encode()

        with site(echo) as server:
            found = failure(ask, access_to(server.url))
        assert (found.http_status, '"errors"' in found.excerpt) == (400, True)
        assert "canary" not in found.excerpt + str(found)

    def test_retry_after_is_read_where_it_is_there(self, box: Box, access: Access) -> None:
        box.script([{"kind": "status", "status": 429, "retry_after": "7", "on": "comment"}])
        assert failure(comment, access).retry_after == 7

    def test_nobody_listening_has_surely_written_nothing(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        found = failure(comment, access_to(f"http://127.0.0.1:{port}"))
        assert (found.reason, found.may_have_rung) == (Reason.UNREACHABLE, False)

    def test_a_host_that_must_not_be_called_is_not(self) -> None:
        found = failure(comment, access_to("https://evil.example"))
        assert (found.reason, found.asked) == (Reason.REFUSED, False)

    @pytest.mark.parametrize("ask", [search, show])
    @pytest.mark.parametrize("kind", ["reset_body", "truncated_json"])
    def test_an_answer_that_breaks_off_is_none_where_all_of_it_counts(
        self, box: Box, access: Access, ask: Ask, kind: str
    ) -> None:
        box.script([{"kind": kind, "on": route} for route in ("incidents", "incident")])
        assert failure(ask, access).reason == Reason.UPSTREAM

    @pytest.mark.parametrize(
        ("fault", "found"),
        [
            ({"kind": "drip", "seconds": 0.3}, JANE["id"]),
            ({"kind": "reset_body"}, None),
            ({"kind": "truncated_json"}, None),
        ],
    )
    def test_an_answer_that_breaks_off_after_its_status_is_an_answer(
        self, box: Box, access: Access, fault: dict[str, Any], found: str | None
    ) -> None:
        box.script([fault | {"on": "users"}])
        assert find(new_client(), access, deadline(20)) == found
