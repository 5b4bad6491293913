"""Everything that can go wrong: one tree of exceptions, one list of reasons, one table of what a reason calls for.

RelayError
├── ConfigError             the function's environment is wrong; nothing can work
├── BadRequest              the sender's fault; carries the HTTP status to answer with
│   └── Unauthorized        no credentials, wrong ones, or no such channel; each is answered with the same bytes
├── ChannelError
│   ├── UnknownChannel      there is no such channel, or it was removed
│   ├── ChannelUnreadable   nobody can tell now: its secret can't be read
│   │   ├── ChannelForbidden  the function may not read its secret
│   │   ├── ChannelMalformed  its secret is not what it must be, as a function finds it
│   │   ├── UndecidedSender  nobody can tell now who is asking, and nothing speaks for a true sender
│   │   └── LookupsLimited  too many requests of one source were refused to look another one up
│   └── InvalidChannel      its secret is not what it must be
├── SendError               a signal was not accepted
│   ├── NoAnswer            nothing came back in time, or nothing can come back
│   └── BadAnswer           something came back, and it was not "accepted"
├── QueueError              a queue did not take a message
└── LedgerError             the ledger could not be read or written
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple


class Reason(StrEnum):
    """Reason of a failed attempt, or of a wait: the words of logs, metrics, queue attributes, answers and filters."""

    RATE_LIMITED = "rate_limited"
    UPSTREAM = "upstream"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    REFUSED = "refused"
    CREDENTIALS = "credentials"
    CIRCUIT_OPEN = "circuit_open"
    IN_FLIGHT = "in_flight"
    PACED = "paced"
    EXPIRED = "expired"
    CHANNEL_REMOVED = "channel_removed"
    INTERNAL = "internal"


class Handling(NamedTuple):
    """Handling of a reason.

    `try_again`: at once, while the sender still waits; `renew_credentials` first, where they were refused. Later, on
    the retry queue: after `first` seconds, doubling up to LONGEST_WAIT_SECONDS, at random below that; every `steady`
    seconds where that is set; not at all where it `is_final`. `is_try` is false where xMatters was not asked.
    `breaks_circuit`: it tells of the channel, not of this signal.
    """

    try_again: bool = False
    renew_credentials: bool = False
    first: float = 30.0
    steady: float | None = None
    is_final: bool = False
    is_try: bool = True
    breaks_circuit: bool = False


LONGEST_WAIT_SECONDS = 900.0
# After a failure that may have rung: the time that a page has to ring before the signal is sent again.
AMBIGUOUS_REST_SECONDS = 30.0
_PASSES = Handling(try_again=True, breaks_circuit=True)
_WAITS = Handling(is_try=False)
_FINAL = Handling(is_final=True)

HANDLING: Mapping[Reason, Handling] = MappingProxyType(
    {
        Reason.RATE_LIMITED: _PASSES,
        Reason.UPSTREAM: _PASSES,
        Reason.UNREACHABLE: _PASSES,
        # An inline retry would find no time left, and the signal may have rung.
        Reason.TIMEOUT: Handling(breaks_circuit=True),
        Reason.REFUSED: _FINAL,
        # So that a mended key drains the queue by itself.
        Reason.CREDENTIALS: Handling(renew_credentials=True, steady=300.0),
        Reason.CIRCUIT_OPEN: _WAITS,
        Reason.IN_FLIGHT: _WAITS,
        Reason.PACED: _WAITS,
        Reason.EXPIRED: _FINAL,
        # Made again, the channel can have its jobs replayed.
        Reason.CHANNEL_REMOVED: _FINAL,
        Reason.INTERNAL: Handling(),
    }
)


def reason_for_status(status: int) -> Reason:
    """The reason that an HTTP status stands for, when the answer is not an acceptance.

    408 means that the server gave up reading the request, so that nothing came of it.
    """
    if status in {401, 403}:
        return Reason.CREDENTIALS
    if status == 429:
        return Reason.RATE_LIMITED
    if status == 408 or status >= 500:
        return Reason.UPSTREAM
    return Reason.REFUSED


def is_ambiguous_status(status: int) -> bool:
    """True if xMatters may have accepted a signal although it answered this status.

    A 500, 502 or 504 can come from a proxy in front of a trigger that took the signal. 503 and 429 say that the
    request was turned away (docs/vendors.md, "Answers").
    """
    return status >= 500 and status != 503


class RelayError(Exception):
    """The root of the tree."""

    reason: Reason = Reason.INTERNAL


class ConfigError(RelayError):
    """The environment of the function is wrong; the message lists every problem, a line each."""


class BadRequest(RelayError):
    """A request that can't be served as it is: `field` names the part at fault, `detail` says what is wrong."""

    reason = Reason.REFUSED

    def __init__(self, field: str, detail: str, *, status: int = 400, error: str = "bad_request") -> None:
        super().__init__(f"{field}: {detail}")
        self.field = field
        self.detail = detail
        self.status = status
        self.error = error


class Unauthorized(BadRequest):
    """No credentials, wrong credentials, or no such channel. The answer is the same for each.

    Attributes:
        channel_exists: True if the channel exists, so that the refused request may have been a share of BigPanda's.
    """

    def __init__(self, *, channel_exists: bool = False) -> None:
        super().__init__("credentials", "missing or wrong", status=401, error="unauthorized")
        self.channel_exists = channel_exists


class ChannelError(RelayError):
    """A channel can't be used."""


class UnknownChannel(ChannelError):
    """There is no channel of that name, or it was removed."""

    reason = Reason.CHANNEL_REMOVED


class ChannelUnreadable(ChannelError):
    """The channel can't be read now, so it is not known to exist. It may pass.

    Attributes:
        exists: True if there is such a channel all the same.
    """

    exists = False


class ChannelForbidden(ChannelUnreadable):
    """AWS denies the function the secret. A function may read all names, so it denies one that there is."""

    exists = True


class ChannelMalformed(ChannelUnreadable):
    """The secret was read, and is no valid channel."""

    exists = True


class UndecidedSender(ChannelUnreadable):
    """The channel can't be read to check credentials that nothing speaks for: maybe a stranger's, maybe a share's."""


class LookupsLimited(ChannelUnreadable):
    """Too many requests of one source address were refused: its next one must not cost a look-up yet."""


class InvalidChannel(ChannelError):
    """The secret is not a valid channel. The message names keys, never values."""


class SendError(RelayError):
    """A signal was not accepted.

    `may_have_rung` says that it may have been, all the same; `asked` is false when the trigger was never called.
    """

    def __init__(
        self,
        reason: Reason,
        detail: str,
        *,
        http_status: int | None = None,
        excerpt: str = "",
        retry_after: float | None = None,
        may_have_rung: bool = False,
        asked: bool = True,
    ) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.http_status = http_status
        self.excerpt = excerpt
        self.retry_after = retry_after
        self.may_have_rung = may_have_rung
        self.asked = asked


class NoAnswer(SendError):
    """No answer came: the host can't be reached, closed the connection, or did not answer in time."""


class BadAnswer(SendError):
    """An answer came that is no acceptance; `http_status` and a redacted `excerpt` of it are there."""


class QueueError(RelayError):
    """A queue did not take a message; the message of the error says why, without the message of the queue."""


class LedgerError(RelayError):
    """The ledger can't be read or written now; the message says why, without what was to be written."""
