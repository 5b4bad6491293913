"""Deadlines, time limits, and the watchdog that abandons hanging work."""

import math
import threading
from collections.abc import Callable

import pytest

from relay.deadline import Deadline, seconds_left, time_limit, times_collected
from relay.entrypoints.bootstrap import Watchdog
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


# Longer than any successful run. Work that is waited for ends after it, and the test fails.
STUCK_SECONDS = 20.0


def test_exception_of_the_work_is_raised() -> None:
    def fail() -> None:
        raise KeyError(threading.get_ident())

    with pytest.raises(KeyError) as caught:
        Watchdog()(fail, STUCK_SECONDS)
    assert caught.value.args != (threading.get_ident(),)


def test_one_thread_does_the_work_of_all_requests() -> None:
    watchdog, works = Watchdog(), list[tuple[int, float]]()
    for _ in range(3):
        watchdog(lambda: works.append((threading.get_ident(), seconds_left())), STUCK_SECONDS)
    assert len({thread for thread, _ in works}) == 1
    assert all(0 < left <= STUCK_SECONDS for _, left in works)


def hang(watchdog: Watchdog, after: Callable[[], object]) -> tuple[threading.Event, threading.Event]:
    """Let a request hang, and then do something. Return the event that ends the hanging, and that of the work's end."""
    let_go, is_over = threading.Event(), threading.Event()

    def work() -> None:
        let_go.wait(STUCK_SECONDS)
        try:
            after()
        finally:
            is_over.set()

    with pytest.raises(TimeoutError):
        watchdog(work, 0.05)
    return let_go, is_over


def test_next_request_does_not_wait_for_hanging_work_that_was_abandoned() -> None:
    watchdog, abandoned, second = Watchdog(), list[threading.Thread](), threading.Event()
    let_go, is_over = hang(watchdog, lambda: abandoned.append(threading.current_thread()))
    watchdog(second.set, STUCK_SECONDS)
    assert second.is_set()
    assert abandoned == []
    let_go.set()
    assert is_over.wait(STUCK_SECONDS)
    abandoned[0].join(STUCK_SECONDS)
    assert not abandoned[0].is_alive()


def test_abandoned_work_begins_no_call_when_it_wakes() -> None:
    called: list[str] = []
    left: list[float] = []

    def wake() -> None:
        left.append(seconds_left())
        with pytest.raises(TimeoutError):
            # Its deadline's clock stood still, as a monotonic clock does while Lambda has the function frozen.
            Deadline(8, Clock()).run(lambda: called.append("sent"), part="enqueue", at_least=2, at_most=2)

    let_go, is_over = hang(Watchdog(), wake)
    let_go.set()
    assert is_over.wait(STUCK_SECONDS)
    assert called == []
    assert left[0] < 0
