"""Worker for jobs from the queues: attempts each job, then removes it or puts it back to wait.

Two functions run this code: one for the retry queue (signals), and one for the chore queue. Both can work any job.

To wait, a job gets a new message on the queue for its kind, and Lambda deletes the old one. A message is received again
in three cases only: a worker crashed, no queue took the next message, or this version can't read the job. SQS
dead-letters only such messages. A job from the dead-letter queue is revived: its age and its backoff start again.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from copy import replace
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from relay.channels.cache import ChannelCache
from relay.channels.channel import Channel, removed
from relay.channels.policy import Mode, Policy
from relay.channels.schema import MOST_AGE_SECONDS
from relay.deadline import Clock, Deadline, Deadlines, times_collected
from relay.delivery.delivery import Delivery
from relay.delivery.fallback_messages import Fallback, OverdueDebt
from relay.delivery.page_followup import Followup
from relay.failures import HANDLING, ChannelError, Reason, wait_seconds
from relay.incidents.share import CANARY_PREFIX, State, is_open, parse_share
from relay.jobs.job import Flag, Job, JobKind, seconds_of
from relay.jobs.queue import MAX_RECEIVES, Outbox, UnreadableMessage, followup_job, read_envelope
from relay.jobs.result import Outcome, Result, after_failure
from relay.ledger.debt import Wait
from relay.ledger.sources import Sources
from relay.telemetry import Telemetry, history

if TYPE_CHECKING:
    from relay.bigpanda.callback_writeback import Writeback
    from relay.delivery.resolve_questions import ResolveQuestions
    from relay.sweeper.sweeper import Sweeper


# Time limit of a follow-up or a question. It is short, so that they delay no other chores; unfinished work is retried.
BRIEF_SECONDS = 5.0
# After a failed call that took at least SLOW_SECONDS, the function does not call that API of the channel for
# SILENT_SECONDS. So an API that hangs does not take all workers from the chores of other channels. A circuit breaker in
# the table would cost a write for each chore.
SLOW_SECONDS, SILENT_SECONDS = 3.0, 30.0


@dataclass(frozen=True)
class Chores:
    """Worker for chores, the jobs that ring nobody.

    Attributes:
        questions: Returns the object that asks BigPanda about resolves, created at its first use.
        writeback: Returns the object that writes callbacks into BigPanda, created at its first use.
        silent: Time until which an API that hung is not called again (epoch seconds), by channel and vendor.
    """

    followup: Followup
    questions: "Callable[[], ResolveQuestions]"
    writeback: "Callable[[], Writeback]"
    outbox: Outbox
    clock: Clock
    deadlines: Deadlines
    silent: dict[tuple[str, str], float] = field(default_factory=dict, init=False)

    def do(self, job: Job, channel: Channel, deadline: Deadline, *, own_wait: Wait | None) -> Result:
        """Do a chore, or return the result of a chore that must not be attempted now.

        `own_wait` is the wait of a chore that woke too early, or has the reason `expired`; None if the chore may be
        attempted. A vendor that hung in the last SILENT_SECONDS is not called; what a callback proves is still
        recorded. A failure or a wait gives the result of `failed`.
        """
        api = (job.channel, "xmatters" if job.kind == JobKind.FOLLOWUP else "bigpanda")
        began, silent_until = self.clock(), self.silent.get(api, 0.0)
        if own_wait is None and silent_until > began and job.kind != JobKind.WRITEBACK:
            own_wait = Wait(Reason.CIRCUIT_OPEN, silent_until)
        if own_wait:
            result = replace(
                Result.unsafe(job, own_wait.reason, "not attempted: it waits or expired"), until=own_wait.until
            )
        elif job.kind == JobKind.WRITEBACK:
            result = self.writeback().write(job, channel, deadline, waits_until=silent_until)
        elif job.kind == JobKind.RELEASE:
            result = self.writeback().release(job, channel, deadline)
        else:
            brief = self.deadlines(min(BRIEF_SECONDS, deadline.remaining()))
            is_question = job.kind == JobKind.QUESTION
            result = (self.questions().ask if is_question else self.followup.follow)(job, channel, brief)
        # An API hangs if a request of this chore failed. The ledger may be slow, or many requests use up the time.
        if result.outcome == Outcome.UNSAFE and result.exchange.attempts and self.clock() - began > SLOW_SECONDS:
            self.silent[api] = self.clock() + SILENT_SECONDS
        if result.outcome != Outcome.UNSAFE:
            return result
        return self.failed(result.job or job, result)

    def failed(self, job: Job, result: Result) -> Result:
        """Dead-letter a failed chore if its failure is final, and return the result as `queued`.

        | case | the result's `queue` |
        | --- | --- |
        | The failure is final. | `dead_letter` |
        | A later attempt may succeed. | `retry`: the caller has to put the chore on the chore queue. |
        | The dead-letter queue failed. | None: the result stays `unsafe`, so that the message stays on its queue. |
        """
        if not HANDLING[result.reason or Reason.INTERNAL].is_final:
            return result.queued("retry")
        is_dead_lettered = self.outbox.dead_letter(after_failure(job, result, self.clock()))
        return result.queued("dead_letter") if is_dead_lettered else result


# Time limit of one job: one attempt, the calls to the ledger, and short waits for a rate limit. The fallback topic and
# the queues get a few seconds each after it. The function's time-out is 30 seconds.
JOB_SECONDS = 15.0
FALLBACK_SECONDS = 3.0
# While the ledger is down: shortest time between two notifications of the fallback topic about one channel.
UNGUARDED_NOTICE_SECONDS = 900.0
# Delay of a follow-up. Most workflows have made their page by then.
FOLLOW_SECONDS = 10.0
# Until a further message of a delivered state does what failed after its signal (`Worker._completed`).
INCOMPLETE_SECONDS = 60.0
# A job is worked up to this much before its time.
EARLY_JOB_SECONDS = 1.0

type Record = Mapping[str, Any]


@dataclass(frozen=True)
class Worker:
    """Worker for the jobs of a queue, of all kinds.

    Attributes:
        sweeper: Returns the sweeper, which wakes waiting states after an outage; created at its first use.
        notified: Time of the last notification of the fallback topic by this worker, while the ledger failed (epoch
            seconds), by channel.
    """

    delivery: Delivery
    chores: Chores
    sweeper: "Callable[[], Sweeper]"
    channels: ChannelCache
    sources: Sources
    outbox: Outbox
    fallback: Fallback
    telemetry: Telemetry
    clock: Clock
    random: Callable[[], float]
    deadlines: Deadlines
    notified: dict[str, float] = field(default_factory=dict, init=False)

    def work(self, records: Sequence[Record]) -> list[str]:
        """Work the messages of a queue. Return the ids of those that must stay on it (partial batch failure).

        Raises nothing: a message that stays on the queue is not an error of the function.
        """
        return [str(record["messageId"]) for record in records if not self._handled_or_counted(record)]

    def _handled_or_counted(self, record: Record) -> bool:
        """Work one message. Count it as dead-lettered if it stays after its last receive, since SQS moves it then.

        Without the count, NewDeadLettersAlarm would not go off: the relay itself does not dead-letter this message.
        """
        is_handled = False
        try:
            is_handled = self._worked(read_envelope(record["body"]))
        except UnreadableMessage as error:
            # It stays on its queue until the redrive policy moves it.
            self.telemetry.logger.error("unreadable job", detail=str(error))  # noqa: TRY400 - its frames say nothing
        except Exception as error:  # noqa: BLE001 - a fault in one job must not hide the results of the others
            self.telemetry.crashed(error)
        # Direct invocations by the sweeper have no attributes.
        receives = int(record.get("attributes", {}).get("ApproximateReceiveCount", 1))
        if not is_handled and receives >= MAX_RECEIVES:
            self.telemetry.notice("dead_lettered", f"SQS dead-letters a message after {receives} receives")
        return is_handled

    def _worked(self, job: Job) -> bool:
        now = self.clock()
        deadline = self.deadlines(JOB_SECONDS)
        if job.kind == JobKind.RECOVERY:
            # Never retried: the sweeper wakes what this job leaves.
            self.sweeper().recover(seconds_of(job.received_at))
            return True
        if job.dead_lettered_at is not None and not job.is_revived:
            job = job.revived(now)
        if Flag.BELL in job.flags:
            self.delivery.record_begun_bell(job)
        spent: dict[str, float] = {}
        with times_collected(spent):
            result = self._attempted(job, deadline)
        self.telemetry.worked(job, result, spent)
        if result.notices.without_page:
            self.telemetry.count("page_missing")
            fields = {"channel": job.channel, "incident_id": job.incident_id, "delivery_id": job.delivery_id}
            fields["request_id"] = ", ".join(result.notices.without_page)
            self.telemetry.logger.error(
                "page missing: xMatters accepted a signal and made no page of it", extra=fields | history(job)
            )
        if result.outcome == Outcome.UNSAFE:
            # No queue took its next message, or there was an unexpected exception or an unknown kind of job. After
            # MAX_RECEIVES receives the redrive policy moves it.
            return False
        if job.kind != JobKind.SIGNAL:
            return self._put_back_if_waiting(result.job or job, result)
        is_waiting = result.outcome == Outcome.QUEUED and result.queue == "retry" and result.reason != Reason.PAUSED
        if result.notices.unguarded and is_waiting:
            try:
                self._notify_without_ledger(job, result, deadline)
            except Exception as error:  # noqa: BLE001 - the state's next message is queued already: the old one must go
                self.telemetry.crashed(error)
        return True

    def _attempted(self, job: Job, deadline: Deadline) -> Result:
        if job.kind not in list(JobKind):
            detail = f"this version does not know jobs of kind {job.kind}"
            return _faulty(job, detail, NotImplementedError(detail))
        try:
            channel = self.channels.for_work(job.channel)
            if job.kind != JobKind.SIGNAL:
                return self._do_chore(job, channel, deadline)
            share = parse_share(job.body)
            result = self.delivery.resume(job, share, channel, deadline)
            return self._completed(job, channel, result, deadline, is_over=not is_open(share))
        except ChannelError as error:
            return self._without_channel(job, error, deadline)
        except Exception as error:  # noqa: BLE001 - a fault in one job must not hide the results of the others
            return _faulty(job, type(error).__name__, error)

    def _do_chore(self, job: Job, channel: Channel, deadline: Deadline) -> Result:
        """Do a chore; once more if a vendor refused a credential, and the channel's secret has another one by now."""
        own_wait = self._own_wait(job, channel.policy)
        result = self.chores.do(job, channel, deadline, own_wait=own_wait)
        if own_wait or result.reason != Reason.CREDENTIALS:
            return result
        renewed = self.channels.refresh(job.channel)
        is_same = (renewed.rest, renewed.bigpanda) == (channel.rest, channel.bigpanda)
        return result if is_same else self.chores.do(result.job or job, renewed, deadline, own_wait=None)

    def _completed(self, job: Job, channel: Channel, result: Result, deadline: Deadline, *, is_over: bool) -> Result:
        """Record the URL's recipients of an announced state, queue its follow-up, and return the result.

        `is_over` is True for a resolve. If the table or the queue fails, a further message of the state is queued, so
        that a worker tries both again. The message that is queued to record an unrecorded signal serves for this, too.
        """
        # The function that took the share may have failed to record them.
        is_announced = result.outcome in {Outcome.DELIVERED, Outcome.DUPLICATE}
        is_recorded = not is_announced or self.sources.record_recipients(
            channel, job.incident_id, job.url_recipients, deadline
        )
        has_followups = channel.rest is not None or channel.asks_about_answers
        is_followed = not has_followups or self._follow(job, result, is_over=is_over)
        if is_recorded and is_followed:
            return result
        again = job.without_flags(Flag.BELL)
        is_unrecorded = result.job is not None and result.job.accepted is not None
        if result.outcome == Outcome.DELIVERED and (
            is_unrecorded or self.outbox.enqueue(again, until=self.clock() + INCOMPLETE_SECONDS)
        ):
            return result
        missing = "a follow-up: no queue accepted it" if is_recorded else "a record of the URL's recipients"
        return replace(result, outcome=Outcome.UNSAFE, detail=f"{result.outcome}, without {missing}")

    def _follow(self, job: Job, result: Result, *, is_over: bool) -> bool:
        """Queue a follow-up job for a signal that needs one. Return False if no queue accepts it."""
        now, outcome = self.clock(), result.outcome
        if outcome not in {Outcome.DELIVERED, Outcome.DUPLICATE, Outcome.SUPERSEDED}:
            return True
        # A resolve's workflow makes no page that is to be found, and the pages of the incident end at once.
        delay = FOLLOW_SECONDS if outcome == Outcome.DELIVERED and not is_over else 0.0
        is_queued = self.outbox.enqueue(followup_job(result.job or job, now), until=now + delay)
        # The newer state's message follows up all signals of the incident, but may wake later.
        return is_queued or outcome == Outcome.SUPERSEDED

    def _without_channel(self, job: Job, error: ChannelError, deadline: Deadline) -> Result:
        """Return the result of a job whose channel was removed (dead-lettered), or can't be read (a wait)."""
        now = self.clock()
        result = Result.unsafe(job, error.reason, f"{type(error).__name__}: {error}")
        if HANDLING[error.reason].is_final:
            return self._dead_lettered(job, result, deadline)
        # With the longest possible age limit, since the channel's own limit is unknown.
        own_wait = self._own_wait(job, Policy(max_age_seconds=MOST_AGE_SECONDS))
        if own_wait and HANDLING[own_wait.reason].is_final:
            return self._dead_lettered(job, replace(result, reason=own_wait.reason), deadline)
        if job.kind != JobKind.SIGNAL:
            return self.chores.failed(job, replace(result, until=own_wait.until if own_wait else None))
        # Only signals have debts in the ledger, whose rows move with the wait.
        is_critical = _is_critical(job)
        age = now - job.age_counts_from
        wait = wait_seconds(error.reason, age, None, self.random(), is_critical=is_critical)
        again = after_failure(job, result, now).without_flags(Flag.BELL)
        # Also if the queue fails: the channel is what failed, and no worker died.
        self.delivery.postpone(job, now + wait)
        if not self.outbox.enqueue(again, until=now + wait):
            return result
        return replace(result.queued("retry"), until=now + wait, job=again)

    def _dead_lettered(self, job: Job, result: Result, deadline: Deadline) -> Result:
        """Dead-letter a job whose channel was removed, or that expired while its channel can't be read.

        A follow-up of a removed channel is dropped, since it needs the channel's credentials. A signal is dead-lettered
        only if the ledger says that it is owed.
        """
        if job.kind == JobKind.FOLLOWUP and result.reason == Reason.CHANNEL_REMOVED:
            return replace(result, outcome=Outcome.UNCHANGED, reason=None)
        if job.kind == JobKind.SIGNAL:
            share, gone = parse_share(job.body), removed(job.channel)
            return self.delivery.resume(job, share, gone, deadline, final_failure=result)
        return self.chores.failed(job, result)

    def _own_wait(self, job: Job, policy: Policy) -> Wait | None:
        """Return a chore's wait until its next attempt, or one with the reason `expired`; None to attempt it now."""
        now = self.clock()
        # The policy's age limit is for signals. Chores get at least the default limit. A follow-up counts its age from
        # the time at which it runs next.
        if now - job.age_counts_from > max(policy.max_age_seconds, Policy().max_age_seconds):
            return Wait(Reason.EXPIRED, now)
        not_before = seconds_of(job.not_before) if job.not_before else 0.0
        # A newer version of this code, before a roll-back, may have had other reasons.
        reason = Reason(job.stamps.reason) if job.stamps.reason in Reason else Reason.INTERNAL
        return Wait(reason, not_before) if not_before > now + EARLY_JOB_SECONDS else None

    def _put_back_if_waiting(self, job: Job, result: Result) -> bool:
        """Put a chore back on its queue if it has to wait. Return True if its old message may be deleted."""
        if result.queue != "retry":
            return True
        again = self._again(job, result)
        return self.outbox.enqueue(again, until=seconds_of(again.not_before or again.received_at))

    def _again(self, job: Job, result: Result) -> Job:
        now = self.clock()
        reason = result.reason or Reason.INTERNAL
        if result.until is not None:
            return job.waiting(reason, result.until)
        wait = wait_seconds(reason, now - job.age_counts_from, result.exchange.retry_after, self.random())
        return after_failure(job, result, now).waiting(reason, now + wait)

    def _notify_without_ledger(self, job: Job, result: Result, deadline: Deadline) -> None:
        """Notify the fallback topic of an overdue critical while the ledger is down, since the sweeper can't see it.

        The policy's `fallback_after_seconds` count from the ledger's first failure for this job, or from the end of a
        later pause. Nothing is notified in shadow mode, or of a canary.
        """
        down_since = (result.job or job).ledger_down_since
        if job.accepted or down_since is None or not _is_critical(job):
            return
        now, policy = self.clock(), Policy()
        with suppress(ChannelError):
            policy = self.channels.get(job.channel).policy
        delay_start = max([seconds_of(down_since), *_pause_ends(job, policy, now)])
        is_told = policy.mode is not Mode.SHADOW and not job.incident_id.startswith(CANARY_PREFIX)
        is_due = is_told and now - delay_start >= policy.fallback_after_seconds
        if not is_due or self.notified.get(job.channel, 0.0) > now - UNGUARDED_NOTICE_SECONDS:
            return
        notify = partial(self.fallback.notify, job.channel, [OverdueDebt.of_job(job)])
        try:
            is_notified = deadline.run(notify, part="fallback", at_least=FALLBACK_SECONDS, at_most=FALLBACK_SECONDS)
        except TimeoutError:
            is_notified = False
        if is_notified:
            self.notified[job.channel] = now
        self.telemetry.notified(job.channel, [job.incident_id], is_notified=is_notified)


def _pause_ends(job: Job, policy: Policy, now: float) -> list[float]:
    """Return the ends of a job's pauses that have begun by `now` (epoch seconds). The job's body is a share."""
    if not policy.pauses:
        return []
    # Imported here, since most channels have no pause: this keeps the import out of cold starts.
    from relay.channels.routes import pauses_for  # noqa: PLC0415

    found = pauses_for(parse_share(job.body), policy.pauses, is_open=True)
    return [each.until for each in found if each.since <= now]


def _is_critical(job: Job) -> bool:
    """True if the incident in a job's body is open and critical. Raises BadRequest if the body is no share."""
    return State.of(parse_share(job.body), seconds_of(job.received_at)).is_critical


def _faulty(job: Job, detail: str, fault: BaseException) -> Result:
    result = Result.unsafe(job, Reason.INTERNAL, detail)
    return replace(result, notices=replace(result.notices, fault=fault))
