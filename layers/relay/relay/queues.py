"""Queues that keep jobs: SQS, its rules checked before it is asked, since emulators forgive what AWS refuses."""

from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from relay.errors import QueueError
from relay.message import Job, fits, legal_text

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageAttributeValueTypeDef

MAX_MESSAGE_BYTES = 1024 * 1024
MAX_DELAY_SECONDS = 900


class Queue:
    """One SQS queue."""

    def __init__(self, client: "SQSClient", url: str) -> None:
        self._client = client
        self._url = url

    def send(self, job: Job, *, delay_seconds: int = 0) -> str:
        """Put a job on the queue, to be seen after the delay (900 s at most), and return the message's id.

        Raises QueueError when SQS does not take it, or can't.
        """
        envelope = job.to_json()
        attributes = job.attributes()
        _refuse_what_sqs_refuses(envelope, attributes)
        try:
            answer = self._client.send_message(
                QueueUrl=self._url,
                MessageBody=envelope,
                DelaySeconds=delay_seconds,
                MessageAttributes={name: _attribute(name, value) for name, value in attributes.items()},
            )
        except ClientError as error:
            raise QueueError(f"SQS refused the message: {error.response.get('Error', {}).get('Code')}") from error
        except BotoCoreError as error:
            raise QueueError(f"SQS could not be reached: {type(error).__name__}") from error
        return answer["MessageId"]


def _attribute(name: str, value: str) -> "MessageAttributeValueTypeDef":
    return {"DataType": "Number" if name == "schema" else "String", "StringValue": value}


def _refuse_what_sqs_refuses(envelope: str, attributes: dict[str, str]) -> None:
    """Legal characters and 1 MiB with all attributes: docs/vendors.md, "What SQS takes"."""
    size = len(envelope.encode()) + sum(len((name + value + "String").encode()) for name, value in attributes.items())
    if size > MAX_MESSAGE_BYTES or not fits(envelope):
        raise QueueError(f"the message has {size} bytes, and SQS takes {MAX_MESSAGE_BYTES}")
    if not (envelope.isascii() and envelope.isprintable()):
        raise QueueError("the message has characters that SQS refuses")
    if any(not value or legal_text(value) != value for value in attributes.values()):
        raise QueueError("an attribute has characters that SQS refuses, or is empty")
