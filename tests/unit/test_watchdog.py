import threading
from collections.abc import Callable

import pytest

from relay.deadline import Deadline, Watchdog, seconds_left
from tests.fakes import Clock

# Longer than any successful run. Work that is waited for ends after it, and the test fails.
STUCK_SECONDS = 20.0


def thread_of(watchdog: Watchdog) -> int:
    found: list[int] = []
    watchdog.run(lambda: found.append(threading.get_ident()), STUCK_SECONDS)
    return found[0]


def test_work_of_all_requests_is_done_in_one_other_thread() -> None:
    watchdog = Watchdog()
    threads = {thread_of(watchdog) for _ in range(20)}
    assert len(threads) == 1
    assert threads != {threading.get_ident()}


def test_exception_of_the_work_is_raised_and_the_thread_serves_the_next_request() -> None:
    watchdog = Watchdog()

    def fail() -> None:
        raise KeyError(threading.get_ident())

    with pytest.raises(KeyError) as caught:
        watchdog.run(fail, STUCK_SECONDS)
    assert caught.value.args == (thread_of(watchdog),)


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
        watchdog.run(work, 0.05)
    return let_go, is_over


def test_hanging_work_is_abandoned_and_the_next_request_has_another_thread() -> None:
    watchdog, first = Watchdog(), threading.Event()
    before = thread_of(watchdog)
    let_go, is_over = hang(watchdog, first.set)
    assert thread_of(watchdog) != before
    assert not first.is_set()
    let_go.set()
    assert is_over.wait(STUCK_SECONDS)


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
