import io
import json
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.response import StreamingBody
from botocore.stub import Stubber

from relay.replay import WorkerError
from relayctl.worker import Worker

CLIENT = boto3.client(
    "lambda",
    region_name="us-east-1",
    aws_access_key_id="test",
    aws_secret_access_key="test",
    config=Config(retries={"total_max_attempts": 1}),
)
ENVELOPE = '{"schema": 1}'


def answering(payload: bytes, **members: Any) -> Stubber:
    stub = Stubber(CLIENT)
    body = StreamingBody(io.BytesIO(payload), len(payload))
    expected = {"FunctionName": "worker", "Payload": json.dumps({"jobs": [ENVELOPE]})}
    stub.add_response("invoke", {"StatusCode": 200, "Payload": body, **members}, expected)
    return stub


def test_the_job_is_handed_over_and_its_result_comes_back() -> None:
    with answering(b'{"results": [{"outcome": "delivered", "request_id": "r1"}]}') as stub:
        assert Worker(CLIENT, "worker")(ENVELOPE) == {"outcome": "delivered", "request_id": "r1"}
        stub.assert_no_pending_responses()


@pytest.mark.parametrize(
    ("payload", "complaint"),
    [
        (b"", "the worker's answer did not arrive: JSONDecodeError"),
        (b'{"results": [{"outcome": "deliv', "the worker's answer did not arrive: JSONDecodeError"),
        (b"\xff", "the worker's answer did not arrive: UnicodeDecodeError"),
        (b"null", "the worker failed: no result; its log says more"),
        (b"[]", "the worker failed: no result; its log says more"),
        (b"{}", "the worker failed: no result; its log says more"),
        (b'{"results": []}', "the worker failed: no result; its log says more"),
        (b'{"results": ["delivered"]}', "the worker failed: no result; its log says more"),
        (b'{"results": [{"outcome": "delivered"}, {}]}', "the worker failed: no result; its log says more"),
    ],
)
def test_an_answer_without_a_result_is_no_result(payload: bytes, complaint: str) -> None:
    with answering(payload), pytest.raises(WorkerError) as caught:
        Worker(CLIENT, "worker")(ENVELOPE)
    assert str(caught.value) == complaint


@pytest.mark.parametrize("payload", [{"errorType": "Runtime.ExitError"}, {"results": [{"outcome": "delivered"}]}])
def test_a_function_that_failed_gave_no_result(payload: dict[str, Any]) -> None:
    with answering(json.dumps(payload).encode(), FunctionError="Unhandled"), pytest.raises(WorkerError, match="failed"):
        Worker(CLIENT, "worker")(ENVELOPE)


def test_a_refused_call_says_what_aws_said() -> None:
    with Stubber(CLIENT) as stub:
        stub.add_client_error("invoke", "TooManyRequestsException")
        with pytest.raises(WorkerError, match="not invoked: TooManyRequestsException"):
            Worker(CLIENT, "worker")(ENVELOPE)
