"""The path of a state to xMatters: read, keep, claim, send, record.

Read: the ledger says whether the state is owed. Keep: the job is put on the retry queue, to wake when its sender must
be done. Claim: one sender an incident. Send. Record: what was announced. From "keep" on a crash anywhere loses
nothing, for the job wakes and asks the ledger what is still owed. When the ledger fails, the signal is sent all the
same: to lose the order is better than to lose the page.
"""

from collections.abc import Callable
from contextlib import suppress
from copy import replace
from dataclasses import dataclass

from relay import incident
from relay.channel import Channel
from relay.deadline import Deadline
from relay.errors import AMBIGUOUS_REST_SECONDS, HANDLING, LedgerError, Reason
from relay.fields import MAX_ID_LENGTH
from relay.guard import Guard
from relay.incident import Share
from relay.keeping import Keeper, last_copy, new_job, storable
from relay.ledger import LEASE_SECONDS, Audience, Entry, Lease
from relay.message import Job, seconds_of, timestamp
from relay.outcome import Outcome, Result, after_failure
from relay.owed import Standing, earliest, room_for_rings
from relay.pace import Closed, Ticket
from relay.queues import MAX_DELAY_SECONDS
from relay.rows import WORDS, Row
from relay.schedule import wait_seconds
from relay.sending import MAX_TRIES, Sender, Sent
from relay.task import Task, entry_of
from relay.transition import State, Transition, compare
from relay.xmatters import Signal

# Of the time that somebody waits for, so much is kept back for the record and the queue.
RESERVE_SECONDS = 3.0
# A kept job sleeps until its sender's lease is surely over, and a time-out of the sender's is 30 s ago.
KEEP_SECONDS = 36.0
MAX_ROUNDS = 6
SHORTEST_SEND_SECONDS = 1.0
# A debt whose message did not come so long after its time gets a new one from the sweeper.
OVERDUE_SECONDS = 180.0
# A row that would be overdue sooner than this after its job wakes again is written anew; else it may stay as it is.
RENEWED_SECONDS = 60.0
# Stored jobs outlive the debt, so that an operator finds them.
STORED_SECONDS = 2 * 24 * 3600.0
# A job that wakes when it was told to must not find that it is a moment too early.
RESTS_LESS_SECONDS = 2.0
# A job whose turn is so near is waited for, rather than sent once more through the queue.
PATIENCE_SECONDS = 5.0
# What the dead-letter queue did not take is offered to it again.
DEAD_LETTER_AGAIN_SECONDS = 60.0
# A job is safe on its queue: it waits so long for a ledger that is down before it is sent without it.
UNGUARDED_AFTER_SECONDS = 300.0
UNGUARDED_WAIT_SECONDS = 30.0
# The ledger is told as soon as it can be of what was sent without it: the resolve must not come before.
CATCH_UP_SECONDS = 5.0
MAX_CATCH_UP_SECONDS = 300.0

_RINGS_ALL = frozenset({Transition.OPENED, Transition.WORSENED, Transition.REOPENED})
_SETTLED = {
    Standing.DUPLICATE: Outcome.DUPLICATE,
    Standing.SUPERSEDED: Outcome.SUPERSEDED,
    Standing.UNCHANGED: Outcome.UNCHANGED,
}


@dataclass(frozen=True)
class Delivery:
    """Announces states. `clock` gives epoch seconds, `owner` a name that no other sender has."""

    sender: Sender
    guard: Guard
    keeper: Keeper
    clock: Callable[[], float]
    sleep: Callable[[float], object]
    owner: Callable[[], str]

    def relay(
        self,
        channel: Channel,
        share: Share,
        body: bytes,
        *,
        recipients: tuple[str, ...],
        correlation_id: str,
        deadline: Deadline,
    ) -> Result:
        """Announce what a share changes, if that is owed; else, and until then, keep it on a queue.

        `body` is what BigPanda sent and what xMatters gets, byte for byte; `recipients` are the webhook URL's, which
        join the channel's own. The result is `unsafe` only when xMatters and both queues failed.
        """
        job = new_job(channel, share, body, recipients, correlation_id, self.clock())
        state = replace(State.of(share, seconds_of(job.received_at)), version=job.version)
        task = Task(
            job,
            state,
            channel,
            self.owner(),
            is_live=True,
            environment_id=share.environment_id,
            is_stamped=job.version is not None,
        )
        return self._announce(task, deadline)

    def resume(self, job: Job, share: Share, channel: Channel, deadline: Deadline, *, hold: Closed | None) -> Result:
        """Announce the state of a job that woke up, if that is still owed, and nothing holds it.

        `queued` on `retry` leaves it to the caller to let the job wait; `queued` on `dead_letter` means that it is
        there.
        """
        state = State.of(share, seconds_of(job.received_at))
        state = replace(state, version=job.version, digest=job.digest or state.digest)
        state = replace(state, alerts=frozenset()) if job.found else state
        task = Task(
            job,
            state,
            channel,
            self.owner(),
            is_queued=True,
            hold=hold,
            environment_id=share.environment_id,
        )
        if job.accepted:
            return self._catch_up(task, deadline)
        return self._announce(task, deadline)

    def begun(self, job: Job, deadline: Deadline) -> None:
        """Count that a worker began a job that the sweeper sent, unless a newer state has taken its debt over."""

        def change(entry: Entry) -> Entry:
            return entry.begun(job.healed) if entry.row_job == job.stored_name else entry

        self.guard.record(entry_of(job), None, change, deadline)

    def postpone(self, job: Job, until: float, deadline: Deadline) -> None:
        """Note in the row of a job's debt that the job waits until a time, in epoch seconds."""
        self.guard.record(entry_of(job), None, lambda entry: entry.postponed(until + OVERDUE_SECONDS), deadline)

    def _announce(self, task: Task, deadline: Deadline) -> Result:
        try:
            for _ in range(MAX_ROUNDS):
                entry = self.guard.read(task.name, deadline)
                task = task.judged(entry)
                if task.judgement.standing != Standing.OWED:
                    result = self._settle(task, entry, deadline)
                elif task.is_to_revive(entry):
                    result = None
                    self._revive(task, entry, deadline)
                else:
                    task, result = self._pursue(task, entry, deadline)
                if result:
                    lost = "the entry could not be read, and was begun anew"
                    return replace(result, unguarded=lost) if entry.is_unreadable else result
        except LedgerError as error:
            return self._without_ledger(task, str(error), deadline)
        # Others, then, are announcing this incident.
        later = Closed(Reason.IN_FLIGHT, self.clock() + KEEP_SECONDS)
        return self._put_off(task, later, "the entry was changed each time it was read", deadline)

    def _revive(self, task: Task, entry: Entry, deadline: Deadline) -> None:
        """Note that a dead-lettered state is owed again, before it is announced or waits. Raises LedgerError."""
        self.guard.write(
            task.name,
            entry,
            entry.reviving(task.state, seconds_of(task.job.revived_at or task.job.received_at)),
            deadline,
        )

    def _settle(self, task: Task, entry: Entry, deadline: Deadline) -> Result | None:
        """Note the version of what changes nothing; None when the ledger was changed meanwhile."""
        standing = task.judgement.standing
        if standing == Standing.DEAD_LETTERED:
            return replace(task.result(Outcome.QUEUED), queue="dead_letter")
        after = entry.unchanged(task.state)
        nothing_to_note = standing != Standing.UNCHANGED or (task.state.is_same(entry.kept) and not entry.owed_since)
        if standing == Standing.DUPLICATE and self._is_void(task, entry):
            after, nothing_to_note = entry.without_debt(), False
        if not nothing_to_note and not self._keep_for_pages(task, entry, deadline):
            why = "no queue took the job that ends its pages"
            unsafe = replace(task.result(Outcome.UNSAFE), reason=Reason.INTERNAL, detail=why)
            return replace(unsafe, last_copy=last_copy(task.job))
        try:
            if nothing_to_note or self.guard.write(task.name, entry, after, deadline):
                return task.result(_SETTLED[standing])
        except LedgerError as error:
            if task.is_given_up:
                return task.result(Outcome.UNCHANGED)
            # It must not ring, and what it ends must not ring either: the job notes it as soon as it can.
            soon = Closed(Reason.INTERNAL, self.clock() + _catch_up_seconds(task, self.clock()))
            return self._put_off(task, soon, str(error), deadline)
        return None

    def _is_void(self, task: Task, entry: Entry) -> bool:
        """True if the entry says that the state is owed, although it was announced; no other job will say so."""
        return not task.is_live and entry.owed_since is not None and task.state.is_of_same_share(entry.kept)

    def _keep_for_pages(self, task: Task, entry: Entry, deadline: Deadline) -> bool:
        """Keep the job of a resolve that nobody announces, if pages are active; false if the queue does not take it.

        The job comes before the ledger's note: if the note never comes, the worker makes it, and then ends the pages.
        """
        leaves_pages = task.channel.rest is not None and not task.state.is_open and entry.has_live_pages()
        if not task.is_live or not leaves_pages:
            return True
        return self.keeper.keep(task.job, deadline, until=self.clock())

    def _pursue(self, task: Task, entry: Entry, deadline: Deadline) -> tuple[Task, Result | None]:
        """Take what is owed as far as it gets; no result when the ledger was changed meanwhile."""
        if task.hold and task.is_given_up:
            return task, self._give_up(task, task.hold.reason, entry, deadline)
        wait = self._wait(task, entry)
        task = self._keep(task, wait, deadline)
        if wait:
            return task, self._let_wait(task, entry, wait, deadline)
        ticket = self.guard.enter(task.rules, deadline, urgent=task.state.is_critical, slot=task.slot or entry.slot)
        if isinstance(ticket, Closed):
            if self._is_near(task, ticket, deadline):
                self.sleep(max(0.0, ticket.until - self.clock()))
                return replace(task, slot=ticket.slot), None
            task = self._keep_for(task, ticket, deadline)
            return task, self._let_wait(task, entry, ticket, deadline)
        lease, tries = self._lease(task, entry), self._tries(task, entry)
        after = entry.claimed(lease, tries, queued=task.is_queued)
        after = replace(after, environment_id=_environment(task) or after.environment_id)
        if entry.row and task.is_queued and self._stored(task, entry, deadline):
            # An older state is owed already. From now on this one is, if its sender dies.
            row = self._row(task, lease.until)
            # A claim is no result: the worker may die before there is one.
            begun = entry.row.begun if entry.row.job == row.job else 0
            after = replace(after, row=replace(row, begun=begun))
        try:
            claimed = self.guard.write(task.name, entry, after, deadline)
        except LedgerError as error:
            return task, self._without_ledger(task, str(error), deadline)
        if claimed is None:
            self.guard.leave(ticket, deadline)
            return task, None
        task = task.with_ledger()
        result = self._send_claimed(task, claimed, lease, tries, ticket, deadline)
        return task, replace(result, unguarded="the pace could not be asked") if ticket.is_unasked else result

    def _wait(self, task: Task, entry: Entry) -> Closed | None:
        """Why the state must not be sent now, as far as the entry alone tells."""
        now = self.clock()
        if task.hold:
            return task.hold
        # A claim of one's own may have been written although its answer was lost.
        if entry.lease and entry.is_busy(now) and entry.lease.owner != task.owner:
            return Closed(Reason.IN_FLIGHT, entry.lease.until + 1)
        if entry.rests_until > now and entry.may_have_rung(task.state):
            return Closed(Reason.IN_FLIGHT, entry.rests_until)
        change, policy = task.judgement.change, task.channel.policy
        moment = earliest(entry, change.transition, policy.min_seconds_between_signals) if change else 0.0
        if moment > now:
            return Closed(Reason.PACED, moment)
        slot = entry.slot
        if slot and slot.at > now + 1 and (slot.urgent or not task.state.is_critical):
            return Closed(Reason.PACED, slot.at, slot)
        return None

    def _keep(self, task: Task, wait: Closed | None, deadline: Deadline) -> Task:
        if not task.is_live or task.is_queued or task.is_turned_away:
            return task
        now = self.clock()
        job = task.job if wait is None else replace(task.job, reason=wait.reason, not_before=timestamp(wait.until))
        until = wait.until if wait else now + KEEP_SECONDS
        kept = self.keeper.keep(job, deadline, until=until)
        return replace(task, is_queued=kept, is_turned_away=not kept)

    def _keep_for(self, task: Task, wait: Closed, deadline: Deadline) -> Task:
        """Keep a live share once more, to wake when its turn comes, if that is before the job that was kept wakes.

        Whichever of the two wakes later finds that nothing is owed.
        """
        if task.is_live and task.is_queued and wait.until + SHORTEST_SEND_SECONDS < self.clock() + KEEP_SECONDS:
            self._keep(replace(task, job=replace(task.job, spare=True), is_queued=False), wait, deadline)
        return task

    def _let_wait(self, task: Task, entry: Entry, wait: Closed, deadline: Deadline) -> Result | None:
        """Note that the state is owed, and by when it may be sent; None when the ledger was changed meanwhile.

        A job that waits for longer than a message can needs no message: the sweeper sends one when the wait ends.
        """
        has_message = task.is_queued and (task.is_live or wait.until - self.clock() <= MAX_DELAY_SECONDS)
        row = self._row(task, wait.until, has_message=has_message)
        queue = "retry" if has_message else "ledger"
        try:
            self._store(task, entry, deadline)
            owed = entry.waiting(task.state, row)
            owed = replace(owed, slot=wait.slot or entry.slot)
            if entry.revived_at:
                # An operator who replays follows the entry, and reads there what the state waits for.
                owed = replace(owed, reason=wait.reason)
            is_noted = has_message and _is_noted(task, entry, owed, wait.until)
            if not is_noted and self.guard.write(task.name, entry, owed, deadline) is None:
                return None
        except LedgerError as error:
            if not task.is_queued:
                return self._without_ledger(task, str(error), deadline)
            task = task.without_ledger(self.clock())
            # What holds it is known, and the job is safe: it must not be sent for want of a note.
            return replace(self._waiting(task, wait, "retry"), unguarded=str(error))
        return self._waiting(task.with_ledger(), wait, queue)

    def _waiting(self, task: Task, wait: Closed, queue: str) -> Result:
        return replace(task.result(Outcome.QUEUED), reason=wait.reason, queue=queue, until=wait.until)

    def _row(self, task: Task, until: float, *, has_message: bool = True) -> Row:
        """Return the row of a state that waits until then."""
        if has_message:
            # A live share's message wakes no later than SQS can delay it.
            until = min(until, self.clock() + MAX_DELAY_SECONDS) + OVERDUE_SECONDS
        return Row(until, task.job.stored_name, is_critical=task.state.is_critical)

    def _store(self, task: Task, entry: Entry, deadline: Deadline) -> None:
        """Store the job of a state that is owed, if its row does not name it yet. Raises LedgerError."""
        if entry.row is None or entry.row.job != task.job.stored_name:
            self._store_as(task.job.stored_name, task, deadline)

    def _store_as(self, name: str, task: Task, deadline: Deadline) -> None:
        job = storable(replace(task.job, not_before=None, spare=False))
        lasts = task.channel.policy.max_age_seconds + STORED_SECONDS
        self.guard.store(task.name, name, job.to_json(), deadline, lasts=lasts)

    def _stored(self, task: Task, entry: Entry, deadline: Deadline) -> bool:
        try:
            self._store(task, entry, deadline)
        except LedgerError:
            return False
        return True

    def _is_near(self, task: Task, closed: Closed, deadline: Deadline) -> bool:
        # However often its turn moves away, there must be time left to take it.
        patience = min(PATIENCE_SECONDS, deadline.remaining() / 2)
        return closed.reason == Reason.PACED and not task.is_live and closed.until - self.clock() <= patience

    def _lease(self, task: Task, entry: Entry) -> Lease:
        now = self.clock()
        return Lease(task.owner, now + LEASE_SECONDS, entry.next_claim(now), task.state)

    def _send_claimed(
        self, task: Task, entry: Entry, lease: Lease, tries: int, ticket: Ticket, deadline: Deadline
    ) -> Result:
        alone = _who_hears_alone(task, entry)
        sent = self._send(task, entry, tries, deadline, alone)
        until = self.clock()
        failure = (sent.failure.reason, sent.failure.retry_after) if sent.failure else None
        if failure is None:
            audience = Audience(task.job.recipients, is_for_one=alone is not None)
            is_recorded = self.guard.record(
                task.name,
                entry,
                lambda now: now.accepted(lease, sent.request_id, sent.rings, until=until, audience=audience),
                deadline,
            )
            self.guard.report(task.rules, ticket, deadline, failure)
            result = task.delivered(sent)
            return result if is_recorded else self._to_catch_up(task, result, "what was sent is not recorded", deadline)
        result = self._record_failure(task, entry, lease, sent, until, deadline)
        self.guard.report(task.rules, ticket, deadline, failure)
        return result

    def _record_failure(
        self, task: Task, entry: Entry, lease: Lease, sent: Sent, until: float, deadline: Deadline
    ) -> Result:
        """Keep a state that was not accepted, and note in the ledger what came of it; `until` is when the sends ended.

        It is on a queue, or in the ledger's index, or both. What neither takes is dead-lettered.
        """
        result = self._rest(task, task.failed(sent), deadline)
        row = None
        if result.queue != "dead_letter" and self._stored(task, entry, deadline):
            row = self._row(task, result.until or until, has_message=result.queue == "retry")

        def change(now: Entry) -> Entry:
            # The row comes first: attempts and reason are noted of a state that is kept.
            kept = now.waiting(task.state, row) if row else now
            return kept.failed(
                lease,
                sent.attempts,
                sent.rings,
                until=until,
                reason=result.reason or "",
                dead_lettered_at=_mark(result),
                rests_until=until + AMBIGUOUS_REST_SECONDS - RESTS_LESS_SECONDS,
            )

        is_recorded = self.guard.record(task.name, entry, change, deadline)
        if result.queue:
            return result
        if row and is_recorded:
            return replace(result, outcome=Outcome.QUEUED, queue="ledger", last_copy=None)
        return self._bury(task, result, deadline)

    def _without_ledger(self, task: Task, why: str, deadline: Deadline) -> Result:
        """Send all the same: maybe for the second time, maybe late. What is safe on a queue gives the ledger time."""
        now = self.clock()
        task = task.without_ledger(now)
        since = seconds_of(task.job.ledger_down_since or timestamp(now))
        can_be_late = task.job.is_revived or task.hold is not None or now - since < UNGUARDED_AFTER_SECONDS
        if not task.is_live and can_be_late:
            until = max(now + UNGUARDED_WAIT_SECONDS, task.hold.until if task.hold else 0.0)
            return replace(self._waiting(task, Closed(Reason.INTERNAL, until), "retry"), unguarded=why)
        sent = self._send(task, Entry(), self._tries(task, Entry()), deadline)
        if sent.failure is None:
            return self._to_catch_up(task, task.delivered(sent), why, deadline)
        result = self._rest(self._keep(task, None, deadline), task.failed(sent), deadline)
        return replace(result if result.queue else self._bury(task, result, deadline), unguarded=why)

    def _to_catch_up(self, task: Task, result: Result, why: str, deadline: Deadline) -> Result:
        """Tell the ledger of what was announced without it, now or by a job later, so that its resolve will be owed."""
        sent_at = self.clock()
        if self.guard.record(
            task.name,
            None,
            lambda entry: entry.announcing(task.state, result.request_id, sent_at, Audience(task.job.recipients)),
            deadline,
        ):
            return replace(result, unguarded=why)
        attempts = task.job.attempts + result.attempts
        note = replace(task.job, accepted=True, spare=False, reason=Reason.INTERNAL, attempts=attempts)
        self.keeper.keep(note, deadline, until=self.clock() + CATCH_UP_SECONDS)
        return replace(result, unguarded=why)

    def _catch_up(self, task: Task, deadline: Deadline) -> Result:
        """Tell the ledger of a state that was announced without it."""
        if self.guard.record(task.name, None, lambda entry: entry.announcing(task.state, None, 0.0), deadline):
            return task.result(Outcome.DUPLICATE)
        why = "what was sent is not recorded"
        if task.hold and task.is_given_up:
            given_up = replace(task.result(Outcome.UNSAFE), reason=task.hold.reason)
            return replace(self._bury(task, given_up, deadline), unguarded=why)
        until = self.clock() + _catch_up_seconds(task, self.clock())
        return replace(task.result(Outcome.QUEUED), reason=Reason.INTERNAL, queue="retry", until=until, unguarded=why)

    def _put_off(self, task: Task, wait: Closed, why: str, deadline: Deadline) -> Result:
        """Leave it to the retry queue; if that can't be had, the state is sent as it is."""
        task = self._keep(task, wait, deadline)
        if task.is_queued:
            return replace(self._waiting(task, wait, "retry"), unguarded=why)
        return self._without_ledger(task, why, deadline)

    def _tries(self, task: Task, entry: Entry) -> int:
        """How often a signal may be tried at once: each try may ring, and xMatters drops what is too much."""
        return max(1, min(MAX_TRIES, room_for_rings(entry, self.clock()))) if task.is_live else 1

    def _send(self, task: Task, entry: Entry, tries: int, deadline: Deadline, alone: str | None = None) -> Sent:
        job = task.job
        recipients = (alone,) if alone else job.recipients
        signal = Signal(
            _content(task, recipients),
            recipients,
            job.delivery_id,
            job.correlation_id,
            attempt=job.attempts + 1,
            may_repeat=job.may_have_rung or entry.may_have_rung(task.state),
            alone=alone is not None,
        )
        return self.sender.send(
            task.channel, signal, deadline, reserve=RESERVE_SECONDS, tries=tries, repeats=task.state.is_critical
        )

    def _give_up(self, task: Task, reason: Reason, entry: Entry, deadline: Deadline) -> Result:
        """Dead-letter a state that is owed for too long, or whose channel was removed."""
        result = self._bury(task, replace(task.result(Outcome.UNSAFE), reason=reason), deadline)
        mark, until = _mark(result), self.clock() + DEAD_LETTER_AGAIN_SECONDS + OVERDUE_SECONDS

        def change(now: Entry) -> Entry:
            return now.postponed(until) if mark is None else now.dead_lettering(task.state, mark, reason)

        self.guard.record(task.name, entry, change, deadline)
        return result

    def _rest(self, task: Task, result: Result, deadline: Deadline) -> Result:
        """Keep a state that was not accepted on the retry queue; dead-letter one that can't be sent at all.

        The result has no queue, and is still `unsafe`, if the retry queue does not take it. A job that woke up waits as
        its backoff says.
        """
        now, reason = self.clock(), result.reason or Reason.INTERNAL
        if HANDLING[reason].is_final:
            return self._bury(task, result, deadline)
        queued = replace(result, outcome=Outcome.QUEUED, queue="retry")
        if task.is_live:
            job = after_failure(task.job, result, now)
            is_kept = task.is_queued or self.keeper.keep(job, deadline, until=now + KEEP_SECONDS)
            return replace(queued if is_kept else result, until=now + KEEP_SECONDS)
        wait = wait_seconds(
            reason,
            task.job.rounds,
            result.retry_after,
            self.sender.random(),
            may_have_rung=result.may_have_rung,
            is_critical=task.state.is_critical,
        )
        job = replace(after_failure(task.job, result, now), rounds=task.job.rounds + 1)
        return replace(queued, job=job, until=now + wait)

    def _bury(self, task: Task, result: Result, deadline: Deadline) -> Result:
        """Dead-letter a state; it waits on the retry queue if the dead-letter queue does not take it."""
        job = after_failure(task.job, result, self.clock())
        dead_letter = self.keeper.dead_letter(job, deadline)
        if dead_letter:
            if task.state.is_critical:
                with suppress(LedgerError):
                    self._store_as(WORDS, task, deadline)
            return replace(result, outcome=Outcome.QUEUED, queue="dead_letter", job=dead_letter)
        if task.is_queued:
            until = self.clock() + DEAD_LETTER_AGAIN_SECONDS
            return replace(result, outcome=Outcome.QUEUED, queue="retry", until=until, job=job)
        return replace(result, detail=f"{result.detail}; no queue took it", last_copy=last_copy(job))


def _is_noted(task: Task, entry: Entry, owed: Entry, until: float) -> bool:
    """True if the entry says already that the state is owed, and its row is not overdue before the job wakes."""
    is_in_time = entry.row_job == task.job.stored_name and entry.row_due >= until + RENEWED_SECONDS
    # A wait is a result. It has to be written if it ends a count of the sweeper's jobs that came to nothing.
    is_in_time = is_in_time and entry.row_begun == 0
    is_same = task.state.is_same(entry.kept) and (owed.slot, owed.reason) == (entry.slot, entry.reason)
    return is_in_time and is_same


def _mark(result: Result) -> float | None:
    """The mark of the message that the result put on the dead-letter queue, in epoch seconds."""
    return result.job.mark if result.queue == "dead_letter" and result.job else None


def _catch_up_seconds(task: Task, now: float) -> float:
    """Soon at first, then the later the longer it could not be done: a tenth of how long that is already."""
    return min(max(CATCH_UP_SECONDS, (now - task.state.came) / 10), MAX_CATCH_UP_SECONDS)


def _who_hears_alone(task: Task, entry: Entry) -> str | None:
    """Who acknowledged, where the others need not hear of it: it is neither worse nor open again.

    Not even against a state that people may have been told of, for all that is known.
    """
    change = task.judgement.change
    changes = [change, *(compare(told, task.state) for told in entry.last_told())] if change else []
    is_calm = changes and all(each.transition not in _RINGS_ALL for each in changes)
    return (entry.acknowledged_by or None) if is_calm and task.channel.is_quiet else None


def _environment(task: Task) -> str | None:
    """Where BigPanda has the incident; what is no id must not make its entry too large for the ledger."""
    name = task.environment_id
    return name if name and len(name) <= MAX_ID_LENGTH else None


def _content(task: Task, recipients: tuple[str, ...]) -> bytes:
    """What xMatters gets: the bytes that BigPanda sent, or the relay's own."""
    rule = task.channel.policy.own_body
    if rule is None:
        return task.job.body
    from relay import body  # noqa: PLC0415 - most channels forward BigPanda's

    return body.build(incident.parse(task.job.body), task.state, recipients, task.job.priority, rule)
