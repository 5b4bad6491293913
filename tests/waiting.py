"""Polling until a condition holds, with a time limit.

The limit ends a test that would never end; no test depends on the time it takes.
"""

import time
from collections.abc import Callable

STUCK_SECONDS = 120.0


def until(holds: Callable[[], object], seconds: float = STUCK_SECONDS) -> None:
    """Poll until the function `holds` returns a true value; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(0.02)
