"""Plan of a reconcile run: which listings of BigPanda's incidents are compared with which channels."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from relay.channels.cache import ChannelCache
from relay.channels.channel import BigPandaAccess, Channel
from relay.channels.misconfiguration import needs_url_recipients
from relay.deadline import Deadline
from relay.failures import ChannelError, LedgerError, UnknownChannel
from relay.ledger.sources import Sources

if TYPE_CHECKING:
    from relay.telemetry.telemetry import Telemetry


class Member(NamedTuple):
    """A channel that a run compares.

    Attributes:
        channel: The channel, as the run read it at its start.
        names_recipients: True if a webhook URL of the channel may have contained names of recipients.
    """

    channel: Channel
    names_recipients: bool = False

    @property
    def name(self) -> str:
        return self.channel.name

    @property
    def signals(self) -> bool:
        """True if the channel signals incidents of which no share came. Else it only reports them.

        The setting `bigpanda.reconcile` must be `ring`. Without a share, the relay does not know the recipients in the
        webhook's URL. So the channel must not depend on that URL for its recipients.
        """
        return is_ringing(self.channel) and not needs_url_recipients(self.channel)


class Group(NamedTuple):
    """Channels with the same API key, base URL and query. BigPanda is asked once for all of them.

    Attributes:
        access: Access to BigPanda's API, from one of the channels.
        members: The channels.
    """

    access: BigPandaAccess
    members: tuple[Member, ...]

    def has(self, channel: Channel) -> bool:
        """True if the channel is compared, and still has the group's API key, base URL and query."""
        access = channel.bigpanda if channel.is_reconciled else None
        return access is not None and _account(access) == _account(self.access)


class Listing(NamedTuple):
    """BigPanda's incidents by base URL, query and environment, and the groups of channels that list them.

    Attributes:
        name: Short name of the listing (`listing_name`).
        environment_id: BigPanda's id of the environment.
        groups: The groups, one for each API key.
    """

    name: str
    environment_id: str
    groups: tuple[Group, ...]

    @property
    def number(self) -> int:
        """Place of the listing in the order of runs."""
        return int(self.name[:8], 16)


@dataclass(frozen=True)
class Planner:
    """Reads the channels, and groups those that have the same listing of BigPanda's incidents.

    Attributes:
        names: Returns the names of all channels.
        channels: The cached channels.
        sources: Finds the channels with a webhook URL that may have contained names of recipients.
        telemetry: Log and metrics.
    """

    names: Callable[[], Iterable[str]]
    channels: ChannelCache
    sources: Sources
    telemetry: "Telemetry"

    def listings(self, deadline: Deadline) -> list[Listing]:
        """Return the listings to compare, with their channels. Raises LedgerError and ChannelError.

        A channel that can't be read is left out, and counted as a failure.
        """
        channels = list(self._channels(deadline))
        named = self.sources.naming_recipients(channels)
        listings: dict[tuple[str, str], dict[tuple[str, str, str | None], Group]] = {}
        for channel in channels:
            access, member = channel.bigpanda, Member(channel, channel.name in named)
            if access is None:
                continue
            for environment_id in access.environments:
                groups = listings.setdefault((listing_name(access, environment_id), environment_id), {})
                known = groups.get(_account(access), Group(access, ()))
                groups[_account(access)] = Group(known.access, (*known.members, member))
        return [Listing(*names, tuple(groups.values())) for names, groups in listings.items()]

    def _channels(self, deadline: Deadline) -> Iterator[Channel]:
        for name in list(self.names()):
            if not deadline.remaining():
                raise LedgerError("there was no time to read all channels")
            try:
                channel = self.channels.get(name)
            except UnknownChannel:
                # Removed: Secrets Manager may still list it for five minutes (API Reference, "ListSecrets").
                continue
            except ChannelError as error:
                notice_unread(self.telemetry, name, error)
                continue
            except Exception as error:  # noqa: BLE001 - a fault in one channel must not stop the others
                self.telemetry.crashed(error)
                continue
            if channel.is_reconciled:
                yield channel


def notice_unread(telemetry: "Telemetry", name: str, error: ChannelError) -> None:
    """Count and log that a reconcile run leaves out a channel whose secret can't be read."""
    telemetry.notice("reconcile_failed", f"channel {name}: {type(error).__name__}")


def is_ringing(channel: Channel) -> bool:
    """True if the channel's setting `bigpanda.reconcile` is `ring`."""
    return channel.bigpanda is not None and channel.bigpanda.reconcile == "ring"


def listing_name(access: BigPandaAccess, environment_id: str) -> str:
    """Return the short name of a listing of BigPanda's incidents: a hash of base URL, query and environment.

    The API key is no part of it: the history of a listing outlives the rotation of a key.
    """
    named = json.dumps([access.base_url, access.reconcile_query, environment_id])
    return hashlib.sha256(named.encode()).hexdigest()[:16]


def _account(access: BigPandaAccess) -> tuple[str, str, str | None]:
    return access.base_url, access.api_key, access.reconcile_query
