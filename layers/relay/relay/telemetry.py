"""Logs and metrics: one structured log line for each share, callback and job, and metrics of shares and of failures.

Lines consist of named fields. Headers, URLs and exceptions' texts are never logged, since they can hold secrets.
Control, format and bidi characters are replaced, and texts are cut to MAX_LOGGED_TEXT.
"""

import json
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import wraps
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.logging import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, Metrics, MetricUnit

from relay.channels.channel import is_channel_name
from relay.failures import HANDLING, BadRequest, Reason, Unauthorized
from relay.foreign_text import first_of, identifier, printable
from relay.incidents.share import CANARY_PREFIX
from relay.jobs.job import Job, JobKind
from relay.jobs.queue import MAX_LOGGED_CHARACTERS, MAX_LOGGED_IDS, last_copy
from relay.jobs.result import Outcome, Result

if TYPE_CHECKING:
    from relay.channels.authentication import Request


# Channels that a function names between two cold starts; the others are counted together as OTHERS. This bounds the
# bill if somebody makes very many channels.
MAX_CHANNELS = 100
OTHERS = "(others)"


@dataclass
class ChannelMetrics:
    """Counts of one invocation: the value of each metric of CHANNEL_METRICS, by channel."""

    counts: dict[str, Counter[str]] = field(default_factory=dict)
    # Channels that this process named so far.
    _named: set[str] = field(default_factory=set, repr=False)

    def add(self, channel: str, metric: str, value: int = 1) -> None:
        if channel not in self._named and len(self._named) >= MAX_CHANNELS:
            channel = OTHERS
        else:
            self._named.add(channel)
        self.counts.setdefault(channel, Counter())[metric] += value

    def flush(self, metrics: Metrics) -> None:
        """Write the counts, a document (in the embedded metric format) for each channel, and forget them."""
        for channel, counts in self.counts.items():
            document = EphemeralMetrics(namespace=metrics.namespace, service=metrics.service)
            document.add_dimension("service", metrics.service)
            document.add_dimension("channel", channel)
            for name, value in counts.items():
                document.add_metric(name, MetricUnit.Count, value)
            document.flush_metrics()
        self.counts = {}


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
# Characters of a text in a log line.
MAX_LOGGED_TEXT = 4096
# Logged without a change, since they may be the only copy of a share. JSON escapes their control characters.
_VERBATIM = {"last_copy", "raw_body"}
# Channels that one log line names at most; a reconcile run can compare hundreds.
MAX_LISTED_CHANNELS = 3


def log_line(fields: Mapping[str, Any]) -> str:
    """Return the fields of a log line as JSON: one line of ASCII, safe for any viewer."""
    return json.dumps(_shown(fields), default=str, separators=(",", ":"))


def _shown(value: Any) -> Any:
    """Return a value of a log line, in which every text is printable and of bounded length."""
    # Ids come from outside the relay, and log viewers decode JSON escapes into control characters.
    match value:
        case str():
            return printable(value, MAX_LOGGED_TEXT)
        case Mapping():
            return {name: each if name in _VERBATIM else _shown(each) for name, each in value.items()}
        case list() | tuple():
            return [_shown(each) for each in value]
    return value


def channel_list(names: Sequence[str]) -> str:
    return first_of(names, MAX_LISTED_CHANNELS)


def result_fields(result: Result, spent: Mapping[str, float], correlation_id: str) -> dict[str, Any]:
    """Return the fields of a log line about a result. `spent` has the milliseconds of the work by part."""
    subject, exchange, notices = result.subject, result.exchange, result.notices
    is_shadowed = result.outcome == Outcome.SHADOWED
    # Powertools leaves out what is None.
    return {
        "channel": subject.channel,
        "incident_id": subject.incident_id,
        "outcome": result.outcome,
        # For a state in shadow mode, the log is the only record of the signal.
        "recipients": list(result.job.stamps.recipients) if is_shadowed and result.job else None,
        "status": result.job.stamps.status if result.job else None,
        "transition": subject.transition,
        "person": subject.person,
        "answer": subject.answer,
        "why": subject.why,
        "reason": result.reason,
        "queue": result.queue,
        "attempts": exchange.attempts or None,
        "http_status": exchange.http_status,
        "detail": result.detail,
        "unguarded": notices.unguarded,
        "refused_recipients": notices.refused_recipients or None,
        "unverified": notices.unverified,
        "end": notices.end,
        "delivery_id": subject.delivery_id,
        "request_id": exchange.request_id,
        "correlation_id": correlation_id,
        "milliseconds": {part: round(exact) for part, exact in spent.items()},
    }


def history(job: Job) -> dict[str, Any]:
    return {
        "kind": job.kind,
        "earlier_attempts": job.stamps.attempts,
        "replays": job.stamps.replays,
        "received_at": job.received_at,
    }


type Handler = Callable[[dict[str, Any], Any], dict[str, Any]]


class Telemetry:
    """The log and the metrics of a function, over Powertools. Settings come from POWERTOOLS_* variables.

    `logger` is for log lines that have no method here. The methods' `spent` has the milliseconds of the work by part,
    such as `ledger` (`deadline.times_collected`).
    """

    def __init__(self, logger: Logger, metrics: Metrics, by_channel: ChannelMetrics | None = None) -> None:
        self.logger = logger
        self._metrics = metrics
        self._by_channel = by_channel
        # Names of the metrics that were counted since the last `flush`. Powertools forgets its own early, once one of
        # them has a hundred values.
        self._counted: set[str] = set()

    @classmethod
    def from_environment(cls, *, has_channel_metrics: bool = False, is_traced: bool = False) -> "Telemetry":
        """Return the log and the metrics of a Lambda function.

        With `has_channel_metrics`, CHANNEL_METRICS are also written for each channel. With `is_traced`, log lines have
        the request's X-Ray trace id.
        """
        trace_id: dict[str, Any] = {} if is_traced else {"xray_trace_id": None}
        logger = Logger(json_serializer=log_line, use_rfc3339=True, location=None, **trace_id)
        return cls(logger, Metrics(), ChannelMetrics() if has_channel_metrics else None)

    def instrument(self, handler: Handler) -> Handler:
        """Wrap a handler: add Lambda's request id to its log lines, and write its metrics when it returns or raises."""

        # Not Powertools' own decorators: they repeat constant fields in every line, can be switched to log whole
        # events with the callers' credentials, and warn when there is no metric.
        @wraps(handler)
        def instrumented(event: dict[str, Any], context: Any) -> dict[str, Any]:
            self.logger.append_keys(function_request_id=context.aws_request_id)
            try:
                return handler(event, context)
            finally:
                self.flush()

        return instrumented

    def flush(self) -> None:
        """Write the metrics that were counted since the last call, and forget them."""
        if self._metrics.metric_set:
            self._metrics.flush_metrics()
        self._counted.clear()
        if self._by_channel:
            self._by_channel.flush(self._metrics)

    def count(self, name: str, value: float = 1) -> None:
        # Unit Count for all: CloudWatch keeps values of one metric with different units apart.
        self._metrics.add_metric(name, MetricUnit.Count, value)
        self._counted.add(name)

    def count_of_channel(self, channel: str, name: str, value: int = 1) -> None:
        """Count a metric of CHANNEL_METRICS for a channel, if the stack wants such metrics."""
        if self._by_channel:
            self._by_channel.add(channel, name, value)

    def has_counted(self, name: str) -> bool:
        """True if a metric of that name was counted since the last `flush`."""
        return name in self._counted

    def share(self, result: Result, spent: Mapping[str, float], *, correlation_id: str) -> None:
        """Log and count the result of a share. `spent` has the milliseconds of the work by part, such as `ledger`.

        If no queue accepted the share's job, a further line has the job, since that line is then the only copy.
        """
        # Counted apart: if the secret can't be read, an unsafe share may be a stranger's request.
        # A canary's share is not counted: it must not hide that BigPanda's shares do not come.
        if result.outcome == Outcome.UNSAFE:
            self.count("unsafe")
        elif not (result.subject.incident_id or "").startswith(CANARY_PREFIX):
            self.count("share")
        self._note_cause(result)
        self._note_failed_signal(result)
        # Unsafe shares are not counted by channel: a stranger's request could make metrics for names of no channel.
        if result.outcome != Outcome.UNSAFE:
            self.count_of_channel(result.subject.channel, "share")
            self._count_signal(result)
        if result.notices.routes_undecided:
            which = f"channel {result.subject.channel}, incident {identifier(result.subject.incident_id or '')}"
            self.notice(
                "routes_undecided",
                f"{which}: has too many values for the channel's routes, so the recipients of several are notified",
            )
        # Without the Lambda request id: one request carries one share, and the gateway's id is logged.
        fields = result_fields(result, spent, correlation_id) | {"function_request_id": None}
        self.logger.info("share", extra=fields)
        self._note_last_copy(result, correlation_id)

    def called_back(self, result: Result, spent: Mapping[str, float], *, correlation_id: str) -> None:
        """Log and count the result of a callback. If no queue accepted its job, a further line has the job."""
        if result.outcome == Outcome.UNSAFE:
            self.count("unsafe")
        self._note_cause(result)
        self.logger.info("callback", extra=result_fields(result, spent, correlation_id))
        self._note_last_copy(result, correlation_id)

    def worked(self, job: Job, result: Result, spent: Mapping[str, float]) -> None:
        """Log the result of a job from a queue. Count a failed signal, and unusual facts of the result (`Notices`).

        The `duplicate` of a signal that never failed (the webhook function sent it) is logged at DEBUG, and counts
        nothing.
        """
        fields = result_fields(result, spent, job.stamps.correlation_id) | history(job)
        never_failed = job.kind == JobKind.SIGNAL and job.stamps.first_failed_at is None and job.accepted is None
        if result.outcome == Outcome.DUPLICATE and never_failed:
            self.logger.debug("job", extra=fields)
            return
        self._note_cause(result)
        if job.kind == JobKind.SIGNAL:
            self._note_failed_signal(result)
            self._count_signal(result)
        self.logger.info("job", extra=fields)

    def notified(
        self, channel: str, incident_ids: Sequence[str], missed: Mapping[str, str] | None = None, *, is_notified: bool
    ) -> None:
        """Log and count a notification of the fallback topic about criticals that are overdue, or that nobody heard.

        `missed` has the late or failed step (`ledger.receipt.Missed`) of each critical that nobody heard, by the
        incident's id; None or empty if there is none. The metric counts the incidents, or 1 for a failed notification.
        """
        self.count("critical_waits", len(incident_ids) if is_notified else 1)
        text = "fallback notified" if is_notified else "the fallback topic could not be notified of critical incidents"
        fields = {"channel": channel, "incident_ids": list(incident_ids)[:MAX_LOGGED_IDS], "count": len(incident_ids)}
        unheard = {"missed": dict(list(missed.items())[:MAX_LOGGED_IDS])} if missed else {}
        self.logger.warning(text, extra=fields | unheard)

    def refused(self, request: "Request", error: BadRequest) -> None:
        """Log and count a refused request.

        A request with a body and wrong credentials for an existing channel may be a share from BigPanda, so it is also
        counted as `unauthorized_share`.
        """
        self.count("rejected_request")
        may_be_share = isinstance(error, Unauthorized) and error.channel_exists and bool(request.body)
        if may_be_share:
            self.count("unauthorized_share")
        channel = request.channel if is_channel_name(request.channel) else "(not a channel name)"
        fields = {"channel": channel, "status": error.status, "field": error.field, "correlation_id": request.id}
        # `relayctl status` counts these lines by channel.
        self.logger.info("request refused", extra=fields | ({"may_be_share": True} if may_be_share else {}))

    def crashed(self, error: BaseException, *, raw_body: str | None = None) -> None:
        """Log an unexpected exception: its type and its stack frames, but not its text, which may quote secrets.

        `raw_body` is the body of a request with valid credentials: the log may be its only copy.
        """
        self.count("crash")
        frames = [
            f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)
        ]
        fields: dict[str, Any] = {"error": type(error).__name__, "frames": frames}
        if raw_body is None:
            self.logger.error("crash", extra=fields)
        else:
            self.logger.critical("crash", extra=fields | {"raw_body": raw_body[:MAX_LOGGED_CHARACTERS]})

    def notice(self, name: str, detail: str) -> None:
        """Log a warning `name`, and count the metric that METRIC_OF_NOTICE has for it, or else a metric `name`."""
        self.count(METRIC_OF_NOTICE.get(name, name))
        self.logger.warning(name, extra={"detail": detail})

    def _note_last_copy(self, result: Result, correlation_id: str) -> None:
        if result.outcome == Outcome.UNSAFE and result.job:
            fields = result_fields(result, {}, correlation_id) | {"last_copy": last_copy(result.job)}
            self.logger.critical("last copy: neither delivered nor kept", extra=fields)

    def _note_failed_signal(self, result: Result) -> None:
        if _has_failed(result):
            self.count("signal_failed")

    def _count_signal(self, result: Result) -> None:
        if result.outcome == Outcome.DELIVERED:
            self.count_of_channel(result.subject.channel, "signal_delivered")
        elif _has_failed(result):
            self.count_of_channel(result.subject.channel, "signal_failed")

    def _note_cause(self, result: Result) -> None:
        """Count refused credentials and the unusual facts of a result, and log its exception if it has one."""
        if result.reason == Reason.CREDENTIALS:
            self.count("credentials_refused")
        if result.notices.unguarded:
            self.count("unguarded")
        if result.notices.end:
            self.count("doubtful_resolve")
        if result.notices.unverified:
            self.count("unverified_callback")
        if result.notices.refused_recipients:
            self.count("refused_recipients", result.notices.refused_recipients)
        if result.queue == "dead_letter" and result.reason:
            self.count("dead_lettered")
        if result.notices.fault:
            self.crashed(result.notices.fault)


def _has_failed(result: Result) -> bool:
    """True if xMatters did not accept the signal of a result, with or without a later retry."""
    is_unsent = result.outcome in {Outcome.QUEUED, Outcome.UNSAFE}
    return is_unsent and result.reason is not None and HANDLING[result.reason].is_failure
