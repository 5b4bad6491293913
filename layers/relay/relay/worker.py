"""The job worker: jobs wake on a queue, are tried, and wait again or are let go.

Two functions run this code: one for the retry queue, with signals, and one for the chore queue, with all other kinds.
Either function works a job of any kind. The keeper sends each job that waits to the queue of its kind.

A job that has to wait is put on the queue again, as it is now, and only then is its old message let go. So a receive
count above one means that a worker crashed, and the queue's redrive catches nothing but poison. A job that comes back
from the dead-letter queue, however it came, is revived: its age and its backoff begin anew.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from copy import replace
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from relay import incident
from relay.channel import Channel, removed
from relay.channel_cache import ChannelCache
from relay.deadline import Deadline
from relay.delivery import Delivery
from relay.errors import HANDLING, ChannelError, Reason
from relay.fallback import MINUTE, Fallback, Told, Unconfirmed
from relay.followup import Followup
from relay.keeping import Keeper, followup_job
from relay.message import Job, UnreadableMessage, seconds_of, timestamp
from relay.outcome import Outcome, Owed, Result, after_failure
from relay.pace import Closed
from relay.policy import Policy
from relay.schedule import wait_seconds
from relay.telemetry import Telemetry
from relay.transition import is_open

if TYPE_CHECKING:
    from relay.reconcile import Reconciler
    from relay.writeback import Writeback

# One job: one try, the ledger, and the few seconds that its turn may be away. After that the fallback topic and the
# queues get a few seconds each, within the function's 30 seconds.
JOB_SECONDS = 15.0
# What the dead-letter queue did not take is offered to it again.
DEAD_LETTER_AGAIN_SECONDS = 60.0
NEVER = math.inf
FALLBACK_SECONDS = 3.0
# A follow-up asks again later; it must not hold up the chores of other channels that wait for a worker.
FOLLOWUP_SECONDS = 5.0
# A channel's API that failed so slowly is left alone by this function for so long: while it hangs, the channel's chores
# must not take all workers from the chores of other channels, such as the notice that no page came of a critical.
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
    keeper: Keeper
    fallback: Fallback
    telemetry: Telemetry
    clock: Callable[[], float]
    random: Callable[[], float]
    deadlines: Callable[[float], Deadline]
    # Until when an API of a channel is left alone.
    silent: dict[tuple[str, str], float] = field(default_factory=dict, init=False)

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
        result = self._tried(job, deadline)
        self.telemetry.worked(job, result, deadline.spent)
        if result.unconfirmed:
            self._warn(job, Unconfirmed(result.unconfirmed), deadline)
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
            share = incident.parse(job.body)
            result = self.delivery.resume(job, share, channel, deadline, hold=hold)
            if channel.rest is None or job.spare:
                return result
            return self._followed(job, result, deadline, is_over=not is_open(share))
        except ChannelError as error:
            return self._without_channel(job, error, deadline)
        except Exception as error:  # noqa: BLE001 - it must not hide what became of the other jobs
            return _unsafe(job, Reason.INTERNAL, type(error).__name__, fault=error)

    def _done(self, job: Job, channel: Channel, deadline: Deadline, *, hold: Closed | None) -> Result:
        """Do a chore: follow a signal, write a callback back, or release an incident's updates."""
        api = (job.channel, "xmatters" if job.kind == "followup" else "bigpanda")
        began, silent_until = self.clock(), self.silent.get(api, 0.0)
        if hold is None and silent_until > began:
            hold = Closed(Reason.CIRCUIT_OPEN, silent_until)
        if hold:
            result = replace(_unsafe(job, hold.reason, "not yet, or no longer"), until=hold.until)
        elif job.kind == "writeback":
            result = self.writeback().write(job, channel, deadline)
        elif job.kind == "release":
            result = self.writeback().release(job, channel, deadline)
        elif channel.rest:
            brief = self.deadlines(min(FOLLOWUP_SECONDS, deadline.remaining()))
            result = self.followup.follow(job, channel, channel.rest, brief)
            deadline.spent.update({part: deadline.spent.get(part, 0.0) + spent for part, spent in brief.spent.items()})
        else:
            result = Result(Outcome.UNCHANGED, job.channel, job.incident_id, delivery_id=job.delivery_id)
        if result.outcome == Outcome.UNSAFE and self.clock() - began > SLOW_SECONDS:
            self.silent[api] = self.clock() + SILENT_SECONDS
        if result.outcome != Outcome.UNSAFE:
            return result
        return self._rested(job, result, deadline)

    def _followed(self, job: Job, result: Result, deadline: Deadline, *, is_over: bool) -> Result:
        """Keep a follow-up of a signal as a job of its own; return the signal's result.

        `is_over`: the incident is resolved.
        """
        now = self.clock()
        # The age of a follow-up counts from now: its signal may have waited for hours, or have been dead-lettered.
        followup = replace(followup_job(result.job or job), revived_at=timestamp(now))
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
            # wakes. So this follow-up looks once.
            self.keeper.keep(replace(followup, spare=True), deadline, until=now)
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
        result = _unsafe(job, error.reason, f"{type(error).__name__}: {error}")
        if HANDLING[error.reason].is_final:
            return self._given_up(job, result, deadline)
        # Only a signal is owed to people.
        is_critical = job.kind == "signal" and job.status == "critical"
        owed = Owed(seconds_of(job.received_at), is_critical=is_critical, is_told=False)
        result = replace(result, owed=owed)
        hold = self._hold(job, Policy())
        if hold:
            result = replace(result, reason=hold.reason, until=hold.until)
        return self._rested(job, result, deadline)

    def _given_up(self, job: Job, result: Result, deadline: Deadline) -> Result:
        """Dead-letter a removed channel's job, unless there is nothing to be done of it any more.

        A page can be followed only with the channel's credentials. Of a signal the ledger knows whether it is owed.
        """
        match job.kind:
            case "followup":
                return replace(result, outcome=Outcome.UNCHANGED, reason=None)
            case "signal":
                share, hold = incident.parse(job.body), Closed(Reason.CHANNEL_REMOVED, self.clock())
                return self.delivery.resume(job, share, removed(job.channel), deadline, hold=hold)
        return self._rested(job, result, deadline)

    def _hold(self, job: Job, policy: Policy) -> Closed | None:
        """Why a job must not be sent now, by its own times."""
        now = self.clock()
        # How old a page may be is no measure of what comes after it.
        if job.kind != "signal":
            policy = replace(policy, max_age_seconds=max(policy.max_age_seconds, Policy().max_age_seconds))
        if now - seconds_of(job.revived_at or job.received_at) > policy.max_age_seconds:
            return Closed(Reason.EXPIRED, now)
        not_before = seconds_of(job.not_before) if job.not_before else 0.0
        return Closed(Reason(job.reason), not_before) if not_before > now + EARLY_SECONDS else None

    def _seen_to(self, job: Job, result: Result, deadline: Deadline) -> bool:
        """Let the job wait if it is still owed, and tell the fallback in time; true when the old message may go."""
        job, tell_at = self._tell_in_time(job, result, deadline)
        if result.queue == "retry":
            if job.spare and result.reason != Reason.PACED:
                return True
            again = self._again(job, result)
            moment = min(seconds_of(again.not_before or again.received_at), tell_at)
            return self.keeper.keep(again, deadline, until=moment)
        if result.queue == "dead_letter" and tell_at < NEVER:
            # The fallback topic may have to be notified of the dead-lettered state yet. A job without a mark does not
            # revive it.
            reminder = replace(job, dead_lettered_at=None, revived_at=None)
            return self.keeper.keep(reminder, deadline, until=tell_at)
        return True

    def _again(self, job: Job, result: Result) -> Job:
        """The job as it waits for another try."""
        now = self.clock()
        reason = result.reason or Reason.INTERNAL
        if result.until is not None:
            return replace(job, reason=reason, not_before=timestamp(result.until))
        if HANDLING[reason].is_final:
            return replace(job, reason=reason, not_before=timestamp(now + DEAD_LETTER_AGAIN_SECONDS))
        wait = wait_seconds(
            reason,
            job.rounds,
            result.retry_after,
            self.random(),
            may_have_rung=result.may_have_rung,
            is_critical=result.owed is not None and result.owed.is_critical,
        )
        again = after_failure(job, result, now)
        return replace(again, rounds=job.rounds + 1, not_before=timestamp(now + wait))

    def _tell(self, job: Job, deadline: Deadline, **what: Any) -> Told:
        """Notify the fallback topic, if that does not take too long: other jobs wait, too."""
        try:
            return deadline.run(
                partial(self.fallback.tell, job, **what),
                part="fallback",
                at_least=FALLBACK_SECONDS,
                at_most=FALLBACK_SECONDS,
            )
        except TimeoutError:
            return Told.NOT

    def _flushed(self, job: Job, deadline: Deadline) -> bool:
        flush = partial(self.fallback.flush, job)
        try:
            return deadline.run(flush, part="fallback", at_least=FALLBACK_SECONDS, at_most=FALLBACK_SECONDS)
        except TimeoutError:
            return False

    def _warn(self, job: Job, unconfirmed: Unconfirmed, deadline: Deadline) -> None:
        """Log and count that no page came of a signal, and notify the fallback topic of a critical one."""
        self.telemetry.unconfirmed(job, unconfirmed.request_ids)
        if job.status == "critical" and self._tell(job, deadline, unconfirmed=unconfirmed) == Told.NOT:
            self.telemetry.notice("fallback_failed", "the fallback topic could not be told of a critical incident")

    def _tell_in_time(self, job: Job, result: Result, deadline: Deadline) -> tuple[Job, float]:
        """Notify the fallback topic if overdue; return the updated job and the time of the next check."""
        owed = result.owed
        if owed is None or not owed.is_critical:
            return job, NEVER
        now = self.clock()
        # The job knows it, too: the ledger may be what is down.
        if owed.is_told or job.told:
            return job, NEVER if self._flushed(job, deadline) else now + MINUTE
        due = owed.since + self._fallback_after(job)
        if due > now:
            return job, due
        known = replace(job, reason=result.reason or job.reason)
        told = self._tell(known, deadline, is_given_up=result.queue == "dead_letter")
        if told != Told.NOT:
            self.telemetry.told(job)
            self.delivery.told(job, deadline)
            # Of those that were counted somebody has to tell, though no other comes.
            return replace(job, told=True), NEVER if told == Told.TOLD else now + MINUTE
        self.telemetry.notice("fallback_failed", "the fallback topic could not be told of a critical incident")
        return job, now + DEAD_LETTER_AGAIN_SECONDS

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
