"""End: what a resolve claims, and what BigPanda's answers make of it."""

from collections.abc import Callable, Iterable
from copy import replace

import pytest

from relay.channels.policy import FlapRule
from relay.incidents.share import State
from relay.ledger.accepted_signal import AcceptedSignal, Audience
from relay.ledger.debt import Debt, Row, shard
from relay.ledger.entry import End, Entry, Flap, Lease
from relay.ledger.table import Ledger, row_of
from tests.fake_dynamodb import FakeDynamoDb
from tests.fakes import Clock
from tests.unit.states import NOW, announced, bare, lease, over, state

MARK = NOW + 60.0

ONE_ALERT = [{"id": "a1"}]


def leased(of: State | None = None) -> tuple[Entry, Lease]:
    """Return an entry whose state is owed and in flight, and its lease."""
    mine = lease(of or state())
    return Entry().owing(mine.state).leased(mine, 1, queued=True), mine


def notified(entry: Entry) -> Entry:
    """Return the entry after the fallback topic was notified of its debt."""
    return replace(entry, debt=entry.debt.notified())


def signal(request_id: str) -> AcceptedSignal:
    """Return the accepted signal of a critical state that was claimed at NOW, without pages."""
    return AcceptedSignal(request_id, NOW, is_open=True, is_critical=True)


class TestAccepted:
    def test_accepted_state_is_announced_and_nothing_is_owed(self) -> None:
        entry, mine = leased(state(alerts=ONE_ALERT))
        after = notified(entry).accepted(mine, "r1", 1, until=mine.began)
        assert after == Entry(
            newest=bare(mine.state),
            seen_digests=(mine.state.digest,),
            announced=mine.state,
            signal_times=(NOW,),
            accepted_signals=(signal("r1"),),
        )

    def test_signals_keep_their_order_although_clocks_differ(self) -> None:
        first = lease(state())
        entry = Entry().leased(first, 1, queued=True).accepted(first, "r1", 1, until=first.began)
        assert entry.next_start(NOW - 0.5) > NOW
        second = lease(over(), 1, "b")._replace(began=entry.next_start(NOW - 0.5))
        held = entry.leased(second, 1, queued=True)
        assert held.next_start(NOW - 0.4) > second.began
        assert held.next_start(NOW + 5) == NOW + 5
        after = held.accepted(second, "r2", 1, until=NOW)
        assert [each.request_id for each in after.accepted_signals] == ["r1", "r2"]

    def test_pages_are_bounded_and_the_newest_stay(self) -> None:
        entry = Entry()
        for number in range(16 + 3):
            mine = lease(state(number), number)
            entry = entry.leased(mine, 1, queued=True).accepted(mine, f"r{number}", 1, until=mine.began)
        assert [each.request_id for each in entry.accepted_signals] == [f"r{number}" for number in range(3, 16 + 3)]


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

    def test_message_about_a_state_that_is_dropped_at_that_moment_does_not_make_its_channel_sick_again(self) -> None:
        """Found by seed 41004779 of the simulation."""
        assert self.entry().dropped(MARK).notified("", MARK + 1).debt.row is None


ROW = Row(NOW + 216, "d" * 32, is_critical=True)


def fresh() -> tuple[Ledger, FakeDynamoDb]:
    dynamodb = FakeDynamoDb()
    return Ledger(dynamodb.table(Clock())), dynamodb


def owing(of: State | None = None) -> Entry:
    """Return the entry of a state that is owed after its inline attempts."""
    return Entry().waiting(of or state(), ROW)


class TestRow:
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


class TestAnsweredOpen:
    def test_answer_after_a_minute_refutes_the_resolve_and_its_copies(self) -> None:
        refuted = claimed().answered_open(NOW + 60)
        assert not refuted.is_claimed
        assert [refuted.has_refuted(each) for each in (STAMPS, (NOW + 1, NOW), None)] == [True, False, False]


RULE = FlapRule(3, 10)
TEN_MINUTES = 600.0


def seen(states: Iterable[State], rule: FlapRule = RULE) -> Flap:
    """Return the memory after these states came, one after the other."""
    flap, before = Flap(), None
    for each in states:
        flap, before = flap.after_state(before, each, rule, is_flagged=False), each
    return flap


def test_incident_flaps_after_as_many_changes_as_the_policy_says() -> None:
    states = [state(0), over(10), state(20), over(30)]
    assert seen(states[:3]).calm_at == 0
    assert seen(states).calm_at == NOW + 30 + TEN_MINUTES


def test_flag_of_bigpanda_is_enough_while_the_incident_is_open() -> None:
    assert Flap().after_state(None, state(), RULE, is_flagged=True).calm_at == NOW + TEN_MINUTES
    assert Flap().after_state(state(), over(9), RULE, is_flagged=True).calm_at == 0


def signal_to(*recipients: str, is_for_one: bool = False) -> AcceptedSignal:
    """Return the signal of a critical state to these recipients."""
    return AcceptedSignal.of(state(), "r1", NOW, Audience(recipients, is_for_one=is_for_one))


class TestRecipients:
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
        self, newer: tuple[str, ...], older: tuple[str, ...], reaches: bool
    ) -> None:
        assert signal_to(*newer).reaches_all_of(signal_to(*older)) is reaches


def test_newer_state_is_owed_since_the_first_owed_one() -> None:
    assert Entry().owing(state(5)).owing(state(9)).debt.since == NOW + 5


class TestRevival:
    def dead_lettered(self) -> Entry:
        return Entry().owing(state()).dead_lettering(state(), MARK, "refused", plan=1)

    def test_state_that_is_dead_lettered_again_is_not_revived(self) -> None:
        again = self.dead_lettered().reviving(state(), MARK + 9).dead_lettering(state(), MARK + 60, "expired", plan=1)
        assert (again.is_given_up, again.debt.dead_lettered_at, again.debt.reason) == (True, MARK + 60, "expired")

    def test_state_that_the_entry_has_not_seen_is_owed_and_dead_lettered(self) -> None:
        entry = Entry(announced=state()).dead_lettering(state(5), MARK, "expired", plan=1)
        row = row_of(entry)
        assert (entry.newest, entry.is_given_up, row and row.is_critical) == (bare(state(5)), True, True)

    def test_dead_letter_that_is_recorded_after_its_revival_changes_nothing(self) -> None:
        revived = Entry().owing(state()).reviving(state(), MARK + 9)
        assert revived.dead_lettering(state(), MARK, "refused", plan=1) == revived


def test_critical_without_a_page_is_in_the_index_until_the_fallback_is_notified() -> None:
    entry = announced(state()).page_missing(NOW)
    assert (entry.receipt.missed, row_of(entry)) == ("page_missing", Row(NOW, is_critical=True))
    notified = entry.notified("page_missing", NOW + 180)
    assert (notified.receipt.is_open, row_of(notified), notified.receipt.told_at) == (False, None, NOW + 180)
    assert notified.page_missing(NOW) == notified, "the fallback topic is notified once"
