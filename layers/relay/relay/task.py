"""A state on its way to xMatters: the job that carries it, what the ledger compares, and how far it got."""

from dataclasses import dataclass, replace

from relay.channel import Channel
from relay.ledger import Entry, key
from relay.message import Job, seconds_of, timestamp
from relay.outcome import Outcome, Owed, Result
from relay.owed import Judgement, Standing, judge_job, judge_share
from relay.pace import Closed, Rule, Slot
from relay.sending import Sent
from relay.transition import State

NOT_JUDGED = Judgement(Standing.OWED)


@dataclass(frozen=True)
class Task:
    """A state to announce.

    `owner` names its sender. `is_live` says that BigPanda waits for an answer; `is_queued` that the job is on the retry
    queue, `is_turned_away` that the queue did not take it; `is_replayed` that an operator holds it, and puts it back
    himself. `hold` says why it must not be sent although it may be owed; `slot`
    is what the pace set aside for it just now.
    """

    job: Job
    state: State
    channel: Channel
    owner: str
    is_live: bool = False
    is_queued: bool = False
    is_replayed: bool = False
    is_turned_away: bool = False
    hold: Closed | None = None
    slot: Slot | None = None
    judgement: Judgement = NOT_JUDGED

    @property
    def name(self) -> str:
        """The key of its entry in the ledger."""
        return key(self.job.channel, self.job.recipients, self.job.incident_id)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The gates it has to pass; the first is the channel's circuit, too."""
        policy = self.channel.policy
        channel = Rule(f"gate/{self.job.channel}", policy.max_per_minute)
        if policy.max_per_minute_per_recipients is None:
            return (channel,)
        people = self.name.split("/")[2]
        return (channel, Rule(f"gate/{self.job.channel}/{people}", policy.max_per_minute_per_recipients))

    @property
    def is_meant(self) -> bool:
        """Whether an operator wants it to be tried, whatever its age, and wherever it rested."""
        return self.is_replayed or self.job.revived_at is not None

    @property
    def can_wait(self) -> bool:
        """Whether something holds it; what nothing holds is sent now or never."""
        return self.is_queued or self.is_replayed

    def judged(self, entry: Entry) -> "Task":
        """The task with what the ledger says of its state."""
        notify_on = self.channel.policy.notify_on
        state = self._after(entry)
        if self.is_live:
            judgement = judge_share(entry, state, notify_on)
        else:
            judgement = judge_job(entry, state, notify_on, replayed=self.is_meant)
        job = replace(
            self.job,
            transition=judgement.change.transition if judgement.change else self.job.transition,
            attempts=max(self.job.attempts, entry.asked if state.is_same(entry.kept) else 0),
            received_at=timestamp(state.came),
            ledger_down_since=None,
        )
        return replace(self, state=state, judgement=judgement, job=job)

    def _after(self, entry: Entry) -> State:
        """Its state, which comes after all that is kept already, whatever the clocks of those who noted it said.

        Once its job is kept, the job tells when it came.
        """
        if not self.is_live or self.is_queued or entry.kept is None or self.state.came > entry.kept.came:
            return self.state
        return replace(self.state, came=seconds_of(timestamp(entry.kept.came + 0.001)))

    def owed(self, entry: Entry) -> Owed:
        """That it is owed still, as the entry tells."""
        return Owed(entry.owed_since or self.state.came, self.state.is_critical, entry.told)

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
