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
from typing import TYPE_CHECKING, Any, NamedTuple

from aws_lambda_powertools.logging import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, Metrics, MetricUnit

from relay.channels.channel import is_channel_name
from relay.failures import BadRequest, Reason, Unauthorized
from relay.foreign_text import identifier, printable
from relay.incidents.share import CANARY_PREFIX
from relay.jobs.job import Job, JobKind
from relay.jobs.outcome import Outcome, Result
from relay.jobs.queue import MAX_LOGGED_CHARACTERS

if TYPE_CHECKING:
    from relay.channels.authentication import Request
    from relay.ledger.overload_detector import Load


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


# Written in nearly every hour: a share with the right credentials came.
ALWAYS = ("share",)
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
    "canary_accepted_seconds",
    "canary_notified_seconds",
    "canary_ended_seconds",
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
    """Return a value of a log line, in which every text is printable and of bounded length.

    Ids come from outside the relay, and log viewers decode JSON escapes into control characters.
    """
    match value:
        case str():
            return printable(value, MAX_LOGGED_TEXT)
        case Mapping():
            return {name: each if name in _VERBATIM else _shown(each) for name, each in value.items()}
        case list() | tuple():
            return [_shown(each) for each in value]
    return value


def channel_list(names: Sequence[str]) -> str:
    more = len(names) - MAX_LISTED_CHANNELS
    return ", ".join(names[:MAX_LISTED_CHANNELS]) + (f" and {more} more" if more > 0 else "")


def result_fields(result: Result, spent: Mapping[str, float], correlation_id: str) -> dict[str, Any]:
    """Return the fields of a log line about a result."""
    subject, exchange, notices = result.subject, result.exchange, result.notices
    is_shadowed = result.outcome == Outcome.SHADOWED
    fields = {
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
    return _known(fields)


def _known(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def history(job: Job) -> dict[str, Any]:
    return {
        "kind": job.kind,
        "earlier_attempts": job.stamps.attempts,
        "replays": job.stamps.replays,
        "received_at": job.received_at,
    }


# Incidents that one log line names at most.
MAX_LOGGED_IDS = 50

type Handler = Callable[[dict[str, Any], Any], dict[str, Any]]


class Found(NamedTuple):
    """Findings of a reconcile run.

    Attributes:
        compared: Number of incidents that were compared.
        missed: Number of states that a channel missed and that were queued.
        snooze_over: Number of criticals that were queued since their snooze is over.
        unknown: Number of open incidents that were reported since no channel knew them.
        failure: Why the run is not complete; None if it is.
        reason: The reason of the failure; None if there is none.
    """

    compared: int = 0
    missed: int = 0
    snooze_over: int = 0
    unknown: int = 0
    failure: str | None = None
    reason: Reason | None = None


class Telemetry:
    """The log and the metrics of a function, over Powertools. Settings come from POWERTOOLS_* variables.

    `spent` is the time of each part of some work (milliseconds).
    """

    def __init__(self, logger: Logger, metrics: Metrics, by_channel: ChannelMetrics | None = None) -> None:
        self._logger = logger
        self._metrics = metrics
        self._by_channel = by_channel

    @classmethod
    def from_environment(cls, *, has_channel_metrics: bool = False, is_traced: bool = False) -> "Telemetry":
        """Return the log and the metrics of a Lambda function.

        With `has_channel_metrics`, some metrics are also written for each channel. With `is_traced`, each line of a
        request has the request's X-Ray trace id. Without, lines have none, although Lambda sets one.
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
            self._logger.append_keys(function_request_id=context.aws_request_id)
            try:
                return handler(event, context)
            finally:
                self.flush()

        return instrumented

    def flush(self) -> None:
        """Write the metrics that were counted since the last call, and forget them."""
        if self._metrics.metric_set:
            self._metrics.flush_metrics()
        if self._by_channel:
            self._by_channel.flush(self._metrics)

    def _count(self, name: str, value: float = 1) -> None:
        self._metrics.add_metric(name, MetricUnit.Count, value)

    def has_counted(self, name: str) -> bool:
        """True if a metric of that name was counted since the last `flush`."""
        return name in self._metrics.metric_set

    def share(self, result: Result, spent: Mapping[str, float], *, correlation_id: str) -> None:
        """Log and count the result of a share.

        If no queue accepted the share's job, a further line has the job, since that line is then the only copy.
        """
        # Counted apart: if the secret can't be read, an unsafe share may be a stranger's request.
        # A canary's share is not counted: it must not hide that BigPanda's shares do not come.
        if result.outcome == Outcome.UNSAFE:
            self._count("unsafe")
        elif not (result.subject.incident_id or "").startswith(CANARY_PREFIX):
            self._count("share")
        self._note_cause(result)
        self._note_failed_signal(result)
        # Unsafe shares are not counted by channel: a stranger's request could make metrics for names of no channel.
        if self._by_channel and result.outcome != Outcome.UNSAFE:
            self._by_channel.add(result.subject.channel, "share")
            self._count_signal(self._by_channel, result)
        if result.notices.routes_undecided:
            which = f"channel {result.subject.channel}, incident {identifier(result.subject.incident_id or '')}"
            self.notice(
                "routes_undecided",
                f"{which}: has too many values for the channel's routes, so the recipients of several are notified",
            )
        # Without the Lambda request id: one request carries one share, and the gateway's id is logged.
        fields = result_fields(result, spent, correlation_id) | {"function_request_id": None}
        self._logger.info("share", extra=fields)
        self._note_last_copy(result, correlation_id)

    def called_back(self, result: Result, spent: Mapping[str, float], *, correlation_id: str) -> None:
        """Log and count the result of a callback, as `share` does."""
        if result.outcome == Outcome.UNSAFE:
            self._count("unsafe")
        self._note_cause(result)
        self._logger.info("callback", extra=result_fields(result, spent, correlation_id))
        self._note_last_copy(result, correlation_id)

    def worked(self, job: Job, result: Result, spent: Mapping[str, float]) -> None:
        """Log the result of a job from a queue, and count a failed signal and unusual facts of the result.

        Each share's job is queued before the first attempt, in case the webhook function dies. If one of the webhook's
        attempts succeeded, the job's result is a `duplicate`, which is logged at DEBUG only.
        """
        fields = result_fields(result, spent, job.stamps.correlation_id) | history(job)
        never_failed = job.kind == JobKind.SIGNAL and job.stamps.first_failed_at is None and job.accepted is None
        if result.outcome == Outcome.DUPLICATE and never_failed:
            self._logger.debug("job", extra=fields)
            return
        self._note_cause(result)
        if job.kind == JobKind.SIGNAL:
            self._note_failed_signal(result)
            if self._by_channel:
                self._count_signal(self._by_channel, result)
        self._logger.info("job", extra=fields)

    def unreadable(self, problem: str) -> None:
        """Log a message that is not a job. It stays on its queue until the redrive policy moves it."""
        self._logger.error("unreadable job", extra={"detail": problem})

    def notified(
        self, channel: str, incident_ids: Sequence[str], missed: Mapping[str, str] | None = None, *, is_notified: bool
    ) -> None:
        """Log and count a notification of the fallback topic about criticals that are overdue, or unheard.

        `missed` has the late or failed step (`ledger.receipt.Missed`) of each unheard one, by the incident's id. A
        failed notification (not `is_notified`) is counted once.
        """
        self._count("critical_waits", len(incident_ids) if is_notified else 1)
        text = "fallback notified" if is_notified else "the fallback topic could not be notified of critical incidents"
        fields = {"channel": channel, "incident_ids": list(incident_ids)[:MAX_LOGGED_IDS], "count": len(incident_ids)}
        unheard = {"missed": dict(list(missed.items())[:MAX_LOGGED_IDS])} if missed else {}
        self._logger.warning(text, extra=fields | unheard)

    def called(self, channels: Sequence[str], failures: Mapping[str, str]) -> None:
        """Log calls and texts to phones about overdue criticals of these channels.

        `failures` has the failure of each way, by its name: empty if the service accepted the call or text. The
        incidents are in the lines of `notified`.
        """
        accepted = [way for way, failure in failures.items() if not failure]
        failed = {way: failure for way, failure in failures.items() if failure}
        text = "fallback phones called" if accepted else "no fallback phone could be called about critical incidents"
        fields = {"channels": list(channels)[:MAX_LOGGED_IDS], "count": len(channels), "accepted": accepted}
        self._logger.warning(text, extra=fields | ({"failed": failed} if failed else {}))

    def swept(self, owed_by_channel: Mapping[str, int], oldest_overdue: float, healed: int) -> None:
        """Log and count a run of the sweeper.

        `owed_by_channel` has the number of owed states of each channel. `oldest_overdue` is the time since the oldest
        owed state was due (seconds). `healed` is the number of owed states that the sweeper woke.
        """
        owed = sum(owed_by_channel.values())
        if self._by_channel:
            for channel, count in owed_by_channel.items():
                self._by_channel.add(channel, "debts_owed", count)
        if owed:
            self._count("debts_owed", owed)
        if oldest_overdue:
            # Unit Count, as everywhere: CloudWatch keeps values of one metric with different units apart.
            self._count("debt_overdue_seconds", round(oldest_overdue))
        if healed:
            self._count("debt_healed", healed)
        self._logger.info("swept", extra={"owed": owed, "overdue_seconds": round(oldest_overdue), "healed": healed})

    def owes(self, channel: str, owed: int, oldest: float, reason: str) -> None:
        """Log a channel that has owed signals for long: the age of the oldest one (seconds), and its last reason."""
        fields = {"channel": channel, "owed": owed, "oldest_seconds": round(oldest), "reason": reason or None}
        self._logger.warning("channel owes signals", extra=_known(fields))

    def told_of_health(self, health: str, channels: Sequence[str], why: str, *, is_told: bool) -> None:
        """Log a notification of people that channels are `sick` or `well`; log and count one that failed."""
        fields = {"channel": channel_list(channels), "count": len(channels), "why": why}
        if is_told:
            self._logger.warning("channel is sick" if health == "sick" else "channel is well again", extra=fields)
            return
        self._count("health_failed")
        self._logger.error(f"people could not be told that a channel is {health}", extra=fields)

    def canary(self, channel: str, incident_id: str, seconds: Mapping[str, float]) -> None:
        """Log and count the times of a canary's incident.

        `seconds` has, as far as known now, `accepted` (the signal) and `notified`, both after the share, and `ended`
        (the page), after the resolve.
        """
        fields: dict[str, Any] = {"channel": channel, "incident_id": incident_id}
        for step, exact in seconds.items():
            fields[f"{step}_seconds"] = round(exact, 1)
            self._count(f"canary_{step}_seconds", round(exact, 1))
        self._logger.info("canary", extra=fields)

    def canary_failed(self, channel: str, incident_id: str, why: str, *, is_new: bool) -> None:
        """Log a canary that failed; count it if `is_new`, and not again until the channel's canary succeeded."""
        if is_new:
            self._count("critical_waits")
        self._logger.warning("canary failed", extra={"channel": channel, "incident_id": incident_id, "detail": why})

    def overloaded(self, loads: "Mapping[Load, float]") -> None:
        """Log and count the channels above their rate limits, by load; with the time above the limit (seconds)."""
        if loads:
            self._count("channels_overloaded", len(loads))
        for load, seconds in loads.items():
            fields = {
                "channel": load.channel,
                "arrived_per_minute": load.arrived,
                "max_per_minute": load.limit,
                "owed": load.owed,
                "critical_wait_seconds": None if load.critical_wait is None else round(load.critical_wait),
                "above_seconds": round(seconds),
            }
            self._logger.warning("channel overloaded: more arrives than its limit lets through", extra=_known(fields))

    def page_missing(self, job: Job, request_ids: Sequence[str]) -> None:
        """Log and count signals that xMatters accepted, and for which no page exists; `request_ids` are xMatters'."""
        self._count("page_missing")
        fields = {"channel": job.channel, "incident_id": job.incident_id, "delivery_id": job.delivery_id}
        fields["request_id"] = ", ".join(request_ids)
        self._logger.error(
            "page missing: xMatters accepted a signal and made no page of it", extra=fields | history(job)
        )

    def reconciled(
        self, channels: Sequence[str], environment_id: str, found: Found, spent: Mapping[str, float]
    ) -> None:
        """Log and count the result of a reconcile run with a listing of incidents."""
        if found.missed:
            self._count("share_missed", found.missed)
        if found.reason:
            self._count("reconcile_failed")
        fields = {"channel": channel_list(channels), "environment_id": environment_id, **found._asdict()}
        fields["milliseconds"] = {part: round(exact) for part, exact in spent.items()}
        log = self._logger.error if found.failure or found.missed else self._logger.info
        log("reconciled", extra=_known(fields))

    def unknown_incident(self, incident_id: str, status: str | None, channels: Sequence[str]) -> None:
        """Log and count an unknown incident: a reconcile run found it open in BigPanda, and no share of it came."""
        self._count("unknown_incident")
        fields = {"incident_id": incident_id, "status": status, "channel": channel_list(channels)}
        self._logger.warning(
            "unknown incident: open in BigPanda, and no share of it came; it is reported, not signalled", extra=fields
        )

    def refused(self, request: "Request", error: BadRequest) -> None:
        """Log and count a refused request.

        A request with a body and wrong credentials for an existing channel may be a share from BigPanda, so it is also
        counted as `unauthorized_share`.
        """
        self._count("rejected_request")
        may_be_share = isinstance(error, Unauthorized) and error.channel_exists and bool(request.body)
        if may_be_share:
            self._count("unauthorized_share")
        channel = request.channel if is_channel_name(request.channel) else "(not a channel name)"
        fields = {"channel": channel, "status": error.status, "field": error.field, "correlation_id": request.id}
        # `relayctl status` counts these lines by channel.
        self._logger.info("request refused", extra=fields | ({"may_be_share": True} if may_be_share else {}))

    def crashed(self, error: BaseException, *, raw_body: str | None = None) -> None:
        """Log an unexpected exception: its type and its stack frames, but not its text, which may quote secrets.

        `raw_body` is the body of a request with valid credentials: the log may be its only copy.
        """
        self._count("crash")
        frames = [
            f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)
        ]
        fields: dict[str, Any] = {"error": type(error).__name__, "frames": frames}
        if raw_body is None:
            self._logger.error("crash", extra=fields)
        else:
            self._logger.critical("crash", extra=fields | {"raw_body": raw_body[:MAX_LOGGED_CHARACTERS]})

    def notice(self, name: str, detail: str) -> None:
        """Log `detail` as a warning, and count it under `name`, or under its metric in METRIC_OF_NOTICE."""
        self._count(METRIC_OF_NOTICE.get(name, name))
        self._logger.warning(name, extra={"detail": detail})

    def _note_last_copy(self, result: Result, correlation_id: str) -> None:
        if result.notices.last_copy is not None:
            fields = result_fields(result, {}, correlation_id) | {"last_copy": result.notices.last_copy}
            self._logger.critical("last copy: neither delivered nor kept", extra=fields)

    def _note_failed_signal(self, result: Result) -> None:
        if _has_failed(result):
            self._count("signal_failed")

    def _count_signal(self, by_channel: ChannelMetrics, result: Result) -> None:
        if result.outcome == Outcome.DELIVERED:
            by_channel.add(result.subject.channel, "signal_delivered")
        elif _has_failed(result):
            by_channel.add(result.subject.channel, "signal_failed")

    def _note_cause(self, result: Result) -> None:
        """Count refused credentials and the unusual facts of a result, and log its exception if it has one."""
        if result.reason == Reason.CREDENTIALS:
            self._count("credentials_refused")
        if result.notices.unguarded:
            self._count("unguarded")
        if result.notices.end:
            self._count("doubtful_resolve")
        if result.notices.unverified:
            self._count("unverified_callback")
        if result.notices.refused_recipients:
            self._count("refused_recipients", result.notices.refused_recipients)
        if result.queue == "dead_letter" and result.reason:
            self._count("dead_lettered")
        if result.notices.fault:
            self.crashed(result.notices.fault)


def _has_failed(result: Result) -> bool:
    """True if xMatters did not accept the signal of a result, with or without a later retry."""
    return result.outcome in {Outcome.QUEUED, Outcome.UNSAFE} and result.reason in FAILED_SIGNAL_REASONS
