from copy import replace

from relay.incidents.transition import State
from relay.ledger.accepted_signal import AcceptedSignal
from relay.ledger.debt import Debt
from relay.ledger.entry import Entry, Lease
from relay.ledger.incident_end import End
from relay.ledger.wait import Slot
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


class TestOwing:
    def test_newer_state_is_owed_since_the_first_owed_one(self) -> None:
        assert Entry().owing(state(5)).owing(state(9)).debt.since == NOW + 5

    def test_slot_stays_until_another_is_given(self) -> None:
        first, second = Slot(NOW + 9, is_critical=False), Slot(NOW + 99, is_critical=True)
        entry = Entry().owing(state(), slot=first)
        assert entry.debt.slot == first
        assert entry.owing(state(1)).debt.slot == first
        assert entry.owing(state(1), slot=second).debt.slot == second

    def test_attempts_of_an_earlier_share_do_not_count_for_a_later_one_with_the_same_state(self) -> None:
        entry = Entry().owing(state())
        entry = replace(entry, debt=entry.debt.failed(3, "upstream"))
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
        entry = notified(Entry().owing(state(), slot=Slot(NOW, is_critical=True)))
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
        entry = Entry().owing(state(), slot=Slot(NOW, is_critical=True))
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
        entry = notified(entry.owing(over(5), slot=Slot(NOW + 9, is_critical=False)))
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
