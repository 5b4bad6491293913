"""Deletion of dead-lettered messages, and which criticals are still owed."""

import pytest

from relay.delivery.task import entry_key_of, recorded_state
from relay.incidents.share import State, parse_share
from relay.jobs.job import Job, seconds_of
from relay.jobs.queue import envelope_of
from relay.ledger.entry import Entry
from relay.ledger.table import Ledger
from relayctl.dlq.drop import Drop, criticals
from relayctl.dlq.queue import HeldMessage
from tests.fake_dynamodb import FakeDynamoDb
from tests.fakes import Clock
from tests.samples import body, job
from tests.unit.relayctl_fakes import FakeQueue


class Desk:
    """A ledger with some entries, and its table."""

    def __init__(self, entries: dict[str, Entry] | None = None) -> None:
        self.dynamodb = FakeDynamoDb()
        self.ledger = Ledger(self.dynamodb.table(Clock()))
        for name, entry in (entries or {}).items():
            assert self.ledger.write(name, Entry(), entry)
        self.dynamodb.calls.clear()

    def found(self, *some: Job) -> tuple[list[tuple[str, bool | None]], str | None]:
        """Return the criticals among dead-lettered jobs, each with its answer if it is owed, and the problem."""
        queue = FakeQueue(Clock())
        queue.put(*map(envelope_of, some))
        dead_letters = queue.dead_letters()
        with dead_letters.holding():
            those, problem = criticals(list(dead_letters.scan()), self.ledger)
        return [(each["incident_id"], each["still_owed"]) for each in those], problem


def state_of(one: Job) -> State:
    return recorded_state(one, State.of(parse_share(one.body), seconds_of(one.received_at)))


DEAD = job(dead_lettered_at="2027-01-15T09:00:00.000Z")
NEWER = job(body=body(status="warning", changedOn=1_800_000_500), version=(1_800_000_500.0, 1_800_000_500.0))
MARK = seconds_of("2027-01-15T09:00:00.000Z")


class TestCriticals:
    @pytest.mark.parametrize(
        ("entry", "is_owed"),
        [
            (Entry(), True),
            (Entry().dead_lettering(state_of(DEAD), MARK, "refused", plan=1), True),
            (Entry().dead_lettering(state_of(DEAD), MARK + 60, "refused", plan=1), True),
            (Entry().owing(state_of(DEAD)), True),
            (Entry().announcing(state_of(DEAD), "r1", MARK), False),
            (Entry().announcing(state_of(DEAD), "r1", 9).dead_lettering(state_of(DEAD), MARK, "refused", plan=1), True),
            (Entry().dead_lettering(state_of(DEAD), MARK, "refused", plan=1).unchanged(state_of(DEAD)), False),
            (Entry().owing(state_of(NEWER)), False),
        ],
        ids=[
            "unknown",
            "dead-lettered",
            "dead-lettered again",
            "waits",
            "announced",
            "owed to further recipients",
            "settled",
            "superseded",
        ],
    )
    def test_critical_is_owed_unless_the_ledger_says_otherwise(self, entry: Entry, is_owed: bool) -> None:
        assert Desk({entry_key_of(DEAD): entry}).found(DEAD) == ([("i1", is_owed)], None)

    def test_other_jobs_are_no_criticals(self) -> None:
        others = [
            job(body=body(status="warning"), status="warning"),
            job(body=body(status="ok"), status="ok"),
            job(kind="writeback"),
            job(body=b"no JSON"),
        ]
        assert Desk().found(*others) == ([], None)


class TestDrop:
    def drop(self, queue: FakeQueue) -> Drop:
        dead_letters = queue.dead_letters()
        with dead_letters.holding():
            doing = Drop(list[HeldMessage](dead_letters.scan()))
            list(doing.delete(dead_letters, lambda: False))
        return doing

    def test_message_that_is_not_deleted_is_a_failure(self) -> None:
        queue = FakeQueue(Clock())
        queue.put(*(envelope_of(job(incident_id=f"i{n}")) for n in range(12)))
        queue.undeleted = {"i3", "i11"}
        doing = self.drop(queue)
        assert doing.counts() == {"dropped": 10, "failed": 2, "gone": 0, "left": 0}
        assert {problem for _, problem in doing.problems} == {"InternalError"}
        assert {each.incident_id for each in queue.jobs()} == {"i3", "i11"}

    @pytest.mark.parametrize("mark", [DEAD.dead_lettered_at, None], ids=["dead-lettered by a worker", "moved by SQS"])
    def test_dropped_state_is_not_owed_any_more(self, mark: str | None) -> None:
        dead = DEAD._replace(dead_lettered_at=mark)
        entry = Entry().owing(state_of(dead))
        desk = Desk(
            {entry_key_of(dead): entry.dead_lettering(state_of(dead), MARK, "refused", plan=1) if mark else entry}
        )
        queue = FakeQueue(Clock())
        queue.put(envelope_of(dead))
        assert self.drop(queue).record(desk.ledger, map, MARK + 9) is None
        after = desk.ledger.read(entry_key_of(dead))
        assert (after.debt.since, after.debt.row, after.debt.dead_lettered_at) == (
            None,
            None,
            MARK if mark else MARK + 9,
        )
