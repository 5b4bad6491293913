"""A state on its way to xMatters: the job that carries it, what the ledger compares, and how far it got."""

from copy import replace
from typing import NamedTuple

from relay.channel import Channel
from relay.errors import HANDLING, Reason
from relay.ledger import Entry, key, named
from relay.message import Job, seconds_of, timestamp
from relay.outcome import Outcome, Result
from relay.owed import Judgement, Standing, judge_job, judge_share
from relay.pace import Closed, Rule, Slot
from relay.sending import Sent
from relay.transition import State

NOT_JUDGED = Judgement(Standing.OWED)


def entry_of(job: Job) -> str:
    """The key of the entry of a job's incident.

    Whom the channel rings may change while an incident is open; it stays the same incident.
    """
    names = job.recipients if job.url_recipients is None else job.url_recipients
    return key(job.channel, names, job.incident_id)


class Task(NamedTuple):
    """A state to announce.

    `owner` names its sender. `is_live` says that BigPanda waits for an answer; `is_queued` that the job is on the retry
    queue, `is_turned_away` that the queue did not take it. `hold` says why it must not be sent although it may be owed;
    `slot` is what the pace set aside for it just now. `environment_id` is where BigPanda has the incident;
    `is_first` says that the ledger knew nothing of it before; `is_stamped` that BigPanda's time stamps order it.
    """

    job: Job
    state: State
    channel: Channel
    owner: str
    is_live: bool = False
    is_queued: bool = False
    is_turned_away: bool = False
    hold: Closed | None = None
    slot: Slot | None = None
    judgement: Judgement = NOT_JUDGED
    environment_id: str | None = None
    is_first: bool = False
    is_stamped: bool = True

    @property
    def name(self) -> str:
        """The key of its entry in the ledger."""
        return entry_of(self.job)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The gates it has to pass; the first is the channel's circuit, too."""
        policy = self.channel.policy
        channel = Rule(f"gate/{self.job.channel}", policy.max_per_minute)
        if policy.max_per_minute_per_recipients is None:
            return (channel,)
        people = Rule(f"gate/{self.job.channel}/{named(self.job.recipients)}", policy.max_per_minute_per_recipients)
        return (channel, people)

    @property
    def is_given_up(self) -> bool:
        """True if it must not be signalled any more, but is dead-lettered if it is owed."""
        return self.hold is not None and HANDLING[self.hold.reason].is_final

    def is_to_revive(self, entry: Entry) -> bool:
        """True if the job came back from the dead-letter queue, and the entry does not know it yet."""
        return self.job.mark is not None and self.job.is_revived and self.job.mark > entry.revived_at

    def judged(self, entry: Entry) -> "Task":
        """The task with what the ledger says of its state."""
        notify_on = self.channel.policy.notify_on
        state = self._after(entry)
        if self.is_live:
            judgement = judge_share(entry, state, notify_on, is_stamped=self.is_stamped)
        else:
            judgement = judge_job(entry, state, notify_on, mark=self.job.mark)
        job = replace(
            self.job,
            transition=judgement.change.transition if judgement.change else self.job.transition,
            version=state.version,
            digest=state.digest,
            attempts=max(self.job.attempts, entry.asked if state.is_same(entry.kept) else 0),
            received_at=timestamp(state.came),
        )
        is_first = self.is_first or entry.sequence == 0
        task = replace(self, state=state, judgement=judgement, job=job, is_first=is_first)
        return task._revived_by(entry)

    def _revived_by(self, entry: Entry) -> "Task":
        """The task of a state that another message revived already: its age counts from that revival."""
        at = entry.revived_at
        if not at or not self.state.is_of_same_share(entry.kept) or self.is_to_revive(entry):
            return self
        task = replace(self, job=replace(self.job, revived_at=timestamp(at)))
        hold = self.hold
        if hold and hold.reason == Reason.EXPIRED and hold.until - at <= self.channel.policy.max_age_seconds:
            # A leftover message, maybe of an earlier revival: its own age is not that of the revived state.
            return replace(task, hold=None)
        return task

    def _after(self, entry: Entry) -> State:
        """Its state, which comes after all that is kept already, whatever the clocks of those who noted it said.

        Without time stamps it takes those of what is kept: what is older than that must not pass for newer than this.
        But no share with these time stamps is a copy of it. Once its job is kept, the job tells all of that.
        """
        kept = entry.kept
        if not self.is_live or self.is_queued or kept is None:
            return self.state
        state = replace(self.state, came=max(self.state.came, seconds_of(timestamp(kept.came + 0.001))))
        if self.is_stamped or kept.version is None:
            return state
        return state.dated_by(kept)

    def without_ledger(self, now: float) -> "Task":
        """The task, now that the ledger failed; its job remembers since when."""
        return replace(self, job=replace(self.job, ledger_down_since=self.job.ledger_down_since or timestamp(now)))

    def with_ledger(self) -> "Task":
        """The task, now that the ledger took a change of its entry."""
        return replace(self, job=replace(self.job, ledger_down_since=None))

    def result(self, outcome: Outcome) -> Result:
        """What became of it."""
        change = self.judgement.change
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
        """What became of it when xMatters accepted it."""
        return replace(self.result(Outcome.DELIVERED), attempts=sent.attempts, request_id=sent.request_id)

    def failed(self, sent: Sent) -> Result:
        """What became of it when xMatters did not accept it, before it is known where it rests."""
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
