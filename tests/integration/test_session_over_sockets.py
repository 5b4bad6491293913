"""The HTTP session over real sockets: bytes on the wire, keep-alive, and limits."""

import gzip
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from relay.http.session import MAX_ANSWER_BYTES, MAX_IDLE_SECONDS, HttpAnswer, Session, never_sent
from relay.version import VERSION
from tests.fakes import Clock
from tests.integration.live import LOOPBACK, Received, Site, host, site

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
