from itertools import pairwise
from typing import Any

import pytest

from relay.incidents.share import State, Transition, compare
from tests import samples
from tests.unit.states import NOW, over, state, unstamped

ANNOUNCED: dict[str, State | None] = {
    "nothing": None,
    "critical": state(),
    "warning": state(status="warning"),
    "unknown": state(status="unknown"),
    "no status": state(status=None),
    "over": over(),
}
# Transition of a share (row) against what was announced (column).
TABLE = """
share     | nothing | critical | warning  | unknown  | no status | over
critical  | opened  | touched  | worsened | worsened | worsened  | reopened
warning   | opened  | eased    | touched  | worsened | worsened  | reopened
unknown   | opened  | eased    | eased    | touched  | worsened  | reopened
no status | opened  | touched  | touched  | touched  | touched   | reopened
over      | touched | resolved | resolved | resolved | resolved  | touched
"""
HEAD, *ROWS = [[cell.strip() for cell in line.split("|")] for line in TABLE.strip().splitlines()]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_transition_of_each_share_is_that_of_the_table(row: list[str]) -> None:
    shares = {
        "critical": state(9),
        "warning": state(9, status="warning"),
        "unknown": state(9, status="unknown"),
        "no status": state(9, status=None),
        "over": over(9),
    }
    assert [compare(ANNOUNCED[name], shares[row[0]]).transition for name in HEAD[1:]] == row[1:]


# Contradictions included. None means that the body lacks the member.
@pytest.mark.parametrize(
    ("members", "is_open", "rank"),
    [
        ({"active": True, "resolved": False}, True, 3),
        ({"status": None}, True, None),
        ({"status": "acknowledged", "active": True}, True, None),
        ({"active": True, "resolved": True}, True, 3),
        ({"snooze": {"snoozed": True}, "flapping": True, "maintenance": "active"}, True, 3),
        ({"status": "ok", "active": True, "resolved": False}, False, 0),
        ({"resolved": True}, False, 3),
        ({"status": None, "active": False}, False, None),
    ],
    ids=str,
)
def test_body_is_open_or_over_and_has_the_rank_of_its_status(
    members: dict[str, Any], is_open: bool, rank: int | None
) -> None:
    found = state(**members)
    assert (found.is_open, found.rank) == (is_open, rank)
    assert found.is_critical is (is_open and rank == 3)


ONE = [{"id": "a1"}]
TWO = [{"id": "a2"}, {"id": "a1"}]


class TestAlerts:
    def test_alert_that_left_or_changed_makes_the_transition_touched(self) -> None:
        assert compare(state(alerts=TWO), state(9, alerts=ONE)).transition == Transition.TOUCHED
        changed = state(9, alerts=[{"id": "a1", "status": "ok"}])
        assert compare(state(alerts=ONE), changed).transition == Transition.TOUCHED

    def test_alerts_of_an_incident_that_was_announced_without_any_are_no_news(self) -> None:
        assert compare(state(), state(9, alerts=ONE)).transition == Transition.TOUCHED

    @pytest.mark.parametrize(
        ("announced", "share", "expected"),
        [
            (state(alerts=ONE), state(9, status="warning", alerts=TWO), Transition.EASED),
            (state(alerts=ONE), over(9, alerts=TWO), Transition.RESOLVED),
            (over(alerts=ONE), over(9, alerts=TWO), Transition.TOUCHED),
            (state(alerts=ONE), state(9, status=None, alerts=TWO), Transition.GREW),
            # Without known alerts, new ones can't be told from old ones.
            (state(), state(9, alerts=TWO), Transition.TOUCHED),
        ],
    )
    def test_transition_of_the_status_outranks_joined_alerts(
        self, announced: State, share: State, expected: Transition
    ) -> None:
        assert compare(announced, share).transition == expected


class TestState:
    def test_open_state_without_a_status_has_that_of_an_earlier_open_state(self) -> None:
        ranks = [state(9, status=None).with_status_of(earlier).rank for earlier in (state(), over(), None)]
        assert (ranks, state(9, active=False, status=None).with_status_of(state()).rank) == ([3, None, None], None)

    @pytest.mark.parametrize("stamps", [{"changedOn": NOW + 20}, {"changedOn": NOW, "updatedOn": NOW + 20}])
    def test_stamp_more_than_five_seconds_ahead_of_arrival_gives_no_version(self, stamps: dict[str, float]) -> None:
        share = samples.share(**stamps)
        assert State.of(share, NOW + 15).version == (NOW + 20, stamps["changedOn"])
        assert State.of(share, NOW + 14.9).version is None

    def test_names_of_alerts_are_the_same_in_every_process(self) -> None:
        assert state(alerts=ONE).alerts == {"f55ff16f"}

    def test_alerts_are_compared_up_to_a_limit(self) -> None:
        many = [{"id": number} for number in range(1000 + 500)]
        announced = state(alerts=many)
        assert len(announced.alerts) == 1000
        assert compare(announced, state(9, alerts=many[::-1])).transition == Transition.TOUCHED


class TestOrder:
    def test_state_with_the_newer_stamp_is_newer_whatever_the_order_of_arrival(self) -> None:
        older, newer = state(came=5, version=1), state(came=0, version=2)
        assert older.precedes(newer)
        assert not newer.precedes(older)

    def test_reopening_with_an_older_change_and_a_newer_update_is_newer(self) -> None:
        closed = over(160, changedOn=NOW + 100, updatedOn=NOW + 100)
        reopened = state(161, changedOn=NOW + 50, updatedOn=NOW + 160)
        assert closed.precedes(reopened)
        assert not reopened.precedes(closed)
        assert compare(closed, reopened).transition == Transition.REOPENED

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            (state(0, version=1), state(1, version=1, status="warning")),
            (unstamped(0), unstamped(1, status="warning")),
            (unstamped(0), state(1, version=-500)),
            (state(0, version=500), unstamped(1)),
            (state(0, version=-100), unstamped(1).with_version_of(state(-9, version=-200))),
        ],
        ids=["equal", "missing", "first missing", "second missing", "second borrowed"],
    )
    def test_order_of_arrival_decides_if_stamps_are_equal_missing_or_borrowed(
        self, first: State, second: State
    ) -> None:
        assert first.precedes(second)
        assert not second.precedes(first)

    def test_open_is_worse_than_over_and_then_the_status_decides(self) -> None:
        ladder = [
            over(),
            state(active=False),
            state(status=None),
            state(status="unknown"),
            state(status="warning"),
            state(),
        ]
        for lower, higher in pairwise(ladder):
            assert higher.is_worse_than(lower)
            assert not lower.is_worse_than(higher)
        assert not state().is_worse_than(state(9))
