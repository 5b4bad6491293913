from copy import replace

import pytest

from relay.channels.schema import MOST_AGE_SECONDS
from relay.delivery.debts import STORED_SECONDS
from relay.ledger.entry import Entry
from relay.ledger.entry_key import key
from relay.ledger.ledger import Ledger
from relay.ledger.table import KEPT_SECONDS
from relayctl.channel.pauses_in_secret import LONGEST_SECONDS
from tests.fake_dynamodb import FakeDynamoDb
from tests.fakes import Clock
from tests.unit.states import announced, over, state

DAY = 86_400


def fresh() -> tuple[Ledger, FakeDynamoDb]:
    dynamodb = FakeDynamoDb()
    return Ledger(dynamodb.table(Clock())), dynamodb


class TestLedger:
    def test_only_one_of_two_concurrent_writers_succeeds(self) -> None:
        ledger, _ = fresh()
        first, second = ledger.read("k"), ledger.read("k")
        assert ledger.write("k", first, first.owing(state()))
        assert ledger.write("k", second, second.owing(over(5))) is None
        now = ledger.read("k")
        assert now.newest == state()
        after = ledger.write("k", now, now.owing(over(5)))
        assert after
        assert (after.newest, after.sequence) == (over(5), 2)

    def test_stale_entry_is_not_written_after_its_item_was_deleted(self) -> None:
        ledger, dynamodb = fresh()
        old = ledger.write("k", Entry(), Entry().owing(state()))
        assert old
        dynamodb.items.clear()
        assert ledger.write("k", old, old.unchanged(over(5))) is None
        assert ledger.read("k") == Entry()


class TestExpiry:
    @pytest.mark.parametrize("entry", [Entry().owing(state()), announced(state())], ids=["owed", "announced"])
    def test_each_write_lets_an_entry_live_for_ninety_days_more(self, entry: Entry) -> None:
        clock = Clock()
        ledger = Ledger(FakeDynamoDb().table(clock))
        written = ledger.write("k", Entry(), entry)
        for _ in range(3):
            clock.now += 89 * DAY
            assert written
            assert ledger.read("k") == written
            written = ledger.write("k", written, replace(written, title=f"{clock.now}"))
        clock.now += 91 * DAY
        assert ledger.read("k") == Entry()

    def test_entry_that_is_not_written_outlives_the_longest_pause_and_age_of_a_debt(self) -> None:
        assert 2 * (LONGEST_SECONDS + MOST_AGE_SECONDS) + STORED_SECONDS < KEPT_SECONDS


class TestStoredJobs:
    def test_stored_job_is_read_by_entry_and_delivery_id(self) -> None:
        ledger, dynamodb = fresh()
        name = key("noc", (), "a/b")
        ledger.store(name, "d" * 32, "envelope", lasts=60)
        assert ledger.stored(name, "d" * 32) == "envelope"
        assert ledger.stored(name, "e" * 32) is None
        assert ledger.stored(key("noc", (), "a"), "d" * 32) is None
        assert dynamodb.indexed() == []
