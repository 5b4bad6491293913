"""State of the sweeper between its runs: the lease, last notifications, rates above the limits, and sick channels."""

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

from relay.delivery.channel_health import ShareWatch
from relay.failures import LedgerError
from relay.ledger.table import Table
from relay.sweeper.health_announcement import IN_A_ROW_SECONDS, ChannelState
from relay.telemetry.telemetry import Telemetry

# Parallel calls. A boto3 client keeps ten connections.
AT_ONCE = 10


class AtOnce(Protocol):
    """Function that makes several calls in parallel."""

    def __call__[T](self, calls: Sequence[Callable[[], T]]) -> list[T]:
        """Make the calls, and return their results in the same order."""


def run_logging_failure[T](telemetry: Telemetry, call: Callable[[], T], otherwise: T) -> T:
    """Return the result of a call of the sweeper, or log its failure and return `otherwise`.

    So a failure in one debt or channel does not stop the others.
    """
    try:
        return call()
    except LedgerError as error:
        telemetry.notice("sweeper_failed", str(error))
    except Exception as error:  # noqa: BLE001 - see the docstring
        telemetry.crashed(error)
    return otherwise


KEY = "sweeper"
# The longest time that a run works, so that a lease expires only if its run died.
SWEEP_LEASE_SECONDS = 55.0
# Older notification times are dropped, since they no longer suppress a message.
NOTES_KEPT_SECONDS = 3600.0


@dataclass
class SweeperRun:
    """A run of the sweeper that has the lease, with the state that lasts from run to run.

    Attributes:
        until: End of the lease (epoch seconds).
        notified: Time of the fallback topic's last notification (epoch seconds), by channel.
        above: Times of the first and the last consecutive run that found a channel above its rate limit (epoch
            seconds), by channel.
        health: State of each channel that is sick, or was a short time ago.
        expected: Expectation of shares, by channel, for each channel whose policy has `expect_share_every`.
        surveyed_at: Time of the last search for channels that expect shares (epoch seconds); 0 for never.
        has_queue: False if the retry queue failed in this run.
        invocations: Number of times that the run invoked the worker directly.
    """

    until: float
    notified: dict[str, float] = field(default_factory=dict)
    above: dict[str, tuple[float, float]] = field(default_factory=dict)
    health: dict[str, ChannelState] = field(default_factory=dict)
    expected: dict[str, ShareWatch] = field(default_factory=dict)
    surveyed_at: float = 0.0
    has_queue: bool = True
    invocations: int = 0
    _sequence: int = 0

    @classmethod
    def begin(cls, table: Table, now: float) -> Self | None:
        """Start a run at `now` (epoch seconds) by taking the sweeper's lease; None if another run has it.

        Raises LedgerError.
        """
        found = table.read(KEY)
        before = _read(found.text) if found else {}
        if float(before.get("until", 0.0)) > now:
            return None
        notified = {name: at for name, at in before.get("notified", {}).items() if now - at < NOTES_KEPT_SECONDS}
        above = {name: (began, last) for name, (began, last) in before.get("above", {}).items()}
        run = cls(now + SWEEP_LEASE_SECONDS, notified, above, _sequence=found.sequence if found else 0)
        # A state that cannot be read is lost: one message is repeated, and the fallback is notified all the same.
        with suppress(TypeError, ValueError, AttributeError):
            run.health = {name: ChannelState.of(members) for name, members in before.get("health", {}).items()}
            expected = before.get("expected", {}).items()
            run.expected = {name: ShareWatch(float(every), float(since)) for name, (every, since) in expected}
            run.surveyed_at = float(before.get("surveyed_at", 0.0))
        return run if run._write(table) else None

    def record_notified(self, table: Table, channels: Iterable[str], now: float) -> None:
        """Record that a message about each of these channels went to the fallback topic at `now`.

        Raises LedgerError.
        """
        self.notified.update(dict.fromkeys(channels, now))
        self._write(table)

    def record_announced(self, table: Table, states: Mapping[str, ChannelState]) -> None:
        """Record that people were told that these channels are sick or well: store the channels' new health states.

        Raises LedgerError.
        """
        self.health.update(states)
        self._write(table)

    def above_since(self, channels: Collection[str], now: float) -> dict[str, float]:
        """Record the channels that are above their rate limits at `now`.

        Returns the start of the consecutive runs in which each was above (epoch seconds). The record is written at the
        end of the run.
        """
        in_a_row = {name: began for name, (began, last) in self.above.items() if now - last <= IN_A_ROW_SECONDS}
        since = {name: in_a_row.get(name, now) for name in channels}
        self.above = {name: (began, now) for name, began in since.items()}
        return since

    def end(self, table: Table) -> None:
        """Give the sweeper's lease back, and write the state for the next run. Raises LedgerError."""
        self.until = 0.0
        self._write(table)

    def _write(self, table: Table) -> bool:
        members = {
            "until": self.until,
            "notified": self.notified,
            "above": self.above,
            "health": {name: state.members() for name, state in self.health.items()},
            "expected": self.expected,
            "surveyed_at": self.surveyed_at,
        }
        sequence = table.write(KEY, self._sequence, json.dumps(members, separators=(",", ":")))
        self._sequence = sequence or self._sequence
        return sequence is not None


def _read(text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
        return found if isinstance(found, dict) else {}
    except ValueError:
        return {}
