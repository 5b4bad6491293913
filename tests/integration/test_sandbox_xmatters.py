"""The xMatters stand-in over real sockets: its answers, its records of signals, and scripted faults."""

import contextlib
import gzip
import json
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from sandbox.http.schema import InvalidError
from sandbox.server.in_process import Box, running
from tests.waiting import until

ROOT = Path(__file__).parents[2]
URL = {"type": "url", "api_key": "canary-url-key"}
BASIC = {"type": "basic", "username": "relay", "password": "canary-password"}
API_KEY = {"type": "api_key", "key": "x-api-key-canary", "secret": "canary-secret"}
OAUTH = {"type": "oauth", "client_id": "client-1", "username": "relay", "password": "canary-password"}
ANY = URL | BASIC | API_KEY | OAUTH | {"type": "any"}
GRANT_KEYS = ("client_id", "username", "password")
PASSWORD_GRANT = {"grant_type": "password"} | {key: OAUTH[key] for key in GRANT_KEYS}


@pytest.fixture
def http() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


@contextlib.contextmanager
def connected(box: Box) -> Iterator[socket.socket]:
    """Yield a TCP connection to the xMatters stand-in."""
    host, port = box.xmatters_url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        yield connection


def raw_signal(box: Box, url: str) -> bytes:
    """Return the bytes of an HTTP request for a signal with an empty body."""
    path = url.removeprefix(box.xmatters_url)
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode()


def token(box: Box, http: requests.Session, form: dict[str, str] = PASSWORD_GRANT) -> requests.Response:
    return http.post(f"{box.xmatters_url}/api/xm/1/oauth2/token", data=form, timeout=60)


class TestTrigger:
    def test_an_accepted_signal_gets_a_request_id_and_is_kept(self, box: Box, http: requests.Session) -> None:
        trigger = box.declare(URL)
        before = datetime.now(UTC)
        answer = http.post(trigger.url, data=b'{"incident": {"id": "i1"}}', headers={"X-Note": "kept"}, timeout=60)

        assert answer.status_code == 202
        assert answer.headers["Content-Type"] == "application/json;charset=utf-8"
        request_id = answer.json()["requestId"]
        assert answer.content == b'{"requestId":"%s"}' % str(uuid.UUID(request_id)).encode()
        assert answer.headers["x-trace"] == request_id
        [kept] = box.signals()
        assert (kept.function, kept.request_id, kept.auth) == (trigger.function, request_id, "url")
        assert (kept.status, kept.accepted, kept.fault) == (202, True, None)
        assert (kept.body, kept.incident_id) == ({"incident": {"id": "i1"}}, "i1")
        assert kept.headers["x-note"] == "kept"
        assert before <= kept.received_at <= datetime.now(UTC)

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"not json",
            b"\xff\x00",
            b'{"a": NaN}',
            b"[" * 200_000,
            b'\xef\xbb\xbf{"a": 1}',
            b"9" * 5000,
            b"x" * 5_000_000,
        ],
        ids=["empty", "text", "binary", "nan", "deep", "byte order mark", "huge number", "5 MB"],
    )
    def test_any_body_is_accepted_and_kept_byte_for_byte(self, box: Box, http: requests.Session, body: bytes) -> None:
        assert http.post(box.declare(URL).url, data=body, timeout=60).status_code == 202
        assert box.signals()[0].body_bytes == body
        listed = http.get(f"{box.control_url}/signals", timeout=60).json()["signals"]
        assert listed[0]["body"] is None

    def test_a_compressed_body_stays_as_it_was_sent(self, box: Box, http: requests.Session) -> None:
        body = gzip.compress(b'{"id": 1}')
        http.post(box.declare(URL).url, data=body, headers={"Content-Encoding": "gzip"}, timeout=60)
        assert box.signals()[0].body_bytes == body

    @pytest.mark.parametrize(
        ("query", "names"),
        [
            ("", ()),
            ("&recipients=", ()),
            ("&recipients=epearson,Cloud%20Devops", ("epearson", "Cloud Devops")),
            ("&recipients=a%2Cb", ("a", "b")),
            ("&recipients=a,,%20b&recipients=c", ("a", "b", "c")),
            ("&recipients=Caf%C3%A9%20%26%20Co", ("Café & Co",)),
            ("&recipients=jdoe%7CWork%20Phone", ("jdoe|Work Phone",)),
            ("&recipients=" + "long," * 6000, ("long",) * 6000),
        ],
    )
    def test_recipients_are_read_from_the_query(
        self, box: Box, http: requests.Session, query: str, names: tuple[str, ...]
    ) -> None:
        http.post(box.declare(URL).url + query, timeout=60)
        assert box.signals()[0].recipients == names

    def test_an_unknown_function_is_404_and_no_signal(self, box: Box, http: requests.Session) -> None:
        unknown = f"{box.xmatters_url}/api/integration/1/functions/{uuid.uuid4()}/triggers?apiKey=k"
        answer = http.post(unknown, timeout=60)
        assert (answer.status_code, answer.json()["code"], answer.json()["reason"]) == (404, 404, "Not Found")
        assert box.signals() == []
        assert [(each.status, each.accepted, each.request_id) for each in box.attempts()] == [(404, False, None)]

    def test_other_methods_and_paths_are_refused(self, box: Box, http: requests.Session) -> None:
        assert http.get(box.declare(URL).url, timeout=60).status_code == 405
        assert http.post(f"{box.xmatters_url}/api/integration/1/functions", timeout=60).status_code == 404
        assert box.attempts() == []

    def test_a_kept_alive_connection_gets_each_answer_in_one_piece(self, box: Box) -> None:
        # In two writes, Nagle's algorithm against delayed acknowledgements costs 40 ms a call.
        with connected(box) as connection:
            for _ in range(20):
                connection.sendall(raw_signal(box, box.declare(URL).url))
                head, _, body = connection.recv(65536).partition(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 202 Accepted\r\n")
                assert json.loads(body)["requestId"]

    def test_many_callers_at_once_lose_nothing(self, box: Box) -> None:
        trigger = box.declare(URL)

        def post_some(caller: int) -> None:
            with requests.Session() as session:
                session.trust_env = False
                for number in range(25):
                    session.post(trigger.url, json={"id": f"{caller}-{number}"}, timeout=60)

        with ThreadPoolExecutor(8) as callers:
            list(callers.map(post_some, range(8)))
        assert {each.incident_id for each in box.signals()} == {f"{c}-{n}" for c in range(8) for n in range(25)}
        indexes = [each.index for each in box.signals()]
        assert indexes == sorted(set(indexes))


class TestCredentials:
    @pytest.mark.parametrize("trigger_auth", [BASIC, ANY], ids=["basic", "any"])
    def test_basic(self, box: Box, http: requests.Session, trigger_auth: dict[str, str]) -> None:
        url = box.declare(trigger_auth).url.partition("?")[0]
        assert http.post(url, auth=("relay", "canary-password"), timeout=60).status_code == 202
        assert box.signals()[0].auth == "basic"

    @pytest.mark.parametrize("trigger_auth", [API_KEY, ANY], ids=["api_key", "any"])
    def test_api_key(self, box: Box, http: requests.Session, trigger_auth: dict[str, str]) -> None:
        url = box.declare(trigger_auth).url.partition("?")[0]
        assert http.post(url, auth=(API_KEY["key"], API_KEY["secret"]), timeout=60).status_code == 202
        assert box.signals()[0].auth == "api_key"

    @pytest.mark.parametrize("trigger_auth", [OAUTH, ANY], ids=["oauth", "any"])
    def test_oauth(self, box: Box, http: requests.Session, trigger_auth: dict[str, str]) -> None:
        url = box.declare(trigger_auth).url.partition("?")[0]
        access = token(box, http).json()["access_token"]
        assert http.post(url, headers={"Authorization": f"bearer {access}"}, timeout=60).status_code == 202
        assert box.signals()[0].auth == "oauth"

    @pytest.mark.parametrize(
        ("declared", "shown", "seen"),
        [
            (URL, ("?apiKey=wrong", None), "url"),
            (URL, ("", None), None),
            (URL, ("", "Basic cmVsYXk6Y2FuYXJ5LXBhc3N3b3Jk"), "basic"),
            (BASIC, ("?apiKey=canary-url-key", None), "url"),
            (BASIC, ("", "Basic !!!"), "basic"),
            (BASIC, ("", "Basic bm9jb2xvbg=="), "basic"),
            (BASIC, ("", "Basic cmVsYXk6d3Jvbmc="), "basic"),
            (ANY, ("?apiKey=wrong", "Digest abc"), "url"),
        ],
    )
    def test_anything_else_is_401_with_the_error_object(
        self,
        box: Box,
        http: requests.Session,
        declared: dict[str, str],
        shown: tuple[str, str | None],
        seen: str | None,
    ) -> None:
        query, authorization = shown
        url = box.declare(declared).url.partition("?")[0] + query
        headers = {"Authorization": authorization} if authorization else {}
        answer = http.post(url, headers=headers, timeout=60)
        assert answer.status_code == 401
        assert {"code": 401, "reason": "Unauthorized"}.items() <= answer.json().items()
        assert [(each.auth, each.accepted) for each in box.attempts()] == [(seen, False)]

    def test_a_basic_trigger_refuses_an_api_key(self, box: Box, http: requests.Session) -> None:
        trigger = box.declare(BASIC | {"username": API_KEY["key"]})
        assert http.post(trigger.url, auth=(API_KEY["key"], BASIC["password"]), timeout=60).status_code == 401

    def test_no_credential_is_kept_or_shown(self, http: requests.Session) -> None:
        cookies = {"Cookie": "session=canary-cookie", "Proxy-Authorization": "Basic canary-proxy"}
        with running() as box:
            http.post(box.declare(ANY).url, auth=("relay", "canary-password"), headers=cookies, timeout=60)
            http.post(box.declare(OAUTH).url, headers={"Authorization": "Bearer canary-token"}, timeout=60)
            token(box, http)
            shown = [
                http.get(f"{box.control_url}/{what}", timeout=60).text for what in ("signals", "functions", "tokens")
            ]
            assert [each.accepted for each in box.attempts()] == [True, False]
        assert all("relay" in each or "grant_type" in each or "body_base64" in each for each in shown)
        assert "canary" not in "".join(shown)
        assert "authorization" not in shown[0].lower()

    @pytest.mark.parametrize(
        ("declared", "message"),
        [
            (None, "auth.type must be one of"),
            ({"type": "digest"}, "auth.type must be one of url, basic, api_key, oauth, any"),
            ({"type": "url"}, "auth must contain ['api_key']"),
            ({"type": "url", "api_key": 5}, "auth.api_key must be string"),
            ({"type": "url", "api_key": "k", "password": "p"}, "'password'"),
            ({"type": "api_key", "key": "canary", "secret": "s"}, "auth.key must match pattern ^x-api-key-"),
            ({"type": "any", "username": "u"}, "auth of type any must hold"),
        ],
    )
    def test_a_declaration_that_cannot_work_names_its_key(self, box: Box, declared: object, message: str) -> None:
        with pytest.raises(InvalidError) as raised:
            box.declare(declared)
        assert message in str(raised.value)
        assert "canary" not in str(raised.value)


class TestTokens:
    def test_a_password_grant_answers_as_documented(self, box: Box, http: requests.Session) -> None:
        box.declare(OAUTH)
        answer = token(box, http)
        assert answer.status_code == 200
        content = answer.json()
        assert set(content) == {"access_token", "token_type", "refresh_token", "expires_in", "jti"}
        assert (content["token_type"], content["expires_in"]) == ("bearer", 900)
        assert content["access_token"].count(".") == 2
        assert [(each.grant_type, each.status) for each in box.token_requests()] == [("password", 200)]

    @pytest.mark.parametrize(
        ("form", "code"),
        [
            ({}, "invalid_request"),
            ({"grant_type": "client_credentials"}, "unsupported_grant_type"),
            (PASSWORD_GRANT | {"password": "wrong"}, "invalid_grant"),
            ({"grant_type": "refresh_token", "client_id": "client-1"}, "invalid_grant"),
        ],
    )
    def test_a_grant_that_is_not_due_is_refused(
        self, box: Box, http: requests.Session, form: dict[str, str], code: str
    ) -> None:
        box.declare(OAUTH)
        answer = token(box, http, form)
        assert (answer.status_code, answer.json()["error"]) == (400, code)

    def test_a_token_works_until_it_expires_and_a_refresh_makes_a_new_one(self, http: requests.Session) -> None:
        now = [datetime(2030, 1, 1, tzinfo=UTC)]
        with running(now=lambda: now[0]) as box:
            trigger = box.declare(OAUTH, token_seconds=60)
            first = token(box, http).json()

            def status(access: str) -> int:
                headers = {"Authorization": f"Bearer {access}"}
                return http.post(trigger.url, headers=headers, timeout=60).status_code

            now[0] += timedelta(seconds=59)
            assert status(first["access_token"]) == 202
            now[0] += timedelta(seconds=1)
            assert status(first["access_token"]) == 401
            renewal = {"grant_type": "refresh_token", "client_id": "client-1"}
            second = token(box, http, renewal | {"refresh_token": first["refresh_token"]}).json()
            assert status(second["access_token"]) == 202
            assert second["expires_in"] == 60

    def test_revoked_and_foreign_tokens_are_invalid_tokens(self, box: Box, http: requests.Session) -> None:
        mine = box.declare(OAUTH)
        others = box.declare(OAUTH | {"username": "somebody-else"})
        headers = {"Authorization": f"Bearer {token(box, http).json()['access_token']}"}
        assert http.post(mine.url, headers=headers, timeout=60).status_code == 202
        assert http.post(others.url, headers=headers, timeout=60).status_code == 401
        http.delete(f"{box.control_url}/tokens", timeout=60)
        answer = http.post(mine.url, headers=headers, timeout=60)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_token")
        assert box.attempts()[-1].auth == "oauth"

    def test_faults_on_the_token_route_leave_triggers_alone(self, box: Box, http: requests.Session) -> None:
        trigger = box.declare(URL)
        box.declare(OAUTH)
        box.script([{"kind": "status", "status": 503, "on": "token"}])
        assert http.post(trigger.url, timeout=60).status_code == 202
        assert token(box, http).status_code == 503
        assert token(box, http).status_code == 200
        assert [(each.status, each.fault) for each in box.token_requests()] == [(503, "status"), (200, None)]


class TestFaults:
    def tried(self, box: Box) -> tuple[int | None, bool, str | None]:
        [attempt] = box.attempts()
        return attempt.status, attempt.accepted, attempt.fault

    def test_a_status_comes_with_the_error_object_and_rings_nobody(self, box: Box, http: requests.Session) -> None:
        box.script([{"kind": "status", "status": 429, "retry_after": "2"}])
        answer = http.post(box.declare(URL).url, timeout=60)
        assert (answer.status_code, answer.headers["Retry-After"], answer.json()["code"]) == (429, "2", 429)
        assert self.tried(box) == (429, False, "status")

    def test_no_retry_after_unless_scripted(self, box: Box, http: requests.Session) -> None:
        box.script([{"kind": "status", "status": 429}])
        assert "Retry-After" not in http.post(box.declare(URL).url, timeout=60).headers

    def test_html(self, box: Box, http: requests.Session) -> None:
        box.script([{"kind": "html", "status": 503}])
        answer = http.post(box.declare(URL).url, timeout=60)
        assert answer.headers["Content-Type"].startswith("text/html")
        assert answer.text.startswith("<html>")
        assert self.tried(box) == (503, False, "html")

    def test_redirect(self, box: Box, http: requests.Session) -> None:
        box.script([{"kind": "redirect", "location": "https://elsewhere.example/"}])
        answer = http.post(box.declare(URL).url, timeout=60, allow_redirects=False)
        assert (answer.status_code, answer.headers["Location"]) == (302, "https://elsewhere.example/")
        assert self.tried(box) == (302, False, "redirect")

    def test_a_slow_signal_has_rung_before_the_caller_gives_up(self, box: Box, http: requests.Session) -> None:
        box.script([{"kind": "slow", "seconds": 30}])
        with pytest.raises(requests.ReadTimeout):
            http.post(box.declare(URL).url, timeout=(60, 0.2))
        until(box.attempts)
        assert self.tried(box) == (202, True, "slow")

    def test_a_slow_signal_that_does_not_ring_is_a_504(self, box: Box, http: requests.Session) -> None:
        box.script([{"kind": "slow", "seconds": 0.05, "accept": False}])
        assert http.post(box.declare(URL).url, timeout=60).status_code == 504
        assert self.tried(box) == (504, False, "slow")

    def test_a_drip_is_a_whole_answer_in_the_end(self, box: Box, http: requests.Session) -> None:
        box.script([{"kind": "drip", "seconds": 0.1}])
        answer = http.post(box.declare(URL).url, timeout=60)
        assert answer.json()["requestId"] == answer.headers["x-trace"] == box.signals()[0].request_id
        assert http.post(box.declare(URL).url, timeout=60).status_code == 202

    def test_a_drip_sends_one_byte_and_makes_the_next_ones_wait(self, box: Box) -> None:
        box.script([{"kind": "drip", "seconds": 3600}])
        with connected(box) as connection:
            connection.sendall(raw_signal(box, box.declare(URL).url))
            assert connection.recv(65536) == b"H"

    @pytest.mark.parametrize(("kind", "rang"), [("reset", False), ("accept_then_reset", True)])
    def test_a_reset_comes_before_any_answer(self, box: Box, http: requests.Session, kind: str, rang: bool) -> None:
        box.script([{"kind": kind}])
        with pytest.raises(requests.ConnectionError, match="reset by peer"):
            http.post(box.declare(URL).url, timeout=60)
        assert self.tried(box) == (None, rang, kind)

    def test_a_reset_in_the_body_comes_after_the_head(self, box: Box, http: requests.Session) -> None:
        box.script([{"kind": "reset_body"}])
        with http.post(box.declare(URL).url, timeout=60, stream=True) as answer:
            assert answer.status_code == 202
            with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
                _ = answer.content
        assert self.tried(box) == (202, True, "reset_body")

    def test_truncated_json_is_a_whole_answer(self, box: Box, http: requests.Session) -> None:
        box.script([{"kind": "truncated_json"}])
        answer = http.post(box.declare(URL).url, timeout=60)
        assert (answer.status_code, len(answer.content)) == (202, int(answer.headers["Content-Length"]))
        with pytest.raises(requests.JSONDecodeError):
            answer.json()
        assert self.tried(box) == (202, True, "truncated_json")

    def test_a_script_is_met_in_order_and_then_over(self, box: Box, http: requests.Session) -> None:
        url = box.declare(URL).url
        box.script([{"kind": "status", "status": 503, "times": 2}, {"kind": "html", "status": 502}])
        assert [http.post(url, timeout=60).status_code for _ in range(4)] == [503, 503, 502, 202]
        assert [each.fault for each in box.attempts()] == ["status", "status", "html", None]
        assert [each.status for each in box.signals()] == [202]

    def test_times_null_lasts_until_cleared(self, box: Box, http: requests.Session) -> None:
        url = box.declare(URL).url
        box.script([{"kind": "status", "status": 500, "times": None}])
        assert {http.post(url, timeout=60).status_code for _ in range(5)} == {500}
        http.delete(f"{box.control_url}/faults", timeout=60)
        assert http.post(url, timeout=60).status_code == 202

    def test_accept_then_status_rings_and_answers_the_status(self, box: Box, http: requests.Session) -> None:
        box.script([{"kind": "accept_then_status", "status": 504}])
        answer = http.post(box.declare(URL).url, timeout=60)
        assert (answer.status_code, answer.json()["reason"]) == (504, "Gateway Timeout")
        assert self.tried(box) == (504, True, "accept_then_status")

    @pytest.mark.parametrize(
        "fault",
        [{"kind": "accept_then_reset"}, {"kind": "truncated_json"}, {"kind": "accept_then_status", "status": 504}],
    )
    def test_a_fault_does_not_let_wrong_credentials_in(
        self, box: Box, http: requests.Session, fault: dict[str, object]
    ) -> None:
        box.script([fault])
        with contextlib.suppress(requests.ConnectionError):
            http.post(box.declare(URL).url + "-wrong", timeout=60)
        assert [each.accepted for each in box.attempts()] == [False]

    @pytest.mark.parametrize(
        ("script", "message"),
        [
            ({}, "faults must be a list"),
            (["reset"], "faults[0].kind must be one of"),
            ([{"kind": "reset"}, {"kind": "flood"}], "faults[1].kind must be one of status, html"),
            ([{"kind": "status"}], "faults[0] must contain ['status']"),
            ([{"kind": "status", "status": 99}], "faults[0].status must be bigger"),
            ([{"kind": "status", "status": 429, "retry_after": "2\r\nX: y"}], "faults[0].retry_after"),
            ([{"kind": "slow", "seconds": "5"}], "faults[0].seconds must be number"),
            ([{"kind": "slow", "seconds": -1}], "faults[0].seconds must be bigger"),
            ([{"kind": "redirect", "location": "x", "status": 200}], "faults[0].status must be bigger"),
            ([{"kind": "reset", "seconds": 1}], "'seconds'"),
            ([{"kind": "reset", "times": 0}], "faults[0].times must be bigger"),
            ([{"kind": "reset", "on": "everything"}], "faults[0].on must be one of"),
        ],
    )
    def test_a_script_that_cannot_work_names_entry_and_key_and_changes_nothing(
        self, box: Box, http: requests.Session, script: object, message: str
    ) -> None:
        url = f"{box.control_url}/faults"
        before = http.put(url, json=[{"kind": "reset", "times": None}], timeout=60).json()
        answer = http.put(url, json=script, timeout=60)
        assert answer.status_code == 400
        assert message in answer.json()["error"]
        assert http.get(url, timeout=60).json() == before != {"faults": []}


class TestListening:
    def test_closed_refuses_new_and_idle_connections_and_opens_on_the_same_port(
        self, box: Box, http: requests.Session
    ) -> None:
        url = box.declare(URL).url
        assert http.post(url, timeout=60).status_code == 202
        control = f"{box.control_url}/listening"
        assert http.put(control, json={"open": False}, timeout=60).json() == {"open": False}
        for _ in range(2):
            with pytest.raises(requests.ConnectionError, match="refused"):
                http.post(url, timeout=60)
        http.put(control, json={"open": False}, timeout=60)
        assert http.put(control, json={"open": True}, timeout=60).json() == {"open": True}
        http.put(control, json={"open": True}, timeout=60)
        assert http.post(url, timeout=60).status_code == 202
        assert len(box.attempts()) == 2

    @pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"open": 1}', b'{"open": true, "shut": 1}'])
    def test_nonsense_is_refused(self, box: Box, http: requests.Session, body: bytes) -> None:
        answer = http.put(f"{box.control_url}/listening", data=body, timeout=60)
        assert answer.status_code == 400
        assert answer.json()["error"]
        assert http.get(f"{box.control_url}/listening", timeout=60).json() == {"open": True}

    def test_stopping_does_not_wait_for_a_slow_call(self) -> None:
        with ThreadPoolExecutor(1) as caller, requests.Session() as session:
            session.trust_env = False
            with running() as box:
                box.script([{"kind": "slow", "seconds": 60}])
                call = caller.submit(session.post, box.declare(URL).url, timeout=120)
                until(box.attempts)
            # A stop that waited for the slow call would have let it be answered.
            assert isinstance(call.exception(timeout=120), requests.ConnectionError)

    def test_two_sandboxes_run_side_by_side_and_leave_nothing(self, http: requests.Session) -> None:
        with running() as one, running() as two:
            http.post(one.declare(URL).url, timeout=60)
            assert (len(one.signals()), len(two.signals())) == (1, 0)
        with pytest.raises(requests.ConnectionError, match="refused"):
            http.get(f"{one.control_url}/health", timeout=60)


class TestControl:
    def test_health_names_xmatters(self, box: Box, http: requests.Session) -> None:
        health = http.get(f"{box.control_url}/health", timeout=60).json()
        assert health == {"status": "ok", "xmatters_url": box.xmatters_url}

    def test_signals_are_listed_filtered_and_forgotten(self, box: Box, http: requests.Session) -> None:
        trigger = box.declare(URL)
        box.script([{"kind": "status", "status": 503}])
        bodies: list[Any] = [{"incident": {"id": "a"}}] * 2 + [{"id": 7}, {"incident": None}, []]
        for body in bodies:
            http.post(f"{trigger.url}&recipients=x", json=body, timeout=60)

        def listed(**query: Any) -> list[dict[str, Any]]:
            answer = http.get(f"{box.control_url}/signals", params=query, timeout=60)
            signals: list[dict[str, Any]] = answer.json()["signals"]
            return signals

        everything = listed()
        first = everything[0]["index"]
        assert [each["index"] - first for each in everything] == [0, 1, 2, 3, 4]
        assert [each["accepted"] for each in everything] == [False, True, True, True, True]
        assert everything[1].keys() == {
            "index", "received_at", "function", "request_id", "recipients", "auth", "headers",
            "body_base64", "body", "status", "accepted", "fault",
        }  # fmt: skip
        assert everything[1]["headers"]["content-type"] == "application/json"
        assert everything[1]["recipients"] == ["x"]
        assert [each["fault"] for each in listed(incident_id="a")] == ["status", None]
        assert [each["index"] - first for each in listed(incident_id="a", accepted="true")] == [1]
        assert [each["body"] for each in listed(incident_id="7")] == [{"id": 7}]
        assert listed(since_index=first + 4) == everything[4:]
        assert listed(since_index=first + 5) == []

        assert http.delete(f"{box.control_url}/signals", timeout=60).json() == {"signals": []}
        http.post(trigger.url, timeout=60)
        assert [each["index"] - first for each in listed()] == [5]

    @pytest.mark.parametrize("query", ["since_index=-1", "since_index=x", "accepted=maybe"])
    def test_a_filter_that_cannot_be_read_is_refused(self, box: Box, http: requests.Session, query: str) -> None:
        answer = http.get(f"{box.control_url}/signals?{query}", timeout=60)
        assert answer.status_code == 400
        assert query.partition("=")[0] in answer.json()["error"]

    def test_what_is_left_of_a_script_can_be_scripted_again(self, box: Box, http: requests.Session) -> None:
        script: list[dict[str, object]] = [
            {"kind": "status", "status": 429, "retry_after": "2", "times": 3},
            {"kind": "html", "status": 503},
            {"kind": "redirect", "location": "https://x.example/"},
            {"kind": "slow", "seconds": 5, "accept": True},
            {"kind": "drip", "seconds": 0.5},
            {"kind": "reset", "times": None},
            {"kind": "reset_body", "on": "token"},
            {"kind": "truncated_json"},
            {"kind": "accept_then_reset"},
            {"kind": "accept_then_status", "status": 504},
        ]
        url = f"{box.control_url}/faults"
        http.put(url, json=script, timeout=60)
        http.post(box.declare(URL).url, timeout=60)
        left = http.get(url, timeout=60).json()["faults"]
        assert left[0] == {"kind": "status", "status": 429, "retry_after": "2", "times": 2, "on": "trigger"}
        assert [each["kind"] for each in left] == [each["kind"] for each in script]
        assert http.put(url, json=left, timeout=60).json()["faults"] == left

    def test_functions_are_declared_changed_and_listed_masked(self, box: Box, http: requests.Session) -> None:
        function = str(uuid.uuid4())
        url = f"{box.control_url}/functions/{function.upper()}"
        made = http.put(url, json={"auth": URL, "token_seconds": 5}, timeout=60)
        assert (made.status_code, made.json()["token_seconds"]) == (200, 5)
        assert http.post(made.json()["url"], timeout=60).status_code == 202
        changed = http.put(url, json={"auth": BASIC}, timeout=60).json()
        assert http.post(changed["url"], auth=("relay", "canary-password"), timeout=60).status_code == 202
        assert http.post(made.json()["url"], timeout=60).status_code == 401
        functions = http.get(f"{box.control_url}/functions", timeout=60).json()["functions"]
        [listed] = [each for each in functions if each["function"] == function]
        assert listed["auth"] == {"type": "basic", "username": "relay", "password": "****"}

    @pytest.mark.parametrize(
        ("function", "content", "message"),
        [
            ("not-a-uuid", {"auth": URL}, "function must be a uuid"),
            ("11111111-0000-4000-8000-000000000000", {}, "function must contain ['auth']"),
            ("22222222-0000-4000-8000-000000000000", {"auth": {"type": "url"}}, "auth must contain"),
            ("33333333-0000-4000-8000-000000000000", {"auth": URL, "token_seconds": -1}, "token_seconds"),
        ],
    )
    def test_a_function_that_cannot_be_declared_is_refused(
        self, box: Box, http: requests.Session, function: str, content: dict[str, Any], message: str
    ) -> None:
        answer = http.put(f"{box.control_url}/functions/{function}", json=content, timeout=60)
        assert answer.status_code == 400
        assert message in answer.json()["error"]


class TestProcess:
    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "sandbox.server", *arguments]
        return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_says_where_it_is_and_stops_when_told(
        self, tmp_path: Path, http: requests.Session, number: signal.Signals
    ) -> None:
        ready_file = tmp_path / "ready.json"
        with self.start("--port", "0", "--xmatters-port", "0", "--ready-file", str(ready_file)) as process:
            assert process.stdout
            where = json.loads(process.stdout.readline())
            assert where["pid"] == process.pid
            assert json.loads(ready_file.read_text()) == where
            health = http.get(f"{where['control_url']}/health", timeout=60).json()
            assert health["xmatters_url"] == where["xmatters_url"]
            process.send_signal(number)
            rest, errors = process.communicate(timeout=60)
        assert (process.returncode, rest, errors) == (0, "", "")
        assert list(tmp_path.iterdir()) == []

    def test_a_taken_port_is_said_in_one_line(self, box: Box) -> None:
        port = box.control_url.rpartition(":")[2]
        with self.start("--port", port) as process:
            output, errors = process.communicate(timeout=60)
        assert (process.returncode, output, errors.count("\n")) == (1, "", 1)
        assert "in use" in errors
        assert port in errors

    def test_a_port_that_is_none_is_a_usage_error(self) -> None:
        with self.start("--port", "70000") as process:
            _, errors = process.communicate(timeout=60)
        assert process.returncode == 2
        assert "--port: must be a number from 0 to 65535" in errors
