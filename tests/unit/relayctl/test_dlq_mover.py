"""Replay: messages are moved from the dead-letter queue to the retry queue, and followed to their fates."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import replace
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.incidents.share import State
from relay.jobs.job import Job, timestamp
from relay.jobs.queue import MAX_MESSAGE_BYTES, Queue, envelope_of, read_envelope
from relay.ledger.entry import Entry, Lease
from relay.ledger.entry_key import key
from relay.ledger.table import Ledger
from relayctl.dlq.mover import (
    STILL_SECONDS,
    Became,
    Fate,
    Moved,
    fate,
    follow,
    move,
)
from relayctl.dlq.queue import HOLD_SECONDS, MOVE_SECONDS, DeadLetters, HeldMessage
from tests.fake_dynamodb import FakeDynamoDb
from tests.fakes import Clock
from tests.samples import job
from tests.unit.states import NOW, announced, state

URL = "https://sqs.eu-central-1.amazonaws.com/000000000000/dead-letters"


class FakeQueue:
    """Fake SQS client with one queue. A batch call is HTTP 200 although single messages fail, as SQS has it.

    Attributes:
        failing: Incidents whose messages are neither sent nor deleted.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock, self.failing, self._numbers = clock, set[str](), count(1)
        # Messages by id, hidden ones included.
        self.messages: dict[str, Any] = {}

    def put(self, *bodies: str) -> None:
        for body in bodies:
            name = f"m{next(self._numbers)}"
            self.messages[name] = SimpleNamespace(id=name, body=body, visible_at=self.clock(), receipt="")

    def jobs(self) -> list[Job]:
        return [read_envelope(message.body) for message in self.messages.values()]

    def visible(self) -> list[Any]:
        return [message for message in self.messages.values() if message.visible_at <= self.clock()]

    def receive_message(self, *, MaxNumberOfMessages: int, VisibilityTimeout: int, **_: Any) -> dict[str, Any]:
        taken = self.visible()[:MaxNumberOfMessages]
        for message in taken:
            message.receipt = f"receipt-{next(self._numbers)}"
            message.visible_at = self.clock() + VisibilityTimeout
        return {
            "Messages": [{"MessageId": each.id, "ReceiptHandle": each.receipt, "Body": each.body} for each in taken]
        }

    def change_message_visibility_batch(self, *, Entries: Sequence[dict[str, Any]], **_: Any) -> None:
        for entry in Entries:
            self._of(entry).visible_at = self.clock() + entry["VisibilityTimeout"]

    def delete_message_batch(self, *, Entries: Sequence[dict[str, Any]], **_: Any) -> Any:
        def delete(entry: dict[str, Any]) -> None:
            del self.messages[self._of(entry).id]

        return self._batch(Entries, lambda entry: self._of(entry).body, delete)

    def send_message_batch(self, *, Entries: Sequence[dict[str, Any]], **_: Any) -> Any:
        assert sum(len(entry["MessageBody"]) for entry in Entries) <= MAX_MESSAGE_BYTES, "SQS refuses it"
        return self._batch(Entries, lambda entry: entry["MessageBody"], lambda entry: self.put(entry["MessageBody"]))

    def _of(self, entry: dict[str, Any]) -> Any:
        """Return the message with the receipt in an entry, which must be its last one."""
        [found] = [each for each in self.messages.values() if each.receipt == entry["ReceiptHandle"]]
        return found

    def _batch(self, entries: Sequence[dict[str, Any]], body: Callable[..., str], act: Callable[..., object]) -> Any:
        assert 1 <= len(entries) <= 10
        fails = {entry["Id"]: read_envelope(body(entry)).incident_id in self.failing for entry in entries}
        for entry in entries:
            if not fails[entry["Id"]]:
                act(entry)
        failed = [{"Id": name, "Code": "InternalError"} for name in fails if fails[name]]
        return {"Successful": [{"Id": name} for name in fails if not fails[name]], "Failed": failed}


class Bench:
    """A dead-letter queue and a retry queue, both fake, and the mover between them."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.queue, self.retries = FakeQueue(self.clock), FakeQueue(self.clock)
        client: Any = self.queue
        self.dead_letters = DeadLetters(client, URL, self.clock)

    def moved(self, found: list[HeldMessage]) -> list[Moved]:
        """Move messages to the retry queue."""
        client: Any = self.retries
        return list(move(self.dead_letters, Queue(client, URL), found))

    @contextmanager
    def scanned(self) -> Iterator[list[HeldMessage]]:
        """Yield all dead-lettered messages. Other receivers do not see them until the `with` block ends."""
        with self.dead_letters.holding():
            yield list(self.dead_letters.scan())


def jobs(count: int, **changes: Any) -> list[Job]:
    """Return one job for each of `count` incidents, received a second apart."""
    return [
        job(digest=f"d{n}", incident_id=f"i{n}", received_at=timestamp(1_790_000_000 + n), **changes)
        for n in range(count)
    ]


def bodies(some: list[Job]) -> list[str]:
    return [envelope_of(each) for each in some]


def test_message_that_is_received_again_is_moved_once_with_its_newest_receipt() -> None:
    bench = Bench()
    bench.queue.put(envelope_of(job()))
    with bench.dead_letters.holding():
        scan = bench.dead_letters.scan()
        first = next(scan)
        bench.queue.messages["m1"].visible_at = 0
        assert list(scan) == []
        assert len(bench.moved([first])) == 1
    assert bench.queue.messages == {}


def test_message_whose_hold_is_over_is_left_to_other_readers() -> None:
    bench = Bench()
    bench.queue.put(*bodies(jobs(3)))
    with bench.scanned() as found:
        bench.clock.now += HOLD_SECONDS - MOVE_SECONDS
        assert bench.moved(found) == []
    assert len(bench.queue.visible()) == 3


@given(st.lists(st.sampled_from(["moved", "refused", "not deleted"]), max_size=30))
def test_every_message_is_on_a_queue_after_a_replay_whatever_fails(fates: list[str]) -> None:
    bench = Bench()
    bench.queue.put(*bodies(jobs(len(fates))))
    named = {name: {f"i{n}" for n, each in enumerate(fates) if each == name} for name in ("refused", "not deleted")}
    bench.retries.failing, bench.queue.failing = named["refused"], named["not deleted"]
    with bench.scanned() as found:
        done = bench.moved(found)
    assert len(done) == len(fates)
    on_retries = Counter(each.incident_id for each in bench.retries.jobs())
    on_dead_letters = Counter(each.incident_id for each in bench.queue.jobs())
    assert on_retries == Counter(f"i{n}" for n, each in enumerate(fates) if each != "refused")
    assert on_dead_letters == Counter(f"i{n}" for n, each in enumerate(fates) if each != "moved")
    assert len(bench.queue.visible()) == len(bench.queue.messages)


def test_scan_ends_although_new_messages_keep_coming() -> None:
    bench, found = Bench(), list[HeldMessage]()
    bench.queue.put(*bodies(jobs(10)))
    with bench.dead_letters.holding():
        for held in bench.dead_letters.scan(25):
            bench.queue.put(*bodies(jobs(10)))
            found.append(held)
    assert len(found) == 30


@pytest.mark.parametrize(("seconds", "read"), [(0.1, 1000), (1.0, 1000), (2.0, 750), (9.0, 170)])
def test_scan_ends_before_its_first_messages_are_visible_again(seconds: float, read: int) -> None:
    bench, receive = Bench(), 0

    def slow(**asked: Any) -> dict[str, Any]:
        nonlocal receive
        receive += 1
        assert receive <= 101, "the scan goes on"
        found = FakeQueue.receive_message(bench.queue, **asked)
        bench.clock.now += seconds
        return found

    vars(bench.queue)["receive_message"] = slow
    bench.queue.put(*bodies(jobs(1000)))
    with bench.scanned() as found:
        assert (len(found), bench.dead_letters.is_scan_cut) == (read, read < 1000)
        # A batch of the first messages can still be moved.
        assert min(held.until for held in found) > bench.clock() + MOVE_SECONDS
    assert len(bench.queue.visible()) == 1000


MARK = NOW + 60


def moved_signal(of: State | None = None, *, mark: float | None = MARK, **changes: Any) -> Moved:
    """Return a signal's job that a replay moved from the dead-letter queue to the retry queue."""
    dead_lettered_at = None if mark is None else timestamp(mark)
    one = job(dead_lettered_at=dead_lettered_at, recipients=(), **changes)
    return Moved(one, of or state(), Fate(Became.WAITING))


def dead_lettered(at: float = MARK, reason: str = "refused") -> Entry:
    return Entry().owing(state()).dead_lettering(state(), at, reason, plan=1)


REVIVED = dead_lettered().reviving(state(), MARK + 5)


def waiting(reason: str) -> Entry:
    """Return the entry of a revived job that waits for that reason."""
    return replace(REVIVED, debt=replace(REVIVED.debt, reason=reason))


LEASE = Lease(owner="a", until=NOW + 99, began=MARK + 7, state=state())
ACCEPTED = REVIVED.leased(LEASE, 1, 0).accepted(LEASE, "r7", 1, until=NOW + 80)


FURTHER = announced(state()).dead_lettering(state(), MARK, "refused", plan=1)


class TestFate:
    @pytest.mark.parametrize(
        ("entry", "expected"),
        [
            (dead_lettered(), Fate(Became.WAITING)),
            (REVIVED, Fate(Became.WAITING)),
            (waiting("paced"), Fate(Became.WAITING, "paced")),
            (REVIVED.leased(LEASE, 1, 0), Fate(Became.WAITING, "in_flight")),
            (
                REVIVED.leased(LEASE, 1, 0).failed(LEASE, 1, 0, until=NOW + 80, reason="upstream"),
                Fate(Became.WAITING, "upstream"),
            ),
            (ACCEPTED, Fate(Became.DELIVERED, request_id="r7")),
            (REVIVED.dead_lettering(state(), MARK + 9, "expired", plan=1), Fate(Became.DEAD_LETTERED, "expired")),
            (announced(state()), Fate(Became.NOT_OWED)),
            (announced(state(5)), Fate(Became.NOT_OWED)),
            (dead_lettered().owing(state(5)), Fate(Became.NOT_OWED)),
            (REVIVED.unchanged(state()), Fate(Became.NOT_OWED)),
            (Entry(), Fate(Became.WAITING)),
            (FURTHER, Fate(Became.WAITING)),
            (FURTHER.reviving(state(), MARK + 5), Fate(Became.WAITING)),
        ],
        ids=[
            *("not received yet", "received", "paced", "being sent", "failed", "accepted", "dead-lettered again"),
            *("announced before", "newer announced", "newer kept", "nothing to announce", "unknown"),
            *("announced, and owed to further recipients", "and received"),
        ],
    )
    def test_fate_of_a_replayed_signal_is_read_from_its_entry(self, entry: Entry, expected: Fate) -> None:
        assert fate(moved_signal().job, state(), entry) == expected

    @pytest.mark.parametrize(
        ("entry", "became"),
        [(announced(state()), Became.DELIVERED), (dead_lettered(reason="expired"), Became.DEAD_LETTERED)],
    )
    def test_message_without_a_mark_has_the_fate_of_its_state(self, entry: Entry, became: Became) -> None:
        assert fate(moved_signal(mark=None).job, state(), entry).became == became


def test_following_ends_when_nothing_changed_for_a_minute() -> None:
    clock = Clock()
    ledger, jobs = Ledger(FakeDynamoDb().table(clock)), [moved_signal(url_recipients=())]
    written = ledger.write(key("noc", (), jobs[0].job.incident_id), Entry(), waiting("paced"))

    def sleep(seconds: float) -> None:
        clock.now += seconds
        if written and 50 <= clock.now - NOW < 50 + seconds:
            ledger.write(key("noc", (), jobs[0].job.incident_id), written, waiting("upstream"))

    assert set(follow(ledger, jobs, clock, sleep)) == {None}
    assert jobs[0].fate == Fate(Became.WAITING, "upstream")
    assert 50 + STILL_SECONDS <= clock.now - NOW < 54 + STILL_SECONDS
