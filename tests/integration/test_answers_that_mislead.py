"""Malformed answers of a server: no share is lost, and no secret reaches the log."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from relay.failures import Reason
from relay.jobs.outcome import Outcome
from tests import samples
from tests.integration.account import Aws
from tests.integration.live import Live


@contextmanager
def answering(answer: bytes, *, stall: bool = False) -> Iterator[str]:
    """Yield the URL of a server that answers every request with these bytes; it then closes, or stalls."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while not over.is_set():
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(60)
                    request = b""
                    while b"}" not in request:
                        request += connection.recv(65536)
                    connection.sendall(answer)
                    if stall:
                        over.wait(60)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            over.set()
            server.shutdown(socket.SHUT_RDWR)
            thread.join(60)


def live_at(account: Aws, url: str) -> Live:
    account.put_secret("noc", samples.secret(url=f"{url}/triggers?apiKey=canary-key"))
    return Live(account)


@pytest.mark.parametrize("location", [b"\xff\xfe\xc3", b"http://[bad", b"https://evil.example.com/"])
def test_redirect_with_a_malformed_location_is_refused_and_dead_lettered(account: Aws, location: bytes) -> None:
    answer = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + location + b"\r\n\r\n"
    with answering(answer) as url:
        result = live_at(account, url).share()
    assert (result.outcome, result.reason, result.exchange.http_status) == (Outcome.QUEUED, Reason.REFUSED, 302)
    assert [job.stamps.http_status for job in account.dead_letters.jobs()] == [302]


def test_malformed_answer_header_puts_no_api_key_into_the_log(account: Aws, caplog: pytest.LogCaptureFixture) -> None:
    answer = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nx-trace: r1\r\nno colon here\r\n\r\n"
    with answering(answer) as url:
        result = live_at(account, url).share()
    assert result.outcome == Outcome.DELIVERED
    assert "canary-key" not in caplog.text
