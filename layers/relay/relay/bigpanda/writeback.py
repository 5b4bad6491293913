"""Write-back: what xMatters called back with becomes a comment, and maybe an assignment, in BigPanda.

A callback is verified first. One that is not becomes a comment that says so; of an incident that the channel does not
know, nothing is written.

Once, as far as that can be known. A note in the table says how far a callback got. BigPanda has no idempotency key, so
a comment ends in a mark, and one that may stand there already is looked for before it is written again.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from copy import replace
from dataclasses import dataclass
from typing import NamedTuple, Self

from relay.bigpanda.client import ACTIVITY_PAGES, BigPanda, Incident
from relay.bigpanda.comment import Comment, comment_of, mark
from relay.bigpanda.rate_limit import Turns
from relay.bigpanda.verification import EARLY_SECONDS, Answered, Verdict, Verifier
from relay.channels.channel import Access, Channel
from relay.deadline import Deadline
from relay.errors import BadAnswer, LedgerError, Reason, SendError
from relay.incidents.callback import Answers, Callback, parse_callback
from relay.jobs.envelope import Job, seconds_of
from relay.jobs.outcome import Outcome, Result
from relay.ledger.entry import Entry, key
from relay.ledger.ledger import Ledger
from relay.ledger.sources import Sources
from relay.ledger.table import Table

# Longer than any writer works.
LEASE_SECONDS = 60.0
# Who lost a race looks again soon: the other one may be done.
RACE_SECONDS = 5.0
# What may be verified yet is looked at again: soon at first.
SHORTEST_WAIT_SECONDS = 15.0
# Comments of a channel in a minute: far more than people write, and few enough for who reads an incident.
VERIFIED_A_MINUTE, UNVERIFIED_A_MINUTE = 60, 10
MINUTE_SECONDS = 60.0


@dataclass(frozen=True)
class Note:
    """Progress of a callback. `until` ends the lease of the worker that writes it, in epoch seconds; 0: no worker does.

    `in_doubt` says that its comment may stand in BigPanda already.
    """

    is_written: bool = False
    in_doubt: bool = False
    until: float = 0.0
    sequence: int = 0

    @classmethod
    def read(cls, table: Table, name: str) -> Self:
        """The note of that key, an empty one where there is none. Raises LedgerError."""
        found = table.read(name)
        if found is None:
            return cls()
        try:
            is_written, in_doubt, until = json.loads(found.text)
            return cls(bool(is_written), bool(in_doubt), float(until), found.sequence)
        except (ValueError, TypeError) as error:
            raise LedgerError(f"the note can't be read: {type(error).__name__}") from error

    def write(self, table: Table, name: str) -> "Note | None":
        """Put it in the place of the one it was made of; None when another one stands there. Raises LedgerError."""
        sequence = table.write(name, self.sequence, json.dumps([self.is_written, self.in_doubt, self.until]))
        return replace(self, sequence=sequence) if sequence else None


class _Deed(NamedTuple):
    """A callback, the incident to write it to, and if the callback was verified."""

    said: Callback
    incident: Incident
    access: Access
    answers: Answers
    is_verified: bool


@dataclass(frozen=True)
class Writeback:
    """Writes callbacks into BigPanda. `clock` gives epoch seconds."""

    bigpanda: BigPanda
    turns: Turns
    sources: Sources
    table: Table
    ledger: Ledger
    verifier: Verifier
    clock: Callable[[], float]

    def write(self, job: Job, channel: Channel, deadline: Deadline) -> Result:
        """Write what a job's callback says, if that is wanted and not done yet.

        `unsafe`, with a reason, when it was not done: the caller lets the job wait, or buries it.
        """
        said, came = parse_callback(job.body), seconds_of(job.received_at)
        if not channel.heeds(said):
            return _result(job, Outcome.UNCHANGED)
        try:
            entries = self._entries(channel, said.incident_id)
            answered = Answered(said, channel.answers.is_acknowledgement(said), came)
            found = self.verifier.judge(answered, [entry for _, entry in entries], channel.rest, deadline)
            if found.verdict == Verdict.EARLY:
                now = self.clock()
                wait = max(SHORTEST_WAIT_SECONDS, now - came)
                return replace(_failed(job, Reason.IN_FLIGHT, found.why), until=min(now + wait, came + EARLY_SECONDS))
            result = self._written(job, channel, answered, entries, deadline, verdict=found.verdict)
        except LedgerError as error:
            # Nobody's phone waits for it.
            return _failed(job, Reason.INTERNAL, str(error))
        return result if found.verdict == Verdict.VERIFIED else replace(result, unverified=found.why)

    def _written(
        self,
        job: Job,
        channel: Channel,
        answered: Answered,
        entries: Sequence[tuple[str, Entry]],
        deadline: Deadline,
        *,
        verdict: Verdict,
    ) -> Result:
        """Note and write what a callback says, as far as it was verified. Raises LedgerError."""
        said, is_verified = answered.said, verdict == Verdict.VERIFIED
        if is_verified and channel.is_quiet and answered.is_acknowledgement and said.target:
            self._note_who_acknowledged(entries, said.target, answered.came)
        access = channel.bigpanda
        if access is None or not access.writes(said) or verdict == Verdict.STRANGE:
            return _result(job, Outcome.UNCHANGED)
        incident = _incident(said, access, entries)
        if incident is None:
            return _failed(job, Reason.REFUSED, "nothing tells its environment: set bigpanda.environment_id")
        return self._once(job, _Deed(said, incident, access, channel.answers, is_verified), deadline)

    def release(self, job: Job, channel: Channel, deadline: Deadline) -> Result:
        """Tell BigPanda that the first share of an incident arrived. `unsafe`, with a reason, when it was not told."""
        access = channel.bigpanda
        if access is None or not access.callbacks:
            return _result(job, Outcome.UNCHANGED)
        try:
            self.turns.wait(access, "callback")
            self.bigpanda.release(access, job.incident_id, json.loads(job.body)["event"], deadline)
        except LedgerError as error:
            return _failed(job, Reason.INTERNAL, str(error))
        except SendError as error:
            return _not_accepted(job, error)
        return replace(_result(job, Outcome.DELIVERED), attempts=1)

    def _note_who_acknowledged(self, entries: Sequence[tuple[str, Entry]], target: str, came: float) -> None:
        """Let the ledger know. Raises LedgerError.

        The job may be tried for hours, or replayed, and the incident be another one by then: what counts is when the
        acknowledgement came. Of an incident that was announced for several webhooks' recipients, each on its own, a
        callback does not say which it answers.
        """
        open_ones = [name for name, entry in entries if entry.announced and entry.announced.is_open]
        if len(open_ones) != 1:
            return
        [name] = open_ones
        self.ledger.change(name, lambda entry: entry.acknowledged(target, came))

    def _entries(self, channel: Channel, incident_id: str) -> list[tuple[str, Entry]]:
        """Return an incident's entries by key: its shares may have named recipients."""
        recipients = ((), *self.sources.of_incident(channel, incident_id))
        names = [key(channel.name, each, incident_id) for each in recipients]
        return [(name, self.ledger.read(name)) for name in names]

    def _once(self, job: Job, deed: _Deed, deadline: Deadline) -> Result:
        name, now = f"writeback/{job.channel}/{job.delivery_id}", self.clock()
        note = Note.read(self.table, name)
        if note.is_written:
            return _result(job, Outcome.DUPLICATE)
        if note.until > now:
            return replace(_failed(job, Reason.IN_FLIGHT, "another worker is at it"), until=note.until + 1)
        what, most = ("verified", VERIFIED_A_MINUTE) if deed.is_verified else ("unverified", UNVERIFIED_A_MINUTE)
        if not note.sequence and not self.turns.has_room(f"callbacks/{what}/{job.channel}", most):
            busy = _failed(job, Reason.PACED, f"the channel had {most} {what} callbacks in this minute")
            return replace(busy, until=now + MINUTE_SECONDS)
        # Whoever had a lease and did not give it back may have written it.
        note = replace(note, in_doubt=note.in_doubt or note.until > 0, until=now + LEASE_SECONDS)
        held = note.write(self.table, name)
        if held is None:
            return replace(_failed(job, Reason.IN_FLIGHT, "another worker was quicker"), until=now + RACE_SECONDS)
        try:
            self._do(deed, _comment(deed, mark(job.delivery_id)), held, deadline)
        except SendError as error:
            replace(held, in_doubt=held.in_doubt or error.may_have_rung, until=0.0).write(self.table, name)
            return _not_accepted(job, error)
        replace(held, is_written=True, until=0.0).write(self.table, name)
        return replace(_result(job, Outcome.DELIVERED), attempts=1)

    def _do(self, deed: _Deed, comment: Comment, note: Note, deadline: Deadline) -> None:
        is_taken_on = deed.is_verified and deed.access.assign and deed.answers.is_acknowledgement(deed.said)
        assigned = self._assigned(deed, deadline) if is_taken_on else ""
        if note.in_doubt:
            self.turns.wait(deed.access, "activities", calls=ACTIVITY_PAGES)
            if self.bigpanda.has_comment(deed.access, deed.incident, comment.stands_in, deadline):
                return
        self.turns.wait(deed.access, "comments")
        self.bigpanda.comment(deed.access, deed.incident, comment.text(assigned), deadline)

    def _assigned(self, deed: _Deed, deadline: Deadline) -> str:
        """Assign the incident to who took it on, and say in words what came of it.

        What BigPanda refuses must not keep the comment back; what passes by itself is raised.
        """
        try:
            self.turns.wait(deed.access, "users")
            user_id = self.bigpanda.user_id(deed.access, _names(deed.said, deed.access), deadline)
            if user_id is None:
                return "(Not assigned: BigPanda has no user of that name.)"
            self.turns.wait(deed.access, "assignment")
            self.bigpanda.assign(deed.access, deed.incident, user_id, deadline)
        except BadAnswer as error:
            if error.reason not in {Reason.REFUSED, Reason.CREDENTIALS}:
                raise
            return f"(Not assigned: BigPanda answered {error.http_status}.)"
        return "The incident is assigned to them."


def _comment(deed: _Deed, mark: str) -> Comment:
    return comment_of(deed.said, deed.answers, mark, is_verified=deed.is_verified)


def _incident(said: Callback, access: Access, entries: Sequence[tuple[str, Entry]]) -> Incident | None:
    """Return the address of a callback's incident: where the ledger has it from, else what the callback says."""
    known = (entry.environment_id for _, entry in entries)
    environment_id = next(filter(None, (*known, access.place(said.environment_id), *access.environments)), None)
    return Incident(environment_id, said.incident_id) if environment_id else None


def _names(said: Callback, access: Access) -> Iterable[str]:
    """The names by which BigPanda may know whom xMatters calls `target`."""
    at_home = f"{said.target}@{access.email_domain}" if said.target and access.email_domain else None
    return dict.fromkeys(name for name in (said.email, said.target, at_home) if name)


def _result(job: Job, outcome: Outcome) -> Result:
    return Result(outcome, job.channel, job.incident_id, delivery_id=job.delivery_id)


def _failed(job: Job, reason: Reason, detail: str) -> Result:
    return replace(_result(job, Outcome.UNSAFE), reason=reason, detail=detail)


def _not_accepted(job: Job, error: SendError) -> Result:
    return replace(
        _failed(job, error.reason, error.detail),
        attempts=int(error.asked),
        http_status=error.http_status,
        response_excerpt=error.excerpt,
        retry_after=error.retry_after,
        may_have_rung=error.may_have_rung,
    )
