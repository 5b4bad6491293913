import pytest

from relayctl.stack.deployed import usable_from_here

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
        ("https://x1.execute-api.cn-north-1.amazonaws.com.cn/v1/", f"{LOCAL}/_aws/execute-api/x1/v1/"),
        (QUEUE, f"{LOCAL}/000000000000/relay-dead-letters"),
        ("http://localhost:4566/000000000000/relay-dead-letters", f"{LOCAL}/000000000000/relay-dead-letters"),
    ],
)
def test_urls_of_apis_and_queues_are_rewritten_to_the_local_cloud(value: str, expected: str) -> None:
    assert usable_from_here(value, LOCAL) == expected
    assert usable_from_here(value, f"{LOCAL}/") == expected
    assert usable_from_here(value, None) == value, "on AWS it is as it was"


@pytest.mark.parametrize(
    "value",
    [
        "",
        "arn:aws:lambda:us-east-1:000000000000:function:relay",
        "a1b2c3d4e5.execute-api.us-east-1.amazonaws.com/v1",
        "https://console.aws.amazon.com/cloudwatch/home?region=us-east-1",
        "https://acme.xmatters.com/000000000000/name",
        "https://a1.execute-api.us-east-1.amazonaws.com.example.org/v1",
    ],
)
def test_other_outputs_are_not_rewritten(value: str) -> None:
    assert usable_from_here(value, LOCAL) == value
