"""A state on its way to xMatters: the job that carries it, and what is known of its sender."""

import hashlib
import json
from copy import replace
from typing import TYPE_CHECKING, NamedTuple, Self

from relay.channels.channel import Channel
from relay.errors import HANDLING, Reason
from relay.incidents.share import Share
from relay.incidents.transition import Change, State, is_open
from relay.jobs.envelope import Job, seconds_of, timestamp
from relay.jobs.outcome import Outcome, Result, Sent
from relay.ledger.entry import Wait, key, named
from relay.ledger.pace import Rule, Ticket, gate_of

if TYPE_CHECKING:
    from relay.channels.routes import Route

# What is too old is given up so soon after its age's end: not a moment too early, whatever the clocks say.
PAST_AGE_SECONDS = 1.0
# A state that is too old already is given up so soon.
SOON_SECONDS = 5.0


class Task(NamedTuple):
    """A state to announce.

    Attributes:
        job: the job that carries the state.
        name: the key of its entry in the ledger.
        state: the state, as the ledger compares it.
        channel: the channel.
        owner: name of the sender, which no other sender has.
        is_live: BigPanda waits for an answer.
        is_queued: the job is on the retry queue.
        is_turned_away: the retry queue did not take the job.
        hold: the reason not to send it now, by the job's own times.
        change: what the state changes, if that was asked.
        environment_id: the place where BigPanda has the incident.
        is_first: the ledger knew nothing of the incident before.
        is_stamped: BigPanda's time stamps order the state.
        ticket: leave of the pace that was not used yet, since another sender changed the entry first.
    """

    job: Job
    name: str
    state: State
    channel: Channel
    owner: str
    is_live: bool = False
    is_queued: bool = False
    is_turned_away: bool = False
    hold: Wait | None = None
    change: Change | None = None
    environment_id: str | None = None
    is_first: bool = False
    is_stamped: bool = True
    ticket: Ticket | None = None

    @classmethod
    def of_share(cls, channel: Channel, share: Share, job: Job, owner: str) -> Self:
        """Return the task of a share that BigPanda just sent; `job` is its new job."""
        return cls(
            job,
            entry_of(job),
            State.of(share, seconds_of(job.received_at)),
            channel,
            owner,
            is_live=True,
            environment_id=_place(channel, share),
            is_stamped=job.version is not None,
        )

    @classmethod
    def of_job(cls, channel: Channel, share: Share, job: Job, owner: str, hold: Wait | None) -> Self:
        """Return the task of a job that woke up; `share` is what its body says."""
        state = State.of(share, seconds_of(job.received_at))
        state = kept_state(job, state)
        state = state._replace(alerts=frozenset()) if job.found else state
        name, place = entry_of(job), _place(channel, share)
        return cls(job, name, state, channel, owner, is_queued=True, hold=hold, environment_id=place)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The gates it has to pass; the first is the channel's circuit, too."""
        policy = self.channel.policy
        channel = Rule(gate_of(self.job.channel), policy.max_per_minute)
        if policy.max_per_minute_per_recipients is None:
            return (channel,)
        people = Rule(f"{channel.gate}/{named(self.job.recipients)}", policy.max_per_minute_per_recipients)
        return (channel, people)

    @property
    def expires_at(self) -> float:
        """The time from which the state is too old to be sent, in epoch seconds."""
        return seconds_of(self.job.revived_at or self.job.received_at) + self.channel.policy.max_age_seconds

    def wake_at(self, until: float, now: float) -> float:
        """Return the end of a wait (epoch seconds), cut short for a state that gets too old: it is given up in time."""
        return min(until, max(self.expires_at + PAST_AGE_SECONDS, now + SOON_SECONDS))

    @property
    def is_given_up(self) -> bool:
        """True if it must not be signalled any more, but is dead-lettered if it is owed."""
        return self.hold is not None and HANDLING[self.hold.reason].is_final

    def without_ledger(self, now: float) -> "Task":
        """The task, now that the ledger failed; its job remembers since when."""
        return replace(self, job=replace(self.job, ledger_down_since=self.job.ledger_down_since or timestamp(now)))

    def with_ledger(self) -> "Task":
        """The task, now that the ledger took a change of its entry."""
        return replace(self, job=replace(self.job, ledger_down_since=None, waits_for_ledger=False))

    def result(self, outcome: Outcome) -> Result:
        """Return the result with that outcome."""
        change = self.change
        return Result(
            outcome,
            self.job.channel,
            self.job.incident_id,
            change.transition if change else None,
            change.why if change else None,
            self.job.delivery_id,
            job=self.job,
            is_first=self.is_first,
        )

    def delivered(self, sent: Sent) -> Result:
        """Return the result of a signal that xMatters accepted."""
        return replace(self.result(Outcome.DELIVERED), attempts=sent.attempts, request_id=sent.request_id)

    def failed(self, sent: Sent) -> Result:
        """Return the result of a signal that was not accepted, before it is known where its state waits."""
        failure = sent.failure
        if failure is None:
            return self.delivered(sent)
        return replace(
            self.result(Outcome.UNSAFE),
            reason=failure.reason,
            attempts=sent.attempts,
            http_status=failure.http_status,
            response_excerpt=failure.excerpt,
            retry_after=failure.retry_after,
            detail=failure.detail,
            may_have_rung=sent.rings > 0,
            fault=failure.__cause__ if failure.reason == "internal" else None,
        )

    def waiting(self, wait: Wait, queue: str) -> Result:
        """Return the result of a state that waits in that place."""
        return replace(self.result(Outcome.QUEUED), reason=wait.reason, queue=queue, until=wait.until)


def kept_state(job: Job, state: State) -> State:
    """Return the state of a job as it was kept; `state` is what the job's body says."""
    digest = job.digest or state.digest
    return replace(state, version=job.version, digest=digest, is_dated_by_another=job.is_dated_by_another)


def entry_of(job: Job) -> str:
    """The key of the entry of a job's incident.

    Whom the channel rings may change while an incident is open; it stays the same incident.
    """
    names = job.recipients if job.url_recipients is None else job.url_recipients
    return key(job.channel, names, job.incident_id)


def _place(channel: Channel, share: Share) -> str | None:
    return channel.bigpanda.place(share.environment_id) if channel.bigpanda else share.environment_id


def new_job(
    channel: Channel, share: Share, body: bytes, url_recipients: tuple[str, ...], correlation_id: str, came: float
) -> Job:
    """The job of a share that just came; it is kept before its first try.

    `url_recipients` join those of the first of the channel's routes that fits, or else its own. If the routes can't be
    decided with bounded work, they join both. `came` is in epoch seconds.
    """
    route = _route(channel, share)
    own = () if route and not route.is_undecided else channel.recipients
    recipients = tuple(dict.fromkeys((*own, *(route.recipients if route else ()), *url_recipients)))
    return Job(
        kind="signal",
        delivery_id=delivery_id(channel.name, recipients, share),
        channel=channel.name,
        incident_id=share.incident_id,
        version=share.trusted_version(came),
        status=share.status,
        recipients=recipients,
        body=body,
        received_at=timestamp(came),
        reason=Reason.IN_FLIGHT,
        correlation_id=correlation_id,
        digest=share.digest,
        url_recipients=url_recipients,
        priority=route.priority if route else None,
        unrouted=bool(route and route.is_undecided),
    )


def _route(channel: Channel, share: Share) -> "Route | None":
    if not channel.policy.routes:
        return None
    # Most channels have none, and a cold start need not wait for them.
    from relay.channels.routes import chosen  # noqa: PLC0415

    return chosen(channel.policy.routes, share, is_open=is_open(share))


def delivery_id(channel: str, recipients: tuple[str, ...], share: Share) -> str:
    """Return the id of a share's delivery, 32 hexadecimal digits: the same over all attempts and replays."""
    named_by = [channel, list(recipients), share.incident_id, share.version, share.digest]
    return hashlib.sha256(json.dumps(named_by).encode()).hexdigest()[:32]
