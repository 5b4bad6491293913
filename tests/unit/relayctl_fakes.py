"""Fake queues with the rules of SQS that matter for a replay, on a clock that tests move."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from relay.jobs.job import Job
from relay.jobs.queue import MAX_MESSAGE_BYTES, Queue, envelope_of, read_envelope
from relayctl.dlq.queue import DeadLetters, HeldMessage
from tests.fakes import Clock

URL = "https://sqs.eu-central-1.amazonaws.com/000000000000/dead-letters"


@dataclass(kw_only=True)
class Message:
    """A message on the queue.

    Attributes:
        id: Id of the message.
        body: Text of the message.
        visible_at: Time from which it can be received (epoch seconds).
        receipt: Handle of the last receive call; empty before the first.
    """

    id: str
    body: str
    visible_at: float
    receipt: str = ""


class FakeQueue:
    """Fake SQS client with one queue; every call moves the clock by `seconds`."""

    def __init__(self, clock: Clock, *, seconds: float = 0.0) -> None:
        self.clock = clock
        self.seconds = seconds
        # Messages by id, hidden ones included.
        self.messages: dict[str, Message] = {}
        # Operations that raise: receive, change, delete, send.
        self.refusing: set[str] = set()
        # Incidents whose messages fail inside a SendMessageBatch that succeeds.
        self.refused: set[str] = set()
        # Incidents whose messages fail inside a DeleteMessageBatch that succeeds.
        self.undeleted: set[str] = set()
        # Ids of messages that fail inside a ChangeMessageVisibilityBatch that succeeds.
        self.stubborn: set[str] = set()
        self._numbers = itertools.count(1)

    def put(self, *bodies: str) -> list[str]:
        """Put messages on the queue as if they were sent; return their ids."""
        return [self._put(body).id for body in bodies]

    def dead_letters(self) -> DeadLetters:
        """Return this queue as the dead-letter queue that one operator's relayctl reads."""
        client: Any = self
        return DeadLetters(client, URL, self.clock)

    def queue(self) -> Queue:
        """Return a `relay.jobs.queue.Queue` that sends to this fake queue."""
        client: Any = self
        return Queue(client, URL)

    def jobs(self) -> list[Job]:
        """Return all jobs on the queue, hidden ones included, in the order of arrival."""
        return [read_envelope(message.body) for message in self.messages.values()]

    def visible(self) -> list[Message]:
        """Return the messages that a receive call can return at the clock's time."""
        return [message for message in list(self.messages.values()) if message.visible_at <= self.clock()]

    def receive_message(self, *, MaxNumberOfMessages: int, VisibilityTimeout: int, **_: Any) -> dict[str, Any]:
        self._check("receive")
        taken = self.visible()[:MaxNumberOfMessages]
        for message in taken:
            message.receipt = f"receipt-{next(self._numbers)}"
            message.visible_at = self.clock() + VisibilityTimeout
        answer = [{"MessageId": each.id, "ReceiptHandle": each.receipt, "Body": each.body} for each in taken]
        return {"Messages": answer} if answer else {}

    def change_message_visibility_batch(self, *, Entries: Sequence[dict[str, Any]], **_: Any) -> dict[str, Any]:
        self._check("change")
        assert 1 <= len(Entries) <= 10
        answer: dict[str, list[dict[str, str]]] = {"Successful": [], "Failed": []}
        for entry in Entries:
            message = self._by_receipt(entry["ReceiptHandle"])
            if message is None or message.visible_at <= self.clock() or message.id in self.stubborn:
                answer["Failed"].append({"Id": entry["Id"], "Code": "MessageNotInflight"})
                continue
            message.visible_at = self.clock() + entry["VisibilityTimeout"]
            answer["Successful"].append({"Id": entry["Id"]})
        return {name: entries for name, entries in answer.items() if entries}

    def delete_message_batch(self, *, Entries: Sequence[dict[str, Any]], **_: Any) -> dict[str, Any]:
        """Delete messages; the answer has a result for each, and is HTTP 200 although some fail."""
        self._check("delete")
        _check_batch(Entries)
        answer: dict[str, list[dict[str, str]]] = {"Successful": [], "Failed": []}
        for entry in Entries:
            message = self._by_receipt(entry["ReceiptHandle"])
            assert message, "a message was deleted with a receipt that is not its last"
            incident_id = read_envelope(message.body).incident_id
            if incident_id in self.undeleted:
                answer["Failed"].append({"Id": entry["Id"], "Code": "InternalError"})
                continue
            del self.messages[message.id]
            answer["Successful"].append({"Id": entry["Id"]})
        return {name: entries for name, entries in answer.items() if entries}

    def send_message_batch(self, *, Entries: Sequence[dict[str, Any]], **_: Any) -> dict[str, Any]:
        """Accept messages; the answer has a result for each, and is HTTP 200 although some fail."""
        self._check("send")
        _check_batch(Entries)
        bodies = [entry["MessageBody"] for entry in Entries]
        assert sum(map(len, bodies)) <= MAX_MESSAGE_BYTES, "SQS refuses a batch of this size"
        incidents = [read_envelope(body).incident_id for body in bodies]
        answer: dict[str, list[dict[str, str]]] = {"Successful": [], "Failed": []}
        for entry, incident_id in zip(Entries, incidents, strict=True):
            if incident_id in self.refused:
                answer["Failed"].append({"Id": entry["Id"], "Code": "InternalError"})
                continue
            self._put(entry["MessageBody"])
            answer["Successful"].append({"Id": entry["Id"]})
        return {name: entries for name, entries in answer.items() if entries}

    def _put(self, body: str) -> Message:
        message = Message(id=f"m{next(self._numbers)}", body=body, visible_at=self.clock())
        self.messages[message.id] = message
        return message

    def _by_receipt(self, receipt: str) -> Message | None:
        return next((each for each in list(self.messages.values()) if each.receipt == receipt), None)

    def _check(self, operation: str) -> None:
        self.clock.now += self.seconds
        if operation in self.refusing:
            raise ClientError({"Error": {"Code": "ServiceUnavailable", "Message": "come again"}}, operation)


def _check_batch(entries: Sequence[dict[str, Any]]) -> None:
    assert 1 <= len(entries) <= 10
    assert len({entry["Id"] for entry in entries}) == len(entries)


def held(job: Job | None, message_id: str = "m1", problem: str | None = None) -> HeldMessage:
    """Return a message that relayctl received; `problem` is the error if `job` is None."""
    return HeldMessage(message_id, "receipt", 0.0, envelope_of(job) if job else "", job, problem)
