"""Fake queues with the rules of SQS that matter for a replay, on a clock that tests move."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

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
    """Fake SQS client with one queue."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        # Messages by id, hidden ones included.
        self.messages: dict[str, Message] = {}
        # Incidents whose messages fail inside a SendMessageBatch that succeeds.
        self.refused: set[str] = set()
        # Incidents whose messages fail inside a DeleteMessageBatch that succeeds.
        self.undeleted: set[str] = set()
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
        taken = self.visible()[:MaxNumberOfMessages]
        for message in taken:
            message.receipt = f"receipt-{next(self._numbers)}"
            message.visible_at = self.clock() + VisibilityTimeout
        answer = [{"MessageId": each.id, "ReceiptHandle": each.receipt, "Body": each.body} for each in taken]
        return {"Messages": answer} if answer else {}

    def change_message_visibility_batch(self, *, Entries: Sequence[dict[str, Any]], **_: Any) -> dict[str, Any]:
        def change(entry: dict[str, Any]) -> str:
            message = self._by_receipt(entry["ReceiptHandle"])
            if message is None or message.visible_at <= self.clock():
                return "MessageNotInflight"
            message.visible_at = self.clock() + entry["VisibilityTimeout"]
            return ""

        return self._batch(Entries, change)

    def delete_message_batch(self, *, Entries: Sequence[dict[str, Any]], **_: Any) -> dict[str, Any]:
        def delete(entry: dict[str, Any]) -> str:
            message = self._by_receipt(entry["ReceiptHandle"])
            assert message, "a message was deleted with a receipt that is not its last"
            if read_envelope(message.body).incident_id in self.undeleted:
                return "InternalError"
            del self.messages[message.id]
            return ""

        return self._batch(Entries, delete)

    def send_message_batch(self, *, Entries: Sequence[dict[str, Any]], **_: Any) -> dict[str, Any]:
        assert sum(len(entry["MessageBody"]) for entry in Entries) <= MAX_MESSAGE_BYTES, (
            "SQS refuses a batch of this size"
        )

        def send(entry: dict[str, Any]) -> str:
            if read_envelope(entry["MessageBody"]).incident_id in self.refused:
                return "InternalError"
            self._put(entry["MessageBody"])
            return ""

        return self._batch(Entries, send)

    def _batch(self, entries: Sequence[dict[str, Any]], act: Callable[[dict[str, Any]], str]) -> dict[str, Any]:
        """Act on each entry; the answer has a result for each, and is HTTP 200 although some fail."""
        assert 1 <= len(entries) <= 10
        assert len({entry["Id"] for entry in entries}) == len(entries)
        codes = {entry["Id"]: act(entry) for entry in entries}
        failed = [{"Id": name, "Code": code} for name, code in codes.items() if code]
        done = [{"Id": name} for name, code in codes.items() if not code]
        return {name: found for name, found in (("Successful", done), ("Failed", failed)) if found}

    def _put(self, body: str) -> Message:
        message = Message(id=f"m{next(self._numbers)}", body=body, visible_at=self.clock())
        self.messages[message.id] = message
        return message

    def _by_receipt(self, receipt: str) -> Message | None:
        return next((each for each in list(self.messages.values()) if each.receipt == receipt), None)


def held(job: Job | None, message_id: str = "m1", problem: str | None = None) -> HeldMessage:
    """Return a message that relayctl received; `problem` is the error if `job` is None."""
    return HeldMessage(message_id, "receipt", 0.0, envelope_of(job) if job else "", job, problem)
