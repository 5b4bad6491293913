"""Waits of an owed state: spacing, flood control, rate limits, the circuit, and the rest after an ambiguous answer."""

import pytest
import requests

from relay.delivery.step import earliest_send_time
from relay.incidents.share import Transition
from relay.ledger.entry import Entry
from tests import samples
from tests.unit.states import NOW

OK, DOWN, RESET = samples.accepted(), samples.refused(503), requests.ConnectionError("reset")
LATE, FULL = requests.ReadTimeout("late"), samples.refused(429, retry_after="40")


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
        ((0, 1, 2), "worsened", None),
        ((0, 1, 2, 3), "worsened", 61),
        ((0, 1, 2, 3, 20), "resolved", 62),
        ((0, 1, 2, 50), "eased", 65),
    ],
)
def test_earliest_time_of_the_next_signal_by_spacing_and_flood_control(
    signals: tuple[float, ...], kind: str, after: float | None
) -> None:
    assert earliest_send_time(rang(*signals), Transition(kind), 15) == (0 if after is None else NOW + after)
