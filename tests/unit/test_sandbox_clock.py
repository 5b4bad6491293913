"""The sandbox's clock: turning it ahead, the order of its actions, and its thread. Most tests fake the real time."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from sandbox.clock import MOST_AHEAD_SECONDS, Clock

START = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture
def clock() -> Iterator[Clock]:
    """A clock whose real time stands still."""
    clock = Clock(lambda: START)
    yield clock
    clock.close()


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def test_turns_add_up(clock: Clock) -> None:
    clock.turn(90)
    clock.turn(0.5)
    assert clock.now() == after(90.5)
    assert clock.ahead_seconds == 90.5


def test_due_actions_run_in_the_order_of_their_time_and_see_it(clock: Clock) -> None:
    seen: list[tuple[str, datetime]] = []
    for name, seconds in (("late", 20), ("early", 10), ("too late", 31), ("late too", 20)):
        clock.call_at(after(seconds), lambda name=name: seen.append((name, clock.now())))  # type: ignore[misc]
    clock.turn(30)
    assert seen == [("early", after(10)), ("late", after(20)), ("late too", after(20))]
    assert clock.now() == after(30)


def test_action_that_an_action_plans_within_the_turn_runs_at_its_own_time(clock: Clock) -> None:
    seen: list[datetime] = []

    def again() -> None:
        seen.append(clock.now())
        clock.call_at(clock.now() + timedelta(seconds=10), again)

    clock.call_at(after(10), again)
    clock.turn(35)
    assert seen == [after(10), after(20), after(30)]


def test_cancelled_action_does_not_run(clock: Clock) -> None:
    seen: list[str] = []
    clock.call_at(after(10), lambda: seen.append("cancelled")).cancel()
    clock.call_at(after(10), lambda: seen.append("kept"))
    clock.turn(10)
    assert seen == ["kept"]


def test_failing_action_is_logged_and_the_next_one_runs(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[str] = []

    def fail() -> None:
        raise KeyError("broken")

    clock.call_at(after(1), fail)
    clock.call_at(after(2), lambda: seen.append("next"))
    clock.turn(2)
    assert seen == ["next"]
    assert "broken" in caplog.text


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), MOST_AHEAD_SECONDS + 1])
def test_turn_that_is_no_turn_ahead_is_refused(clock: Clock, seconds: float) -> None:
    with pytest.raises(ValueError, match="seconds must be above 0"):
        clock.turn(seconds)
    assert clock.now() == START


def test_turns_have_a_limit_together(clock: Clock) -> None:
    clock.turn(MOST_AHEAD_SECONDS)
    with pytest.raises(ValueError, match="the clock ahead by"):
        clock.turn(1)


def test_actions_run_as_the_real_time_goes_on() -> None:
    clock, done = Clock(), threading.Event()
    try:
        clock.call_at(clock.now() + timedelta(seconds=0.05), done.set)
        assert done.wait(60)
    finally:
        clock.close()


def test_closed_clock_runs_nothing_more(clock: Clock) -> None:
    seen: list[str] = []
    clock.call_at(after(1), lambda: seen.append("run"))
    clock.close()
    clock.turn(2)
    assert seen == []
