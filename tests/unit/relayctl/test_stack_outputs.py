import boto3
import pytest
from botocore.config import Config
from botocore.stub import Stubber

from relayctl.stack_outputs import StackMissingError, read_outputs, usable_from_here

LOCAL = "http://127.0.0.1:45661"
API = "https://a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com/v1/bigpanda/{channel}"
QUEUE = "https://sqs.eu-central-1.amazonaws.com/000000000000/relay-dead-letters"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (API, f"{LOCAL}/_aws/execute-api/a1b2c3d4e5/v1/bigpanda/{{channel}}"),
        (
            f"{API}?recipients=a%2Cb",
            f"{LOCAL}/_aws/execute-api/a1b2c3d4e5/v1/bigpanda/{{channel}}?recipients=a%2Cb",
        ),
        ("https://x1.execute-api.us-east-1.amazonaws.com", f"{LOCAL}/_aws/execute-api/x1"),
        ("https://x1.execute-api.cn-north-1.amazonaws.com.cn/v1/", f"{LOCAL}/_aws/execute-api/x1/v1/"),
        (QUEUE, f"{LOCAL}/000000000000/relay-dead-letters"),
        (f"{QUEUE}.fifo", f"{LOCAL}/000000000000/relay-dead-letters.fifo"),
        ("http://localhost:4566/000000000000/relay-dead-letters", f"{LOCAL}/000000000000/relay-dead-letters"),
    ],
)
def test_urls_of_apis_and_queues_are_rewritten_to_the_local_cloud(value: str, expected: str) -> None:
    assert usable_from_here(value, LOCAL) == expected
    assert usable_from_here(value, f"{LOCAL}/") == expected


@pytest.mark.parametrize(
    "value",
    [
        "bigpanda-xmatters-relay",
        "",
        "arn:aws:lambda:us-east-1:000000000000:function:relay",
        "a1b2c3d4e5.execute-api.us-east-1.amazonaws.com/v1",
        "https://console.aws.amazon.com/cloudwatch/home?region=us-east-1",
        "https://acme.xmatters.com/000000000000/name",
        "https://a1.execute-api.us-east-1.amazonaws.com.example.org/v1",
        "http://localhost:8080/health",
    ],
)
def test_other_outputs_are_not_rewritten(value: str) -> None:
    assert usable_from_here(value, LOCAL) == value


@pytest.mark.parametrize("value", [API, QUEUE, "relay"])
def test_no_output_is_rewritten_on_aws(value: str) -> None:
    assert usable_from_here(value, None) == value


class TestReadOutputs:
    client = boto3.client(
        "cloudformation",
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}),
    )

    def test_read_outputs_returns_each_output_by_key(self) -> None:
        with self.answering(Outputs=[_output("ApiId", "a1"), _output("BigPandaWebhookUrl", API)]):
            assert read_outputs(self.client, "relay", LOCAL) == {
                "ApiId": "a1",
                "BigPandaWebhookUrl": f"{LOCAL}/_aws/execute-api/a1b2c3d4e5/v1/bigpanda/{{channel}}",
            }

    def test_read_outputs_of_a_stack_without_outputs_is_empty(self) -> None:
        with self.answering():
            assert read_outputs(self.client, "relay", LOCAL) == {}

    def test_missing_stack_error_names_the_stack(self) -> None:
        with Stubber(self.client) as stub:
            stub.add_client_error("describe_stacks", "ValidationError", "Stack with id relay does not exist")
            with pytest.raises(StackMissingError, match="'relay'"):
                read_outputs(self.client, "relay", None)

    def test_denied_describe_stacks_is_not_a_missing_stack(self) -> None:
        with Stubber(self.client) as stub:
            stub.add_client_error("describe_stacks", "AccessDenied", "not authorized")
            with pytest.raises(self.client.exceptions.ClientError, match="not authorized"):
                read_outputs(self.client, "relay", None)

    def answering(self, **stack: object) -> Stubber:
        stub = Stubber(self.client)
        described = {
            "StackName": "relay",
            "CreationTime": "2026-01-01T00:00:00Z",
            "StackStatus": "CREATE_COMPLETE",
        }
        stub.add_response("describe_stacks", {"Stacks": [described | stack]}, {"StackName": "relay"})
        return stub


def _output(key: str, value: str) -> dict[str, str]:
    return {"OutputKey": key, "OutputValue": value}
