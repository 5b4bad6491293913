import threading
import time

import pytest

from relay.deadline import Deadline
from tests.fakes import Clock

# No good run waits so long: a call that is not left behind ends after it, and what it returns makes the test fail.
STUCK_SECONDS = 20.0


def test_what_remains_shrinks_with_the_clock_and_never_goes_below_zero() -> None:
    clock = Clock()
    deadline = Deadline(8, clock)
    assert (deadline.remaining(), deadline.remaining(2)) == (8, 6)
    clock.now += 7
    assert (deadline.remaining(), deadline.remaining(2)) == (1, 0)
    clock.now += 7
    assert deadline.remaining() == 0


def test_the_time_of_each_part_adds_up_in_milliseconds() -> None:
    clock = Clock()
    deadline = Deadline(8, clock)
    for part in ("send", "keep", "send"):
        with deadline.timed(part):
            clock.now += 0.25
    assert deadline.spent == {"send": 500, "keep": 250}


def test_the_time_of_a_part_that_fails_counts_too() -> None:
    clock = Clock()
    deadline = Deadline(8, clock)

    def fail() -> None:
        clock.now += 0.5
        raise KeyError("no")

    with pytest.raises(KeyError, match="no"):
        deadline.run(fail, part="send")
    assert deadline.spent == {"send": 500}


def test_a_call_gives_what_it_returns() -> None:
    assert Deadline(8, Clock()).run(lambda: None, part="send") is None
    assert Deadline(8, Clock()).run(lambda: 7, part="send") == 7


def test_one_call_after_the_other_needs_one_thread() -> None:
    deadline = Deadline(60, time.monotonic)
    threads = {deadline.run(threading.get_ident, part="send") for _ in range(20)}
    assert len(threads) == 1
    assert threads != {threading.get_ident()}


def test_a_call_within_a_call_has_a_thread_of_its_own() -> None:
    deadline = Deadline(60, time.monotonic)
    inner, outer = deadline.run(
        lambda: (deadline.run(threading.get_ident, part="secret"), threading.get_ident()), part="send"
    )
    assert inner != outer


def test_what_must_be_done_gets_its_time_though_there_is_none() -> None:
    clock = Clock()
    deadline = Deadline(1, clock)
    clock.now += 5
    let_go = threading.Event()
    with pytest.raises(TimeoutError):
        deadline.run(lambda: let_go.wait(STUCK_SECONDS), part="keep")
    let_go.set()
    assert deadline.run(lambda: not threading.Event().wait(0.02), part="keep", at_least=60)


def test_what_is_not_worth_more_is_left_behind_earlier() -> None:
    let_go = threading.Event()
    deadline = Deadline(3 * STUCK_SECONDS, time.monotonic)
    with pytest.raises(TimeoutError):
        deadline.run(lambda: let_go.wait(STUCK_SECONDS), part="ledger", at_least=0.05, at_most=0.05)
    let_go.set()


def test_a_call_that_takes_too_long_is_left_behind() -> None:
    let_go = threading.Event()
    with pytest.raises(TimeoutError):
        Deadline(0.05, time.monotonic).run(lambda: let_go.wait(STUCK_SECONDS), part="send")
    let_go.set()


def test_a_call_is_left_behind_before_the_reserve_is_touched() -> None:
    let_go = threading.Event()
    # A clock that stands still: all of the time is the reserve, so none is left to wait.
    deadline = Deadline(3 * STUCK_SECONDS, Clock())
    with pytest.raises(TimeoutError):
        deadline.run(lambda: let_go.wait(STUCK_SECONDS), part="send", reserve=3 * STUCK_SECONDS)
    let_go.set()


def test_what_a_call_gives_that_was_left_behind_is_not_taken_for_the_next_ones() -> None:
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
