"""Questions to BigPanda after a resolve came: is the incident really over?

Anyone who has the webhook's token can forge a resolve. So a channel that has an API key asks BigPanda first, and acts
on the resolve only then. It asks after 3, 15 and 60 s, and then every one to five minutes.

| BigPanda's answer | what follows |
| --- | --- |
| over | the incident is over: its end is announced, and its pages end |
| open, a minute or more after the resolve came | the resolve is refuted: the incident stays as it is |
| open within that minute, or an end older than the newest share | asked again: BigPanda's API may lag its webhook |
| none for ten minutes or more | as "over", by the resolve's own body; counted, and an alarm goes off |

No answer is: a time-out, a 5xx, a 401, a 403, or a 404 from every environment. A question that a rate limit delays is
asked later, and does not count as one without an answer.
"""

import json
from collections.abc import Callable
from copy import replace
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from relay.channels.channel import BigPandaAccess, Channel
from relay.channels.kept_facts import facts_to_keep, with_facts
from relay.channels.policy import Mode
from relay.deadline import Clock, Deadline
from relay.delivery.delivery import planned_row, store_job
from relay.delivery.task import Task, entry_key_of, state_of
from relay.failures import LedgerError, Reason, SendError
from relay.incidents.share import Share, State, is_open, parse_share
from relay.jobs.job import Flag, Job, new_job, timestamp
from relay.jobs.queue import FIRST_QUESTION_SECONDS, Outbox
from relay.jobs.result import Notices, Outcome, Result
from relay.ledger.entry import CLAIM_SECONDS, End, Entry
from relay.ledger.table import Ledger

if TYPE_CHECKING:
    from relay.bigpanda.listing import Lister

# Times of the first questions, in seconds after the resolve. A later one waits for as long as has passed since the last
# resolve, from LATER_SECONDS to SELDOM_SECONDS.
QUESTIONS_SECONDS = (FIRST_QUESTION_SECONDS, 15.0, 60.0)
LATER_SECONDS, SELDOM_SECONDS = 60.0, 300.0
# A first question for which the rate limit had no room is asked again after this time.
FIRST_AGAIN_SECONDS = 5.0
# After so long without an answer, the resolve is believed.
UNREACHABLE_SECONDS = 600.0
# The claim is written within this time of its question, in spite of the webhook's deadline and of conflicts.
WRITTEN_SECONDS = 15.0
# A question that is older than the claim by more than two clocks differ is about an earlier claim.
EARLIER_CLAIM_SECONDS = 5.0
_PACE = {Reason.PACED, Reason.RATE_LIMITED}


class _Answer(NamedTuple):
    """BigPanda's answer to a question.

    Attributes:
        share: The incident as BigPanda has it; None without an answer.
        is_paced: True if a rate limit left no room for the whole question.
    """

    share: Share | None
    calls: int
    is_paced: bool = False


class _Question(NamedTuple):
    """A question that is being asked. A share that came after `asked_at` (epoch seconds) is newer than the answer."""

    job: Job
    entry: Entry
    channel: Channel
    deadline: Deadline
    asked_at: float

    @property
    def key(self) -> str:
        return entry_key_of(self.job)


@dataclass(frozen=True)
class ResolveQuestions:
    """Asks BigPanda if incidents are really over after a resolve came (a "claimed" end), and acts on the answers."""

    lister: "Lister"
    ledger: Ledger
    outbox: Outbox
    clock: Clock

    def ask(self, job: Job, channel: Channel, deadline: Deadline) -> Result:
        """Ask BigPanda if the resolve of a `question` job is true, and record the answer. If it is, queue its signal.

        The result is `queued` if the job has to run again, `duplicate` if nothing is left to ask, and `unsafe` if the
        ledger fails. Its notice `end` is `refuted` if BigPanda denies the resolve. The notice is `unreachable` if the
        resolve is believed since BigPanda left the question unanswered for too long. Otherwise `end` is None.
        """
        try:
            entry, now = self.ledger.read(entry_key_of(job)), self.clock()
            if not entry.end.is_claimed or job.age_counts_from < entry.end.claimed_at - EARLIER_CLAIM_SECONDS:
                return _unclaimed(job, entry, now)
            question = _Question(job, entry, channel, deadline, now)
            if not channel.asks_about_ends or channel.bigpanda is None:
                return self._believed(question)
            answer = self._answer(channel.bigpanda, question)
            question = question._replace(job=_asked(job, answer.calls, self.clock()))
            if answer.share is None:
                return self._unanswered(question, is_paced=answer.is_paced)
            if is_open(answer.share):
                return self._open(question)
            if _is_behind(answer.share, entry, now):
                return _waiting(question.job, _next_question(entry.end, now))
            # Routes or pauses may be new, and ask for what no share before was asked.
            facts = {**facts_to_keep(channel, parse_share(job.body)), **entry.about.facts}
            return self._over(question, with_facts(answer.share, facts))
        except LedgerError as error:
            return Result.unsafe(job, Reason.INTERNAL, str(error))

    def _answer(self, access: BigPandaAccess, question: _Question) -> _Answer:
        """Ask BigPanda in the environment that the entry names, then in the channel's others. Raises LedgerError.

        The first call about a claim needs no room under the rate limit of repeated calls.
        """
        own, job = access.allowed_environment(question.entry.about.environment_id), question.job
        environment_ids = list(dict.fromkeys(filter(None, (own, *access.environments))))
        if silent_since := question.entry.end.silent_since:
            # The time of one question may be too short for all of them: a later one begins where the last one stopped,
            # or, if a slow last call of each was in vain, at another.
            begin = (job.stamps.attempts + int((question.asked_at - silent_since) // 60)) % len(environment_ids)
            environment_ids = [*environment_ids[begin:], *environment_ids[:begin]]
        # All channels with the same API key share the limit: a flood of invented incidents delays no first call.
        first, calls = Flag.ASKED not in job.flags, 0
        is_known = any(question.entry.maybe_announced()) or question.entry.debt.is_owed
        room = partial(self.lister.rate_limit.take_room_to_repeat, access, is_known=is_known)
        for place, environment_id in enumerate(environment_ids):
            if place == int(first) and not room(len(environment_ids) - place):
                return _Answer(None, calls, is_paced=True)
            try:
                found = self.lister.incident(access, environment_id, job.incident_id, question.deadline)
                calls += 1
            except SendError as error:
                found, calls = None, calls + error.was_sent
                # Time that a slow BigPanda used up is no pace of ours.
                if error.reason in _PACE or (error.reason == Reason.TIMEOUT and not calls):
                    return _Answer(None, calls, is_paced=True)
            if found:
                return _Answer(found, calls)
        return _Answer(None, calls)

    def _unanswered(self, question: _Question, *, is_paced: bool) -> Result:
        """Ask again later; after a long silence believe the resolve, unless the question was delayed (`is_paced`)."""
        now, end, asked_at = self.clock(), question.entry.end, question.asked_at
        if not is_paced and end.silent_since and asked_at - end.silent_since >= UNREACHABLE_SECONDS:
            return self._believed(question, notice="unreachable")
        self._record(question, lambda end: end.silence_reset() if is_paced else end.unanswered(asked_at))
        is_unasked = is_paced and Flag.ASKED not in question.job.flags
        return _waiting(question.job, now + FIRST_AGAIN_SECONDS if is_unasked else _next_question(end, now))

    def _open(self, question: _Question) -> Result:
        asked_at, end, newest = question.asked_at, question.entry.end, question.entry.newest
        after = self._record(question, lambda end: end.answered_open(asked_at))
        # After a share of an open state, the answer says nothing against the resolve before it.
        is_open_again = newest is not None and newest.is_open and question.entry.is_after_claim(newest)
        is_refuted = asked_at - end.claimed_at >= CLAIM_SECONDS and not is_open_again
        result = _waiting(question.job, _next_question(end, self.clock()))
        result = result if after.is_claimed else Result.of_job(question.job, Outcome.DUPLICATE)
        return replace(result, notices=Notices(end="refuted" if is_refuted else None))

    def _record(self, question: _Question, change: Callable[[End], End]) -> End:
        return self.ledger.change(question.key, lambda each: each._replace(end=change(each.end)), question.entry).end

    def _believed(self, question: _Question, *, notice: str | None = None) -> Result:
        """Believe the claimed resolve without BigPanda's answer. If a newer state is known, only end the claim."""
        newest = question.entry.newest
        if newest and question.entry.is_after_claim(newest):
            self._record(question, lambda end: End(end.at) if end == question.entry.end else end)
            return Result.of_job(question.job, Outcome.DUPLICATE)
        return self._over(question, parse_share(question.job.body), notice=notice)

    def _over(self, question: _Question, share: Share, *, notice: str | None = None) -> Result:
        """Record that an incident is over, and queue the signal of that. Raises LedgerError.

        If the entry changed since it was read, nothing is recorded, and BigPanda is asked again.
        """
        job, entry, channel, deadline, _ = question
        now, signal = self.clock(), _signal_job(question, share).planned(entry.debt.plan + 1)
        task = Task.of(channel, share, signal, state_of(signal, share), deadline)
        if channel.policy.mode is Mode.SHADOW:
            self.ledger.change(
                question.key, lambda each: each.unchanged(task.state) if each.newest == entry.newest else each, entry
            )
            return Result.of_job(job, Outcome.DUPLICATE)
        store_job(self.ledger, signal.stored_name, task, now)
        row = planned_row(task, now, now)

        def over(each: Entry) -> Entry:
            # By another function's clock, an open state may be later than the question: BigPanda is asked again.
            if each.newest != entry.newest or not each.end.is_claimed or task.state.precedes(each.newest):
                return each
            # A resolve that came meanwhile stays claimed if it is newer.
            owed = each.owing_by_row(task.state, row, signal.plan)
            # A pause that began after the resolve came does not leave its signal out.
            since = owed.debt.earliest_since(each.end.last_claimed_at) if owed.debt.is_owed else None
            return replace(owed, debt=replace(owed.debt, since=since))

        if not task.state.is_same(self.ledger.change(question.key, over, entry).newest):
            return _waiting(job, now + FIRST_AGAIN_SECONDS)
        # If the queue fails, the sweeper queues the signal. The question wakes again for resolves that came meanwhile.
        self.outbox.enqueue(signal, until=now)
        return replace(_waiting(job, now + LATER_SECONDS), notices=Notices(end=notice))


def _is_behind(share: Share, entry: Entry, now: float) -> bool:
    """True if BigPanda's API shows an end that is older than an open state from a webhook of the last minute."""
    newest = entry.newest
    if newest is None or not newest.is_open or now - newest.came >= CLAIM_SECONDS:
        return False
    version = share.trusted_version(now)
    if newest.version is None or newest.has_borrowed_version or version is None:
        return entry.is_after_claim(newest)
    if version == newest.version:
        # Whole seconds: of two states within one, the later to arrive is newer.
        return newest.came > entry.end.claimed_at
    return version < newest.version


def _unclaimed(job: Job, entry: Entry, now: float) -> Result:
    """Return the result of a question without a claim: `queued` while the claim may still come, else `duplicate`."""
    written_by = job.age_counts_from + WRITTEN_SECONDS
    is_early = Flag.ASKED not in job.flags and not entry.end.is_claimed and now < written_by
    return _waiting(job, written_by) if is_early else Result.of_job(job, Outcome.DUPLICATE)


def _signal_job(question: _Question, share: Share) -> Job:
    """Return the job that signals the end of an incident, which `share` shows as of the time of the question."""
    entry, url_recipients = question.entry, question.job.url_recipients
    body, trail = json.dumps(share.document).encode(), f"over-{share.incident_id}"[:100]
    made = new_job(question.channel, share, State.of(share, question.asked_at), body, url_recipients, trail)
    # BigPanda's own timestamps may be older than those of the claim. With the latest, a late copy of an older share
    # stays older.
    own = made.version
    version = max(filter(None, (entry.newest.version if entry.newest else None, entry.end.version, own)), default=None)
    is_borrowed = version is not None and version != own
    flags = {Flag.FOUND, Flag.BORROWED_VERSION} if is_borrowed else {Flag.FOUND}
    return replace(made, version=version, flags=frozenset(flags))


def _next_question(end: End, now: float) -> float:
    """Return the time of the next question about a claim that BigPanda has not settled by `now` (epoch seconds)."""
    times = (end.claimed_at + seconds for seconds in QUESTIONS_SECONDS)
    later = now + min(max(now - end.last_claimed_at, LATER_SECONDS), SELDOM_SECONDS)
    return next((time for time in times if time > now + 1), later)


def _asked(job: Job, calls: int, now: float) -> Job:
    asked = replace(job.after_attempts(calls), revived_at=timestamp(now))
    return asked.with_flags(Flag.ASKED) if calls else asked


def _waiting(job: Job, until: float) -> Result:
    return Result.of_job(job, Outcome.QUEUED).waiting(Reason.CLAIMED, until)
