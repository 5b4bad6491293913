"""The dead-letter queue as an operator reads it: messages held while relayctl reads them, and let go afterwards.

SQS has no way to read a message without receiving it. A held message is invisible to others; the hold is renewed as
long as it takes, and is given up at the end. If the tool dies, SQS shows the message again within two minutes.

The memory is bounded however many messages there are. A held message keeps its job without the body. The envelopes are
in memory up to SPOOL_BYTES, and above that in an anonymous temporary file, which ends with the process.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from copy import replace
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from io import SEEK_END
from itertools import batched
from tempfile import SpooledTemporaryFile
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from relay.jobs.envelope import Job, UnreadableMessage

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import (
        DeleteMessageBatchRequestEntryTypeDef,
        MessageTypeDef,
        ReceiveMessageResultTypeDef,
    )

HOLD_SECONDS = 120
# Holds are renewed when less than this is left of them: more than anyone waits for a job.
RENEW_SECONDS = 75
# With less than this left, a batch could still be under way when another reader receives the message.
MOVE_SECONDS = 30
# DeleteMessageBatch and ChangeMessageVisibilityBatch take so many.
MAX_BATCH = 10
# A long poll asks all of SQS's servers; a short one may miss messages that are there.
POLL_SECONDS = 1
POLLS_OF_NEW_ONES = 3
SPOOL_BYTES = 32 * 1024 * 1024

# Calls a function with each item, maybe in threads: as `map` does, or an executor's `map`.
type Run = Callable[..., Iterable[Any]]


@dataclass(eq=False)
class Held:
    """A received message that nobody else can receive.

    Attributes:
        message_id: SQS's id of the message.
        receipt: The receipt handle of the last time that it was received.
        until: End of the hold, on the clock of the queue that holds it.
        job: The job without its body; None if the message is not an envelope of the relay.
        problem: Why it is not; None if it is.
        place: First byte and length of its envelope in the spool.
    """

    message_id: str
    receipt: str
    until: float
    job: Job | None
    problem: str | None = None
    place: tuple[int, int] = (0, 0)


class Depth(NamedTuple):
    """Approximate counts of the messages on a queue.

    Attributes:
        visible: Messages that anybody may receive now.
        held: Messages that a reader holds, so that nobody else can receive them for a while.
    """

    visible: int
    held: int

    @property
    def about(self) -> int:
        """All of them."""
        return self.visible + self.held


class DeadLetters:
    """The dead-letter queue. `clock` gives seconds, and counts those that this machine slept through.

    `run` makes several calls of SQS. What SQS refuses comes as botocore raises it, unless a method says otherwise.
    """

    def __init__(self, client: "SQSClient", url: str, clock: Callable[[], float], run: Run = map) -> None:
        self._run = run
        self._spool: IO[bytes]
        self._client = client
        self._url = url
        self._clock = clock
        self._held: dict[str, Held] = {}

    def depth(self) -> Depth:
        """Return the approximate counts of messages; SQS itself does not know them exactly."""
        counts = self._client.get_queue_attributes(
            QueueUrl=self._url,
            AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
        )["Attributes"]
        return Depth(
            visible=int(counts["ApproximateNumberOfMessages"]),
            held=int(counts["ApproximateNumberOfMessagesNotVisible"]),
        )

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Let go of every message that is still held at the end of the block, however it ends, and of the envelopes."""
        with SpooledTemporaryFile(SPOOL_BYTES) as self._spool:
            try:
                yield
            except BaseException:
                # What can't be let go now is visible again soon anyway; what broke the block is what matters.
                with suppress(ClientError, BotoCoreError):
                    self.let_go(self._held.values())
                raise
            self.let_go(self._held.values())

    def envelope(self, held: Held) -> str:
        """Return the envelope of a held message; only inside `holding`."""
        start, length = held.place
        self._spool.seek(start)
        return self._spool.read(length).decode("utf-8", "surrogatepass")

    def scan(self) -> Iterator[Held]:
        """Take every message that is visible, once each; use it inside `holding`.

        In a storm new messages come faster than a poll runs empty, so it ends as well when a few polls in a row gave
        nothing that had been there when it began.
        """
        began, only_new = 0.0, 0
        while only_new < POLLS_OF_NEW_ONES:
            until = self._clock() + HOLD_SECONDS
            answer = self._client.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=10,
                WaitTimeSeconds=POLL_SECONDS,
                VisibilityTimeout=HOLD_SECONDS,
                MessageSystemAttributeNames=["SentTimestamp"],
            )
            messages = answer.get("Messages", [])
            if not messages:
                return
            began = began or _answered_at(answer)
            only_new = only_new + 1 if all(_sent_at(message) > began for message in messages) else 0
            # All of them are held before one is given away: whoever looks at it may not come back.
            new = [self._hold(message, until) for message in messages]
            yield from (held for held in new if held)
            self.renew()

    def renew(self) -> None:
        """Go on holding what would soon be visible again. What SQS won't renew is held no longer than it was."""
        now = self._clock()
        self._held = {name: held for name, held in self._held.items() if held.until > now}
        with suppress(ClientError, BotoCoreError):
            soon = [held for held in self._held.values() if held.until < now + RENEW_SECONDS]
            self._set_visibility(soon, HOLD_SECONDS)

    def is_held(self, held: Held) -> bool:
        """True if nobody else has the message, or can receive it before a batch is moved."""
        return self._held.get(held.message_id) is held and self._clock() + MOVE_SECONDS < held.until

    def delete_batch(self, helds: Sequence[Held]) -> list[str | None]:
        """Remove up to ten messages for good; return for each why SQS did not delete it, or None where it did."""
        entries: list[DeleteMessageBatchRequestEntryTypeDef] = [
            {"Id": str(number), "ReceiptHandle": held.receipt} for number, held in enumerate(helds)
        ]
        try:
            answer = self._client.delete_message_batch(QueueUrl=self._url, Entries=entries)
        except ClientError as error:
            return [str(error.response.get("Error", {}).get("Code"))] * len(helds)
        except BotoCoreError as error:
            return [type(error).__name__] * len(helds)
        deleted = {each["Id"] for each in answer.get("Successful", ())}
        failed = {each["Id"]: each["Code"] for each in answer.get("Failed", ())}
        problems = [None if str(n) in deleted else str(failed.get(str(n))) for n in range(len(helds))]
        for held, problem in zip(helds, problems, strict=True):
            if problem is None:
                self._held.pop(held.message_id, None)
        return problems

    def let_go(self, helds: Iterable[Held]) -> None:
        """Let others see these messages at once."""
        gone = list(helds)
        self._set_visibility(gone, 0)
        for held in gone:
            self._held.pop(held.message_id, None)

    def _hold(self, message: "MessageTypeDef", until: float) -> Held | None:
        """Hold a message that was received; None if it was held before."""
        if known := self._held.get(message["MessageId"]):
            known.receipt, known.until = message["ReceiptHandle"], until
            return None
        held = Held(message["MessageId"], message["ReceiptHandle"], until, None)
        envelope = message["Body"].encode("utf-8", "surrogatepass")
        held.place = (self._spool.seek(0, SEEK_END), len(envelope))
        self._spool.write(envelope)
        try:
            held.job = replace(Job.from_json(message["Body"]), body=b"")
        except UnreadableMessage as error:
            held.problem = str(error)
        self._held[held.message_id] = held
        return held

    def _set_visibility(self, helds: Iterable[Held], seconds: int) -> None:
        def set_of(batch: Sequence[Held]) -> None:
            until = self._clock() + seconds
            answer = self._client.change_message_visibility_batch(
                QueueUrl=self._url,
                Entries=[
                    {"Id": str(index), "ReceiptHandle": held.receipt, "VisibilityTimeout": seconds}
                    for index, held in enumerate(batch)
                ],
            )
            # The call succeeds although single messages fail: those are not held any longer.
            for done in answer.get("Successful", []):
                batch[int(done["Id"])].until = until
            for failed in answer.get("Failed", []):
                self._held.pop(batch[int(failed["Id"])].message_id, None)

        for _ in self._run(set_of, list(batched(helds, MAX_BATCH, strict=False))):
            pass


def _answered_at(answer: "ReceiveMessageResultTypeDef") -> float:
    """The end of the second in which SQS answered, by its own clock; never, if it does not say."""
    with suppress(KeyError, TypeError, ValueError):
        return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"]).timestamp() + 1
    return math.inf


def _sent_at(message: "MessageTypeDef") -> float:
    return int(message.get("Attributes", {}).get("SentTimestamp", "0")) / 1000
