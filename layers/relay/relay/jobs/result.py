"""Outcomes and results of shares, jobs, signals and reconcile runs."""

from enum import StrEnum
from typing import NamedTuple, Self

from relay.failures import Reason, SendError
from relay.jobs.job import Flag, Job, timestamp


class Outcome(StrEnum):
    """Outcome of a share or a job. Here, a recovery counts as a chore.

    Attributes:
        DELIVERED: xMatters accepted the signal. For a chore: the work is done.
        QUEUED: The job or the state waits on a queue or in the ledger.
        DUPLICATE: The same state came before, and is announced or queued. For a chore: nothing is left to do.
        SUPERSEDED: A newer state of the incident is announced or queued.
        UNCHANGED: The policy does not announce the transition, or there is none. For a chore: the channel does not want
            its work, or does not know the incident.
        SHADOWED: The channel is in shadow mode: the signal would be sent, and nothing was.
        UNSAFE: Nothing keeps the share or callback: the answer is 503, and the vendor must send it again. For a
            signal's job: no queue took its next message, so SQS delivers the old one again. For a chore: it failed, and
            its worker still has to queue or dead-letter it.
    """

    DELIVERED = "delivered"
    QUEUED = "queued"
    DUPLICATE = "duplicate"
    SUPERSEDED = "superseded"
    UNCHANGED = "unchanged"
    SHADOWED = "shadowed"
    UNSAFE = "unsafe"


class Subject(NamedTuple):
    """Share or job that a result is about.

    Attributes:
        delivery_id: `Job.delivery_id`; None if unknown.
        transition: The transition against the announced state, or a callback's kind; None if nothing was compared.
        why: The reason for the transition, in words; None if nothing was compared.
        is_first: True if the ledger knew nothing of the incident before.
        person: For a callback, xMatters' name of the person or group; None if unknown.
        answer: For a callback, the text of the chosen response, or the status; None if unknown.
    """

    channel: str
    incident_id: str | None = None
    delivery_id: str | None = None
    transition: str | None = None
    why: str | None = None
    is_first: bool = False
    person: str | None = None
    answer: str | None = None

    @classmethod
    def of_job(cls, job: Job) -> Self:
        return cls(job.channel, job.incident_id, job.delivery_id, job.stamps.transition)


class Exchange(NamedTuple):
    """Requests to a vendor (xMatters or BigPanda), and its last answer.

    Attributes:
        attempts: Number of requests that were really sent.
        request_id: xMatters' id of the accepted signal; None if there is none.
        response_excerpt: Redacted start of the answer; empty if there was none.
        retry_after: Wait that the vendor asked for (seconds); None if it asked for none.
        may_have_acted: True if the vendor may have accepted a failed request all the same.
    """

    attempts: int = 0
    request_id: str | None = None
    http_status: int | None = None
    response_excerpt: str = ""
    retry_after: float | None = None
    may_have_acted: bool = False

    @classmethod
    def failed(cls, error: SendError) -> Self:
        return cls(
            attempts=int(error.was_sent),
            http_status=error.http_status,
            response_excerpt=error.excerpt,
            retry_after=error.retry_after,
            may_have_acted=error.may_have_acted,
        )


class Notices(NamedTuple):
    """Unusual facts of a result, for the log and the metrics. None and empty values mean that there is no such fact.

    Attributes:
        fault: An exception of our own code.
        unguarded: Failure of the ledger or rate limiter, in words: a state was sent or queued without its protection.
        without_page: xMatters' request ids of signals of which no page was found.
        end: Result of a question about a resolve: `refuted`, or `unreachable` for so long that the resolve is believed.
        unverified: The reason why a callback is not verified.
        routes_undecided: True if routes took too many comparisons to evaluate: several routes' recipients are used.
        refused_recipients: Number of recipients in the webhook's URL that are not permitted, or do not fit into a
            signal.
    """

    fault: BaseException | None = None
    unguarded: str | None = None
    without_page: tuple[str, ...] = ()
    end: str | None = None
    unverified: str | None = None
    routes_undecided: bool = False
    refused_recipients: int = 0


class Result(NamedTuple):
    """Result of a share or a job, and the reason for it.

    Attributes:
        queue: Where the job or state waits: `retry` (for a chore, the chore queue), `dead_letter`, or `ledger` if only
            the ledger has it. None if it waits nowhere.
        until: Earliest time of the next attempt (epoch seconds); None if unknown.
        job: The job, with the number of attempts that the ledger counted; None if there is none.
    """

    outcome: Outcome
    subject: Subject
    reason: Reason | None = None
    detail: str | None = None
    queue: str | None = None
    until: float | None = None
    exchange: Exchange = Exchange()
    notices: Notices = Notices()
    job: Job | None = None

    @classmethod
    def of_job(cls, job: Job, outcome: Outcome) -> Self:
        return cls(outcome, Subject.of_job(job), job=job)

    @classmethod
    def unsafe(cls, job: Job, reason: Reason, detail: str) -> Self:
        """Return the result of a job that failed or can't be attempted now, and that is on no queue yet."""
        return cls(Outcome.UNSAFE, Subject.of_job(job), reason, detail, job=job)

    def failed(self, error: SendError) -> Self:
        return self._replace(reason=error.reason, detail=error.detail, exchange=Exchange.failed(error))

    def waiting(self, reason: Reason, until: float | None, queue: str = "retry") -> Self:
        """Return this result as `queued`, for a job that waits until `until` (epoch seconds; None if not known)."""
        return self._replace(outcome=Outcome.QUEUED, reason=reason, queue=queue, until=until)

    def queued(self, queue: str) -> Self:
        """Return this result as `queued` at the place `queue`. The reason and `until` stay."""
        return self._replace(outcome=Outcome.QUEUED, queue=queue)

    def with_unguarded(self, why: str) -> Self:
        return self._replace(notices=self.notices._replace(unguarded=why))


class SendResult(NamedTuple):
    """Result of sending one signal, with its in-request retries.

    Attributes:
        maybe_accepted: Number of attempts that xMatters accepted, or may have accepted.
        request_id: xMatters' id of the accepted signal; None if there is none.
        failure: The last failure; None if xMatters accepted the signal.
    """

    attempts: int
    maybe_accepted: int = 0
    request_id: str | None = None
    failure: SendError | None = None


def after_failure(job: Job, result: Result, now: float) -> Job:
    """Return the job with the failure in `result` at `now` (epoch seconds), for its next message.

    A job that is given up without an attempt (expired, channel removed, or in shadow mode) gets only the reason.
    """
    if result.reason in {Reason.EXPIRED, Reason.CHANNEL_REMOVED, Reason.SHADOWED}:
        return job.with_reason(result.reason)
    failed_at, exchange = timestamp(now), result.exchange
    failed = job.after_attempts(exchange.attempts).stamped(
        reason=result.reason or Reason.INTERNAL,
        first_failed_at=job.stamps.first_failed_at or failed_at,
        last_failed_at=failed_at,
        http_status=exchange.http_status,
        response_excerpt=exchange.response_excerpt,
    )
    return failed.with_flags(Flag.MAY_HAVE_PAGED) if exchange.may_have_acted else failed
