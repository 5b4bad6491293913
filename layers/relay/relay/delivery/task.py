"""Task: a state to announce, its job, and the progress of its delivery."""

import hashlib
import json
import math
from copy import replace
from typing import TYPE_CHECKING, NamedTuple, Self

from relay.channels.kept_facts import Facts, facts_to_keep
from relay.channels.policy import Mode
from relay.failures.reasons import Reason
from relay.incidents.details import title_of
from relay.incidents.share import TEST_PREFIX, Share
from relay.incidents.transition import Change, State, is_open
from relay.jobs.job import Failures, Job, JobKind, JobMessage, Payload, Routing, seconds_of, timestamp
from relay.jobs.outcome import Exchange, Notices, Outcome, Result, SendResult, Subject
from relay.ledger.entry import Entry
from relay.ledger.entry_key import key, named
from relay.ledger.wait import Rule, Ticket, Wait, gate_of

if TYPE_CHECKING:
    from relay.channels.channel import Channel
    from relay.channels.pause import Pause
    from relay.channels.routes import Route

# An expired state is dead-lettered this long after its age limit. The margin covers clock skew between functions.
PAST_AGE_SECONDS = 1.0
# Wait of a state that is beyond its age limit already.
SOON_SECONDS = 5.0


class Task(NamedTuple):
    """A state to announce, with its job and the progress of its delivery.

    Attributes:
        job: Job of the state.
        entry_key: Key of the incident's entry in the ledger.
        state: The state, as it is compared with the ledger.
        channel: The channel.
        owner: Unique name of the sender, as the owner of its lease.
        is_from_webhook: True if the state came in a request that BigPanda waits for; False for a job from the queue.
        wakes_at: Time at which the message wakes that this function put on the retry queue for the state (epoch
            seconds); infinity if it put none there.
        queue_refused_it: True if the retry queue did not accept the job.
        given_up: Why the caller knows that the state must not be sent any more, such as a removed channel; None if it
            knows no such reason.
        change: Transition of the state and its explanation; None if the state was not compared.
        environment_id: Id of the incident's environment in BigPanda; None if unknown.
        title: Title of the incident; empty if the share has none.
        facts: Facts of the share that the entry keeps (`channels.kept_facts`); None for a state from BigPanda's API.
        is_first: True if the ledger had no entry of the incident before.
        is_stamped: True if the share has BigPanda's timestamps, by which states are ordered.
        pauses: The channel's pauses that apply to the incident: past, present and future ones.
        ticket: Unused permission of the rate limiter to send now, kept after a conflicting write of the entry; None if
            there is none.
        is_flagged: True if BigPanda says that the incident flaps.
        is_flapping: True if the incident flaps by the policy, so that its signal says so.
        quiet_until: Time before which the state is not announced, since the incident flaps (epoch seconds). The state's
            age counts from then. 0 if the state does not have to wait.
    """

    job: Job
    entry_key: str
    state: State
    channel: "Channel"
    owner: str
    is_from_webhook: bool = False
    wakes_at: float = math.inf
    queue_refused_it: bool = False
    given_up: Reason | None = None
    change: Change | None = None
    environment_id: str | None = None
    title: str = ""
    facts: Facts | None = None
    is_first: bool = False
    is_stamped: bool = True
    pauses: tuple["Pause", ...] = ()
    ticket: Ticket | None = None
    is_flagged: bool = False
    is_flapping: bool = False
    quiet_until: float = 0.0

    @classmethod
    def of_share(cls, channel: "Channel", share: Share, job: Job, owner: str) -> Self:
        """Return the task of a share that BigPanda just sent.

        `job` was made for it, and `owner` names the sender's lease.
        """
        environment_id, is_stamped = _environment_id(channel, share), job.payload.version is not None
        entry_key, state = entry_key_of(job), State.of(share, seconds_of(job.received_at))
        task = cls(
            job,
            entry_key,
            state,
            channel,
            owner,
            is_from_webhook=True,
            environment_id=environment_id,
            is_stamped=is_stamped,
            facts=facts_to_keep(channel, share),
        )
        task = task._replace(is_flagged=share.flapping is True, title=title_of(share))
        return task.with_pauses(share) if channel.policy.pauses else task

    @classmethod
    def of_job(cls, channel: "Channel", share: Share, job: Job, owner: str) -> Self:
        """Return the task of a job from the queue.

        `share` is parsed from the job's body, and `owner` names the sender's lease.
        """
        state = state_of(job, share)
        entry_key, environment_id = entry_key_of(job), _environment_id(channel, share)
        task = cls(job, entry_key, state, channel, owner, environment_id=environment_id)
        facts = None if job.payload.found else facts_to_keep(channel, share)
        task = task._replace(is_flagged=share.flapping is True, title=title_of(share), facts=facts)
        return task.with_pauses(share) if channel.policy.pauses else task

    def with_pauses(self, share: Share) -> Self:
        """Return the task with the channel's pauses that apply to its share, and its age counted from their end."""
        from relay.channels.pause import pauses_for  # noqa: PLC0415 - most channels have no pause

        found = pauses_for(share, self.channel.policy.pauses, is_open=self.state.is_open)
        return self._replace(pauses=found)

    @property
    def plan(self) -> int:
        """Number of the state's message (`JobMessage.plan`)."""
        return self.job.message.plan

    @property
    def is_on_queue(self) -> bool:
        """True if a message on the retry queue has the state. A worker's own message is there until it is deleted."""
        return not self.is_from_webhook or self.is_kept

    @property
    def is_kept(self) -> bool:
        """True if this function put a message on the retry queue that wakes the state."""
        return self.wakes_at < math.inf

    @property
    def needs_question(self) -> bool:
        """True if the state is a resolve from the webhook of a channel that asks BigPanda if resolves are true.

        BigPanda does not have the test incidents of relayctl, so it is not asked about them.
        """
        is_test, is_found = self.job.incident_id.startswith(TEST_PREFIX), self.job.payload.found
        return not self.state.is_open and not (is_found or is_test) and self.channel.asks_about_ends

    def described(self, entry: Entry) -> Entry:
        """Return the entry with the incident's title, for operators, and with the facts for routes and pauses.

        A share without a title keeps the known one, and a state from BigPanda's API keeps the facts.
        """
        return replace(entry, title=self.title or entry.title, facts=entry.facts if self.facts is None else self.facts)

    def pause(self, now: float) -> "Pause | None":
        """Return the channel's pause that applies to the incident at `now` (epoch seconds); None if there is none."""
        if not self.pauses:
            return None
        from relay.channels.pause import active_pause  # noqa: PLC0415 - see `with_pauses`

        return active_pause(self.pauses, now)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rate limits that apply to the signal: the channel's, and maybe that of its recipients.

        The channel's comes first, and has the circuit breaker.
        """
        policy = self.channel.policy
        channel = Rule(gate_of(self.job.channel), policy.max_per_minute)
        if policy.max_per_minute_per_recipients is None:
            return (channel,)
        people = Rule(f"{channel.gate}/{named(self.job.routing.recipients)}", policy.max_per_minute_per_recipients)
        return (channel, people)

    @property
    def expires_at(self) -> float:
        """The time at which the state expires (epoch seconds): then it is dead-lettered in place of being sent.

        Its age counts from its arrival, from its replay, or from the end of a later pause or flap.
        """
        start, longest = max(self.job.age_counts_from, self.quiet_until), self.channel.policy.max_age_seconds
        if self.pauses:
            from relay.channels.pause import age_start  # noqa: PLC0415 - see `with_pauses`

            start = age_start(self.pauses, start, longest)
        return start + longest

    def wake_at(self, until: float, now: float) -> float:
        """Return the end of a wait (`until`), but at the latest shortly after the state expires.

        Times are epoch seconds.
        """
        return min(until, max(self.expires_at + PAST_AGE_SECONDS, now + SOON_SECONDS))

    def pause_end(self, now: float) -> float:
        """Return when the last pause for the incident ended (epoch seconds): `now` if none is known.

        A pause that was removed from the channel's policy is not known any more.
        """
        return max((pause.until for pause in self.pauses if pause.until <= now), default=now)

    def final_reason(self, now: float) -> Reason | None:
        """Return why a queued state must not be sent any more; None if it may be. If it is owed, it is dead-lettered.

        `now` is in epoch seconds.
        """
        if self.is_from_webhook or self.given_up:
            return self.given_up
        if self.channel.policy.mode is Mode.SHADOW:
            return Reason.SHADOWED
        return Reason.EXPIRED if now > self.expires_at else None

    def without_ledger(self, now: float) -> "Task":
        """Return the task with a job that records since when the ledger fails.

        It is the time of the first failure for this job: `now` (epoch seconds), if no earlier failure is recorded.
        """
        message = self.job.message
        since = message.ledger_down_since or timestamp(now)
        return self._with_message(replace(message, ledger_down_since=since))

    def with_ledger(self) -> "Task":
        """Return the task whose job records no failure of the ledger, after the ledger worked."""
        return self._with_message(replace(self.job.message, ledger_down_since=None, waits_for_ledger=False))

    def waiting_for_ledger(self) -> "Task":
        """Return the task whose job must wait for the ledger, since a critical of the incident was sent without it."""
        return self._with_message(replace(self.job.message, waits_for_ledger=True))

    def _with_message(self, message: JobMessage) -> "Task":
        return replace(self, job=replace(self.job, message=message))

    def result(self, outcome: Outcome) -> Result:
        """Return a result for this task with that outcome."""
        job, change = self.job, self.change
        subject = Subject(
            job.channel,
            job.incident_id,
            job.delivery_id,
            transition=change.transition if change else None,
            why=change.why if change else None,
            is_first=self.is_first,
        )
        return Result(outcome, subject, job=job)

    def delivered(self, sent: SendResult) -> Result:
        """Return the result of a signal that xMatters accepted."""
        return replace(self.result(Outcome.DELIVERED), exchange=Exchange(sent.attempts, sent.request_id))

    def failed(self, sent: SendResult) -> Result:
        """Return the result of a signal that xMatters did not accept: `unsafe` until its state is queued."""
        failure = sent.failure
        if failure is None:
            return self.delivered(sent)
        failed = self.result(Outcome.UNSAFE).failed(failure)
        fault = failure.__cause__ if failure.reason == Reason.INTERNAL else None
        exchange = replace(failed.exchange, attempts=sent.attempts, may_have_acted=sent.maybe_accepted > 0)
        return replace(failed, exchange=exchange, notices=Notices(fault=fault))

    def waiting(self, wait: Wait, queue: str) -> Result:
        """Return the result of a state that waits: on the retry queue (`retry`), or in the ledger only (`ledger`)."""
        return self.result(Outcome.QUEUED).waiting(wait.reason, wait.until, queue)


def next_plan(task: Task, entry: Entry) -> int:
    """Return the number for the next message of a state: higher than those of its earlier messages."""
    return max(task.plan, entry.debt.plan) + 1


def planned(task: Task, before: Entry, after: Entry) -> Entry:
    """Return the entry `after` with the task's message as the one that wakes its newest state.

    `before` is the entry as it was read. A plan of an older state does not count: its messages are superseded.
    """
    is_same = task.state.is_of_same_share(before.newest)
    return replace(after, debt=replace(after.debt, plan=max(task.plan, before.debt.plan if is_same else 0)))


def state_of(job: Job, share: Share) -> State:
    """Return the state of a job; `share` is parsed from its body.

    A share from BigPanda's API (`Payload.found`) gives a state without alerts: their ids may differ from a webhook's.
    """
    state = recorded_state(job, State.of(share, seconds_of(job.received_at)))
    return state.without_alerts() if job.payload.found else state


def recorded_state(job: Job, state: State) -> State:
    """Return the state of a job with the version and digest that the job recorded; `state` is what its body says."""
    kept = job.payload
    digest = kept.digest or state.digest
    return replace(state, version=kept.version, digest=digest, has_borrowed_version=kept.has_borrowed_version)


def entry_key_of(job: Job) -> str:
    """Return the key of the ledger entry of a job's incident.

    The key has the recipients of the webhook's URL, not the channel's own: these may change while an incident is open.
    """
    routing = job.routing
    names = routing.recipients if routing.url_recipients is None else routing.url_recipients
    return key(job.channel, names, job.incident_id)


def _environment_id(channel: "Channel", share: Share) -> str | None:
    return channel.bigpanda.allowed_environment(share.environment_id) if channel.bigpanda else share.environment_id


def new_job(
    channel: "Channel", share: Share, body: bytes, url_recipients: tuple[str, ...], correlation_id: str, came: float
) -> Job:
    """Return the job of a new share, which is queued before the first attempt.

    Its recipients are `url_recipients` (those of the webhook's URL) and those of the first matching route; the
    channel's own if no route matches. If matching exceeds the limit of comparisons (`channels.routes.Work`), it has the
    channel's own and those of all routes that may match. Names that do not fit into a signal are left out, the last
    ones first. `body` holds the share's bytes, and `came` its arrival (epoch seconds).
    """
    route = _route(channel, share)
    own = () if route and not route.is_undecided else channel.recipients
    recipients = channel.fitting((*own, *(route.recipients if route else ()), *url_recipients))
    return Job(
        kind=JobKind.SIGNAL,
        delivery_id=delivery_id(channel.name, recipients, share),
        channel=channel.name,
        incident_id=share.incident_id,
        correlation_id=correlation_id,
        payload=Payload(body, share.trusted_version(came), share.status, digest=share.digest),
        received_at=timestamp(came),
        routing=Routing(
            recipients,
            url_recipients,
            priority=route.priority if route else None,
            routes_undecided=bool(route and route.is_undecided),
        ),
        failures=Failures(Reason.IN_FLIGHT),
    )


def _route(channel: "Channel", share: Share) -> "Route | None":
    if not channel.policy.routes:
        return None
    # Imported here, since most channels have no routes: this keeps the import out of their cold starts.
    from relay.channels.routes import chosen  # noqa: PLC0415

    return chosen(channel.policy.routes, share, is_open=is_open(share))


def delivery_id(channel: str, recipients: tuple[str, ...], share: Share) -> str:
    """Return the id of a share's delivery (32 hexadecimal digits), the same for all attempts and replays."""
    named_by = [channel, list(recipients), share.incident_id, share.version, share.digest]
    return hashlib.sha256(json.dumps(named_by).encode()).hexdigest()[:32]
