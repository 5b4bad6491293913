"""Authentication of inbound requests, with a limit on the look-ups that unauthenticated requests can cause.

All refused requests get the same 401, so that an answer does not show if a channel exists. `errors.Unauthorized` has
the status of this answer, and `entrypoints.authenticated_endpoint` sends it.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from relay.channels.api_gateway import Request
from relay.channels.cache import ChannelCache
from relay.channels.channel import Channel, CredentialKind, credential_kind, is_channel_name
from relay.channels.refusal_budget import RefusalBudgets
from relay.channels.token import EndpointName
from relay.failures.errors import ChannelUnreadable, LookupsLimited, Unauthorized, UncheckableSender, UnknownChannel


@dataclass(frozen=True)
class Authenticator:
    """Checks the credentials of requests at one of the two endpoints.

    Attributes:
        channels: The cached channels.
        budgets: Limits on refused requests for each source address.
        clock: The time in epoch seconds.
        endpoint: `inbound` (BigPanda's webhook) or `callback` (xMatters').
    """

    channels: ChannelCache
    budgets: RefusalBudgets
    clock: Callable[[], float]
    endpoint: EndpointName

    def authenticate(self, request: Request) -> Channel:
        """Return the channel of a request with valid credentials.

        Raises Unauthorized if the credentials are missing or wrong, or there is no such channel. Raises LookupsLimited
        when the source address has used up its budget of refused requests. Raises UncheckableSender or
        ChannelUnreadable when the secret can't be read, so that the credentials can't be checked.
        """
        if not is_channel_name(request.channel):
            raise Unauthorized
        kind = credential_kind(request.headers, request.channel, self.endpoint)
        if kind in {CredentialKind.NONE, CredentialKind.WRONG_CHECKSUM}:
            raise Unauthorized
        known = self.channels.cached(request.channel)
        cached = known if self._fits(known, request) else None
        try:
            return self._authenticated(request, kind, cached)
        except UnknownChannel:
            raise Unauthorized from None
        except LookupsLimited:
            raise
        except ChannelUnreadable as error:
            if kind is CredentialKind.RIGHT_CHECKSUM or cached or error.exists:
                raise
            raise UncheckableSender(str(error)) from None

    def _authenticated(self, request: Request, kind: CredentialKind, cached: Channel | None) -> Channel:
        """Return the channel if the request's credentials are valid for it. Raises as `authenticate` does.

        `kind` is the kind of the credentials. `cached` is the cached copy of the channel if the credentials are valid
        for this copy, else None. If `cached` is given, an accepted request takes nothing from the source address's
        budget of refused requests.
        """
        if cached:
            with suppress(UnknownChannel):
                channel = self.channels.for_authentication(request.channel)
                if channel is cached or self._fits(channel, request):
                    return channel
        budget = self.budgets.of(request.source, is_checked=kind is CredentialKind.RIGHT_CHECKSUM)
        if not budget.take():
            raise LookupsLimited("too many requests of one source address were refused; try again")
        channel = self.channels.for_authentication(request.channel)
        if not self._fits(channel, request):
            # BigPanda does not resend a refused share, so a credential that was rotated a moment ago must be accepted.
            channel = self.channels.for_refusal(request.channel)
        if not self._fits(channel, request):
            raise Unauthorized(channel_exists=True)
        budget.give_back()
        return channel

    def _fits(self, channel: Channel | None, request: Request) -> bool:
        return channel is not None and channel.accepts(request.headers, self.clock(), endpoint=self.endpoint)
