"""Step of an entry: the standing of a state, an easing that a newer state supersedes, and the next signal's time."""

from typing import Any

import pytest

from relay.delivery.rules import Judgement, earliest_send_time, judge_job, judge_share, was_shared, with_superseded_ease
from relay.incidents.share import PRESETS, State, Transition
from relay.ledger.entry import Entry
from tests.unit.states import NOW, announced, lease, over, state, unstamped

MARK = NOW + 60.0
PARITY, ONCALL = PRESETS["parity"], PRESETS["oncall"]
COMMENT: dict[str, Any] = {"comments": ["seen"]}
WARNING: dict[str, Any] = {"status": "warning"}


def stood(judgement: Judgement) -> str:
    """Return a judgement in words: the standing and, if there is one, the transition."""
    return " ".join(filter(None, (judgement.standing, judgement.change.transition if judgement.change else None)))


def sent(entry: Entry, of: State, fate: str = "accepted", *, queued: bool = True) -> Entry:
    """Return the entry after a signal of a state, which met this fate: accepted, doubtful, refused or in flight."""
    mine = lease(of, of.came - NOW)
    claimed = entry.leased(mine, 1, 0 if queued else None)
    if fate == "in flight":
        return claimed
    if fate == "accepted":
        return claimed.accepted(mine, "r2", 1, until=mine.began)
    return claimed.failed(mine, 1, int(fate == "doubtful"), until=mine.began)


OWED = Entry().owing(state())
DEAD = OWED.dead_lettering(state(), MARK, "refused", plan=1)
EASED = announced(state()).unchanged(state(5, **WARNING))
RETURNED = announced(unstamped()).owing(unstamped(5, status="ok"))
REFUSED = sent(Entry(), state(), "refused", queued=False)
IN_FLIGHT = sent(Entry(), state(), "in flight")
AGAIN = announced(unstamped()).owing(unstamped(5, status="ok")).owing(unstamped(9))
# Within one second: a critical was announced, a warning may have been, and it is critical again.
DOUBTFUL = sent(announced(state()), state(5, version=0, **WARNING), "doubtful")
# Entry, state of a share, the policy's transitions, and the standing.
SHARES: dict[str, tuple[Entry, State, frozenset[Transition], str]] = {
    "first, open": (Entry(), state(), PARITY, "owed opened"),
    "first, over": (Entry(), over(), PARITY, "unchanged touched"),
    "again, announced": (announced(state()), state(9, version=0), PARITY, "duplicate"),
    "again, dead-lettered": (DEAD, state(9, version=0), PARITY, "duplicate"),
    "again, refused and on no queue": (REFUSED, state(), PARITY, "owed opened"),
    "older than the announced": (announced(state()), state(9, version=-1), PARITY, "superseded"),
    "comment on the announced": (announced(state()), state(9, **COMMENT), PARITY, "unchanged touched"),
    "comment on the owed": (OWED, state(9, **COMMENT), PARITY, "owed opened"),
    "eased": (announced(state()), state(9, **WARNING), PARITY, "owed eased"),
    "eased, which the policy does not name": (announced(state()), state(9, **WARNING), ONCALL, "unchanged eased"),
    # The incident eased without a signal, and what comes then is compared with that, too.
    "as bad again after a silent easing": (EASED, state(9), ONCALL, "owed worsened"),
    # Equal timestamps: arrival order decides, and the ledger remembers the digests that it saw.
    "other state of the same second": (announced(state()), over(9, version=0), PARITY, "owed resolved"),
    "copy of the same second, though a newer one came": (
        announced(state()).owing(state(5, version=0, **WARNING)).owing(state(6, version=0, flapping=True, **WARNING)),
        state(8, version=0, **WARNING),
        PARITY,
        "duplicate",
    ),
    "worse than the newest of the same second": (
        sent(announced(state()), over(5, version=0)),
        state(9, version=0),
        PARITY,
        "owed reopened",
    ),
    # Without timestamps nothing is a copy, since another state may have come in between.
    "unstamped, as announced": (announced(unstamped()), unstamped(9), PARITY, "unchanged touched"),
    "unstamped, back to the announced": (RETURNED, unstamped(9), PARITY, "unchanged touched"),
    "stamped older than the announced, though an unstamped one came between": (
        announced(state(100)).owing(unstamped(105, status="ok")),
        state(107, version=50),
        PARITY,
        "superseded",
    ),
    # An ambiguous failure: the state is compared with each state that may be announced.
    "critical after a doubtful warning": (DOUBTFUL, state(9, version=0), PARITY, "owed worsened"),
    "end of a doubtful page": (sent(Entry(), state(), "doubtful"), over(9), PARITY, "owed resolved"),
    "end after an older one, whose record came late": (
        announced(state(9)).announcing(over(5), "r2", NOW + 6),
        over(12),
        PARITY,
        "owed resolved",
    ),
    "open after a doubtful end": (sent(announced(state()), over(5), "doubtful"), state(9), PARITY, "owed reopened"),
}


@pytest.mark.parametrize("name", SHARES)
def test_standing_of_a_share(name: str) -> None:
    entry, of, notify_on, standing = SHARES[name]
    assert stood(judge_share(entry, of, notify_on)) == standing


def told(came: float) -> State:
    """Return a state without timestamps, which took over those of the state at NOW."""
    return unstamped(came).with_version_of(state())


BACK = DOUBTFUL.owing(state(9, version=0))
# Entry, state of a job, and the standing.
JOBS: dict[str, tuple[Entry, State, str]] = {
    "owed": (OWED, state(), "owed opened"),
    "announced": (announced(state()), state(), "duplicate"),
    "announced, and owed to others who need no signal any more": (
        announced(state()).owing(state()),
        state(),
        "duplicate",
    ),
    "overtaken by an owed state": (Entry().owing(state(5)), state(), "superseded"),
    "copy that came at once": (OWED, state(0.6, version=0), "superseded"),
    "copy that came later": (OWED, state(0.8, version=0), "owed opened"),
    "other state that came at once": (OWED, state(0.5, version=0, flapping=True), "owed opened"),
    "copy with another version": (OWED, state(0.5, version=1), "owed opened"),
    "unknown to the ledger": (Entry(), state(), "owed opened"),
    "stamped older, though an unstamped one came between": (
        announced(state(100)).owing(unstamped(105, status="ok")),
        state(107, version=50),
        "superseded",
    ),
    "unstamped, before a later share": (Entry().owing(unstamped(5, **WARNING)), unstamped(0), "superseded"),
    "unstamped, between two of a state that returned": (AGAIN, unstamped(5, status="ok"), "superseded"),
    "unstamped, last of a state that returned": (AGAIN, unstamped(9), "unchanged touched"),
    "borrowed version, announced": (announced(told(5)), told(5), "duplicate"),
    "borrowed version, came after the announced": (announced(told(5)), told(9), "unchanged touched"),
    # An ambiguous failure.
    "critical after a doubtful warning": (BACK, state(9, version=0), "owed worsened"),
}


@pytest.mark.parametrize("name", JOBS)
def test_standing_of_a_job(name: str) -> None:
    entry, of, standing = JOBS[name]
    assert stood(judge_job(entry, of, PARITY, plan=1, dead_lettered_at=None)) == standing


def test_late_record_of_a_dead_letter_undoes_no_replay() -> None:
    revived = DEAD.reviving(state(), MARK + 5)
    assert revived.dead_lettering(state(), MARK, "refused", plan=1) == revived


# Entry, state that BigPanda's API shows, seconds after NOW, and if a share brought it or a newer one.
SHOWN: dict[str, tuple[Entry, State, float, bool]] = {
    "unknown": (Entry(), state(), 0, False),
    "announced": (announced(state()), state(), 0, True),
    "newer": (announced(state()), state(5), 0, False),
    "assigned since": (announced(state(5)), state(5, updatedOn=NOW + 9), 0, True),
    "as a webhook without changedOn": (announced(state(5, changedOn=None, updatedOn=NOW + 5)), state(5), 0, True),
    "changed since": (announced(state(5)), state(6, updatedOn=NOW + 9), 0, False),
    "worse within the same second, then assigned": (
        announced(state(5, **WARNING)),
        state(5, updatedOn=NOW + 9),
        0,
        False,
    ),
    "unstamped, as the owed": (OWED, unstamped(9), 0, True),
    "unstamped, better than the owed": (OWED, unstamped(9, **WARNING), 0, False),
    "newer, while another one is sent": (IN_FLIGHT, state(5, **WARNING), 5, True),
    "newer, after that": (IN_FLIGHT, state(5, **WARNING), 20, False),
}


@pytest.mark.parametrize("name", SHOWN)
def test_share_brought_the_state_that_bigpandas_api_shows(name: str) -> None:
    entry, of, now, is_shared = SHOWN[name]
    assert was_shared(entry, of, NOW + now) == is_shared


def test_easing_that_waited_for_a_failed_signal_counts_once_a_newer_state_supersedes_it() -> None:
    eased = state(6, **WARNING)
    waiting = sent(announced(state()), over(5), "in flight").owing(eased)
    assert with_superseded_ease(waiting, state(9), ONCALL).eased is None, "the signal in flight may be accepted"
    failed = waiting.failed(lease(over(5), 5), 1, 0, until=NOW + 5)
    assert stood(judge_share(with_superseded_ease(failed, state(9), ONCALL), state(9), ONCALL)) == "owed worsened"
    assert with_superseded_ease(failed, eased, ONCALL) == failed
    assert with_superseded_ease(failed, state(9), PARITY) == failed


def rang(*seconds: float) -> Entry:
    return Entry(signal_times=tuple(NOW + each for each in seconds))


@pytest.mark.parametrize(
    ("signals", "kind", "after"),
    [
        ((), "opened", None),
        ((0,), "eased", 15),
        ((0, 30), "reopened", 45),
        ((0,), "worsened", None),
        ((0,), "resolved", None),
        ((0, 1, 2, 3), "worsened", 61),
        ((0, 1, 2, 3, 20), "resolved", 62),
    ],
)
def test_earliest_time_of_the_next_signal_by_spacing_and_flood_control(
    signals: tuple[float, ...], kind: str, after: float | None
) -> None:
    assert earliest_send_time(rang(*signals), Transition(kind), 15) == (0 if after is None else NOW + after)


def test_spacing_counts_from_when_xmatters_accepted_a_signal_and_not_from_when_it_was_sent() -> None:
    accepted = Entry().leased(lease(state()), 1, 0).accepted(lease(state()), "r1", 1, until=NOW + 8)
    assert earliest_send_time(accepted, Transition.EASED, 15) == NOW + 23


def test_incident_that_opens_again_is_owed_although_the_signal_before_its_end_was_recorded_late() -> None:
    """The resolve waits, and has ended the pages. Then it becomes known that the critical before it rang."""
    waiting = Entry().owing(state()).owing(over(10)).ended_unannounced(over(10))
    late = waiting.announcing(state(), "r1", NOW + 1)
    assert stood(judge_share(late, state(20), PARITY)) == "owed reopened"
