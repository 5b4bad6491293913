"""Failures: reasons of failed attempts and of waits, how each is handled, the backoff, and the exceptions.

docs/operate.md, "Reasons", says for each reason when the job is tried again. The job of a new share wakes after
`delivery.delivery.FIRST_WAKE_SECONDS`, whatever a Retry-After says: SQS can't change the delay of a queued message. But
after a 429, the channel's circuit is open for the time of the Retry-After (5 to 900 s).
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple


class Reason(StrEnum):
    """Reason of a failed attempt or of a wait, as in logs, metrics, queue attributes, answers and filters.

    docs/operate.md, "Reasons", explains each. A new reason also needs:

    - its row in HANDLING, and the code that raises it, or its HTTP status in `reason_for_status`;
    - an entry in `delivery.delivery.WAITS_WITHOUT_MESSAGE`, if the end of its wait can change, as a pause's can;
    - its row in docs/operate.md, its clause in `REASONS` of sandbox/page/sentences.py, and tests (CONTRIBUTING.md).
    """

    RATE_LIMITED = "rate_limited"
    UPSTREAM = "upstream"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    REFUSED = "refused"
    CREDENTIALS = "credentials"
    CIRCUIT_OPEN = "circuit_open"
    CLAIMED = "claimed"
    IN_FLIGHT = "in_flight"
    PACED = "paced"
    FLAPPING = "flapping"
    EXPIRED = "expired"
    CHANNEL_REMOVED = "channel_removed"
    PAUSED = "paused"
    SHADOWED = "shadowed"
    INTERNAL = "internal"


class Handling(NamedTuple):
    """The relay's reaction to a reason.

    Attributes:
        retries_inline: True to retry within the request.
        constant_wait_seconds: Wait on the retry queue in place of the backoff; None to use the backoff.
        is_final: True to dead-letter the job without a retry.
        breaks_circuit: True if the failure counts toward opening the channel's circuit breaker.
        is_failure: True if the metric of failed signals counts the reason: xMatters did not accept a signal, its
            circuit is open, or the relay itself failed.
    """

    retries_inline: bool = False
    constant_wait_seconds: float | None = None
    is_final: bool = False
    breaks_circuit: bool = False
    is_failure: bool = True


# Largest number of inline attempts for one signal. A job makes one attempt each time it wakes.
MAX_ATTEMPTS = 3
# The longest delay of an SQS message.
LONGEST_WAIT_SECONDS = 900.0
# Wait after an ambiguous failure, before the signal is sent again: time for a page to appear.
AMBIGUOUS_WAIT_SECONDS = 30.0
_TRANSIENT = Handling(retries_inline=True, breaks_circuit=True)
_WAIT = Handling(is_failure=False)
_END = Handling(is_final=True, is_failure=False)

HANDLING: Mapping[Reason, Handling] = MappingProxyType(
    {
        Reason.RATE_LIMITED: _TRANSIENT,
        Reason.UPSTREAM: _TRANSIENT,
        Reason.UNREACHABLE: _TRANSIENT,
        # An inline retry would have no time left, and xMatters may have accepted the signal.
        Reason.TIMEOUT: Handling(breaks_circuit=True),
        Reason.REFUSED: Handling(is_final=True),
        # Constant, so that the queue drains within minutes of a corrected key.
        Reason.CREDENTIALS: Handling(constant_wait_seconds=300.0),
        # A state with one of these waits until a known time. The backoff is used only if that time is not known.
        Reason.CIRCUIT_OPEN: Handling(),
        Reason.CLAIMED: _WAIT,
        Reason.IN_FLIGHT: _WAIT,
        Reason.PACED: _WAIT,
        Reason.FLAPPING: _WAIT,
        Reason.EXPIRED: _END,
        # The dead-lettered jobs can be replayed after the channel is created again.
        Reason.CHANNEL_REMOVED: _END,
        # It waits until the end of the channel's pause.
        Reason.PAUSED: _WAIT,
        # The dead-lettered jobs can be replayed after the channel's shadow mode.
        Reason.SHADOWED: _END,
        Reason.INTERNAL: Handling(),
    }
)


# Statuses of an address that is no more: of a trigger that was made anew, of a host that changed.
GONE = frozenset({404, 410})


def reason_for_status(status: int) -> Reason:
    """Return the reason for the HTTP status of an unexpected answer of a vendor.

    | status | reason |
    | --- | --- |
    | 401, 403 | CREDENTIALS |
    | 429 | RATE_LIMITED |
    | 408 (the server did not receive the whole request), 5xx | UPSTREAM, which is retried |
    | any other 4xx | REFUSED |
    | 2xx and 3xx, such as a maintenance page | UPSTREAM |

    A trigger's 404, 410 and 2xx have reasons of their own (`xmatters.trigger`, `_reason`).
    """
    if status in {401, 403}:
        return Reason.CREDENTIALS
    if status == 429:
        return Reason.RATE_LIMITED
    if status < 400 or status == 408 or status >= 500:
        return Reason.UPSTREAM
    return Reason.REFUSED


def is_ambiguous_status(status: int) -> bool:
    """True if xMatters may have accepted a signal in spite of this status.

    A 5xx can come from a proxy in front of a trigger that accepted the signal. But after a 503 or 429 the signal was
    not accepted (docs/vendors.md, "Answers").
    """
    return status >= 500 and status != 503


# Upper bound of the first backoff.
SHORTEST_SECONDS = 30.0
# Longest backoff of a critical signal that certainly did not reach anyone (docs/decisions.md, D-critical-backoff).
CRITICAL_WAIT_SECONDS = 60.0


def wait_seconds(
    reason: Reason,
    age: float,
    retry_after: float | None,
    jitter: float,
    *,
    may_have_acted: bool = False,
    is_critical: bool = False,
) -> float:
    """Return the seconds until the next attempt: the reason's constant wait in HANDLING, if it has one, or a backoff.

    The backoff is `jitter` (from 0 to 1) times the job's `age` (seconds).

    | value | at least | at most |
    | --- | --- | --- |
    | `age` | SHORTEST_SECONDS | LONGEST_WAIT_SECONDS |
    | `age` of a critical, unless the failed attempt `may_have_acted` | SHORTEST_SECONDS | CRITICAL_WAIT_SECONDS |
    | backoff | `retry_after` (seconds), or LONGEST_WAIT_SECONDS if that is less | |
    | backoff, if the failed attempt `may_have_acted` | also AMBIGUOUS_WAIT_SECONDS | |
    """
    handling = HANDLING[reason]
    if handling.constant_wait_seconds is not None:
        return handling.constant_wait_seconds
    most = CRITICAL_WAIT_SECONDS if is_critical and not may_have_acted else LONGEST_WAIT_SECONDS
    longest = min(most, max(SHORTEST_SECONDS, age))
    asked_for = min(retry_after or 0.0, LONGEST_WAIT_SECONDS)
    return max(jitter * longest, AMBIGUOUS_WAIT_SECONDS if may_have_acted else 0.0, asked_for)


class RelayError(Exception):
    """Base class of the relay's exceptions, with a reason for logs, metrics and retries."""

    reason: Reason = Reason.INTERNAL


class ConfigError(RelayError):
    """An environment variable of the function is wrong."""


class BadRequest(RelayError):
    """A request to the relay is wrong in the part `field`. The answer has the `status` and the code `error`."""

    reason = Reason.REFUSED

    def __init__(self, field: str, detail: str, *, status: int = 400, error: str = "bad_request") -> None:
        super().__init__(f"{field}: {detail}")
        self.field = field
        self.detail = detail
        self.status = status
        self.error = error


class Unauthorized(BadRequest):
    """Missing or wrong credentials, or an unknown channel. The answer is the same for all three.

    `channel_exists` is True if the channel is known to exist, so that the request may be a lost share.
    """

    def __init__(self, *, channel_exists: bool = False) -> None:
        super().__init__("credentials", "missing or wrong", status=401, error="unauthorized")
        self.channel_exists = channel_exists


class UncheckableSender(RelayError):
    """The channel's secret can't be read, and neither a cached copy nor the token's checksum vouches for the sender."""

    # Name of the notice about the request in the log.
    notice = "undecided_request"


class LookupsLimited(UncheckableSender):
    """The source address is over its budget of refused requests, so no channel is looked up for it now."""

    notice = "lookups_limited"


class ChannelError(RelayError):
    """Base class of errors about a channel."""


class UnknownChannel(ChannelError):
    """The channel does not exist, or was removed."""

    reason = Reason.CHANNEL_REMOVED


class ChannelUnreadable(ChannelError):
    """The channel's secret can't be read now. `exists` is True if the channel is known to exist all the same."""

    exists = False


class ChannelForbidden(ChannelUnreadable):
    """AWS denies the read of the secret, or its decryption. The secret is taken to exist."""

    exists = True


class ChannelMalformed(ChannelUnreadable):
    """The secret that a function read is not a valid channel. `channels.cache` raises it in place of InvalidChannel."""

    exists = True


class InvalidChannel(ChannelError):
    """A secret or a settings file is not a valid channel. The message names keys, never values."""


class SendError(RelayError):
    """A request to a vendor failed: most often, xMatters did not accept a signal.

    It is a BadAnswer if the vendor answered. Else no answer came, or the request was not sent.

    Attributes:
        detail: Description of the failure, without secrets.
        excerpt: Redacted beginning of the answer's body; empty if there was no answer.
        retry_after: Wait that the answer's Retry-After header asks for (seconds); None if it has none.
        may_have_acted: True if the failure is ambiguous: the vendor may have acted on the request.
        was_sent: True if the request counts as an attempt: it was sent, or its connection failed. False if no
            connection was tried for it, such as after a failed log-in.
    """

    def __init__(
        self,
        reason: Reason,
        detail: str,
        *,
        http_status: int | None = None,
        excerpt: str = "",
        retry_after: float | None = None,
        may_have_acted: bool = False,
        was_sent: bool = True,
    ) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.http_status = http_status
        self.excerpt = excerpt
        self.retry_after = retry_after
        self.may_have_acted = may_have_acted
        self.was_sent = was_sent


class BadAnswer(SendError):
    """A vendor answered with an error."""


class QueueError(RelayError):
    """A queue did not accept a message. The error text gives the cause, without the queued message."""


class LedgerError(RelayError):
    """The ledger can't be read or written now. The error text gives the cause, without the data."""
