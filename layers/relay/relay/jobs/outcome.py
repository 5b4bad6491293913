"""Outcomes and results of shares, jobs, signals and reconcile runs."""

from copy import replace
from enum import StrEnum
from typing import NamedTuple, Self

from relay.errors import Reason, SendError
from relay.jobs.envelope import Job, timestamp


class Outcome(StrEnum):
    """Outcome of a share or a job."""

    DELIVERED = "delivered"
    QUEUED = "queued"
    DUPLICATE = "duplicate"
    SUPERSEDED = "superseded"
    UNCHANGED = "unchanged"
    UNSAFE = "unsafe"


class Result(NamedTuple):
    """Result of a share or a job, and the reason for it.

    Attributes:
        queue: the place where a queued state waits: `retry`, `dead_letter`, or `ledger` for a row without a message.
        until: the time from which it may be attempted, in epoch seconds, if that is known.
        attempts: how often xMatters was really asked.
        fault: an exception of our own code that came in between.
        last_copy: an envelope that no queue took: the only copy there is.
        unguarded: the help that the ledger could not give.
        unconfirmed: xMatters' request ids of signals that no page came of.
        is_first: the ledger knew nothing of the incident before.
        end: what BigPanda said of an end that was to be confirmed, if that is worth counting.
        unverified: why a callback is not taken for what it says.
        refused_recipients: how many recipients of the webhook's URL the channel does not permit.
        job: the job with what the ledger knows of its attempts.
    """

    outcome: Outcome
    channel: str
    incident_id: str | None = None
    transition: str | None = None
    why: str | None = None
    delivery_id: str | None = None
    request_id: str | None = None
    reason: Reason | None = None
    queue: str | None = None
    until: float | None = None
    attempts: int = 0
    http_status: int | None = None
    response_excerpt: str = ""
    retry_after: float | None = None
    detail: str | None = None
    may_have_rung: bool = False
    fault: BaseException | None = None
    last_copy: str | None = None
    unguarded: str | None = None
    unconfirmed: tuple[str, ...] = ()
    is_first: bool = False
    refused_recipients: int = 0
    end: str | None = None
    unverified: str | None = None
    job: Job | None = None

    def failed(self, error: SendError) -> Self:
        """Return the result of a request that a vendor's API did not accept."""
        return self._replace(
            outcome=Outcome.UNSAFE,
            reason=error.reason,
            detail=error.detail,
            attempts=int(error.asked),
            http_status=error.http_status,
            response_excerpt=error.excerpt,
            retry_after=error.retry_after,
            may_have_rung=error.may_have_rung,
        )


class Sent(NamedTuple):
    """Result of a signal: accepted, with xMatters' request id if it named one, or the last failure.

    `attempts` counts what the trigger was really asked; `rings` those of them that were, or may have been, accepted.
    """

    attempts: int
    rings: int = 0
    request_id: str | None = None
    failure: SendError | None = None


class Found(NamedTuple):
    """Findings of a reconcile run.

    Attributes:
        compared: The number of incidents that were compared.
        missed: The number of states that a channel missed and that were relayed.
        woken: The number of criticals whose snooze is over, and that were relayed.
        unannounced: The number of open incidents that no channel knew, and that were reported.
        failure: Why the run did not see all; None if it did.
        reason: The reason of the failure.
    """

    compared: int = 0
    missed: int = 0
    woken: int = 0
    unannounced: int = 0
    failure: str | None = None
    reason: Reason | None = None


def after_failure(job: Job, result: Result, now: float) -> Job:
    """The job with what came of its last tries. `now` is in epoch seconds.

    A job that expired, or whose channel was removed, keeps what xMatters answered last.
    """
    if result.reason in {Reason.EXPIRED, Reason.CHANNEL_REMOVED}:
        return replace(job, reason=result.reason)
    failed_at = timestamp(now)
    return replace(
        job,
        first_failed_at=job.first_failed_at or failed_at,
        last_failed_at=failed_at,
        attempts=job.attempts + result.attempts,
        reason=result.reason or Reason.INTERNAL,
        http_status=result.http_status,
        response_excerpt=result.response_excerpt,
        may_have_rung=job.may_have_rung or result.may_have_rung,
    )
