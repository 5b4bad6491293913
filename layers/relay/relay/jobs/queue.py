"""Queues that keep jobs: SQS, its rules checked before it is asked, since emulators forgive what AWS refuses."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from relay.errors import QueueError
from relay.jobs.envelope import Job, fits, legal_text

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageAttributeValueTypeDef, SendMessageBatchRequestEntryTypeDef

MAX_MESSAGE_BYTES = 1024 * 1024
MAX_DELAY_SECONDS = 900
# SendMessageBatch and DeleteMessageBatch take so many; the messages of a batch have MAX_MESSAGE_BYTES together.
MAX_BATCH = 10
_VISIBLE: Literal["ApproximateNumberOfMessages"] = "ApproximateNumberOfMessages"


class Message(NamedTuple):
    """An envelope as it is, and what the queue shows of it."""

    envelope: str
    attributes: Mapping[str, str]

    @property
    def size(self) -> int:
        """The bytes that SQS counts."""
        return size_of(self.envelope, self.attributes)


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

    def backlog(self) -> int | None:
        """Return about how many messages can be received now; None if SQS does not say.

        How old the oldest one is, SQS tells only CloudWatch.
        """
        try:
            answer = self._client.get_queue_attributes(QueueUrl=self._url, AttributeNames=[_VISIBLE])
        except (ClientError, BotoCoreError):
            return None
        return int(answer["Attributes"][_VISIBLE])

    def send_batch(self, messages: Sequence[Message]) -> list[str | None]:
        """Put up to ten messages on the queue; return for each why SQS did not take it, or None where it did.

        SQS answers item by item. A message of a call that failed as a whole may be on the queue all the same.
        """
        entries: list[SendMessageBatchRequestEntryTypeDef] = [
            {
                "Id": str(number),
                "MessageBody": message.envelope,
                "MessageAttributes": {name: _attribute(name, value) for name, value in message.attributes.items()},
            }
            for number, message in enumerate(messages)
        ]
        try:
            answer = self._client.send_message_batch(QueueUrl=self._url, Entries=entries)
        except ClientError as error:
            return [f"SQS refused the batch: {error.response.get('Error', {}).get('Code')}"] * len(messages)
        except BotoCoreError as error:
            return [f"SQS could not be reached: {type(error).__name__}"] * len(messages)
        taken = {each["Id"] for each in answer.get("Successful", ())}
        refused = {each["Id"]: each["Code"] for each in answer.get("Failed", ())}
        numbers = map(str, range(len(messages)))
        return [None if each in taken else f"SQS refused the message: {refused.get(each)}" for each in numbers]


def _attribute(name: str, value: str) -> "MessageAttributeValueTypeDef":
    return {"DataType": "Number" if name == "schema" else "String", "StringValue": value}


def size_of(envelope: str, attributes: Mapping[str, str]) -> int:
    """Return the bytes that SQS counts of a message: its body, and each attribute's name, value and type."""
    return len(envelope.encode()) + sum(len((name + value + "String").encode()) for name, value in attributes.items())


def _refuse_what_sqs_refuses(envelope: str, attributes: dict[str, str]) -> None:
    """Legal characters and 1 MiB with all attributes: docs/vendors.md, "What SQS takes"."""
    size = size_of(envelope, attributes)
    if size > MAX_MESSAGE_BYTES or not fits(envelope):
        raise QueueError(f"the message has {size} bytes, and SQS takes {MAX_MESSAGE_BYTES}")
    if not (envelope.isascii() and envelope.isprintable()):
        raise QueueError("the message has characters that SQS refuses")
    if any(not value or legal_text(value) != value for value in attributes.values()):
        raise QueueError("an attribute has characters that SQS refuses, or is empty")
