"""Replay: a message that is received again, and the fates of the messages that were moved to the retry queue."""

from copy import replace
from types import SimpleNamespace
from typing import Any

import pytest

from relay.jobs.job import timestamp
from relay.jobs.queue import envelope_of
from relay.ledger.entry import Entry, Lease, entry_key
from relay.ledger.table import Ledger
from relayctl.dlq.queue import HOLD_SECONDS, DeadLetters
from relayctl.dlq.replay_and_drop import STILL_SECONDS, Became, Fate, Moved, fate, follow
from tests.fake_dynamodb import FakeDynamoDb
from tests.fakes import Clock
from tests.samples import job
from tests.unit.states import NOW, announced, state


def test_message_that_is_received_again_is_held_once_by_its_newest_receipt() -> None:
    clock, receipts, deleted = Clock(), iter([["r1"], ["r2"], []]), list[str]()

    def receive(**_: Any) -> Any:
        clock.now += 60
        envelope = envelope_of(job())
        return {"Messages": [{"MessageId": "m1", "ReceiptHandle": each, "Body": envelope} for each in next(receipts)]}

    def delete(*, Entries: list[dict[str, Any]], **_: Any) -> Any:
        deleted.extend(each["ReceiptHandle"] for each in Entries)
        return {"Successful": Entries}

    sqs: Any = SimpleNamespace(receive_message=receive, delete_message_batch=delete)
    dead_letters = DeadLetters(sqs, "https://sqs.test/dead-letters", clock)
    with dead_letters.holding():
        [held] = dead_letters.scan()
        assert held.until == NOW + 60 + HOLD_SECONDS
        assert dead_letters.delete_batch([held]) == [""]
    assert deleted == ["r2"]


MARK = NOW + 60


def moved_signal(*, mark: float | None = MARK, **changes: Any) -> Moved:
    """Return a signal's job that a replay moved from the dead-letter queue to the retry queue."""
    dead_lettered_at = None if mark is None else timestamp(mark)
    one = job(dead_lettered_at=dead_lettered_at, recipients=(), **changes)
    return Moved(one, state(), Fate(Became.WAITING))


def dead_lettered(reason: str = "refused") -> Entry:
    return Entry().owing(state()).dead_lettering(state(), MARK, reason, plan=1)


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
    written = ledger.write(entry_key("noc", (), jobs[0].job.incident_id), Entry(), waiting("paced"))

    def sleep(seconds: float) -> None:
        clock.now += seconds
        if written and 50 <= clock.now - NOW < 50 + seconds:
            ledger.write(entry_key("noc", (), jobs[0].job.incident_id), written, waiting("upstream"))

    assert set(follow(ledger, jobs, clock, sleep)) == {None}
    assert jobs[0].fate == Fate(Became.WAITING, "upstream")
    assert 50 + STILL_SECONDS <= clock.now - NOW < 54 + STILL_SECONDS
