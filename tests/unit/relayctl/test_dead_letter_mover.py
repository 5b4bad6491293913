"""Replay: the mover puts messages from the dead-letter queue on the retry queue."""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, count
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.jobs.job import Job, timestamp
from relay.jobs.queue import envelope_of
from relayctl.dlq.mover import DeadLetterMover, Moved
from relayctl.dlq.queue import POLLS_OF_NEW_ONES, DeadLetters, HeldMessage
from tests.fakes import Clock
from tests.samples import job
from tests.unit.relayctl_fakes import FakeQueue


def noise(size: int) -> bytes:
    """Return bytes that do not compress."""
    return random.Random(7).randbytes(size)


@dataclass(kw_only=True)
class Bench:
    """A dead-letter queue and a retry queue, both fake, and the mover between them."""

    # Messages a second; None for no limit.
    rate: float | None = None
    # Time that each call of a queue takes.
    seconds: float = 0.0
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.queue = FakeQueue(self.clock, seconds=self.seconds)
        self.retries = FakeQueue(self.clock, seconds=self.seconds)
        self.dead_letters = self.queue.dead_letters()

    def mover(self) -> DeadLetterMover:
        return DeadLetterMover(self.dead_letters, self.retries.queue(), self.clock, self.clock.sleep, self.rate)

    def move(self, stopping: Callable[[], bool] = lambda: False) -> list[Moved]:
        """Scan the dead-letter queue and move its messages to the retry queue; release those that were not moved."""
        with self.scanned() as found:
            return list(self.mover().move(found, stopping))

    @contextmanager
    def scanned(self) -> Iterator[list[HeldMessage]]:
        """Yield all dead-lettered messages. Other receivers do not see them until the `with` block ends."""
        with self.dead_letters.holding():
            yield list(self.dead_letters.scan())

    def other_sees(self) -> int:
        """Count the messages that another operator can receive."""
        other = self.queue.dead_letters()
        with other.holding():
            return len(list(other.scan()))


def jobs(count: int, **changes: Any) -> list[Job]:
    """Return one job for each of `count` incidents, received a second apart."""
    return [
        job(digest=f"d{n}", incident_id=f"i{n}", received_at=timestamp(1_790_000_000 + n), **changes)
        for n in range(count)
    ]


def bodies(some: list[Job]) -> list[str]:
    return [envelope_of(each) for each in some]


def incidents(some: list[Moved]) -> list[str]:
    return [each.job.incident_id for each in some]


class TestMove:
    def test_message_is_deleted_only_after_the_retry_queue_has_it(self) -> None:
        bench = Bench()
        bench.queue.put(*bodies(jobs(3)))
        order: list[str] = []
        bench.retries.done = bench.queue.done = order
        assert [each.note for each in bench.move()] == [None] * 3
        assert order == ["send i0", "send i1", "send i2", "delete i0", "delete i1", "delete i2"]
        assert bench.queue.messages == {}

    def test_envelopes_are_moved_byte_for_byte_oldest_first(self) -> None:
        bench = Bench()
        envelopes = bodies(jobs(25))
        bench.queue.put(*reversed(envelopes))
        bench.move()
        assert [message.body for message in bench.retries.messages.values()] == envelopes

    def test_large_messages_are_moved_in_batches_that_sqs_takes(self) -> None:
        bench = Bench()
        bench.queue.put(*bodies(jobs(7, body=noise(300_000))))
        assert len(bench.move()) == 7
        assert [len(batch) for batch in bench.retries.sizes] == [2, 2, 2, 1]

    def test_batch_that_cannot_be_deleted_is_reported_as_moved(self) -> None:
        bench = Bench()
        bench.queue.put(*bodies(jobs(2)))
        bench.queue.refusing = {"delete"}
        assert all("ServiceUnavailable" in (each.note or "") for each in bench.move())
        assert (len(bench.retries.messages), len(bench.queue.visible())) == (2, 2)

    def test_interrupted_replay_ends_after_the_current_wave_and_shows_the_rest(self) -> None:
        bench = Bench(rate=10)
        bench.queue.put(*bodies(jobs(25)))
        done = bench.move(lambda: len(bench.retries.messages) >= 10)
        assert incidents(done) == [f"i{n}" for n in range(10)]
        assert len(bench.queue.visible()) == len(bench.queue.messages) == 15

    @pytest.mark.parametrize("operation", ["send", "delete"])
    def test_killed_replay_leaves_each_message_on_a_queue(self, operation: str) -> None:
        bench = Bench()
        bench.queue.put(*bodies(jobs(25)))
        killed = {"send": bench.retries, "delete": bench.queue}[operation]
        before = killed._check

        def dies(name: str) -> None:
            if name == operation and killed.calls.count(operation) == 1:
                raise KeyboardInterrupt
            before(name)

        killed._check = dies  # type: ignore[assignment]
        with pytest.raises(KeyboardInterrupt):
            bench.move()
        left = [each.incident_id for each in (*bench.queue.jobs(), *bench.retries.jobs())]
        assert set(left) == {f"i{n}" for n in range(25)}
        assert len(left) == (25 if operation == "send" else 35)
        killed._check = before  # type: ignore[method-assign]
        bench.clock.now += 121
        again = Bench(clock=bench.clock)
        again.queue, again.retries, again.dead_letters = bench.queue, bench.retries, bench.queue.dead_letters()
        again.move()
        assert bench.queue.messages == {}
        assert {each.incident_id for each in bench.retries.jobs()} == {f"i{n}" for n in range(25)}


class TestRate:
    def test_replay_moves_no_more_than_its_rate_per_second(self) -> None:
        bench = Bench(rate=20)
        bench.queue.put(*bodies(jobs(100)))
        started = bench.clock.now
        bench.move()
        assert bench.clock.now - started == pytest.approx(4, abs=0.1)

    def test_time_of_slow_queue_calls_counts_towards_the_rate(self) -> None:
        bench = Bench(rate=1, seconds=0.4)
        bench.queue.put(*bodies(jobs(3)))
        bench.move()
        assert sum(bench.clock.slept) < 1

    def test_stop_is_obeyed_during_a_wait_for_the_rate(self) -> None:
        bench = Bench(rate=0.01)
        bench.queue.put(*bodies(jobs(2)))
        started = bench.clock.now
        done = bench.move(lambda: bench.clock.now > started + 3)
        assert len(done) == 1
        assert bench.clock.now - started < 5


class TestHolds:
    def test_message_that_another_operator_holds_meanwhile_is_left_alone(self) -> None:
        bench = Bench()
        bench.queue.put(*bodies(jobs(2)))
        other = bench.queue.dead_letters()
        with bench.scanned() as found, other.holding():
            bench.clock.now += 121
            theirs = list(other.scan())
            assert list(bench.mover().move(found)) == []
            assert all(other.is_held(each) for each in theirs)
        assert bench.retries.messages == {}

    def test_holds_last_at_the_slowest_rate_after_a_long_scan(self) -> None:
        bench = Bench(rate=0.01)
        bench.queue.put(*bodies(jobs(5)))
        with bench.scanned() as found:
            bench.clock.now += 40
            assert len(list(bench.mover().move(found))) == 5
        assert sum(bench.clock.slept) == pytest.approx(400)

    def test_single_failures_inside_a_batch_that_succeeds_end_those_holds(self) -> None:
        bench = Bench()
        ids = bench.queue.put(*bodies(jobs(3)))
        with bench.scanned() as found:
            bench.queue.stubborn = {ids[1]}
            bench.clock.now += 60
            done = list(bench.mover().move(found))
        assert incidents(done) == ["i0", "i2"]
        assert list(bench.queue.messages) == [ids[1]]

    def test_holds_that_cannot_be_renewed_are_used_until_they_end(self) -> None:
        bench = Bench(rate=0.05)
        bench.queue.put(*bodies(jobs(10)))
        with bench.scanned() as found:
            bench.queue.refusing = {"change"}
            done = list(bench.mover().move(found))
            bench.queue.refusing = set()
        # At 0, 20, 40, 60 and 80 seconds there is time for another before the hold of 120 seconds ends.
        assert len(done) == 5
        assert len(bench.queue.messages) == 5

    def test_message_that_is_received_again_is_moved_once_with_its_newest_receipt(self) -> None:
        bench = Bench()
        (name,) = bench.queue.put(envelope_of(job()))
        with bench.dead_letters.holding():
            scan = bench.dead_letters.scan()
            first = next(scan)
            bench.queue.messages[name].visible_at = 0
            assert list(scan) == []
            assert len(list(bench.mover().move([first]))) == 1
        assert bench.queue.messages == {}

    def test_message_whose_hold_was_lost_and_found_during_the_scan_is_moved_once(self) -> None:
        bench = Bench()
        (name,) = bench.queue.put(envelope_of(job()))
        with bench.dead_letters.holding():
            scan = bench.dead_letters.scan()
            found = [next(scan)]
            bench.clock.now += 50
            bench.queue.stubborn = {name}
            bench.dead_letters.renew()
            bench.queue.stubborn = set()
            bench.queue.messages[name].visible_at = 0
            found += list(scan)
            assert len(found) == 2
            assert len(list(bench.mover().move(found))) == 1
        assert len(bench.retries.messages) == 1

    def test_released_message_is_visible_to_others_and_not_moved(self) -> None:
        bench = Bench()
        bench.queue.put(*bodies(jobs(12)))
        with bench.scanned() as found:
            bench.dead_letters.let_go(found[:11])
            assert len(bench.queue.visible()) == 11
            assert incidents(list(bench.mover().move(found))) == ["i11"]


class TestUnreadable:
    @pytest.mark.parametrize("body", ["", "no JSON", "[]", '{"schema": 2}', '{"schema": 1}', "\ud800"])
    def test_unreadable_message_is_never_moved_and_never_deleted(self, body: str) -> None:
        bench = Bench()
        bench.queue.put(body, envelope_of(job()))
        assert len(bench.move()) == 1
        assert [each.body for each in bench.queue.visible()] == [body]


@given(st.lists(st.sampled_from(["moved", "refused", "not deleted"]), max_size=30))
def test_every_message_is_on_a_queue_after_a_replay_whatever_fails(fates: list[str]) -> None:
    bench = Bench()
    bench.queue.put(*bodies(jobs(len(fates))))
    named = {name: {f"i{n}" for n, each in enumerate(fates) if each == name} for name in ("refused", "not deleted")}
    bench.retries.refused, bench.queue.undeleted = named["refused"], named["not deleted"]
    done = bench.move()
    assert len(done) == len(fates)
    on_retries = Counter(each.incident_id for each in bench.retries.jobs())
    on_dead_letters = Counter(each.incident_id for each in bench.queue.jobs())
    assert on_retries == Counter(f"i{n}" for n, each in enumerate(fates) if each != "refused")
    assert on_dead_letters == Counter(f"i{n}" for n, each in enumerate(fates) if each != "moved")
    assert len(bench.queue.visible()) == len(bench.queue.messages)


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
