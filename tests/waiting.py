"""Polling until something holds. The limit ends a test that would never end; no test depends on the time it takes."""

import time
from collections.abc import Callable

STUCK_SECONDS = 120.0


def until(holds: Callable[[], object], seconds: float = STUCK_SECONDS) -> None:
    """Wait until something holds. Fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(0.02)
