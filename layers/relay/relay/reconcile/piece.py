"""Piece of a reconcile run: the channels to compare, and the point at which a part of the run ("piece") begins.

It is queued as a job of the kind `reconcile`. It names channels, and holds no credential.
"""

import hashlib
import json
from collections.abc import Iterable
from copy import replace
from typing import Any, NamedTuple, Self

from relay.bigpanda.listing import Position
from relay.failures.reasons import Reason
from relay.jobs.envelope import UnreadableMessage
from relay.jobs.job import Job, JobKind, Stamps, timestamp


class Member(NamedTuple):
    """A channel that a run compares.

    Attributes:
        name: Name of the channel.
        names_recipients: True if a webhook URL of the channel may have contained names of recipients.
        signals: True if the channel signals incidents of which no share came: `bigpanda.reconcile` is `ring`, and the
            secret names recipients.
    """

    name: str
    names_recipients: bool = False
    signals: bool = False


class Cursor(NamedTuple):
    """Start of a piece (a part of a run that one job works), with the results of earlier pieces.

    Attributes:
        piece: Number of the piece, from 0.
        position: First page of BigPanda's listing for the piece.
        members: Number of channels that earlier pieces compared with the pages from `position` on.
        known: Short names of incidents of these pages that one of those channels knows.
        unknown: Short names of incidents of these pages that one of those channels should know, and does not.
        is_again: True if an earlier piece began at the same point.
        takes_all: True if the piece may queue states that are not critical, since all criticals are queued.
        has_postponed: True if the run found states that are not critical, and has yet to queue them.
        waits: True if the next run must list a resolved incident again.
        details: Number of incidents whose details the run requested from BigPanda.
        counts: Numbers of incidents so far, in the order of `COUNTS`: compared, missed, snooze_over, unknown,
            unreadable.
    """

    piece: int = 0
    position: Position = Position()
    members: int = 0
    known: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    is_again: bool = False
    takes_all: bool = False
    has_postponed: bool = False
    waits: bool = False
    details: int = 0
    counts: tuple[int, ...] = (0, 0, 0, 0, 0)


class Piece(NamedTuple):
    """A piece of a reconcile run: the part of it that one job works.

    Attributes:
        run: Id of the run.
        planned_at: Time at which the schedule started the run (ISO 8601, UTC).
        environment_id: BigPanda's id of the environment.
        members: The channels.
        cursor: Place in the listing at which the piece begins, and the totals of earlier pieces.
    """

    run: str
    planned_at: str
    environment_id: str
    members: tuple[Member, ...]
    cursor: Cursor = Cursor()

    @classmethod
    def planned(cls, environment_id: str, members: Iterable[Member], now: float) -> Self:
        """Return the first piece of a new run for these channels. `now` is the time of the schedule (epoch seconds)."""
        known, at = tuple(members), timestamp(now)
        named = json.dumps([environment_id, known, at]).encode()
        return cls(hashlib.sha256(named).hexdigest()[:32], at, environment_id, known)

    @classmethod
    def of(cls, job: Job) -> Self:
        """Read the piece of a run from the body of a `reconcile` job. Raises UnreadableMessage if it can't."""
        try:
            document = json.loads(job.body)
            members = tuple(
                Member(str(name), bool(names), bool(signals)) for name, names, signals in document["members"]
            )
            return cls(
                job.digest or "", job.received_at, str(document["environment_id"]), members, _cursor(document["cursor"])
            )
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise UnreadableMessage(f"its body is not a reconcile run's ({type(error).__name__})") from None

    def job(self) -> Job:
        """Return the `reconcile` job for this piece, to be put on the chore queue."""
        body = {"environment_id": self.environment_id, "members": self.members, "cursor": self.cursor._asdict()}
        content = json.dumps(body, separators=(",", ":")).encode()
        stamps = Stamps(Reason.IN_FLIGHT, f"reconcile-{self.run}")
        return Job(
            JobKind.RECONCILE, self.members[0].name, (), "", self.planned_at, content, digest=self.run, stamps=stamps
        )

    def going_on(self, cursor: Cursor) -> "Piece":
        """Return the next piece of the same run, which begins at `cursor`."""
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
        has_postponed=bool(members["has_postponed"]),
        waits=bool(members["waits"]),
        details=int(members["details"]),
        counts=tuple(map(int, members["counts"])),
    )
