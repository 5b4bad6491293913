"""Policies of channels, each read once in a run of the sweeper."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

from relay.channels.cache import ChannelCache
from relay.channels.policy import Policy
from relay.deadline import Deadline
from relay.failures.errors import ChannelError, UnknownChannel
from relay.sweeper.due_rows import DueRow
from relay.sweeper.run import AtOnce
from relay.telemetry.telemetry import Telemetry

# Time limit of reading policies, so that unreadable secrets do not use up the run.
POLICY_SECONDS = 8.0


@dataclass(frozen=True)
class SweepPolicies:
    """The policies of channels in a run of the sweeper.

    Attributes:
        channels: The cached channels.
        telemetry: Log and metrics.
        at_once: Runs calls in parallel, and returns their results in order.
        deadlines: Returns a deadline of a number of seconds.
    """

    channels: ChannelCache
    telemetry: Telemetry
    at_once: AtOnce
    deadlines: Callable[[float], Deadline]
    _policies: dict[str, Policy] = field(default_factory=dict, init=False, repr=False)
    # Channels whose secret could not be read in this run.
    _unread: set[str] = field(default_factory=set, init=False, repr=False)
    # Those among them that do not exist.
    _removed: set[str] = field(default_factory=set, init=False, repr=False)

    @property
    def known(self) -> Mapping[str, Policy]:
        """The policies that were read in this run, by channel."""
        return self._policies

    def begin_run(self) -> None:
        """Forget the policies of the run before."""
        self._policies.clear()
        self._unread.clear()
        self._removed.clear()

    def is_unread(self, channel: str) -> bool:
        """True if the channel's secret could not be read in this run, so that its policy is not known."""
        return channel in self._unread

    def is_removed(self, channel: str) -> bool:
        """True if this run found that the channel does not exist."""
        return channel in self._removed

    def read(self, rows: Iterable[DueRow]) -> None:
        """Read the policies of all rows' channels in parallel, since one after the other takes long in a storm.

        A channel whose secret can't be read in time gets the default policy in this run.
        """
        deadline = self.deadlines(POLICY_SECONDS)

        def read_one(channel: str) -> None:
            if deadline.remaining():
                self.of(channel)
            else:
                self._policies.setdefault(channel, Policy())
                self._unread.add(channel)

        self.at_once([partial(read_one, channel) for channel in dict.fromkeys(each.channel for each in rows)])

    def of(self, channel: str) -> Policy:
        """Return a channel's policy, or the default policy if the channel can't be read or was removed."""
        if channel not in self._policies:
            self._policies[channel] = Policy()
            self._unread.add(channel)
            try:
                self._policies[channel] = self.channels.for_work(channel).policy
                self._unread.discard(channel)
            except UnknownChannel:
                self._removed.add(channel)
            except ChannelError:
                pass
            except Exception as error:  # noqa: BLE001 - a fault in one channel must not stop the others
                self.telemetry.crashed(error)
        return self._policies[channel]
