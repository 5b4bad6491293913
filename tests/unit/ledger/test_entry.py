"""End: what a resolve claims, and what BigPanda's answers make of it."""

from collections.abc import Callable
from copy import replace

import pytest

from relay.channels.policy import FlapRule
from relay.incidents.share import State
from relay.ledger.accepted_signal import AcceptedSignal, Audience
from relay.ledger.debt import Debt, Row, shard
from relay.ledger.entry import End, Entry, Flap
from relay.ledger.table import Ledger, row_of
from tests.fake_dynamodb import FakeDynamoDb
from tests.fakes import Clock
from tests.unit.states import NOW, announced, over, state

MARK = NOW + 60.0


def notified(entry: Entry) -> Entry:
    return replace(entry, debt=entry.debt.notified())


def signal(request_id: str) -> AcceptedSignal:
    """Return the accepted signal of a critical state that was claimed at NOW, without pages."""
    return AcceptedSignal(request_id, NOW, is_open=True, is_critical=True)


class TestGivenUp:
    def entry(self) -> Entry:
        return Entry().owing(state()).dead_lettering(state(), MARK, "refused", plan=1)

    @pytest.mark.parametrize(
        ("change", "is_given_up"),
        [
            (lambda entry: entry, True),
            (lambda entry: entry.notified("", MARK), True),
            (lambda entry: entry.dead_lettering(state()._replace(came=NOW + 30), MARK + 9, "expired", plan=1), True),
            (lambda entry: entry.reviving(state(), MARK + 9), False),
            (lambda entry: entry.owing(state(5)), False),
            (lambda entry: entry.announcing(state(), "r1", NOW), False),
            (lambda entry: entry.unchanged(state()), False),
            (lambda entry: entry.unchanged(over(5)), False),
        ],
        ids=[
            "dead-lettered",
            "notified",
            "dead-lettered again as a later copy",
            "revived",
            "a newer state is owed",
            "announced",
            "not to be announced",
            "over",
        ],
    )
    def test_state_is_given_up_until_it_is_replayed_or_overtaken(
        self, change: Callable[[Entry], Entry], is_given_up: bool
    ) -> None:
        assert change(self.entry()).is_given_up is is_given_up

    def test_drop_ends_only_the_debt_of_the_state_whose_message_was_deleted(self) -> None:
        dropped = self.entry().dropped(MARK)
        assert (dropped.debt.since, dropped.debt.row, dropped.is_given_up) == (None, None, True)
        assert self.entry().dropped(MARK - 1) == self.entry(), "dead-lettered again since"
        assert self.entry().owing(state(5)).dropped(MARK) == self.entry().owing(state(5))


ROW = Row(NOW + 216, "d" * 32, is_critical=True)


def fresh() -> tuple[Ledger, FakeDynamoDb]:
    dynamodb = FakeDynamoDb()
    return Ledger(dynamodb.table(Clock())), dynamodb


def owing(of: State | None = None) -> Entry:
    """Return the entry of a state that is owed after its inline attempts."""
    return Entry().waiting(of or state(), ROW)


class TestRow:
    def test_bell_makes_the_row_due_later_and_is_one_more_than_the_workers_began(self) -> None:
        debt = replace(owing().debt, row=replace(ROW, begun=3)).rung(NOW + 400)
        assert debt.row == Row(NOW + 400, ROW.job, begun=3, is_unheard=True, is_critical=True)
        assert debt.rung(NOW + 460).row == replace(debt.row, due=NOW + 460), "no worker began the first one"
        begun = debt.bell_begun()
        assert begun.row == Row(NOW + 400, ROW.job, begun=4, is_critical=True)
        assert begun.bell_begun() == begun, "a bell that is delivered twice counts once"
        recorded = begun.postponed(NOW)
        assert recorded.bell_begun() == recorded, "a bell from before the last result does not count"
        assert (Debt().rung(NOW), Debt().bell_begun()) == (Debt(), Debt())

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
        assert ledger.read("k").debt.row == replace(ROW, due=NOW + 400, is_unheard=True)
        assert len(dynamodb.indexed()) == 1


STAMPS = (NOW, NOW)


def claimed(version: tuple[float, float] | None = STAMPS) -> End:
    """Return the end of an incident of which a resolve came at NOW."""
    return End().claimed(NOW, version)


def test_answer_after_a_minute_refutes_the_resolve_and_its_copies() -> None:
    refuted = claimed().answered_open(NOW + 60)
    assert not refuted.is_claimed
    assert [refuted.has_refuted(each) for each in (STAMPS, (NOW + 1, NOW), None)] == [True, False, False]


RULE = FlapRule(3, 10)
TEN_MINUTES = 600.0


def test_flag_of_bigpanda_is_enough_while_the_incident_is_open() -> None:
    assert Flap().after_state(None, state(), RULE, is_flagged=True).calm_at == NOW + TEN_MINUTES
    assert Flap().after_state(state(), over(9), RULE, is_flagged=True).calm_at == 0


def signal_to(*recipients: str, is_for_one: bool = False) -> AcceptedSignal:
    return AcceptedSignal.of(state(), "r1", NOW, Audience(recipients, is_for_one=is_for_one))


@pytest.mark.parametrize(
    ("newer", "older", "reaches"),
    [
        (("ops", "dba"), ("dba",), True),
        (("dba",), ("ops", "dba"), False),
        ((), (), True),
        (("ops",), (), False),
        ((), ("ops",), False),
    ],
)
def test_newer_signal_reaches_all_of_an_older_one(
    newer: tuple[str, ...], older: tuple[str, ...], reaches: bool
) -> None:
    assert signal_to(*newer).reaches_all_of(signal_to(*older)) is reaches


def test_dead_letter_that_is_recorded_after_its_revival_changes_nothing() -> None:
    revived = Entry().owing(state()).reviving(state(), MARK + 9)
    assert revived.dead_lettering(state(), MARK, "refused", plan=1) == revived


def test_critical_without_a_page_is_in_the_index_until_the_fallback_is_notified() -> None:
    entry = announced(state()).page_missing(NOW)
    assert (entry.receipt.missed, row_of(entry)) == ("page_missing", Row(NOW, is_critical=True))
    notified = entry.notified("page_missing", NOW + 180)
    assert (notified.receipt.is_open, row_of(notified), notified.receipt.told_at) == (False, None, NOW + 180)
    assert notified.page_missing(NOW) == notified, "the fallback topic is notified once"
