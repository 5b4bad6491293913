"""Confirmation with BigPanda that an incident is over, before its pages are terminated.

A resolve can be forged by anyone who has the webhook's token. So, if the channel has an API key, a follow-up asks
BigPanda if the incident is over. Two answers that it is open, a minute apart, refute the resolve. The incident is then
signalled again.
"""

import hashlib
import json
from collections.abc import Callable
from copy import replace
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from relay.channels.channel import Access, Channel
from relay.deadline import Deadline
from relay.delivery.task import new_job
from relay.errors import LedgerError, SendError
from relay.incidents.share import Share
from relay.incidents.transition import is_open
from relay.jobs.job import Job
from relay.jobs.outbox import Keeper
from relay.ledger.entry import Entry

if TYPE_CHECKING:
    # Not imported at run time: this would slow the cold starts of functions that only send signals.
    from relay.bigpanda.listing import Lister

# BigPanda's API may lag behind its webhook. By how much is not documented (docs/decisions.md, D-two-answers-refute).
APART_SECONDS = 60.0
# After so long without an answer from BigPanda, the resolve is accepted.
UNREACHABLE_SECONDS = 600.0


class ResolveAnswer(StrEnum):
    """BigPanda's answer when asked if an incident is over. REFUTED and UNREACHABLE are counted as metrics."""

    # No question was needed, or another follow-up of the incident asked it.
    NOT_ASKED = "not_asked"
    # The incident is over.
    CONFIRMED = "confirmed"
    # First answer that it is open; asked again later.
    DOUBTED = "doubted"
    # Second answer that it is open, a minute later.
    REFUTED = "refuted"
    # No answer for UNREACHABLE_SECONDS.
    UNREACHABLE = "unreachable"
    # No answer yet, or too early for the second question.
    WAIT = "wait"


class EndCheck(NamedTuple):
    """BigPanda's answer, and the next step: another question, or another signal.

    Attributes:
        answer: The answer.
        until: Time of the next question (epoch seconds); 0 if none is needed.
        again: Job that signals the incident again, after a refutation; None in other cases.
    """

    answer: ResolveAnswer
    until: float = 0.0
    again: Job | None = None

    def note(self, entry: Entry, now: float) -> Entry:
        """Return the entry with this answer recorded at `now` (epoch seconds).

        The answer holds for the incident, also if other resolves arrived meanwhile.
        """
        if not entry.is_end_in_doubt:
            return entry
        match self.answer:
            case ResolveAnswer.CONFIRMED | ResolveAnswer.UNREACHABLE:
                return replace(entry, end=entry.end.confirmed())
            case ResolveAnswer.DOUBTED:
                return replace(entry, end=entry.end.doubted(now))
            case ResolveAnswer.REFUTED:
                return replace(entry, end=entry.end.refuted())
        return entry


@dataclass(frozen=True)
class ResolveConfirmation:
    """Asks BigPanda if an incident is over, before the relay terminates its pages.

    Attributes:
        lister: Reads incidents of BigPanda.
        keeper: The queues.
        clock: The time in epoch seconds.
    """

    lister: "Lister"
    keeper: Keeper
    clock: Callable[[], float]

    def of_end(self, job: Job, entry: Entry, channel: Channel, deadline: Deadline) -> EndCheck:
        """Ask BigPanda if the incident is over, as its entry says. `job` is the follow-up's job.

        If the incident is open after all, the result contains the job of a new signal, for `reannounce`.
        """
        now, access = self.clock(), channel.bigpanda
        share = self._asked(access, entry, job.incident_id, deadline) if access else None
        if share is None:
            is_late = now - entry.end.at > UNREACHABLE_SECONDS
            if is_late:
                return EndCheck(ResolveAnswer.UNREACHABLE)
            return EndCheck(ResolveAnswer.WAIT, now + APART_SECONDS)
        if not is_open(share):
            return EndCheck(ResolveAnswer.CONFIRMED)
        if not entry.end.refuted_since:
            return EndCheck(ResolveAnswer.DOUBTED, now + APART_SECONDS)
        if now < entry.end.refuted_since + APART_SECONDS:
            return EndCheck(ResolveAnswer.WAIT, entry.end.refuted_since + APART_SECONDS)
        return EndCheck(ResolveAnswer.REFUTED, again=self._reannouncing(job, entry, share, channel))

    def reannounce(self, refuted: EndCheck, deadline: Deadline) -> EndCheck:
        """Queue the job of a refuted end (`refuted.again`), which signals the incident again.

        Returns `refuted`; an answer WAIT if the queue does not accept the job.
        """
        now = self.clock()
        is_kept = refuted.again is not None and self.keeper.keep(refuted.again, deadline, until=now)
        return refuted if is_kept else EndCheck(ResolveAnswer.WAIT, now + APART_SECONDS)

    def _asked(self, access: Access, entry: Entry, incident_id: str, deadline: Deadline) -> Share | None:
        """Return the incident from BigPanda's API; None if no environment has it, or the API fails."""
        places = dict.fromkeys(filter(None, (access.place(entry.environment_id), *access.environments)))
        for environment_id in places:
            try:
                share = self.lister.incident(access, environment_id, incident_id, deadline)
            except (SendError, LedgerError):
                continue
            if share is not None:
                return share
        return None

    def _reannouncing(self, job: Job, entry: Entry, share: Share, channel: Channel) -> Job:
        """Return the job that signals an incident which is still open, although a share said that it is over.

        It arrives now, so it is newer than the resolve.
        """
        body, trail = json.dumps(share.document).encode(), f"refuted-{share.incident_id}"[:100]
        made = new_job(channel, share, body, job.routing.url_recipients or (), trail, self.clock())
        # A new delivery id: a workflow may treat a known one as a repeated signal.
        again = hashlib.sha256(f"{made.delivery_id} {entry.end.at}".encode()).hexdigest()[:32]
        # BigPanda's own timestamps may be those from before the forged resolve. With the resolve's, a late copy of an
        # older share stays older.
        version = entry.newest.version if entry.newest else None
        has_version = version is not None
        payload = replace(made.payload, found=True, version=version, has_borrowed_version=has_version)
        return replace(made, delivery_id=again, payload=payload)
