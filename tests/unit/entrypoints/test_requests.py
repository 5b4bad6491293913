import base64
from typing import Any

import pytest

from relay.channels.authentication import Reply, Request
from relay.entrypoints.authenticated_endpoint import read_body
from relay.failures import BadRequest
from tests import samples


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

    @pytest.mark.parametrize(
        "event",
        [
            {},
            {
                "pathParameters": None,
                "headers": None,
                "multiValueQueryStringParameters": None,
                "queryStringParameters": None,
                "requestContext": None,
                "body": None,
                "isBase64Encoded": None,
            },
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
            "APPLICATION/JSON",
            "application/problem+json",
            "text/json",
            "",
            " ",
        ],
    )
    def test_every_json_content_type_is_accepted(self, kind: str) -> None:
        assert read_body(samples.request(b"{}", headers={"content-type": kind})) == b"{}"
        assert read_body(samples.request(b"{}", headers={})) == b"{}"

    @pytest.mark.parametrize(
        "kind",
        [
            "text/plain",
            "application/xml",
            "application/x-www-form-urlencoded",
            "json",
            "application/jsonp",
            "text/x+json",
        ],
    )
    def test_other_content_types_are_415(self, kind: str) -> None:
        assert refusal(samples.request(b"{}", headers={"content-type": kind})) == (415, "content-type")

    @pytest.mark.parametrize("body", ["e30", "e30=\n", "!", "é"])
    def test_invalid_base64_body_is_400(self, body: str) -> None:
        assert refusal(samples.request(body=body, is_base64=True)) == (400, "body")


def test_reply_becomes_a_json_response_of_api_gateway() -> None:
    assert Reply(202, {"outcome": "queued", "id": "\ud800"}).to_response() == {
        "statusCode": 202,
        "headers": {"Content-Type": "application/json"},
        "body": '{"outcome": "queued", "id": "\\ud800"}',
        "isBase64Encoded": False,
    }
