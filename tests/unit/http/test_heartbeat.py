"""One request to a host of the stack's settings: a heartbeat, or a canary's share. No failure quotes the URL."""

import pytest
import requests

from relay.deadline import Deadline
from relay.http.client import HttpClient
from relay.http.session import HttpAnswer
from tests.fakes import Call, Clock, FakeSession, Step

URL = "https://switch.example.com/ping/9f2c41d0-canary"
HEADERS = {"Authorization": "Bearer canary"}


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (HttpAnswer(202, {}, b"OK"), ""),
        (HttpAnswer(302, {"location": "https://elsewhere.example.com"}, b""), "HTTP 302"),
        (requests.ReadTimeout(URL), "timeout: no answer within 2.0 s"),
    ],
)
def test_request_is_sent_once_as_it_is_and_its_failure_has_a_reason_without_the_url(step: Step, expected: str) -> None:
    session, clock = FakeSession(step), Clock()
    failure = HttpClient(session, clock=clock).failure("POST", URL, b"{1}", HEADERS, Deadline(2.0, clock))
    assert failure == expected
    assert session.calls == [Call(url=URL, body=b"{1}", headers=HEADERS, seconds=2.0, method="POST")]
