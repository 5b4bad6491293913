"""Endpoint: how a request is read; answers, order of checks, time, faults, and what is logged and counted."""

import base64
import json
import math
from copy import replace
from typing import Any

import pytest

from relay.channels.authentication import Request
from relay.entrypoints.http_endpoints import read_body
from relay.failures import BadRequest
from tests import samples
from tests.fakes import FakeSession, Relay, Step, dies, slow

TOO_LARGE = b" " * 4_194_305
PLAIN = {"content-type": "text/plain"}


def new_relay(*steps: Step) -> Relay:
    return Relay(FakeSession(*steps or (samples.accepted(),)))


def test_delivered_share_is_answered_200_with_the_request_id() -> None:
    answer = new_relay().webhook.serve(samples.request())
    assert (answer.status, len(answer.document["delivery_id"])) == (200, 32)
    assert answer.document == {
        "outcome": "delivered",
        "delivery_id": answer.document["delivery_id"],
        "incident_id": "i1",
        "channel": "noc",
        "transition": "opened",
        "request_id": "r1",
    }


# Each request of these fails its check and all later ones: credentials, size, type, JSON.
@pytest.mark.parametrize(
    ("request_", "status", "error", "names"),
    [
        (samples.request(TOO_LARGE, headers=PLAIN), 401, "unauthorized", "credentials: missing or wrong"),
        (samples.request(TOO_LARGE, headers=samples.OPEN | PLAIN), 413, "too_large", "body: has more than 4194304"),
        (samples.request(b"{", headers=samples.OPEN | PLAIN), 415, "unsupported_media_type", ""),
        (samples.request(b"{"), 400, "bad_request", "body: is not JSON"),
        (samples.request(b"[]"), 400, "bad_request", "body: must be a JSON object"),
        (samples.request(b"{}"), 400, "bad_request", "incident.id: is missing"),
    ],
    ids=["credentials", "size", "type", "not json", "list", "no id"],
)
def test_first_check_that_fails_decides_the_answer_which_names_the_field(
    request_: Request, status: int, error: str, names: str
) -> None:
    relay = new_relay()
    answer = relay.webhook.serve(request_)
    assert (answer.status, answer.document["error"]) == (status, error)
    assert answer.document["detail"].startswith(names)
    assert set(answer.document) == {"error", "detail"}
    assert (relay.session.calls, relay.dynamodb.calls, relay.retries.messages) == ([], [], [])
    assert relay.recorder.metrics() == {"rejected_request": 1}


def test_every_401_has_the_same_bytes() -> None:
    relay = new_relay()
    wrong = [
        samples.request(headers={}),
        samples.request(headers={"authorization": "Bearer wrong"}),
        samples.request(headers={"authorization": "Basic !"}),
        samples.request(headers={"x-api-key": "wrong"}),
        samples.request(channel="ghost"),
        samples.request(channel="Not A Name/.."),
    ]
    assert len({json.dumps(relay.webhook.serve(each).to_response()) for each in wrong}) == 1


def test_inline_work_ends_within_eight_seconds_less_the_time_of_the_queue() -> None:
    relay = new_relay()
    relay.session.steps = [slow(relay.clock, math.inf, dies)]
    started = relay.clock.now
    assert relay.webhook.serve(samples.request()).status == 202
    assert relay.clock.now - started <= 6


def abandoned(*_: object) -> Any:
    """End work for a request in the way in which the watchdog abandons it."""
    raise TimeoutError


@pytest.mark.parametrize("fault", ["hangs", "raises"])
def test_fault_after_authentication_is_answered_503_and_the_body_is_logged(fault: str) -> None:
    relay = new_relay()
    if fault == "hangs":
        relay.webhook = replace(relay.webhook, take=abandoned)
    else:
        relay.retries.failure = ZeroDivisionError("canary-words")
    answer = relay.webhook.serve(samples.request())
    assert (answer.status, answer.document["outcome"], answer.document["reason"]) == (503, "unsafe", "internal")
    assert (answer.document["incident_id"], answer.document["channel"]) == (None, "noc")
    [last] = [line for line in relay.recorder.lines() if line["level"] == "CRITICAL"]
    expected = "TimeoutError" if fault == "hangs" else "ZeroDivisionError"
    assert (last["error"], last["raw_body"]) == (expected, samples.body().decode())
    assert "canary-words" not in relay.recorder.written()
    assert relay.recorder.metrics()["unsafe"] == 1


class TestFromEvent:
    def test_request_is_read_from_a_proxy_event(self) -> None:
        event = {
            "pathParameters": {"channel": "noc"},
            "headers": {"Authorization": "Bearer t", "X-API-Key": "k", "content-type": "application/json"},
            "multiValueQueryStringParameters": {"recipients": ["a, b", "c,a,,"], "other": ["x"]},
            "requestContext": {"requestId": "r1", "identity": {"sourceIp": "192.0.2.7"}},
            "body": "e30=",
            "isBase64Encoded": True,
        }
        assert Request.from_event(event) == Request(
            channel="noc",
            headers={"authorization": "Bearer t", "x-api-key": "k", "content-type": "application/json"},
            recipients=("a", "b", "c"),
            body="e30=",
            is_base64=True,
            id="r1",
            source="192.0.2.7",
        )
        assert Request.from_event({"queryStringParameters": {"recipients": "a, b"}}).recipients == ("a", "b")

    @pytest.mark.parametrize(
        "event",
        [
            dict.fromkeys(
                (
                    "pathParameters",
                    "headers",
                    "multiValueQueryStringParameters",
                    "requestContext",
                    "body",
                    "isBase64Encoded",
                )
            ),
            {"multiValueQueryStringParameters": {"recipients": None}, "queryStringParameters": {"recipients": ""}},
        ],
    )
    def test_missing_members_of_a_proxy_event_are_empty(self, event: dict[str, Any]) -> None:
        empty = Request(channel="", headers={}, recipients=(), body="", is_base64=False, id="")
        assert Request.from_event(event) == empty


def encoded(content: bytes, **changes: Any) -> Request:
    return samples.request(body=base64.b64encode(content).decode(), is_base64=True, **changes)


def refusal(request: Request) -> tuple[int, str]:
    with pytest.raises(BadRequest) as caught:
        read_body(request)
    return caught.value.status, caught.value.field


class TestReadBody:
    def test_body_is_read_as_the_bytes_that_were_sent(self) -> None:
        every = bytes(range(256))
        assert read_body(encoded(every)) == every
        assert read_body(samples.request(body='{"id": "é"}')) == '{"id": "é"}'.encode()

    def test_body_of_four_mebibytes_is_accepted_and_a_larger_one_is_413(self) -> None:
        full = b" " * 4_194_304
        assert read_body(encoded(full)) == full
        assert read_body(samples.request(full)) == full
        assert refusal(encoded(full + b" ")) == (413, "body")
        assert refusal(samples.request(full + b" ")) == (413, "body")
        assert refusal(samples.request(body="é" * (4_194_304 // 2 + 1))) == (413, "body")
        assert refusal(samples.request(body="=" * 9_000_000, is_base64=True)) == (413, "body")

    @pytest.mark.parametrize(
        "kind",
        [
            "application/json",
            "application/json; charset=utf-8",
            "application/problem+json",
            "",
        ],
    )
    def test_every_json_content_type_is_accepted(self, kind: str) -> None:
        assert read_body(samples.request(b"{}", headers={"content-type": kind})) == b"{}"
        assert read_body(samples.request(b"{}", headers={})) == b"{}"

    @pytest.mark.parametrize("kind", ["json", "application/jsonp", "text/x+json"])
    def test_other_content_types_are_415(self, kind: str) -> None:
        assert refusal(samples.request(b"{}", headers={"content-type": kind})) == (415, "content-type")

    @pytest.mark.parametrize("body", ["e30", "e30=\n", "!", "é"])
    def test_invalid_base64_body_is_400(self, body: str) -> None:
        assert refusal(samples.request(body=body, is_base64=True)) == (400, "body")
