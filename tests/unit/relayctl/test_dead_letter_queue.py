"""End of a scan of the dead-letter queue. Its other behaviour is tested against moto's SQS."""

from itertools import chain, count
from typing import Any, cast

from relay.jobs.envelope import envelope_of
from relayctl.dlq.queue import POLLS_OF_NEW_ONES, DeadLetters
from tests.fakes import Clock
from tests.samples import job

# Fri, 15 Jan 2027 08:00:00 GMT
BEGAN = 1_800_000_000


class Storm:
    """A fake SQS client that returns one message for each poll: first messages sent at these times, then new ones."""

    def __init__(self, *sent: float, says_when: bool = True) -> None:
        self.sent = chain(sent, (BEGAN + 60 + n for n in range(500)))
        self.headers = {"date": "Fri, 15 Jan 2027 08:00:00 GMT"} if says_when else {}
        self.names = count()

    def receive_message(self, **_: Any) -> dict[str, Any]:
        answer: dict[str, Any] = {"ResponseMetadata": {"HTTPHeaders": self.headers}}
        if (sent := next(self.sent, None)) is None:
            return answer
        name = f"m{next(self.names)}"
        message = {"MessageId": name, "ReceiptHandle": name, "Body": envelope_of(job())}
        return answer | {"Messages": [message | {"Attributes": {"SentTimestamp": str(int(sent * 1000))}}]}

    def change_message_visibility_batch(self, **_: Any) -> dict[str, Any]:
        return {}


def scanned(storm: Storm) -> int:
    queue = DeadLetters(cast("Any", storm), "url", Clock())
    with queue.holding():
        return len(list(queue.scan()))


def test_scan_ends_although_new_messages_keep_coming() -> None:
    assert scanned(Storm(BEGAN - 5, BEGAN - 4)) == 2 + POLLS_OF_NEW_ONES


def test_old_message_among_new_ones_keeps_the_scan_going() -> None:
    assert scanned(Storm(BEGAN + 9, BEGAN + 9, BEGAN - 4)) == 3 + POLLS_OF_NEW_ONES


def test_message_sent_in_the_second_in_which_the_scan_began_is_not_new() -> None:
    assert scanned(Storm(*[BEGAN + 0.9] * 40)) == 40 + POLLS_OF_NEW_ONES


def test_scan_without_the_time_of_sqs_ends_at_an_empty_poll() -> None:
    assert scanned(Storm(says_when=False)) == 500
