"""Import of exported messages: batches, resumption, and bounded memory."""

import io
import random
import tracemalloc
from collections.abc import Sequence

import pytest

from relay.jobs.envelope import envelope_of
from relay.jobs.job import Job
from relay.jobs.queue import Message, Queue
from relayctl.dlq.import_ import Import, check
from relayctl.dlq.jsonl import line_of
from tests.fakes import Clock
from tests.samples import job
from tests.unit.relayctl_fakes import FakeQueue


def jobs(count: int, size: int = 100) -> list[Job]:
    noise = random.Random(7)
    return [job(incident_id=f"i{n}", body=noise.randbytes(size)) for n in range(count)]


def file_of(some: list[Job]) -> io.BytesIO:
    return io.BytesIO("".join(line_of(f"m{n}", each, envelope_of(each)) for n, each in enumerate(some)).encode())


def never(*_: int) -> bool:
    return False


@pytest.fixture
def queue() -> FakeQueue:
    return FakeQueue(Clock())


class TestRun:
    def test_lines_are_sent_in_order_in_batches_of_ten(self, queue: FakeQueue) -> None:
        doing = Import(1)
        assert len(list(doing.run(file_of(jobs(25)), queue.queue(), never))) == 3
        assert [len(batch) for batch in queue.sizes] == [10, 10, 5]
        assert [each.incident_id for each in queue.jobs()] == [f"i{n}" for n in range(25)]
        assert (doing.sent, doing.next_line, doing.problem) == (25, 26, None)

    def test_large_messages_are_sent_in_batches_that_sqs_takes(self, queue: FakeQueue) -> None:
        list(Import(1).run(file_of(jobs(7, size=300_000)), queue.queue(), never))
        assert [len(batch) for batch in queue.sizes] == [2, 2, 2, 1]

    def test_import_ends_at_the_first_refused_message(self, queue: FakeQueue) -> None:
        queue.refused = {"i12"}
        doing = Import(1)
        list(doing.run(file_of(jobs(25)), queue.queue(), never))
        assert (doing.sent, doing.next_line) == (12, 13)
        assert doing.problem == "SQS refused the message: InternalError"
        queue.refused = set()
        again = Import(doing.next_line)
        list(again.run(file_of(jobs(25)), queue.queue(), never))
        assert {each.incident_id for each in queue.jobs()} == {f"i{n}" for n in range(25)}

    def test_import_ends_if_the_file_was_changed_after_the_check(self, queue: FakeQueue) -> None:
        doing = Import(1)
        list(doing.run(io.BytesIO(file_of(jobs(15)).getvalue() + b"x\n"), queue.queue(), never))
        assert (doing.sent, doing.next_line) == (10, 11)
        assert doing.problem is not None
        assert "the file was changed meanwhile" in doing.problem


class Discarding(Queue):
    """A queue that accepts all messages and keeps none."""

    def __init__(self) -> None:
        pass

    def send_batch(self, messages: Sequence[Message]) -> list[str | None]:
        return [None] * len(messages)


def test_memory_of_an_import_does_not_grow_with_the_file() -> None:
    def peak(count: int) -> int:
        file = file_of(jobs(count, size=2000))
        tracemalloc.start()
        try:
            assert check(file, 1, never).chosen == count
            list(Import(1).run(file, Discarding(), never))
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(1)  # What the first run alone allocates, such as caches, must not count.
    assert peak(1200) < peak(200) + 200_000
