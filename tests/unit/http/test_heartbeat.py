"""Heartbeat: one GET request. The reason of its failure does not quote the URL."""

import pytest
import requests

from relay.deadline import Deadline
from relay.http.client import HttpClient
from relay.http.session import AllowList, HttpAnswer, Session
from tests.fakes import Clock, FakeSession, Step

URL = "https://switch.example.com/ping/9f2c41d0-canary"


def beaten(*steps: Step) -> tuple[str, FakeSession]:
    session, clock = FakeSession(*steps), Clock()
    client = HttpClient(session, clock=clock)
    return client.failure("GET", URL, None, {}, Deadline(2.0, clock)), session


def test_heartbeat_is_a_get_without_a_body_within_the_given_time() -> None:
    failure, session = beaten(HttpAnswer(200, {}, b"OK"))
    [call] = session.calls
    assert (failure, call.method, call.url, call.body, call.seconds) == ("", "GET", URL, b"", 2.0)


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (HttpAnswer(302, {"location": "https://elsewhere.example.com"}, b""), "HTTP 302"),
        (HttpAnswer(404, {}, b"canary"), "HTTP 404"),
        (requests.ReadTimeout(URL), "timeout: no answer within 2.0 s"),
        (requests.ConnectionError(URL), "unreachable: ConnectionError"),
    ],
)
def test_failure_has_a_reason_without_the_url(step: Step, reason: str) -> None:
    failure, session = beaten(step)
    assert failure == reason
    assert len(session.calls) == 1


def test_share_is_posted_with_its_header_and_bytes() -> None:
    session, clock = FakeSession(HttpAnswer(202, {}, b"{}"), HttpAnswer(403, {}, b"{}")), Clock()
    client, headers = HttpClient(session, clock=clock), {"Authorization": "Bearer canary"}
    url = "https://api.example.com/v1/bigpanda/noc"
    failures = [client.failure("POST", url, b"{1}", headers, Deadline(2.0, clock)) for _ in range(2)]
    assert failures == ["", "HTTP 403"]
    call = session.calls[0]
    assert (call.method, call.url, call.body) == ("POST", "https://api.example.com/v1/bigpanda/noc", b"{1}")
    assert call.headers["Authorization"] == "Bearer canary"


def test_no_host_but_that_of_the_url_is_called() -> None:
    client = HttpClient(Session(AllowList("HeartbeatUrl", ("switch.example.com",))))
    failure = client.failure("GET", "https://other.example.com/canary", None, {}, Deadline(1, Clock()))
    assert failure == "refused: the URL must not be called: its host is not among the stack's HeartbeatUrl"
