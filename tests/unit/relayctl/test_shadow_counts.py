"""Counts of a shadow report: bounded memory, totals, and the rate by minutes."""

from typing import Any

import pytest

from relayctl.log_lines import Line
from relayctl.report.shadow_counts import MAX_INCIDENTS, MAX_NAMES, OTHER, ShadowCounts, Suppressed

NOON = 1_790_000_040.0


def line(at: float = NOON, **fields: Any) -> Line:
    """Return the log line of a share that would have been signalled, with these fields changed or added."""
    plain = {"outcome": "shadowed", "incident_id": "i1", "transition": "opened", "recipients": ["ops"]}
    return Line(at, {"message": "share", "channel": "noc", **plain, **fields})


def counted(*lines: Line, most: int = 10) -> ShadowCounts:
    counts = ShadowCounts(most)
    for each in lines:
        counts.add(each)
    return counts


def test_signals_are_counted_by_transition_and_recipient() -> None:
    found = counted(line(), line(transition="resolved", recipients=["ops", "noc"]), line(recipients=[]))
    assert (found.shares, found.signals, found.unnamed) == (3, 3, 1)
    assert found.transitions == {"opened": 2, "resolved": 1}
    assert found.recipients == {"ops": 2, "noc": 1}


def test_newest_signals_are_kept_in_order_whatever_the_order_of_the_lines() -> None:
    found = counted(*(line(NOON + number) for number in (5, 1, 9, 3, 7)), most=3)
    assert [each.at - NOON for each in found.newest] == [5, 7, 9]
    assert found.signals == 5
    assert counted(line(), most=0).newest == []


def test_other_outcomes_are_counted_by_cause() -> None:
    found = counted(
        line(outcome="unchanged", transition="touched", why="it is as announced"),
        line(outcome="unchanged", transition="touched", why="it is as announced"),
        line(outcome="superseded", transition=None),
    )
    assert found.suppressed == {
        Suppressed("unchanged", "touched", "it is as announced"): 2,
        Suppressed("superseded", "", ""): 1,
    }
    assert (found.signals, found.live) == (0, 0)


@pytest.mark.parametrize("outcome", ["delivered", "queued", "unsafe"])
def test_share_of_a_live_channel_is_counted_apart(outcome: str) -> None:
    found = counted(line(outcome=outcome))
    assert (found.live, found.signals, found.suppressed.total()) == (1, 0, 0)


def test_signal_without_the_ledger_is_marked() -> None:
    found = counted(line(unguarded="timeout"))
    assert (found.unguarded, found.newest[0].is_unguarded) == (1, True)


def test_malformed_fields_count_as_missing() -> None:
    [found] = counted(line(recipients="ops", transition=None, status=7)).newest
    assert (found.recipients, found.transition, found.status) == ((), "", "7")


def test_memory_is_bounded_whatever_the_lines_name() -> None:
    found = counted(
        *(line(incident_id=f"i{number}", recipients=[f"r{number}"]) for number in range(MAX_INCIDENTS + 3)),
        *(line(outcome="unchanged", why=f"w{number}") for number in range(MAX_NAMES + 3)),
    )
    assert (len(found.incidents), found.uncounted) == (MAX_INCIDENTS, 3)
    assert found.recipients[OTHER] == MAX_INCIDENTS + 3 - MAX_NAMES
    assert found.suppressed[Suppressed("unchanged", "", OTHER)] == 3
    assert len(found.newest) == 10


def test_incident_counts_its_signals_and_those_for_its_end() -> None:
    found = counted(line(), line(NOON + 60, transition="resolved"), line(NOON + 90, outcome="duplicate"))
    assert vars(found.incidents["i1"]) == {"signals": 2, "ends": 1, "last": NOON + 90}


def test_peak_is_the_latest_minute_with_the_most_signals() -> None:
    peak = counted(line(NOON - 1), line(NOON), line(NOON + 1), line(NOON + 60), line(NOON + 61)).peak
    assert peak is not None
    assert (peak.signals, peak.at) == (2, (NOON + 60) // 60 * 60)
    assert ShadowCounts(1).peak is None


@pytest.mark.parametrize(
    ("minutes", "limit", "delayed"),
    [
        ([5], 5, 0),
        ([6], 5, 1),
        ([7, 4], 5, 3),
        ([7, 0, 5], 5, 2),
        ([20, 0, 0, 0, 5], 5, 15),
        ([], 5, 0),
    ],
)
def test_delayed_signals_take_the_room_of_later_ones(minutes: list[int], limit: int, delayed: int) -> None:
    lines = [line(NOON + 60 * place) for place, number in enumerate(minutes) for _ in range(number)]
    assert counted(*lines).would_wait(limit) == delayed
