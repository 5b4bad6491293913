"""The clients of AWS that functions use, against a server that fails: one repeat, and no wait of the SDK's."""

from contextlib import nullcontext
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from relay.entrypoints import bootstrap
from relay.failures import LedgerError
from tests.unit.entrypoints.test_bootstrap import ENVIRONMENT


class FailingDynamoDb(ThreadingHTTPServer):
    """A server that answers each request with the next of its statuses, and drops the connection for None."""

    def __init__(self, *statuses: int | None) -> None:
        super().__init__(("127.0.0.1", 0), _DynamoDbHandler)
        self.statuses = list(statuses)


class _DynamoDbHandler(BaseHTTPRequestHandler):
    server: FailingDynamoDb

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.close_connection = True
        if status := self.server.statuses.pop(0):
            content = b"{}" if status == HTTPStatus.OK else b'{"__type": "x#ThrottlingException", "message": "no"}'
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Write no line for each request."""


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
    with FailingDynamoDb(*statuses) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", f"http://127.0.0.1:{server.server_port}")
        table = bootstrap.job_worker(ENVIRONMENT).delivery.services.ledger.table
        with nullcontext() if is_read else pytest.raises(LedgerError):
            table.read("key")
        server.shutdown()
    assert len(server.statuses) == len(statuses) - requests
    assert waits == [0] * (requests - 1)
