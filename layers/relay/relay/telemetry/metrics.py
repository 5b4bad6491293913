"""Names of the metrics, and the metrics of each channel. Pure code.

CloudWatch bills a metric for each hour in which it is written. So a metric is written when something happens, never as
a zero. There are metrics for shares, runs of the sweeper, failures and other problems. There is no metric for each
outcome or reason: the log lines have those.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from relay.failures import Reason

# Channels that a function names between two cold starts; the others are counted together as OTHERS. This bounds the
# bill if somebody makes very many channels.
MAX_CHANNELS = 100
OTHERS = "(others)"


@dataclass
class ChannelMetrics:
    """Counts of one invocation by channel.

    Attributes:
        counts: Value of each metric, by channel.
    """

    counts: dict[str, Counter[str]] = field(default_factory=dict)
    # Channels that this function named so far.
    _named: set[str] = field(default_factory=set, repr=False)

    def add(self, channel: str, metric: str, value: int = 1) -> None:
        """Count a metric of CHANNEL_METRICS for a channel."""
        if channel not in self._named and len(self._named) >= MAX_CHANNELS:
            channel = OTHERS
        else:
            self._named.add(channel)
        self.counts.setdefault(channel, Counter())[metric] += value

    def documents(self, whole: dict[str, Any] | None, namespace: str, service: str, at: float) -> list[dict[str, Any]]:
        """Return the documents (in the embedded metric format) to write at `at` (epoch seconds), and forget the counts.

        `whole` is the document of the metrics without a channel; None if there are none. The counts of one channel are
        added to `whole`, to save a document, unless `whole` has a different value of one of these metrics. Each other
        channel gets a document of its own: a document can have only one channel, and only one value of each metric.
        """
        documents = [whole] if whole else []
        for channel, counts in self.counts.items():
            if not documents or not _takes(documents[0], counts):
                documents.append({"_aws": {"Timestamp": round(at * 1000), "CloudWatchMetrics": []}, "service": service})
            into = documents[0] if _takes(documents[0], counts) else documents[-1]
            metrics = [{"Name": name, "Unit": "Count"} for name in counts]
            directive = {"Namespace": namespace, "Dimensions": [["service", "channel"]], "Metrics": metrics}
            into["_aws"]["CloudWatchMetrics"].append(directive)
            into |= {name: [float(value)] for name, value in counts.items() if name not in into} | {"channel": channel}
        self.counts = {}
        return documents


def _takes(document: Mapping[str, Any], counts: Mapping[str, int]) -> bool:
    """True if the counts of a channel can be added to a document in CloudWatch's embedded metric format.

    The document must not have a channel yet. If it has one of the counted metrics, the value must be the same.
    """
    return "channel" not in document and all(
        sum(document.get(name, [value])) == value for name, value in counts.items()
    )


# Written in nearly every hour: a share with the right credentials came, and a run of the sweeper ended.
ALWAYS = ("share", "sweeper_heartbeat")
# Written when it happens.
SOMETIMES = (
    "unsafe",
    "credentials_refused",
    "routes_undecided",
    "stale_channel",
    "misconfigured_channel",
    "rejected_request",
    "crash",
    "unguarded",
    "dead_lettered",
    "critical_waits",
    "page_missing",
    "share_missed",
    "unknown_incident",
    "reconcile_failed",
    "unauthorized_share",
    "refused_recipients",
    "unverified_callback",
    "doubtful_resolve",
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
# Metrics of the notices that are not counted under their own name, since one alarm shows several of them. The log line
# has the notice's name.
METRIC_OF_NOTICE = {
    "undecided_request": "stale_channel",
    "marks_unread": "stale_channel",
    "lookups_limited": "rejected_request",
    "fallback_failed": "critical_waits",
}
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
