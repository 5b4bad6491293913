"""The deployed relay's queues, as one sees them from outside."""

from typing import TYPE_CHECKING

import boto3

from sandbox import local
from sandbox.cloud import REGION

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


def waiting(up: local.Local) -> int:
    """Count the jobs on the retry queue and the chore queue, asleep ones and those under way too."""
    return _count(up, "RetryQueueUrl") + _count(up, "ChoreQueueUrl")


def dead_letters(up: local.Local) -> int:
    """How many jobs lie in the dead-letter queue, held ones too."""
    return _count(up, "DeadLetterQueueUrl")


def purge(up: local.Local) -> None:
    """Empty all queues, of held and sleeping messages too."""
    for output in ("RetryQueueUrl", "ChoreQueueUrl", "DeadLetterQueueUrl"):
        client(up).purge_queue(QueueUrl=up.outputs[output])


def client(up: local.Local) -> "SQSClient":
    """A client of the queues."""
    return boto3.client("sqs", region_name=REGION, endpoint_url=up.aws_endpoint_url)


def _count(up: local.Local, output: str) -> int:
    counts = client(up).get_queue_attributes(
        QueueUrl=up.outputs[output],
        AttributeNames=[
            "ApproximateNumberOfMessages",
            "ApproximateNumberOfMessagesNotVisible",
            "ApproximateNumberOfMessagesDelayed",
        ],
    )
    return sum(map(int, counts["Attributes"].values()))
