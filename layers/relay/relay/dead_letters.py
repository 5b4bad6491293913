"""The dead-letter queue as an operator sees it: messages held while they are looked at, and let go afterwards.

SQS has no way to look at a message without taking it for a while. A message that is held is invisible to others, is
kept held for as long as it takes, and is visible again when the look is over; if the tool dies, SQS shows it again by
itself within two minutes.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from itertools import batched
from typing import TYPE_CHECKING, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from relay.message import Job, UnreadableMessage

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef, ReceiveMessageResultTypeDef

HOLD_SECONDS = 120
# Holds are renewed when less than this is left of them: more than anyone waits for a job.
RENEW_SECONDS = 75
# With less than this left, a job could still be under way when somebody else gets to see its message.
JOB_SECONDS = 30
# A long poll asks all of SQS's servers; a short one may miss messages that are there.
POLL_SECONDS = 1
POLLS_OF_NEW_ONES = 3


@dataclass(eq=False)
class Held:
    """A message that is held until `until`, on the clock of the queue that holds it.

    `job` is None where the message is not an envelope of the relay; then `problem` says why.
    """

    message_id: str
    receipt: str
    until: float
    job: Job | None
    problem: str | None = None


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

    What SQS refuses comes as botocore raises it, unless a method says otherwise.
    """

    def __init__(self, client: "SQSClient", url: str, clock: Callable[[], float]) -> None:
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
        """Let go of every message that is still held at the end of the block, however it ends."""
        try:
            yield
        except BaseException:
            # What can't be let go now is visible again soon anyway; what broke the block is what matters.
            with suppress(ClientError, BotoCoreError):
                self.let_go(self._held.values())
            raise
        self.let_go(self._held.values())

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
        """Whether nobody else has the message, or can get it before a job is done."""
        return self._held.get(held.message_id) is held and self._clock() + JOB_SECONDS < held.until

    def delete(self, held: Held) -> None:
        """Remove a message for good."""
        self._client.delete_message(QueueUrl=self._url, ReceiptHandle=held.receipt)
        del self._held[held.message_id]

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
        try:
            held.job = Job.from_json(message["Body"])
        except UnreadableMessage as error:
            held.problem = str(error)
        self._held[held.message_id] = held
        return held

    def _set_visibility(self, helds: Iterable[Held], seconds: int) -> None:
        for batch in batched(helds, 10, strict=False):
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


def _answered_at(answer: "ReceiveMessageResultTypeDef") -> float:
    """The end of the second in which SQS answered, by its own clock; never, if it does not say."""
    with suppress(KeyError, TypeError, ValueError):
        return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"]).timestamp() + 1
    return math.inf


def _sent_at(message: "MessageTypeDef") -> float:
    return int(message.get("Attributes", {}).get("SentTimestamp", "0")) / 1000
