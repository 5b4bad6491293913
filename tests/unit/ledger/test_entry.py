import json
from collections.abc import Callable
from copy import replace
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError
from hypothesis import given
from hypothesis import strategies as st

from relay.delivery.standing import Standing, judge_share
from relay.errors import LedgerError
from relay.incidents.transition import MAX_ALERTS, PRESETS, State
from relay.ledger.entry import MAX_RAISED, MAX_SEEN, MAX_SIGNALS, Entry, Lease, Raised, Slot, key
from relay.ledger.ledger import Ledger
from relay.ledger.row import Row, shard, stored_key
from tests.fake_dynamodb import MAX_ITEM_BYTES, MAX_KEY_BYTES, FakeDynamoDb, size
from tests.fakes import Clock
from tests.unit.states import NOW, announced, bare, lease, over, state

MARK = NOW + 60.0

ONE_ALERT = [{"id": "a1"}]


def leased(of: State | None = None) -> tuple[Entry, Lease]:
    """Return an entry whose state is kept and in flight, and its lease."""
    mine = lease(of or state())
    return Entry().keeping(mine.state).claimed(mine, 1, queued=True), mine


class TestBusy:
    def test_entry_without_a_lease_is_not_busy(self) -> None:
        assert not Entry().is_busy(NOW)

    def test_entry_is_busy_until_its_lease_ends(self) -> None:
        entry, mine = leased()
        assert entry.is_busy(mine.until - 0.001)
        assert not entry.is_busy(mine.until)


class TestKeeping:
    def test_kept_state_is_the_newest_and_owed_since_it_came(self) -> None:
        entry = Entry().keeping(state(5))
        assert entry == Entry(kept=state(5), seen=(state().digest,), owed_since=NOW + 5)

    def test_newer_state_is_owed_since_the_first_owed_one(self) -> None:
        assert Entry().keeping(state(5)).keeping(state(9)).owed_since == NOW + 5

    def test_kept_state_has_no_alerts(self) -> None:
        assert Entry().keeping(state(alerts=ONE_ALERT)).kept == bare(state(alerts=ONE_ALERT))

    def test_slot_stays_until_another_is_given(self) -> None:
        first, second = Slot(NOW + 9, urgent=False), Slot(NOW + 99, urgent=True)
        entry = Entry().keeping(state(), slot=first)
        assert entry.slot == first
        assert entry.keeping(state(1)).slot == first
        assert entry.keeping(state(1), slot=second).slot == second

    def test_attempts_of_an_older_state_do_not_count_for_a_newer_one(self) -> None:
        entry = replace(Entry().keeping(state()), asked=3)
        assert entry.keeping(state(9, version=0)).asked == 3
        assert entry.keeping(state(9)).asked == 0


class TestSeen:
    def test_digests_of_one_version_are_remembered_once_each_newest_last(self) -> None:
        first, second = state(0), state(1, version=0, status="warning")
        entry = Entry().keeping(first).keeping(second).keeping(first)
        assert entry.seen == (second.digest, first.digest)

    def test_newer_version_forgets_the_digests_of_the_older_one(self) -> None:
        assert Entry().keeping(state()).keeping(over(5)).seen == (over().digest,)

    def test_remembered_digests_are_bounded(self) -> None:
        entry = Entry()
        for number in range(MAX_SEEN + 5):
            entry = entry.keeping(state(number, version=0, alerts=[{"id": number}]))
        assert len(entry.seen) == MAX_SEEN
        assert entry.seen[-1] == state(alerts=[{"id": MAX_SEEN + 4}]).digest


def raised(request_id: str) -> Raised:
    """Return the page of a critical state that was claimed at NOW."""
    return Raised(request_id, NOW, is_open=True, is_critical=True)


class TestUnchanged:
    def test_unchanged_state_settles_the_debt(self) -> None:
        entry = replace(Entry().keeping(state(), slot=Slot(NOW, urgent=True)), is_notified=True)
        after = entry.unchanged(over(5))
        assert after == Entry(kept=over(5), seen=(over().digest,), over_at=over(5).came)

    def test_unchanged_state_keeps_announced_state_and_signals(self) -> None:
        before = announced(state())
        after = before.unchanged(state(5))
        assert (after.announced, after.signals, after.raised) == (state(), (NOW,), (raised("r1"),))


class TestRecordedLate:
    """Late records: signals that were sent without the ledger are recorded in it later."""

    def test_resolve_recorded_late_does_not_end_the_page_of_a_newer_state(self) -> None:
        entry = Entry().announcing(state(), "r1", NOW).announcing(state(40), "r3", NOW + 40)
        noted = entry.announcing(over(20), "r2", NOW + 99)
        assert NOW < noted.over_at <= NOW + 40

    def test_resolve_recorded_late_ends_the_pages_before_it(self) -> None:
        entry = Entry().announcing(state(), "r1", NOW)
        assert entry.announcing(over(20), None, 0.0).over_at > NOW

    def test_page_recorded_late_must_end_if_a_resolve_superseded_it(self) -> None:
        entry = Entry().unchanged(over(5))
        noted = entry.announcing(state(), "r1", NOW + 8)
        assert noted.raised[0].at < noted.over_at


class TestClaimed:
    def test_claimed_signal_counts_from_its_beginning_and_its_slot_is_used(self) -> None:
        entry = Entry().keeping(state(), slot=Slot(NOW, urgent=True))
        mine = lease(state(), 7)
        after = entry.claimed(mine, 1, queued=True)
        assert (after.lease, after.signals, after.slot) == (mine, (NOW + 7,), None)
        assert after.owed_since == NOW

    def test_claim_counts_all_attempts_that_its_sender_may_make(self) -> None:
        assert Entry().claimed(lease(state()), 3, queued=True).signals == (NOW, NOW, NOW)

    def test_claimed_state_is_kept_only_if_it_is_on_a_queue(self) -> None:
        mine = lease(state())
        assert Entry().claimed(mine, 1, queued=True).kept == state()
        alone = Entry().claimed(mine, 1, queued=False)
        assert (alone.kept, alone.seen, alone.owed_since) == (None, (), None)

    def test_state_of_an_expired_lease_is_doubtful_after_the_next_claim(self) -> None:
        entry, gone = leased(state(alerts=ONE_ALERT))
        after = entry.claimed(lease(over(20), 20, "b"), 1, queued=True)
        assert after.doubtful == (gone.state,)
        assert after.signals == (NOW, NOW + 20)

    def test_signals_are_bounded_and_the_newest_stay(self) -> None:
        entry = Entry()
        for began in range(20):
            entry = entry.claimed(lease(state(), began, f"owner-{began}"), 1, queued=True)
        assert entry.signals == tuple(NOW + began for began in range(20 - MAX_SIGNALS, 20))

    def test_signals_stay_in_order_although_one_clock_is_slow(self) -> None:
        fast, slow = lease(state(), 10, "fast"), lease(state(), 9, "slow")
        entry = Entry().claimed(fast, 1, queued=True).claimed(slow, 1, queued=True)
        assert entry.signals == (NOW + 9, NOW + 10)

    def test_sender_that_claims_again_leaves_no_doubt_and_no_signal_of_its_first_claim(self) -> None:
        first, again = lease(state(), 0, "a"), lease(state(), 1, "a")
        entry = announced(state(-30)).claimed(first, 3, queued=True).claimed(again, 2, queued=True)
        assert (entry.lease, entry.doubtful, entry.signals) == (again, (), (NOW - 30, NOW + 1, NOW + 1))


class TestAccepted:
    def test_accepted_state_is_announced_and_nothing_is_owed(self) -> None:
        entry, mine = leased(state(alerts=ONE_ALERT))
        after = replace(entry, is_notified=True).accepted(mine, "r1", 1, until=mine.began)
        assert after == Entry(
            kept=bare(mine.state),
            seen=(mine.state.digest,),
            announced=mine.state,
            signals=(NOW,),
            raised=(raised("r1"),),
        )

    def test_attempts_that_may_have_notified_count_as_signals(self) -> None:
        entry, mine = leased()
        assert entry.accepted(mine, "r1", 3, until=mine.began).signals == (NOW, NOW, NOW)

    def test_accepted_state_is_kept_although_it_was_on_no_queue(self) -> None:
        mine = lease(state())
        assert Entry().claimed(mine, 1, queued=False).accepted(mine, None, 1, until=mine.began).kept == state()

    def test_newer_state_that_came_during_the_send_is_still_owed(self) -> None:
        entry, mine = leased()
        entry = replace(entry.keeping(over(5), slot=Slot(NOW + 9, urgent=False)), is_notified=True)
        after = entry.accepted(mine, "r1", 1, until=mine.began)
        assert (after.kept, after.announced, after.owed_since, after.is_notified) == (over(5), state(), NOW, True)
        assert after.slot == Slot(NOW + 9, urgent=False)

    def test_older_state_that_is_accepted_after_a_newer_one_is_doubtful(self) -> None:
        slow = lease(state())
        entry = Entry().claimed(slow, 1, queued=True)
        quick = lease(over(16), 16, "b")
        entry = entry.claimed(quick, 1, queued=True).accepted(quick, "r2", 1, until=quick.began)
        after = entry.accepted(slow, "r1", 1, until=slow.began)
        assert (after.announced, after.kept) == (over(16), over(16))
        assert after.maybe_announced() == (over(16), state())
        # Pages are ordered by the time of sending, so that a slow resolve ends only the pages before it.
        assert [each.request_id for each in after.raised] == ["r1", "r2"]
        assert after.signals == (NOW, NOW + 16)

    def test_signals_keep_their_order_although_clocks_differ(self) -> None:
        first = lease(state())
        entry = Entry().claimed(first, 1, queued=True).accepted(first, "r1", 1, until=first.began)
        assert entry.next_claim(NOW - 0.5) > NOW
        second = lease(over(), 1, "b")._replace(began=entry.next_claim(NOW - 0.5))
        held = entry.claimed(second, 1, queued=True)
        assert held.next_claim(NOW - 0.4) > second.began
        assert held.next_claim(NOW + 5) == NOW + 5
        after = held.accepted(second, "r2", 1, until=NOW)
        assert [each.request_id for each in after.raised] == ["r1", "r2"]

    def test_accepted_state_settles_doubts_and_its_dead_letter(self) -> None:
        mine = lease(state())
        entry = (
            Entry()
            .claimed(mine, 1, queued=True)
            .failed(mine, 1, 1, until=mine.began, dead_lettered_at=MARK, reason="refused")
        )
        again = lease(state(), 60, "b")
        after = entry.claimed(again, 1, queued=True).accepted(again, "r1", 1, until=again.began)
        assert (after.doubtful, after.dead_lettered) == ((), None)

    def test_acceptance_leaves_another_senders_lease(self) -> None:
        entry, slow = leased()
        other = lease(over(16), 16, "b")
        after = entry.claimed(other, 1, queued=True).accepted(slow, "r1", 1, until=slow.began)
        assert after.lease == other
        assert after.is_busy(NOW + 16)

    def test_acceptance_without_a_request_id_records_no_page(self) -> None:
        entry, mine = leased()
        assert entry.accepted(mine, None, 1, until=mine.began).raised == ()

    def test_pages_are_bounded_and_the_newest_stay(self) -> None:
        entry = Entry()
        for number in range(MAX_RAISED + 3):
            mine = lease(state(number), number)
            entry = entry.claimed(mine, 1, queued=True).accepted(mine, f"r{number}", 1, until=mine.began)
        assert [each.request_id for each in entry.raised] == [f"r{number}" for number in range(3, MAX_RAISED + 3)]


class TestFailed:
    def test_failure_that_surely_did_not_notify_leaves_no_signal_and_no_doubt(self) -> None:
        entry, mine = leased()
        after = entry.failed(mine, 2, 0, until=mine.began)
        assert (after.lease, after.signals, after.doubtful, after.announced) == (None, (), (), None)
        assert (after.asked, after.owed_since, after.kept) == (2, NOW, state())

    def test_failure_that_may_have_notified_leaves_a_doubtful_state_and_a_signal_per_attempt(self) -> None:
        entry, mine = leased(state(alerts=ONE_ALERT))
        after = entry.failed(mine, 3, 2, until=mine.began)
        assert after.doubtful == (mine.state,)
        assert after.signals == (NOW, NOW)
        assert after.may_have_paged(state(9, version=0, alerts=ONE_ALERT))
        assert not after.may_have_paged(over(9))

    def test_attempts_of_one_state_add_up(self) -> None:
        entry, mine = leased()
        again = lease(state(), 60, "b")
        entry = entry.failed(mine, 2, 0, until=mine.began).claimed(again, 1, queued=True)
        assert entry.failed(again, 1, 0, until=again.began).asked == 3

    def test_attempts_of_an_overtaken_state_do_not_count_for_the_newer_one(self) -> None:
        entry, mine = leased()
        assert entry.keeping(over(5)).failed(mine, 2, 0, until=mine.began).asked == 0

    def test_final_failure_records_the_dead_lettered_state_without_alerts(self) -> None:
        entry, mine = leased(state(alerts=ONE_ALERT))
        assert entry.failed(mine, 1, 0, until=mine.began).dead_lettered is None
        assert entry.failed(
            mine, 1, 0, until=mine.began, dead_lettered_at=MARK, reason="refused"
        ).dead_lettered == bare(mine.state)

    def test_failure_leaves_the_signals_of_other_senders(self) -> None:
        entry = announced(state(-30))
        mine = lease(state())
        assert entry.claimed(mine, 1, queued=True).failed(mine, 1, 0, until=mine.began).signals == (NOW - 30,)

    def test_newest_of_equal_doubtful_states_stays(self) -> None:
        entry = doubting(state(0), state(1), state(2))
        assert entry.doubtful == (state(2),)

    def test_different_doubtful_states_are_never_forgotten(self) -> None:
        entry = doubting(state(0, status="unknown"), *(over(number) for number in range(1, 20)))
        assert entry.doubtful == (state(0, status="unknown"), over(19))

    def test_equal_doubtful_states_are_merged_to_their_common_alerts(self) -> None:
        entry = doubting(state(0, alerts=[{"id": "a"}, {"id": "b"}]), state(1, alerts=[{"id": "b"}, {"id": "c"}]))
        [doubtful] = entry.doubtful
        assert doubtful.alerts == state(0, alerts=[{"id": "b"}]).alerts


def doubting(*states: State) -> Entry:
    """Return an entry of states that may have been announced, one after the other."""
    entry = Entry()
    for number, each in enumerate(states):
        mine = lease(each, number)
        entry = entry.claimed(mine, 1, queued=True).failed(mine, 1, 1, until=mine.began)
    return entry


class TestLastTold:
    def test_last_told_are_the_announced_state_and_all_doubtful_ones(self) -> None:
        assert Entry().maybe_announced() == (None,)
        second, third = lease(over(5), 5), lease(state(9), 9)
        entry = announced(state()).claimed(second, 1, queued=True).failed(second, 1, 1, until=second.began)
        assert entry.maybe_announced() == (state(), over(5))
        assert entry.claimed(third, 1, queued=True).maybe_announced() == (state(), over(5), state(9))


class TestKey:
    def test_key_names_channel_recipients_and_incident(self) -> None:
        name = key("noc", ("Network Operations",), "66b0")
        assert name == f"incident/noc/{key('noc', ('Network Operations',), '').split('/')[2]}/66b0"
        others = {key("noc2", ("Network Operations",), "66b0"), key("noc", (), "66b0"), key("noc", ("x",), "66b0")}
        assert len(others | {name}) == 4

    def test_key_does_not_depend_on_the_order_of_recipients(self) -> None:
        assert key("noc", ("a", "b"), "i1") == key("noc", ("b", "a"), "i1")

    def test_key_separates_the_names_of_recipients(self) -> None:
        assert len({key("noc", names, "i1") for names in [("a", "b"), ("a,b",), ("ab",), ('a","b',)]}) == 4

    def test_key_takes_an_incident_id_with_slashes(self) -> None:
        assert key("noc", (), "a/b/../c").endswith("/a/b/../c")
        assert key("noc", (), "a/b").split("/")[2] == key("noc", (), "c").split("/")[2]

    @pytest.mark.parametrize(
        "incident_id",
        ["\ud800", "a\udfff", "\ud83d\ude00", "\U0001f600" * 512, "\ud800" * 512, "x" * 512, "ü" * 512, "\x00\n", " "],
        ids=repr,
    )
    def test_key_fits_into_dynamodb_whatever_the_incident_id_is(self, incident_id: str) -> None:
        name = key("a" * 48, ("x" * 200,) * 100, incident_id)
        assert 0 < len(name.encode()) <= MAX_KEY_BYTES

    def test_key_shows_a_legal_incident_id_as_it_is(self) -> None:
        assert key("noc", (), "ïd-✓").endswith("/ïd-✓")

    @given(st.text(st.characters(), min_size=1, max_size=4), st.text(st.characters(), min_size=1, max_size=4))
    def test_different_incident_ids_have_different_keys(self, one: str, other: str) -> None:
        assert (key("noc", (), one) == key("noc", (), other)) == (one == other)

    @pytest.mark.parametrize(("one", "other"), [("\ud800", "\\ud800"), ("\ud800", "\ufffd"), ("\ud800", "?")])
    def test_key_of_an_odd_incident_id_differs_from_that_of_its_spelling(self, one: str, other: str) -> None:
        assert key("noc", (), one) != key("noc", (), other)


def fresh() -> tuple[Ledger, FakeDynamoDb]:
    dynamodb = FakeDynamoDb()
    return Ledger(dynamodb.table(Clock())), dynamodb


MOMENTS = st.floats(1e9, 4e9)
DIGESTS = st.text("0123456789abcdef", min_size=64, max_size=64)
STATES = st.builds(
    State,
    version=st.none() | st.tuples(MOMENTS, MOMENTS | st.just(0.0)),
    digest=DIGESTS,
    came=MOMENTS,
    is_open=st.booleans(),
    rank=st.none() | st.integers(0, 3),
    alerts=st.frozensets(st.text("0123456789abcdef", min_size=8, max_size=8), max_size=4),
)
ENTRIES = st.builds(
    Entry,
    kept=st.none() | STATES,
    seen=st.lists(DIGESTS, max_size=3).map(tuple),
    announced=st.none() | STATES,
    doubtful=st.lists(STATES, max_size=3).map(tuple),
    dead_lettered=st.none() | STATES,
    dead_lettered_at=MOMENTS,
    revived_at=MOMENTS,
    reason=st.text(max_size=8),
    eased=st.none() | STATES,
    environment_id=st.text(max_size=8),
    lease=st.none() | st.builds(Lease, owner=st.text(max_size=8), until=MOMENTS, began=MOMENTS, state=STATES),
    slot=st.none() | st.builds(Slot, at=MOMENTS, urgent=st.booleans()),
    signals=st.lists(MOMENTS, max_size=8).map(tuple),
    owed_since=st.none() | MOMENTS,
    rests_until=MOMENTS,
    over_at=MOMENTS,
    confirmed_at=MOMENTS,
    refuted_since=MOMENTS,
    is_notified=st.booleans(),
    asked=st.integers(0, 99),
    raised=st.lists(
        st.builds(
            Raised,
            request_id=st.text(max_size=40),
            at=MOMENTS,
            is_open=st.booleans(),
            pages=st.lists(st.text(max_size=36), max_size=2).map(tuple),
            number=st.text(max_size=9),
            is_over=st.booleans(),
            is_lost=st.booleans(),
            is_for_one=st.booleans(),
            recipients=st.lists(st.text("0123456789abcdef", min_size=8, max_size=8), max_size=3).map("".join),
        ),
        max_size=3,
    ).map(tuple),
    acknowledged_by=st.text(max_size=8),
    row=st.none() | st.builds(Row, due=MOMENTS, job=DIGESTS | st.just(""), begun=st.integers(0, 9)),
    unconfirmed=st.booleans(),
    others=st.dictionaries(st.sampled_from(["colour", "shape"]), st.integers() | st.text() | st.lists(st.integers())),
    is_unreadable=st.just(False),
)


class TestLedger:
    def test_unknown_incident_has_an_empty_entry(self) -> None:
        ledger, _ = fresh()
        assert ledger.read("k") == Entry()

    @given(ENTRIES)
    def test_entry_is_read_as_it_was_written(self, entry: Entry) -> None:
        ledger, _ = fresh()
        written = ledger.write("k", Entry(), entry)
        assert written == replace(entry, sequence=1)
        assert ledger.read("k") == written

    def test_only_one_of_two_concurrent_writers_succeeds(self) -> None:
        ledger, _ = fresh()
        first, second = ledger.read("k"), ledger.read("k")
        assert ledger.write("k", first, first.keeping(state()))
        assert ledger.write("k", second, second.keeping(over(5))) is None
        now = ledger.read("k")
        assert now.kept == state()
        after = ledger.write("k", now, now.keeping(over(5)))
        assert after
        assert (after.kept, after.sequence) == (over(5), 2)

    def test_written_entry_can_be_written_again_without_a_read(self) -> None:
        ledger, dynamodb = fresh()
        one = ledger.write("k", Entry(), Entry().keeping(state()))
        assert one
        assert ledger.write("k", one, one.unchanged(over(5)))
        assert dynamodb.calls == ["update_item", "update_item"]

    def test_stale_entry_is_not_written_after_its_item_was_deleted(self) -> None:
        ledger, dynamodb = fresh()
        old = ledger.write("k", Entry(), Entry().keeping(state()))
        assert old
        dynamodb.items.clear()
        assert ledger.write("k", old, old.unchanged(over(5))) is None
        assert ledger.read("k") == Entry()

    def test_empty_entry_is_written_as_an_empty_object(self) -> None:
        ledger, dynamodb = fresh()
        ledger.write("k", Entry(), Entry(asked=0, is_notified=False))
        assert dynamodb.items["k"]["text"] == {"S": "{}"}

    def test_entry_with_300_alerts_takes_less_than_a_tenth_of_an_item(self) -> None:
        assert full(300) < MAX_ITEM_BYTES / 10

    def test_entry_with_thousands_of_alerts_fits_into_an_item(self) -> None:
        assert full(5_000) < MAX_ITEM_BYTES / 4
        assert full(5_000) < full(MAX_ALERTS) + 100

    def test_usual_entry_costs_one_write_unit(self) -> None:
        ledger, dynamodb = fresh()
        name = key("noc", ("Network Operations",), "66b0a1b2c3d4e5f6a7b8c9d0")
        entry = announced(state(alerts=[{"id": number} for number in range(10)]))
        ledger.write(
            name, Entry(), replace(entry, raised=(Raised("3e1c8c1e-0f0e-4d8c-9d3d-1f6a2b7c9d10", NOW, is_open=True),))
        )
        assert size(dynamodb.items[name]) < 1024

    @pytest.mark.parametrize(
        "text",
        ["", "no JSON", "[]", "7", "null", '{"kept": 7}', '{"kept": [1, 2]}', '{"lease": ["a"]}', '{"seen": 7}'],
    )
    def test_unreadable_entry_is_begun_anew_and_its_resolve_is_owed(self, text: str) -> None:
        ledger, _ = fresh()
        ledger.table.write("k", 0, text)
        lost = ledger.read("k")
        assert (lost.is_unreadable, lost.sequence, lost.kept, lost.announced) == (True, 1, None, None)
        assert judge_share(lost, over(), PRESETS["parity"]).standing == Standing.OWED
        written = ledger.write("k", lost, lost.unchanged(state()))
        assert written
        assert ledger.read("k").kept == bare(state())

    def test_members_of_another_version_are_kept_when_the_entry_is_written(self) -> None:
        ledger, dynamodb = fresh()
        ledger.table.write("k", 0, json.dumps({"asked": 2, "colour": "blue"}))
        entry = ledger.read("k")
        assert entry == Entry(asked=2, others={"colour": "blue"}, sequence=1)
        ledger.write("k", entry, entry.keeping(state()))
        assert json.loads(dynamodb.items["k"]["text"]["S"])["colour"] == "blue"
        assert ledger.read("k").others == {"colour": "blue"}

    def test_member_of_another_version_never_replaces_one_of_this_version(self) -> None:
        ledger, _ = fresh()
        ledger.write("k", Entry(), Entry(asked=2, others={"asked": 7}))
        assert ledger.read("k").asked == 2

    def test_failing_table_raises_a_ledger_error(self) -> None:
        ledger, dynamodb = fresh()
        dynamodb.failure = EndpointConnectionError(endpoint_url="https://dynamodb")
        with pytest.raises(LedgerError):
            ledger.read("k")
        with pytest.raises(LedgerError):
            ledger.write("k", Entry(), Entry())


# One status for each state that the ledger tells apart.
STATUSES = ("critical", "warning", "unknown", "odd", "ok")


def full(alerts: int) -> int:
    """Return the bytes of the largest item of an incident with so many alerts."""
    members: dict[str, Any] = {"alerts": [{"id": f"alert-{number}"} for number in range(alerts)]}
    entry = Entry()
    for number in range(MAX_SEEN):
        entry = entry.keeping(state(number, version=0, flapping=bool(number % 2), **members))
    for number in range(MAX_RAISED + 1):
        mine = lease(state(number, **members), number, "f" * 32)
        entry = entry.claimed(mine, 1, queued=True).accepted(mine, f"{number:036}", 1, until=mine.began)
    for number, status in enumerate(STATUSES):
        mine = lease(state(100 + number, status=status, **members), 100 + number, "f" * 32)
        entry = entry.claimed(mine, 1, queued=True).failed(
            mine, 1, 1, until=mine.began, dead_lettered_at=MARK, reason="refused"
        )
    entry = entry.claimed(lease(state(200, **members), 200), 1, queued=True)
    assert [len(each.alerts) for each in entry.maybe_announced() if each] == [min(alerts, MAX_ALERTS)] * (
        len(STATUSES) + 2
    )
    ledger, dynamodb = fresh()
    ledger.write("k", Entry(), entry)
    return size(dynamodb.items["k"])


ROW = Row(NOW + 216, "d" * 32, is_critical=True)
CALM = replace(ROW, is_critical=False)


def owing(of: State | None = None) -> Entry:
    """Return the entry of a state that is owed after its inline attempts."""
    return Entry().waiting(of or state(), ROW)


class TestRow:
    def place(self, dynamodb: FakeDynamoDb) -> tuple[str, float] | None:
        """Return shard and due time of the item, or None if the index does not have it."""
        items = dynamodb.indexed()
        return (items[0]["due"]["S"], float(items[0]["due_at"]["N"])) if items else None

    def test_waiting_state_is_owed_and_has_its_row(self) -> None:
        entry = owing()
        assert (entry.kept, entry.owed_since, entry.row) == (bare(state()), NOW, ROW)
        assert (entry.row_due, entry.row_job) == (ROW.due, ROW.job)
        assert (Entry().row_due, Entry().row_job) == (0.0, "")

    def test_newer_state_takes_over_the_row_and_keeps_the_time(self) -> None:
        later = Row(NOW + 500, "e" * 32)
        entry = owing().waiting(state(5), later)
        assert (entry.kept, entry.owed_since, entry.row) == (bare(state(5)), NOW, later)

    @pytest.mark.parametrize(
        "entry",
        [owing(state(5)), announced(state()), owing().dead_lettering(state(), MARK, "refused")],
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
            lambda entry: replace(entry, is_notified=True).dead_lettering(state(), MARK, "refused"),
        ],
        ids=["announced", "overtaken", "unchanged", "dead-lettered"],
    )
    def test_row_is_removed_when_nothing_is_owed(self, settle: Callable[[Entry], Entry]) -> None:
        ledger, dynamodb = fresh()
        before = ledger.write("k", Entry(), owing())
        assert before
        after = settle(before)
        assert after.row is None
        ledger.write("k", before, after)
        assert dynamodb.indexed() == []
        assert dynamodb.items["k"].keys() == {"pk", "text", "sequence", "expires"}

    def test_older_state_that_is_accepted_late_leaves_the_row_of_the_newer_one(self) -> None:
        entry = owing(state(5)).announcing(state(), "r1", NOW)
        assert (entry.row, entry.owed_since) == (ROW, NOW + 5)

    def test_row_moves_to_the_other_shards_if_a_warning_takes_it_over(self) -> None:
        ledger, dynamodb = fresh()
        before = ledger.write("k", Entry(), owing())
        assert before
        ledger.write("k", before, before.waiting(state(5, status="warning"), CALM))
        assert self.place(dynamodb) == (shard("k", is_critical=False), ROW.due)

    def test_dead_lettered_critical_stays_in_the_index_until_the_fallback_is_notified(self) -> None:
        entry = owing().dead_lettering(state(), MARK, "refused")
        assert (entry.row, entry.owed_since, entry.reason) == (Row(MARK, is_critical=True), NOW, "refused")
        assert (entry.notified().row, entry.notified().is_notified) == (None, True)

    def test_dead_lettered_warning_leaves_the_index(self) -> None:
        warning = state(status="warning")
        assert owing(warning).dead_lettering(warning, MARK, "refused").row is None

    def test_notification_leaves_the_row_of_a_job_that_goes_on(self) -> None:
        entry = owing().notified()
        assert (entry.row, entry.is_notified) == (ROW, True)

    def test_postponed_row_is_due_later_and_counts_anew(self) -> None:
        entry = replace(owing(), row=replace(ROW, begun=3))
        assert entry.postponed(NOW + 999).row == Row(NOW + 999, ROW.job, begun=0, is_critical=True)
        assert entry.postponed(NOW).row == Row(ROW.due, ROW.job, begun=0, is_critical=True)
        assert Entry().postponed(NOW + 999) == Entry()

    def test_healed_row_is_due_later_and_keeps_its_count(self) -> None:
        entry = replace(owing(), row=replace(ROW, begun=3))
        assert entry.healing(NOW + 400, 4).row == Row(NOW + 400, ROW.job, begun=3, sent=4, is_critical=True)
        assert (Entry().healing(NOW, 1), Entry().begun(1)) == (Entry(), Entry())

    def test_begun_jobs_are_counted_by_number_so_that_a_copy_counts_once(self) -> None:
        entry = replace(owing(), row=replace(ROW, begun=3))
        assert entry.begun(4).row == entry.begun(4).begun(4).row == Row(ROW.due, ROW.job, 4, is_critical=True)
        assert entry.begun(2) == entry
        assert (entry.row_begun, Entry().row_begun) == (3, 0)

    def test_entry_without_debt_leaves_the_index(self) -> None:
        entry = replace(owing(), is_notified=True).without_debt()
        assert (entry.row, entry.owed_since, entry.is_notified) == (None, None, False)
        assert owing().unconfirming(NOW).without_debt().row, "the notice that no page came is owed still"

    def test_attributes_of_another_version_are_kept_when_the_entry_is_written(self) -> None:
        ledger, dynamodb = fresh()
        before = ledger.write("k", Entry(), owing())
        assert before
        dynamodb.items["k"]["colour"] = {"S": "blue"}
        ledger.write("k", before, before.announcing(state(), "r1", NOW))
        assert dynamodb.items["k"]["colour"] == {"S": "blue"}

    @pytest.mark.parametrize("text", ["{", "[]", '{"kept": 7}'])
    def test_unreadable_entry_keeps_its_row(self, text: str) -> None:
        ledger, dynamodb = fresh()
        ledger.write("k", Entry(), owing())
        dynamodb.items["k"]["text"] = {"S": text}
        lost = ledger.read("k")
        assert (lost.is_unreadable, lost.row, lost.owed_since, lost.is_critical) == (True, ROW, ROW.due, True)
        [(name, found)] = ledger.due(shard("k", is_critical=True), 10)
        assert (name, found) == ("k", lost)
        ledger.write("k", lost, lost.healing(NOW + 400, 1))
        assert ledger.read("k").row == replace(ROW, due=NOW + 400, sent=1)
        assert len(dynamodb.indexed()) == 1

    def test_entry_with_a_row_costs_one_write_unit(self) -> None:
        ledger, dynamodb = fresh()
        name = key("noc", ("Network Operations",), "66b0a1b2c3d4e5f6a7b8c9d0")
        ledger.write(name, Entry(), owing(state(alerts=[{"id": number} for number in range(10)])))
        assert size(dynamodb.items[name]) < 1024


class TestUnconfirmed:
    def test_unconfirmed_critical_is_in_the_index_until_the_fallback_is_notified(self) -> None:
        entry = announced(state()).unconfirming(NOW + 180)
        assert (entry.unconfirmed, entry.row, entry.is_critical) == (True, Row(NOW + 180, is_critical=True), True)
        assert (entry.notified().unconfirmed, entry.notified().row, entry.notified().is_notified) == (
            False,
            None,
            False,
        )

    def test_unconfirmed_critical_stays_in_the_index_whatever_its_next_state_is(self) -> None:
        entry = announced(state()).unconfirming(NOW + 180)
        for after in (
            entry.unchanged(over(200)),
            entry.announcing(over(200), "r2", NOW + 200),
            entry.dead_lettering(state(200, status="warning"), NOW + 200, "refused"),
        ):
            assert after.unconfirmed
            assert after.row is not None
            assert after.is_critical

    def test_row_of_a_debt_serves_the_unconfirmed_critical(self) -> None:
        entry = announced(state()).waiting(over(200), CALM).unconfirming(NOW + 180)
        assert entry.row == ROW
        assert (entry.notified().row, entry.notified().is_notified) == (CALM, True)


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


class TestRevival:
    def dead_lettered(self) -> Entry:
        return Entry().keeping(state()).dead_lettering(state(), MARK, "refused")

    def test_revived_state_is_owed_and_no_longer_dead_lettered(self) -> None:
        revived = self.dead_lettered().reviving(state(), MARK + 9)
        assert (revived.dead_lettered, revived.revived_at, revived.owed_since) == (None, MARK + 9, NOW)
        assert revived.kept == bare(state())

    def test_state_that_is_dead_lettered_again_is_not_revived(self) -> None:
        again = self.dead_lettered().reviving(state(), MARK + 9).dead_lettering(state(), MARK + 60, "expired")
        assert (again.dead_lettered, again.dead_lettered_at, again.revived_at) == (bare(state()), MARK + 60, 0.0)
        assert again.reason == "expired"

    def test_dead_letter_that_is_recorded_after_its_revival_changes_nothing(self) -> None:
        revived = Entry().keeping(state()).reviving(state(), MARK + 9)
        assert revived.dead_lettering(state(), MARK, "refused") == revived

    def test_mark_of_a_dead_letter_never_goes_back(self) -> None:
        assert self.dead_lettered().dead_lettering(state(), MARK - 9, "refused").dead_lettered_at == MARK

    def test_newer_state_clears_the_revival_of_an_older_one(self) -> None:
        assert self.dead_lettered().reviving(state(), MARK + 9).keeping(state(5)).revived_at == 0.0

    def test_unchanged_state_clears_the_dead_lettered_one(self) -> None:
        assert self.dead_lettered().unchanged(state()).dead_lettered is None


class TestAcknowledged:
    def test_page_without_a_request_id_can_be_acknowledged(self) -> None:
        mine = lease(state())
        entry = Entry().claimed(mine, 1, queued=True).accepted(mine, None, 1, until=mine.began)
        assert entry.acknowledged("jdoe", NOW + 1).acknowledged_by == "jdoe"
        assert entry.acknowledged("jdoe", NOW - 1) == entry
