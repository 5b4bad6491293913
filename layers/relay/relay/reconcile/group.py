"""Group of channels that a reconcile run compares together, since they share a listing of BigPanda's incidents."""

from typing import NamedTuple

from relay.channels.channel import BigPandaAccess, Channel
from relay.reconcile.notes import group_name, listing_name


class Group(NamedTuple):
    """Channels that are compared together, since they share a listing of BigPanda's incidents.

    Attributes:
        access: Access to BigPanda's API, with the key, base URL and query that the channels have in common.
        environment_id: BigPanda's id of the environment.
    """

    access: BigPandaAccess
    environment_id: str

    @property
    def name(self) -> str:
        """Short name of the group, by which its note (the state of its runs) is stored."""
        return group_name(self.access, self.environment_id)

    @property
    def listing_name(self) -> str:
        """Short name of the group's listing (base URL, query, environment), by which the channels' notes are stored.

        See `relay.reconcile.notes`.
        """
        return listing_name(self.access, self.environment_id)

    def has(self, channel: Channel) -> bool:
        """True if the channel still belongs to the group: it has the group's key, base URL and query."""
        return group_of(channel) == _common(self.access)


def group_of(channel: Channel) -> tuple[str, str, str | None] | None:
    """Return a channel's base URL, API key and query for BigPanda; None if the channel has no reconcile runs.

    Channels with the same base URL, API key and query are compared together, in a group for each environment.
    """
    return _common(channel.bigpanda) if channel.bigpanda and channel.is_reconciled else None


def _common(access: BigPandaAccess) -> tuple[str, str, str | None]:
    return access.base_url, access.api_key, access.reconcile_query
