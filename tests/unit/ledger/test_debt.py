from collections.abc import Callable
from copy import replace

import pytest

from relay.incidents.transition import State
from relay.ledger.debt import Debt
from relay.ledger.entry import Entry
from relay.ledger.ledger import Ledger
from relay.ledger.row import Row, shard
from tests.fake_dynamodb import FakeDynamoDb
from tests.fakes import Clock
from tests.unit.states import NOW, announced, over, state

MARK = NOW + 60.0
ROW = Row(NOW + 216, "d" * 32, is_critical=True)
CALM = replace(ROW, is_critical=False)


def fresh() -> tuple[Ledger, FakeDynamoDb]:
    dynamodb = FakeDynamoDb()
    return Ledger(dynamodb.table(Clock())), dynamodb


def owing(of: State | None = None) -> Entry:
    """Return the entry of a state that is owed after its inline attempts."""
    return Entry().waiting(of or state(), ROW)


def notified(entry: Entry) -> Entry:
    return replace(entry, debt=replace(entry.debt, is_notified=True))


class TestRow:
    def place(self, dynamodb: FakeDynamoDb) -> tuple[str, float] | None:
        """Return the shard and the due time of the first item in the index, or None if the index is empty."""
        items = dynamodb.indexed()
        return (items[0]["due"]["S"], float(items[0]["due_at"]["N"])) if items else None

    @pytest.mark.parametrize("is_missed_first", [True, False])
    def test_row_of_a_missing_page_is_due_although_a_later_state_was_given_up(self, is_missed_first: bool) -> None:
        """Found by seed 7036 of the simulation: nobody was told that a critical had no page."""
        warning = replace(state(5), rank=1)
        entry = announced(state()).waiting(warning, CALM)
        steps: list[Callable[[Entry], Entry]] = [
            lambda each: replace(each, debt=each.debt.with_page_missing(MARK)),
            lambda each: each.dead_lettering(warning, MARK, "expired", plan=1),
        ]
        for step in steps if is_missed_first else reversed(steps):
            entry = step(entry)
        assert entry.debt.due <= max(MARK, CALM.due)

    @pytest.mark.parametrize(
        "entry",
        [owing(state(5)), announced(state()), owing().dead_lettering(state(), MARK, "refused", plan=1)],
        ids=["older", "announced", "dead-lettered"],
    )
    def test_state_that_is_not_owed_gets_no_row(self, entry: Entry) -> None:
        assert entry.waiting(state(), Row(NOW + 999, "f" * 32)) == entry

    def test_row_is_written_and_read_with_its_entry(self) -> None:
        ledger, dynamodb = fresh()
        written = ledger.write("k", Entry(), owing())
        assert written
        assert self.place(dynamodb) == (shard("k", is_critical=True), ROW.due)
        assert ledger.read("k") == written
        assert dynamodb.calls[0] == "update_item"
        assert dynamodb.calls.count("update_item") == 1

    @pytest.mark.parametrize(
        "settle",
        [
            lambda entry: entry.announcing(state(), "r1", NOW + 5),
            lambda entry: entry.announcing(state(9), "r1", NOW + 9),
            lambda entry: entry.unchanged(over(5)),
            lambda entry: entry.dead_lettering(state(), MARK, "refused", plan=1).dropped(MARK),
        ],
        ids=["announced", "overtaken", "unchanged", "dropped"],
    )
    def test_row_is_removed_when_nothing_is_owed(self, settle: Callable[[Entry], Entry]) -> None:
        ledger, dynamodb = fresh()
        before = ledger.write("k", Entry(), owing())
        assert before
        after = settle(before)
        assert after.debt.row is None
        ledger.write("k", before, after)
        assert dynamodb.indexed() == []
        assert dynamodb.items["k"].keys() == {"pk", "text", "sequence", "expires"}

    def test_older_state_that_is_accepted_late_leaves_the_row_of_the_newer_one(self) -> None:
        entry = owing(state(5)).announcing(state(), "r1", NOW)
        assert (entry.debt.row, entry.debt.since) == (ROW, NOW + 5)

    def test_dead_lettered_critical_moves_behind_the_others_once_the_fallback_is_notified(self) -> None:
        entry = owing().dead_lettering(state(), MARK, "refused", plan=1)
        assert (entry.debt.row, entry.debt.since, entry.debt.reason) == (Row(MARK, is_critical=True), NOW, "refused")
        notified = entry.notified()
        assert (notified.debt.row, notified.debt.is_notified) == (Row(MARK + 7_776_000, is_critical=True), True)
        assert notified.is_given_up

    def test_postponed_row_is_due_later_and_counts_anew(self) -> None:
        debt = replace(owing().debt, row=replace(ROW, rung=4, begun=3))
        assert debt.postponed(NOW + 999).row == Row(NOW + 999, ROW.job, is_critical=True)
        assert debt.postponed(NOW).row == Row(ROW.due, ROW.job, is_critical=True)
        assert Debt().postponed(NOW + 999) == Debt()

    def test_bell_makes_the_row_due_later_and_is_one_more_than_the_workers_began(self) -> None:
        debt = replace(owing().debt, row=replace(ROW, rung=3, begun=3)).rung(NOW + 400)
        assert debt.row == Row(NOW + 400, ROW.job, rung=4, begun=3, is_critical=True)
        assert debt.rung(NOW + 460).row == replace(debt.row, due=NOW + 460), "no worker began the first one"
        begun = debt.bell_begun()
        assert begun.row == replace(debt.row, begun=4)
        assert begun.bell_begun() == begun, "a bell that is delivered twice counts once"
        recorded = begun.postponed(NOW)
        assert recorded.bell_begun() == recorded, "a bell from before the last result does not count"
        assert (Debt().rung(NOW), Debt().bell_begun()) == (Debt(), Debt())

    def test_settled_debt_leaves_the_index(self) -> None:
        debt = replace(owing().debt, is_notified=True).settled()
        assert (debt.row, debt.since, debt.is_notified) == (None, None, False)
        assert owing().debt.with_page_missing(NOW).settled().row, "the notice that no page came is owed still"

    @pytest.mark.parametrize("text", ["{", "[]", '{"newest": 7}'])
    def test_unreadable_entry_keeps_its_row(self, text: str) -> None:
        ledger, dynamodb = fresh()
        ledger.write("k", Entry(), owing())
        dynamodb.items["k"]["text"] = {"S": text}
        lost = ledger.read("k")
        assert (lost.is_unreadable, lost.debt.row, lost.debt.since, lost.debt.is_critical) == (True, ROW, ROW.due, True)
        [(name, found)] = ledger.due(shard("k", is_critical=True), 10)
        assert (name, found) == ("k", lost)
        ledger.write("k", lost, replace(lost, debt=lost.debt.rung(NOW + 400)))
        assert ledger.read("k").debt.row == replace(ROW, due=NOW + 400, rung=1)
        assert len(dynamodb.indexed()) == 1


def without_page(entry: Entry) -> Entry:
    """Return the entry after the search for its critical signal's page ended without a result."""
    return replace(entry, debt=entry.debt.with_page_missing(NOW + 180))


class TestPageMissing:
    def test_critical_without_a_page_is_in_the_index_until_the_fallback_is_notified(self) -> None:
        debt = without_page(announced(state())).debt
        assert (debt.is_page_missing, debt.row, debt.is_critical) == (True, Row(NOW + 180, is_critical=True), True)
        notified = debt.notified(state())
        assert (notified.is_page_missing, notified.row, notified.is_notified) == (False, None, False)

    def test_critical_without_a_page_stays_in_the_index_whatever_its_next_state_is(self) -> None:
        entry = without_page(announced(state()))
        for after in (
            entry.unchanged(over(200)),
            entry.announcing(over(200), "r2", NOW + 200),
            entry.dead_lettering(state(200, status="warning"), NOW + 200, "refused", plan=1),
        ):
            assert after.debt.is_page_missing
            assert after.debt.row is not None
            assert after.debt.is_critical

    def test_row_of_a_debt_serves_the_critical_without_a_page(self) -> None:
        debt = without_page(announced(state()).waiting(over(200), CALM)).debt
        assert debt.row == ROW
        assert (debt.notified(over(200)).row, debt.notified(over(200)).is_notified) == (CALM, True)


class TestPausedUntil:
    @pytest.mark.parametrize(
        "settled",
        [
            pytest.param(lambda entry: entry.announcing(state(), "r1", NOW), id="announced"),
            pytest.param(lambda entry: entry.unchanged(over(5)), id="nothing left to announce"),
        ],
    )
    def test_end_of_the_pause_is_forgotten_with_the_debt(self, settled: Callable[[Entry], Entry]) -> None:
        entry = owing()
        held = replace(entry, debt=entry.debt.paused(NOW + 600, "p1"))
        assert (held.debt.paused_until, held.debt.paused_by) == (NOW + 600, "p1")
        after = settled(held).debt
        assert (after.since, after.paused_until, after.paused_by) == (None, 0.0, "")
