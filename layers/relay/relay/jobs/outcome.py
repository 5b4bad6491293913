"""Outcomes and results of shares, jobs, signals and reconcile runs."""

from copy import replace
from enum import StrEnum
from typing import NamedTuple, Self

from relay.errors import Reason, SendError
from relay.jobs.envelope import Job, timestamp


class Outcome(StrEnum):
    """Outcome of a share or a job.

    Attributes:
        DELIVERED: xMatters accepted its signal.
        QUEUED: It waits on a queue or in the ledger.
        DUPLICATE: The same state came before, and is announced or queued. For a chore (any job but a signal): nothing
            is left to do.
        SUPERSEDED: A newer state of the incident is announced or queued.
        UNCHANGED: The policy does not announce its transition.
        UNSAFE: It is neither delivered nor queued, so the sender must send it again. For a chore: it failed, and its
            worker tries again later.
    """

    DELIVERED = "delivered"
    QUEUED = "queued"
    DUPLICATE = "duplicate"
    SUPERSEDED = "superseded"
    UNCHANGED = "unchanged"
    UNSAFE = "unsafe"


class Result(NamedTuple):
    """Result of a share or a job, and the reason for it.

    Attributes:
        outcome: The outcome.
        channel: Name of the channel.
        incident_id: Id of the incident; None if it is not known.
        transition: The transition against the announced state; None if it was not compared.
        why: The reason for the transition, in words.
        delivery_id: Id of the delivery, the same over all attempts and replays.
        request_id: xMatters' id of the accepted signal.
        reason: The reason of a failure or a wait; None if there is none.
        queue: Place of a queued state: `retry`, `dead_letter`, or `ledger` for a row without a message.
        until: Earliest time of the next attempt (epoch seconds); None if it is not known.
        attempts: Number of requests that were really sent.
        http_status: Status of the vendor's answer; None if there was none.
        response_excerpt: Redacted start of the vendor's answer.
        retry_after: Wait that the vendor asked for (seconds).
        detail: Details of the failure, in words.
        may_have_paged: True if the vendor may have accepted the request all the same.
        fault: An exception of our own code.
        last_copy: An envelope that no queue accepted: the only copy there is.
        unguarded: What the ledger could not do for the signal, in words.
        unconfirmed: xMatters' request ids of signals that have no page.
        is_first: True if the ledger knew nothing of the incident before.
        refused_recipients: Number of recipients of the webhook's URL that the channel does not permit.
        end: Answer about an end that had to be confirmed, set for `refuted` and `unreachable` only; else None.
        unverified: The reason why a callback is not verified.
        job: The job with the ledger's count of its attempts.
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
    may_have_paged: bool = False
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
            may_have_paged=error.may_have_paged,
        )


class Sent(NamedTuple):
    """Result of a signal with its in-request retries.

    Attributes:
        attempts: Number of requests that were really sent to the trigger.
        maybe_accepted: Number of attempts that xMatters accepted, or may have accepted.
        request_id: xMatters' id of the signal; None if xMatters named none, or did not accept the signal.
        failure: The last failure; None if xMatters accepted the signal.
    """

    attempts: int
    maybe_accepted: int = 0
    request_id: str | None = None
    failure: SendError | None = None


class Found(NamedTuple):
    """Findings of a reconcile run.

    Attributes:
        compared: Number of incidents that were compared.
        missed: Number of states that a channel missed and that were queued.
        woken: Number of criticals that were queued since their snooze is over.
        unannounced: Number of open incidents that were reported since no channel knew them.
        failure: Why the run is not complete; None if it is.
        reason: The reason of the failure.
    """

    compared: int = 0
    missed: int = 0
    woken: int = 0
    unannounced: int = 0
    failure: str | None = None
    reason: Reason | None = None


def after_failure(job: Job, result: Result, now: float) -> Job:
    """Return the job with the result of its last attempts. `now` is in epoch seconds.

    A job that expired, or whose channel was removed, keeps xMatters' last answer.
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
        may_have_paged=job.may_have_paged or result.may_have_paged,
    )
