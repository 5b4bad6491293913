import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.delivery.step import FLOOD_CONTROL_SECONDS, earliest_send_time, room_for_signals
from relay.incidents.transition import Transition
from relay.ledger.entry import Entry
from tests.unit.states import NOW


def rang(*seconds: float) -> Entry:
    return Entry(signal_times=tuple(NOW + each for each in seconds))


class TestEarliest:
    @pytest.mark.parametrize(
        ("signals", "kind", "after"),
        [
            ((), "opened", None),
            ((0,), "eased", 15),
            ((0, 30), "reopened", 45),
            ((0,), "worsened", None),
            ((0,), "resolved", None),
            ((0, 1, 2), "worsened", None),
            ((0, 1, 2, 3), "worsened", FLOOD_CONTROL_SECONDS),
            ((0, 1, 2, 3), "resolved", FLOOD_CONTROL_SECONDS),
            ((0, 1, 2, 3, 20), "resolved", 1 + FLOOD_CONTROL_SECONDS),
            ((0, 1, 2, 50), "eased", 65),
        ],
    )
    def test_signals_of_an_incident_keep_their_spacing_and_worsened_and_resolved_skip_it(
        self, signals: tuple[float, ...], kind: str, after: float | None
    ) -> None:
        moment = earliest_send_time(rang(*signals), Transition(kind), 15)
        assert moment == (0 if after is None else NOW + after)

    def test_spacing_of_zero_seconds_lets_the_next_signal_go_at_once(self) -> None:
        assert earliest_send_time(rang(0), Transition.EASED, 0) == NOW

    @given(st.lists(st.floats(0, 200), max_size=8), st.sampled_from(Transition))
    def test_flood_control_never_drops_a_signal_that_waited_for_its_earliest_time(
        self, times: list[float], kind: Transition
    ) -> None:
        entry = rang(*sorted(times))
        assert room_for_signals(entry, max(NOW + 200, earliest_send_time(entry, kind, 0))) >= 1


class TestRoom:
    @pytest.mark.parametrize(("now", "room"), [(3, 1), (60, 1), (61, 2), (61.5, 2), (62, 3), (70, 4)])
    def test_room_for_signals_is_what_flood_control_leaves_of_the_last_minute(self, now: float, room: int) -> None:
        assert room_for_signals(rang(0, 1, 2), NOW + now) == room

    def test_room_for_signals_is_negative_after_more_than_four_in_a_minute(self) -> None:
        assert room_for_signals(rang(0, 1, 1, 1, 1), NOW + 2) == -1
