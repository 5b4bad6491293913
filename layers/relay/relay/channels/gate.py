"""Gate of a door: which requests may come in. Garbage costs few look-ups, and learns nothing from the answers."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from relay.channels.budget import Budgets
from relay.channels.cache import ChannelCache
from relay.channels.channel import Channel, Shown, is_channel_name, shown
from relay.channels.inbound import Request
from relay.channels.token import Door
from relay.errors import ChannelUnreadable, LookupsLimited, Unauthorized, UndecidedSender, UnknownChannel


@dataclass(frozen=True)
class Gate:
    """Checks credentials at one door.

    Attributes:
        channels: The channels.
        budgets: How many requests of each source address may be refused.
        clock: Epoch seconds.
        door: The door.
    """

    channels: ChannelCache
    budgets: Budgets
    clock: Callable[[], float]
    door: Door

    def admit(self, request: Request) -> Channel:
        """Return the channel of a request that may come in.

        Raises Unauthorized; LookupsLimited when the source had too many refusals; UndecidedSender or ChannelUnreadable
        when the secret can't be read to check the credentials.
        """
        if not is_channel_name(request.channel):
            raise Unauthorized
        kind = shown(request.headers, request.channel, self.door)
        if kind in {Shown.NOTHING, Shown.FOREIGN}:
            raise Unauthorized
        known = self.channels.known(request.channel)
        copy = known if self._fits(known, request) else None
        try:
            return self._admitted(request, kind, copy)
        except UnknownChannel:
            raise Unauthorized from None
        except LookupsLimited:
            raise
        except ChannelUnreadable as error:
            if kind is Shown.CHECKED or copy or error.exists:
                raise
            raise UndecidedSender(str(error)) from None

    def _admitted(self, request: Request, kind: Shown, copy: Channel | None) -> Channel:
        """Return the channel if the credentials fit; those that fit its last good `copy` need no budget."""
        if copy:
            with suppress(UnknownChannel):
                channel = self.channels.current(request.channel)
                if channel is copy or self._fits(channel, request):
                    return channel
        budget = self.budgets.of(request.source, is_checked=kind is Shown.CHECKED)
        if not budget.take():
            raise LookupsLimited("too many requests of one source address were refused; try again")
        channel = self.channels.current(request.channel)
        if not self._fits(channel, request):
            # A refused share is not sent again, so a credential that was rotated a moment ago must not be refused.
            channel = self.channels.recent(request.channel)
        if not self._fits(channel, request):
            raise Unauthorized(channel_exists=True)
        budget.give_back()
        return channel

    def _fits(self, channel: Channel | None, request: Request) -> bool:
        return channel is not None and channel.admits(request.headers, self.clock(), door=self.door)
