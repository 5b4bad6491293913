"""Times of debts: from when a debt counts as overdue, whether a pause holds it, and when its state expires.

A debt is a state that is owed. A pause or a flap stops its clock.
"""

import math

from relay.channels.policy import Policy
from relay.entrypoints.owed_rows import Owed
from relay.entrypoints.sweep_policies import SweepPolicies
from relay.incidents.share import parse_share
from relay.incidents.transition import is_open
from relay.jobs.job import Job


def delay_start_after_pauses(policies: SweepPolicies, owed: Owed, now: float) -> float:
    """Return the time from which the delay counts (epoch seconds): `Owed.delay_start`, or the end of a pause."""
    held_until = owed.entry.debt.held_until
    has_ended_early = held_until > now and not is_held(policies, owed, now)
    past = [each for each in policies.of(owed.channel).pauses if owed.since < each.until <= now]
    # Which past pause held a state is known if the pause was for all incidents, or held this state when it ended.
    ends = [each.until for each in past if has_ended_early or not each.when]
    return max([owed.delay_start, *ends, *([] if has_ended_early else [held_until])])


def is_held(policies: SweepPolicies, owed: Owed, now: float) -> bool:
    """True if the pause for which a state waits goes on at `now` (epoch seconds), or that can't be found out."""
    policy, until = policies.of(owed.channel), owed.entry.debt.held_until
    is_on = any(each.is_active(now) and each.until >= until for each in policy.pauses)
    return until > now and (is_on or policies.is_unread(owed.channel))


def is_resumed(policies: SweepPolicies, owed: Owed, now: float) -> bool:
    """True if the pause for which a state waits has ended early, and its job was not sent since."""
    debt = owed.entry.debt
    is_sent = debt.row is not None and debt.row.replacement_sent > 0
    return debt.held_until > now and not is_sent and not is_held(policies, owed, now)


def expires_at(policies: SweepPolicies, owed: Owed, job: Job) -> float:
    """Return the time at which the state expires (epoch seconds); infinity if the channel's policy can't be read.

    Without the policy the limit is unknown: the channel's own may be longer than the default.
    """
    if policies.is_unread(owed.channel):
        return math.inf
    policy = policies.of(owed.channel)
    # A state that waited for the end of a flap or a pause is as old as its wait is over.
    quiet_until = owed.entry.quiet_until(owed.entry.newest) if owed.entry.newest else 0.0
    since = max(job.age_counts_from, owed.entry.dead_letter.revived_at, quiet_until)
    if policy.pauses:
        since = _age_start(job, policy, since)
    return since + policy.max_age_seconds


def _age_start(job: Job, policy: Policy, came: float) -> float:
    """Return the time from which a job's age counts (epoch seconds): `came`, or the end of a later pause."""
    # Imported here, since most channels have no pause: this keeps the import out of cold starts.
    from relay.channels.pause import age_start, pauses_for  # noqa: PLC0415

    share = parse_share(job.payload.body)
    return age_start(pauses_for(share, policy.pauses, is_open=is_open(share)), came, policy.max_age_seconds)
