"""The HTTP session over real sockets: bytes on the wire, keep-alive, limits, and hosts that hang or fail."""

import gzip
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from http import HTTPStatus
from typing import Any

import pytest
import requests

from relay.deadline import Deadline, time_limit
from relay.entrypoints import bootstrap
from relay.failures import LedgerError, Reason, SendError
from relay.http.client import HttpClient
from relay.http.session import MAX_ANSWER_BYTES, MAX_IDLE_SECONDS, HttpAnswer, Session, never_sent
from relay.ledger.table import Table
from relay.version import VERSION
from tests.fakes import Clock
from tests.integration.live import LOOPBACK, STUCK_SECONDS, Received, Script, Site, host, site
from tests.unit.entrypoints.test_bootstrap import ENVIRONMENT

ACCEPTED = (202, {"X-Trace": "r1"}, b'{"requestId": "r1"}')


@pytest.fixture
def plain() -> Iterator[Site]:
    with site(lambda _: ACCEPTED) as server:
        yield server


def post(session: Session, url: str, body: bytes = b"{}", seconds: float = 20, **headers: str) -> HttpAnswer:
    return session.call("POST", url, body=body, headers=headers, seconds=seconds)


def test_http_request_on_the_wire_has_no_headers_added_by_libraries(plain: Site) -> None:
    post(Session(LOOPBACK), plain.url + "/a?apiKey=k%2Fl&recipients=a%20b,c", b"\x00\xff{}", Authorization="Basic eA==")
    [received] = plain.received
    assert received == Received(
        "/a?apiKey=k%2Fl&recipients=a%20b,c",
        {
            "host": plain.url.removeprefix("http://"),
            "accept-encoding": "identity",
            "user-agent": f"bigpanda-xmatters-relay/{VERSION}",
            "accept": "application/json",
            "authorization": "Basic eA==",
            "content-length": "4",
        },
        b"\x00\xff{}",
    )


def test_request_abandoned_during_name_lookup_is_never_sent(plain: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    look_up = socket.getaddrinfo

    def slow(*args: Any, **kwargs: Any) -> Any:
        time.sleep(0.4)
        return look_up(*args, **kwargs)

    session = Session(LOOPBACK)
    with monkeypatch.context() as patched:
        patched.setattr(socket, "getaddrinfo", slow)
        with pytest.raises(requests.ConnectionError) as caught:
            post(session, plain.url, seconds=0.2)
    assert never_sent(caught.value)
    assert plain.received == []
    # The next request is not delayed either.
    assert post(session, plain.url).status == 202


def test_proxies_and_netrc_of_the_environment_are_ignored(
    plain: Site, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    netrc = tmp_path_factory.mktemp("home") / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password canary\n")
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert post(Session(LOOPBACK), plain.url).status == 202
    assert "authorization" not in plain.received[0].headers


class TestConnections:
    def test_one_connection_serves_many_signals(self, plain: Site) -> None:
        session = Session(LOOPBACK)
        for _ in range(10):
            post(session, plain.url)
        assert plain.connections == 1

    def test_connection_that_was_idle_for_too_long_is_not_reused(self, plain: Site) -> None:
        clock = Clock()
        session = Session(LOOPBACK, clock=clock)
        for passed in (0, MAX_IDLE_SECONDS, MAX_IDLE_SECONDS + 1):
            clock.now += passed
            post(session, plain.url)
        assert plain.connections == 2


class TestAnswers:
    def test_compressed_answer_body_is_decoded_and_truncated(self) -> None:
        bomb = gzip.compress(b"x" * 50_000_000)
        with site(lambda _: (500, {"Content-Encoding": "gzip"}, bomb)) as server:
            assert post(Session(LOOPBACK), server.url).body == b"x" * MAX_ANSWER_BYTES

    @pytest.mark.parametrize(
        "headers", [{"Content-Length": "999"}, {"Content-Encoding": "gzip"}, {"Transfer-Encoding": "chunked"}], ids=str
    )
    def test_answer_with_an_unreadable_body_keeps_its_status(self, headers: dict[str, str]) -> None:
        with site(lambda _: (202, headers | {"Connection": "close"}, b"not it")) as server:
            assert post(Session(LOOPBACK), server.url).status == 202


def test_malformed_header_of_an_answer_puts_no_api_key_into_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with host(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nno colon here\r\n\r\n") as server:
        assert post(Session(LOOPBACK), f"{server.url}/triggers?apiKey=canary-key").status == 202
    assert "canary-key" not in caplog.text


def test_https_server_without_a_certificate_gets_no_request() -> None:
    with host(b"HTTP/1.1 202 Accepted\r\n\r\n") as server, pytest.raises(requests.exceptions.SSLError) as caught:
        post(Session(LOOPBACK), server.url.replace("http:", "https:"))
    # The error does not show that the handshake failed, so the request counts as possibly sent.
    assert not never_sent(caught.value)


# Long enough for a loopback connection on a busy machine, short for the test.
SECONDS = 0.5


def ask(url: str, seconds: float = SECONDS) -> HttpAnswer:
    # The deadline's clock stands still: the session alone keeps to the time.
    return HttpClient(Session(LOOPBACK)).ask("POST", url, b"{}", {}, Deadline(seconds, Clock()))


class TestVendors:
    @pytest.mark.parametrize(
        ("at_once", "trickle"),
        [(b"", b""), (b"HTTP/1.1 202 Accepted\r\nX-Note: ", b"x")],
        ids=["silent", "header trickles"],
    )
    def test_host_that_sends_no_whole_headers_in_time_has_not_answered(self, at_once: bytes, trickle: bytes) -> None:
        with host(at_once, trickle) as server, pytest.raises(SendError) as caught:
            ask(server.url)
        assert (caught.value.reason, caught.value.may_have_acted) == (Reason.TIMEOUT, True)
        assert server.requests == 1

    @pytest.mark.parametrize(
        ("headers", "trickle"),
        [
            (b"Content-Length: 9999", b""),
            *((each, b"1") for each in (b"Content-Length: 9999", b"Transfer-Encoding: chunked", b"Connection: close")),
        ],
        ids=str,
    )
    def test_status_counts_although_the_body_never_ends(self, headers: bytes, trickle: bytes) -> None:
        with host(b"HTTP/1.1 202 Accepted\r\nX-Trace: r1\r\n" + headers + b"\r\n\r\n", trickle) as server:
            answer = ask(server.url)
        assert (answer.status, answer.headers["x-trace"]) == (202, "r1")

    def test_https_host_that_hangs_in_the_handshake_times_out(self) -> None:
        with host() as server, pytest.raises(SendError) as caught:
            ask(server.url.replace("http:", "https:"))
        assert caught.value.reason == Reason.TIMEOUT


def test_request_that_was_frozen_while_it_connected_is_not_sent(plain: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lambda froze the function, and it goes on hours later: a monotonic clock may not show it."""
    connect, now, asleep = socket.socket.connect, time.time, [0.0]

    def frozen(self: socket.socket, address: Any) -> None:
        connect(self, address)
        asleep[0] = 3600.0

    monkeypatch.setattr(socket.socket, "connect", frozen)
    monkeypatch.setattr(time, "time", lambda: now() + asleep[0])
    with pytest.raises(SendError) as caught:
        ask(plain.url, STUCK_SECONDS)
    assert (caught.value.reason, caught.value.may_have_acted) == (Reason.UNREACHABLE, False)
    assert plain.received == []


@pytest.mark.parametrize(("seconds", "asked"), [(STUCK_SECONDS, 2), (0.3, 1), (0.0, 0)])
def test_hanging_call_to_aws_is_repeated_within_its_time_limit_only(
    monkeypatch: pytest.MonkeyPatch, seconds: float, asked: int
) -> None:
    with host() as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", silent.url)
        table = Table(bootstrap._client("dynamodb", bootstrap._HASTE), "ledger", Clock())
        with time_limit(seconds), pytest.raises(LedgerError, match="ReadTimeout" if asked else "ConnectTimeout"):
            table.read("key")
        assert silent.requests == asked


def failing(statuses: list[int | None]) -> Script:
    """Return a script that answers each request with the next of these statuses, and drops the connection for None."""

    def script(_: Received) -> tuple[int, Mapping[str, str], bytes]:
        status = statuses.pop(0)
        if status is None:
            raise ConnectionResetError
        content = b"{}" if status == HTTPStatus.OK else b'{"__type": "x#ThrottlingException", "message": "no"}'
        return status, {"Connection": "close"}, content

    return script


@pytest.mark.parametrize(
    ("statuses", "requests", "is_read"),
    [
        ((None, 200), 2, True),
        ((500, 200), 2, True),
        ((None, 503, 200), 2, False),
        # An immediate repeat would be throttled as well.
        ((400, 200), 1, False),
    ],
    ids=str,
)
def test_failed_call_to_aws_is_repeated_once_and_at_once(
    monkeypatch: pytest.MonkeyPatch, statuses: tuple[int | None, ...], requests: int, is_read: bool
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("botocore.endpoint.time.sleep", waits.append)
    left = list(statuses)
    with site(failing(left)) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", server.url)
        table = bootstrap.job_worker(ENVIRONMENT).delivery.services.ledger.table
        with nullcontext() if is_read else pytest.raises(LedgerError):
            table.read("key")
    assert len(left) == len(statuses) - requests
    assert waits == [0] * (requests - 1)
