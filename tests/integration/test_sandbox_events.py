"""xMatters' events in the sandbox over real sockets: events of signals, authorization, and scripted faults."""

import re
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from sandbox.http.schema import InvalidError
from sandbox.server import background
from sandbox.server.in_process import Box, running

ROOT = Path(__file__).parents[2]
URL = {"type": "url", "api_key": "canary-url-key"}
BASIC = {"type": "basic", "username": "asker", "password": "canary-password"}
API_KEY = {"type": "api_key", "key": "x-api-key-canary", "secret": "canary-secret"}
OAUTH = {"type": "oauth", "client_id": "client-1", "username": "asker", "password": "canary-password"}
LOGIN = (BASIC["username"], BASIC["password"])


@pytest.fixture
def http(box: Box) -> Iterator[requests.Session]:
    """An HTTP session with credentials that xMatters' REST API accepts."""
    box.events.declare(BASIC)
    with requests.Session() as session:
        session.trust_env = False
        session.auth = LOGIN
        yield session


def signal(box: Box, http: requests.Session, incident: str = "i1", query: str = "") -> str:
    """Post a signal, and return its request id."""
    answer = http.post(box.declare(URL).url + query, json={"id": incident}, auth=_as_it_is, timeout=60)
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


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


class TestMade:
    def test_a_signal_makes_one_event_that_is_found_by_its_request_id(self, box: Box, http: requests.Session) -> None:
        signal(box, http, "i0")
        request_id = signal(box, http)
        answer = find(box, http, request_id, limit=10)
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json;charset=utf-8")
        page = answer.json()
        assert (page["count"], page["total"]) == (1, 1)
        assert page["links"] == {"self": f"/api/xm/1/events?requestId={request_id}&limit=10&offset=0"}
        [event] = page["data"]
        assert str(uuid.UUID(event["id"])) == event["id"]
        assert event["links"] == {"self": f"/api/xm/1/events/{event['id']}"}
        assert (event["requestId"], event["status"], event["priority"]) == (request_id, "ACTIVE", "MEDIUM")
        assert event["incident"] == f"INCIDENT_ID-{event['eventId']}"
        assert "terminated" not in event

    def test_numbers_are_text_and_count_up(self, box: Box, http: requests.Session) -> None:
        numbers = []
        for _ in range(3):
            numbers.append(found(box, http, signal(box, http))[0]["eventId"])
            box.events.clear()
        assert [int(each) - int(numbers[0]) for each in numbers] == [0, 1, 2]
        assert all(isinstance(each, str) for each in numbers)

    def test_times_are_written_as_xmatters_does(self) -> None:
        now = datetime(2026, 3, 4, 2, 58, 14, 301_987, tzinfo=UTC)
        with running(now=lambda: now) as box, requests.Session() as session:
            session.auth = LOGIN
            box.events.declare(BASIC)
            [event] = found(box, session, signal(box, session))
            assert event["created"] == "2026-03-04T02:58:14.301+0000"
            assert end(box, session).json()["terminated"] == "2026-03-04T02:58:14.301+0000"

    def test_a_refused_signal_makes_none(self, box: Box, http: requests.Session) -> None:
        box.script([{"kind": "status", "status": 429}, {"kind": "reset"}])
        signal(box, http)
        with pytest.raises(requests.ConnectionError):
            signal(box, http)
        signal(box, http, query="-wrong")
        assert (found(box, http), box.events.all()) == ([], [])

    def test_a_signal_whose_answer_was_lost_makes_one(self, box: Box, http: requests.Session) -> None:
        box.script([{"kind": "accept_then_reset"}])
        with pytest.raises(requests.ConnectionError):
            signal(box, http)
        assert [each["requestId"] for each in found(box, http)] == [box.signals()[0].request_id]

    def test_a_signal_may_make_none_or_several(self, box: Box, http: requests.Session) -> None:
        box.events.make(per_signal=0)
        assert found(box, http, signal(box, http)) == []
        box.events.make(per_signal=3)
        request_id = signal(box, http)
        assert {each["requestId"] for each in found(box, http, request_id)} == {request_id}
        assert len({each["id"] for each in found(box, http)}) == 3

    def test_an_event_is_there_only_after_its_time(self) -> None:
        now = [datetime(2030, 1, 1, tzinfo=UTC)]
        with running(now=lambda: now[0]) as box, requests.Session() as session:
            session.auth = LOGIN
            box.events.declare(BASIC)
            box.events.make(delay_seconds=5)
            request_id = signal(box, session)
            now[0] += timedelta(seconds=4.9)
            assert find(box, session, request_id).json()["total"] == 0
            assert end(box, session).status_code == 404
            now[0] += timedelta(seconds=0.1)
            assert len(found(box, session, request_id)) == 1
            assert end(box, session).status_code == 200

    def test_clearing_forgets_events_and_how_they_are_made(self, box: Box, http: requests.Session) -> None:
        request_id = signal(box, http)
        box.events.make(per_signal=0, delay_seconds=9)
        box.clear()
        assert (box.events.calls.all(), box.events.all(), found(box, http, request_id)) == ([], [], [])
        assert len(found(box, http, signal(box, http))) == 1


class TestFind:
    def test_the_newest_come_first_a_page_at_a_time(self, box: Box, http: requests.Session) -> None:
        box.events.make(per_signal=5)
        request_id = signal(box, http)
        numbers, path = [], f"/api/xm/1/events?requestId={request_id}&limit=2"
        while path:
            page = http.get(box.xmatters_url + path, timeout=60).json()
            assert (page["count"], page["total"]) == (len(page["data"]), 5)
            numbers += [each["eventId"] for each in page["data"]]
            path = page["links"].get("next", "")
        assert numbers == [event.number for event in reversed(box.events.all())]
        assert page["links"]["previous"] == f"/api/xm/1/events?requestId={request_id}&limit=2&offset=2"

    def test_a_page_has_a_hundred_unless_asked(self, box: Box, http: requests.Session) -> None:
        box.events.make(per_signal=101)
        signal(box, http)
        assert find(box, http).json()["count"] == 100
        assert find(box, http, limit=1000).json()["count"] == 101

    def test_an_unknown_request_id_finds_none(self, box: Box, http: requests.Session) -> None:
        signal(box, http)
        page = find(box, http, str(uuid.uuid4())).json()
        assert (page["count"], page["total"], page["data"]) == (0, 0, [])

    @pytest.mark.parametrize(
        "query", [{"limit": 0}, {"limit": 1001}, {"limit": "x"}, {"limit": "9" * 5000}, {"offset": -1}, {"status": "x"}]
    )
    def test_what_is_not_known_is_400(self, box: Box, http: requests.Session, query: dict[str, Any]) -> None:
        answer = find(box, http, **query)
        assert (answer.status_code, answer.json()["code"], answer.json()["reason"]) == (400, 400, "Bad Request")
        assert next(iter(query)) in answer.json()["message"]


class TestChange:
    def test_a_terminated_event_is_answered_and_stays_so(self, box: Box, http: requests.Session) -> None:
        request_id = signal(box, http)
        [event] = found(box, http, request_id)
        answer = change(box, http, event["id"])
        assert answer.status_code == 200
        assert answer.json() == event | {"status": "TERMINATED", "terminated": answer.json()["terminated"]}
        assert found(box, http, request_id) == [answer.json()]
        for status in ("TERMINATED", "ACTIVE"):
            again = change(box, http, event["id"], status)
            assert (again.status_code, again.json()["code"], again.json()["reason"]) == (409, 409, "Conflict")
        assert found(box, http, request_id) == [answer.json()]

    def test_it_ends_no_other(self, box: Box, http: requests.Session) -> None:
        signal(box, http)
        signal(box, http)
        end(box, http)
        assert [each["status"] for each in found(box, http)] == ["TERMINATED", "ACTIVE"]

    def test_a_suspended_event_goes_on_or_ends(self, box: Box, http: requests.Session) -> None:
        signal(box, http)
        [event] = box.events.all()
        for status in ("SUSPENDED", "ACTIVE", "SUSPENDED", "TERMINATED"):
            assert change(box, http, event.id, status).json()["status"] == status
            assert box.events.all()[0].status == status

    def test_an_event_is_named_by_its_number_too(self, box: Box, http: requests.Session) -> None:
        signal(box, http)
        assert change(box, http, box.events.all()[0].number).status_code == 200
        assert box.events.all()[0].status == "TERMINATED"

    def test_an_unknown_id_is_404(self, box: Box, http: requests.Session) -> None:
        signal(box, http)
        answer = change(box, http, str(uuid.uuid4()))
        assert (answer.status_code, answer.json()["code"], answer.json()["reason"]) == (404, 404, "Not Found")

    @pytest.mark.parametrize(
        "body",
        ["", "{", "[]", '{"status": "TERMINATED"}', '{"id": "%s"}', '{"id": 7, "status": "TERMINATED"}',
         '{"id": "%s", "status": "terminated"}', '{"id": "%s", "status": "TERMINATED", "priority": "LOW"}'],
    )  # fmt: skip
    def test_a_body_that_is_none_is_400_and_changes_nothing(self, box: Box, http: requests.Session, body: str) -> None:
        signal(box, http)
        content = body.replace("%s", box.events.all()[0].id)
        answer = http.post(f"{box.xmatters_url}/api/xm/1/events", data=content, timeout=60)
        assert (answer.status_code, answer.json()["code"]) == (400, 400)
        assert box.events.all()[0].status == "ACTIVE"

    def test_there_is_no_put(self, box: Box, http: requests.Session) -> None:
        signal(box, http)
        url = f"{box.xmatters_url}/api/xm/1/events"
        assert http.put(url, json={}, timeout=60).status_code == 405
        assert http.put(f"{url}/{box.events.all()[0].id}", json={}, timeout=60).status_code == 405
        assert box.events.calls.all() == []


def token(box: Box, http: requests.Session) -> str:
    form = {"grant_type": "password"} | {name: OAUTH[name] for name in ("client_id", "username", "password")}
    answer = http.post(f"{box.xmatters_url}/api/xm/1/oauth2/token", data=form, auth=_as_it_is, timeout=60)
    return str(answer.json()["access_token"])


class TestCredentials:
    @pytest.mark.parametrize(
        ("auth", "login"),
        [(BASIC, LOGIN), (API_KEY, (API_KEY["key"], API_KEY["secret"])), (BASIC | URL | {"type": "any"}, LOGIN)],
    )
    def test_a_password_or_a_key_is_let_in(
        self, box: Box, http: requests.Session, auth: dict[str, str], login: tuple[str, str]
    ) -> None:
        signal(box, http)
        box.events.declare(auth)
        http.auth = login
        assert (find(box, http).status_code, end(box, http).status_code) == (200, 200)

    def test_a_token_is_let_in_until_it_is_revoked(self, box: Box, http: requests.Session) -> None:
        box.events.declare(OAUTH)
        signal(box, http)
        http.auth = None
        http.headers["Authorization"] = f"Bearer {token(box, http)}"
        assert find(box, http).status_code == 200
        box.revoke_tokens()
        answers = [find(box, http), end(box, http)]
        assert [(each.status_code, each.json()["error"]) for each in answers] == [(401, "invalid_token")] * 2
        http.headers["Authorization"] = f"Bearer {token(box, http)}"
        assert end(box, http).status_code == 200

    def test_its_tokens_last_as_declared(self) -> None:
        now = [datetime(2030, 1, 1, tzinfo=UTC)]
        with running(now=lambda: now[0]) as box, requests.Session() as session:
            box.declare(OAUTH, token_seconds=900)
            box.events.declare(OAUTH, token_seconds=60)
            session.headers["Authorization"] = f"Bearer {token(box, session)}"
            now[0] += timedelta(seconds=59)
            assert find(box, session).status_code == 200
            now[0] += timedelta(seconds=1)
            assert find(box, session).status_code == 401

    @pytest.mark.parametrize(
        "shown", [None, ("asker", "wrong"), ("relay", BASIC["password"]), (API_KEY["key"], API_KEY["secret"])]
    )
    def test_anybody_else_is_401_with_the_error_object(
        self, box: Box, http: requests.Session, shown: tuple[str, str] | None
    ) -> None:
        signal(box, http)
        http.auth = shown or _as_it_is
        answers = [find(box, http, limit=0), end(box, http), change(box, http, "unknown")]
        assert [each.status_code for each in answers] == [401] * 3
        assert all({"code": 401, "reason": "Unauthorized"}.items() <= each.json().items() for each in answers)
        assert [each.accepted for each in box.events.calls.all()] == [False] * 3
        assert box.events.all()[0].status == "ACTIVE"

    def test_until_credentials_are_declared_nobody_is_let_in(self) -> None:
        with running() as box, requests.Session() as session:
            session.auth = LOGIN
            box.declare(BASIC)
            assert find(box, session).status_code == 401
            box.events.declare(BASIC)
            assert find(box, session).status_code == 200

    def test_those_of_a_trigger_and_a_key_in_the_url_are_none(self, box: Box, http: requests.Session) -> None:
        box.declare(API_KEY)
        http.auth = (API_KEY["key"], API_KEY["secret"])
        assert find(box, http).status_code == 401
        box.events.declare(BASIC | URL | {"type": "any"})
        http.auth = _as_it_is
        assert find(box, http, apiKey=URL["api_key"]).status_code == 401

    def test_no_credential_is_kept_or_shown(self, box: Box, http: requests.Session) -> None:
        signal(box, http)
        find(box, http, apiKey=URL["api_key"])
        end(box, http)
        paths = ("events", "events/calls", "events/making", "functions")
        shown = [http.get(f"{box.control_url}/{path}", timeout=60).text for path in paths]
        declared = http.put(f"{box.control_url}/events/credentials", json={"auth": BASIC}, timeout=60)
        assert declared.json() == {"auth": BASIC | {"password": "****"}, "token_seconds": 900}
        assert "TERMINATED" in shown[1]
        assert "canary" not in "".join(shown)

    @pytest.mark.parametrize(
        ("auth", "message"),
        [
            (None, "auth.type must be one of"),
            (URL, "the REST API takes no key in a URL"),
            (URL | {"type": "any"}, "the REST API takes no key in a URL"),
            ({"type": "basic", "username": "u"}, "auth must contain"),
        ],
    )
    def test_a_declaration_that_can_not_work_changes_nothing(
        self, box: Box, http: requests.Session, auth: object, message: str
    ) -> None:
        with pytest.raises(InvalidError, match=re.escape(message)) as raised:
            box.events.declare(auth)
        assert "canary" not in str(raised.value)
        with pytest.raises(InvalidError, match="token_seconds"):
            box.events.declare(BASIC, -1)
        assert find(box, http).status_code == 200


class TestFaults:
    @pytest.mark.parametrize(("route", "ask", "other"), [("events", find, end), ("event", end, find)])
    def test_each_route_meets_its_own(self, box: Box, http: requests.Session, route: str, ask: Any, other: Any) -> None:
        box.script(
            [
                {"kind": "status", "status": 429, "retry_after": "2", "on": route},
                {"kind": "html", "status": 502, "on": route},
            ]
        )
        signal(box, http)
        assert other(box, http).status_code == 200
        signal(box, http)
        first, second, third = (ask(box, http) for _ in range(3))
        assert (first.status_code, first.headers["Retry-After"], first.json()["code"]) == (429, "2", 429)
        assert (second.status_code, second.headers["Content-Type"]) == (502, "text/html;charset=utf-8")
        assert third.status_code == 200
        tries = [(each.status, each.accepted, each.fault) for each in box.events.calls.all() if each.route == route]
        assert tries == [(429, False, "status"), (502, False, "html"), (200, True, None)]

    @pytest.mark.parametrize(
        ("kind", "status"), [("reset", "ACTIVE"), ("accept_then_reset", "TERMINATED"), ("reset_body", "TERMINATED")]
    )
    def test_what_is_cut_off_has_ended_an_event_or_not(
        self, box: Box, http: requests.Session, kind: str, status: str
    ) -> None:
        signal(box, http)
        box.script([{"kind": kind, "on": "event"}])
        with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
            end(box, http)
        assert [each["status"] for each in found(box, http)] == [status]
        assert box.events.calls.all()[0].status == (200 if kind == "reset_body" else None)

    def test_a_slow_answer_does_not_come_before_its_time(self, box: Box, http: requests.Session) -> None:
        signal(box, http)
        box.script([{"kind": "slow", "seconds": 600, "on": "event"}])
        change = {"id": box.events.all()[0].id, "status": "TERMINATED"}
        with pytest.raises(requests.ReadTimeout):
            http.post(f"{box.xmatters_url}/api/xm/1/events", json=change, timeout=(60, 0.2))

    @pytest.mark.parametrize(("accept", "answer", "status"), [(True, 200, "TERMINATED"), (False, 504, "ACTIVE")])
    def test_a_slow_answer_comes_in_the_end(
        self, box: Box, http: requests.Session, accept: bool, answer: int, status: str
    ) -> None:
        signal(box, http)
        box.script([{"kind": "slow", "seconds": 0.05, "accept": accept, "on": "event"}])
        late = end(box, http)
        assert (late.status_code, box.events.all()[0].status) == (answer, status)

    def test_truncated_json_is_a_whole_answer(self, box: Box, http: requests.Session) -> None:
        signal(box, http)
        box.script([{"kind": "truncated_json", "on": "events"}])
        answer = find(box, http)
        assert (answer.status_code, len(answer.content)) == (200, int(answer.headers["Content-Length"]))
        with pytest.raises(requests.JSONDecodeError):
            answer.json()

    def test_a_fault_does_not_let_wrong_credentials_in(self, box: Box, http: requests.Session) -> None:
        signal(box, http)
        box.script([{"kind": "truncated_json", "on": "event"}])
        http.auth = ("asker", "wrong")
        assert end(box, http).status_code == 401
        assert box.events.all()[0].status == "ACTIVE"

    def test_triggers_go_on_as_before(self, box: Box, http: requests.Session) -> None:
        box.script([{"kind": "reset", "on": "events"}, {"kind": "reset", "on": "event"}])
        assert signal(box, http) == box.signals()[0].request_id


class TestControl:
    def test_what_was_asked_is_listed_and_forgotten(self, box: Box, http: requests.Session) -> None:
        request_id = signal(box, http)
        find(box, http, request_id, limit=10)
        name = box.events.all()[0].id
        change(box, http, name)
        url = f"{box.control_url}/events"
        calls = http.get(f"{url}/calls", timeout=60).json()["calls"]
        assert [each | {"index": 0, "received_at": ""} for each in calls] == [
            {
                "index": 0, "received_at": "", "route": route, "environment_id": None, "incident_id": None,
                "query": query, "document": document, "status": 200, "accepted": True, "fault": None,
            }
            for route, query, document in (
                ("events", {"requestId": request_id, "limit": "10"}, None),
                ("event", {}, {"id": name, "status": "TERMINATED"}),
            )
        ]  # fmt: skip
        assert http.delete(url, timeout=60).json() == {"events": []}
        assert http.get(f"{url}/calls", timeout=60).json() == {"calls": []}
        assert len(box.signals()) == 1

    def test_events_are_listed_by_incident_even_if_they_are_not_found_yet(
        self, box: Box, http: requests.Session
    ) -> None:
        making = f"{box.control_url}/events/making"
        assert http.get(making, timeout=60).json() == {"per_signal": 1, "delay_seconds": 0}
        made = http.put(making, json={"delay_seconds": 60}, timeout=60).json()
        assert made == {"per_signal": 1, "delay_seconds": 60}
        first, second = signal(box, http, "i1"), signal(box, http, "i2")
        url = f"{box.control_url}/events"
        listed = http.get(url, timeout=60).json()["events"]
        assert [each["request_id"] for each in listed] == [first, second]
        [of_one] = http.get(url, params={"incident_id": "i2"}, timeout=60).json()["events"]
        assert of_one == listed[1]
        assert of_one.keys() == {"id", "number", "request_id", "incident_id", "created", "status", "terminated"}
        assert [each.request_id for each in box.events.of_incident("i2")] == [second]
        assert found(box, http) == []

    @pytest.mark.parametrize(
        ("path", "content", "message"),
        [
            ("making", {"per_signal": -1}, "making.per_signal must be bigger"),
            ("making", {"per_signal": 1, "delay_seconds": "5"}, "making.delay_seconds must be number"),
            ("making", {"pages": 1}, "'pages'"),
            ("credentials", {}, "must contain ['auth']"),
            ("credentials", {"auth": URL}, "the REST API takes no key in a URL"),
        ],
    )
    def test_what_can_not_be_used_names_the_key_and_changes_nothing(
        self, box: Box, http: requests.Session, path: str, content: Any, message: str
    ) -> None:
        answer = http.put(f"{box.control_url}/events/{path}", json=content, timeout=60)
        assert answer.status_code == 400
        assert message in answer.json()["error"]
        assert len(found(box, http, signal(box, http))) == 1

    def test_a_stand_in_of_its_own_process_tells_the_same(self, tmp_path: Path) -> None:
        vendors = background.start(tmp_path / "standin", ROOT)
        try:
            trigger = vendors.add_function(str(uuid.uuid4()), "k")
            vendors.let_into_rest(BASIC)
            vendors.make_events(per_signal=2)
            request_id = requests.post(trigger, json={"id": "i1"}, timeout=60).json()["requestId"]
            assert [each["request_id"] for each in vendors.events("i1")] == [request_id] * 2
            assert vendors.events("i2") == []
            url = f"{vendors.xmatters_url}/api/xm/1/events"
            page = requests.get(url, params={"requestId": request_id}, auth=LOGIN, timeout=60).json()
            assert page["total"] == 2
            [asked] = vendors.event_calls()
            assert (asked["route"], asked["query"]) == ("events", {"requestId": request_id})
            vendors.let_into_bigpanda("api-key")
            vendors.let_app_into_bigpanda("app-1")
            told = {"event_type": "incident#new", "incident_id": "i1", "app_key": "app-1"}
            release = f"{vendors.bigpanda_url}/resources/v2.1/outbound/callback"
            assert requests.post(release, json=told, headers={"Authorization": "Bearer api-key"}, timeout=60).ok
            assert [each["document"]["event_type"] for each in vendors.releases("i1")] == ["incident#new"]
        finally:
            assert background.stop(tmp_path / "standin")
