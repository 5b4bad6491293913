"""Calls in parallel, and calls whose failure does not stop the others."""

from collections.abc import Callable, Sequence
from typing import Protocol

from relay.failures.errors import LedgerError
from relay.telemetry.telemetry import Telemetry

# Parallel calls. A boto3 client keeps ten connections.
AT_ONCE = 10


class AtOnce(Protocol):
    """Function that makes several calls in parallel."""

    def __call__[T](self, calls: Sequence[Callable[[], T]]) -> list[T]:
        """Make the calls, and return their results in the same order."""


def run_logging_failure[T](telemetry: Telemetry, call: Callable[[], T], otherwise: T) -> T:
    """Return the result of a call of the sweeper, or log its failure and return `otherwise`.

    So a failure in one debt or channel does not stop the others.
    """
    try:
        return call()
    except LedgerError as error:
        telemetry.notice("sweeper_failed", str(error))
    except Exception as error:  # noqa: BLE001 - see the docstring
        telemetry.crashed(error)
    return otherwise
