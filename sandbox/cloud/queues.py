"""The queues of the relay in the local cloud: counts, purge, client."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

import boto3

from sandbox.environment import REGION

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


class Deployment(Protocol):
    """Addresses of a deployed relay; `sandbox.local.Local` has them."""

    @property
    def aws_endpoint_url(self) -> str: ...

    @property
    def outputs(self) -> Mapping[str, str]: ...


def waiting(up: Deployment) -> int:
    """Count the jobs on the retry queue and the chore queue, delayed jobs and jobs in flight included."""
    return retrying(up) + _count(up, "ChoreQueueUrl")


def retrying(up: Deployment) -> int:
    """Count the jobs on the retry queue, delayed jobs and jobs in flight included."""
    return _count(up, "RetryQueueUrl")


def dead_letters(up: Deployment) -> int:
    """Count the jobs on the dead-letter queue, jobs in flight included."""
    return _count(up, "DeadLetterQueueUrl")


def purge(up: Deployment) -> None:
    """Delete all messages of all queues, delayed messages and messages in flight included."""
    for output in ("RetryQueueUrl", "ChoreQueueUrl", "DeadLetterQueueUrl"):
        client(up).purge_queue(QueueUrl=up.outputs[output])


def client(up: Deployment) -> "SQSClient":
    """Return a client of the local cloud's SQS."""
    return boto3.client("sqs", region_name=REGION, endpoint_url=up.aws_endpoint_url)


def _count(up: Deployment, output: str) -> int:
    counts = client(up).get_queue_attributes(
        QueueUrl=up.outputs[output],
        AttributeNames=[
            "ApproximateNumberOfMessages",
            "ApproximateNumberOfMessagesNotVisible",
            "ApproximateNumberOfMessagesDelayed",
        ],
    )
    return sum(map(int, counts["Attributes"].values()))
