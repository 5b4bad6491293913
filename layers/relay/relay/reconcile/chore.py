"""The chore of a reconcile run: which channels it compares, and where its next piece goes on.

It travels as a job of the kind `reconcile`. It names channels, and holds no credential.
"""

import hashlib
import json
from collections.abc import Iterable
from copy import replace
from typing import Any, NamedTuple, Self

from relay.bigpanda.listing import Position
from relay.errors import Reason
from relay.jobs.envelope import Job, UnreadableMessage, timestamp

KIND = "reconcile"


class Member(NamedTuple):
    """A channel that a run compares.

    Attributes:
        name: The channel's name.
        names_recipients: The URL of a webhook of the channel's may have named recipients.
        rings: An incident that the channel never announced is relayed: `bigpanda.reconcile` is `ring`, and the secret
            says whom it rings.
    """

    name: str
    names_recipients: bool = False
    rings: bool = False


class Cursor(NamedTuple):
    """The point at which a piece of a run begins, and what earlier pieces hand on.

    Attributes:
        piece: The number of the piece, from 0.
        position: The page of BigPanda's listing.
        members: The number of channels that are compared with these pages already.
        known: Incidents of these pages that one of those channels knows.
        unknown: Incidents of these pages that one of those channels should know, and does not.
        is_again: An earlier piece began at the same point.
        takes_all: The piece may queue what is not critical: all criticals of the run are queued.
        holds: The run saw something that is not critical, and did not queue it yet.
        waits: Something that is over must be listed by the next run, too.
        details: The number of incidents whose details the run asked for.
        counts: What the run found so far: compared, missed, woken, unannounced, unreadable.
    """

    piece: int = 0
    position: Position = Position()
    members: int = 0
    known: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    is_again: bool = False
    takes_all: bool = False
    holds: bool = False
    waits: bool = False
    details: int = 0
    counts: tuple[int, ...] = (0, 0, 0, 0, 0)


class Chore(NamedTuple):
    """A piece of a reconcile run.

    Attributes:
        run: The id of the run.
        planned_at: The time at which the run was planned, as in `Job.received_at`.
        environment_id: BigPanda's id of the environment.
        members: The channels.
        cursor: The point at which the piece begins.
    """

    run: str
    planned_at: str
    environment_id: str
    members: tuple[Member, ...]
    cursor: Cursor = Cursor()

    @classmethod
    def planned(cls, environment_id: str, members: Iterable[Member], now: float) -> Self:
        """Return the first piece of a run that is planned at `now` (epoch seconds)."""
        known, at = tuple(members), timestamp(now)
        named = json.dumps([environment_id, known, at]).encode()
        return cls(hashlib.sha256(named).hexdigest()[:32], at, environment_id, known)

    @classmethod
    def of(cls, job: Job) -> Self:
        """Read the chore of a job. Raises UnreadableMessage."""
        try:
            document = json.loads(job.body)
            members = tuple(Member(str(name), bool(names), bool(rings)) for name, names, rings in document["members"])
            return cls(
                job.delivery_id, job.received_at, str(document["environment_id"]), members, _cursor(document["cursor"])
            )
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise UnreadableMessage(f"it is no reconcile run ({type(error).__name__})") from None

    def job(self) -> Job:
        """Return the job that carries the chore."""
        body = {"environment_id": self.environment_id, "members": self.members, "cursor": self.cursor._asdict()}
        return Job(
            kind=KIND,
            delivery_id=self.run,
            channel=self.members[0].name,
            incident_id="",
            body=json.dumps(body, separators=(",", ":")).encode(),
            received_at=self.planned_at,
            reason=Reason.IN_FLIGHT,
            correlation_id=f"reconcile-{self.run}",
            version=None,
            recipients=(),
        )

    def going_on(self, cursor: Cursor) -> "Chore":
        """Return the piece of the same run that begins at another point."""
        return replace(self, cursor=cursor)


def _cursor(members: dict[str, Any]) -> Cursor:
    return Cursor(
        piece=int(members["piece"]),
        position=Position(*(int(each) for each in members["position"])),
        members=int(members["members"]),
        known=tuple(map(str, members["known"])),
        unknown=tuple(map(str, members["unknown"])),
        is_again=bool(members["is_again"]),
        takes_all=bool(members["takes_all"]),
        holds=bool(members["holds"]),
        waits=bool(members["waits"]),
        details=int(members["details"]),
        counts=tuple(map(int, members["counts"])),
    )
