"""SQS queue for jobs. Checks SQS's rules for messages itself, since emulators accept messages that AWS refuses."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from relay.failures.errors import QueueError
from relay.jobs.envelope import attributes_of, envelope_of, fits, legal_text
from relay.jobs.job import Job

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageAttributeValueTypeDef, SendMessageBatchRequestEntryTypeDef

MAX_MESSAGE_BYTES = 1024 * 1024
MAX_DELAY_SECONDS = 900
# Limit of SendMessageBatch and DeleteMessageBatch. All messages of a batch together may have MAX_MESSAGE_BYTES.
MAX_BATCH = 10
# Receives of a message before SQS dead-letters it: maxReceiveCount of the template's redrive policies.
MAX_RECEIVES = 20
_VISIBLE: Literal["ApproximateNumberOfMessages"] = "ApproximateNumberOfMessages"


class Message(NamedTuple):
    """A queue message.

    Attributes:
        envelope: The body: a job as JSON text, which is not parsed here.
        attributes: The message attributes by name.
    """

    envelope: str
    attributes: Mapping[str, str]

    @property
    def size(self) -> int:
        """Size of the message by SQS's count (bytes)."""
        return size_of(self.envelope, self.attributes)


class Queue:
    """One SQS queue of jobs."""

    def __init__(self, client: "SQSClient", url: str) -> None:
        self._client = client
        self._url = url

    def send(self, job: Job, *, delay_seconds: int = 0) -> str:
        """Put a job on the queue with a delay (at most 900 s), and return the message's id.

        Raises QueueError if SQS refuses the message or can't be reached.
        """
        envelope = envelope_of(job)
        attributes = attributes_of(job)
        check_message(envelope, attributes)
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
        """Return the approximate number of messages that can be received now; None if SQS can't be asked.

        The age of the oldest message is not available here: SQS reports it to CloudWatch only.
        """
        try:
            answer = self._client.get_queue_attributes(QueueUrl=self._url, AttributeNames=[_VISIBLE])
        except (ClientError, BotoCoreError):
            return None
        return int(answer["Attributes"][_VISIBLE])

    def send_batch(self, messages: Sequence[Message]) -> list[str | None]:
        """Put up to ten messages on the queue. Return a list with None for each accepted message, else the error.

        SQS accepts or refuses each message separately. If the whole call fails, its messages may still be on the queue.
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
    """Return the size of a message by SQS's count (bytes): the body, and each attribute's name, value and type."""
    return len(envelope.encode()) + sum(len((name + value + "String").encode()) for name, value in attributes.items())


def check_message(envelope: str, attributes: Mapping[str, str]) -> None:
    """Raise QueueError for a message (body and attributes) that SQS would refuse: docs/vendors.md, "What SQS takes"."""
    size = size_of(envelope, attributes)
    if size > MAX_MESSAGE_BYTES or not fits(envelope):
        raise QueueError(f"the message has {size} bytes, and SQS takes {MAX_MESSAGE_BYTES}")
    if not (envelope.isascii() and envelope.isprintable()):
        raise QueueError("the message has characters that SQS refuses")
    if any(not value or legal_text(value) != value for value in attributes.values()):
        raise QueueError("an attribute has characters that SQS refuses, or is empty")
