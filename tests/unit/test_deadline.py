import math
import threading

import pytest

from relay.deadline import Deadline, seconds_left, time_limit, times_collected
from tests.fakes import Clock


def never() -> None:
    raise AssertionError("called without any time")


def test_no_call_is_made_after_the_deadline() -> None:
    clock = Clock()
    deadline = Deadline(8, clock)
    clock.now += 8
    with times_collected(spent := dict[str, float]()), pytest.raises(TimeoutError):
        deadline.run(never, part="send")
    assert spent == {}


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return the clock that time limits read, which stands still."""
    clock = Clock()
    monkeypatch.setattr("relay.deadline.time.time", clock)
    return clock


@pytest.mark.parametrize(
    ("passed", "at_least", "at_most", "expected"),
    [(0, 0, math.inf, 8), (6, 0, math.inf, 2), (0, 1, 1, 1), (7.5, 1, 1, 1), (20, 2, 2, 2), (7.5, 0, 3, 0.5)],
)
def test_call_has_the_time_until_the_deadline_within_its_bounds(
    now: Clock, passed: float, at_least: float, at_most: float, expected: float
) -> None:
    clock = Clock()
    deadline = Deadline(8, clock)
    clock.now += passed
    assert deadline.run(seconds_left, part="ledger", at_least=at_least, at_most=at_most) == expected
    assert seconds_left() == math.inf


def test_time_limit_does_not_prolong_the_one_around_it(now: Clock) -> None:
    with time_limit(9):
        now.now += 7
        with time_limit(1):
            assert seconds_left() == 1
        with time_limit(5):
            assert seconds_left() == 2
        assert seconds_left() == 2


def test_time_limit_ends_by_the_wall_clock_even_for_a_call_that_gets_its_time_in_any_case(now: Clock) -> None:
    # The monotonic clock of the deadline stood still while the function was frozen.
    deadline = Deadline(8, Clock())
    with time_limit(9):
        now.now += 3600
        assert seconds_left() < 0
        with pytest.raises(TimeoutError):
            deadline.run(never, part="enqueue", at_least=2, at_most=2)


def test_time_limit_of_one_thread_does_not_bind_another() -> None:
    found: list[float] = []
    with time_limit(1):
        thread = threading.Thread(target=lambda: found.append(seconds_left()))
        thread.start()
        thread.join()
    assert found == [math.inf]
