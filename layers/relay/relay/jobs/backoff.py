"""When a job on the retry queue is tried next. Pure code."""

from relay.errors import AMBIGUOUS_WAIT_SECONDS, HANDLING, LONGEST_WAIT_SECONDS, Reason

CRITICAL_WAIT_SECONDS = 60.0
# No power of two beyond it is ever needed, and a large one is no number any more.
_MOST_DOUBLINGS = 10


def wait_seconds(
    reason: Reason,
    rounds: int,
    retry_after: float | None,
    chance: float,
    *,
    may_have_rung: bool = False,
    is_critical: bool = False,
) -> float:
    """Return the backoff in seconds after the `rounds`-th failed attempt from the retry queue, counted from 0.

    `retry_after` is what xMatters asked for, in seconds; `chance` a number from 0 to 1. Full jitter: jobs that failed
    together must not come back together. A signal that may have rung rests for AMBIGUOUS_WAIT_SECONDS at least. A
    critical that did not ring comes back within CRITICAL_WAIT_SECONDS, however often it failed: the circuit breaker
    keeps xMatters from being asked too often.
    """
    handling = HANDLING[reason]
    if handling.steady is not None:
        return handling.steady
    most = CRITICAL_WAIT_SECONDS if is_critical and not may_have_rung else LONGEST_WAIT_SECONDS
    longest = min(most, handling.first * 2.0 ** min(rounds, _MOST_DOUBLINGS))
    asked_for = min(retry_after or 0.0, LONGEST_WAIT_SECONDS)
    return max(chance * longest, AMBIGUOUS_WAIT_SECONDS if may_have_rung else 0.0, asked_for)
