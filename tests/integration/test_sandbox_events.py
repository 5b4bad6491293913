"""xMatters' events in the sandbox over real sockets: events of signals, authorization, and scripted faults."""

import re
import uuid
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

    def test_signal_may_make_none_or_several(self, box: Box, http: requests.Session) -> None:
        box.events.make(per_signal=0)
        assert found(box, http, signal(box)) == []
        box.events.make(per_signal=3)
        assert len({each["id"] for each in found(box, http, signal(box))}) == 3

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


class TestFind:
    def test_newest_come_first_a_page_at_a_time(self, box: Box, http: requests.Session) -> None:
        box.events.make(per_signal=5)
        request_id = signal(box)
        numbers, path = [], f"/api/xm/1/events?requestId={request_id}&limit=2"
        while path:
            page = http.get(box.xmatters_url + path, timeout=60).json()
            assert (page["count"], page["total"]) == (len(page["data"]), 5)
            numbers += [each["eventId"] for each in page["data"]]
            path = page["links"].get("next", "")
        assert numbers == [event.number for event in reversed(box.events.all())]
        assert page["links"]["previous"] == f"/api/xm/1/events?requestId={request_id}&limit=2&offset=2"

    @pytest.mark.parametrize(
        ("query", "incidents"),
        [
            ({"propertyName": "incident_id#en", "propertyValue": "I1"}, ["i1"]),
            ({"propertyName": "incident_id,status", "propertyValue": "i1,critical"}, []),
            ({"status": "TERMINATED"}, ["i2"]),
            ({"status": "ACTIVE,SUSPENDED"}, ["i1"]),
            ({"from": "2000-01-01T00:00:00.000Z"}, ["i2", "i1"]),
            ({"to": "2000-01-01T00:00:00.000Z"}, []),
        ],
    )
    def test_filters(self, box: Box, http: requests.Session, query: dict[str, str], incidents: list[str]) -> None:
        signal(box, "i1")
        signal(box, "i2")
        end(box, http)
        events = found(box, http, embed="properties", **query)
        assert [each["properties"]["incident_id#en"] for each in events] == incidents

    @pytest.mark.parametrize(
        "query",
        [{"limit": 0}, {"limit": 1001}, {"offset": -1}, {"status": "x"}, {"from": "soon"}, {"embed": "all"}, {"x": 1}],
    )
    def test_invalid_parameter_is_400_and_named(self, box: Box, http: requests.Session, query: dict[str, Any]) -> None:
        answer = find(box, http, **query)
        assert (answer.status_code, answer.json()["code"]) == (400, 400)
        assert next(iter(query)) in answer.json()["message"]


class TestChange:
    def test_terminated_event_is_answered_and_stays_so(self, box: Box, http: requests.Session) -> None:
        signal(box)
        request_id = signal(box)
        [event] = found(box, http, request_id)
        answer = change(box, http, event["id"])
        assert answer.json() == event | {"status": "TERMINATED", "terminated": answer.json()["terminated"]}
        for status in ("TERMINATED", "ACTIVE"):
            assert change(box, http, event["id"], status).status_code == 409
        assert [each["status"] for each in found(box, http)] == ["TERMINATED", "ACTIVE"]

    def test_suspended_event_goes_on_or_ends(self, box: Box, http: requests.Session) -> None:
        signal(box)
        number = box.events.all()[0].number
        for status in ("SUSPENDED", "ACTIVE", "SUSPENDED", "TERMINATED"):
            assert change(box, http, number, status).json()["status"] == status

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            ("[]", 400),
            ('{"id": "%s"}', 400),
            ('{"id": "%s", "status": "terminated"}', 400),
            (f'{{"id": "{uuid.uuid4()}", "status": "TERMINATED"}}', 404),
        ],
    )
    def test_invalid_change_is_refused_and_changes_nothing(
        self, box: Box, http: requests.Session, body: str, status: int
    ) -> None:
        signal(box)
        content = body.replace("%s", box.events.all()[0].id)
        answer = http.post(f"{box.xmatters_url}/api/xm/1/events", data=content, timeout=60)
        assert (answer.status_code, answer.json()["code"]) == (status, status)
        assert box.events.all()[0].status == "ACTIVE"


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
        declared = requests.put(f"{box.control_url}/events/credentials", json={"auth": BASIC}, timeout=60)
        assert declared.json() == {"auth": BASIC | {"password": "****"}}
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


class TestFaults:
    @pytest.mark.parametrize(("route", "ask", "other"), [("events", find, end), ("event", end, find)])
    def test_each_route_meets_its_own(self, box: Box, http: requests.Session, route: str, ask: Any, other: Any) -> None:
        box.script([{"kind": "status", "status": 429, "retry_after": "2", "on": route}])
        signal(box)
        assert other(box, http).status_code == 200
        signal(box)
        first, second = (ask(box, http) for _ in range(2))
        assert (first.status_code, first.headers["Retry-After"], second.status_code) == (429, "2", 200)
        tries = [(each.status, each.accepted, each.fault) for each in box.events.calls.all() if each.route == route]
        assert tries == [(429, False, "status"), (200, True, None)]

    @pytest.mark.parametrize(
        ("fault", "status"),
        [
            ({"kind": "reset"}, "ACTIVE"),
            ({"kind": "accept_then_reset"}, "TERMINATED"),
            ({"kind": "reset_body"}, "TERMINATED"),
            ({"kind": "slow", "seconds": 0.01, "accept": False}, "ACTIVE"),
        ],
    )
    def test_fault_says_whether_the_event_is_changed(
        self, box: Box, http: requests.Session, fault: dict[str, Any], status: str
    ) -> None:
        signal(box)
        box.script([fault | {"on": "event"}])
        if fault["kind"] == "slow":
            assert end(box, http).status_code == 504
        else:
            with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
                end(box, http)
        assert [each["status"] for each in found(box, http)] == [status]

    def test_fault_does_not_let_wrong_credentials_in(self, box: Box, http: requests.Session) -> None:
        signal(box)
        box.script([{"kind": "truncated_json", "on": "event"}])
        http.auth = ("asker", "wrong")
        assert end(box, http).status_code == 401
        assert box.events.all()[0].status == "ACTIVE"
