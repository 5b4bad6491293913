"""Write-back of xMatters' callbacks into BigPanda: comments, assignments, and the actions of responses.

An unverified callback only gets a comment, which says so. Nothing is written if the channel does not know the incident.
A table item records each callback's progress, so that the callback is written once.
"""

import json
from collections.abc import Sequence
from contextlib import suppress
from copy import replace
from dataclasses import dataclass
from typing import Self

from relay.bigpanda.callback_verification import (
    EARLY_CALLBACK_SECONDS,
    CallbackVerdict,
    ReceivedCallback,
    Verdict,
    Verifier,
)
from relay.bigpanda.client import Incident
from relay.bigpanda.comment import comment_of, tag_of
from relay.bigpanda.incident_writer import MINUTE_SECONDS, CallbackToWrite, IncidentWriter
from relay.channels.channel import BigPandaAccess, Channel
from relay.deadline import Clock, Deadline
from relay.failures import LedgerError, Reason, SendError
from relay.incidents.callback import Callback, parse_callback
from relay.incidents.share import TEST_PREFIX
from relay.jobs.job import Flag, Job, seconds_of
from relay.jobs.result import Exchange, Outcome, Result
from relay.ledger.accepted_signal import AcceptedSignal
from relay.ledger.entry import Entry, entry_key
from relay.ledger.receipt_prover import ReceiptProver
from relay.ledger.sources import Sources
from relay.ledger.table import Ledger, Table


@dataclass(frozen=True)
class WritebackProgress:
    """Progress of writing a callback into BigPanda, kept as a table item.

    Attributes:
        in_doubt: True if the callback's comment may have been written.
        until: End of the lease of the worker that writes the comment (epoch seconds); 0 if no worker has the lease.
        sequence: Version of the table item, for optimistic locking; 0 if the table has no item.
    """

    is_written: bool = False
    in_doubt: bool = False
    until: float = 0.0
    sequence: int = 0

    @classmethod
    def read(cls, table: Table, name: str) -> Self:
        """Read the item `name`; a new progress if there is none. Raises LedgerError, also if the item is malformed."""
        found = table.read(name)
        if found is None:
            return cls()
        try:
            is_written, in_doubt, until = json.loads(found.text)
            return cls(bool(is_written), bool(in_doubt), float(until), found.sequence)
        except (ValueError, TypeError) as error:
            raise LedgerError(f"the progress can't be read: {type(error).__name__}") from error

    def write(self, table: Table, name: str) -> "WritebackProgress | None":
        """Write the item; return it with its new version, or None if another worker changed it. Raises LedgerError."""
        sequence = table.write(name, self.sequence, json.dumps([self.is_written, self.in_doubt, self.until]))
        return replace(self, sequence=sequence) if sequence else None


# Longer than a worker works on one callback, so a lease expires only if its worker died.
WRITEBACK_LEASE_SECONDS = 60.0
# Wait after a conflicting write: the other worker may be done by then.
RACE_SECONDS = 5.0
# First wait before an early callback is verified again; the waits grow with its age.
SHORTEST_WRITEBACK_WAIT_SECONDS = 15.0
# Longest wait before xMatters is asked again about a callback that it confirmed before.
LONGEST_WRITEBACK_WAIT_SECONDS = 900.0
# Rate limits of a channel's comments: far above normal use, and low enough that incidents stay readable.
VERIFIED_A_MINUTE, UNVERIFIED_A_MINUTE = 60, 10


@dataclass(frozen=True)
class Writeback:
    """Writes callbacks of xMatters into BigPanda: comments, assignments, and the actions that the channel allows."""

    writer: IncidentWriter
    sources: Sources
    table: Table
    ledger: Ledger
    verifier: Verifier
    prover: ReceiptProver
    clock: Clock

    def write(self, job: Job, channel: Channel, deadline: Deadline, *, waits_until: float = 0.0) -> Result:
        """Verify a job's callback, record an acknowledgement or proof in the ledger, and write it into BigPanda once.

        BigPanda is not called before `waits_until` (epoch seconds). A failure of a vendor or the ledger raises nothing.

        | outcome | case |
        | --- | --- |
        | `delivered` | The callback was written. |
        | `duplicate` | An earlier call wrote the callback. |
        | `unchanged` | The channel writes no such callback, or does not know the incident. |
        | `unsafe`, with a reason | A request or the ledger failed, or the callback has to wait: call again later. |
        """
        callback, came = parse_callback(job.body), seconds_of(job.received_at)
        if not channel.wants_callback(callback):
            return Result.of_job(job, Outcome.UNCHANGED)
        try:
            entries = self._entries(channel, callback.incident_id)
            action = channel.bigpanda.action_of(callback) if channel.bigpanda else None
            is_proof = channel.policy.awaits_receipt and channel.is_answer(callback)
            counts = is_proof or (action is not None and action.changes_incident)
            received = ReceivedCallback(callback, channel.responses.is_acknowledgement(callback), came, counts)
            found = self.verifier.judge(received, [entry for _, entry in entries], channel.rest, deadline)
            # The ledger may have failed when its signal was sent: then that is recorded shortly after the ledger works.
            is_after_failure = found.verdict != Verdict.VERIFIED and job.stamps.reason == Reason.INTERNAL
            now = self.clock()
            if found.is_unasked and Flag.VERIFIED in job.flags:
                # A question that fails now does not make a person's answer a stranger's. If it fails for too long, the
                # answer is dead-lettered, and can be replayed.
                wait = max(SHORTEST_WRITEBACK_WAIT_SECONDS, now - job.age_counts_from)
                again = now + min(wait, LONGEST_WRITEBACK_WAIT_SECONDS)
                return replace(Result.unsafe(job, found.reason, found.why), until=again)
            if found.verdict == Verdict.EARLY or is_after_failure:
                wait = max(SHORTEST_WRITEBACK_WAIT_SECONDS, now - came)
                again = min(now + wait, came + EARLY_CALLBACK_SECONDS)
                again = max(again, now + MINUTE_SECONDS) if is_after_failure else again
                return replace(Result.unsafe(job, found.reason, found.why), until=again)
            if found.signal and (until := _end_waits_until(received, entries, found.signal, self.clock())):
                why = "the answer that ended the page may be on its way, or a follow-up has not found the page"
                return replace(Result.unsafe(job, Reason.IN_FLIGHT, why), until=until)
            job = job.with_flags(Flag.VERIFIED) if found.verdict == Verdict.VERIFIED else job
            result = self._written(job, channel, received, entries, deadline, found=found, waits_until=waits_until)
        except LedgerError as error:
            # Retried later, since no page depends on a callback.
            return Result.unsafe(job, Reason.INTERNAL, str(error))
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
        waits_until: float,
    ) -> Result:
        """Record a verified proof or acknowledgement in the ledger, then write the callback. Raises LedgerError."""
        callback, is_verified = received.callback, found.verdict == Verdict.VERIFIED
        if is_verified and channel.policy.awaits_receipt:
            self._note_proof(channel, received, entries, found.signal, deadline)
        if is_verified and received.is_acknowledgement and callback.target:
            self._note_who_acknowledged(entries, callback.target, received.came, found.signal)
        access = channel.bigpanda
        # BigPanda has no incident of `relayctl channel test`.
        is_test = callback.incident_id.startswith(TEST_PREFIX)
        if access is None or is_test or found.verdict == Verdict.STRANGE:
            return Result.of_job(job, Outcome.UNCHANGED)
        if not access.writes(callback) and not (is_verified and access.action_of(callback)):
            return Result.of_job(job, Outcome.UNCHANGED)
        if waits_until > self.clock():
            return replace(Result.unsafe(job, Reason.CIRCUIT_OPEN, "BigPanda's API hung"), until=waits_until)
        incident = _incident(callback, access, entries)
        if incident is None:
            return Result.unsafe(job, Reason.REFUSED, "its environment is unknown: set bigpanda.environment_id")

        to_write = self._to_write(channel, incident, access, received, entries, found)
        return self._write_once(job, to_write, deadline)

    def _to_write(
        self,
        channel: Channel,
        incident: Incident,
        access: BigPandaAccess,
        received: ReceivedCallback,
        entries: Sequence[tuple[str, Entry]],
        found: CallbackVerdict,
    ) -> CallbackToWrite:
        callback, came = received.callback, received.came

        # Read anew by each call: while vendors were asked, the incident may have changed.
        def known() -> list[Entry]:
            return [entry for _, entry in self._entries(channel, callback.incident_id)]

        def not_assigned() -> str:
            signal = found.signal
            entries = [each for each in known() if (each.has_signal(signal) if signal else each.sequence)]
            since = min(came, found.signal.at) if found.signal else came
            if any(entry.end.at > since for entry in entries):
                return "it ended since that page"
            if entries and all(entry.is_over for entry in entries):
                return "it is over"
            later = (entry.acknowledgement and entry.acknowledgement.at > came for entry in entries)
            return "somebody acknowledged it later" if any(later) else ""

        def outdated() -> str:
            entries = known()
            if any(entry.is_overtaken(came, found.signal) for entry in entries):
                return "it changed since that page"
            if any(entry.owes_worse for entry in entries):
                return "it got worse or opened again since that page, and nobody was told of that yet"
            return ""

        is_over = all(entry.newest is not None and not entry.newest.is_open for _, entry in entries if entry.sequence)
        is_verified = found.verdict == Verdict.VERIFIED
        return CallbackToWrite(
            callback, incident, access, channel.responses, is_verified, came, not_assigned, outdated, is_over
        )

    def release(self, job: Job, channel: Channel, deadline: Deadline) -> Result:
        """Report an incident's first share to BigPanda as received, so that BigPanda sends its updates.

        The outcome is `delivered`, `unsafe` with a reason if the request or the ledger failed, or `unchanged` if the
        secret lacks `bigpanda.callbacks`.
        """
        access = channel.bigpanda
        if access is None or not access.callbacks:
            return Result.of_job(job, Outcome.UNCHANGED)
        try:
            self.writer.release(access, job.incident_id, json.loads(job.body)["event"], deadline)
        except LedgerError as error:
            return Result.unsafe(job, Reason.INTERNAL, str(error))
        except SendError as error:
            return Result.of_job(job, Outcome.UNSAFE).failed(error)
        return _delivered(job)

    def _note_who_acknowledged(
        self, entries: Sequence[tuple[str, Entry]], target: str, came: float, signal: AcceptedSignal | None
    ) -> None:
        """Record in the incident's ledger entry that the person `target` acknowledged. Raises LedgerError.

        An acknowledgement that is out of date (`Entry.acknowledged`) is ignored. If several entries are open and
        `signal` does not tell to which of them the callback belongs, nothing is recorded.
        """
        open_ones = [
            name
            for name, entry in entries
            if entry.announced and entry.announced.is_open and (signal is None or entry.has_signal(signal))
        ]
        if len(open_ones) != 1:
            return
        [name] = open_ones
        self.ledger.change(name, lambda entry: entry.acknowledged(target, came, signal))

    def _note_proof(
        self,
        channel: Channel,
        received: ReceivedCallback,
        entries: Sequence[tuple[str, Entry]],
        signal: AcceptedSignal | None,
        deadline: Deadline,
    ) -> None:
        """Record in the receipt of a critical that a device got it, a person answered, or nobody will.

        A sender with the callback token can claim a delivery. So with access to xMatters' REST API, xMatters is asked
        instead. If several entries are announced as open, and `signal` does not tell to which one the callback belongs,
        nothing is recorded. Raises LedgerError.
        """
        callback, policy, rest = received.callback, channel.policy, channel.rest
        open_ones = [
            (name, entry)
            for name, entry in entries
            if entry.receipt.awaits_answer and (signal is None or entry.awaits_proof_by(signal))
        ]
        told = [each for _, each in entries if each.announced is not None and each.announced.is_open]
        if len(open_ones) != 1 or (signal is None and len(told) > 1):
            return
        [(name, entry)] = open_ones
        if channel.is_answer(callback):
            who = callback.target or callback.name or "somebody"
            self.ledger.change(
                name, lambda each: replace(each, receipt=each.receipt.answered(who, received.came)), entry
            )
        elif callback.is_delivered() and rest is None:
            self.ledger.change(
                name, lambda each: replace(each, receipt=each.receipt.notified(received.came, policy)), entry
            )
        elif callback.is_delivered() and (pages := entry.pages_to_ask_about()) and entry.receipt.may_be_confirmed:
            with suppress(SendError):
                self.prover.ask(name, entry, channel, pages, deadline, is_early=True)
        elif callback.is_dead_end() and (signal or received.came >= entry.receipt.since):
            # What the vendors know is asked now, and not again at the time. If they fail, the time decides.
            with suppress(SendError):
                if entry.after_dead_end(callback, signal, policy).receipt != entry.receipt:
                    entry = self.prover.ask(name, entry, channel, entry.pages_to_ask_about(), deadline, is_early=False)
                self.ledger.change(name, lambda each: each.after_dead_end(callback, signal, policy), entry)

    def _entries(self, channel: Channel, incident_id: str) -> list[tuple[str, Entry]]:
        """Return an incident's ledger entries with their keys."""
        recipients = ((), *self.sources.of_incident(channel, incident_id))
        names = [entry_key(channel.name, each, incident_id) for each in recipients]
        return [(name, self.ledger.read(name)) for name in names]

    def _write_once(self, job: Job, to_write: CallbackToWrite, deadline: Deadline) -> Result:
        name, now = f"writeback/{job.channel}/{job.delivery_id}", self.clock()
        progress = WritebackProgress.read(self.table, name)
        if progress.is_written:
            return Result.of_job(job, Outcome.DUPLICATE)
        if progress.until > now:
            return replace(
                Result.unsafe(job, Reason.IN_FLIGHT, "another worker has the lease"), until=progress.until + 1
            )
        what, most = ("verified", VERIFIED_A_MINUTE) if to_write.is_verified else ("unverified", UNVERIFIED_A_MINUTE)
        if not progress.sequence and not self.writer.rate_limit.take_room(f"callbacks/{what}/{job.channel}", most):
            busy = Result.unsafe(job, Reason.PACED, f"the channel had {most} {what} callbacks in this minute")
            return replace(busy, until=now + MINUTE_SECONDS)
        # A worker whose lease expired may have written the comment.
        progress = replace(
            progress, in_doubt=progress.in_doubt or progress.until > 0, until=now + WRITEBACK_LEASE_SECONDS
        )
        leased = progress.write(self.table, name)
        if leased is None:
            return replace(
                Result.unsafe(job, Reason.IN_FLIGHT, "another worker took the lease"), until=now + RACE_SECONDS
            )
        jobs = [job]
        try:
            comment = comment_of(
                to_write.callback, to_write.responses, tag_of(job.delivery_id), is_verified=to_write.is_verified
            )
            self.writer.write(
                to_write,
                comment,
                deadline,
                may_be_written=leased.in_doubt,
                is_assigned=Flag.ASSIGNED in job.flags,
                note_assigned=lambda: jobs.append(job.with_flags(Flag.ASSIGNED)),
            )
        except SendError as error:
            with suppress(LedgerError):
                replace(leased, in_doubt=leased.in_doubt or error.may_have_acted, until=0.0).write(self.table, name)
            return Result.of_job(jobs[-1], Outcome.UNSAFE).failed(error)
        except LedgerError as error:
            return Result.unsafe(jobs[-1], Reason.INTERNAL, str(error))
        replace(leased, is_written=True, until=0.0).write(self.table, name)
        return _delivered(job)


def _end_waits_until(
    received: ReceivedCallback, entries: Sequence[tuple[str, Entry]], signal: AcceptedSignal, now: float
) -> float | None:
    """Return the time until which a callback about the end of a critical's page has to wait (epoch seconds).

    None if it need not wait. The person's answer that ended the page may come just after it. And a follow-up first has
    to find all pages of `signal`, since another page may still be active.
    """
    callback, came = received.callback, received.came
    if not callback.is_page_end() or not any(entry.receipt.is_open for _, entry in entries):
        return None
    first = came + SHORTEST_WRITEBACK_WAIT_SECONDS
    if now < first:
        return first
    is_unfound = not signal.pages and not signal.is_page_missing and now < came + EARLY_CALLBACK_SECONDS
    return now + SHORTEST_WRITEBACK_WAIT_SECONDS if is_unfound else None


def _incident(callback: Callback, access: BigPandaAccess, entries: Sequence[tuple[str, Entry]]) -> Incident | None:
    """Return the address of a callback's incident in BigPanda's API; None if its environment is unknown.

    The environment is the ledger's; else the callback's, if the secret allows it; else the first one in the secret.
    """
    known = (entry.about.environment_id for _, entry in entries)
    environment_id = next(
        filter(None, (*known, access.allowed_environment(callback.environment_id), *access.environments)), None
    )
    return Incident(environment_id, callback.incident_id) if environment_id else None


def _delivered(job: Job) -> Result:
    return replace(Result.of_job(job, Outcome.DELIVERED), exchange=Exchange(attempts=1))
