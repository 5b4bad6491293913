"""The job worker: jobs wake on a queue, are tried, and wait again or are let go.

Two functions run this code: one for the retry queue, with signals, and one for the chore queue, with all other kinds.
Either function works a job of any kind. The keeper sends each job that waits to the queue of its kind.

A job that has to wait is put on the queue again, as it is now, and only then is its old message let go. So a receive
count above one means that a worker crashed, and the queue's redrive catches nothing but poison. A job that comes back
from the dead-letter queue, however it came, is revived: its age and its backoff begin anew.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import replace
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from relay.channels.cache import ChannelCache
from relay.channels.channel import Channel, removed
from relay.channels.policy import Policy
from relay.channels.schema import MOST_AGE_SECONDS
from relay.deadline import Deadline
from relay.delivery.debts import DEAD_LETTER_AGAIN_SECONDS
from relay.delivery.delivery import Delivery
from relay.delivery.fallback import Debt, Fallback
from relay.delivery.followup import Followup
from relay.errors import HANDLING, ChannelError, Reason
from relay.incidents.share import parse_share
from relay.incidents.transition import is_open
from relay.jobs.backoff import wait_seconds
from relay.jobs.envelope import Job, UnreadableMessage, seconds_of, timestamp
from relay.jobs.outbox import Keeper, followup_job
from relay.jobs.outcome import Outcome, Result, after_failure
from relay.ledger.entry import Wait
from relay.ledger.sources import Sources
from relay.telemetry import Telemetry

if TYPE_CHECKING:
    from relay.bigpanda.writeback import Writeback
    from relay.reconcile.reconciler import Reconciler

# One job: one try, the ledger, and the few seconds that its turn may be away. After that the fallback topic and the
# queues get a few seconds each, within the function's 30 seconds.
JOB_SECONDS = 15.0
FALLBACK_SECONDS = 3.0
# While the ledger is down, this function notifies the fallback topic of a channel no more often than this.
NOTIFIED_AGAIN_SECONDS = 900.0
# A follow-up asks again later; it must not hold up the chores of other channels that wait for a worker.
FOLLOWUP_SECONDS = 5.0
# A channel's API that failed so slowly is left alone by this function for so long: while it hangs, the channel's chores
# must not take all workers from the chores of other channels, such as the notice that no page came of a critical
# (docs/decisions.md, D-hung-api).
SLOW_SECONDS, SILENT_SECONDS = 3.0, 30.0
# Until a flow has made its page, in most cases.
FOLLOW_SECONDS = 10.0
# A follow-up that no queue took is offered to the queue again.
FOLLOW_AGAIN_SECONDS = 30.0
# A job this close to its time need not wait for it.
EARLY_SECONDS = 1.0

type Record = Mapping[str, Any]


@dataclass(frozen=True)
class Worker:
    """Works jobs off.

    `writeback` gives what writes answers back, `reconciler` what works reconcile runs, `clock` epoch seconds, `random`
    a number from 0 to 1, `deadlines` a deadline of so many seconds.
    """

    delivery: Delivery
    followup: Followup
    writeback: "Callable[[], Writeback]"
    reconciler: "Callable[[], Reconciler]"
    channels: ChannelCache
    sources: Sources
    keeper: Keeper
    fallback: Fallback
    telemetry: Telemetry
    clock: Callable[[], float]
    random: Callable[[], float]
    deadlines: Callable[[float], Deadline]
    # Until when an API of a channel is left alone.
    silent: dict[tuple[str, str], float] = field(default_factory=dict, init=False)
    # When the fallback topic was notified of a channel without the ledger.
    notified: dict[str, float] = field(default_factory=dict, init=False)

    def work(self, records: Sequence[Record]) -> list[str]:
        """Work the messages of a queue off; return the ids of those that must stay on the queue.

        The event sources hand over one message at a time, so that no job waits behind a slow one. Never raises: a
        message that stays is no error of the function.
        """
        return [str(record["messageId"]) for record in records if not self._handled(record["body"])]

    def _handled(self, envelope: str) -> bool:
        """Try a job, and see to what comes next; true when its message may be let go."""
        try:
            return self._worked(Job.from_json(envelope))
        except UnreadableMessage as error:
            self.telemetry.unreadable(str(error))
        except Exception as error:  # noqa: BLE001 - it must not hide what became of the other jobs
            self.telemetry.crashed(error)
        return False

    def _worked(self, job: Job) -> bool:
        now = self.clock()
        deadline = self.deadlines(JOB_SECONDS)
        if job.kind == "reconcile":
            # A run has a note of its own, and the next schedule begins what failed anew.
            self.reconciler().work(job, deadline)
            return True
        if job.dead_lettered_at is not None and not job.is_revived:
            job = job.revived(now)
        if job.healed:
            self.delivery.begun(job, deadline)
            # A copy that waits is no job that the sweeper sent.
            job = replace(job, healed=0)
        result = self._tried(job, deadline)
        self.telemetry.worked(job, result, deadline.spent)
        if result.unconfirmed:
            self.telemetry.unconfirmed(job, result.unconfirmed)
        if result.outcome == Outcome.UNSAFE:
            # A crash of ours, or nothing that can be tried: after a few of these the queue's redrive takes it away.
            return False
        return self._seen_to(result.job or job, result, deadline)

    def _tried(self, job: Job, deadline: Deadline) -> Result:
        if job.kind not in {"signal", "followup", "writeback", "release"}:
            detail = f"this version does not know jobs of kind {job.kind}"
            return _unsafe(job, Reason.INTERNAL, detail, fault=NotImplementedError(detail))
        try:
            channel = self.channels.get(job.channel)
            hold = self._hold(job, channel.policy)
            if job.kind != "signal":
                return self._done(job, channel, deadline, hold=hold)
            share = parse_share(job.body)
            result = self.delivery.resume(job, share, channel, deadline, hold=hold)
            if result.outcome in {Outcome.DELIVERED, Outcome.DUPLICATE}:
                # The function that took the share may have died before it noted that.
                self.sources.note_incident(channel, job.incident_id, job.url_recipients or (), deadline)
            is_over = not is_open(share)
            ends = is_over or result.outcome == Outcome.SUPERSEDED
            if not channel.follows(ends=ends) or (job.spare and result.outcome != Outcome.DELIVERED):
                return result
            return self._followed(job, result, channel, deadline, is_over=is_over)
        except ChannelError as error:
            return self._without_channel(job, error, deadline)
        except Exception as error:  # noqa: BLE001 - it must not hide what became of the other jobs
            return _unsafe(job, Reason.INTERNAL, type(error).__name__, fault=error)

    def _done(self, job: Job, channel: Channel, deadline: Deadline, *, hold: Wait | None) -> Result:
        """Do a chore: follow a signal, write a callback back, or release an incident's updates."""
        api = (job.channel, "xmatters" if job.kind == "followup" else "bigpanda")
        began, silent_until = self.clock(), self.silent.get(api, 0.0)
        if hold is None and silent_until > began:
            hold = Wait(Reason.CIRCUIT_OPEN, silent_until)
        if hold:
            result = replace(_unsafe(job, hold.reason, "not yet, or no longer"), until=hold.until)
        elif job.kind == "writeback":
            result = self.writeback().write(job, channel, deadline)
        elif job.kind == "release":
            result = self.writeback().release(job, channel, deadline)
        elif channel.rest or channel.confirms_ends:
            brief = self.deadlines(min(FOLLOWUP_SECONDS, deadline.remaining()))
            result = self.followup.follow(job, channel, brief)
            deadline.spent.update({part: deadline.spent.get(part, 0.0) + spent for part, spent in brief.spent.items()})
        else:
            result = Result(Outcome.UNCHANGED, job.channel, job.incident_id, delivery_id=job.delivery_id)
        if result.outcome == Outcome.UNSAFE and self.clock() - began > SLOW_SECONDS:
            self.silent[api] = self.clock() + SILENT_SECONDS
        if result.outcome != Outcome.UNSAFE:
            return result
        return self._rested(job, result, deadline)

    def _followed(self, job: Job, result: Result, channel: Channel, deadline: Deadline, *, is_over: bool) -> Result:
        """Keep a follow-up of a signal as a job of its own; return the signal's result.

        `is_over`: the incident is resolved.
        """
        now = self.clock()
        # The age of a follow-up counts from now: its signal may have waited for hours, or have been dead-lettered.
        followup = replace(followup_job(result.job or job), spare=False, revived_at=timestamp(now))
        if result.outcome == Outcome.DELIVERED:
            # Without it the page is not confirmed; that must not make the signal one that failed.
            self.keeper.keep(followup, deadline, until=now + FOLLOW_SECONDS)
        elif result.outcome == Outcome.DUPLICATE or (result.outcome == Outcome.UNCHANGED and is_over):
            # The job that was kept before its signal was sent, and wakes after it; or a resolve that nobody announces.
            if not self.keeper.keep(followup, deadline, until=now):
                # The job itself waits, so that pages are still confirmed, and ended, once the queue takes a follow-up.
                waits = replace(result, outcome=Outcome.QUEUED, reason=Reason.IN_FLIGHT, queue="retry")
                return replace(waits, until=now + FOLLOW_AGAIN_SECONDS, detail="no queue took its follow-up")
        elif result.outcome == Outcome.SUPERSEDED:
            # The newer state's job follows all signals, but a page of what was over must not go on until that one
            # wakes. So this follow-up looks once, unless the newer state is an end that has to be confirmed.
            self.keeper.keep(replace(followup, spare=not channel.confirms_ends), deadline, until=now)
        return result

    def _rested(self, job: Job, result: Result, deadline: Deadline) -> Result:
        """Return a failed result once its job is safe: it waits on the retry queue, or is dead-lettered."""
        waiting = replace(result, outcome=Outcome.QUEUED, queue="retry")
        if not HANDLING[result.reason or Reason.INTERNAL].is_final:
            return waiting
        is_dead_lettered = self.keeper.dead_letter(after_failure(job, result, self.clock()), deadline)
        return replace(waiting, queue="dead_letter") if is_dead_lettered else replace(waiting, until=None)

    def _without_channel(self, job: Job, error: ChannelError, deadline: Deadline) -> Result:
        """Give up a removed channel's job at once; let a job wait whose channel can't be read now."""
        now = self.clock()
        result = _unsafe(job, error.reason, f"{type(error).__name__}: {error}")
        if HANDLING[error.reason].is_final:
            return self._given_up(job, result, Wait(Reason.CHANNEL_REMOVED, now), deadline)
        # The channel's own age may be longer than the default one.
        hold = self._hold(job, Policy(max_age_seconds=MOST_AGE_SECONDS))
        if hold and HANDLING[hold.reason].is_final:
            return self._given_up(job, replace(result, reason=hold.reason), hold, deadline)
        if job.kind != "signal":
            return self._rested(job, replace(result, until=hold.until if hold else None), deadline)
        # Only a signal is owed to people.
        is_critical = job.status == "critical"
        wait = wait_seconds(error.reason, job.rounds, None, self.random(), is_critical=is_critical)
        again = replace(after_failure(job, result, now), rounds=job.rounds + 1)
        result = replace(result, outcome=Outcome.QUEUED, queue="retry", until=now + wait, job=again)
        if hold:
            result = replace(result, reason=hold.reason, until=hold.until, job=job)
        self.delivery.postpone(job, result.until or now, deadline)
        return result

    def _given_up(self, job: Job, result: Result, hold: Wait, deadline: Deadline) -> Result:
        """Dead-letter a job, unless there is nothing to be done of it any more; its channel can't be read.

        A page can be followed only with the channel's credentials. Of a signal the ledger knows whether it is owed.
        """
        if job.kind == "followup" and hold.reason == Reason.CHANNEL_REMOVED:
            return replace(result, outcome=Outcome.UNCHANGED, reason=None)
        if job.kind == "signal":
            return self.delivery.resume(job, parse_share(job.body), removed(job.channel), deadline, hold=hold)
        return self._rested(job, result, deadline)

    def _hold(self, job: Job, policy: Policy) -> Wait | None:
        """Return why a job must not be sent now, by its own times; None if it may be."""
        now = self.clock()
        # How old a page may be is no measure of what comes after it.
        if job.kind != "signal":
            policy = replace(policy, max_age_seconds=max(policy.max_age_seconds, Policy().max_age_seconds))
        if now - seconds_of(job.revived_at or job.received_at) > policy.max_age_seconds:
            return Wait(Reason.EXPIRED, now)
        not_before = seconds_of(job.not_before) if job.not_before else 0.0
        return Wait(Reason(job.reason), not_before) if not_before > now + EARLY_SECONDS else None

    def _seen_to(self, job: Job, result: Result, deadline: Deadline) -> bool:
        """Let the job wait if it is still owed; return True when its old message may go."""
        if result.unguarded and result.queue == "retry":
            self._notify_without_ledger(job, result, deadline)
        # A spare job keeps its moment in the line; for any other wait the state's own message comes.
        if result.queue != "retry" or (job.spare and result.reason != Reason.PACED):
            return True
        again = self._again(job, result)
        return self.keeper.keep(again, deadline, until=seconds_of(again.not_before or again.received_at))

    def _again(self, job: Job, result: Result) -> Job:
        """The job as it waits for another try."""
        now = self.clock()
        reason = result.reason or Reason.INTERNAL
        if result.until is not None:
            return job.waiting(reason, result.until)
        if HANDLING[reason].is_final:
            return job.waiting(reason, now + DEAD_LETTER_AGAIN_SECONDS)
        wait = wait_seconds(reason, job.rounds, result.retry_after, self.random())
        again = after_failure(job, result, now)
        return replace(again, rounds=job.rounds + 1, not_before=timestamp(now + wait))

    def _notify_without_ledger(self, job: Job, result: Result, deadline: Deadline) -> None:
        """Notify the fallback topic of a critical that is owed while the ledger is down: the sweeper can't see it."""
        down_since = (result.job or job).ledger_down_since
        if job.kind != "signal" or job.status != "critical" or job.accepted or down_since is None:
            return
        now = self.clock()
        is_due = now - seconds_of(down_since) >= self._fallback_after(job)
        if not is_due or self.notified.get(job.channel, 0.0) > now - NOTIFIED_AGAIN_SECONDS:
            return
        notify = partial(self.fallback.notify, job.channel, [Debt.of_job(job)])
        try:
            is_notified = deadline.run(notify, part="fallback", at_least=FALLBACK_SECONDS, at_most=FALLBACK_SECONDS)
        except TimeoutError:
            is_notified = False
        if is_notified:
            self.notified[job.channel] = now
        self.telemetry.notified(job.channel, [job.incident_id], is_notified=is_notified)

    def _fallback_after(self, job: Job) -> float:
        try:
            return self.channels.get(job.channel).policy.fallback_after_seconds
        except ChannelError:
            return Policy().fallback_after_seconds


def _unsafe(job: Job, reason: Reason, detail: str, *, fault: BaseException | None = None) -> Result:
    return Result(
        Outcome.UNSAFE,
        job.channel,
        job.incident_id,
        job.transition,
        delivery_id=job.delivery_id,
        reason=reason,
        detail=detail,
        fault=fault,
    )
