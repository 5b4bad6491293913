"""Policies of channels, each read once in a run of the sweeper, and the times of debts that follow from them.

The delay and the age of a debt (a state that is owed) count from the end of a pause or flap that made it wait.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

from relay.channels.cache import ChannelCache
from relay.channels.policy import Policy
from relay.deadline import Deadline
from relay.failures import ChannelError, UnknownChannel
from relay.incidents.share import is_open, parse_share
from relay.jobs.job import Job
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


def delay_start_after_pauses(policies: SweepPolicies, row: DueRow, now: float) -> float:
    """Return the time from which a debt's delay counts (epoch seconds): `DueRow.delay_start` or a later pause's end."""
    debt, pauses = row.entry.debt, policies.of(row.channel).pauses
    # Which pauses held a state is known of the last one that a worker recorded, and of those for all incidents.
    held = [each.until for each in pauses if each.id == debt.paused_by]
    past = [each.until for each in pauses if not each.when and row.since < each.until <= now]
    is_recorded_end = debt.paused_until <= now or policies.is_unread(row.channel)
    return max([row.delay_start, *held, *past, *([debt.paused_until] if is_recorded_end else [])])


def is_paused(policies: SweepPolicies, row: DueRow, now: float) -> bool:
    """True if the pause for which a state waits goes on at `now` (epoch seconds).

    If the channel's policy can't be read, the pause counts until the end that the entry records.
    """
    debt = row.entry.debt
    if policies.is_unread(row.channel):
        return debt.paused_until > now
    return any(each.is_active(now) and each.id == debt.paused_by for each in policies.of(row.channel).pauses)


def is_resumed(policies: SweepPolicies, row: DueRow, now: float) -> bool:
    """True if the pause for which a state waits has ended early, and the sweeper has not sent its job since."""
    debt = row.entry.debt
    is_sent = debt.row is not None and debt.row.rung > 0
    return debt.paused_until > now and not is_sent and not is_paused(policies, row, now)


def expires_at(policies: SweepPolicies, row: DueRow, job: Job) -> float:
    """Return the time at which the state expires (epoch seconds); infinity if the channel's policy can't be read.

    Without the policy the limit is unknown: the channel's own may be longer than the default.
    """
    if policies.is_unread(row.channel):
        return math.inf
    policy = policies.of(row.channel)
    # The age of a state that waited for the end of a flap or a pause counts from that end.
    quiet_until = row.entry.quiet_until(row.entry.newest) if row.entry.newest else 0.0
    since = max(job.age_counts_from, row.entry.debt.revived_at, quiet_until)
    if policy.pauses:
        since = _age_start(job, policy, since)
    return since + policy.max_age_seconds


def has_conditional_pause(policies: SweepPolicies, row: DueRow, now: float) -> bool:
    """True if a pause with conditions is active in a debt's channel at `now` (epoch seconds)."""
    return any(each.when and each.is_active(now) for each in policies.of(row.channel).pauses)


def is_held(policies: SweepPolicies, row: DueRow, job: Job | None, now: float) -> bool:
    """True if a pause with conditions holds a debt at `now` (epoch seconds), maybe another one than the entry records.

    `job` is the debt's stored job; without one no such pause applies.
    """
    if job is None:
        return False
    # Imported here, since most channels have no pause: this keeps the import out of cold starts.
    from relay.channels.pause import pauses_for  # noqa: PLC0415

    share = parse_share(job.body)
    active = (each for each in policies.of(row.channel).pauses if each.is_active(now))
    return bool(pauses_for(share, active, is_open=is_open(share)))


def _age_start(job: Job, policy: Policy, came: float) -> float:
    """Return the time from which a job's age counts (epoch seconds).

    It is `came` (the share's arrival, its replay, or the end of a flap), or the end of a later pause.
    """
    # Imported here, since most channels have no pause: this keeps the import out of cold starts.
    from relay.channels.pause import age_start, pauses_for  # noqa: PLC0415

    share = parse_share(job.body)
    return age_start(pauses_for(share, policy.pauses, is_open=is_open(share)), came, policy.max_age_seconds)
