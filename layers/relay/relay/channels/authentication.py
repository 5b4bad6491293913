"""Authentication of inbound requests, with a limit on the look-ups that unauthenticated requests can cause.

All refused requests get the same 401, so that an answer does not show if a channel exists. A source address over its
budget of refused requests is answered 503 without a look-up.
"""

import ipaddress
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from relay.channels.cache import ChannelCache
from relay.channels.channel import Channel, checksum_fits, is_channel_name
from relay.channels.token import EndpointName
from relay.deadline import Clock
from relay.failures import (
    ChannelUnreadable,
    LookupsLimited,
    Unauthorized,
    UncheckableSender,
    UnknownChannel,
)


class Request(NamedTuple):
    """A request from API Gateway.

    Attributes:
        headers: Names are in lower case.
        recipients: Names in the URL's `recipients` parameters, each once.
        id: API Gateway's id of the request.
        source: IP address of the client; empty if unknown.
    """

    channel: str
    headers: Mapping[str, str]
    recipients: tuple[str, ...]
    body: str
    is_base64: bool
    id: str
    source: str = ""

    @classmethod
    def from_event(cls, event: Mapping[str, Any]) -> Self:
        """Read a proxy event of a REST API. Missing parts give empty values, never an exception."""
        queries = event.get("multiValueQueryStringParameters") or {}
        context = event.get("requestContext") or {}
        single = (event.get("queryStringParameters") or {}).get("recipients")
        return cls(
            channel=str((event.get("pathParameters") or {}).get("channel", "")),
            headers={str(name).lower(): str(value) for name, value in (event.get("headers") or {}).items()},
            recipients=_recipients(queries.get("recipients") or ([single] if single else [])),
            body=str(event.get("body") or ""),
            is_base64=bool(event.get("isBase64Encoded")),
            id=str(context.get("requestId", "")),
            source=str((context.get("identity") or {}).get("sourceIp") or ""),
        )


def _recipients(values: list[str]) -> tuple[str, ...]:
    names = (name.strip() for value in values for name in value.split(","))
    return tuple(dict.fromkeys(name for name in names if name))


class Reply(NamedTuple):
    """An answer to a request: HTTP status and JSON document."""

    status: int
    document: Mapping[str, Any]

    def to_response(self) -> dict[str, Any]:
        """Return the reply in the format of a Lambda proxy integration."""
        return {
            "statusCode": self.status,
            "headers": {"Content-Type": "application/json"},
            "body": json.dumps(self.document),
            "isBase64Encoded": False,
        }


# Refusals of one source in one container: the burst, and the refill in refusals a second (docs/decisions.md,
# D-refusal-budget).
OPAQUE_AT_ONCE, OPAQUE_PER_SECOND = 20.0, 1.0
# The same for tokens with a checksum. Higher, since all requests of a vendor may come from one address.
CHECKED_AT_ONCE, CHECKED_PER_SECOND = 100.0, 10.0
# Bounds the memory that a sender with many addresses can take. The least recently used budget is dropped first.
MAX_BUDGETS = 2048


class RefusalBudgets:
    """Budgets of refused requests by source address: small ones, and larger ones for tokens with a right checksum."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # Permits that are left, and when they were counted (epoch seconds); the least recently used first.
        self._buckets: dict[tuple[str, bool], tuple[float, float]] = {}

    def take(self, address: str, *, is_checked: bool) -> bool:
        """Take one refusal from the budget of an address. Return False if none is left.

        `is_checked` selects the budget for tokens with a right checksum.
        """
        key, now = (source(address), is_checked), self._clock()
        burst, per_second = _limits(is_checked)
        left, counted_at = self._buckets.pop(key, (burst, now))
        left = min(burst, left + max(0.0, now - counted_at) * per_second)
        self._buckets[key] = (left - 1 if left >= 1 else left, now)
        if len(self._buckets) > MAX_BUDGETS:
            del self._buckets[next(iter(self._buckets))]
        return left >= 1

    def give_back(self, address: str, *, is_checked: bool) -> None:
        """Put back the refusal that `take` took before the credentials were checked, since they proved valid.

        The arguments are those of `take`.
        """
        key = (source(address), is_checked)
        if key in self._buckets:
            left, counted_at = self._buckets[key]
            self._buckets[key] = (min(_limits(is_checked)[0], left + 1), counted_at)


def _limits(is_checked: bool) -> tuple[float, float]:
    return (CHECKED_AT_ONCE, CHECKED_PER_SECOND) if is_checked else (OPAQUE_AT_ONCE, OPAQUE_PER_SECOND)


def source(address: str) -> str:
    """Return the name under which an address is counted: the address, or its /64 network of IPv6; empty if invalid."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return ""
    if isinstance(found, ipaddress.IPv6Address):
        return str(found.ipv4_mapped or ipaddress.IPv6Network((found, 64), strict=False))
    return str(found)


@dataclass(frozen=True)
class Authenticator:
    """Checks the credentials of requests at one endpoint: BigPanda's (`inbound`) or xMatters' (`callback`)."""

    channels: ChannelCache
    budgets: RefusalBudgets
    clock: Clock
    endpoint: EndpointName

    def authenticate(self, request: Request) -> Channel:
        """Return the channel of a request with valid credentials.

        | exception | case |
        | --- | --- |
        | Unauthorized | The credentials are missing or wrong, or there is no such channel. |
        | LookupsLimited | The source address has used up its budget of refused requests. |
        | ChannelUnreadable | The channel's secret can't be read, and the request may be valid. |
        | UncheckableSender | The channel's secret can't be read, and nothing shows that the request may be valid. |

        A request may be valid if the channel is known to exist, the token's checksum is right, or a cached copy of the
        channel accepts the credentials.
        """
        known = self.channels.cached(request.channel)
        headers = request.headers
        if fits_cached := known is not None and known.accepts(headers, self.clock(), endpoint=self.endpoint):
            with suppress(UnknownChannel):
                channel = self.channels.for_authentication(request.channel)
                if channel is known or self._fits(channel, request):
                    return channel
        if not is_channel_name(request.channel):
            raise Unauthorized
        fits = checksum_fits(headers, request.channel, self.endpoint)
        if fits is False:
            raise Unauthorized
        try:
            return self._looked_up(request, is_checked=fits is True)
        except UnknownChannel:
            raise Unauthorized from None
        except ChannelUnreadable as error:
            if fits or fits_cached or error.exists:
                raise
            raise UncheckableSender(str(error)) from None

    def _looked_up(self, request: Request, *, is_checked: bool) -> Channel:
        """Return the channel, or spend one refusal of the source address's budget. Raises as `authenticate` does."""
        if not self.budgets.take(request.source, is_checked=is_checked):
            raise LookupsLimited("too many requests of one source address were refused; try again")
        channel = self.channels.for_authentication(request.channel)
        if not self._fits(channel, request):
            # BigPanda does not resend a refused share, so a credential that was rotated a moment ago must be accepted.
            channel = self.channels.for_refusal(request.channel)
        if not self._fits(channel, request):
            raise Unauthorized(channel_exists=True)
        self.budgets.give_back(request.source, is_checked=is_checked)
        return channel

    def _fits(self, channel: Channel, request: Request) -> bool:
        return channel.accepts(request.headers, self.clock(), endpoint=self.endpoint)
