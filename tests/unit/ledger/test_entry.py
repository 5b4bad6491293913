"""End: what a resolve claims, and what BigPanda's answers make of it."""

from collections.abc import Callable, Iterable
from copy import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.channels.policy import FlapRule
from relay.incidents.share import State
from relay.ledger.accepted_signal import AcceptedSignal, Audience, with_signal
from relay.ledger.debt import Debt, Row, Slot, shard
from relay.ledger.entry import End, Entry, Flap, Lease
from relay.ledger.table import Ledger
from tests.fake_dynamodb import FakeDynamoDb
from tests.fakes import Clock
from tests.unit.states import NOW, announced, bare, lease, over, state

MARK = NOW + 60.0

ONE_ALERT = [{"id": "a1"}]


def leased(of: State | None = None) -> tuple[Entry, Lease]:
    """Return an entry whose state is owed and in flight, and its lease."""
    mine = lease(of or state())
    return Entry().owing(mine.state).claimed(mine, 1, queued=True), mine


def notified(entry: Entry) -> Entry:
    """Return the entry after the fallback topic was notified of its debt."""
    return replace(entry, debt=entry.debt.notified(entry.newest))


def slotted(entry: Entry, slot: Slot) -> Entry:
    """Return the entry with a time that the rate limiter reserved for its signal."""
    return replace(entry, debt=replace(entry.debt, slot=slot))


class TestOwing:
    def test_newer_state_is_owed_since_the_first_owed_one(self) -> None:
        assert Entry().owing(state(5)).owing(state(9)).debt.since == NOW + 5

    def test_slot_of_an_older_state_stays_for_a_newer_one(self) -> None:
        slot = Slot(NOW + 9, is_critical=False)
        assert slotted(Entry().owing(state()), slot).owing(state(1)).debt.slot == slot

    def test_attempts_of_an_earlier_share_do_not_count_for_a_later_one_with_the_same_state(self) -> None:
        entry = Entry().owing(state())
        entry = replace(entry, debt=replace(entry.debt, attempts=3))
        assert entry.owing(state(9, version=0)).debt.attempts == 0


class TestSeen:
    def test_digests_of_one_version_are_remembered_once_each_newest_last(self) -> None:
        first, second = state(0), state(1, version=0, status="warning")
        entry = Entry().owing(first).owing(second).owing(first)
        assert entry.seen_digests == (second.digest, first.digest)

    def test_remembered_digests_are_bounded(self) -> None:
        entry = Entry()
        for number in range(16 + 5):
            entry = entry.owing(state(number, version=0, alerts=[{"id": number}]))
        assert len(entry.seen_digests) == 16
        assert entry.seen_digests[-1] == state(alerts=[{"id": 16 + 4}]).digest


def signal(request_id: str) -> AcceptedSignal:
    """Return the accepted signal of a critical state that was claimed at NOW, without pages."""
    return AcceptedSignal(request_id, NOW, is_open=True, is_critical=True)


class TestUnchanged:
    def test_unchanged_state_settles_the_debt(self) -> None:
        entry = notified(slotted(Entry().owing(state()), Slot(NOW, is_critical=True)))
        after = entry.unchanged(over(5))
        assert after == Entry(newest=over(5), seen_digests=(over().digest,), end=End(over(5).came))

    def test_unchanged_state_keeps_announced_state_and_signals(self) -> None:
        before = announced(state())
        after = before.unchanged(state(5))
        assert (after.announced, after.signal_times, after.accepted_signals) == (state(), (NOW,), (signal("r1"),))


class TestRecordedLate:
    """Late records: signals that were sent without the ledger are recorded in it later."""

    def test_resolve_recorded_late_does_not_end_the_page_of_a_newer_state(self) -> None:
        entry = Entry().announcing(state(), "r1", NOW).announcing(state(40), "r3", NOW + 40)
        noted = entry.announcing(over(20), "r2", NOW + 99)
        assert NOW < noted.end.at <= NOW + 40

    def test_resolve_recorded_late_ends_the_pages_before_it(self) -> None:
        entry = Entry().announcing(state(), "r1", NOW)
        assert entry.announcing(over(20), None, 0.0).end.at > NOW

    def test_page_recorded_late_must_end_if_a_resolve_superseded_it(self) -> None:
        entry = Entry().unchanged(over(5))
        noted = entry.announcing(state(), "r1", NOW + 8)
        assert noted.accepted_signals[0].at < noted.end.at


class TestClaimed:
    def test_claimed_signal_counts_from_its_beginning_and_its_slot_is_used(self) -> None:
        entry = slotted(Entry().owing(state()), Slot(NOW, is_critical=True))
        mine = lease(state(), 7)
        after = entry.claimed(mine, 1, queued=True)
        assert (after.lease, after.signal_times, after.debt.slot) == (mine, (NOW + 7,), None)
        assert after.debt.since == NOW

    def test_claimed_state_is_the_newest_only_if_it_is_on_a_queue(self) -> None:
        mine = lease(state())
        assert Entry().claimed(mine, 1, queued=True).newest == state()
        alone = Entry().claimed(mine, 1, queued=False)
        assert (alone.newest, alone.seen_digests, alone.debt.since) == (None, (), None)

    def test_state_of_an_expired_lease_is_doubtful_after_the_next_claim(self) -> None:
        entry, gone = leased(state(alerts=ONE_ALERT))
        after = entry.claimed(lease(over(20), 20, "b"), 1, queued=True)
        assert after.doubtful == (gone.state,)
        assert after.signal_times == (NOW, NOW + 20)

    def test_signals_are_bounded_and_the_newest_stay(self) -> None:
        entry = Entry()
        for began in range(20):
            entry = entry.claimed(lease(state(), began, f"owner-{began}"), 1, queued=True)
        assert entry.signal_times == tuple(NOW + began for began in range(20 - 8, 20))

    def test_signals_stay_in_order_although_one_clock_is_slow(self) -> None:
        fast, slow = lease(state(), 10, "fast"), lease(state(), 9, "slow")
        entry = Entry().claimed(fast, 1, queued=True).claimed(slow, 1, queued=True)
        assert entry.signal_times == (NOW + 9, NOW + 10)

    def test_sender_that_claims_again_leaves_no_doubt_and_no_signal_of_its_first_claim(self) -> None:
        first, again = lease(state(), 0, "a"), lease(state(), 1, "a")
        entry = announced(state(-30)).claimed(first, 3, queued=True).claimed(again, 2, queued=True)
        assert (entry.lease, entry.doubtful, entry.signal_times) == (again, (), (NOW - 30, NOW + 1, NOW + 1))


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

    def test_newer_state_that_came_during_the_send_is_still_owed(self) -> None:
        entry, mine = leased()
        entry = notified(slotted(entry.owing(over(5)), Slot(NOW + 9, is_critical=False)))
        after = entry.accepted(mine, "r1", 1, until=mine.began)
        assert (after.newest, after.announced) == (over(5), state())
        assert after.debt == Debt(since=NOW, is_notified=True, slot=Slot(NOW + 9, is_critical=False))

    def test_older_state_that_is_accepted_after_a_newer_one_is_doubtful(self) -> None:
        slow = lease(state())
        entry = Entry().claimed(slow, 1, queued=True)
        quick = lease(over(16), 16, "b")
        entry = entry.claimed(quick, 1, queued=True).accepted(quick, "r2", 1, until=quick.began)
        after = entry.accepted(slow, "r1", 1, until=slow.began)
        assert (after.announced, after.newest) == (over(16), over(16))
        assert after.maybe_announced() == (over(16), state())
        # Pages are ordered by the time of sending, so that a slow resolve ends only the pages before it.
        assert [each.request_id for each in after.accepted_signals] == ["r1", "r2"]
        assert after.signal_times == (NOW, NOW + 16)

    def test_signals_keep_their_order_although_clocks_differ(self) -> None:
        first = lease(state())
        entry = Entry().claimed(first, 1, queued=True).accepted(first, "r1", 1, until=first.began)
        assert entry.next_claim(NOW - 0.5) > NOW
        second = lease(over(), 1, "b")._replace(began=entry.next_claim(NOW - 0.5))
        held = entry.claimed(second, 1, queued=True)
        assert held.next_claim(NOW - 0.4) > second.began
        assert held.next_claim(NOW + 5) == NOW + 5
        after = held.accepted(second, "r2", 1, until=NOW)
        assert [each.request_id for each in after.accepted_signals] == ["r1", "r2"]

    def test_accepted_state_settles_doubts_and_its_dead_letter(self) -> None:
        mine = lease(state())
        entry = (
            Entry()
            .claimed(mine, 1, queued=True)
            .failed(mine, 1, 1, until=mine.began, reason="refused")
            .dead_lettering(mine.state, MARK, "refused", plan=1)
        )
        again = lease(state(), 60, "b")
        after = entry.claimed(again, 1, queued=True).accepted(again, "r1", 1, until=again.began)
        assert (after.doubtful, after.is_given_up) == ((), False)

    def test_acceptance_leaves_another_senders_lease(self) -> None:
        entry, slow = leased()
        other = lease(over(16), 16, "b")
        after = entry.claimed(other, 1, queued=True).accepted(slow, "r1", 1, until=slow.began)
        assert after.lease == other
        assert after.is_busy(NOW + 16)

    def test_pages_are_bounded_and_the_newest_stay(self) -> None:
        entry = Entry()
        for number in range(16 + 3):
            mine = lease(state(number), number)
            entry = entry.claimed(mine, 1, queued=True).accepted(mine, f"r{number}", 1, until=mine.began)
        assert [each.request_id for each in entry.accepted_signals] == [f"r{number}" for number in range(3, 16 + 3)]


class TestFailed:
    def test_failure_that_surely_did_not_notify_leaves_no_signal_and_no_doubt(self) -> None:
        entry, mine = leased()
        after = entry.failed(mine, 2, 0, until=mine.began)
        assert (after.lease, after.signal_times, after.doubtful, after.announced) == (None, (), (), None)
        assert (after.debt.attempts, after.debt.since, after.newest) == (2, NOW, state())

    def test_failure_that_may_have_notified_leaves_a_doubtful_state_and_a_signal_per_attempt(self) -> None:
        entry, mine = leased(state(alerts=ONE_ALERT))
        after = entry.failed(mine, 3, 2, until=mine.began)
        assert after.doubtful == (mine.state,)
        assert after.signal_times == (NOW, NOW)
        assert after.may_have_paged(state(9, version=0, alerts=ONE_ALERT))
        assert not after.may_have_paged(over(9))

    def test_failure_whose_record_is_written_twice_counts_once(self) -> None:
        entry, mine = leased()
        once = entry.failed(mine, 1, 0, until=mine.began)
        assert once.failed(mine, 1, 0, until=mine.began) == once
        assert once.debt.attempts == 1

    def test_different_doubtful_states_are_never_forgotten(self) -> None:
        entry = doubting(state(0, status="unknown"), *(over(number) for number in range(1, 20)))
        assert entry.doubtful == (state(0, status="unknown"), over(19))

    def test_equal_doubtful_states_are_merged_to_their_common_alerts(self) -> None:
        entry = doubting(state(0, alerts=[{"id": "a"}, {"id": "b"}]), state(1, alerts=[{"id": "b"}, {"id": "c"}]))
        [doubtful] = entry.doubtful
        assert doubtful.alerts == state(0, alerts=[{"id": "b"}]).alerts


def doubting(*states: State) -> Entry:
    """Return an entry after ambiguous signals of these states, in that order: each may have been announced."""
    entry = Entry()
    for number, each in enumerate(states):
        mine = lease(each, number)
        entry = entry.claimed(mine, 1, queued=True).failed(mine, 1, 1, until=mine.began)
    return entry


class TestMaybeAnnounced:
    def test_announced_state_and_all_doubtful_ones_may_be_announced(self) -> None:
        assert Entry().maybe_announced() == (None,)
        second, third = lease(over(5), 5), lease(state(9), 9)
        entry = announced(state()).claimed(second, 1, queued=True).failed(second, 1, 1, until=second.began)
        assert entry.maybe_announced() == (state(), over(5))
        assert entry.claimed(third, 1, queued=True).maybe_announced() == (state(), over(5), state(9))


class TestAcknowledged:
    def test_page_without_a_request_id_can_be_acknowledged(self) -> None:
        mine = lease(state())
        entry = Entry().claimed(mine, 1, queued=True).accepted(mine, None, 1, until=mine.began)
        assert entry.acknowledged("jdoe", NOW + 1).acknowledged_by == "jdoe"
        assert entry.acknowledged("jdoe", NOW - 1) == entry

    def test_acknowledgement_from_before_a_signal_that_waited_does_not_count_for_it(self) -> None:
        mine = lease(state(), 30)
        entry = Entry().claimed(mine, 1, queued=True).accepted(mine, "r1", 1, until=mine.began)
        assert entry.acknowledged("jdoe", NOW + 10) == entry
        assert entry.acknowledged("jdoe", NOW + 31).acknowledged_by == "jdoe"


class TestRevival:
    def dead_lettered(self) -> Entry:
        return Entry().owing(state()).dead_lettering(state(), MARK, "refused", plan=1)

    def test_state_that_is_dead_lettered_again_is_not_revived(self) -> None:
        again = self.dead_lettered().reviving(state(), MARK + 9).dead_lettering(state(), MARK + 60, "expired", plan=1)
        assert (again.is_given_up, again.debt.dead_lettered_at, again.debt.reason) == (True, MARK + 60, "expired")

    def test_dead_letter_that_is_recorded_after_its_revival_changes_nothing(self) -> None:
        revived = Entry().owing(state()).reviving(state(), MARK + 9)
        assert revived.dead_lettering(state(), MARK, "refused", plan=1) == revived

    def test_mark_of_a_dead_letter_never_goes_back(self) -> None:
        assert self.dead_lettered().dead_lettering(state(), MARK - 9, "refused", plan=1).debt.dead_lettered_at == MARK

    def test_newer_state_clears_the_revival_of_an_older_one(self) -> None:
        assert self.dead_lettered().reviving(state(), MARK + 9).owing(state(5)).debt.revived_at == 0.0

    def test_state_that_the_entry_has_not_seen_is_owed_and_dead_lettered(self) -> None:
        entry = Entry(announced=state()).dead_lettering(state(5), MARK, "expired", plan=1)
        assert (entry.newest, entry.is_given_up, entry.debt.is_critical) == (bare(state(5)), True, True)


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

    def test_drop_takes_only_the_state_whose_message_was_deleted_out_of_the_index(self) -> None:
        assert self.entry().dropped(MARK).debt.row is None
        assert self.entry().dropped(MARK - 1) == self.entry(), "dead-lettered again since"
        assert self.entry().owing(state(5)).dropped(MARK) == self.entry().owing(state(5))


ROW = Row(NOW + 216, "d" * 32, is_critical=True)
CALM = replace(ROW, is_critical=False)


def fresh() -> tuple[Ledger, FakeDynamoDb]:
    dynamodb = FakeDynamoDb()
    return Ledger(dynamodb.table(Clock())), dynamodb


def owing(of: State | None = None) -> Entry:
    """Return the entry of a state that is owed after its inline attempts."""
    return Entry().waiting(of or state(), ROW)


def told(entry: Entry) -> Entry:
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
            lambda each: each.page_missing(MARK),
            lambda each: each.dead_lettering(warning, MARK, "expired", plan=1),
        ]
        for step in steps if is_missed_first else reversed(steps):
            entry = step(entry)
        assert entry.row is not None
        assert entry.row.due <= max(MARK, CALM.due)

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
        notified = entry.notified("", MARK)
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
    return entry.page_missing(NOW)


class TestPageMissing:
    def test_critical_without_a_page_is_in_the_index_until_the_fallback_is_notified(self) -> None:
        entry = without_page(announced(state()))
        assert (entry.receipt.missed, entry.row) == ("page_missing", Row(NOW, is_critical=True))
        notified = entry.notified("page_missing", NOW + 180)
        assert (notified.receipt.is_open, notified.row, notified.receipt.told_at) == (False, None, NOW + 180)
        assert without_page(notified) == notified, "the fallback topic is notified once"

    def test_critical_without_a_page_stays_in_the_index_whatever_its_next_state_is(self) -> None:
        entry = without_page(announced(state()))
        for after in (
            entry.unchanged(over(200)),
            entry.announcing(over(200), "r2", NOW + 200),
            entry.dead_lettering(state(200, status="warning"), NOW + 200, "refused", plan=1),
        ):
            assert after.row is not None
            assert after.row.is_critical

    def test_row_of_a_debt_serves_the_critical_without_a_page(self) -> None:
        entry = without_page(announced(state()).waiting(over(200), CALM))
        assert entry.row == replace(CALM, is_critical=True)
        notified = entry.notified("page_missing", NOW + 200)
        assert (notified.row, notified.debt.is_notified) == (CALM, True)


STAMPS = (NOW, NOW)


def claimed(version: tuple[float, float] | None = STAMPS) -> End:
    """Return the end of an incident of which a resolve came at NOW."""
    return End().claimed(NOW, version)


class TestClaim:
    def test_resolve_that_comes_soon_after_another_is_part_of_its_claim(self) -> None:
        later = (NOW + 30, NOW + 30)
        assert claimed().claimed(NOW + 30, later) == End(claimed_at=NOW, version=later)
        assert not claimed().begins_claim(NOW + 30)

    def test_resolve_is_asked_about_anew_after_a_while(self) -> None:
        assert claimed().begins_claim(NOW + 120)


class TestAnsweredOpen:
    def test_answer_before_a_minute_only_ends_the_silence(self) -> None:
        silent = claimed()._replace(silent_since=NOW + 3)
        assert silent.answered_open(NOW + 60 - 1) == claimed()

    def test_answer_after_a_minute_refutes_the_resolve_and_its_copies(self) -> None:
        refuted = claimed().answered_open(NOW + 60)
        assert not refuted.is_claimed
        assert [refuted.has_refuted(each) for each in (STAMPS, (NOW + 1, NOW), None)] == [True, False, False]

    def test_claim_goes_on_for_a_resolve_that_came_within_the_last_minute(self) -> None:
        end = claimed().claimed(NOW + 50, (NOW + 50, NOW)).answered_open(NOW + 60)
        assert end.claimed_at == NOW, "the question's message goes on with the claim"
        assert not end.answered_open(NOW + 50 + 60).is_claimed


class TestEntry:
    def test_owed_state_waits_for_the_answer_about_a_newer_resolve_alone(self) -> None:
        entry = Entry().owing(state()).claiming(over(5))
        assert entry.claim_hold(state()) == over(5).came + 60
        assert Entry().claiming(over(5)).claim_hold(state(9)) == 0

    def test_hold_of_a_debt_stays_for_newer_states_and_later_claims(self) -> None:
        held = Entry().owing(state()).claiming(over(5)).owing(state(9)).claiming(over(500))
        assert held.claim_hold(state(9)) == over(5).came + 60

    def test_state_without_timestamps_that_came_after_the_resolve_does_not_wait(self) -> None:
        unstamped = state(9)._replace(version=over(5).version, has_borrowed_version=True)
        assert Entry().claiming(over(5)).claim_hold(unstamped) == 0

    def test_newer_resolve_stays_claimed_when_an_older_end_is_recorded(self) -> None:
        entry = Entry().owing(state()).claiming(over(20))
        assert entry.owing(over(9)).end.is_claimed
        assert not entry.owing(over(20)).end.is_claimed

    def test_closed_state_ends_the_claim_and_an_open_one_leaves_it(self) -> None:
        entry = Entry().owing(state()).claiming(over(5))
        assert entry.owing(state(9)).end.is_claimed
        assert not entry.unchanged(over(9)).end.is_claimed
        assert entry.unchanged(over(9)).is_over


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


def test_changes_that_are_too_far_apart_are_no_flap() -> None:
    assert seen([state(0), over(10), state(20), over(10 + TEN_MINUTES)]).calm_at == 0


def test_incident_that_was_calm_begins_anew() -> None:
    flap = seen([state(0), over(10), state(20), over(30)]).announcing()
    after = flap.after_state(over(30), state(31 + TEN_MINUTES), RULE, is_flagged=False)
    assert (after.calm_at, after.is_signalled, len(after.changes)) == (0, False, 1)


def test_flag_of_bigpanda_is_enough_while_the_incident_is_open() -> None:
    assert Flap().after_state(None, state(), RULE, is_flagged=True).calm_at == NOW + TEN_MINUTES
    assert Flap().after_state(state(), over(9), RULE, is_flagged=True).calm_at == 0


def test_signal_before_a_flap_announces_no_flap() -> None:
    assert not seen([state(0), over(10)]).announcing().is_signalled


@given(st.lists(st.tuples(st.floats(0.1, 400), st.booleans()), max_size=60), st.integers(2, 20))
def test_memory_holds_no_more_changes_than_the_policy_names(steps: list[tuple[float, bool]], transitions: int) -> None:
    came, states = 0.0, []
    for seconds, is_open in steps:
        came += seconds
        states.append(state(came) if is_open else over(came))
    flap = seen(states, FlapRule(transitions, 10))
    assert len(flap.changes) <= transitions
    assert list(flap.changes) == sorted(flap.changes)


def signal_to(*recipients: str, is_for_one: bool = False) -> AcceptedSignal:
    """Return the signal of a critical state to these recipients."""
    return AcceptedSignal.of(state(), "r1", NOW, Audience(recipients, is_for_one=is_for_one))


class TestRecipients:
    def test_signal_knows_whom_it_notified(self) -> None:
        assert signal_to("ops", "dba").notified("dba")
        assert not signal_to("ops", "dba").notified("jdoe")

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

    def test_signal_for_the_acknowledger_alone_replaces_no_other(self) -> None:
        assert not signal_to("jdoe", is_for_one=True).reaches_all_of(signal_to("jdoe"))


class TestMerged:
    def test_page_that_one_job_found_or_ended_stays_so(self) -> None:
        known, found = signal_to(), signal_to()._replace(pages=("u-1",), page_number="1001")
        assert known.merged(found) == found.merged(known) == found
        assert found._replace(is_over=True).merged(found).is_over


class TestWithSignal:
    def test_signals_are_in_the_order_of_their_claims(self) -> None:
        late, early = AcceptedSignal("r2", NOW + 5, is_open=True), AcceptedSignal("r1", NOW, is_open=True)
        assert with_signal((late,), early) == (early, late)

    def test_signal_that_is_known_stays_as_it_is(self) -> None:
        known = AcceptedSignal("r1", NOW, is_open=True, pages=("u-1",))
        assert with_signal((known,), AcceptedSignal("r1", NOW + 5, is_open=True)) == (known,)
