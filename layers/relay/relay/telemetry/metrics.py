"""Names of the metrics. Pure code.

CloudWatch bills a metric for each hour in which it is written. So a metric is written when something happens, never as
a zero. There are metrics for shares, runs of the sweeper, failures and other problems. There is no metric for each
outcome or reason: the log lines have those.
"""

from relay.failures.reasons import Reason

# Written in nearly every hour: a share with the right credentials came, and a run of the sweeper ended.
ALWAYS = ("share", "sweeper_heartbeat")
# Written when it happens.
SOMETIMES = (
    "share_unsafe",
    "callback_unsafe",
    "credentials_refused",
    "routes_undecided",
    "stale_channel",
    "misconfigured_channel",
    "lookups_limited",
    "undecided_request",
    "marks_unread",
    "rejected_request",
    "crash",
    "unguarded",
    "dead_lettered",
    "unreadable_job",
    "fallback_notified",
    "fallback_failed",
    "page_missing",
    "share_missed",
    "unknown_incident",
    "reconcile_failed",
    "unauthorized_share",
    "refused_recipients",
    "unverified_callback",
    "resolve_refuted",
    "resolve_unreachable",
    "signal_failed",
    "sweeper_failed",
    "debts_owed",
    "debt_healed",
    "debt_overdue_seconds",
    "channels_overloaded",
    "health_failed",
    "heartbeat_failed",
)
METRICS = (*ALWAYS, *SOMETIMES)
# Written with the dimension `channel`, if the stack's parameter ChannelMetrics is on: shares, signals that xMatters
# accepted, signals that failed, and states that are owed.
CHANNEL_METRICS = ("share", "signal_delivered", "signal_failed", "debts_owed")
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
