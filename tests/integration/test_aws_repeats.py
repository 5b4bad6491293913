"""The clients of AWS that functions use, against a server that fails: one repeat, and no wait of the SDK's."""

from collections.abc import Mapping
from contextlib import nullcontext
from http import HTTPStatus

import pytest

from relay.entrypoints import bootstrap
from relay.failures import LedgerError
from tests.integration.live import Received, Script, site
from tests.unit.entrypoints.test_bootstrap import ENVIRONMENT


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
