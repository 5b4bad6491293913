"""The local cloud's emulator: no web page in a browser of this machine gets an answer from it."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import requests

from sandbox.cloud import emulator

# The key that every emulator of this kind takes, with a signature that it does not check.
QUERY = {
    "Version": "2010-05-08",
    "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
    "X-Amz-Credential": "test/{date:%Y%m%d}/us-east-1/iam/aws4_request",
    "X-Amz-Date": "{date:%Y%m%dT%H%M%SZ}",
    "X-Amz-SignedHeaders": "host",
    "X-Amz-Signature": "0" * 64,
    "X-Amz-Expires": "300",
}
PAGE = {"Origin": "https://evil.example"}


@pytest.fixture(scope="module")
def endpoint_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with emulator.started(tmp_path_factory.mktemp("cloud") / "emulator") as running:
        yield running.endpoint_url


def query(**members: str) -> dict[str, str]:
    """Return the query of a request to IAM, which needs no header and no body."""
    return {name: value.format(date=datetime.now(UTC)) for name, value in QUERY.items()} | members


def users(endpoint_url: str) -> str:
    answer = requests.get(endpoint_url, params=query(Action="ListUsers"), timeout=30)
    assert answer.status_code == 200
    return answer.text


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("POST", PAGE),
        ("POST", {"Origin": "null", "Content-Type": "text/plain"}),
        ("POST", {"Origin": "http://127.0.0.1:8000"}),
        ("GET", {"Sec-Fetch-Site": "cross-site"}),
        ("GET", {"Host": "rebound.evil.example"}),
        ("GET", {"Host": "127.0.0.1.evil.example"}),
        ("OPTIONS", PAGE | {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "*"}),
    ],
)
def test_request_of_a_web_page_is_refused_and_changes_nothing(
    endpoint_url: str, method: str, headers: dict[str, str]
) -> None:
    wanted = query(Action="CreateUser", UserName="mallory")
    answer = requests.request(method, endpoint_url, params=wanted, headers=headers, timeout=30)
    assert answer.status_code == 403
    assert not any("access-control" in name.lower() for name in answer.headers)
    assert "mallory" not in users(endpoint_url)


@pytest.mark.parametrize("headers", [{}, {"Host": "localhost"}, {"Host": "a1.execute-api.localhost:80"}])
def test_request_of_a_program_is_served(endpoint_url: str, headers: dict[str, str]) -> None:
    answer = requests.get(f"{endpoint_url}/_ministack/health", headers=headers, timeout=30)
    assert answer.status_code == 200


def test_program_of_this_machine_can_create_a_user(endpoint_url: str) -> None:
    """Show that the requests above do act when no page sends them."""
    answer = requests.post(endpoint_url, params=query(Action="CreateUser", UserName="operator"), timeout=30)
    assert answer.status_code == 200
    assert "operator" in users(endpoint_url)
