"""The ledger: entries and what changes them, their items and rows in the table, and calls of DynamoDB that fail."""

from collections.abc import Callable
from copy import replace
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError, EndpointConnectionError, ParamValidationError
from hypothesis import given
from hypothesis import strategies as st

from relay.channels.policy import FlapRule, Policy
from relay.delivery.rules import Standing, judge_share
from relay.failures import LedgerError
from relay.incidents.share import PRESETS, State, Version
from relay.ledger.accepted_signal import AcceptedSignal, Audience
from relay.ledger.debt import Debt, Row, shard
from relay.ledger.entry import About, End, Entry, Flap, entry_key
from relay.ledger.receipt import Missed, Receipt
from relay.ledger.table import Ledger, Table, stored_row
from tests.fake_dynamodb import MAX_ITEM_BYTES, MAX_KEY_BYTES, FakeDynamoDb, size
from tests.fakes import Clock
from tests.unit.states import NOW, announced, bare, lease, over, state


def fresh() -> tuple[Ledger, FakeDynamoDb]:
    dynamodb = FakeDynamoDb()
    return Ledger(dynamodb.table(Clock())), dynamodb


MARK = NOW + 60.0


MOMENTS = st.floats(1e9, 4e9)
DIGESTS = st.text("0123456789abcdef", min_size=64, max_size=64)
HASHES = st.text("0123456789abcdef", min_size=8, max_size=8)
PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    float: MOMENTS,
    int: st.integers(0, 9),
    str: st.text(max_size=8),
    bool: st.booleans(),
    type(None): st.none(),
}
# Strategies for members whose type says too little, by class and name.
MEMBERS: dict[Any, dict[str, st.SearchStrategy[Any]]] = {
    State: {"digest": DIGESTS, "alerts": st.frozensets(HASHES, max_size=4)},
    AcceptedSignal: dict.fromkeys(("recipients", "failed"), st.lists(HASHES, max_size=3).map("".join)),
    About: {"facts": st.dictionaries(st.sampled_from(["environment", "tag.team"]), st.just(("a", "b")))},
    Entry: {
        "seen_digests": st.lists(DIGESTS, max_size=3).map(tuple),
        "others": st.dictionaries(st.sampled_from(["colour", "shape"]), st.integers() | st.lists(st.integers())),
        "sequence": st.just(0),
        "is_unreadable": st.just(False),
    },
}


def made(kind: Any) -> st.SearchStrategy[Any]:
    """Return a strategy for values of a type, by the types of its members."""
    kind = getattr(kind, "__value__", kind)
    if kind in PLAIN:
        return PLAIN[kind]
    if isinstance(kind, UnionType):
        return st.one_of(*map(made, get_args(kind)))
    if get_origin(kind) is tuple:
        first, *others = get_args(kind)
        return (
            st.lists(made(first), max_size=3).map(tuple) if others == [...] else st.tuples(*map(made, get_args(kind)))
        )
    own = MEMBERS.get(kind, {})
    hints = {name: hint for name, hint in get_type_hints(kind).items() if name not in own}
    return st.builds(kind, **own, **{name: made(hint) for name, hint in hints.items()})


def with_its_row(entry: Entry) -> Entry:
    """Return an entry without a row if its state is not owed."""
    return entry if entry.debt.is_owed else replace(entry, debt=replace(entry.debt, row=None))


class TestEntryJson:
    @given(made(Entry).map(with_its_row))
    def test_entry_is_read_as_it_was_written(self, entry: Entry) -> None:
        """The row of an open receipt is read as that of the debt, if there is one."""
        ledger, _ = fresh()
        written = ledger.write("k", Entry(), entry)
        assert written == replace(entry, sequence=1)
        row = stored_row(entry) if entry.debt.is_owed else None
        assert ledger.read("k") == replace(written, debt=replace(entry.debt, row=row))

    def test_entry_with_thousands_of_alerts_fits_into_an_item(self) -> None:
        most = full(3_000)
        assert most < MAX_ITEM_BYTES / 4
        assert most < full(1000) + 100

    @pytest.mark.parametrize(
        "text",
        ["", "no JSON", "[]", "7", '{"newest": 7}', '{"newest": [1, 2]}', '{"lease": ["a"]}', '{"seen_digests": 7}'],
    )
    def test_unreadable_entry_is_begun_anew_and_its_resolve_is_owed(self, text: str) -> None:
        ledger, _ = fresh()
        ledger.table.write("k", 0, text)
        lost = ledger.read("k")
        assert (lost.is_unreadable, lost.sequence, lost.newest, lost.announced) == (True, 1, None, None)
        assert judge_share(lost, over(), PRESETS["parity"]).standing == Standing.OWED
        written = ledger.write("k", lost, lost.unchanged(state()))
        assert written
        assert ledger.read("k").newest == bare(state())


# One status for each state that the ledger tells apart.
STATUSES = ("critical", "warning", "unknown", "odd", "ok")


def full(alerts: int) -> int:
    """Return the size in bytes of the largest ledger item of an incident with this number of alerts."""
    members: dict[str, Any] = {"alerts": [{"id": f"alert-{number}"} for number in range(alerts)]}
    entry = Entry()
    for number in range(16):
        entry = entry.owing(state(number, version=0, flapping=bool(number % 2), **members))
    for number in range(16 + 1):
        mine = lease(state(number, **members), number, "f" * 32)
        entry = entry.leased(mine, 1, 0).accepted(mine, f"{number:036}", 1, until=mine.began)
    for number, status in enumerate(STATUSES):
        mine = lease(state(100 + number, status=status, **members), 100 + number, "f" * 32)
        entry = entry.leased(mine, 1, 0).failed(mine, 1, 1, until=mine.began, reason="refused")
        entry = entry.dead_lettering(mine.state, MARK, "refused", plan=number)
    entry = entry.leased(lease(state(200, **members), 200), 1, 0)
    assert [len(each.alerts) for each in entry.maybe_announced() if each] == [min(alerts, 1000)] * (len(STATUSES) + 2)
    ledger, dynamodb = fresh()
    ledger.write("k", Entry(), entry)
    return size(dynamodb.items["k"])


@pytest.mark.parametrize(
    "incident_id",
    ["\ud800", "a\udfff", "\ud83d\ude00", "\U0001f600" * 512, "\ud800" * 512, "x" * 512, "ü" * 512, "\x00\n", " "],
    ids=repr,
)
def test_key_fits_into_dynamodb_whatever_the_incident_id_is(incident_id: str) -> None:
    name = entry_key("a" * 48, ("x" * 200,) * 100, incident_id)
    assert 0 < len(name.encode()) <= MAX_KEY_BYTES


ROW = Row(NOW + 216, "d" * 32, is_critical=True)


def owing(of: State | None = None) -> Entry:
    """Return the entry of a state that is owed after its inline attempts."""
    return Entry().owing_by_row(of or state(), ROW)


@pytest.mark.parametrize("text", ["{", "[]", '{"newest": 7}'])
def test_unreadable_entry_keeps_its_row(text: str) -> None:
    ledger, dynamodb = fresh()
    ledger.write("k", Entry(), owing())
    dynamodb.items["k"]["text"] = {"S": text}
    lost = ledger.read("k")
    assert (lost.is_unreadable, lost.debt.row, lost.debt.since) == (True, ROW, ROW.due)
    assert lost.debt.has_critical_row
    [(name, found)] = ledger.due(shard("k", is_critical=True), 10)
    assert (name, found) == ("k", lost)
    ledger.write("k", lost, replace(lost, debt=lost.debt.woken(NOW + 400)))
    assert ledger.read("k").debt.row == replace(ROW, due=NOW + 400, is_unbegun=True)
    assert len(dynamodb.indexed()) == 1


OWED = Entry().owing(state())


@pytest.mark.parametrize(
    ("entry", "of", "is_taken"),
    [
        (announced(state()), state(), False),
        (OWED.dead_lettering(state(), MARK, "refused", plan=1), state(), False),
        (announced(state()), over(5), True),
        (announced(state()).with_snooze_over(), state(), True),
    ],
    ids=["announced", "dead-lettered", "newer", "announced, but its snooze is over"],
)
def test_late_record_of_a_state_that_people_know_or_that_was_given_up_wakes_nobody(
    entry: Entry, of: State, is_taken: bool
) -> None:
    assert (entry.owing_by_row(of, ROW).debt.row == ROW) is is_taken


def test_critical_that_opens_again_is_told_of_anew_although_people_were_told_that_an_earlier_one_did_not_ring() -> None:
    told = replace(OWED, debt=replace(OWED.debt, is_notified=True))
    again = told.owing(over(5)).owing(state(9)).debt
    assert (again.is_notified, again.since) == (False, NOW + 9)


RULE = FlapRule(3, 10)
TEN_MINUTES = 600.0


def test_flag_of_bigpanda_is_enough_while_the_incident_is_open() -> None:
    assert Flap().after_state(None, state(), RULE, is_flagged=True).calm_at == NOW + TEN_MINUTES
    assert Flap().after_state(state(), over(9), RULE, is_flagged=True).calm_at == 0


def test_critical_that_may_have_rung_does_not_wait_for_a_flap_that_people_know_as_a_warning() -> None:
    told = replace(announced(state(status="warning")), doubtful=(state(),), flap=Flap((), NOW + 600, is_signalled=True))
    assert told.quiet_until(state()) == 0.0
    assert told.quiet_until(state(status="warning")) == NOW + 600


def signal_to(*recipients: str, is_for_acknowledger: bool = False) -> AcceptedSignal:
    return AcceptedSignal.of(state(), "r1", NOW, Audience(recipients, is_for_acknowledger=is_for_acknowledger))


@pytest.mark.parametrize(
    ("newer", "older", "reaches"),
    [
        (("ops", "dba"), ("dba",), True),
        (("ops", "dba"), ("dba", "ops"), True),
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


@pytest.mark.parametrize("items", [0, 2, 3, 11])
def test_shard_is_read_over_all_pages_earliest_first(items: int) -> None:
    ledger, dynamodb = fresh()
    table = ledger.table
    for number in range(items):
        # The order of writing differs from the order in which items are due.
        at = float((number * 7) % items)
        table.write(f"k{at:.0f}", 0, "text", others={"due": "critical#1", "due_at": at})
    assert dynamodb.page_size == 2
    found = [(each.key, each.others["due_at"]) for each in table.due("critical#1", 5000)]
    assert found == [(f"k{number}", number) for number in range(items)]
    before = len(dynamodb.calls)
    assert [each.key for each in table.due("critical#1", 2)] == [name for name, _ in found[:2]]
    assert len(dynamodb.calls) == before + 1, "DynamoDB refuses a query for no items"


def refused(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "a value of the item: secret-1"}}, "PutItem")


DOES: list[Callable[[Table], Any]] = [
    lambda table: table.read("k"),
    lambda table: table.write("k", 0, "secret-1"),
    lambda table: table.store("k", "secret-1", lasts=60),
    lambda table: table.read_many(["k"]),
    lambda table: list(table.due("critical#1", 10)),
    lambda table: table.update("k", add={"calls": 1}),
    lambda table: table.update("k", put={"other": 1.0}, below=("other", 1.0)),
    lambda table: table.update("k", put={"open_until": 1.0}, only_if=("open_until", 1.0)),
]


class TestFailures:
    @pytest.mark.parametrize("do", DOES)
    def test_each_call_that_fails_is_a_ledger_error_that_quotes_no_item(self, do: Callable[[Table], Any]) -> None:
        ledger, dynamodb = fresh()
        dynamodb.failure = refused("AccessDeniedException")
        with pytest.raises(LedgerError, match=r"^DynamoDB refused: AccessDeniedException$"):
            do(ledger.table)

    @pytest.mark.parametrize(
        ("failure", "said"),
        [
            (ClientError({}, "PutItem"), "DynamoDB refused: None"),
            (EndpointConnectionError(endpoint_url="secret-1"), "could not be reached: EndpointConnectionError"),
            (ConnectTimeoutError(endpoint_url="secret-1"), "could not be reached: ConnectTimeoutError"),
            (ParamValidationError(report="secret-1"), "could not be reached: ParamValidationError"),
        ],
    )
    def test_each_failure_of_dynamodb_is_a_ledger_error(self, failure: Exception, said: str) -> None:
        ledger, dynamodb = fresh()
        dynamodb.failure = failure
        with pytest.raises(LedgerError, match=said):
            ledger.table.read("k")


def test_late_record_of_a_former_sender_leaves_the_lease_of_the_next_one() -> None:
    former, next_one = lease(state()), lease(state(5), 20, owner="b")
    entry = Entry().leased(former, 1, 0).leased(next_one, 1, 0)
    assert entry.accepted(former, "r1", 1, until=NOW + 21).lease == next_one
    assert entry.failed(former, 1, 0, until=NOW + 21).lease == next_one


def test_better_state_that_came_during_the_signal_counts_as_eased_if_the_policy_does_not_announce_it() -> None:
    mine, better = lease(state()), state(5, status="warning")
    entry = Entry().leased(mine, 1, 0).unchanged(better)
    assert entry.accepted(mine, "r1", 1, until=mine.began).eased == bare(better)


def test_page_of_a_signal_that_is_recorded_after_a_later_resolve_has_to_end() -> None:
    ended = Entry(newest=over(5), end=End(at=NOW + 5))
    entry = ended.announcing(state(), "r1", NOW + 20)
    assert entry.accepted_signals[-1].at < entry.end.at == NOW + 5


def test_page_of_a_signal_that_is_being_sent_has_to_end_although_its_senders_clock_is_ahead() -> None:
    entry = Entry().leased(lease(state(), 10), 1, 0).unchanged(over(5))
    assert entry.end.at > NOW + 10


def test_page_of_a_critical_that_is_being_sent_stays_if_an_older_resolve_is_recorded_meanwhile() -> None:
    again = lease(state(9), 9)
    late = announced(state()).leased(again, 1, 0).announcing(over(5), "r2", NOW + 10)
    assert late.accepted(again, "r3", 1, until=NOW + 11).has_live_pages()


@pytest.mark.parametrize(("recipients", "is_whole"), [(("jdoe",), True), (("jdoe", "Ops"), False), ((), False)])
def test_signal_failed_for_all_only_if_all_its_recipients_are_known(
    recipients: tuple[str, ...], is_whole: bool
) -> None:
    signal = AcceptedSignal.of(state(), "r1", NOW, Audience(recipients))
    assert signal.with_failed(["jdoe"]).failed_for_all is is_whole


def test_recipient_that_failed_stays_known_although_a_followup_read_the_signal_before_that() -> None:
    signal = AcceptedSignal.of(state(), "r1", NOW, Audience(("jdoe", "Ops")))
    entry = replace(announced(state()), accepted_signals=(signal.with_failed(["jdoe"]),))
    [known] = entry.followed({"r1": replace(signal, pages=("page-1",))}).accepted_signals
    assert (known.pages, known.with_failed(["Ops"]).failed_for_all) == (("page-1",), True)


@pytest.mark.parametrize(
    ("first", "then", "is_left_out", "eased"),
    [
        (over(5), state(9), True, over(5)),
        (over(5), state(9), False, None),
        (state(5, status="warning"), over(9), True, over(9)),
    ],
)
def test_eased_state_stays_after_a_worse_one_only_if_that_was_left_out(
    first: State, then: State, is_left_out: bool, eased: State | None
) -> None:
    entry = announced(state()).unchanged(first).unchanged(then, is_left_out=is_left_out)
    assert entry.eased == (eased and bare(eased))


@pytest.mark.parametrize(("minutes", "flaps"), [((0, 3, 6), True), ((0, 6, 12), False)])
def test_incident_flaps_by_the_changes_within_the_rules_time_alone(minutes: tuple[int, ...], flaps: bool) -> None:
    rule, flap, before = FlapRule(transitions=3, minutes=10), Flap(), over(-1)
    for number, minute in enumerate(minutes):
        now = over(minute * 60) if number % 2 else state(minute * 60)
        flap, before = flap.after_state(before, now, rule, is_flagged=False), now
    assert (flap.calm_at > 0) is flaps


@pytest.mark.parametrize(("since", "at", "answered"), [(NOW, NOW + 1, True), (NOW, NOW - 1, False), (0.0, NOW, False)])
def test_answer_counts_only_after_the_critical(since: float, at: float, answered: bool) -> None:
    assert bool(Receipt(since, is_open=True).answered("jdoe", at).answered_at) is answered


def test_further_recipients_of_a_critical_are_not_rung_again_if_a_later_signal_of_it_makes_no_page() -> None:
    told = Receipt(NOW, missed="nobody_answered", told_at=NOW + 300, others_at=NOW + 301)
    lost = told.missing(Missed.PAGE_MISSING, NOW + 400)
    assert (lost.is_open, lost.fallback_notified(lost.missed, NOW + 600).awaits_others) == (True, False)


def test_nothing_is_asked_of_a_receipt_whose_steps_the_policy_does_not_await() -> None:
    assert Receipt(NOW, is_open=True).question_at(Policy()) is None


def test_nothing_is_asked_about_a_step_whose_question_was_asked() -> None:
    policy = Policy(notified_within_seconds=300)
    asked = Receipt(NOW, is_open=True).asking(policy)
    assert asked.question_at(policy) is None


def test_topic_that_is_told_of_an_owed_critical_says_nothing_of_the_receipt_of_an_earlier_one() -> None:
    owed = replace(announced(state()), receipt=Receipt(NOW, is_open=True)).owing(state(5))
    told = replace(owed, debt=replace(owed.debt, row=Row(NOW))).fallback_notified(owed, "", NOW + 9)
    assert (told.debt.is_notified, told.debt.row, told.receipt) == (True, None, owed.receipt)


def test_dropped_dead_letter_is_owed_no_more_unless_it_was_dead_lettered_again_or_replayed_since() -> None:
    dead = OWED.dead_lettering(state(), MARK, "refused", plan=1)
    assert (dead.dropped(MARK).debt.is_owed, dead.dropped(MARK).debt.is_given_up) == (False, True)
    revived = dead.reviving(state(), MARK + 5)
    assert (dead.dropped(MARK - 1), revived.dropped(MARK)) == (dead, revived)


def test_lease_begins_after_the_last_signal_and_the_last_end_although_its_senders_clock_is_behind() -> None:
    assert announced(state(10)).next_start(NOW) > NOW + 10
    assert Entry(end=End(NOW + 10)).next_start(NOW) > NOW + 10


def test_pause_that_ends_early_is_recorded_with_its_end() -> None:
    paused = Debt(since=NOW, paused_until=NOW + 3600)
    assert paused.resumed(NOW + 60).paused_until == NOW + 60
    assert replace(paused, paused_until=NOW + 30).resumed(NOW + 60).paused_until == NOW + 30


def test_row_of_a_state_that_waits_is_not_due_sooner_and_counts_no_attempt_any_more() -> None:
    row = Row(NOW + 500, "j", 2, is_unbegun=True)
    assert Debt(row=row).postponed(NOW + 60).row == Row(NOW + 500, "j")
    assert Debt(row=row).postponed(NOW + 600).row == Row(NOW + 600, "j")


def test_pause_of_a_state_that_was_signalled_says_nothing_of_the_next_one() -> None:
    paused = Debt(since=NOW, plan=2, paused_until=NOW + 3600, paused_by="p1", claim_hold_until=NOW + 60)
    assert paused.settled() == Debt(plan=2)


@pytest.mark.parametrize(
    ("claimed_at", "came", "begins"), [(0.0, NOW, True), (NOW, NOW + 119, False), (NOW, NOW + 120, True)]
)
def test_resolve_is_asked_about_anew_two_minutes_after_the_claims_first_one(
    claimed_at: float, came: float, begins: bool
) -> None:
    assert End(claimed_at=claimed_at).begins_claim(came) is begins


@pytest.mark.parametrize(
    ("claimed", "closed", "stays"),
    [
        ((9, (NOW, NOW)), (5, (NOW + 1, NOW + 1)), False),
        ((5, (NOW + 9, NOW + 9)), (7, (NOW + 8, NOW + 8)), True),
        ((9, None), (5, None), True),
        ((5, None), (9, None), False),
    ],
)
def test_claimed_resolve_stays_after_an_end_that_is_older_by_timestamps_or_else_by_arrival(
    claimed: tuple[float, Version | None], closed: tuple[float, Version | None], stays: bool
) -> None:
    end = End().claimed(NOW + claimed[0], claimed[1]).closed_by(NOW + closed[0], closed[1])
    assert end.is_claimed is stays


def test_refuted_resolve_from_the_future_says_nothing_of_the_next_one() -> None:
    refuted = End(version=(NOW + 99, NOW + 99))
    assert refuted.claimed(NOW + 9, (NOW, NOW)).version == (NOW, NOW)


@pytest.mark.parametrize(("page", "is_overtaken"), [(0, True), (1, False)])
def test_answer_to_an_older_page_is_out_of_date_and_one_to_the_newest_is_not(page: int, is_overtaken: bool) -> None:
    again = lease(state(10), 10)
    entry = announced(state()).leased(again, 1, 0).accepted(again, "r2", 1, until=again.began)
    assert entry.is_overtaken(NOW + 20, entry.accepted_signals[page]) is is_overtaken


def test_answer_is_in_date_although_its_function_has_a_clock_behind_that_of_the_sender() -> None:
    entry = announced(state())
    [signal] = entry.accepted_signals
    assert not entry.is_overtaken(signal.at - 0.3, signal)
    assert entry.is_overtaken(signal.at - 0.3)
    assert entry.acknowledged("jdoe", signal.at - 0.3, signal).acknowledged_by == "jdoe"
    assert not replace(entry, accepted_signals=()).acknowledged("jdoe", signal.at - 0.3).acknowledged_by


@pytest.mark.parametrize(
    ("later", "as_acknowledgement", "is_overtaken"),
    [("is_further", False, False), ("is_for_acknowledger", True, False), ("is_for_acknowledger", False, True)],
)
def test_answer_to_the_first_page_is_in_date_after_a_signal_that_told_others_or_its_own_person_of_no_change(
    later: str, as_acknowledgement: bool, is_overtaken: bool
) -> None:
    entry = announced(state())
    [first] = entry.accepted_signals
    kind: dict[str, Any] = {later: True}
    both = replace(entry, accepted_signals=(first, replace(first, at=first.at + 10, request_id="r2", **kind)))
    assert both.is_overtaken(first.at + 5, first, as_acknowledgement=as_acknowledgement) is is_overtaken


def test_acknowledgement_of_an_incident_of_which_nothing_is_recorded_as_announced_changes_nothing() -> None:
    assert OWED.acknowledged("jdoe", NOW + 5) == OWED


@pytest.mark.parametrize(("told", "owed", "is_worse"), [("warning", "critical", True), ("critical", "warning", False)])
def test_owed_state_counts_as_worse_only_if_it_is_worse_than_what_people_know(
    told: str, owed: str, is_worse: bool
) -> None:
    known = announced(state(status=told))
    assert known.owing(state(5, status=owed)).owes_worse is is_worse
    assert not known.unchanged(state(5, status=owed)).owes_worse


@pytest.mark.parametrize("is_for_acknowledger", [True, False])
def test_critical_that_is_told_to_its_acknowledger_alone_awaits_no_proof(is_for_acknowledger: bool) -> None:
    audience = Audience(("Ops",), is_for_acknowledger=is_for_acknowledger, awaits_receipt=True)
    assert announced(state()).announcing(state(9), "r2", NOW + 9, audience).is_awaited is not is_for_acknowledger


def test_receipt_ends_with_a_state_that_is_not_critical() -> None:
    awaited = replace(announced(state()), receipt=Receipt(NOW, is_open=True))
    assert not awaited.unchanged(state(5, status="warning")).receipt.is_open


@pytest.mark.parametrize(("status", "is_awaited"), [("critical", True), ("warning", False)])
def test_proof_of_a_critical_is_awaited_as_long_as_no_better_state_is_owed(status: str, is_awaited: bool) -> None:
    told = replace(announced(state()), receipt=Receipt(NOW, is_open=True))
    assert told.owing(state(5, status=status)).is_awaited is is_awaited


@pytest.mark.parametrize(("version", "waits"), [(-1, True), (0, True), (1, False)])
def test_owed_state_waits_for_the_answer_about_a_resolve_unless_it_is_later_by_its_timestamps(
    version: float, waits: bool
) -> None:
    claimed = Entry().claiming(over(5, version=0))
    assert (claimed.claim_hold(state(9, version=version)) > 0) is waits


@pytest.mark.parametrize(("came", "flaps"), [(590, True), (610, False)])
def test_flap_is_forgotten_once_the_incident_was_calm(came: float, flaps: bool) -> None:
    flap = Flap(calm_at=NOW + 600).after_state(state(), over(came), FlapRule(9, 10), is_flagged=False)
    assert (flap.calm_at > NOW + came) is flaps
