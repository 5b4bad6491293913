"""Confirmation with BigPanda that an incident is over, before its pages are terminated.

A resolve can be forged by anyone who has the webhook's token. So, if the channel has an API key, a follow-up asks
BigPanda if the incident is over. Two answers that it is open, a minute apart, refute the resolve. The incident is then
signalled again.

After an answer that contradicts a resolve, the webhook's next resolves are only suspected for some time: the incident
stays as it is, and a resolve is signalled once BigPanda confirms it (`Entry.is_resolve_suspect`).
"""

import hashlib
import json
from collections.abc import Callable
from copy import replace
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from relay.channels.channel import BigPandaAccess, Channel
from relay.deadline import Deadline
from relay.delivery.debts import OVERDUE_SECONDS, store_job
from relay.delivery.task import Task, entry_key_of, new_job
from relay.failures.errors import LedgerError, NoAnswer, SendError
from relay.failures.reasons import Reason
from relay.incidents.share import Share, parse_share
from relay.incidents.transition import is_open
from relay.jobs.job import Job
from relay.jobs.outbox import Outbox
from relay.ledger.entry import Entry
from relay.ledger.ledger import Ledger
from relay.ledger.row import Row

if TYPE_CHECKING:
    # Not imported at run time: this would slow the cold starts of functions that only send signals.
    from relay.bigpanda.listing import Lister

# BigPanda's API may lag behind its webhook. By how much is not documented (docs/decisions.md, D-two-answers-refute).
APART_SECONDS = 60.0
# After so long without an answer from BigPanda, the resolve is accepted. It counts from the first question that
# BigPanda left without an answer: what our own pace delays, or BigPanda's limit (429), is no silence.
UNREACHABLE_SECONDS = 600.0
_PACE = {Reason.PACED, Reason.RATE_LIMITED}


class ResolveAnswer(StrEnum):
    """Result of asking BigPanda if an incident is over. REFUTED and UNREACHABLE are counted as metrics."""

    # No question was needed, or another follow-up of the incident asked it.
    NOT_ASKED = "not_asked"
    # The incident is over.
    CONFIRMED = "confirmed"
    # First answer that it is open; asked again later.
    DOUBTED = "doubted"
    # Second answer that it is open, a minute later.
    REFUTED = "refuted"
    # First question without an answer; asked again later.
    SILENT = "silent"
    # No answer for UNREACHABLE_SECONDS.
    UNREACHABLE = "unreachable"
    # No answer yet, no room for the question, or too early for the second one.
    WAIT = "wait"


class EndCheck(NamedTuple):
    """BigPanda's answer, and the next step: another question, or another signal.

    Attributes:
        answer: The answer.
        until: Time of the next question (epoch seconds); 0 if none is needed.
        signal: Task that signals the incident as it is: open after a refutation, closed after a suspected resolve was
            confirmed. None if no signal is needed.
    """

    answer: ResolveAnswer
    until: float = 0.0
    signal: Task | None = None

    def recorded_in(self, entry: Entry, now: float) -> Entry:
        """Return the entry with BigPanda's answer (`answer`) recorded at `now` (epoch seconds).

        The answer is about the incident, not about one resolve: it is recorded also if other resolves arrived after the
        question.
        """
        if not entry.is_end_in_doubt:
            return entry
        match self.answer:
            case ResolveAnswer.CONFIRMED | ResolveAnswer.UNREACHABLE:
                if self.signal is not None:
                    return replace(self._owing(entry, now), end=entry.end.confirmed())
                # If an open state came meanwhile, the resolve has to be signalled first: BigPanda is asked again.
                return entry.with_end_confirmed() if entry.is_closed_in_doubt else entry
            case ResolveAnswer.DOUBTED:
                return replace(entry, end=entry.end.doubted(now))
            case ResolveAnswer.SILENT:
                return replace(entry, end=replace(entry.end, silent_since=now))
            case ResolveAnswer.REFUTED:
                if self.signal is None:
                    return replace(entry, end=entry.end.unfounded(now))
                return replace(self._owing(entry, now), end=entry.end.refuted(now))
        return entry

    def _owing(self, entry: Entry, now: float) -> Entry:
        """Return the entry with the signal's state recorded as owed.

        So the state is signalled even if the message of its job vanishes, or if a forged resolve comes first.
        """
        if self.signal is None:
            return entry
        state = self.signal.state
        row = Row(now + OVERDUE_SECONDS, self.signal.job.stored_name, is_critical=state.is_critical)
        return entry.waiting(state, row)


@dataclass(frozen=True)
class ResolveConfirmation:
    """Asks BigPanda if an incident is over, before the relay terminates its pages.

    Attributes:
        lister: Reads incidents of BigPanda.
        outbox: The queues of jobs.
        clock: The time in epoch seconds.
    """

    lister: "Lister"
    outbox: Outbox
    clock: Callable[[], float]

    def ask(
        self, job: Job, entry: Entry, channel: Channel, ledger: Ledger, deadline: Deadline
    ) -> tuple[Entry, EndCheck]:
        """Ask BigPanda if the incident is over, record the answer, and queue the signal that the answer calls for.

        `job` is the follow-up's job; `is_to_ask` is True for it. Returns the entry, updated by the answer, and the
        answer. Raises LedgerError.
        """
        now = self.clock()
        if channel.confirms_ends:
            check, now = self._answer(job, entry, channel, deadline), self.clock()
        else:
            check = self._believed(job, entry, channel)
        if check.signal:
            # Several follow-ups of the incident may have asked at the same time. One signal is enough.
            current = ledger.read(entry_key_of(job))
            if not _is_same_question(entry, current):
                return current, EndCheck(ResolveAnswer.NOT_ASKED)
            entry = current
            store_job(ledger, check.signal.job.stored_name, check.signal, now)
            check = self._queue_signal(check, check.signal.job, deadline)
        if check.answer == ResolveAnswer.WAIT:
            return entry, check
        entry = ledger.change(entry_key_of(job), lambda each: check.recorded_in(each, now), entry)
        # Resolves that came meanwhile are still suspected.
        is_asker = entry.end.is_asked_by(job.stored_name)
        return entry, check._replace(until=check.until or (now + APART_SECONDS if is_asker else 0.0))

    def _answer(self, job: Job, entry: Entry, channel: Channel, deadline: Deadline) -> EndCheck:
        """Ask BigPanda if the incident is over, and judge the answer by the entry. `job` is the follow-up's job."""
        now, end, access = self.clock(), entry.end, channel.bigpanda
        is_closed, signals_end = entry.is_closed_in_doubt, _is_end_to_signal(entry)
        is_silent = end.silent_since > max(end.at if is_closed else end.suspected_since, end.contradicted_at)
        try:
            share = self._asked(access, entry, job.incident_id, deadline, is_repeated=is_silent) if access else None
        except (NoAnswer, LedgerError):
            return EndCheck(ResolveAnswer.WAIT, now + APART_SECONDS)
        if share is None:
            if not is_silent:
                return EndCheck(ResolveAnswer.SILENT, now + APART_SECONDS)
            # The follow-up that has the share of a suspected resolve comes first; the others if it is lost.
            is_believed = signals_end and end.is_asked_by(job.stored_name)
            grace = 2 * APART_SECONDS if signals_end and not is_believed else 0.0
            if now - end.silent_since <= UNREACHABLE_SECONDS + grace:
                return EndCheck(ResolveAnswer.WAIT, now + APART_SECONDS)
            return self._believed(job, entry, channel) if is_believed else EndCheck(ResolveAnswer.UNREACHABLE)
        if not is_open(share):
            confirmed = EndCheck(ResolveAnswer.CONFIRMED)
            return self._signalling(confirmed, job, entry, share, channel) if signals_end else confirmed
        # While the incident counts as open, both answers have to be later than the last suspected resolve: nothing is
        # lost meanwhile.
        is_first = not end.refuted_since or (not is_closed and end.refuted_since <= end.suspected_at)
        if is_first:
            return EndCheck(ResolveAnswer.DOUBTED, now + APART_SECONDS)
        if now < end.refuted_since + APART_SECONDS:
            return EndCheck(ResolveAnswer.WAIT, end.refuted_since + APART_SECONDS)
        refuted = EndCheck(ResolveAnswer.REFUTED)
        return self._signalling(refuted, job, entry, share, channel) if is_closed else refuted

    def _believed(self, job: Job, entry: Entry, channel: Channel) -> EndCheck:
        """Return the answer UNREACHABLE with the task that signals a suspected resolve, without a confirmation.

        The API has failed for too long, or the operator switched the confirmation off, or removed the API key. `job` is
        the follow-up of a suspected resolve, and has that resolve's body.
        """
        share = parse_share(job.payload.body)
        return self._signalling(EndCheck(ResolveAnswer.UNREACHABLE), job, entry, share, channel)

    def _signalling(self, check: EndCheck, job: Job, entry: Entry, share: Share, channel: Channel) -> EndCheck:
        """Return `check` (BigPanda's answer) with a task that signals the incident as `share` shows it."""
        signal = self._signal_job(job, entry, share, channel)
        return check._replace(signal=Task.of_job(channel, share, signal, "", None))

    def _queue_signal(self, check: EndCheck, signal: Job, deadline: Deadline) -> EndCheck:
        """Queue the job of the signal that an answer calls for, and return the answer.

        Returns an answer WAIT if the queue does not accept the job: BigPanda is asked again.
        """
        now = self.clock()
        is_enqueued = self.outbox.enqueue(signal, deadline, until=now)
        return check if is_enqueued else EndCheck(ResolveAnswer.WAIT, now + APART_SECONDS)

    def _asked(
        self, access: BigPandaAccess, entry: Entry, incident_id: str, deadline: Deadline, *, is_repeated: bool
    ) -> Share | None:
        """Return the incident from BigPanda's API; None if it is in none of the environments, or the API fails.

        The environments are the one that the incident's ledger entry names, if it is permitted, and those of the
        channel. `is_repeated` is True if BigPanda left this question without an answer before. Raises NoAnswer if the
        rate limit had no room for the question in an environment, and LedgerError if its table fails.
        """
        environment_ids = dict.fromkeys(
            filter(None, (access.allowed_environment(entry.environment_id), *access.environments))
        )
        is_paced = is_repeated and not self.lister.rate_limit.has_room_to_repeat(access, len(environment_ids))
        for environment_id in () if is_paced else environment_ids:
            try:
                share = self.lister.incident(access, environment_id, incident_id, deadline)
            except SendError as error:
                is_paced |= error.reason in _PACE or (error.reason == Reason.TIMEOUT and not error.was_sent)
                continue
            if share is not None:
                return share
        if is_paced:
            raise NoAnswer(Reason.PACED, "BigPanda could not be asked in every environment", was_sent=False)
        return None

    def _signal_job(self, job: Job, entry: Entry, share: Share, channel: Channel) -> Job:
        """Return the job that signals an incident as `share` shows it, whatever the webhook said.

        The job's arrival time is now, so its state is newer than every resolve that arrived before.
        """
        word = "refuted" if is_open(share) else "confirmed"
        body, trail = json.dumps(share.document).encode(), f"{word}-{share.incident_id}"[:100]
        made = new_job(channel, share, body, job.routing.url_recipients or (), trail, self.clock())
        # A new delivery id: a workflow may treat a known one as a repeated signal.
        resolved_at = max(entry.end.at, entry.end.suspected_at)
        again = hashlib.sha256(f"{made.delivery_id} {resolved_at}".encode()).hexdigest()[:32]
        # BigPanda's own timestamps may be those from before the forged resolve. With the resolve's, a late copy of an
        # older share stays older.
        known = [entry.newest.version if entry.newest else None]
        known += [] if is_open(share) else [entry.end.suspected_version, made.payload.version]
        version = max(filter(None, known), default=None)
        payload = replace(made.payload, found=True, version=version, has_borrowed_version=version is not None)
        return replace(made, delivery_id=again, payload=payload)


def is_to_ask(job: Job, entry: Entry, channel: Channel) -> bool:
    """True if this follow-up has to ask BigPanda if the incident is over, since the end is in doubt.

    Only the follow-up that the entry names (`End.asker`) asks about suspected resolves: its job has the body of a
    resolve. Every follow-up asks if the newest state is closed and unconfirmed.
    """
    return entry.end.is_asked_by(job.stored_name) or (entry.is_closed_in_doubt and channel.confirms_ends)


def _is_end_to_signal(entry: Entry) -> bool:
    """True if the incident's end is to be signalled once BigPanda confirms it. Until then the end is in doubt.

    The end is to be signalled if the incident counts as open, or if an earlier resolve is still owed. The signal of the
    earlier resolve alone is not enough, since its timestamps are older than the end. An open state from before the end
    could then come late, and count as newer.
    """
    return not entry.is_closed_in_doubt or (entry.end.is_suspected and entry.debt.since is not None)


def _is_same_question(before: Entry, now: Entry) -> bool:
    """True if the question that BigPanda answered is still open: no other follow-up recorded an answer to it."""
    if before.is_closed_in_doubt:
        return now.end.refuted_since == before.end.refuted_since and now.is_closed_in_doubt
    return now.end.is_suspected
