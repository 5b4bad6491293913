"""Confirmation of an incident's end: BigPanda is asked before pages end, since a share can be forged.

Whoever has a webhook's token can send a resolve. So where the channel has a key of BigPanda's, a follow-up asks
BigPanda whether the incident is over. Two answers that it is open, a minute apart, refute the resolve: people are told
once more.
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
from relay.jobs.envelope import Job
from relay.jobs.outbox import Keeper
from relay.ledger.entry import Entry

if TYPE_CHECKING:
    # A signal need not wait for it.
    from relay.bigpanda.listing import Lister

# BigPanda's API may be behind its own webhook, by how much is not documented (docs/decisions.md,
# D-two-answers-refute).
APART_SECONDS = 60.0
# If nobody can ask BigPanda for so long, the resolve is believed.
UNREACHABLE_SECONDS = 600.0


class Answer(StrEnum):
    """What came of asking. REFUTED and UNREACHABLE are counted."""

    CONFIRMED = "confirmed"
    DOUBTED = "doubted"
    REFUTED = "refuted"
    UNREACHABLE = "unreachable"
    WAIT = "wait"


class Confirmed(NamedTuple):
    """An answer, and when to ask again (epoch seconds) if the end is in doubt still."""

    answer: Answer
    until: float = 0.0

    def note(self, entry: Entry, now: float) -> Entry:
        """Return the entry with this answer: it is of the incident, whatever resolves came meanwhile."""
        match self.answer:
            case Answer.CONFIRMED | Answer.UNREACHABLE:
                return entry.end_confirmed()
            case Answer.DOUBTED:
                return entry.end_doubted(now)
            case Answer.REFUTED:
                return entry.end_refuted()
        return entry


@dataclass(frozen=True)
class Confirmation:
    """Asks BigPanda. `clock` gives epoch seconds."""

    lister: "Lister"
    keeper: Keeper
    clock: Callable[[], float]

    def of_end(self, job: Job, entry: Entry, channel: Channel, deadline: Deadline) -> Confirmed:
        """Ask whether the incident of a follow-up is over, as its entry says; if that is refuted, let it ring again."""
        now, access = self.clock(), channel.bigpanda
        share = self._asked(access, entry, job.incident_id, deadline) if access else None
        if share is None:
            is_late = now - entry.over_at > UNREACHABLE_SECONDS
            return Confirmed(Answer.UNREACHABLE) if is_late else Confirmed(Answer.WAIT, now + APART_SECONDS)
        if not is_open(share):
            return Confirmed(Answer.CONFIRMED)
        if not entry.refuted_since:
            return Confirmed(Answer.DOUBTED, now + APART_SECONDS)
        if now < entry.refuted_since + APART_SECONDS:
            return Confirmed(Answer.WAIT, entry.refuted_since + APART_SECONDS)
        is_kept = self.keeper.keep(self._ringing(job, entry, share, channel), deadline, until=now)
        return Confirmed(Answer.REFUTED) if is_kept else Confirmed(Answer.WAIT, now + APART_SECONDS)

    def _asked(self, access: Access, entry: Entry, incident_id: str, deadline: Deadline) -> Share | None:
        """Return the incident as BigPanda shows it; None if it did not say."""
        places = dict.fromkeys(filter(None, (access.place(entry.environment_id), *access.environments)))
        for environment_id in places:
            try:
                share = self.lister.incident(access, environment_id, incident_id, deadline)
            except (SendError, LedgerError):
                continue
            if share is not None:
                return share
        return None

    def _ringing(self, job: Job, entry: Entry, share: Share, channel: Channel) -> Job:
        """Return the job that tells people that the incident goes on; by its arrival it is newer than the resolve."""
        body, trail = json.dumps(share.document).encode(), f"refuted-{share.incident_id}"[:100]
        made = new_job(channel, share, body, job.url_recipients or (), trail, self.clock())
        # A workflow takes a signal with a delivery id that it knows for a repeated one.
        again = hashlib.sha256(f"{made.delivery_id} {entry.over_at}".encode()).hexdigest()[:32]
        return replace(made, found=True, version=None, delivery_id=again)
