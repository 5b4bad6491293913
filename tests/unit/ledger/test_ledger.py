from copy import replace

import pytest
from botocore.exceptions import EndpointConnectionError

from relay.channels.schema import MOST_AGE_SECONDS
from relay.delivery.debts import STORED_SECONDS
from relay.failures.errors import LedgerError
from relay.ledger.entry import About, Entry
from relay.ledger.entry_key import key
from relay.ledger.ledger import Ledger
from relay.ledger.row import stored_key
from relay.ledger.table import KEPT_SECONDS
from relayctl.channel.pauses_in_secret import LONGEST_SECONDS
from tests.fake_dynamodb import MAX_KEY_BYTES, FakeDynamoDb
from tests.fakes import Clock
from tests.unit.states import announced, over, state

DAY = 86_400


def fresh() -> tuple[Ledger, FakeDynamoDb]:
    dynamodb = FakeDynamoDb()
    return Ledger(dynamodb.table(Clock())), dynamodb


class TestLedger:
    def test_unknown_incident_has_an_empty_entry(self) -> None:
        ledger, _ = fresh()
        assert ledger.read("k") == Entry()

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

    def test_written_entry_can_be_written_again_without_a_read(self) -> None:
        ledger, dynamodb = fresh()
        one = ledger.write("k", Entry(), Entry().owing(state()))
        assert one
        assert ledger.write("k", one, one.unchanged(over(5)))
        assert dynamodb.calls == ["update_item", "update_item"]

    def test_stale_entry_is_not_written_after_its_item_was_deleted(self) -> None:
        ledger, dynamodb = fresh()
        old = ledger.write("k", Entry(), Entry().owing(state()))
        assert old
        dynamodb.items.clear()
        assert ledger.write("k", old, old.unchanged(over(5))) is None
        assert ledger.read("k") == Entry()

    def test_failing_table_raises_a_ledger_error(self) -> None:
        ledger, dynamodb = fresh()
        dynamodb.failure = EndpointConnectionError(endpoint_url="https://dynamodb")
        with pytest.raises(LedgerError):
            ledger.read("k")
        with pytest.raises(LedgerError):
            ledger.write("k", Entry(), Entry())


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
            written = ledger.write("k", written, replace(written, about=About(f"{clock.now}")))
        clock.now += 91 * DAY
        assert ledger.read("k") == Entry()

    def test_entry_that_is_not_written_outlives_the_longest_pause_and_age_of_a_debt(self) -> None:
        assert KEPT_SECONDS > 2 * (LONGEST_SECONDS + MOST_AGE_SECONDS) + STORED_SECONDS


class TestStoredJobs:
    def test_stored_job_is_read_by_entry_and_delivery_id(self) -> None:
        ledger, dynamodb = fresh()
        name = key("noc", (), "a/b")
        ledger.store(name, "d" * 32, "envelope", lasts=60)
        assert ledger.stored(name, "d" * 32) == "envelope"
        assert ledger.stored(name, "e" * 32) is None
        assert ledger.stored(key("noc", (), "a"), "d" * 32) is None
        assert dynamodb.indexed() == []

    def test_key_of_a_stored_job_fits_into_dynamodb(self) -> None:
        name = key("c" * 48, (), "x" * 9999)
        assert len(stored_key(key("c" * 48, (), "é" * (1024 // 2)), "d" * 32).encode()) <= MAX_KEY_BYTES
        assert len(stored_key(name, "d" * 32).encode()) <= MAX_KEY_BYTES
