"""The dead-letter queue's scan and holds against moto's SQS."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from moto import mock_aws

from relay.jobs.queue import Queue, envelope_of, read_envelope
from relayctl.dlq.queue import HOLD_SECONDS, DeadLetters
from tests.fakes import Clock
from tests.integration.relayctl_cloud import REGION, new_session, short_polls
from tests.samples import job


class Bench:
    """A dead-letter queue in moto, a record of the calls that changed messages' visibility, and a clock."""

    def __init__(self) -> None:
        session = new_session(region_name=REGION)
        short_polls(session)
        session.events.register("before-call.sqs.ChangeMessageVisibilityBatch", self._note)
        self.client = session.client("sqs")
        self.url = self.client.create_queue(QueueName="dead-letters")["QueueUrl"]
        self.clock = Clock()
        self.changes: list[int] = []

    def dead_letters(self) -> DeadLetters:
        return DeadLetters(self.client, self.url, self.clock)

    def put(self, count: int) -> None:
        for start in range(0, count, 10):
            bodies = [envelope_of(job(incident_id=f"i{n}")) for n in range(start, min(count, start + 10))]
            entries: list[Any] = [{"Id": str(n), "MessageBody": body} for n, body in enumerate(bodies)]
            self.client.send_message_batch(QueueUrl=self.url, Entries=entries)

    def seen_by_others(self) -> int:
        return len(
            self.client.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10, VisibilityTimeout=0)["Messages"]
        )

    def is_empty_to_others(self) -> bool:
        return "Messages" not in self.client.receive_message(QueueUrl=self.url, VisibilityTimeout=0)

    def _note(self, params: dict[str, Any], **_: Any) -> None:
        self.changes.append(len(json.loads(params["body"])["Entries"]))


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        yield Bench()


@pytest.mark.parametrize("count", [0, 1, 10, 11, 125])
def test_scan_returns_each_dead_lettered_message_once(bench: Bench, count: int) -> None:
    bench.put(count)
    queue = bench.dead_letters()
    with queue.holding():
        found = [held.job.incident_id if held.job else "" for held in queue.scan()]
        assert bench.is_empty_to_others()
    assert Counter(found) == Counter(f"i{n}" for n in range(count))


def test_held_messages_are_visible_at_once_after_the_hold(bench: Bench) -> None:
    bench.put(25)
    queue = bench.dead_letters()
    with queue.holding():
        assert len(list(queue.scan())) == 25
        assert bench.is_empty_to_others()
    again = bench.dead_letters()
    with again.holding():
        assert len(list(again.scan())) == 25


@pytest.mark.parametrize("failure", [KeyboardInterrupt, SystemExit, RuntimeError])
@pytest.mark.parametrize("looked_at", [1, 4, 11])
def test_held_messages_are_visible_at_once_after_an_interrupted_scan(
    bench: Bench, failure: type[BaseException], looked_at: int
) -> None:
    bench.put(25)
    queue = bench.dead_letters()

    def interrupted() -> None:
        with queue.holding():
            for number, _ in enumerate(queue.scan(), 1):
                if number == looked_at:
                    raise failure

    with pytest.raises(failure):
        interrupted()
    again = bench.dead_letters()
    with again.holding():
        assert len(list(again.scan())) == 25


def test_some_held_messages_can_be_released_early(bench: Bench) -> None:
    bench.put(3)
    queue = bench.dead_letters()
    with queue.holding():
        first, second, _ = queue.scan()
        queue.let_go([first, second])
        assert bench.seen_by_others() == 2
        assert not queue.is_held(first)


def test_deleted_message_is_gone_and_its_hold_is_not_released(bench: Bench) -> None:
    bench.put(1)
    queue = bench.dead_letters()
    with queue.holding():
        (held,) = queue.scan()
        assert queue.is_held(held)
        assert queue.delete_batch([held]) == [None]
        assert not queue.is_held(held)
    assert bench.dead_letters().depth().about == 0
    assert bench.changes == []


def test_holds_are_renewed_in_batches_of_ten_shortly_before_they_expire(bench: Bench) -> None:
    bench.put(12)
    queue = bench.dead_letters()
    with queue.holding():
        found = list(queue.scan())
        bench.clock.now += 40
        queue.renew()
        assert bench.changes == []
        bench.clock.now += 10
        queue.renew()
        assert bench.changes == [10, 2]
        assert {held.until for held in found} == {bench.clock() + HOLD_SECONDS}


def test_depth_counts_held_messages_separately(bench: Bench) -> None:
    queue = bench.dead_letters()
    assert queue.depth() == (0, 0)
    bench.put(12)
    assert queue.depth() == (12, 0)
    with queue.holding():
        next(queue.scan())
        assert queue.depth() == (2, 10)
        assert queue.depth().about == 12


def test_dead_letter_that_is_no_envelope_has_a_problem_text(bench: Bench) -> None:
    bench.client.send_message(QueueUrl=bench.url, MessageBody="hello")
    queue = bench.dead_letters()
    with queue.holding():
        (held,) = queue.scan()
    assert held.job is None
    assert held.problem
    assert held.problem.startswith("it is not an envelope of the relay")


def test_dead_lettered_job_is_read_back_unchanged(bench: Bench) -> None:
    Queue(bench.client, bench.url).send(job(incident_id="a\x00\ud800b", body=b"\xff\x00", replays=4))
    queue = bench.dead_letters()
    with queue.holding():
        (held,) = queue.scan()
        whole = read_envelope(held.envelope)
    assert whole == job(incident_id="a\x00\ud800b", body=b"\xff\x00", replays=4)
    assert held.job == whole.with_body(b"")
