"""Reader of the dead-letter queue, whose messages are held (invisible to other readers) during a command.

If relayctl dies, SQS shows a held message again within five minutes.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import batched
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from botocore.exceptions import BotoCoreError, ClientError

from relay.jobs.job import Job
from relay.jobs.queue import MAX_BATCH, MAX_MESSAGE_BYTES, UnreadableMessage, attributes_of, read_envelope
from relayctl.failed_calls import tried

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import (
        DeleteMessageBatchRequestEntryTypeDef,
        MessageTypeDef,
    )

# Visibility timeout of a held message. What is not moved by then is left to other readers.
HOLD_SECONDS = 300
# With less than this left, a batch may still be in progress when another reader receives the message.
MOVE_SECONDS = 30
# A long poll asks all of SQS's servers. A short poll may miss messages.
RECEIVE_SECONDS = 1

_COUNTS: tuple[Any, ...] = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesDelayed",
    "ApproximateNumberOfMessagesNotVisible",
)


def batches[T](items: Iterable[T], size_of: Callable[[T], int]) -> Iterator[list[T]]:
    """Split items into batches that fit into one call to SQS; `size_of` returns the size of an item's message."""
    batch: list[T] = []
    size = 0
    for item in items:
        if batch and (len(batch) == MAX_BATCH or size + size_of(item) > MAX_MESSAGE_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += size_of(item)
    if batch:
        yield batch


@dataclass(eq=False)
class HeldMessage:
    """A message of the dead-letter queue that a reader received and keeps invisible to other readers."""

    message_id: str
    receipt: str  # Receipt handle of the last receive
    until: float  # End of the visibility timeout, by the reader's clock (seconds)
    envelope: str  # The message's text: a job as JSON, with its body compressed
    job: Job | None = None  # The job without its body; None if the message's text is not a job of the relay
    problem: str | None = None  # The error if the message's text is not a job of the relay, else None

    @property
    def size(self) -> int:
        """Upper bound of the message's size by SQS's count (bytes)."""
        text = self.envelope.encode("utf-8", "surrogatepass")
        attributes = attributes_of(self.job) if self.job else {}
        return len(text) + sum(len(name + value) + 8 for name, value in attributes.items()) * 4


class QueueDepth(NamedTuple):
    """Approximate numbers of messages on one queue; SQS counts each message in one of the three."""

    visible: int  # Messages that can be received now
    delayed: int  # Messages that become visible later
    held: int  # Messages that a reader or a worker has received, and that are invisible for now

    @classmethod
    def of(cls, client: "SQSClient", url: str) -> Self:
        found: dict[Any, str] = client.get_queue_attributes(QueueUrl=url, AttributeNames=_COUNTS)["Attributes"]
        return cls(*(int(found[name]) for name in _COUNTS))

    @property
    def about(self) -> int:
        return sum(self)


class DeadLetters:
    """Reader of the dead-letter queue, whose methods raise botocore's exceptions, unless they say otherwise.

    `clock` continues while the machine sleeps.
    """

    def __init__(self, client: "SQSClient", url: str, clock: Callable[[], float]) -> None:
        self._client = client
        self._url = url
        self._clock = clock
        self._held: dict[str, HeldMessage] = {}

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Context in which messages may be received and kept invisible. At its end, those not deleted are visible."""
        try:
            yield
        except BaseException:
            # A failed release is ignored in favour of the block's exception; the messages become visible soon.
            with suppress(ClientError, BotoCoreError):
                self.let_go(self._held.values())
            raise
        self.let_go(self._held.values())

    def scan(self, most: float = math.inf) -> Iterator[HeldMessage]:
        """Receive and hold every visible message once, until a poll is empty. Valid only inside `holding`.

        In a storm no poll may be empty: the scan ends with the poll that holds the message number `most`, too.
        """
        while len(self._held) < most:
            until = self._clock() + HOLD_SECONDS
            messages = self._client.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=MAX_BATCH,
                WaitTimeSeconds=RECEIVE_SECONDS,
                VisibilityTimeout=HOLD_SECONDS,
            ).get("Messages", [])
            if not messages:
                return
            # Hold all messages before the first one is yielded: the caller may stop the iteration.
            new = [self._hold(message, until) for message in messages]
            yield from (held for held in new if held)

    def work_off[R](
        self,
        chosen: Sequence[HeldMessage],
        act: Callable[[Sequence[HeldMessage]], list[R]],
        stopping: Callable[[], bool],
    ) -> Iterator[tuple[HeldMessage, R | None]]:
        """Call `act` with batches of held messages until `stopping`. Yield each message's result.

        The result is None for a message that is no longer held, since another reader may have it.
        """
        for batch in batches(chosen, lambda each: each.size):
            if stopping():
                return
            # The others may become visible to another reader while the batch is in progress.
            until = self._clock() + MOVE_SECONDS
            held = [each for each in batch if self._held.get(each.message_id) is each and until < each.until]
            yield from ((each, None) for each in batch if each not in held)
            yield from zip(held, act(held) if held else [], strict=True)

    def delete_batch(self, held_messages: Sequence[HeldMessage]) -> list[str]:
        """Delete up to ten received messages. Return the error for each message, which is empty if it is deleted."""
        entries: list[DeleteMessageBatchRequestEntryTypeDef] = [
            {"Id": str(number), "ReceiptHandle": held.receipt} for number, held in enumerate(held_messages)
        ]
        answer, problem = tried(lambda: self._client.delete_message_batch(QueueUrl=self._url, Entries=entries))
        if answer is None:
            return [str(problem)] * len(held_messages)
        deleted = {each["Id"] for each in answer.get("Successful", ())}
        failed = {each["Id"]: each["Code"] for each in answer.get("Failed", ())}
        problems = ["" if str(n) in deleted else str(failed.get(str(n))) for n in range(len(held_messages))]
        for held, problem in zip(held_messages, problems, strict=True):
            if not problem:
                self._held.pop(held.message_id, None)
        return problems

    def let_go(self, held_messages: Iterable[HeldMessage]) -> None:
        """Make messages visible again. Those for which SQS refuses it are visible at the end of their hold."""
        for batch in batched(list(held_messages), MAX_BATCH, strict=False):
            self._client.change_message_visibility_batch(
                QueueUrl=self._url,
                Entries=[
                    {"Id": str(index), "ReceiptHandle": held.receipt, "VisibilityTimeout": 0}
                    for index, held in enumerate(batch)
                ],
            )
            for held in batch:
                self._held.pop(held.message_id, None)

    def _hold(self, message: "MessageTypeDef", until: float) -> HeldMessage | None:
        if known := self._held.get(message["MessageId"]):
            known.receipt, known.until = message["ReceiptHandle"], until
            return None
        held = HeldMessage(message["MessageId"], message["ReceiptHandle"], until, message["Body"])
        try:
            held.job = read_envelope(message["Body"])._replace(body=b"")
        except UnreadableMessage as error:
            held.problem = str(error)
        self._held[held.message_id] = held
        return held
