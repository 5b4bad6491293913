import pytest

from relayctl.stack.deployed import usable_from_here

LOCAL = "http://127.0.0.1:45661"
CHINA = "https://x1.execute-api.cn-north-1.amazonaws.com.cn/v1/{channel}?recipients=a%2Cb"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (CHINA, f"{LOCAL}/_aws/execute-api/x1/v1/{{channel}}?recipients=a%2Cb"),
        ("https://sqs.eu-central-1.amazonaws.com/000000000000/dead", f"{LOCAL}/000000000000/dead"),
        ("http://localhost:4566/000000000000/dead", f"{LOCAL}/000000000000/dead"),
        *(
            (other, other)
            for other in (
                "arn:aws:lambda:us-east-1:000000000000:function:relay",
                "https://console.aws.amazon.com/cloudwatch/home?region=us-east-1",
                "https://acme.xmatters.com/000000000000/name",
                "https://a1.execute-api.us-east-1.amazonaws.com.example.org/v1",
            )
        ),
    ],
)
def test_urls_of_apis_and_queues_alone_are_rewritten_to_the_local_cloud(value: str, expected: str) -> None:
    assert usable_from_here(value, LOCAL) == usable_from_here(value, f"{LOCAL}/") == expected
    assert usable_from_here(value, None) == value, "on AWS it is as it was"
