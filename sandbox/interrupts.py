"""Ctrl-C of a command: the first one raises KeyboardInterrupt, and a later one does not disturb the clean-up."""

import signal
import sys
from typing import NoReturn

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Python drops an exception that is raised in a finalizer, and a library may swallow one. So an interrupt that nothing
# handles after this time (seconds) was lost, and is raised again.
AGAIN_SECONDS = 1.0


def install() -> None:
    """Let the first signal of STOPPING raise KeyboardInterrupt in the main thread. Later signals are ignored."""
    for number in STOPPING:
        signal.signal(number, _interrupt)


def settle() -> None:
    """Note that the command has caught the interrupt, so that it is not raised again."""
    signal.setitimer(signal.ITIMER_REAL, 0)


def _interrupt(*_: object) -> NoReturn:
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, _interrupt_again_if_lost)
    signal.setitimer(signal.ITIMER_REAL, AGAIN_SECONDS, AGAIN_SECONDS)
    raise KeyboardInterrupt


def _interrupt_again_if_lost(*_: object) -> None:
    # While a `finally`, an `except` or a context manager cleans up, the interrupt is the exception that is handled, or
    # the context of that exception.
    error = sys.exception()
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    if error is None:
        raise KeyboardInterrupt
