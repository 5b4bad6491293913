"""Job: a self-contained piece of work for a worker. Pure code.

A signal's job only wakes a worker: the ledger's entry decides. If the ledger failed, the job's `ledger_down_since`,
`accepted`, and the flags MAY_HAVE_PAGED and WAITS_FOR_LEDGER count, too. Of a chore, its own members decide alone.
"""

import hashlib
import json
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from relay.failures import Reason
from relay.incidents.share import Version

if TYPE_CHECKING:
    from relay.channels.channel import Channel
    from relay.incidents.share import Share, State

# The resolution of `timestamp`.
MILLISECOND = 0.001


class JobKind(StrEnum):
    """Kind of a job: its work. All but SIGNAL and RECOVERY are chores, with a queue of their own.

    Attributes:
        SIGNAL: Announce a state to xMatters.
        FOLLOWUP: Find the pages of an incident's signals, and terminate those of past states.
        QUESTION: Ask BigPanda if an incident is really over, after a resolve of it came.
        WRITEBACK: Write a callback of xMatters into BigPanda.
        RELEASE: Report an incident's first share to BigPanda as received, so that BigPanda sends further ones.
        RECOVERY: Wake the states that waited for a channel's circuit breaker, since it closed.
    """

    SIGNAL = "signal"
    FOLLOWUP = "followup"
    QUESTION = "question"
    WRITEBACK = "writeback"
    RELEASE = "release"
    RECOVERY = "recovery"


class Flag(StrEnum):
    """Fact that holds for a job which has this flag.

    Attributes:
        FOUND: The relay read the share from BigPanda's API. Its alerts may have other ids than in webhooks.
        BORROWED_VERSION: The share has no timestamps: `version` has those of a state that came before it.
        BODY_REDUCED: The body is cut to fit, and no longer BigPanda's bytes.
        BELL: The sweeper sent this message, since a state's own message was late or there is none.
        ASKED: BigPanda was asked the job's question at least once.
        ASSIGNED: An earlier attempt at a write-back assigned the incident in BigPanda.
        VERIFIED: In an earlier attempt at a write-back, xMatters confirmed the callback.
        MAY_HAVE_PAGED: xMatters may have accepted a failed attempt of the job.
        WAITS_FOR_LEDGER: The job must wait until the ledger works: while it failed, a critical of the incident was
            sent, or xMatters refused this job's signal for good.
    """

    FOUND = "found"
    BORROWED_VERSION = "borrowed_version"
    BODY_REDUCED = "body_reduced"
    BELL = "bell"
    ASKED = "asked"
    ASSIGNED = "assigned"
    VERIFIED = "verified"
    MAY_HAVE_PAGED = "may_have_paged"
    WAITS_FOR_LEDGER = "waits_for_ledger"


class Acceptance(NamedTuple):
    """Acceptance of a signal by xMatters that the ledger does not know yet.

    Attributes:
        at: When the signal was sent (epoch seconds).
        request_id: xMatters' id of the signal; None if the answer had none.
        only: The signal's only recipients; empty if it was for all.
        is_further: True if `only` are further recipients.
    """

    at: float
    request_id: str | None
    only: tuple[str, ...] = ()
    is_further: bool = False


class Stamps(NamedTuple):
    """Stamps of a job: facts for operators and logs. They never decide if a signal is sent.

    Times are ISO 8601 in UTC, None for never.

    Attributes:
        reason: Reason of the last failure or wait; `in_flight` before the first attempt.
        correlation_id: Id for log searches: API Gateway's id of the request that brought the share or the callback, or
            a text that names the reconcile run or its incident.
        status: BigPanda's word for the incident's status; None if unknown.
        transition: The transition against the announced state, or a callback's kind; None if nothing was compared.
        recipients: Recipients of the signal by the channel's routes, when the state woke last.
        http_status: Status of the vendor's last answer; None without one.
        response_excerpt: Redacted start of that answer.
        replays: Number of returns from the dead-letter queue.
        attempts: Number of requests that were really sent.
    """

    reason: str = Reason.IN_FLIGHT
    correlation_id: str = ""
    status: str | None = None
    transition: str | None = None
    recipients: tuple[str, ...] = ()
    first_failed_at: str | None = None
    last_failed_at: str | None = None
    http_status: int | None = None
    response_excerpt: str = ""
    replays: int = 0
    attempts: int = 0


class Job(NamedTuple):
    """A self-contained piece of work for a worker. Times are ISO 8601 in UTC.

    Attributes:
        kind: A JobKind, or a word that this version does not know.
        url_recipients: Permitted recipients that the webhook's URL named; empty if it named none.
        received_at: When the share, or the callback, came.
        body: The share's body, the callback's, or another JSON text, by the kind.
        version: BigPanda's timestamps of the state, by which states are ordered; None if it has none.
        digest: Hash of the state (`Share.digest`) or of the callback; None to compute it from the body.
        plan: Number of a signal's message. A worker drops the message if the entry has a higher one for the same state.
        flags: What is true of the job: `Flag`s, or words that this version does not know.
        ledger_down_since: When the job first met a failing ledger; None if the ledger worked.
        accepted: xMatters' acceptance, if only the ledger's record of it is missing; None if the job has to be done.
        not_before: For a chore, the time before which it must not be attempted; None if it may be attempted now.
        dead_lettered_at: When the relay dead-lettered the job last; None if only SQS did, or nobody.
        revived_at: Time from which the job's age counts: that of its last replay, or one of a chore. None if the age
            counts from `received_at`.
    """

    kind: str
    channel: str
    url_recipients: tuple[str, ...]
    incident_id: str
    received_at: str
    body: bytes
    version: Version | None = None
    digest: str | None = None
    plan: int = 0
    flags: AbstractSet[str] = frozenset()
    ledger_down_since: str | None = None
    accepted: Acceptance | None = None
    not_before: str | None = None
    dead_lettered_at: str | None = None
    revived_at: str | None = None
    stamps: Stamps = Stamps()

    @property
    def delivery_id(self) -> str:
        """Id of the delivery (32 hexadecimal digits), the same for all attempts and replays.

        A workflow may treat a known id as a repeated signal. Two states with the same timestamps and contents have the
        same id. The arrival counts, too, for a state that has no timestamps, or is from BigPanda's API.
        """
        version = None if Flag.BORROWED_VERSION in self.flags else self.version
        is_anew = Flag.FOUND in self.flags or (version is None and self.kind != JobKind.WRITEBACK)
        arrival = (self.received_at,) if is_anew else ()
        return _delivery_id(self.channel, self.url_recipients, self.incident_id, version, self.digest, *arrival)

    def signal_id(self, further: tuple[str, ...]) -> str:
        """Return the id of a signal for `further` recipients alone; `delivery_id` if there are none."""
        return _delivery_id(self.delivery_id, further) if further else self.delivery_id

    @property
    def stored_name(self) -> str:
        """Name under which the ledger stores the job: one for all messages of a share, another for a later copy."""
        return f"{self.delivery_id}/{self.received_at}"

    @property
    def dead_lettered_seconds(self) -> float | None:
        """`dead_lettered_at` in epoch seconds; None for never."""
        return seconds_of(self.dead_lettered_at) if self.dead_lettered_at else None

    @property
    def is_revived(self) -> bool:
        """True if `revived_at` is set, and the job was not dead-lettered after that time."""
        if self.revived_at is None or self.dead_lettered_at is None:
            return self.revived_at is not None
        return seconds_of(self.revived_at) > seconds_of(self.dead_lettered_at)

    @property
    def age_counts_from(self) -> float:
        """Time from which the job's age counts (epoch seconds): `revived_at`, or else its arrival."""
        return seconds_of(self.revived_at or self.received_at)

    def revived(self, now: float) -> Self:
        """Return the job as it starts again after a replay at `now` (epoch seconds), with a new age and backoff."""
        # The order of the two times must be right although clocks of functions differ.
        at = timestamp(max(now, (self.dead_lettered_seconds or 0.0) + MILLISECOND))
        return self.fresh()._replace(revived_at=at).stamped(replays=self.stamps.replays + 1)

    def dead_lettered(self, now: float) -> Self:
        """Return the job with `dead_lettered_at` at `now` (epoch seconds), later than its last replay."""
        revived = seconds_of(self.revived_at) if self.revived_at else 0.0
        # The order of the two times must be right although clocks of functions differ.
        return self._replace(dead_lettered_at=timestamp(max(now, revived + MILLISECOND)))

    def fresh(self) -> Self:
        """Return the job without what its last attempt left: `not_before`, the ledger's failure, and Flag.BELL."""
        without = self._replace(not_before=None, ledger_down_since=None)
        return without.without_flags(Flag.BELL, Flag.WAITS_FOR_LEDGER)

    def planned(self, plan: int) -> Self:
        """Return the job with the number `plan` for its next message, and without Flag.BELL."""
        return self._replace(plan=plan).without_flags(Flag.BELL)

    def with_flags(self, *flags: str) -> Self:
        return self._replace(flags=self.flags | set(flags))

    def without_flags(self, *flags: str) -> Self:
        return self._replace(flags=self.flags - set(flags)) if self.flags else self

    def stamped(self, **stamps: Any) -> Self:
        return self._replace(stamps=self.stamps._replace(**stamps))

    def with_reason(self, reason: str) -> Self:
        return self.stamped(reason=reason)

    def after_attempts(self, attempts: int) -> Self:
        return self.stamped(attempts=self.stamps.attempts + attempts)

    def waiting(self, reason: str, until: float) -> Self:
        return self.with_reason(reason)._replace(not_before=timestamp(until))


def new_job(
    channel: "Channel",
    share: "Share",
    state: "State",
    body: bytes,
    url_recipients: tuple[str, ...],
    correlation_id: str,
) -> Job:
    """Return the signal job of a new share, which holds `body`. `state` is the share's state."""
    return Job(
        JobKind.SIGNAL,
        channel.name,
        url_recipients,
        share.incident_id,
        timestamp(state.came),
        body,
        state.version,
        state.digest,
        stamps=Stamps(Reason.IN_FLIGHT, correlation_id, share.status),
    )


# Cached, since the work for a share needs its id several times.
@lru_cache(maxsize=16)
def _delivery_id(*named_by: Any) -> str:
    return hashlib.sha256(json.dumps(named_by).encode()).hexdigest()[:32]


def timestamp(seconds: float) -> str:
    """Return epoch seconds as ISO 8601 in UTC, to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def seconds_of(moment: str) -> float:
    """Return the epoch seconds of an ISO 8601 time. Raises ValueError if the text is no such time."""
    return datetime.fromisoformat(moment).timestamp()
