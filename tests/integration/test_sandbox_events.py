"""xMatters' events in the sandbox over real sockets: which signals make events, and who may ask for them."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from sandbox.http.schema import InvalidError
from sandbox.server.in_process import Box, running

URL = {"type": "url", "api_key": "canary-url-key"}
BASIC = {"type": "basic", "username": "asker", "password": "canary-password"}
API_KEY = {"type": "api_key", "key": "x-api-key-canary", "secret": "canary-secret"}
LOGIN = (BASIC["username"], BASIC["password"])


@pytest.fixture
def http(box: Box) -> Iterator[requests.Session]:
    """An HTTP session with credentials that xMatters' REST API accepts."""
    box.events.declare(BASIC)
    with requests.Session() as session:
        session.trust_env = False
        session.auth = LOGIN
        yield session


def signal(box: Box, incident: str = "i1", query: str = "") -> str:
    """Post a signal, and return its request id."""
    answer = requests.post(box.declare(URL).url + query, json={"id": incident}, timeout=60)
    return str(answer.json().get("requestId"))


def find(box: Box, http: requests.Session, request_id: str | None = None, **query: Any) -> requests.Response:
    params = {"requestId": request_id} | query
    return http.get(f"{box.xmatters_url}/api/xm/1/events", params=params, timeout=60)


def found(box: Box, http: requests.Session, request_id: str | None = None, **query: Any) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = find(box, http, request_id, **query).json()["data"]
    return events


def change(box: Box, http: requests.Session, name: str, status: str = "TERMINATED") -> requests.Response:
    return http.post(f"{box.xmatters_url}/api/xm/1/events", json={"id": name, "status": status}, timeout=60)


def end(box: Box, http: requests.Session) -> requests.Response:
    """Ask xMatters to terminate the newest event, whatever its status."""
    return change(box, http, box.events.all()[-1].id)


class TestMade:
    def test_signal_makes_one_event_that_is_found_by_its_request_id(self, box: Box, http: requests.Session) -> None:
        signal(box, "i0")
        request_id = signal(box)
        page = find(box, http, request_id, limit=10).json()
        assert (page["count"], page["total"]) == (1, 1)
        assert page["links"] == {"self": f"/api/xm/1/events?requestId={request_id}&limit=10&offset=0"}
        [event] = page["data"]
        assert event["links"] == {"self": f"/api/xm/1/events/{event['id']}"}
        assert (event["requestId"], event["status"], event["priority"]) == (request_id, "ACTIVE", "MEDIUM")
        [listed] = requests.get(f"{box.control_url}/events?incident_id=i1", timeout=60).json()["events"]
        assert (listed["id"], listed["status"], listed["terminated"]) == (event["id"], "ACTIVE", None)

    def test_refused_signal_makes_none_and_one_whose_answer_was_lost_makes_one(
        self, box: Box, http: requests.Session
    ) -> None:
        signal(box, query="-wrong")
        box.script([{"kind": "status", "status": 429}, {"kind": "accept_then_reset"}])
        signal(box)
        assert found(box, http) == []
        with pytest.raises(requests.ConnectionError):
            signal(box)
        assert [each["requestId"] for each in found(box, http)] == [box.signals()[0].request_id]

    def test_event_is_found_only_after_its_time(self) -> None:
        now = [datetime(2026, 3, 4, 2, 58, 14, 301_987, tzinfo=UTC)]
        with running(now=lambda: now[0]) as box, requests.Session() as session:
            session.auth = LOGIN
            box.events.declare(BASIC)
            box.events.make(delay_seconds=5)
            request_id = signal(box)
            now[0] += timedelta(seconds=4.9)
            assert find(box, session, request_id).json()["total"] == 0
            assert end(box, session).status_code == 404
            now[0] += timedelta(seconds=0.1)
            [event] = found(box, session, request_id)
            assert event["created"] == "2026-03-04T02:58:14.301+0000"
            assert end(box, session).json()["terminated"] == "2026-03-04T02:58:19.301+0000"

    def test_clearing_forgets_events_and_how_they_are_made(self, box: Box, http: requests.Session) -> None:
        request_id = signal(box)
        box.events.make(per_signal=0, delay_seconds=9)
        box.clear()
        assert (box.events.calls.all(), box.events.all(), found(box, http, request_id)) == ([], [], [])
        assert len(found(box, http, signal(box))) == 1


class TestCredentials:
    def test_until_credentials_are_declared_no_request_is_accepted(self) -> None:
        with running() as box, requests.Session() as session:
            session.auth = LOGIN
            box.declare(BASIC)
            assert find(box, session).status_code == 401
            box.events.declare(BASIC)
            assert find(box, session).status_code == 200

    @pytest.mark.parametrize(
        "shown", [None, ("asker", "wrong"), ("relay", BASIC["password"]), (API_KEY["key"], API_KEY["secret"])]
    )
    def test_other_credentials_are_401_and_change_nothing(
        self, box: Box, http: requests.Session, shown: tuple[str, str] | None
    ) -> None:
        signal(box)
        box.declare(API_KEY)
        http.auth = shown
        answers = [find(box, http, limit=0, apiKey=URL["api_key"]), end(box, http), change(box, http, "unknown")]
        assert [each.status_code for each in answers] == [401] * 3
        assert [each.accepted for each in box.events.calls.all()] == [False] * 3
        assert box.events.all()[0].status == "ACTIVE"

    def test_no_credential_is_logged(self, box: Box, http: requests.Session) -> None:
        signal(box)
        find(box, http, apiKey=URL["api_key"])
        end(box, http)
        shown = requests.get(f"{box.control_url}/events/calls", timeout=60).text
        assert "TERMINATED" in shown
        assert "canary" not in shown

    @pytest.mark.parametrize(
        ("auth", "message"),
        [(None, "auth.type must be one of"), (URL, "the REST API takes no key in a URL")],
    )
    def test_invalid_declaration_changes_nothing(
        self, box: Box, http: requests.Session, auth: object, message: str
    ) -> None:
        with pytest.raises(InvalidError, match=re.escape(message)) as raised:
            box.events.declare(auth)
        assert "canary" not in str(raised.value)
        assert find(box, http).status_code == 200
