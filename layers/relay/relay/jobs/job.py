"""Job: a self-contained piece of work for a worker, in groups of members that change together. Pure code."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import NamedTuple, Self

from relay.incidents.share import Version

# The resolution of `timestamp`.
MILLISECOND = 0.001


class JobKind(StrEnum):
    """Kind of a job: what a worker does with it. All but SIGNAL and RECOVERY are chores.

    A newer version of the relay may write kinds that this one does not know.

    Attributes:
        SIGNAL: Announce a state to xMatters.
        FOLLOWUP: Find the pages of an incident's signals, and terminate those of past states.
        QUESTION: Ask BigPanda if an incident is over of which a resolve came.
        WRITEBACK: Write a callback of xMatters into BigPanda.
        RELEASE: Report an incident's first share to BigPanda as received.
        RECONCILE: Do one part (piece) of a reconcile run.
        RECOVERY: Wake the states that waited for a channel's circuit, which closed.
    """

    SIGNAL = "signal"
    FOLLOWUP = "followup"
    QUESTION = "question"
    WRITEBACK = "writeback"
    RELEASE = "release"
    RECONCILE = "reconcile"
    RECOVERY = "recovery"


class Payload(NamedTuple):
    """Content of a job: a body, and the state in it.

    Attributes:
        body: The share's body, or a chore's own.
        version: BigPanda's timestamps of the state, by which states are ordered; None if it has none.
        status: The incident's status; None if the share has none.
        transition: The transition against the announced state, or the kind of a callback; None if it was not compared.
        digest: Hash of the state (`Share.digest`); None to compute it from the body.
        has_borrowed_version: True if the share has no timestamps, and `version` is that of a state that came before it.
        found: True if a reconcile run asked BigPanda for the share. Its alerts may have other ids than in webhooks.
        body_reduced: True if `body` is cut to fit, and no longer BigPanda's bytes.
    """

    body: bytes
    version: Version | None
    status: str | None = None
    transition: str | None = None
    digest: str | None = None
    has_borrowed_version: bool = False
    found: bool = False
    body_reduced: bool = False


class Routing(NamedTuple):
    """Recipients of a job's signal.

    Attributes:
        recipients: Names of the recipients; empty if the xMatters workflow chooses them.
        url_recipients: Recipients that the webhook's URL named; None if unknown. Each set of them has a ledger entry of
            its own.
        priority: xMatters' priority by the channel's route; None if the route sets none.
        routes_undecided: True if the channel's routes could not be evaluated within their budget, so that `recipients`
            has those of several routes.
    """

    recipients: tuple[str, ...]
    url_recipients: tuple[str, ...] | None = None
    priority: str | None = None
    routes_undecided: bool = False


class Failures(NamedTuple):
    """Failures of a job so far. Times are ISO 8601 in UTC.

    Attributes:
        reason: The reason of the last failure or wait; `in_flight` before the first attempt.
        first_failed_at: When an attempt failed first; None if none failed.
        last_failed_at: When an attempt failed last; None if none failed.
        attempts: Number of requests that were really sent.
        failed_retries: Number of failed attempts from the retry queue, since the arrival or the last replay. The
            backoff grows with it.
        http_status: Status of the last answer; None if there was none.
        response_excerpt: Redacted start of the last answer; empty if there was none.
        may_have_paged: True if xMatters may have accepted one of the attempts.
    """

    reason: str
    first_failed_at: str | None = None
    last_failed_at: str | None = None
    attempts: int = 0
    failed_retries: int = 0
    http_status: int | None = None
    response_excerpt: str = ""
    may_have_paged: bool = False


class JobMessage(NamedTuple):
    """Members that belong to one message of a job. A job can have several messages at the same time.

    A message of a signal only wakes a worker: the ledger's entry says what is to be done. Times are ISO 8601 in UTC,
    and None for never.

    Attributes:
        plan: Number of the message. If the entry records that the same state is owed with a higher number, a later
            message wakes the state, and this one is dropped (see `Debt.plan`).
        bell: For a message of the sweeper ("bell"), its number since the last recorded result (`Row.rung`); else 0.
        not_before: For a chore, the time before which it must not be attempted.
        accepted: True if xMatters accepted the signal, and the ledger does not know that yet.
        ledger_down_since: When the job first met a failing ledger; None if the ledger worked.
        waits_for_ledger: True if the job must wait for the ledger, since a critical of the incident was sent without
            it.
    """

    plan: int = 0
    bell: int = 0
    not_before: str | None = None
    accepted: bool = False
    ledger_down_since: str | None = None
    waits_for_ledger: bool = False


class Revival(NamedTuple):
    """A job's way to the dead-letter queue, and back by a replay of an operator. Times are None for never.

    Attributes:
        replays: Number of returns from the dead-letter queue.
        dead_lettered_at: When the relay dead-lettered the job last; None also if SQS's own redrive moved it.
        revived_at: When a worker first received the job after a replay. The job's age counts from then. The job is
            revived if that is later than `dead_lettered_at`.
    """

    replays: int = 0
    dead_lettered_at: str | None = None
    revived_at: str | None = None

    @property
    def dead_lettered_seconds(self) -> float | None:
        """Time at which the job was dead-lettered last (epoch seconds); None if `dead_lettered_at` is None."""
        return seconds_of(self.dead_lettered_at) if self.dead_lettered_at else None

    @property
    def is_revived(self) -> bool:
        """True if a worker received the job again after it was dead-lettered last."""
        if self.revived_at is None or self.dead_lettered_at is None:
            return self.revived_at is not None
        return seconds_of(self.revived_at) > seconds_of(self.dead_lettered_at)


class Job(NamedTuple):
    """A self-contained piece of work for a worker.

    A job is queued before its first attempt: then its reason is `in_flight`, and there is no failure yet. Times are ISO
    8601 in UTC, and None for never. An envelope has the members of all groups side by side.

    Attributes:
        kind: A JobKind, or a word that this version does not know.
        delivery_id: Id of the delivery, the same over all attempts and replays.
        channel: Name of the channel.
        incident_id: Id of the incident.
        correlation_id: Id for log searches: API Gateway's id of the request that brought the share or the callback, or
            a text that names the reconcile run or its incident.
        received_at: When the share, or the callback, came.
        payload: Content: the body, and the state in it.
        routing: Recipients of the signal.
        failures: Failures so far, and the reason of the last failure or wait.
        message: Members of this message of the job, such as its wait.
        revival: Way to the dead-letter queue, and back by a replay.
    """

    kind: str
    delivery_id: str
    channel: str
    incident_id: str
    correlation_id: str
    received_at: str
    payload: Payload
    routing: Routing
    failures: Failures
    message: JobMessage = JobMessage()
    revival: Revival = Revival()

    @property
    def stored_name(self) -> str:
        """Name under which the ledger stores the job. Copies of one share have different names."""
        return f"{self.delivery_id}/{self.received_at}"

    @property
    def age_counts_from(self) -> float:
        """Time from which the job's age counts (epoch seconds): arrival, or return from the dead-letter queue."""
        return seconds_of(self.revival.revived_at or self.received_at)

    def revived(self, now: float) -> Self:
        """Return the job as it starts again after a replay at `now` (epoch seconds), with a new age and backoff.

        `revived_at` is later than `dead_lettered_at`, although clocks of functions differ.
        """
        at = timestamp(max(now, (self.revival.dead_lettered_seconds or 0.0) + MILLISECOND))
        return self.fresh()._replace(
            failures=self.failures._replace(failed_retries=0),
            revival=self.revival._replace(revived_at=at, replays=self.revival.replays + 1),
        )

    def dead_lettered(self, now: float) -> Self:
        """Return the job as it goes to the dead-letter queue at `now` (epoch seconds).

        `dead_lettered_at` is later than `revived_at`, even if the clocks of two functions differ.
        """
        revived = seconds_of(self.revival.revived_at) if self.revival.revived_at else 0.0
        at = timestamp(max(now, revived + MILLISECOND))
        return self._replace(revival=self.revival._replace(dead_lettered_at=at))

    def fresh(self) -> Self:
        """Return the job with its wait and its ledger failure removed.

        In this form the job is stored for a later message, or starts again after a replay. All members of its group
        `message` get their defaults, except `accepted` and `plan`.
        """
        return self._replace(message=JobMessage(accepted=self.message.accepted, plan=self.message.plan))

    def planned(self, plan: int, *, bell: int = 0) -> Self:
        """Return the job as the message with the number `plan`; `bell` is the number of a message of the sweeper."""
        return self._replace(message=self.message._replace(plan=plan, bell=bell))

    def with_reason(self, reason: str) -> Self:
        """Return the job with `reason` in place of the reason of its last failure or wait."""
        return self._replace(failures=self.failures._replace(reason=reason))

    def waiting(self, reason: str, until: float) -> Self:
        """Return the job with a wait for `reason` until `until` (epoch seconds)."""
        return self.with_reason(reason)._replace(message=self.message._replace(not_before=timestamp(until)))

    def with_body(self, body: bytes, *, is_reduced: bool = False) -> Self:
        """Return the job with another body. `is_reduced` is True if that body was cut to fit."""
        reduced = is_reduced or self.payload.body_reduced
        return self._replace(payload=self.payload._replace(body=body, body_reduced=reduced))


def timestamp(seconds: float) -> str:
    """Return epoch seconds as ISO 8601 in UTC, to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def seconds_of(moment: str) -> float:
    """Return the epoch seconds of an ISO 8601 time. Raises ValueError if the text is no such time."""
    return datetime.fromisoformat(moment).timestamp()
