"""Search for silent channels: no share came for longer than `expect_share_every` of the policy.

A silent channel that owes nothing has no row in the ledger's `due` index. So all channels' policies are read once an
hour. The last use of a channel's credentials is recorded once an hour, too, so `expect_share_every` is two hours at
least.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING

from relay.channels.cache import ChannelCache
from relay.deadline import Deadline
from relay.delivery.channel_health import ShareWatch
from relay.failures import ChannelError, UnknownChannel
from relay.ledger.credentials import newest_use, use_key
from relay.ledger.table import Table
from relay.sweeper.run import SweeperRun
from relay.telemetry.telemetry import Telemetry

if TYPE_CHECKING:
    from relay.sweeper.run import AtOnce

# Time between two surveys.
SURVEY_SECONDS = 3600.0
# Time until the next survey after one that failed or did not end.
SURVEY_AGAIN_SECONDS = 300.0
# Channels that expect shares, which the sweeper remembers in one item of the table.
MAX_EXPECTED = 1000
# Time limit of the list of channels.
LIST_SECONDS = 4.0


class Read(Enum):
    """Result of reading a channel: done, failed, or not begun since there was no time."""

    DONE = "done"
    FAILED = "failed"
    LATE = "late"


@dataclass(frozen=True)
class ShareSurvey:
    """Finds silent channels.

    Attributes:
        names: Returns the names of all channels. Raises ChannelUnreadable.
        channels: The cached channels.
        table: Table with the last uses of credentials.
        telemetry: Log and metrics.
        at_once: Runs calls in parallel.
        clock: The time in epoch seconds.
    """

    names: Callable[[], Iterable[str]]
    channels: ChannelCache
    table: Table
    telemetry: Telemetry
    at_once: "AtOnce"
    clock: Callable[[], float]

    def silent(self, run: SweeperRun, deadline: Deadline) -> dict[str, ShareWatch]:
        """Return the expectation of shares of each silent channel, by channel. Raises LedgerError."""
        now = self.clock()
        if now - run.surveyed_at >= SURVEY_SECONDS:
            self._survey(run, deadline)
        # The time of a last share only grows, so it is read only when the known one is too old.
        overdue = [name for name, each in run.expected.items() if each.is_silent(now)]
        reads = self.at_once([partial(self._read, run, name, deadline) for name in overdue])
        # For a channel that can't be read, the last message to people decides.
        sure = [name for name, read in zip(overdue, reads, strict=True) if read == Read.DONE or _is_told(run, name)]
        expected = {name: run.expected[name] for name in sure if name in run.expected}
        return {name: each for name, each in expected.items() if each.is_silent(now)}

    def _survey(self, run: SweeperRun, deadline: Deadline) -> None:
        """Read the policies of all channels. An unreadable channel keeps its known expectation of shares.

        The next survey comes after SURVEY_AGAIN_SECONDS if the list of channels failed, or if time ran out.
        """
        run.surveyed_at = self.clock() - SURVEY_SECONDS + SURVEY_AGAIN_SECONDS
        try:
            names = deadline.run(lambda: list(self.names()), part="survey", at_most=LIST_SECONDS)
        except (ChannelError, TimeoutError) as error:
            self.telemetry.notice("health_failed", f"the channels could not be listed: {type(error).__name__}")
            return
        run.expected = {name: each for name, each in run.expected.items() if name in names}
        reads = self.at_once([partial(self._read, run, name, deadline) for name in names])
        # A secret that cannot be read may stay so for days, and does not repeat the survey.
        if Read.LATE not in reads:
            run.surveyed_at = self.clock()

    def _read(self, run: SweeperRun, name: str, deadline: Deadline) -> Read:
        """Read how often a channel's policy expects shares, and the time of the last share; record both in `run`.

        The time of the last share is the latest recorded use of the webhook's credentials, as the cached copy of the
        channel's secret has them. A time that was known before is not replaced by an earlier one. Raises LedgerError.
        """
        if not deadline.remaining():
            return Read.LATE
        try:
            every = self.channels.get(name).policy.expect_share_every
        except UnknownChannel:
            every = None
        except ChannelError:
            return Read.FAILED
        except Exception as error:  # noqa: BLE001 - a fault in one channel must not stop the others
            self.telemetry.crashed(error)
            return Read.FAILED
        if every is None:
            run.expected.pop(name, None)
        elif name in run.expected or len(run.expected) < MAX_EXPECTED:
            run.expected[name] = ShareWatch(every, self._last_share(name, run.expected.get(name)))
        return Read.DONE

    def _last_share(self, name: str, known: ShareWatch | None) -> float:
        """Return the time of the last known share; for a channel without one, the time from which one is expected."""
        fingerprints = self.channels.get(name).fingerprints("inbound")
        newest = newest_use(self.table, [use_key(name, "inbound", fingerprint) for *_, fingerprint in fingerprints])
        if known is None:
            return self.clock() if newest is None else newest
        return max(known.since, newest or 0.0)


def _is_told(run: SweeperRun, name: str) -> bool:
    return name in run.health and bool(run.health[name].told)
