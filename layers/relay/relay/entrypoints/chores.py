"""Worker for chores: follow-ups of signals, questions about ends, write-backs of callbacks, and releases of updates.

BigPanda withholds an incident's updates until a release reports its first share as received. Each chore calls the API
of a vendor, and may be retried for hours.
"""

from collections.abc import Callable
from copy import replace
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from relay.channels.channel import Channel
from relay.deadline import Deadline
from relay.delivery.page_followup import Followup
from relay.failures import HANDLING, Reason
from relay.jobs.job import Job, JobKind
from relay.jobs.outcome import Outcome, Result, after_failure
from relay.jobs.queue import Outbox
from relay.ledger.debt import Wait

if TYPE_CHECKING:
    from relay.bigpanda.writeback import Writeback
    from relay.delivery.end_questions import EndQuestions

# Time limit of a follow-up or a question. It is short, so that they delay no other chores; unfinished work is retried.
BRIEF_SECONDS = 5.0
# After a failed call that took at least SLOW_SECONDS, the function does not call that API of the channel for
# SILENT_SECONDS. So an API that hangs does not take all workers from the chores of other channels. A circuit breaker in
# the table would cost a write for each chore.
SLOW_SECONDS, SILENT_SECONDS = 3.0, 30.0


@dataclass(frozen=True)
class Chores:
    """Worker for chores: all jobs but signals and recoveries.

    Attributes:
        followup: Follow-up of signals.
        questions: Returns the object that asks BigPanda if incidents are over, created at its first use.
        writeback: Returns the write-back of callbacks, created at its first use.
        outbox: The queues of jobs.
        clock: The time in epoch seconds.
        deadlines: Returns a deadline of a number of seconds.
        silent: End of the time in which an API that hung is not called (epoch seconds), by channel and vendor.
    """

    followup: Followup
    questions: "Callable[[], EndQuestions]"
    writeback: "Callable[[], Writeback]"
    outbox: Outbox
    clock: Callable[[], float]
    deadlines: Callable[[float], Deadline]
    silent: dict[tuple[str, str], float] = field(default_factory=dict, init=False)

    def do(self, job: Job, channel: Channel, deadline: Deadline, *, own_wait: Wait | None) -> Result:
        """Do a chore: follow up a signal, write a callback into BigPanda, or make BigPanda release updates.

        `own_wait` is a wait that the worker found in the job: its next attempt is not due yet, or the job expired. None
        if the chore may be done now. A chore also waits if the vendor's API hung a moment ago. If the chore has to wait
        or was dead-lettered, the result names its queue.
        """
        api = (job.channel, "xmatters" if job.kind == JobKind.FOLLOWUP else "bigpanda")
        began, silent_until = self.clock(), self.silent.get(api, 0.0)
        if own_wait is None and silent_until > began:
            own_wait = Wait(Reason.CIRCUIT_OPEN, silent_until)
        if own_wait:
            result = replace(
                Result.unsafe(job, own_wait.reason, "not attempted: it waits or expired"), until=own_wait.until
            )
        elif job.kind == JobKind.WRITEBACK:
            result = self.writeback().write(job, channel, deadline)
        elif job.kind == JobKind.RELEASE:
            result = self.writeback().release(job, channel, deadline)
        else:
            brief = self.deadlines(min(BRIEF_SECONDS, deadline.remaining()))
            is_question = job.kind == JobKind.QUESTION
            result = (self.questions().ask if is_question else self.followup.follow)(job, channel, brief)
        if result.outcome == Outcome.UNSAFE and self.clock() - began > SLOW_SECONDS:
            self.silent[api] = self.clock() + SILENT_SECONDS
        if result.outcome != Outcome.UNSAFE:
            return result
        return self.failed(job, result)

    def failed(self, job: Job, result: Result) -> Result:
        """Return the result of a failed chore. Dead-letter the chore if its failure is final.

        The outcome in the result is `queued`. The queue in the result is `dead_letter` if the chore was dead-lettered.
        Else it is `retry`, and the caller has to put the chore back on the chore queue.
        """
        waiting = result.queued("retry")
        if not HANDLING[result.reason or Reason.INTERNAL].is_final:
            return waiting
        is_dead_lettered = self.outbox.dead_letter(after_failure(job, result, self.clock()))
        return result.queued("dead_letter") if is_dead_lettered else replace(waiting, until=None)
