"""Names of the metrics: one for each outcome and reason, and the others. Pure code."""

from relay.errors import Reason
from relay.jobs.outcome import Outcome

OTHER_METRICS = (
    "routes_undecided",
    "stale_channel",
    "misconfigured_channel",
    "lookups_limited",
    "undecided_request",
    "epoch_unread",
    "rejected_request",
    "crash",
    "unguarded",
    "dead_lettered",
    "unreadable_job",
    "fallback_notified",
    "fallback_failed",
    "unconfirmed",
    "share_missed",
    "missed_unannounced",
    "reconcile_failed",
    "unauthorized_share",
    "refused_recipients",
    "unverified_callback",
    "resolve_refuted",
    "resolve_unreachable",
    "signal_failed",
    "sweeper_heartbeat",
    "sweeper_failed",
    "debts_owed",
    "debt_healed",
    "debt_overdue_seconds",
    "channels_flooded",
)
# Reasons that count as a failed signal. With the others nothing failed: the signal waits, or its job ended by its age
# or with its channel.
FAILED_SIGNAL_REASONS: frozenset[Reason] = frozenset(
    {
        Reason.RATE_LIMITED,
        Reason.UPSTREAM,
        Reason.UNREACHABLE,
        Reason.TIMEOUT,
        Reason.REFUSED,
        Reason.CREDENTIALS,
        Reason.CIRCUIT_OPEN,
        Reason.INTERNAL,
    }
)


def outcome_metric(outcome: Outcome) -> str:
    """Return the name of the metric that counts a share's outcome."""
    return f"outcome_{outcome}"


def callback_metric(outcome: Outcome) -> str:
    """Return the name of the metric that counts a callback's outcome."""
    return f"callback_{outcome}"


def job_metric(outcome: Outcome) -> str:
    """Return the name of the metric that counts a job's outcome."""
    return f"job_{outcome}"


def reason_metric(reason: Reason) -> str:
    """Return the name of the metric that counts a reason."""
    return f"reason_{reason}"


# Every metric of the relay. CloudWatch bills for each metric that is written, so each one here is counted somewhere.
METRICS = (
    *map(outcome_metric, Outcome),
    *map(callback_metric, (Outcome.QUEUED, Outcome.UNCHANGED, Outcome.UNSAFE)),
    *map(job_metric, Outcome),
    *map(reason_metric, Reason),
    *OTHER_METRICS,
)
