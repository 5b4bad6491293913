"""The webhook through the deployed API: bytes pass unchanged, and refusals name their reason."""

import base64

import pytest
import requests

from sandbox import local
from sandbox.server.client import StandIn

HEADERS = {"Authorization": f"Bearer {local.INBOUND_TOKEN}", "Content-Type": "application/json"}


def post(cloud: local.Local, body: bytes, query: str = "", **headers: str) -> requests.Response:
    url = f"{cloud.api_url}/bigpanda/{local.CHANNEL}{query}"
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return requests.post(url, data=body, headers=HEADERS | named, timeout=30)


@pytest.mark.parametrize(
    "body",
    [
        b'{"incident": {"id": "e2e-1"}}',
        b'\r\n{ "incident":\t{"id":"e2e-2","x":"\xc3\xa9\xf0\x9f\x98\x80\\u00e9"} }\r\n',
        b'{"id": "first", "id": "e2e-3"}',
    ],
)
def test_share_reaches_xmatters_byte_for_byte_through_the_deployed_api(
    cloud: local.Local, xmatters: StandIn, body: bytes
) -> None:
    before = len(xmatters.signals())
    answer = post(cloud, body, "?recipients=On%20Call%20%26%20DBA,jdoe")
    assert (answer.status_code, answer.json()["outcome"]) == (200, "delivered")
    [signal] = xmatters.signals()[before:]
    assert base64.b64decode(signal["body_base64"]) == body
    assert signal["recipients"] == [*local.RECIPIENTS, "On Call & DBA", "jdoe"]
    assert signal["request_id"] == answer.json()["request_id"]


@pytest.mark.parametrize(
    ("body", "headers", "status", "says"),
    [
        (b'{"id": "\xff"}', {}, 400, "body: is not UTF-8"),
        (b'{"id": "a", "x": "' + b"x" * 4_194_304 + b'"}', {}, 413, "4194304"),
        (b'{"id": "a"}', {"Authorization": "Bearer wrong"}, 401, "credentials"),
    ],
)
def test_refused_request_names_its_reason_and_signals_nothing(
    cloud: local.Local, xmatters: StandIn, body: bytes, headers: dict[str, str], status: int, says: str
) -> None:
    before = len(xmatters.signals())
    answer = post(cloud, body, **headers)
    assert (answer.status_code, says in answer.json()["detail"]) == (status, True)
    assert len(xmatters.signals()) == before
