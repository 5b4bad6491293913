"""One request to a host of the stack's settings: a heartbeat, or a canary's share. No failure quotes the URL."""

from collections.abc import Mapping

import pytest
import requests

from relay.deadline import Deadline
from relay.http.client import HttpClient
from relay.http.session import AllowList, HttpAnswer, Session
from tests.fakes import Call, Clock, FakeSession, Step

URL = "https://switch.example.com/ping/9f2c41d0-canary"


def beaten(
    *steps: Step, method: str = "GET", body: bytes | None = None, headers: Mapping[str, str] = {}
) -> tuple[str, FakeSession]:
    session, clock = FakeSession(*steps), Clock()
    client = HttpClient(session, clock=clock)
    return client.failure(method, URL, body, headers, Deadline(2.0, clock)), session


@pytest.mark.parametrize(
    ("method", "body", "headers"),
    [("GET", None, {}), ("POST", b"{1}", {"Authorization": "Bearer canary"})],
    ids=["heartbeat", "share of a canary"],
)
def test_request_is_sent_as_it_is_within_the_given_time(
    method: str, body: bytes | None, headers: dict[str, str]
) -> None:
    failure, session = beaten(HttpAnswer(202, {}, b"OK"), method=method, body=body, headers=headers)
    assert failure == ""
    assert session.calls == [Call(url=URL, body=body or b"", headers=headers, seconds=2.0, method=method)]


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


def test_no_host_but_that_of_the_url_is_called() -> None:
    client = HttpClient(Session(AllowList("HeartbeatUrl", ("switch.example.com",))))
    failure = client.failure("GET", "https://other.example.com/canary", None, {}, Deadline(1, Clock()))
    assert failure == "refused: the URL must not be called: its host is not among the stack's HeartbeatUrl"
