"""BigPanda's API in the sandbox over real sockets: its answers, its log of calls, and scripted faults."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from sandbox.bigpanda.users import USERS
from sandbox.server.in_process import Box, running

KEY = "BPU-canary-key"
APP = "app-canary-key"
BEARER = {"Authorization": f"Bearer {KEY}"}
JANE = USERS[0]["id"]
NOW = 1_800_000_000


@pytest.fixture
def http(box: Box) -> Iterator[requests.Session]:
    """An HTTP session with a valid API key of the BigPanda stand-in. The stand-in has one incident."""
    box.bigpanda.let_in(KEY)
    box.bigpanda.let_app_in(APP)
    box.bigpanda.declare_incidents("e1", [declared()])
    with requests.Session() as session:
        session.trust_env = False
        session.headers.update(BEARER)
        yield session


def incident(box: Box, what: str, name: str = "i1", environment: str = "e1") -> str:
    return f"{box.bigpanda.url}/resources/v2.0/environments/{environment}/incidents/{name}/{what}"


def declared(
    name: str = "i1", changed_at: int = NOW, folders: Sequence[str] = ("shared",), **more: Any
) -> dict[str, Any]:
    """Return an incident in the form in which a test gives it to the stand-in; `more` replaces members."""
    plain = {"id": name, "status": "Critical", "active": True, "changed_at": changed_at, "folders": list(folders)}
    return plain | more


def search(box: Box, http: requests.Session, environment: str = "e1", **query: Any) -> requests.Response:
    url = f"{box.bigpanda.url}/resources/v2.0/environments/{environment}/incidents"
    return http.get(url, params=query, timeout=60)


def details(
    box: Box, http: requests.Session, name: str = "i1", environment: str = "e1", **query: Any
) -> requests.Response:
    return http.get(incident(box, "", name, environment).rstrip("/"), params=query, timeout=60)


def comment(box: Box, http: requests.Session, text: Any = "words", name: str = "i1") -> requests.Response:
    return http.post(incident(box, "comments", name), json={"comment": text}, timeout=60)


def assign(box: Box, http: requests.Session, user: Any = JANE) -> requests.Response:
    return http.put(incident(box, "assignment"), json={"assignee": user}, timeout=60)


def activities(box: Box, http: requests.Session, name: str = "i1", **query: Any) -> requests.Response:
    url = f"{box.bigpanda.url}/resources/v2.0/incidents/{name}/activities"
    return http.get(url, params=query, timeout=60)


def users(box: Box, http: requests.Session) -> requests.Response:
    return http.get(f"{box.bigpanda.url}/scim/v2/Users", timeout=60)


def release(box: Box, http: requests.Session, name: str = "i1", **members: Any) -> requests.Response:
    told = {"event_type": "incident#new", "incident_id": name, "app_key": APP} | members
    return http.post(f"{box.bigpanda.url}/resources/v2.1/outbound/callback", json=told, timeout=60)


def ids(answer: requests.Response) -> list[str]:
    assert answer.status_code == 200
    return [each["id"] for each in answer.json()["items"]]


class TestIncidents:
    def test_folder_lists_the_incidents_that_name_it(self, box: Box, http: requests.Session) -> None:
        open_, over = declared("open", NOW + 3, ["active", "shared"]), declared("over", NOW + 2, ["resolved", "shared"])
        box.bigpanda.declare_incidents("e1", [open_, over, declared("asleep", NOW + 1, ["snoozed"])])
        wanted = {"shared": ["open", "over"], "active": ["open"], "snoozed": ["asleep"], "unhandled": []}
        assert {folder: ids(search(box, http, folder=folder)) for folder in wanted} == wanted
        assert ids(search(box, http)) == ["open", "over", "asleep"]

    def test_alerts_are_whole_only_if_asked_for_and_then_a_page_has_ten_at_most(
        self, box: Box, http: requests.Session
    ) -> None:
        alerts = [{"alert_id": "a1", "status": "Critical", "tags": [{"name": "host", "value": "db1"}]}]
        box.bigpanda.declare_incidents("e1", [declared(alerts=alerts)])
        for query, told in (({}, [{"alert_id": "a1"}]), ({"expand": "alerts"}, alerts)):
            assert search(box, http, **query).json()["items"][0]["alerts"] == told
            assert details(box, http, **query).json()["alerts"] == told
        assert search(box, http, expand="alerts", page_size=11).status_code == 400


class TestWrites:
    def test_comment_and_assignment_are_204_logged_and_listed(self, box: Box, http: requests.Session) -> None:
        for answer in (comment(box, http, "Jane acknowledged"), comment(box, http, "other", "i2"), assign(box, http)):
            assert (answer.status_code, answer.content) == (204, b"")
        listed = http.get(f"{box.control_url}/bigpanda/comments?incident_id=i1", timeout=60).json()["comments"]
        assert [each["document"] for each in listed] == [{"comment": "Jane acknowledged"}]
        assert [each.document for each in box.bigpanda.done("assignment")] == [{"assignee": JANE}]
        found = http.get(f"{box.control_url}/calls", timeout=60).json()["calls"]
        calls = [each for each in found if each["incident_id"] == "i1"]
        assert calls[0] | {"index": 0, "received_at": ""} == {
            "index": 0, "received_at": "", "route": "comment", "environment_id": "e1", "incident_id": "i1", "query": {},
            "document": {"comment": "Jane acknowledged"}, "status": 204, "accepted": True, "fault": None,
        }  # fmt: skip
        box.clear()
        assert box.bigpanda.calls.all() == []

    def test_release_is_200_and_logged_without_the_app_key(self, box: Box, http: requests.Session) -> None:
        assert release(box, http).json() == {"status": 200}
        [kept] = box.bigpanda.done("release")
        assert kept.document == {"event_type": "incident#new", "incident_id": "i1", "app_key": "****"}
        assert release(box, http, app_key="another").status_code == 403
        assert release(box, http, event_type="").status_code == 400
        assert len(box.bigpanda.done("release")) == 1


class TestRateLimits:
    @pytest.mark.parametrize(("ask", "limit"), [(comment, 5), (details, 5), (users, 2)])
    def test_paced_endpoint_takes_so_many_requests_a_second(self, ask: Any, limit: int) -> None:
        now = [datetime(2030, 1, 1, tzinfo=UTC)]
        with running(now=lambda: now[0], is_paced=True) as box, requests.Session() as session:
            session.headers.update(BEARER)
            box.bigpanda.let_in(KEY)
            box.bigpanda.declare_incidents("e1", [declared()])
            statuses = [ask(box, session).status_code for _ in range(limit + 2)]
            assert [status == 429 for status in statuses] == [False] * limit + [True] * 2
            assert activities(box, session).status_code == 200
            now[0] += timedelta(seconds=1)
            assert ask(box, session).status_code < 300
