"""SQS queues of jobs, and their messages. SQS's rules are checked here, since emulators accept what AWS refuses.

A message's body (envelope) has all that the next attempt needs, and no secret. It is JSON in ASCII, so that SQS refuses
no character. The share's body in it is compressed by zlib, in base64.
"""

import base64
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from math import ceil
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from relay.channels.policy import CHANNEL_NAME
from relay.failures import LONGEST_WAIT_SECONDS, QueueError, Reason
from relay.incidents.share import MAX_BODY_BYTES
from relay.jobs.job import Acceptance, Job, JobKind, Stamps, seconds_of, timestamp

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import (
        MessageAttributeValueTypeDef,
        SendMessageBatchRequestEntryTypeDef,
    )

    from relay.deadline import Clock, Run


SCHEMA = 1
# SQS accepts 1 MiB with attributes.
MAX_ENVELOPE_BYTES = 1024 * 1024 - 8 * 1024
MAX_TEXT = 1024
_OPTIONAL = Job._field_defaults.keys()
_COMPACT = json.JSONEncoder(separators=(",", ":"))


class UnreadableMessage(ValueError):
    """Error for a queue message whose text is not a job, or is a job of another schema version."""


def envelope_of(job: Job) -> str:
    """Return a job as a message body: JSON in printable ASCII."""
    members = job._asdict()
    members["body"] = _packed(job.body)
    members["flags"], members["stamps"] = sorted(job.flags), job.stamps._asdict()
    return _COMPACT.encode({**members, "schema": SCHEMA})


# Cached, since a state that waits has a message and a stored job with the same body.
@lru_cache(maxsize=1)
def _packed(body: bytes) -> str:
    return base64.b64encode(zlib.compress(body)).decode("ascii")


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
_OPTIONAL_TEXTS = ("status", "transition", "response_excerpt")
_COUNTED_STAMPS = ("replays", "attempts")
_MOMENTS = ("received_at", "not_before", "ledger_down_since", "dead_lettered_at", "revived_at")


def _typed(members: Mapping[str, Any]) -> dict[str, Any]:
    stamps = members["stamps"]
    if any(not isinstance(members[name], str) for name in _TEXTS):
        raise UnreadableMessage(f"one of {', '.join(_TEXTS)} is not a text")
    texts = (*(stamps.get(name, "") for name in _TEXT_STAMPS), *filter(None, map(stamps.get, _OPTIONAL_TEXTS)))
    if any(not isinstance(each, str) for each in texts):
        raise UnreadableMessage(f"one of {', '.join((*_TEXT_STAMPS, *_OPTIONAL_TEXTS))} is not a text")
    if not re.match(CHANNEL_NAME, members["channel"]):
        raise UnreadableMessage("its channel has no channel's name")
    lists = (members["url_recipients"], members.get("flags", []), stamps.get("recipients", []))
    if not all(isinstance(each, list) for each in lists):
        raise UnreadableMessage("its recipients or its flags are not a list")
    counts = (members.get("plan", 0), *(stamps.get(name, 0) for name in _COUNTED_STAMPS))
    if not all(isinstance(each, int) for each in counts):
        raise UnreadableMessage(f"one of {', '.join(('plan', *_COUNTED_STAMPS))} is not a number")
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
            "accepted": _acceptance(members.get("accepted")),
            "stamps": Stamps(**{**stamps, "recipients": recipients}),
        }
    except UnreadableMessage:
        raise
    except (ValueError, TypeError, LookupError, zlib.error) as error:
        raise UnreadableMessage(f"a part of it can't be read ({type(error).__name__}: {error})") from None


def _acceptance(stored: Any) -> Acceptance | None:
    if stored is None:
        return None
    at, request_id = stored[:2]
    only, is_further = stored[2:4] or ((), False)
    return Acceptance(
        float(at), None if request_id is None else str(request_id), tuple(map(str, only)), bool(is_further)
    )


def legal_text(text: str) -> str:
    """Return the text as a value of a message attribute: its first MAX_TEXT characters, or `-` if it is empty.

    U+FFFD stands for each character that SQS refuses.
    """
    text = text[:MAX_TEXT] or "-"
    is_plain = text.isascii() and text.isprintable()
    # No regular expression: with these ranges it takes 3 ms to compile, at each cold start.
    return text if is_plain else "".join(each if _is_legal(each) else "\ufffd" for each in text)


def _is_legal(character: str) -> bool:
    if character < " ":
        return character in "\t\n\r"
    return not "\ud800" <= character <= "\udfff" and character not in "\ufffe\uffff"


MAX_MESSAGE_BYTES = 1024 * 1024
# Limit of SendMessageBatch and DeleteMessageBatch. All messages of a batch together may have MAX_MESSAGE_BYTES.
MAX_BATCH = 10
# Receives of a message before SQS dead-letters it: maxReceiveCount of the template's redrive policies.
MAX_RECEIVES = 20
_VISIBLE: Literal["ApproximateNumberOfMessages"] = "ApproximateNumberOfMessages"


class Message(NamedTuple):
    """A queue message: the text of a job (envelope), not parsed, and the message attributes by name."""

    envelope: str
    attributes: Mapping[str, str]

    @property
    def size(self) -> int:
        return size_of(self.envelope, self.attributes)


class Queue:
    """One SQS queue of jobs. `run` makes each send, and may limit its time."""

    def __init__(self, client: "SQSClient", url: str, run: "Run" = lambda call: call()) -> None:
        self._client = client
        self._url = url
        self._run = run

    def limited(self, run: "Run") -> "Queue":
        """Return a copy of the queue that makes its sends by `run`, which limits their time."""
        return Queue(self._client, self._url, run)

    def send(self, job: Job, *, delay_seconds: int = 0) -> None:
        """Put a job on the queue with a delay (at most 900 s). Raises QueueError if SQS does not accept it."""
        envelope = envelope_of(job)
        attributes = attributes_of(job)
        check_message(envelope, attributes)
        try:
            send = partial(
                self._client.send_message,
                QueueUrl=self._url,
                MessageBody=envelope,
                DelaySeconds=delay_seconds,
                MessageAttributes={name: _attribute(name, value) for name, value in attributes.items()},
            )
            self._run(send)
        except TimeoutError:
            raise QueueError("no answer in time") from None
        except ClientError as error:
            raise QueueError(f"SQS refused the message: {error.response.get('Error', {}).get('Code')}") from error
        except BotoCoreError as error:
            raise QueueError(f"SQS could not be reached: {type(error).__name__}") from error

    def backlog(self) -> int | None:
        """Return the approximate number of messages that can be received now; None if SQS can't be asked."""
        try:
            answer = self._client.get_queue_attributes(QueueUrl=self._url, AttributeNames=[_VISIBLE])
        except (ClientError, BotoCoreError):
            return None
        return int(answer["Attributes"][_VISIBLE])

    def send_batch(self, messages: Sequence[Message]) -> list[str | None]:
        """Put up to ten messages on the queue. Return a list with None for each accepted message, else the error.

        If the whole call fails, its messages may still be on the queue.
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
    if size > MAX_MESSAGE_BYTES or len(envelope) > MAX_ENVELOPE_BYTES:
        raise QueueError(f"the message has {size} bytes, and SQS takes {MAX_MESSAGE_BYTES}")
    if not (envelope.isascii() and envelope.isprintable()):
        raise QueueError("the message has characters that SQS refuses")
    if any(not value or legal_text(value) != value for value in attributes.values()):
        raise QueueError("an attribute has characters that SQS refuses, or is empty")


# Time limit of a send, whatever time its caller has left: only the queued message makes a share durable.
QUEUE_SECONDS = 2.0
# Kinds of jobs for the chore queue. Unknown kinds, which a newer version may add, go to the retry queue as signals do.
CHORES = frozenset(JobKind) - {JobKind.SIGNAL, JobKind.RECOVERY}
# Time from a signal that closes a circuit until the states that waited for it are woken. Circuits that close meanwhile
# need no recovery of their own.
RECOVERY_SECONDS = 1.0
# BigPanda's name of the event of a first share, for bodies that do not contain it.
FIRST_EVENT = "incident#new"
# Time from a resolve to the first question about it: BigPanda's API may lag behind its webhook.
FIRST_QUESTION_SECONDS = 3.0
# A DynamoDB item may have 400 KB with its key and all attributes.
MAX_STORED_BYTES = 390 * 1024
# CloudWatch cuts longer log events, and an envelope that was cut can't be replayed.
MAX_LOGGED_CHARACTERS = 200_000
# Incidents and channels that one log line names at most.
MAX_LOGGED_IDS = 50


def release_job(job: Job, event: str) -> Job:
    """Return the `release` job for a share's job: it tells BigPanda that the incident's first share was received.

    `event` is BigPanda's type of the event that caused the share.
    """
    body = json.dumps({"event": event}).encode()
    return job._replace(kind=JobKind.RELEASE, body=body, not_before=None, accepted=None).stamped(status=None)


def followup_job(job: Job, now: float) -> Job:
    """Return the `followup` job for the pages of a signal's job. Its age counts from `now` (epoch seconds)."""
    return _chore(job, JobKind.FOLLOWUP, now)


def recovery_job(job: Job, now: float) -> Job:
    """Return the `recovery` job after `job`'s signal closed a circuit. Its age counts from `now` (epoch seconds)."""
    stamps = Stamps(Reason.CIRCUIT_OPEN, job.stamps.correlation_id)
    return Job(JobKind.RECOVERY, job.channel, (), job.incident_id, timestamp(now), b"", stamps=stamps)


def question_job(job: Job, now: float) -> Job:
    """Return the `question` job about a resolve's job. Its age counts from `now` (epoch seconds)."""
    return _chore(job, JobKind.QUESTION, now).waiting(Reason.CLAIMED, now + FIRST_QUESTION_SECONDS)


def _chore(job: Job, kind: JobKind, now: float) -> Job:
    made = job.fresh()._replace(kind=kind, accepted=None, dead_lettered_at=None, revived_at=timestamp(now))
    return made.stamped(attempts=0)


@dataclass(frozen=True)
class Outbox:
    """The queues of jobs. A job is put on the queue for its kind, or on the dead-letter queue.

    Attributes:
        chores: The queue of chores. It is separate, so that a vendor's API that hangs does not delay signals.
    """

    retries: "Queue"
    chores: "Queue"
    dead_letters: "Queue"
    clock: "Clock"

    def enqueue(self, job: Job, *, until: float) -> bool:
        """Put a job on the queue for its kind. Return False if the queue does not accept it.

        The message becomes visible at `until` (epoch seconds), but after 15 minutes at the latest.
        """
        delay = min(int(LONGEST_WAIT_SECONDS), max(0, ceil(until - self.clock())))
        return self._put(self.chores if job.kind in CHORES else self.retries, job, delay)

    def dead_letter(self, job: Job) -> Job | None:
        """Put a job on the dead-letter queue. Return it with a new `dead_lettered_at`; None if the queue fails."""
        marked = job.dead_lettered(self.clock())
        return marked if self._put(self.dead_letters, marked, 0) else None

    def _put(self, queue: "Queue", job: Job, delay: int) -> bool:
        try:
            queue.send(fitting(job), delay_seconds=delay)
        except QueueError:
            return False
        return True


def fitting(job: Job, most: int = MAX_ENVELOPE_BYTES) -> Job:
    """Return the job, without alert details (Flag.BODY_REDUCED) if its envelope would have more than `most` bytes."""
    # Half as large, a body fits even if it does not compress. To compress one only for its size costs more than the
    # rest of a share's work.
    if len(job.body) <= most // 2 or len(envelope_of(job)) <= most:
        return job
    # Imported here, since nearly every body fits: this keeps the import out of cold starts.
    from relay.jobs.reduced_body import reduced  # noqa: PLC0415

    return reduced(job)


def stored_envelope(job: Job) -> str:
    """Return a job as the text of a DynamoDB item; without alert details if the item would be too large."""
    return envelope_of(fitting(job, MAX_STORED_BYTES))


def last_copy(job: Job) -> str:
    """Return a job as JSON for the log line that is the job's only copy; without alert details if it is too long."""
    return envelope_of(fitting(job, MAX_LOGGED_CHARACTERS))
