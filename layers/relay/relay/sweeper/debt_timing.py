"""Times of debts: from when a debt counts as overdue, if a pause postpones it, and when its state expires.

A debt is a state that is owed. Its delay and its age count from the end of a pause or flap that made it wait.
"""

import math

from relay.channels.policy import Policy
from relay.incidents.share import parse_share
from relay.incidents.transition import is_open
from relay.jobs.job import Job
from relay.sweeper.due_rows import DueRow
from relay.sweeper.policies import SweepPolicies


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
