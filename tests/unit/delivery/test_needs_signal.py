from copy import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.delivery.needs_signal import Judgement, Standing, judge_job, judge_share, with_superseded_ease
from relay.incidents.transition import PRESETS, State, Transition
from relay.ledger.entry import Entry
from tests.unit.states import NOW, announced, lease, over, state, unstamped

MARK = NOW + 60.0

PARITY = PRESETS["parity"]
ONCALL = PRESETS["oncall"]


def share(entry: Entry, of: State) -> Standing:
    """Return the standing of a share that just came."""
    return judge_share(entry, of, PARITY, is_stamped=of.version is not None).standing


def dead_lettered() -> Entry:
    """Return the entry of a state that was dead-lettered at MARK."""
    return Entry().owing(state()).dead_lettering(state(), MARK, "refused", plan=1)


def job(entry: Entry, of: State, *, plan: int = 1, mark: float | None = None) -> Standing:
    """Return the standing of a job that woke up; `mark` is the time at which it was dead-lettered."""
    return judge_job(entry, of, PARITY, plan=plan, dead_lettered_at=mark).standing


def transition(judgement: Judgement) -> str | None:
    return judgement.change.transition if judgement.change else None


COMMENT: dict[str, Any] = {"comments": ["seen"]}


class TestShare:
    def test_first_share_of_an_open_incident_is_owed(self) -> None:
        judgement = judge_share(Entry(), state(), PARITY)
        assert (judgement.standing, transition(judgement)) == (Standing.OWED, "opened")

    def test_first_share_of_a_resolved_incident_is_unchanged(self) -> None:
        judgement = judge_share(Entry(), over(), PARITY)
        assert (judgement.standing, transition(judgement)) == (Standing.UNCHANGED, "touched")

    @pytest.mark.parametrize(
        "entry",
        [
            announced(state()),
            Entry().owing(state()),
            Entry().owing(state()).dead_lettering(state(), MARK, "refused", plan=1),
            announced(state(-9)).unchanged(state()),
        ],
        ids=["announced", "waiting", "dead-lettered", "unchanged"],
    )
    def test_repeated_share_is_a_duplicate_of_a_state_that_is_safe(self, entry: Entry) -> None:
        assert share(entry, state(9, version=0)) == Standing.DUPLICATE

    def test_repeated_share_is_owed_if_its_state_is_on_no_queue(self) -> None:
        alone = lease(state())
        assert share(Entry().claimed(alone, 1, queued=False), state(9, version=0)) == Standing.OWED
        assert share(Entry().claimed(alone, 1, queued=False).failed(alone, 1, 0, until=alone.began), state()) == "owed"

    @pytest.mark.parametrize("entry", [announced(state()), Entry().owing(state()), Entry().unchanged(over())])
    def test_older_share_is_superseded_by_a_state_that_is_safe(self, entry: Entry) -> None:
        assert share(entry, state(9, version=-1)) == Standing.SUPERSEDED

    def test_older_share_is_owed_if_the_newer_state_is_on_no_queue(self) -> None:
        assert share(Entry().claimed(lease(state()), 1, queued=False), state(9, version=-1)) == Standing.OWED

    def test_comment_on_an_announced_state_is_unchanged(self) -> None:
        judgement = judge_share(announced(state()), state(9, **COMMENT), PARITY)
        assert (judgement.standing, transition(judgement)) == (Standing.UNCHANGED, "touched")

    def test_comment_does_not_swallow_an_owed_page(self) -> None:
        judgement = judge_share(Entry().owing(state()), state(9, **COMMENT), PARITY)
        assert (judgement.standing, transition(judgement)) == (Standing.OWED, "opened")
        worse = announced(state(status="warning")).owing(state(5))
        assert transition(judge_share(worse, state(9, **COMMENT), PARITY)) == "worsened"

    def test_incident_that_opens_and_resolves_within_an_outage_is_not_signalled(self) -> None:
        waiting = Entry().owing(state())
        assert share(waiting, over(9)) == Standing.UNCHANGED
        assert job(waiting.unchanged(over(9)), state()) == Standing.SUPERSEDED

    def test_incident_that_resolves_and_reopens_within_an_outage_is_not_signalled(self) -> None:
        waiting = announced(state()).owing(over(5))
        assert share(waiting, state(9)) == Standing.UNCHANGED
        assert job(waiting.unchanged(state(9)), over(5)) == Standing.SUPERSEDED

    def test_transition_that_the_policy_does_not_name_is_not_owed(self) -> None:
        entry, eased = announced(state()), state(9, status="warning")
        assert judge_share(entry, eased, PARITY).standing == Standing.OWED
        assert judge_share(entry, eased, PRESETS["oncall"]).standing == Standing.UNCHANGED
        assert judge_share(Entry(), state(), frozenset()).standing == Standing.UNCHANGED


class TestUnsignalledEasing:
    """Easings that were not signalled: a return to the announced state is owed as worsened or reopened."""

    def test_incident_that_is_as_bad_again_after_an_unsignalled_easing_is_owed_as_worsened(self) -> None:
        entry = announced(state()).unchanged(state(5, status="warning"))
        judged = judge_share(entry, state(9), ONCALL)
        assert (judged.standing, transition(judged)) == (Standing.OWED, "worsened")
        assert judge_job(entry, state(9), ONCALL, plan=1, dead_lettered_at=None).standing == Standing.OWED

    def test_incident_that_is_open_again_after_an_unsignalled_resolve_is_owed_as_reopened(self) -> None:
        entry = announced(state()).unchanged(over(5))
        judged = judge_share(entry, state(9), ONCALL - {Transition.RESOLVED})
        assert (judged.standing, transition(judged)) == (Standing.OWED, "reopened")

    def test_comment_on_an_eased_state_is_unchanged(self) -> None:
        entry = announced(state()).unchanged(state(5, status="warning")).unchanged(state(6, status="warning"))
        assert judge_share(entry, state(7, status="warning"), ONCALL).standing == Standing.UNCHANGED
        assert judge_share(entry, over(8), ONCALL).standing == Standing.OWED

    def test_share_without_a_status_does_not_count_as_eased(self) -> None:
        entry = announced(state()).unchanged(state(5, status=None))
        assert judge_share(entry, state(9), ONCALL).standing == Standing.UNCHANGED

    def test_share_without_a_status_does_not_reset_an_unsignalled_easing(self) -> None:
        entry = announced(state()).unchanged(state(5, status="unknown")).unchanged(state(6, status=None))
        judged = judge_share(entry, state(9, status="warning"), ONCALL)
        assert (judged.standing, transition(judged)) == (Standing.OWED, "worsened")

    def test_alerts_of_an_eased_state_are_compared_with_the_announced_state(self) -> None:
        entry = announced(state()).unchanged(state(5, status="warning"))
        only_grown = frozenset({Transition.GREW, Transition.WORSENED})
        assert judge_share(entry, state(6, status="warning"), only_grown).standing == Standing.UNCHANGED

    def test_accepted_signal_clears_the_unsignalled_easing(self) -> None:
        mine = lease(state(9))
        entry = announced(state()).unchanged(state(5, status="warning")).claimed(mine, 1, queued=True)
        entry = entry.accepted(mine, "r2", 1, until=mine.began)
        assert entry.eased is None
        assert judge_share(entry, state(11), ONCALL).standing == Standing.UNCHANGED

    def test_easing_that_waited_for_a_failed_signal_counts_once_a_newer_state_supersedes_it(self) -> None:
        resolve, eased = lease(over(5), 5), state(6, status="warning")
        in_flight = announced(state()).claimed(resolve, 1, queued=True)
        assert judge_share(in_flight, eased, ONCALL).standing == Standing.OWED
        waiting = in_flight.owing(eased)
        # It may still be needed: the signal in flight may be accepted.
        assert with_superseded_ease(waiting, state(9), ONCALL).eased is None
        waiting = waiting.failed(resolve, 1, 0, until=resolve.began)
        judged = judge_share(with_superseded_ease(waiting, state(9), ONCALL), state(9), ONCALL)
        assert (judged.standing, transition(judged)) == (Standing.OWED, "worsened")
        assert with_superseded_ease(waiting, eased, ONCALL) == waiting
        assert with_superseded_ease(waiting, state(9), PARITY) == waiting

    def test_no_easing_is_kept_where_every_transition_is_signalled(self) -> None:
        assert announced(state()).unchanged(state(5)).eased is None
        assert Entry().unchanged(over(5)).eased is None


class TestEqualTimestamps:
    """Shares with equal timestamps: arrival order decides, and the ledger remembers the digests that it saw."""

    def test_other_state_at_the_same_version_is_owed(self) -> None:
        assert share(announced(state()), over(9, version=0)) == Standing.OWED

    def test_repeated_share_at_the_same_version_is_a_duplicate_although_a_newer_one_came(self) -> None:
        entry = announced(state()).owing(over(5, version=0))
        assert share(entry, over(8, version=0)) == Standing.DUPLICATE
        eased = announced(state()).owing(state(5, version=0, status="warning"))
        flapping = eased.owing(state(6, version=0, status="warning", flapping=True))
        assert share(flapping, state(8, version=0, status="warning")) == Standing.DUPLICATE

    def test_share_at_the_same_version_is_owed_if_it_is_worse_than_the_newest_although_it_was_seen(self) -> None:
        entry = announced(state())
        resolving = lease(over(5, version=0), 5)
        resolved = entry.claimed(resolving, 1, queued=True).accepted(resolving, "r2", 1, until=resolving.began)
        assert share(resolved, state(9, version=0)) == Standing.OWED

    def test_share_that_was_seen_at_an_older_version_is_superseded(self) -> None:
        assert share(announced(state()).owing(over(5)), state(9, version=0)) == Standing.SUPERSEDED


class TestWithoutTimestamps:
    def test_share_without_timestamps_that_equals_the_newest_is_no_duplicate(self) -> None:
        assert share(announced(unstamped()), unstamped(9)) == Standing.UNCHANGED
        assert share(Entry().owing(unstamped()), unstamped(9)) == Standing.OWED

    def test_job_that_equals_the_announced_state_and_came_later_is_no_duplicate_with_a_borrowed_version(self) -> None:
        told, again = (unstamped(came).with_version_of(state()) for came in (5, 9))
        assert job(announced(told), told) == Standing.DUPLICATE
        assert job(announced(told), again) == Standing.UNCHANGED

    def test_share_without_timestamps_that_returns_to_an_earlier_state_is_no_duplicate(self) -> None:
        entry = announced(unstamped()).owing(unstamped(5, status="ok"))
        assert share(entry, unstamped(9)) == Standing.UNCHANGED
        resolving = lease(unstamped(5, status="ok"), 5)
        resolved = entry.claimed(resolving, 1, queued=True).accepted(resolving, "r2", 1, until=resolving.began)
        assert share(resolved, unstamped(9)) == Standing.OWED

    def test_seen_digest_does_not_make_a_share_without_timestamps_a_duplicate(self) -> None:
        entry = announced(unstamped(status="warning")).owing(unstamped(5))
        assert share(entry, unstamped(9, status="warning")) == Standing.UNCHANGED

    def test_stamped_share_is_compared_with_the_announced_version_although_an_unstamped_one_came_between(self) -> None:
        entry = announced(state(100)).owing(unstamped(105, status="ok"))
        assert share(entry, state(107, version=50)) == Standing.SUPERSEDED
        assert job(entry, state(107, version=50)) == Standing.SUPERSEDED

    def test_job_without_timestamps_is_superseded_by_a_later_share(self) -> None:
        assert job(Entry().owing(unstamped(5, status="warning")), unstamped(0)) == Standing.SUPERSEDED

    def test_jobs_of_a_state_that_returned_are_told_apart_without_timestamps(self) -> None:
        again = announced(unstamped(0)).owing(unstamped(5, status="ok")).owing(unstamped(9))
        assert job(again, unstamped(5, status="ok")) == Standing.SUPERSEDED
        assert job(again, unstamped(0)) == Standing.DUPLICATE
        assert job(again, unstamped(9)) == Standing.UNCHANGED


class TestJob:
    def test_job_of_the_newest_state_that_was_not_announced_is_owed(self) -> None:
        assert job(Entry().owing(state()), state()) == Standing.OWED

    def test_job_of_an_announced_state_is_a_duplicate(self) -> None:
        assert job(announced(state()), state()) == Standing.DUPLICATE

    def test_job_of_an_overtaken_state_is_superseded(self) -> None:
        assert job(Entry().owing(state(5)), state()) == Standing.SUPERSEDED
        assert job(announced(state(5)), state()) == Standing.SUPERSEDED

    @pytest.mark.parametrize(("after", "standing"), [(0.2, "superseded"), (0.6, "superseded"), (0.8, "owed")])
    def test_second_job_of_a_share_that_came_twice_at_once_is_superseded(self, after: float, standing: str) -> None:
        assert job(Entry().owing(state()), state(after, version=0)) == standing
        assert job(Entry().owing(unstamped()), unstamped(after)) == standing

    def test_job_of_another_state_that_came_at_the_same_time_is_owed(self) -> None:
        assert job(Entry().owing(state()), state(0.5, version=0, flapping=True)) == Standing.OWED
        assert job(Entry().owing(state()), state(0.5, version=1)) == Standing.OWED

    def test_job_that_is_newer_than_the_ledger_is_owed(self) -> None:
        assert job(Entry(), state()) == Standing.OWED
        assert job(announced(state()), over(5)) == Standing.OWED

    def test_job_of_a_comment_on_an_announced_state_is_unchanged(self) -> None:
        assert job(announced(state()).owing(state(5, **COMMENT)), state(5, **COMMENT)) == Standing.UNCHANGED

    def test_job_of_a_resolve_is_owed_only_if_something_was_announced(self) -> None:
        assert job(Entry().owing(over()), over()) == Standing.UNCHANGED
        assert job(announced(state()).owing(over(5)), over(5)) == Standing.OWED


class TestReplaced:
    """Messages of one owed state: the entry records the plan of the last one."""

    def owed(self) -> Entry:
        entry = Entry().owing(state())
        return replace(entry, debt=replace(entry.debt, plan=2))

    @pytest.mark.parametrize(("plan", "standing"), [(1, "replaced"), (2, "owed"), (3, "owed")])
    def test_message_with_a_lower_plan_than_the_entrys_is_replaced(self, plan: int, standing: str) -> None:
        assert job(self.owed(), state(), plan=plan) == standing

    def test_message_of_a_newer_state_than_the_owed_one_is_owed_whatever_its_plan_is(self) -> None:
        assert job(self.owed(), state(5, **COMMENT), plan=0) == Standing.OWED

    def test_message_of_an_announced_state_is_a_duplicate_whatever_its_plan_is(self) -> None:
        assert job(self.owed().announcing(state(), "r1", NOW), state(), plan=1) == Standing.DUPLICATE

    def test_dead_letter_is_owed_again_although_messages_with_a_higher_plan_were_lost_with_it(self) -> None:
        given_up = self.owed().dead_lettering(state(), MARK, "refused", plan=3)
        assert job(given_up, state(), plan=1, mark=MARK) == Standing.OWED
        revived = given_up.reviving(state(), MARK + 9)
        assert job(revived, state(), plan=2, mark=MARK) == Standing.REPLACED, "a copy of an earlier message"


class TestDeadLettered:
    @pytest.mark.parametrize("mark", [None, MARK - 0.001], ids=["leftover message", "copy of an earlier dead letter"])
    def test_message_without_the_newest_mark_does_not_revive_a_dead_lettered_state(self, mark: float | None) -> None:
        assert job(dead_lettered(), state(), mark=mark) == Standing.DEAD_LETTERED

    @pytest.mark.parametrize("mark", [MARK, MARK + 1])
    def test_message_with_a_mark_no_older_than_the_entrys_is_owed_again(self, mark: float) -> None:
        assert job(dead_lettered(), state(), mark=mark) == Standing.OWED

    def test_mark_revives_where_the_ledger_could_not_note_the_dead_letter(self) -> None:
        assert job(Entry().owing(state()), state(), mark=MARK) == Standing.OWED

    def test_mark_does_not_revive_an_announced_or_superseded_state(self) -> None:
        assert job(announced(state()), state(), mark=MARK) == Standing.DUPLICATE
        assert job(announced(state(5)), state(), mark=MARK) == Standing.SUPERSEDED
        assert job(Entry().owing(state()).unchanged(over(5)), state(), mark=MARK) == Standing.SUPERSEDED

    def test_newer_share_of_the_same_state_revives_a_dead_lettered_one(self) -> None:
        entry = dead_lettered().owing(state(5))
        assert state().digest == state(5).digest
        assert job(entry, state(5)) == Standing.OWED

    def test_newer_share_of_another_state_revives_a_dead_lettered_one(self) -> None:
        assert job(dead_lettered().owing(state(5, **COMMENT)), state(5)) == Standing.OWED


class TestDoubtfulStates:
    """Doubtful states: after an ambiguous failure a new state is compared with each state that may be announced.

    The new state is owed if the policy signals the transition from one of them.
    """

    def test_job_of_a_critical_after_a_doubtful_warning_is_owed_until_it_is_announced(self) -> None:
        # Within one second: critical was announced, a warning may have been, and it is critical again.
        warning = lease(state(5, version=0, status="warning"))
        doubtful = announced(state()).claimed(warning, 1, queued=True).failed(warning, 1, 1, until=warning.began)
        again = state(9, version=0)
        assert share(doubtful, again) == Standing.OWED
        assert job(doubtful.owing(again), again) == Standing.OWED
        assert job(doubtful.owing(again).announcing(again, "r2", NOW + 9), again) == Standing.DUPLICATE

    def test_resolve_is_owed_after_a_page_that_may_have_been_announced(self) -> None:
        first = lease(state())
        timed_out = Entry().claimed(first, 1, queued=True).failed(first, 1, 1, until=first.began)
        assert transition(judge_share(timed_out, over(9), PARITY)) == "resolved"
        assert job(timed_out, state()) == Standing.OWED

    def test_resolve_is_not_owed_after_a_page_that_was_refused(self) -> None:
        first = lease(state())
        refused = Entry().claimed(first, 1, queued=True).failed(first, 1, 0, until=first.began)
        assert share(refused, over(9)) == Standing.UNCHANGED

    def test_resolve_is_owed_while_the_page_is_in_flight(self) -> None:
        assert transition(judge_share(Entry().claimed(lease(state()), 1, queued=True), over(9), PARITY)) == "resolved"

    def test_reopening_is_owed_after_a_resolve_that_may_have_been_announced(self) -> None:
        second = lease(over(5), 5)
        entry = announced(state()).claimed(second, 1, queued=True).failed(second, 1, 1, until=second.began)
        judgement = judge_share(entry, state(9), PARITY)
        assert (judgement.standing, transition(judgement)) == (Standing.OWED, "reopened")

    def test_transition_that_changes_no_possible_state_is_explained_by_the_announced_one(self) -> None:
        doubtful = lease(over(5), 5)
        entry = Entry().claimed(doubtful, 1, queued=True).failed(doubtful, 1, 1, until=doubtful.began)
        judgement = judge_share(entry, over(9), PARITY)
        assert judgement.change is not None
        assert judgement == Judgement(Standing.UNCHANGED, judgement.change)
        assert judgement.change.why == "it is over, and nothing of it was announced"


STATES = st.builds(
    lambda came, version, stamped, status: (state if stamped else unstamped)(came, status=status, **version),
    st.integers(0, 9),
    st.just({}) | st.builds(dict, version=st.integers(0, 3)),
    st.booleans(),
    st.sampled_from(["critical", "warning", "ok", None]),
)
STEPS = st.lists(
    st.tuples(STATES, st.sampled_from(["owed", "accepted", "timed out", "refused", "dead-lettered", "unchanged"])),
    max_size=5,
)


def grown(steps: list[tuple[State, str]]) -> Entry:
    """Return the entry after these steps: a share's state, and what became of its signal if the state was owed."""
    entry = Entry()
    for began, (of, fate) in enumerate(steps):
        standing = share(entry, of)
        if standing == Standing.UNCHANGED or fate == "unchanged":
            entry = entry.unchanged(of) if standing == Standing.UNCHANGED else entry
        elif standing == Standing.OWED:
            mine = lease(of, began * 100)
            claimed = entry.owing(of).claimed(mine, 1, queued=True)
            match fate:
                case "owed":
                    entry = entry.owing(of)
                case "accepted":
                    entry = claimed.accepted(mine, None, 1, until=mine.began)
                case "timed out":
                    entry = claimed.failed(mine, 1, 1, until=mine.began)
                case _:
                    entry = claimed.failed(mine, 1, 0, until=mine.began)
                    if fate == "dead-lettered":
                        entry = entry.dead_lettering(of, MARK, "refused", plan=1)
    return entry


@given(STEPS)
def test_newest_state_is_announced_or_owed_or_changes_nothing(steps: list[tuple[State, str]]) -> None:
    entry = grown(steps)
    if entry.newest is None:
        return
    [newest] = [of for of, _ in reversed(steps) if of.is_of_same_share(entry.newest)][:1]
    standing = job(entry, newest, mark=MARK)
    assert standing != Standing.SUPERSEDED
    assert (standing == Standing.OWED) == (entry.debt.since is not None)


@given(STEPS, STATES)
def test_share_that_is_not_owed_changes_nothing_or_is_not_the_newest(steps: list[tuple[State, str]], of: State) -> None:
    entry = grown(steps)
    standing = share(entry, of)
    if standing in {Standing.DUPLICATE, Standing.SUPERSEDED}:
        assert entry.newest is not None
        assert of.is_same(entry.newest) or of.precedes(entry.newest) or of.digest in entry.seen_digests
    elif standing == Standing.UNCHANGED:
        changes = [judge_share(Entry(announced=told), of, PARITY).standing for told in entry.maybe_announced()]
        assert Standing.OWED not in changes or of.precedes(entry.announced)
