"""SQS queue of jobs, and their messages. SQS's rules are checked here, since emulators accept what AWS refuses.

A message's body (envelope) has all that the next attempt needs, and no secret. It is ASCII-escaped JSON, so that SQS
refuses no character. The share's body in it is compressed with zlib, and encoded in base64.
"""

import base64
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from relay.channels.policy import CHANNEL_NAME
from relay.failures import QueueError
from relay.jobs.job import Job, Stamps, seconds_of

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageAttributeValueTypeDef, SendMessageBatchRequestEntryTypeDef


SCHEMA = 1
# SQS accepts 1 MiB with attributes.
MAX_ENVELOPE_BYTES = 1024 * 1024 - 8 * 1024
MAX_BODY_BYTES = 4 * 1024 * 1024
MAX_TEXT = 1024
# Characters that SQS refuses in a message or an attribute.
_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_OPTIONAL = Job._field_defaults.keys()


class UnreadableMessage(ValueError):
    """Error for a queue message whose text is not a job, or is a job of another schema version.

    The text of the exception says what is wrong.
    """


def envelope_of(job: Job) -> str:
    """Return a job as a message body: JSON in printable ASCII."""
    members = job._asdict()
    members["body"] = base64.b64encode(zlib.compress(job.body)).decode("ascii")
    members["flags"], members["stamps"] = sorted(job.flags), job.stamps._asdict()
    return json.dumps({**members, "schema": SCHEMA}, separators=(",", ":"))


def read_envelope(text: str) -> Job:
    """Parse a message body into its job. Raises UnreadableMessage."""
    try:
        members = json.loads(text)
        if members["schema"] != SCHEMA:
            raise UnreadableMessage(f"its schema is {members['schema']!r}, and this version reads {SCHEMA}")
        # An older version's envelope lacks newer members, which have defaults.
        known = {name: members[name] for name in Job._fields if name in members or name not in _OPTIONAL}
        stamps = known.get("stamps", {})
        known["stamps"] = {name: stamps[name] for name in Stamps._fields if name in stamps}
    except UnreadableMessage:
        raise
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UnreadableMessage(f"it is not an envelope of the relay ({type(error).__name__}: {error})") from None
    return Job(**(known | _typed(known)))


def attributes_of(job: Job) -> dict[str, str]:
    """Return a job's message attributes, by which operators filter; every value is legal for SQS."""
    return {
        "channel": job.channel,
        "incident_id": legal_text(job.incident_id),
        "reason": job.stamps.reason,
        "kind": job.kind,
        "schema": str(SCHEMA),
    }


_TEXTS = ("kind", "channel", "incident_id", "received_at")
_TEXT_STAMPS = ("reason", "correlation_id")
_COUNTS = ("attempts", "plan")
_MOMENTS = ("received_at", "not_before", "ledger_down_since", "dead_lettered_at", "revived_at")


def _typed(members: Mapping[str, Any]) -> dict[str, Any]:
    stamps = members["stamps"]
    if any(not isinstance(members[name], str) for name in _TEXTS):
        raise UnreadableMessage(f"one of {', '.join(_TEXTS)} is not a text")
    if any(not isinstance(stamps.get(name, ""), str) for name in _TEXT_STAMPS):
        raise UnreadableMessage(f"one of {', '.join(_TEXT_STAMPS)} is not a text")
    if not re.match(CHANNEL_NAME, members["channel"]):
        raise UnreadableMessage("its channel has no channel's name")
    lists = (members["url_recipients"], members.get("flags", []), stamps.get("recipients", []))
    if not all(isinstance(each, list) for each in lists):
        raise UnreadableMessage("its recipients or its flags are not a list")
    if any(not isinstance(each, int) for each in (*map(members.get, _COUNTS, (0, 0)), stamps.get("replays", 0))):
        raise UnreadableMessage(f"one of {', '.join((*_COUNTS, 'replays'))} is not a number")
    try:
        moments = (*map(members.get, _MOMENTS), stamps.get("first_failed_at"), stamps.get("last_failed_at"))
        for moment in filter(None, moments):
            seconds_of(moment)
        unpacker = zlib.decompressobj()
        body = unpacker.decompress(base64.b64decode(members["body"], validate=True), MAX_BODY_BYTES + 1)
        version = members.get("version")
        if len(body) > MAX_BODY_BYTES or not unpacker.eof:
            raise UnreadableMessage("its body is larger than any share, or cut off")
        url_recipients, flags, recipients = (tuple(map(str, each)) for each in lists)
        return {
            "body": body,
            "url_recipients": url_recipients,
            "version": (float(version[0]), float(version[1])) if version is not None else None,
            "flags": frozenset(flags),
            "stamps": Stamps(**{**stamps, "recipients": recipients}),
        }
    except UnreadableMessage:
        raise
    except (ValueError, TypeError, IndexError, zlib.error) as error:
        raise UnreadableMessage(f"a part of it can't be read ({type(error).__name__}: {error})") from None


def legal_text(text: str) -> str:
    """Return the text without characters that SQS refuses in an attribute (control, lone surrogates); never empty."""
    return _ILLEGAL.sub("\ufffd", text[:MAX_TEXT]) or "-"


def fits(envelope: str) -> bool:
    """Return True if a message body (`envelope`) is small enough for SQS."""
    return len(envelope) <= MAX_ENVELOPE_BYTES


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
