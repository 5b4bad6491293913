"""The dead-letter queue as an operator sees it: messages held while they are looked at, and let go afterwards.

SQS has no way to look at a message without taking it for a while. A message that is held is invisible to others, is
kept held for as long as it takes, and is visible again when the look is over; if the tool dies, SQS shows it again by
itself within two minutes.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import batched
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from relay.message import Job, UnreadableMessage

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

HOLD_SECONDS = 120
# Holds are renewed when less than this is left of them.
RENEW_SECONDS = 60
# A long poll asks all of SQS's servers; a short one may miss messages that are there.
POLL_SECONDS = 1


@dataclass
class Held:
    """A message that is held until `until`, on the clock of the queue that holds it.

    `job` is None where the message is not an envelope of the relay; then `problem` says why.
    """

    message_id: str
    receipt: str
    until: float
    job: Job | None
    problem: str | None = None


class DeadLetters:
    """The dead-letter queue. `clock` gives seconds and never goes back.

    What SQS refuses comes as botocore raises it, unless a method says otherwise.
    """

    def __init__(self, client: "SQSClient", url: str, clock: Callable[[], float]) -> None:
        self._client = client
        self._url = url
        self._clock = clock
        self._held: dict[str, Held] = {}

    def about(self) -> int:
        """About how many messages there are, held ones among them; SQS itself does not know it exactly."""
        counts = self._client.get_queue_attributes(
            QueueUrl=self._url,
            AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
        )["Attributes"]
        return int(counts["ApproximateNumberOfMessages"]) + int(counts["ApproximateNumberOfMessagesNotVisible"])

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Let go of every message that is still held at the end of the block, however it ends."""
        try:
            yield
        finally:
            self._let_go(list(self._held.values()))

    def scan(self) -> Iterator[Held]:
        """Take every message that is visible, once each; use it inside `holding`."""
        while True:
            answer = self._client.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=10,
                WaitTimeSeconds=POLL_SECONDS,
                VisibilityTimeout=HOLD_SECONDS,
            )
            messages = answer.get("Messages", [])
            if not messages:
                return
            for message in messages:
                known = message["MessageId"] in self._held
                held = self._hold(message["MessageId"], message["ReceiptHandle"], message["Body"])
                if not known:
                    yield held
            self.renew()

    def renew(self) -> None:
        """Go on holding what would soon be visible again."""
        soon = self._clock() + RENEW_SECONDS
        self._set_visibility([held for held in self._held.values() if held.until < soon], HOLD_SECONDS)

    def is_held(self, held: Held) -> bool:
        """Whether nobody else can have taken the message meanwhile."""
        return held.message_id in self._held and self._clock() < held.until

    def delete(self, held: Held) -> None:
        """Remove a message for good."""
        self._client.delete_message(QueueUrl=self._url, ReceiptHandle=held.receipt)
        del self._held[held.message_id]

    def _hold(self, message_id: str, receipt: str, body: str) -> Held:
        until = self._clock() + HOLD_SECONDS
        try:
            held = Held(message_id, receipt, until, Job.from_json(body))
        except UnreadableMessage as error:
            held = Held(message_id, receipt, until, None, str(error))
        self._held[message_id] = held
        return held

    def _let_go(self, helds: list[Held]) -> None:
        # What can't be let go now is visible again soon anyway.
        with suppress(ClientError, BotoCoreError):
            self._set_visibility(helds, 0)
        self._held.clear()

    def _set_visibility(self, helds: Iterable[Held], seconds: int) -> None:
        for batch in batched(helds, 10, strict=False):
            answer = self._client.change_message_visibility_batch(
                QueueUrl=self._url,
                Entries=[
                    {"Id": str(index), "ReceiptHandle": held.receipt, "VisibilityTimeout": seconds}
                    for index, held in enumerate(batch)
                ],
            )
            # The call succeeds although single messages fail: those are not held any longer.
            for done in answer.get("Successful", []):
                batch[int(done["Id"])].until = self._clock() + seconds
            for failed in answer.get("Failed", []):
                self._held.pop(batch[int(failed["Id"])].message_id, None)
