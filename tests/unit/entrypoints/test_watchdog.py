import threading
from collections.abc import Callable

import pytest

from relay.deadline import Deadline, seconds_left
from relay.entrypoints.bootstrap import Watchdog
from tests.fakes import Clock

# Longer than any successful run. Work that is waited for ends after it, and the test fails.
STUCK_SECONDS = 20.0


def test_exception_of_the_work_is_raised() -> None:
    def fail() -> None:
        raise KeyError(threading.get_ident())

    with pytest.raises(KeyError) as caught:
        Watchdog()(fail, STUCK_SECONDS)
    assert caught.value.args != (threading.get_ident(),)


def test_one_thread_does_the_work_of_all_requests() -> None:
    watchdog, threads = Watchdog(), list[int]()
    for _ in range(3):
        watchdog(lambda: threads.append(threading.get_ident()), STUCK_SECONDS)
    assert len(set(threads)) == 1


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
    watchdog, first, second = Watchdog(), threading.Event(), threading.Event()
    let_go, is_over = hang(watchdog, first.set)
    watchdog(second.set, STUCK_SECONDS)
    assert second.is_set()
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
