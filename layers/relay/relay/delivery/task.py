"""Task: a state to announce, its job, and the progress of its delivery; and the adapters that a delivery uses."""

import math
from collections.abc import Callable
from copy import replace
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Self

from relay.failures import Reason
from relay.incidents.share import TEST_PREFIX, Change, Share, State, is_open
from relay.jobs.job import Flag, Job, seconds_of, timestamp
from relay.jobs.result import Exchange, Notices, Outcome, Result, SendResult, Subject
from relay.ledger.accepted_signal import Audience
from relay.ledger.debt import Wait
from relay.ledger.entry import About, Entry, entry_key, page_key
from relay.xmatters.signal import Decision, Signal

if TYPE_CHECKING:
    from relay.channels.channel import Channel
    from relay.channels.routes import Pause, Route
    from relay.deadline import Clock, Deadline
    from relay.jobs.queue import Outbox
    from relay.ledger.rate_limit_and_circuit import RateLimiter
    from relay.ledger.table import Ledger
    from relay.xmatters.trigger import XMatters


# While the ledger fails, a queued job waits for it so long before it is sent without it, and one function sends live
# criticals of one incident with this distance (docs/decisions.md, D-ledger-down).
UNGUARDED_AFTER_SECONDS = 120.0
# Bounds the memory of a function during a long outage of the ledger.
MAX_UNGUARDED = 1000


@dataclass(frozen=True)
class Unguarded:
    """Memory of signals that this process sent without the ledger: times (epoch seconds) by the entry's key."""

    sent_at: dict[str, float] = field(default_factory=dict)

    def was_sent(self, entry_key: str, now: float) -> bool:
        """True if this process sent a signal without the ledger less than UNGUARDED_AFTER_SECONDS before `now`."""
        return now - self.sent_at.get(entry_key, 0.0) < UNGUARDED_AFTER_SECONDS

    def forget(self, entry_key: str) -> None:
        self.sent_at.pop(entry_key, None)

    def record(self, entry_key: str, now: float) -> None:
        if len(self.sent_at) >= MAX_UNGUARDED:
            self.sent_at.clear()
        self.sent_at[entry_key] = now


@dataclass(frozen=True)
class Services:
    """Adapters that the steps of a delivery call, and the memory of signals that this process sent without the ledger.

    Attributes:
        random: Returns a random number from 0 to 1.
        owner: Returns a unique name for a sender, as the owner of an incident's lease.
    """

    xmatters: "XMatters"
    ledger: "Ledger"
    rate_limiter: "RateLimiter"
    outbox: "Outbox"
    clock: "Clock"
    random: Callable[[], float]
    owner: Callable[[], str]
    unguarded: Unguarded = field(default_factory=Unguarded, init=False, repr=False)


# An expired state is dead-lettered this long after its age limit. The margin covers clock skew between functions.
PAST_AGE_SECONDS = 1.0
# Wait of a state that is beyond its age limit already.
SOON_SECONDS = 5.0


class Task(NamedTuple):
    """A state to announce, with its job and the progress of its delivery.

    Attributes:
        entry_key: Key of the incident's entry in the ledger.
        deadline: Time limit of the request or job: no attempt is made after it.
        recipients: Names of the signal's recipients; empty if the xMatters workflow chooses them.
        own_recipients: `recipients` without the policy's `unanswered_recipients`.
        route: The channel's route that chose `recipients`; None if no route matched. If the routes took too much work
            to evaluate, it is undecided (`Route.is_undecided`).
        is_from_webhook: True if BigPanda waits for the answer to the state's request; False for a job from the queue.
        wakes_at: Time at which this sender's message on the retry queue wakes (epoch seconds); infinity without one.
        final_failure: Failure for which the state must be dead-lettered, such as a removed channel; None without one.
        change: Transition of the state and its explanation; None if the state was not compared with the ledger.
        further: The only recipients, if the state is owed to further recipients alone; else empty.
        about: Title, environment and facts of the share, which the entry keeps.
        is_first: True if the ledger had no entry of the incident before.
        pauses: The channel's pauses that apply to the incident: past, present and future ones.
        is_flapping: True if the incident flaps by the policy, so that its signal says so.
        quiet_until: Time until which the state waits for calm (epoch seconds), from which its age counts; 0 if the
            incident does not flap.
    """

    job: Job
    entry_key: str
    state: State
    channel: "Channel"
    deadline: "Deadline"
    share: Share
    recipients: tuple[str, ...] = ()
    own_recipients: tuple[str, ...] = ()
    route: "Route | None" = None
    is_from_webhook: bool = False
    wakes_at: float = math.inf
    final_failure: Result | None = None
    change: Change | None = None
    further: tuple[str, ...] = ()
    about: About = About()
    is_first: bool = False
    pauses: tuple["Pause", ...] = ()
    is_flapping: bool = False
    quiet_until: float = 0.0

    @classmethod
    def of(
        cls,
        channel: "Channel",
        share: Share,
        job: Job,
        state: State,
        deadline: "Deadline",
        *,
        is_from_webhook: bool = False,
    ) -> Self:
        """Return the task that announces the `state` of a job. The channel's present routes choose the recipients."""
        route, about, name = _route(channel, share), _about(channel, share), entry_key_of(job)
        own = () if route and not route.is_undecided else channel.recipients
        routed = route.recipients if route else ()
        recipients = channel.fitting((*channel.trigger_recipients, *own, *routed, *job.url_recipients))
        return cls(
            job._replace(digest=state.digest, stamps=job.stamps._replace(recipients=recipients)),
            name,
            state,
            channel,
            deadline,
            share,
            recipients,
            recipients,
            route,
            is_from_webhook=is_from_webhook,
            about=about,
            pauses=_pauses(channel, share, is_open=state.is_open) if channel.policy.pauses else (),
        )

    @property
    def is_on_queue(self) -> bool:
        """True if a message on the retry queue has the state. A worker's own message is there until it is deleted."""
        return not self.is_from_webhook or self.is_kept

    @property
    def is_kept(self) -> bool:
        return self.wakes_at < math.inf

    @property
    def needs_question(self) -> bool:
        """True for a resolve that BigPanda must confirm.

        False if the channel asks no such questions, and for states from BigPanda's API and tests by relayctl.
        """
        is_test, is_found = self.job.incident_id.startswith(TEST_PREFIX), Flag.FOUND in self.job.flags
        return not self.state.is_open and not (is_found or is_test) and self.channel.asks_about_ends

    def pause(self, now: float) -> "Pause | None":
        """Return the channel's pause that applies to the incident at `now` (epoch seconds); None if there is none."""
        if not self.pauses:
            return None
        from relay.channels.routes import active_pause  # noqa: PLC0415 - most channels have no pause

        return active_pause(self.pauses, now)

    def audience(self, only: tuple[str, ...] = ()) -> Audience:
        """Return the audience to record with a signal: its recipients, and for whom it was.

        `only` has the recipients of a signal that was not for all; it is empty for a signal to all.

        | signal | recipients of the audience | mark |
        | --- | --- | --- |
        | to all | all | none |
        | to `further` recipients alone | those | `is_further` |
        | to the acknowledger alone | all, as if it had been for all | `is_for_acknowledger` |
        """
        policy, recipients = self.channel.policy, self.further or self.recipients
        others = set(policy.unanswered_recipients)
        return Audience(
            recipients,
            is_for_acknowledger=bool(only) and not self.further,
            awaits_receipt=policy.awaits_receipt,
            has_others=bool(others) and others <= set(recipients),
            is_further=bool(self.further),
        )

    @property
    def expires_at(self) -> float:
        """The time at which the state expires (epoch seconds): then it is dead-lettered in place of being sent."""
        return self.age_counts_from + self.channel.policy.max_age_seconds

    @property
    def age_counts_from(self) -> float:
        """Start of the state's age (epoch seconds): the latest of arrival, replay, and end of a pause or flap."""
        start = max(self.job.age_counts_from, self.quiet_until)
        if not self.pauses:
            return start
        from relay.channels.routes import age_start  # noqa: PLC0415 - most channels have no pause

        return age_start(self.pauses, start, self.channel.policy.max_age_seconds)

    def wake_at(self, until: float, now: float) -> float:
        """Return when to wake a state that waits until `until`: then, or shortly after it expires if that is earlier.

        Times are epoch seconds. A state that expired before `now` wakes within SOON_SECONDS.
        """
        return min(until, max(self.expires_at + PAST_AGE_SECONDS, now + SOON_SECONDS))

    def pause_end(self, now: float) -> float:
        """Return when the last of the incident's past pauses ended (epoch seconds); `now` if none is past."""
        return max((pause.until for pause in self.pauses if pause.until <= now), default=now)

    def ledger_failed(self, now: float) -> "Task":
        """Return the task, whose job records `now` (epoch seconds) as the ledger's first failure, if it has none."""
        since = self.job.ledger_down_since or timestamp(now)
        return replace(self, job=self.job._replace(ledger_down_since=since))

    def ledger_works(self) -> "Task":
        """Return the task, whose job records no failure of the ledger."""
        if not self.job.ledger_down_since and Flag.WAITS_FOR_LEDGER not in self.job.flags:
            return self
        return replace(self, job=self.job._replace(ledger_down_since=None).without_flags(Flag.WAITS_FOR_LEDGER))

    def result(self, outcome: Outcome) -> Result:
        """Return a result with this outcome for the task's state, before anything is queued."""
        job, change, failure = self.job, self.change, self.final_failure
        subject = Subject(
            job.channel,
            job.incident_id,
            job.delivery_id,
            transition=change.transition if change else None,
            why=change.why if change else None,
            is_first=self.is_first,
        )
        is_undecided = self.route is not None and self.route.is_undecided
        exchange = failure.exchange if failure else Exchange()
        return Result(outcome, subject, exchange=exchange, notices=Notices(routes_undecided=is_undecided), job=job)

    def sent(self, sent: SendResult) -> Result:
        """Return the result of a sent signal: `delivered` if xMatters accepted it, else `unsafe` until it is queued."""
        failure = sent.failure
        if failure is None:
            return replace(self.result(Outcome.DELIVERED), exchange=Exchange(sent.attempts, sent.request_id))
        failed = self.result(Outcome.UNSAFE).failed(failure)
        fault = failure.__cause__ if failure.reason == Reason.INTERNAL else None
        exchange = replace(failed.exchange, attempts=sent.attempts, may_have_acted=sent.maybe_accepted > 0)
        return replace(failed, exchange=exchange, notices=failed.notices._replace(fault=fault))

    def waiting(self, wait: Wait, queue: str) -> Result:
        """Return the result of a state that waits: on the retry queue (`retry`), or in the ledger only (`ledger`)."""
        return self.result(Outcome.QUEUED).waiting(wait.reason, wait.until, queue)


def state_of(job: Job, share: Share) -> State:
    """Return the state of a job, without alerts if it was read from BigPanda's API. `share` is of the job's body."""
    state = recorded_state(job, State.of(share, seconds_of(job.received_at), digest=job.digest))
    # In BigPanda's API, alerts' ids may differ from those in webhooks.
    return state.without_alerts() if Flag.FOUND in job.flags else state


def recorded_state(job: Job, state: State) -> State:
    """Return `state`, which was read from the job's body, with the timestamps and the hash that the job recorded.

    If the job has no timestamps, the result has none. If the job has no hash, that of `state` stays.
    """
    is_borrowed = Flag.BORROWED_VERSION in job.flags
    return replace(state, version=job.version, digest=job.digest or state.digest, has_borrowed_version=is_borrowed)


def entry_key_of(job: Job) -> str:
    """Return the key of the ledger entry of a job's incident, with the recipients that the webhook's URL named."""
    return entry_key(job.channel, job.url_recipients, job.incident_id)


def _about(channel: "Channel", share: Share) -> About:
    """Return what the ledger keeps of a share besides its state. BigPanda's API lacks the facts that are kept."""
    access = channel.bigpanda
    if access is None:
        return About(share.title, share.environment_id or "")
    from relay.channels.kept_facts import facts_to_keep  # noqa: PLC0415 - without access, all states are a webhook's

    environment_id = access.allowed_environment(share.environment_id)
    return About(share.title, environment_id or "", facts_to_keep(channel, share))


def _pauses(channel: "Channel", share: Share, *, is_open: bool) -> tuple["Pause", ...]:
    from relay.channels.routes import pauses_for  # noqa: PLC0415 - most channels have no pause

    return pauses_for(share, channel.policy.pauses, is_open=is_open)


def _route(channel: "Channel", share: Share) -> "Route | None":
    """Return the first route that matches a share, an undecided one if that takes too much work to find, or None."""
    if not channel.policy.routes:
        return None
    # Imported here, since most channels have no routes: this keeps the import out of their cold starts.
    from relay.channels.routes import chosen  # noqa: PLC0415

    return chosen(channel.policy.routes, share, is_open=is_open(share))


# Time before a task's deadline that is reserved for the ledger and the queue.
RESERVE_SECONDS = 3.0


def send_signal(
    services: Services,
    task: Task,
    entry: Entry | None,
    *,
    max_attempts: int,
    only: tuple[str, ...] = (),
) -> SendResult:
    """Send the signal of a task, in at most `max_attempts` attempts, to `only` these recipients; empty for all.

    If xMatters may have accepted an attempt, another follows for a critical only, and never after a time-out. `entry`
    is None while the ledger fails: the signal of a queued job is then marked as a possible repetition.
    """
    job, is_repeat = task.job, not task.is_from_webhook
    if entry:
        is_repeat = bool(entry.doubtful) and entry.may_have_paged(task.state)
    recipients = only or task.recipients
    body, decision, is_critical = content(task, recipients), decision_of(task), task.state.is_critical
    signal = Signal(
        body,
        decision,
        recipients,
        job.signal_id(task.further),
        job.stamps.correlation_id,
        attempt=job.stamps.attempts + 1,
        may_repeat=Flag.MAY_HAVE_PAGED in job.flags or is_repeat,
    )
    return services.xmatters.send(
        task.channel,
        signal,
        task.deadline,
        reserve=RESERVE_SECONDS,
        max_attempts=max_attempts,
        repeats_if_ambiguous=is_critical,
    )


def decision_of(task: Task) -> Decision:
    state, policy, pages = task.state, task.channel.policy, page_key(task.entry_key)
    status = state.status
    return Decision(
        channel=task.channel.name,
        incident_id=task.job.incident_id,
        environment_id=task.about.environment_id,
        page_key=pages,
        is_over=not state.is_open,
        status=status,
        priority=(task.route and task.route.priority)
        or policy.priorities[(status or "unknown") if state.is_open else "ok"],
        body="xmatters" if policy.own_body else "bigpanda",
    )


def content(task: Task, recipients: tuple[str, ...]) -> bytes:
    """Return the request body for xMatters: BigPanda's bytes, or the policy's own body, which names `recipients`."""
    rule = task.channel.policy.own_body
    if rule is None:
        return task.job.body
    from relay.incidents.own_body import build_body  # noqa: PLC0415 - most channels forward BigPanda's

    return build_body(
        task.share,
        task.state,
        recipients,
        decision_of(task).priority,
        rule,
        is_flapping=task.is_flapping,
    )
