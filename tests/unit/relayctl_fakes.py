"""A queue with the rules of SQS that a replay must reckon with, on a clock that tests move."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from relay.dead_letters import DeadLetters, Held
from relay.message import Job
from relay.queues import Queue
from tests.fakes import Clock

URL = "https://sqs.eu-central-1.amazonaws.com/000000000000/dead-letters"


@dataclass
class Message:
    """A message on the queue, as SQS has it."""

    id: str
    body: str
    visible_at: float
    receipt: str = ""


class FakeQueue:
    """An SQS client over one queue.

    Operations named in `refusing` raise; messages in `stubborn` fail inside a ChangeMessageVisibilityBatch that
    succeeds. `done` tells what changed the queue, in order; `changes` counts messages whose visibility was to change.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.messages: dict[str, Message] = {}
        self.refusing: set[str] = set()
        self.stubborn: set[str] = set()
        self.done: list[str] = []
        self.changes = 0
        self._numbers = itertools.count(1)

    def put(self, *bodies: str) -> list[str]:
        """Put messages on the queue as if somebody had sent them; their ids."""
        return [self._put(body).id for body in bodies]

    def letters(self) -> DeadLetters:
        """The queue as one operator's tool has it."""
        client: Any = self
        return DeadLetters(client, URL, self.clock)

    def queue(self) -> Queue:
        """The queue for sending."""
        client: Any = self
        return Queue(client, URL)

    def jobs(self) -> list[Job]:
        """All jobs on the queue, hidden ones too, in the order of their arrival."""
        return [Job.from_json(message.body) for message in self.messages.values()]

    def visible(self) -> list[Message]:
        """What the next to look would see."""
        return [message for message in self.messages.values() if message.visible_at <= self.clock()]

    def get_queue_attributes(self, **_: Any) -> dict[str, dict[str, str]]:
        self._check("get")
        visible = len(self.visible())
        hidden = len(self.messages) - visible
        names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
        return {"Attributes": dict(zip(names, (str(visible), str(hidden)), strict=True))}

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
        self.changes += len(Entries)
        answer: dict[str, list[dict[str, str]]] = {"Successful": [], "Failed": []}
        for entry in Entries:
            message = self._by_receipt(entry["ReceiptHandle"])
            if message is None or message.visible_at <= self.clock() or message.id in self.stubborn:
                answer["Failed"].append({"Id": entry["Id"], "Code": "MessageNotInflight"})
                continue
            message.visible_at = self.clock() + entry["VisibilityTimeout"]
            answer["Successful"].append({"Id": entry["Id"]})
        return {name: entries for name, entries in answer.items() if entries}

    def delete_message(self, *, ReceiptHandle: str, **_: Any) -> None:
        self._check("delete")
        message = self._by_receipt(ReceiptHandle)
        assert message, "a message was deleted with a receipt that is not its last"
        del self.messages[message.id]
        self.done.append(f"delete {message.id}")

    def send_message(self, *, MessageBody: str, **_: Any) -> dict[str, str]:
        self._check("send")
        message = self._put(MessageBody)
        self.done.append(f"send {message.id}")
        return {"MessageId": message.id}

    def _put(self, body: str) -> Message:
        message = Message(f"m{next(self._numbers)}", body, self.clock())
        self.messages[message.id] = message
        return message

    def _by_receipt(self, receipt: str) -> Message | None:
        return next((each for each in self.messages.values() if each.receipt == receipt), None)

    def _check(self, operation: str) -> None:
        if operation in self.refusing:
            raise ClientError({"Error": {"Code": "ServiceUnavailable", "Message": "come again"}}, operation)


def held(job: Job | None, message_id: str = "m1", problem: str | None = None) -> Held:
    """A message in somebody's hand."""
    return Held(message_id, "receipt", 0.0, job, problem)
