"""The clients of both vendors' APIs over real sockets: their requests, and their reading of each shape of answer."""

import json
from collections.abc import Callable
from copy import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from relay.bigpanda.client import ACTIVITIES_A_PAGE, INCIDENTS_A_PAGE, BigPanda, Incident
from relay.channels.channel import BigPandaAccess, Rest
from relay.channels.parsing import parse_channel
from relay.deadline import Deadline
from relay.entrypoints.bootstrap import MOST_XMATTERS_BYTES
from relay.failures import BadAnswer, Reason, SendError
from relay.http.client import HttpClient
from relay.http.session import Session
from relay.xmatters.directory import MAX_PAGES, Page, Pages
from sandbox.bigpanda.users import USERS
from sandbox.server.in_process import Box
from tests import samples
from tests.integration.live import HOSTS, LOOPBACK, deadline, site
from tests.stand_in import API_KEY, BASIC, OAUTH, signal

KEY = "BPU-canary-key"
APP = "app-canary-key"
INCIDENT = Incident("63bd", "i/1 ü")
MARK = "[relay 1a2b3c4d]"
JANE = USERS[0]

type Ask = Callable[[BigPanda, BigPandaAccess, Deadline], object]


# A call of the client for each route of the API.
ROUTES: dict[str, Ask] = {
    "incidents": lambda it, access, left: it.incidents(access, INCIDENT.environment_id, "shared", 1, None, left),
    "incident": lambda it, access, left: it.incident(access, INCIDENT, left),
    "comment": lambda it, access, left: it.comment(access, INCIDENT, f'Jane ("jdoe") — on it {MARK}', left),
    "assignment": lambda it, access, left: it.assign(access, INCIDENT, JANE["id"], left),
    "activities": lambda it, access, left: it.has_comment(access, INCIDENT, lambda text: MARK in text, left),
    "users": lambda it, access, left: it.user_id(access, ["jdoe", JANE["userName"]], left),
    "release": lambda it, access, left: it.release(access, INCIDENT.id, "incident#new", left),
}


def known(name: str = INCIDENT.id, changed_at: int = 1_800_000_000, **members: Any) -> dict[str, Any]:
    """Return an incident in the form that the stand-in takes."""
    plain = {"id": name, "status": "Critical", "active": True, "changed_at": changed_at, "folders": ["shared"]}
    return plain | members


def new_client() -> BigPanda:
    return BigPanda(HttpClient(Session(LOOPBACK)))


def access_to(url: str) -> BigPandaAccess:
    bigpanda = {"api_key": KEY, "base_url": "https://api.bigpanda.io", "callbacks": True, "app_key": APP}
    found = samples.parsed(samples.secret(bigpanda=bigpanda)).bigpanda
    assert found
    return replace(found, base_url=url)


@pytest.fixture
def access(box: Box) -> BigPandaAccess:
    box.bigpanda.let_in(KEY)
    box.bigpanda.let_app_in(APP)
    box.bigpanda.declare_incidents(INCIDENT.environment_id, [known()])
    return access_to(box.bigpanda.url)


def failure(ask: Ask, access: BigPandaAccess, seconds: float = 20) -> SendError:
    with pytest.raises(SendError) as caught:
        ask(new_client(), access, deadline(seconds))
    return caught.value


class TestDone:
    @pytest.mark.parametrize("status", [404, 409])
    def test_release_answered_404_or_409_counts_as_done(self, box: Box, access: BigPandaAccess, status: int) -> None:
        box.script([{"kind": "html", "status": status, "on": "release"}])
        ROUTES["release"](new_client(), access, deadline(20))
        assert [(call.route, call.status) for call in box.bigpanda.calls.all()] == [("release", status)]

    @pytest.mark.parametrize(("older", "newer"), [(0, ACTIVITIES_A_PAGE), (ACTIVITIES_A_PAGE, 0)])
    def test_own_comment_is_found_on_each_of_two_pages_of_activities(
        self, box: Box, access: BigPandaAccess, older: int, newer: int
    ) -> None:
        client = new_client()
        for number in range(older):
            client.comment(access, INCIDENT, f"older, of somebody else, {number}", deadline(20))
        ROUTES["comment"](client, access, deadline(20))
        for number in range(newer):
            client.comment(access, INCIDENT, f"newer, of somebody else, {number}", deadline(20))
        assert ROUTES["activities"](client, access, deadline(20)) is True
        asked = [call.query for call in box.bigpanda.calls.all() if call.route == "activities"]
        assert [each["page"] for each in asked] == ["1", "2"]
        assert {each["types"] for each in asked} == {"incident_commented"}

    @pytest.mark.parametrize("name", ['quote "here', "back\\slash", "jörg@acme.example", "a or b", "&filter=x#"])
    def test_bigpanda_user_name_with_special_characters_is_searched_for_unchanged(
        self, box: Box, access: BigPandaAccess, name: str
    ) -> None:
        box.bigpanda.declare_users([*USERS, {"id": "odd", "userName": name}])
        try:
            assert new_client().user_id(access, [name], deadline(20)) == "odd"
        finally:
            box.bigpanda.declare_users(list(USERS))

    def test_incidents_of_a_folder_are_listed_page_by_page(self, box: Box, access: BigPandaAccess) -> None:
        several = [known(f"i{number}", 1_800_000_000 + number) for number in range(INCIDENTS_A_PAGE + 1)]
        box.bigpanda.declare_incidents("63 ü", [*several, known("other", folders=["resolved"])])
        pages = [new_client().incidents(access, "63 ü", "shared", page, None, deadline(20)) for page in (1, 2, 3)]
        assert [len(items) for items, _ in pages] == [INCIDENTS_A_PAGE, 1, 0]
        assert {total for _, total in pages} == {INCIDENTS_A_PAGE + 1}
        assert (pages[0][0][0]["id"], pages[1][0][0]["id"]) == (f"i{INCIDENTS_A_PAGE}", "i0")
        assert [call.query for call in box.bigpanda.calls.all()] == [
            {"folder": "shared", "page": str(page), "page_size": str(INCIDENTS_A_PAGE), "sort_by": "last_change"}
            for page in (1, 2, 3)
        ]


COMMENTED = {"type": "incident_commented", "params": {"comment": f"words {MARK}"}}
USER = {"id": "u1", "userName": "Jane@Acme.example", "emails": [{"value": "jd@acme.example"}, "odd"]}
NO_ACTIVITIES: list[Any] = [b"", None, 7, [], {"items": []}, {"items": 7}, b'[{"comment": "[relay 1a2b']
NO_INCIDENTS: list[Any] = [b"", None, {}, b"<html>", {"items": {}}, {"total": 3, "items": []}, b'{"items": [{"id": "i']
NO_INCIDENT: list[Any] = [b"", None, [], b"<html>", b'{"id": "i/1']
# Shapes of answers that BigPanda's documents leave open or disagree about, broken ones, and what the client reads.
SHAPES: list[tuple[str, Any, object]] = [
    *(
        ("activities", page, True)
        for page in (
            [COMMENTED],
            {"items": [COMMENTED]},
            {"Items": [COMMENTED], "total": 1},
            {"activities": [COMMENTED]},
            [{"type": "incident_commented", "text": f"a\u00fc {MARK}"}],
            [{"event": {"deeply": [{"hidden": MARK}]}}],
        )
    ),
    *(("activities", body, False) for body in NO_ACTIVITIES),
    # A proxy's page leaves a comment in doubt.
    ("activities", b"<html>", Reason.UPSTREAM),
    *(
        ("users", page, JANE["id"])
        for page in ({"Resources": [JANE]}, {"resources": [JANE]}, [JANE], {"Resources": [None, "x", {"id": 7}, JANE]})
    ),
    ("incidents", {"total": 7, "items": [known()]}, ([known()], 7)),
    ("incidents", {"items": [known()]}, ([known()], None)),
    ("incidents", {"total": "7", "items": [None, "x", known()]}, ([known()], None)),
    ("incidents", [known()], ([known()], None)),
    # An answer without a list is no empty list.
    *(("incidents", body, Reason.UPSTREAM) for body in NO_INCIDENTS),
    *(("incident", body, Reason.UPSTREAM) for body in NO_INCIDENT),
]


@pytest.mark.parametrize(("route", "answer", "found"), SHAPES)
def test_answer_is_read_in_each_shape_or_refused(route: str, answer: Any, found: object) -> None:
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    with site(lambda _: (200, {}, body)) as server:
        if isinstance(found, Reason):
            refused = failure(ROUTES[route], access_to(server.url))
            assert (refused.reason, refused.http_status) == (found, 200)
        else:
            assert ROUTES[route](new_client(), access_to(server.url), deadline(20)) == found
        assert len(server.received) == 1


def test_user_id_asks_for_all_names_at_once_and_the_first_one_wins() -> None:
    users = json.dumps({"Resources": [USER, {"id": "u2", "userName": "jdoe"}]}).encode()
    with site(lambda _: (200, {}, users)) as server:
        client, access = new_client(), access_to(server.url)
        assert client.user_id(access, [], deadline(20)) is None
        assert client.user_id(access, ["nobody", "jdoe", "jd@acme.example"], deadline(20)) == "u2"
        [asked] = server.received
    [query] = parse_qs(urlsplit(asked.target).query)["filter"]
    assert query.split(" or ")[::2] == [f'userName eq "{name}"' for name in ("nobody", "jdoe", "jd@acme.example")]


FAILURES: list[tuple[dict[str, Any], Reason, bool]] = [
    ({"kind": "status", "status": 403}, Reason.CREDENTIALS, False),
    ({"kind": "status", "status": 429}, Reason.RATE_LIMITED, False),
    ({"kind": "html", "status": 503}, Reason.UPSTREAM, True),
    ({"kind": "redirect", "location": "https://evil.example/"}, Reason.UPSTREAM, False),
    ({"kind": "accept_then_reset"}, Reason.UNREACHABLE, True),
    # Slower than the test's deadline: a client without a deadline would accept this answer.
    ({"kind": "slow", "seconds": 60}, Reason.TIMEOUT, True),
]
FAILURES_OF_ROUTES: list[tuple[str, dict[str, Any], Reason, bool]] = [
    *(("comment", *failure) for failure in FAILURES),
    *((route, {"kind": "status", "status": 500}, Reason.UPSTREAM, True) for route in ROUTES),
]


@pytest.mark.parametrize(
    ("route", "fault", "reason", "may_be_done"),
    FAILURES_OF_ROUTES,
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else value if value in ROUTES else "",
)
def test_bigpanda_failure_has_its_reason_and_tells_if_the_write_may_be_done(
    box: Box, access: BigPandaAccess, route: str, fault: dict[str, Any], reason: Reason, may_be_done: bool
) -> None:
    box.script([fault | {"on": route}])
    found = failure(ROUTES[route], access, seconds=1 if fault["kind"] == "slow" else 20)
    assert (found.reason, found.may_have_acted, found.was_sent) == (reason, may_be_done, True)
    assert isinstance(found, BadAnswer) == ("status" in fault or fault["kind"] == "redirect")
    assert len(box.bigpanda.calls.all()) == 1, "there is no immediate retry"


KINDS = {"basic": BASIC, "api_key": API_KEY, "oauth": OAUTH}
PAGE_ID = "5c1f2a30-9d0e-4d53-8b0e-0c6b5d7c9e11"


def new_pages() -> Pages:
    return Pages(HttpClient(Session(LOOPBACK, most=MOST_XMATTERS_BYTES)))


def rest_at(url: str, auth: dict[str, str]) -> Rest:
    document = samples.secret()
    document["xmatters"]["rest"] = {"base_url": url, "auth": auth}
    found = parse_channel("noc", json.dumps(document), HOSTS).rest
    assert found
    return found


def rest_in(box: Box, auth: dict[str, str]) -> Rest:
    """Return the stand-in's REST API, which accepts these credentials."""
    box.events.declare(auth)
    return rest_at(box.xmatters_url, auth)


def test_hundred_long_audits_are_read_whole() -> None:
    """A list that is cut off is no answer, and the fallback topic would be told of a critical that people heard."""
    audit = {"type": "NOTIFICATION_DELIVERED", "notification": {"deliveryStatus": "DELIVERED"}, "note": "x" * 2000}
    body = json.dumps({"count": 100, "total": 100, "data": [audit] * 100}).encode()
    with site(lambda _: (200, {}, body)) as server:
        heard = new_pages().heard_of(rest_at(server.url, BASIC), PAGE_ID, deadline(20))
    assert heard.is_notified


@pytest.mark.parametrize("auth", KINDS.values(), ids=KINDS)
def test_page_is_found_by_its_signals_request_id_only(box: Box, auth: dict[str, str]) -> None:
    rest = rest_in(box, auth)
    signal(box, recipients="")
    request_id = signal(box, recipients="")
    made = box.events.all()[-1]
    assert new_pages().of_request(rest, request_id, deadline(20)) == [Page(made.id, made.number, is_active=True)]
    [asked] = box.events.calls.all()
    assert (asked.route, asked.query) == ("events", {"requestId": request_id, "limit": str(MAX_PAGES)})


@pytest.mark.parametrize(
    ("mode", "away", "is_suppressed"), [("suppressed", 0, True), ("suppressed", 3600, False), ("no_page", 0, False)]
)
def test_suppression_is_found_by_its_time(box: Box, mode: str, away: float, is_suppressed: bool) -> None:
    rest = rest_in(box, BASIC)
    box.xmatters.workflow.set({"mode": mode})
    request_id = signal(box, recipients="")
    assert new_pages().of_request(rest, request_id, deadline(20)) == []
    now = box.xmatters.clock.now().timestamp()
    assert new_pages().were_suppressed(rest, now - away, deadline(20)) == is_suppressed


def test_termination_of_a_missing_or_terminated_page_counts_as_done(box: Box) -> None:
    rest = rest_in(box, BASIC)
    signal(box, recipients="")
    for name in (PAGE_ID, box.events.all()[0].id, box.events.all()[0].id):
        new_pages().terminate(rest, name, deadline(20))
    assert [call.status for call in box.events.calls.all()] == [404, 200, 409]
