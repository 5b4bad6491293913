"""Schedule of reconcile runs: one run for each group of channels with the same listing in BigPanda."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from relay.channels.cache import ChannelCache
from relay.channels.channel import Channel
from relay.channels.misconfiguration import needs_url_recipients
from relay.deadline import Deadline
from relay.failures.errors import ChannelError, LedgerError, UnknownChannel
from relay.jobs.outbox import Outbox
from relay.ledger.sources import Sources
from relay.reconcile.group import group_of
from relay.reconcile.piece import Member, Piece
from relay.telemetry.telemetry import Telemetry

# Time limit of the schedule; the function's time-out is 240 seconds.
ALL_SECONDS = 220.0
# Time between the first pieces of two groups. A run makes at least three calls, and BigPanda allows 5 a second. With
# this spacing, groups with the same key do not block the workers while they wait for the rate limit (docs/decisions.md,
# D-run-chain).
SPACING_SECONDS = 0.6


@dataclass(frozen=True)
class Schedule:
    """Starts a reconcile run for each group of channels, every ReconcileMinutes: it enqueues the run's first piece.

    The channels of a group share a listing of BigPanda's incidents. A piece is the part of a run that one job works.

    Attributes:
        names: Returns the names of all channels.
        channels: The cached channels.
        sources: Finds the channels with a webhook URL that may have contained names of recipients.
        outbox: The queues of jobs.
        telemetry: Log and metrics.
        clock: The time in epoch seconds.
        random: Returns a random number from 0 to 1.
        deadlines: Returns a deadline of a number of seconds.
    """

    names: Callable[[], Iterable[str]]
    channels: ChannelCache
    sources: Sources
    outbox: Outbox
    telemetry: Telemetry
    clock: Callable[[], float]
    random: Callable[[], float]
    deadlines: Callable[[float], Deadline]

    def start(self) -> dict[str, Any]:
        """Put the first piece of each group's run on the chore queue. Return the numbers of runs and channels.

        The order of the groups is random, so that no group is always the last.
        """
        whole = self.deadlines(ALL_SECONDS)
        pieces = sorted(self.planned(whole), key=lambda _: self.random())
        began, queued = self.clock(), 0
        for number, piece in enumerate(pieces):
            if not whole.remaining():
                break
            queued += self.outbox.enqueue(piece.job(), whole, until=began + number * SPACING_SECONDS)
        if queued < len(pieces):
            self._failed(f"{len(pieces) - queued} of {len(pieces)} runs could not be queued")
        return {"runs": queued, "channels": len({each.name for piece in pieces for each in piece.members})}

    def planned(self, whole: Deadline) -> list[Piece]:
        """Return the first piece of a new reconcile run for each group of channels; no piece if the ledger fails.

        `whole` is the deadline of the whole invocation, in which the pieces are also queued afterwards.
        """
        channels = list(self._channels(whole))
        try:
            named = self.sources.naming_recipients(channels)
        except LedgerError as error:
            self._failed(str(error))
            return []
        groups: dict[Any, list[Member]] = {}
        for channel in channels:
            for environment_id in channel.bigpanda.environments if channel.bigpanda else ():
                member = Member(channel.name, channel.name in named, _rings(channel))
                groups.setdefault((environment_id, group_of(channel)), []).append(member)
        now = self.clock()
        return [Piece.planned(environment_id, members, now) for (environment_id, _), members in groups.items()]

    def _channels(self, whole: Deadline) -> Iterator[Channel]:
        try:
            names = list(self.names())
        except ChannelError as error:
            self._failed(str(error))
            return
        for name in names:
            if not whole.remaining():
                self._failed("there was no time to read all channels")
                return
            channel = self._channel(name)
            if channel and channel.is_reconciled:
                yield channel

    def _channel(self, name: str) -> Channel | None:
        try:
            return self.channels.get(name)
        except UnknownChannel:
            # Removed: Secrets Manager may still list it for five minutes (API Reference, "ListSecrets").
            return None
        except ChannelError as error:
            self._failed(f"channel {name}: {type(error).__name__}")
        except Exception as error:  # noqa: BLE001 - a fault in one channel must not stop the others
            self.telemetry.crashed(error)
        return None

    def _failed(self, detail: str) -> None:
        self.telemetry.notice("reconcile_failed", detail)


def _rings(channel: Channel) -> bool:
    """True if the channel signals incidents of which no share came. Else it only reports them.

    The setting `bigpanda.reconcile` must be `ring`. Without a share, the relay does not know the recipients in the
    webhook's URL. So the channel must not depend on that URL for its recipients.
    """
    is_wanted = channel.bigpanda is not None and channel.bigpanda.reconcile == "ring"
    return is_wanted and not needs_url_recipients(channel)
