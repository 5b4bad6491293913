import threading
import time

import pytest

from relay.deadline import Deadline
from tests.fakes import Clock

# Longer than any successful run. A call that is not abandoned ends after it, and its result makes the test fail.
STUCK_SECONDS = 20.0


def test_remaining_time_shrinks_with_the_clock_and_never_goes_below_zero() -> None:
    clock = Clock()
    deadline = Deadline(8, clock)
    assert (deadline.remaining(), deadline.remaining(2)) == (8, 6)
    clock.now += 7
    assert (deadline.remaining(), deadline.remaining(2)) == (1, 0)
    clock.now += 7
    assert deadline.remaining() == 0


def test_time_spent_is_added_up_by_part_in_milliseconds() -> None:
    clock = Clock()
    deadline = Deadline(8, clock)
    for part in ("send", "keep", "send"):
        with deadline.timed(part):
            clock.now += 0.25
    assert deadline.spent == {"send": 500, "keep": 250}


def test_time_of_a_failed_part_counts_as_spent() -> None:
    clock = Clock()
    deadline = Deadline(8, clock)

    def fail() -> None:
        clock.now += 0.5
        raise KeyError("no")

    with pytest.raises(KeyError, match="no"):
        deadline.run(fail, part="send")
    assert deadline.spent == {"send": 500}


def test_run_returns_the_result_of_the_call() -> None:
    assert Deadline(8, Clock()).run(lambda: None, part="send") is None
    assert Deadline(8, Clock()).run(lambda: 7, part="send") == 7


def test_consecutive_calls_use_one_thread() -> None:
    deadline = Deadline(60, time.monotonic)
    threads = {deadline.run(threading.get_ident, part="send") for _ in range(20)}
    assert len(threads) == 1
    assert threads != {threading.get_ident()}


def test_nested_call_has_a_thread_of_its_own() -> None:
    deadline = Deadline(60, time.monotonic)
    inner, outer = deadline.run(
        lambda: (deadline.run(threading.get_ident, part="secret"), threading.get_ident()), part="send"
    )
    assert inner != outer


def test_call_with_at_least_gets_that_time_after_the_deadline() -> None:
    clock = Clock()
    deadline = Deadline(1, clock)
    clock.now += 5
    let_go = threading.Event()
    with pytest.raises(TimeoutError):
        deadline.run(lambda: let_go.wait(STUCK_SECONDS), part="keep")
    let_go.set()
    assert deadline.run(lambda: not threading.Event().wait(0.02), part="keep", at_least=60)


def test_call_with_at_most_is_abandoned_before_the_deadline() -> None:
    let_go = threading.Event()
    deadline = Deadline(3 * STUCK_SECONDS, time.monotonic)
    with pytest.raises(TimeoutError):
        deadline.run(lambda: let_go.wait(STUCK_SECONDS), part="ledger", at_least=0.05, at_most=0.05)
    let_go.set()


def test_call_that_takes_too_long_is_abandoned() -> None:
    let_go = threading.Event()
    with pytest.raises(TimeoutError):
        Deadline(0.05, time.monotonic).run(lambda: let_go.wait(STUCK_SECONDS), part="send")
    let_go.set()


def test_call_is_abandoned_before_its_reserve_is_used() -> None:
    let_go = threading.Event()
    # The clock stands still, and all of the time is the reserve, so no time is left to wait.
    deadline = Deadline(3 * STUCK_SECONDS, Clock())
    with pytest.raises(TimeoutError):
        deadline.run(lambda: let_go.wait(STUCK_SECONDS), part="send", reserve=3 * STUCK_SECONDS)
    let_go.set()


def test_late_result_of_an_abandoned_call_is_not_returned_by_the_next_call() -> None:
    let_go = threading.Event()

    def late() -> str:
        let_go.wait(STUCK_SECONDS)
        return "late"

    deadline = Deadline(60, time.monotonic)
    with pytest.raises(TimeoutError):
        deadline.run(late, part="ledger", at_least=0.05, at_most=0.05)
    assert deadline.run(lambda: "next", part="send") == "next"
    let_go.set()
    assert [deadline.run(lambda: "after", part="send") for _ in range(20)] == ["after"] * 20
