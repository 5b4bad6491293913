"""An incident's entry: what an accepted or failed signal, a changed state or an answer leaves in it."""

from copy import replace

import pytest

from relay.channels.policy import FlapRule, Policy
from relay.ledger.accepted_signal import AcceptedSignal, Audience
from relay.ledger.debt import Debt
from relay.ledger.entry import End, Entry, Flap
from relay.ledger.receipt import Receipt
from tests.unit.states import NOW, announced, bare, lease, over, state

AWAITED = Audience(("Ops",), awaits_receipt=True)


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


@pytest.mark.parametrize(("recipients", "is_whole"), [(("jdoe",), True), (("jdoe", "Ops"), False), ((), False)])
def test_signal_failed_for_all_only_if_all_its_recipients_are_known(
    recipients: tuple[str, ...], is_whole: bool
) -> None:
    signal = AcceptedSignal.of(state(), "r1", NOW, Audience(recipients))
    assert signal.with_failed(["jdoe"]).failed_for_all is is_whole


def test_critical_that_comes_anew_begins_its_own_receipt_although_an_earlier_one_is_open() -> None:
    entry = Entry(receipt=Receipt(NOW - 99, is_open=True, notified_at=NOW - 50))
    mine = lease(state())
    receipt = entry.leased(mine, 1, 0).accepted(mine, "r1", 1, until=mine.began, audience=AWAITED).receipt
    assert (receipt.since, receipt.notified_at, receipt.is_open) == (NOW, 0.0, True)


@pytest.mark.parametrize(("is_left_out", "stays"), [(True, True), (False, False)])
def test_eased_state_stays_after_a_worse_one_only_if_that_was_left_out(is_left_out: bool, stays: bool) -> None:
    eased = announced(state()).unchanged(over(5))
    entry = eased.unchanged(state(9), is_left_out=is_left_out)
    assert entry.eased == (eased.eased if stays else None)


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


def test_nothing_is_asked_of_a_receipt_whose_steps_the_policy_does_not_await() -> None:
    assert Receipt(NOW, is_open=True).question_at(Policy()) is None


def test_pause_that_ends_early_is_recorded_with_its_end() -> None:
    paused = Debt(since=NOW, paused_until=NOW + 3600)
    assert paused.resumed(NOW + 60).paused_until == NOW + 60
    assert replace(paused, paused_until=NOW + 30).resumed(NOW + 60).paused_until == NOW + 30


@pytest.mark.parametrize(("status", "until"), [("warning", 0.0), ("critical", NOW + 600)])
def test_critical_of_a_flapping_incident_waits_for_the_calm_unless_it_is_worse_than_announced(
    status: str, until: float
) -> None:
    entry = replace(announced(state(status=status)), flap=Flap(calm_at=NOW + 600, is_signalled=True))
    assert entry.quiet_until(state(5)) == until


@pytest.mark.parametrize(
    ("claimed_at", "came", "begins"), [(0.0, NOW, True), (NOW, NOW + 119, False), (NOW, NOW + 120, True)]
)
def test_resolve_is_asked_about_anew_two_minutes_after_the_claims_first_one(
    claimed_at: float, came: float, begins: bool
) -> None:
    assert End(claimed_at=claimed_at).begins_claim(came) is begins


@pytest.mark.parametrize(("page", "is_overtaken"), [(0, True), (1, False)])
def test_answer_to_an_older_page_is_out_of_date_and_one_to_the_newest_is_not(page: int, is_overtaken: bool) -> None:
    again = lease(state(10), 10)
    entry = announced(state()).leased(again, 1, 0).accepted(again, "r2", 1, until=again.began)
    assert entry.is_overtaken(NOW + 20, entry.accepted_signals[page]) is is_overtaken


@pytest.mark.parametrize(("told", "owed", "is_worse"), [("warning", "critical", True), ("critical", "warning", False)])
def test_owed_state_counts_as_worse_only_if_it_is_worse_than_what_people_know(
    told: str, owed: str, is_worse: bool
) -> None:
    assert announced(state(status=told)).owing(state(5, status=owed)).owes_worse is is_worse


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
