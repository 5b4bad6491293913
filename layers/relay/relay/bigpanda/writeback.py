"""Write-back of xMatters' callbacks into BigPanda: comments, assignments, and the actions of responses.

A callback is verified first. The comment of an unverified callback says so, and it changes no incident. Nothing is
written if the channel does not know the incident.

Each callback is written once. A note in the table records its progress. BigPanda's API has no idempotency key, so a
comment ends in a mark. After an ambiguous write, the comment is searched by its text before it is written again.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from copy import replace
from dataclasses import dataclass
from typing import NamedTuple, Self

from relay.bigpanda.api_rate_limit import RateLimit
from relay.bigpanda.client import ACTIVITY_PAGES, BigPanda, Incident
from relay.bigpanda.comment import Comment, comment_of, mark
from relay.bigpanda.verification import EARLY_CALLBACK_SECONDS, CallbackVerdict, ReceivedCallback, Verdict, Verifier
from relay.channels.channel import Access, Channel
from relay.deadline import Deadline
from relay.errors import BadAnswer, LedgerError, SendError
from relay.incidents.callback import Callback, Deed, ResponseAction, ResponseMeanings, parse_callback
from relay.jobs.job import Job, seconds_of
from relay.jobs.outcome import Exchange, Outcome, Result, Subject
from relay.ledger.entry import Entry
from relay.ledger.entry_key import key
from relay.ledger.ledger import Ledger
from relay.ledger.sources import Sources
from relay.ledger.table import Table
from relay.reasons import Reason

# Longer than a worker works on one callback, so a lease expires only if its worker died.
WRITEBACK_LEASE_SECONDS = 60.0
# Wait after a conflicting write: the other worker may be done by then.
RACE_SECONDS = 5.0
# First wait before an early callback is verified again; the waits grow with its age.
SHORTEST_WRITEBACK_WAIT_SECONDS = 15.0
# Rate limits of a channel's comments: far above normal use, and low enough that incidents stay readable.
VERIFIED_A_MINUTE, UNVERIFIED_A_MINUTE = 60, 10
MINUTE_SECONDS = 60.0
# BigPanda's answer to the resolve of an incident that is over, and to the snooze of one that is over or snoozed.
CONFLICT = 409
NOT_FOUND = 404
_DONE = {Deed.RESOLVE: "resolved", Deed.SNOOZE: "snoozed"}
_CONFLICTS = {Deed.RESOLVE: "it is over", Deed.SNOOZE: "it is over or snoozed"}


@dataclass(frozen=True)
class Note:
    """Progress of a callback's write-back, stored as a table item.

    Attributes:
        is_written: True if its comment was written.
        in_doubt: True if its comment may have been written.
        until: End of the lease of the worker that writes the comment (epoch seconds); 0 if none does.
        sequence: Version of the item, for optimistic locking; 0 if there is none.
    """

    is_written: bool = False
    in_doubt: bool = False
    until: float = 0.0
    sequence: int = 0

    @classmethod
    def read(cls, table: Table, name: str) -> Self:
        """Return the note with the key `name`, an empty one if there is none. Raises LedgerError."""
        found = table.read(name)
        if found is None:
            return cls()
        try:
            is_written, in_doubt, until = json.loads(found.text)
            return cls(bool(is_written), bool(in_doubt), float(until), found.sequence)
        except (ValueError, TypeError) as error:
            raise LedgerError(f"the note can't be read: {type(error).__name__}") from error

    def write(self, table: Table, name: str) -> "Note | None":
        """Write the note under the key `name`, if the item is still the one that it was read from. Raises LedgerError.

        Returns the written note; None if another worker changed the item.
        """
        sequence = table.write(name, self.sequence, json.dumps([self.is_written, self.in_doubt, self.until]))
        return replace(self, sequence=sequence) if sequence else None


class _CallbackToWrite(NamedTuple):
    """A callback to write into BigPanda.

    Attributes:
        callback: The callback.
        incident: The incident in BigPanda.
        access: Access to BigPanda's API.
        responses: Response texts that acknowledge or escalate.
        is_verified: True if the callback was verified.
        came: Arrival of the callback (epoch seconds).
        is_overtaken: True if the incident was signalled again, or ended, since the callback came; or if it was
            signalled again since the signal whose page the callback names.
        is_over: True if the incident is over, as far as the ledger knows.
    """

    callback: Callback
    incident: Incident
    access: Access
    responses: ResponseMeanings
    is_verified: bool
    came: float
    is_overtaken: bool
    is_over: bool


@dataclass(frozen=True)
class Writeback:
    """Writes callbacks of xMatters into BigPanda, as comments and assignments.

    Attributes:
        bigpanda: Client for BigPanda's API.
        rate_limit: BigPanda's rate limit.
        sources: The sets of recipients in webhook URLs for which incidents were shared.
        table: The ledger's table, which has the notes of callbacks.
        ledger: The entries of incidents.
        verifier: Verifies callbacks against the ledger and xMatters.
        clock: The time in epoch seconds.
    """

    bigpanda: BigPanda
    rate_limit: RateLimit
    sources: Sources
    table: Table
    ledger: Ledger
    verifier: Verifier
    clock: Callable[[], float]

    def write(self, job: Job, channel: Channel, deadline: Deadline) -> Result:
        """Write a job's callback into BigPanda, unless the channel does not want it or it is written already.

        The result is `unsafe` with a reason if the write failed. The caller then retries or dead-letters the job.
        """
        callback, came = parse_callback(job.payload.body), seconds_of(job.received_at)
        if not channel.heeds(callback):
            return _result(job, Outcome.UNCHANGED)
        try:
            entries = self._entries(channel, callback.incident_id)
            action = channel.bigpanda.action_of(callback) if channel.bigpanda else None
            changes = action is not None and action.changes_incident
            received = ReceivedCallback(callback, channel.responses.is_acknowledgement(callback), came, changes)
            found = self.verifier.judge(received, [entry for _, entry in entries], channel.rest, deadline)
            if found.verdict == Verdict.EARLY:
                now = self.clock()
                wait = max(SHORTEST_WRITEBACK_WAIT_SECONDS, now - came)
                return replace(
                    _failed(job, Reason.IN_FLIGHT, found.why), until=min(now + wait, came + EARLY_CALLBACK_SECONDS)
                )
            result = self._written(job, channel, received, entries, deadline, found=found)
        except LedgerError as error:
            # Retried later, since no page depends on a callback.
            return _failed(job, Reason.INTERNAL, str(error))
        if found.verdict == Verdict.VERIFIED:
            return result
        return replace(result, notices=replace(result.notices, unverified=found.why))

    def _written(
        self,
        job: Job,
        channel: Channel,
        received: ReceivedCallback,
        entries: Sequence[tuple[str, Entry]],
        deadline: Deadline,
        *,
        found: CallbackVerdict,
    ) -> Result:
        """Record a verified acknowledgement in the ledger, and write the comment. Raises LedgerError.

        `entries` are the incident's ledger entries with their keys. `found` is the result of the verification.
        """
        callback, is_verified = received.callback, found.verdict == Verdict.VERIFIED
        if is_verified and channel.is_quiet and received.is_acknowledgement and callback.target:
            self._note_who_acknowledged(entries, callback.target, received.came)
        access = channel.bigpanda
        if access is None or found.verdict == Verdict.STRANGE:
            return _result(job, Outcome.UNCHANGED)
        if not access.writes(callback) and not (is_verified and access.action_of(callback)):
            return _result(job, Outcome.UNCHANGED)
        incident = _incident(callback, access, entries)
        if incident is None:
            return _failed(job, Reason.REFUSED, "its environment is unknown: set bigpanda.environment_id")
        is_overtaken = any(entry.is_overtaken(received.came, found.signal) for _, entry in entries)
        is_over = all(entry.newest is not None and not entry.newest.is_open for _, entry in entries if entry.sequence)
        to_write = _CallbackToWrite(
            callback, incident, access, channel.responses, is_verified, received.came, is_overtaken, is_over
        )
        return self._write_once(job, to_write, deadline)

    def release(self, job: Job, channel: Channel, deadline: Deadline) -> Result:
        """Report an incident's first share to BigPanda as received, so that BigPanda sends the incident's updates.

        The result is `unsafe` with a reason if the request failed.
        """
        access = channel.bigpanda
        if access is None or not access.callbacks:
            return _result(job, Outcome.UNCHANGED)
        try:
            self.rate_limit.wait(access, "callback")
            self.bigpanda.release(access, job.incident_id, json.loads(job.payload.body)["event"], deadline)
        except LedgerError as error:
            return _failed(job, Reason.INTERNAL, str(error))
        except SendError as error:
            return _result(job, Outcome.UNSAFE).failed(error)
        return _delivered(job)

    def _note_who_acknowledged(self, entries: Sequence[tuple[str, Entry]], target: str, came: float) -> None:
        """Record in the incident's ledger entry that the person `target` acknowledged it. Raises LedgerError.

        `came`, the arrival of the acknowledgement (epoch seconds), is compared with the entry, since the job may be
        retried for hours or replayed. If the incident has several open entries (recipients of several webhook URLs),
        nothing is recorded: a callback does not name the entry that it answers.
        """
        open_ones = [name for name, entry in entries if entry.announced and entry.announced.is_open]
        if len(open_ones) != 1:
            return
        [name] = open_ones
        self.ledger.change(name, lambda entry: entry.acknowledged(target, came))

    def _entries(self, channel: Channel, incident_id: str) -> list[tuple[str, Entry]]:
        """Return an incident's ledger entries with their keys: one for each set of recipients in webhook URLs."""
        recipients = ((), *self.sources.of_incident(channel, incident_id))
        names = [key(channel.name, each, incident_id) for each in recipients]
        return [(name, self.ledger.read(name)) for name in names]

    def _write_once(self, job: Job, to_write: _CallbackToWrite, deadline: Deadline) -> Result:
        name, now = f"writeback/{job.channel}/{job.delivery_id}", self.clock()
        note = Note.read(self.table, name)
        if note.is_written:
            return _result(job, Outcome.DUPLICATE)
        if note.until > now:
            return replace(_failed(job, Reason.IN_FLIGHT, "another worker has the lease"), until=note.until + 1)
        what, most = ("verified", VERIFIED_A_MINUTE) if to_write.is_verified else ("unverified", UNVERIFIED_A_MINUTE)
        if not note.sequence and not self.rate_limit.has_room(f"callbacks/{what}/{job.channel}", most):
            busy = _failed(job, Reason.PACED, f"the channel had {most} {what} callbacks in this minute")
            return replace(busy, until=now + MINUTE_SECONDS)
        # A worker whose lease expired may have written the comment.
        note = replace(note, in_doubt=note.in_doubt or note.until > 0, until=now + WRITEBACK_LEASE_SECONDS)
        held = note.write(self.table, name)
        if held is None:
            return replace(_failed(job, Reason.IN_FLIGHT, "another worker took the lease"), until=now + RACE_SECONDS)
        try:
            self._act_and_comment(to_write, _comment(to_write, mark(job.delivery_id)), held, deadline)
        except SendError as error:
            replace(held, in_doubt=held.in_doubt or error.may_have_acted, until=0.0).write(self.table, name)
            return _result(job, Outcome.UNSAFE).failed(error)
        replace(held, is_written=True, until=0.0).write(self.table, name)
        return _delivered(job)

    def _act_and_comment(self, to_write: _CallbackToWrite, comment: Comment, note: Note, deadline: Deadline) -> None:
        assigns = (
            to_write.is_verified and to_write.access.assign and to_write.responses.is_acknowledgement(to_write.callback)
        )
        assigned = self._assign(to_write, deadline) if assigns else ""
        action = to_write.access.action_of(to_write.callback)
        changes = action is not None and action.changes_incident and to_write.is_verified
        try:
            undone = (
                self._resolve_or_snooze(to_write, action, comment.text(assigned), deadline)
                if action and changes
                else None
            )
            # BigPanda keeps the text of the comment with an action.
            if undone != "":
                self._comment(to_write, comment, f"{assigned} {undone or ''}".strip(), note, deadline)
        except BadAnswer as error:
            # BigPanda need not know an incident that is over.
            if not (changes and to_write.is_over and error.http_status == NOT_FOUND):
                raise

    def _comment(
        self, to_write: _CallbackToWrite, comment: Comment, assigned: str, note: Note, deadline: Deadline
    ) -> None:
        """Write the comment, unless an earlier attempt wrote it."""
        if note.in_doubt:
            self.rate_limit.wait(to_write.access, "activities", calls=ACTIVITY_PAGES)
            if self.bigpanda.has_comment(to_write.access, to_write.incident, comment.is_contained_in, deadline):
                return
        self.rate_limit.wait(to_write.access, "comments")
        self.bigpanda.comment(to_write.access, to_write.incident, comment.text(assigned), deadline)

    def _resolve_or_snooze(
        self, to_write: _CallbackToWrite, action: ResponseAction, text: str, deadline: Deadline
    ) -> str:
        """Resolve or snooze the incident. Return a sentence for the comment if that was not to be done; "" if it was.

        A repeated call changes nothing: BigPanda answers 409, and the end of a snooze counts from the answer. The
        answer to an earlier signal must not end what came later. Raises SendError, also if BigPanda refuses it.
        """
        until = int(to_write.came + action.minutes * MINUTE_SECONDS)
        is_snooze = action.deed == Deed.SNOOZE
        if to_write.is_overtaken:
            return f"(Not {_DONE[action.deed]}: it changed since that page.)"
        if is_snooze and until <= self.clock():
            return f"(Not {_DONE[action.deed]}: that time is over.)"
        try:
            self.rate_limit.wait(to_write.access, action.deed)
            if is_snooze:
                self.bigpanda.snooze(to_write.access, to_write.incident, until, text, deadline)
            else:
                self.bigpanda.resolve(to_write.access, to_write.incident, text, deadline)
        except BadAnswer as error:
            if error.http_status == CONFLICT:
                return f"(Not {_DONE[action.deed]}: BigPanda answered 409, {_CONFLICTS[action.deed]}.)"
            error.detail = f"BigPanda did not {action.deed} the incident: {error.detail}"
            raise
        return ""

    def _assign(self, to_write: _CallbackToWrite, deadline: Deadline) -> str:
        """Assign the incident to the acknowledger, and return a sentence about the result for the comment.

        If BigPanda refuses the assignment, the comment is still written. Temporary failures are raised.
        """
        try:
            self.rate_limit.wait(to_write.access, "users")
            user_id = self.bigpanda.user_id(to_write.access, _names(to_write.callback, to_write.access), deadline)
            if user_id is None:
                return "(Not assigned: BigPanda has no user of that name.)"
            self.rate_limit.wait(to_write.access, "assignment")
            self.bigpanda.assign(to_write.access, to_write.incident, user_id, deadline)
        except BadAnswer as error:
            if error.reason not in {Reason.REFUSED, Reason.CREDENTIALS}:
                raise
            return f"(Not assigned: BigPanda answered {error.http_status}.)"
        return "The incident is assigned to them."


def _comment(to_write: _CallbackToWrite, mark: str) -> Comment:
    return comment_of(to_write.callback, to_write.responses, mark, is_verified=to_write.is_verified)


def _incident(callback: Callback, access: Access, entries: Sequence[tuple[str, Entry]]) -> Incident | None:
    """Return the address of a callback's incident in BigPanda's API; None if its environment is unknown.

    The environment is that of the ledger, else of the callback, else the secret's first.
    """
    known = (entry.environment_id for _, entry in entries)
    environment_id = next(filter(None, (*known, access.place(callback.environment_id), *access.environments)), None)
    return Incident(environment_id, callback.incident_id) if environment_id else None


def _names(callback: Callback, access: Access) -> Iterable[str]:
    """Return the user names and e-mails that the person of a callback may have in BigPanda."""
    at_home = f"{callback.target}@{access.email_domain}" if callback.target and access.email_domain else None
    return dict.fromkeys(name for name in (callback.email, callback.target, at_home) if name)


def _result(job: Job, outcome: Outcome) -> Result:
    return Result(outcome, Subject.of_job(job))


def _delivered(job: Job) -> Result:
    return replace(_result(job, Outcome.DELIVERED), exchange=Exchange(attempts=1))


def _failed(job: Job, reason: Reason, detail: str) -> Result:
    return replace(_result(job, Outcome.UNSAFE), reason=reason, detail=detail)
