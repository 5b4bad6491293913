"""Reasons of failed attempts and of waits, and the handling of each: retry, backoff, circuit breaker, dead-letter."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple


class Reason(StrEnum):
    """Reason of a failed attempt or of a wait, as in logs, metrics, queue attributes, answers and filters.

    docs/operate.md, "Reasons", explains each. A new reason also needs:

    - its row in HANDLING, and the code that raises it, or its HTTP status in `reason_for_status`;
    - an entry in `telemetry.metrics.FAILED_SIGNAL_REASONS`, if it means that xMatters did not accept a signal;
    - an entry in `delivery.debts.WAITS_WITHOUT_MESSAGE`, if the end of its wait can change, as the end of a pause can;
    - its row in docs/operate.md, its clause in `REASONS` of sandbox/page/sentences.py, and tests.

    CONTRIBUTING.md, "Add a reason", has the details.
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
    """The relay's reaction to a reason. The table HANDLING has one for each reason.

    Attributes:
        retries_inline: True to retry within the request.
        renews_credentials: True to retry within the request if a new token or a changed secret is available, whatever
            `retries_inline` says.
        constant_wait_seconds: Wait on the retry queue in place of the backoff; None to use the backoff.
        is_final: True to dead-letter the job without a retry.
        breaks_circuit: True if the failure counts toward opening the channel's circuit breaker, since its cause can
            affect all signals of the channel.
    """

    retries_inline: bool = False
    renews_credentials: bool = False
    constant_wait_seconds: float | None = None
    is_final: bool = False
    breaks_circuit: bool = False


# The longest delay of an SQS message.
LONGEST_WAIT_SECONDS = 900.0
# Wait after an ambiguous failure, before the signal is sent again: time for a page to appear.
AMBIGUOUS_WAIT_SECONDS = 30.0
_TRANSIENT = Handling(retries_inline=True, breaks_circuit=True)
_FINAL = Handling(is_final=True)

HANDLING: Mapping[Reason, Handling] = MappingProxyType(
    {
        Reason.RATE_LIMITED: _TRANSIENT,
        Reason.UPSTREAM: _TRANSIENT,
        Reason.UNREACHABLE: _TRANSIENT,
        # An inline retry would have no time left, and xMatters may have accepted the signal.
        Reason.TIMEOUT: Handling(breaks_circuit=True),
        Reason.REFUSED: _FINAL,
        # Constant, so that the queue drains within minutes of a corrected key.
        Reason.CREDENTIALS: Handling(renews_credentials=True, constant_wait_seconds=300.0),
        # A state with one of these waits until a known time. The backoff is used only if that time is not known.
        Reason.CIRCUIT_OPEN: Handling(),
        Reason.CLAIMED: Handling(),
        Reason.IN_FLIGHT: Handling(),
        Reason.PACED: Handling(),
        Reason.FLAPPING: Handling(),
        Reason.EXPIRED: _FINAL,
        # The dead-lettered jobs can be replayed after the channel is created again.
        Reason.CHANNEL_REMOVED: _FINAL,
        # It waits until the end of the channel's pause.
        Reason.PAUSED: Handling(),
        # The dead-lettered jobs can be replayed after the channel's shadow mode.
        Reason.SHADOWED: _FINAL,
        Reason.INTERNAL: Handling(),
    }
)


def reason_for_status(status: int) -> Reason:
    """Return the reason for the HTTP status of an error answer.

    408 is UPSTREAM, so the request is retried: the server did not receive the whole request, and did not act on it.
    """
    if status in {401, 403}:
        return Reason.CREDENTIALS
    if status == 429:
        return Reason.RATE_LIMITED
    if status == 408 or status >= 500:
        return Reason.UPSTREAM
    return Reason.REFUSED


def is_ambiguous_status(status: int) -> bool:
    """True if xMatters may have accepted a signal in spite of this status.

    A 500, 502 or 504 can come from a proxy in front of a trigger that accepted the signal. With 503 and 429 the
    request was not accepted (docs/vendors.md, "Answers").
    """
    return status >= 500 and status != 503
