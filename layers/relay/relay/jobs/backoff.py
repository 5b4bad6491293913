"""Backoff of jobs after a failed attempt from the retry queue. Pure code.

| failed attempt | wait until the next one |
| --- | --- |
| of a new share, while BigPanda waits | a random time below 0.5 s, then below 1 s: `delivery.trigger_retries` |
| the last one while BigPanda waits | until 36 s after the first attempt: `delivery.debts.FIRST_WAKE_SECONDS` |
| from the retry queue | a random time below the job's age, which bounds it from 30 to 900 s: so the waits double |
| from the retry queue, of a critical that certainly did not page | the same, but below 60 s |
| from the retry queue, with an ambiguous answer | as in the row "from the retry queue", but at least 30 s |
| from the retry queue, with refused credentials | 300 s |
| from the retry queue, with a Retry-After | at least the Retry-After, up to 900 s |

The wait of a new share's job is not a backoff: it is always `delivery.debts.FIRST_WAKE_SECONDS`. The job is put
on the queue with that delay before the first attempt, and SQS can't change the delay of a queued message. So a
Retry-After from the first attempts does not change that wait. If it came with a 429, the channel's circuit opens for
that time (5 to 900 s). When the job wakes, it waits until the circuit is no longer open.
"""

from relay.failures.reasons import AMBIGUOUS_WAIT_SECONDS, HANDLING, LONGEST_WAIT_SECONDS, Reason

# Upper bound of the first backoff.
SHORTEST_SECONDS = 30.0
# Longest backoff of a critical signal that certainly did not reach anyone (docs/decisions.md, D-critical-backoff).
CRITICAL_WAIT_SECONDS = 60.0


def wait_seconds(
    reason: Reason,
    age: float,
    retry_after: float | None,
    jitter: float,
    *,
    may_have_acted: bool = False,
    is_critical: bool = False,
) -> float:
    """Return the backoff in seconds: exponential with full jitter, so that jobs that failed together spread out.

    `age` is the time (seconds) since the job came, was replayed, or could be sent for the first time: a job that failed
    for so long waits for so long again. `retry_after` is xMatters' Retry-After in seconds, None without one. `jitter`
    is a random number from 0 to 1.

    After an ambiguous failure (`may_have_acted`), the backoff is at least AMBIGUOUS_WAIT_SECONDS. For a critical signal
    that certainly did not page, the random part is at most CRITICAL_WAIT_SECONDS; the circuit breaker protects xMatters
    then. A longer `retry_after` is honoured all the same, up to LONGEST_WAIT_SECONDS. A reason with a constant wait has
    that wait in any case.
    """
    handling = HANDLING[reason]
    if handling.constant_wait_seconds is not None:
        return handling.constant_wait_seconds
    most = CRITICAL_WAIT_SECONDS if is_critical and not may_have_acted else LONGEST_WAIT_SECONDS
    longest = min(most, max(SHORTEST_SECONDS, age))
    asked_for = min(retry_after or 0.0, LONGEST_WAIT_SECONDS)
    return max(jitter * longest, AMBIGUOUS_WAIT_SECONDS if may_have_acted else 0.0, asked_for)
