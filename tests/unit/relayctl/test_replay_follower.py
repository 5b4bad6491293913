"""Fates of replayed jobs, as their incidents' entries say."""

from copy import replace
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from relay.incidents.share import State
from relay.jobs.job import timestamp
from relay.ledger.entry import Entry, Lease
from relay.ledger.entry_key import key
from relay.ledger.table import Ledger
from relayctl.dlq.mover import MAX_FAILED_POLLS, STILL_SECONDS, Became, Fate, Follower, Moved, fate
from tests.fake_dynamodb import FakeDynamoDb
from tests.fakes import Clock
from tests.samples import job
from tests.unit.states import NOW, announced, state

if TYPE_CHECKING:
    from collections.abc import Callable

MARK = NOW + 60
DOWN = ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "BatchGetItem")


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
ACCEPTED = REVIVED.claimed(LEASE, 1, queued=True).accepted(LEASE, "r7", 1, until=NOW + 80)


class TestFate:
    @pytest.mark.parametrize(
        ("entry", "expected"),
        [
            (dead_lettered(), Fate(Became.WAITING)),
            (REVIVED, Fate(Became.WAITING)),
            (waiting("paced"), Fate(Became.WAITING, "paced")),
            (REVIVED.claimed(LEASE, 1, queued=True), Fate(Became.WAITING, "in_flight")),
            (
                REVIVED.claimed(LEASE, 1, queued=True).failed(LEASE, 1, 0, until=NOW + 80, reason="upstream"),
                Fate(Became.WAITING, "upstream"),
            ),
            (ACCEPTED, Fate(Became.DELIVERED, request_id="r7")),
            (REVIVED.dead_lettering(state(), MARK + 9, "expired", plan=1), Fate(Became.DEAD_LETTERED, "expired")),
            (announced(state()), Fate(Became.NOT_OWED)),
            (announced(state(5)), Fate(Became.NOT_OWED)),
            (dead_lettered().owing(state(5)), Fate(Became.NOT_OWED)),
            (REVIVED.unchanged(state()), Fate(Became.NOT_OWED)),
            (Entry(), Fate(Became.WAITING)),
        ],
        ids=[
            *("not received yet", "received", "paced", "being sent", "failed", "accepted", "dead-lettered again"),
            *("announced before", "newer announced", "newer kept", "nothing to announce", "unknown"),
        ],
    )
    def test_fate_of_a_replayed_signal_is_read_from_its_entry(self, entry: Entry, expected: Fate) -> None:
        assert fate(moved_signal().job, state(), entry) == expected

    def test_message_without_a_mark_is_delivered_once_its_state_is_announced(self) -> None:
        assert fate(moved_signal(mark=None).job, state(), announced(state())).became == Became.DELIVERED

    def test_message_without_a_mark_that_expires_is_dead_lettered_again(self) -> None:
        became = fate(moved_signal(mark=None).job, state(), dead_lettered(reason="expired"))
        assert became == Fate(Became.DEAD_LETTERED, "expired")


class Following:
    """A `Follower` of replayed jobs, one job for each of `count` incidents.

    `hooks` has functions by the time at which they are called, in seconds after NOW.
    """

    def __init__(self, count: int) -> None:
        self.clock, self.dynamodb = Clock(), FakeDynamoDb()
        self.ledger = Ledger(self.dynamodb.table(self.clock))
        self.jobs = [moved_signal(incident_id=f"i{n}", url_recipients=()) for n in range(count)]
        self.hooks: dict[int, Callable[[], object]] = {}
        self.polls = 0
        self.follower = Follower(self.ledger, self.clock, self.sleep)

    def put(self, number: int, entry: Entry) -> None:
        name = key("noc", (), f"i{number}")
        before = self.ledger.read(name)
        assert self.ledger.write(name, before, entry)

    def sleep(self, seconds: float) -> None:
        self.clock.now += seconds
        for at in [at for at in self.hooks if at <= self.clock.now - NOW]:
            self.hooks.pop(at)()

    def run(self) -> list[Fate]:
        for _ in self.follower.follow(self.jobs):
            self.polls += 1
        return [each.fate for each in self.jobs]


class TestFollow:
    def test_following_ends_when_all_jobs_are_settled(self) -> None:
        following = Following(3)
        following.put(0, ACCEPTED)
        following.hooks = {5: lambda: following.put(1, announced(state(5))), 9: lambda: following.put(2, ACCEPTED)}
        assert [each.became for each in following.run()] == [Became.DELIVERED, Became.NOT_OWED, Became.DELIVERED]
        assert 9 <= following.clock.now - NOW < 12

    def test_following_ends_when_nothing_changed_for_a_minute(self) -> None:
        following = Following(2)
        following.put(0, waiting("paced"))
        following.hooks = {50: lambda: following.put(1, waiting("upstream"))}
        assert following.run() == [Fate(Became.WAITING, "paced"), Fate(Became.WAITING, "upstream")]
        assert 50 + STILL_SECONDS <= following.clock.now - NOW < 54 + STILL_SECONDS

    def test_following_reads_a_hundred_entries_at_once_and_asks_again_for_unprocessed_ones(self) -> None:
        following = Following(250)
        for number in range(250):
            following.put(number, ACCEPTED)
        following.dynamodb.calls.clear()
        following.dynamodb.batch_size = 60
        assert {each.became for each in following.run()} == {Became.DELIVERED}
        assert following.polls == 1
        assert following.dynamodb.calls == ["batch_get_item"] * 5

    def test_following_does_not_read_settled_jobs_again(self) -> None:
        following = Following(101)
        for number in range(100):
            following.put(number, ACCEPTED)
        following.hooks = {3: lambda: following.put(100, ACCEPTED)}
        following.dynamodb.calls.clear()
        following.run()
        assert following.dynamodb.calls.count("batch_get_item") == 2 + following.polls - 1

    def test_following_waits_for_a_ledger_that_fails_for_a_while(self) -> None:
        following = Following(1)
        following.put(0, ACCEPTED)
        following.dynamodb.failure = DOWN
        following.hooks = {3: lambda: setattr(following.dynamodb, "failure", None)}
        assert following.run()[0].became == Became.DELIVERED
        assert following.follower.problem is None

    def test_following_ends_with_the_problem_if_the_ledger_cannot_be_read(self) -> None:
        following = Following(1)
        following.dynamodb.failure = DOWN
        assert following.run() == [Fate(Became.WAITING)]
        assert following.polls == MAX_FAILED_POLLS
        assert following.follower.problem == "DynamoDB refused: AccessDeniedException"
