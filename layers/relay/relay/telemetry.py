"""Logs and metrics: one structured line a share, and a metric for each outcome and reason.

Nothing secret gets here: lines are made of named fields, never of headers, URLs or exceptions' own words. No text of a
field has control, format or bidi characters, and none is longer than MAX_LOGGED_TEXT.
"""

import json
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.logging import Logger
from aws_lambda_powertools.metrics import Metrics, MetricUnit

from relay.channels.channel import is_channel_name
from relay.errors import BadRequest, Reason, Unauthorized
from relay.foreign_text import identifier, printable
from relay.jobs.envelope import Job
from relay.jobs.outbox import MAX_LOGGED_CHARACTERS
from relay.jobs.outcome import Found, Outcome, Result

if TYPE_CHECKING:
    from relay.channels.inbound import Request
    from relay.ledger.rates import Rate

NOTICES = (
    "unrouted",
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
# A log line names no more incidents than this.
MAX_LOGGED_IDS = 50
MAX_LOGGED_TEXT = 4096
# They are the only copy of a share, so not a character of them may change. JSON escapes them.
_VERBATIM = {"last_copy", "raw_body"}
# A run compares up to hundreds of channels.
MAX_CHANNELS = 3
# The other reasons make a signal wait, or end it by its age or with its channel, though nothing failed.
_FAILURES = frozenset(
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


def _outcome_metric(outcome: Outcome) -> str:
    return f"outcome_{outcome}"


def _callback_metric(outcome: Outcome) -> str:
    return f"callback_{outcome}"


def _job_metric(outcome: Outcome) -> str:
    return f"job_{outcome}"


def _reason_metric(reason: Reason) -> str:
    return f"reason_{reason}"


# All that is ever counted: each metric that is written costs something, so there is none that is always zero.
METRICS = (
    *map(_outcome_metric, Outcome),
    *map(_callback_metric, (Outcome.QUEUED, Outcome.UNCHANGED, Outcome.UNSAFE)),
    *map(_job_metric, Outcome),
    *map(_reason_metric, Reason),
    *NOTICES,
)

type Handler = Callable[[dict[str, Any], Any], dict[str, Any]]


class Telemetry:
    """A logger and a set of metrics, both Powertools' own; settings come from POWERTOOLS_* variables."""

    def __init__(self, logger: Logger, metrics: Metrics) -> None:
        self._logger = logger
        self._metrics = metrics

    @classmethod
    def from_environment(cls) -> "Telemetry":
        """The telemetry of a function."""
        # Nothing is traced, so a trace's id leads nowhere.
        logger = Logger(json_serializer=log_line, use_rfc3339=True, location=None, xray_trace_id=None)
        return cls(logger, Metrics())

    def instrument(self, handler: Handler) -> Handler:
        """The handler with a request id in its log lines and its metrics written when it returns.

        Sets every metric to zero first, once, so that alarms work from the first minute.
        """
        self._zero()

        # Powertools' own decorators would repeat in each line what is the same in all of a log group; would log whole
        # events, and the callers' credentials with them, where a variable says so; and would warn where there is
        # nothing to count.
        @wraps(handler)
        def instrumented(event: dict[str, Any], context: Any) -> dict[str, Any]:
            self._logger.append_keys(function_request_id=context.aws_request_id)
            try:
                return handler(event, context)
            finally:
                if self._metrics.metric_set:
                    self._metrics.flush_metrics()

        return instrumented

    def _zero(self) -> None:
        for name in METRICS:
            self._metrics.add_metric(name, MetricUnit.Count, 0)
        self._metrics.flush_metrics()

    def share(self, result: Result, spent: Mapping[str, float], *, correlation_id: str) -> None:
        """Log and count what became of a share. The last copy of one goes into a line of its own."""
        self._metrics.add_metric(_outcome_metric(result.outcome), MetricUnit.Count, 1)
        self._note_cause(result)
        self._note_failed_signal(result)
        if result.job and result.job.unrouted:
            which = f"channel {result.channel}, incident {identifier(result.incident_id or '')}"
            self.notice("unrouted", f"{which}: its values are too many for the channel's routes, so it rings several")
        # One request a share: the gateway's id for it is enough.
        fields = _fields(result, spent, correlation_id) | {"function_request_id": None}
        self._logger.info("share", extra=fields)
        self._note_last_copy(result, correlation_id)

    def called_back(self, result: Result, spent: Mapping[str, float], *, correlation_id: str) -> None:
        """Log and count what became of a callback. The last copy of one goes into a line of its own."""
        self._metrics.add_metric(_callback_metric(result.outcome), MetricUnit.Count, 1)
        self._note_cause(result)
        self._logger.info("callback", extra=_fields(result, spent, correlation_id))
        self._note_last_copy(result, correlation_id)

    def worked(self, job: Job, result: Result, spent: Mapping[str, float]) -> None:
        """Log and count what became of a job that woke up on a queue.

        Of almost every share that is delivered at once the job wakes for nothing: that is no news, and not counted.
        """
        fields = _fields(result, spent, job.correlation_id) | _history(job)
        never_failed = job.kind == "signal" and job.first_failed_at is None and not job.accepted
        if result.outcome == Outcome.DUPLICATE and never_failed:
            self._logger.debug("job", extra=fields)
            return
        self._metrics.add_metric(_job_metric(result.outcome), MetricUnit.Count, 1)
        self._note_cause(result)
        if job.kind == "signal":
            self._note_failed_signal(result)
        self._logger.info("job", extra=fields)

    def unreadable(self, problem: str) -> None:
        """Log and count a message that is no job; it stays where it is, until the queue's redrive takes it away."""
        self._metrics.add_metric("unreadable_job", MetricUnit.Count, 1)
        self._logger.error("unreadable job", extra={"detail": problem})

    def notified(self, channel: str, incident_ids: Sequence[str], *, is_notified: bool) -> None:
        """Log and count that the fallback topic was notified of overdue criticals, or that SNS did not take it."""
        name = "fallback_notified" if is_notified else "fallback_failed"
        self._metrics.add_metric(name, MetricUnit.Count, len(incident_ids) if is_notified else 1)
        text = "fallback notified" if is_notified else "the fallback topic could not be notified of critical incidents"
        fields = {"channel": channel, "incident_ids": list(incident_ids)[:MAX_LOGGED_IDS], "count": len(incident_ids)}
        self._logger.warning(text, extra=fields)

    def swept(self, owed: int, oldest_overdue: float, healed: int) -> None:
        """Count a run of the sweeper: what is owed, by how many seconds the oldest is overdue, how many were healed."""
        self._metrics.add_metric("sweeper_heartbeat", MetricUnit.Count, 1)
        self._metrics.add_metric("debts_owed", MetricUnit.Count, owed)
        # Without a unit of its own, since it is zero first as all others are.
        self._metrics.add_metric("debt_overdue_seconds", MetricUnit.Count, round(oldest_overdue))
        if healed:
            self._metrics.add_metric("debt_healed", MetricUnit.Count, healed)
        self._logger.info("swept", extra={"owed": owed, "overdue_seconds": round(oldest_overdue), "healed": healed})

    def sick(self, channel: str, owed: int, oldest: float, reason: str) -> None:
        """Log that a channel owes something for long; `oldest` is for how many seconds."""
        fields = {"channel": channel, "owed": owed, "oldest_seconds": round(oldest), "reason": reason or None}
        self._logger.warning("channel owes signals", extra={name: value for name, value in fields.items() if value})

    def flooded(self, rates: "Mapping[Rate, float]") -> None:
        """Count the channels that are above their rate limits, and log each; the values are for how many seconds."""
        self._metrics.add_metric("channels_flooded", MetricUnit.Count, len(rates))
        for rate, seconds in rates.items():
            fields = {
                "channel": rate.channel,
                "arrived_per_minute": rate.arrived,
                "max_per_minute": rate.limit,
                "owed": rate.owed,
                "critical_wait_seconds": None if rate.critical_wait is None else round(rate.critical_wait),
                "above_seconds": round(seconds),
            }
            known = {name: value for name, value in fields.items() if value is not None}
            self._logger.warning("channel flooded: more arrives than its limit lets through", extra=known)

    def unconfirmed(self, job: Job, request_ids: Sequence[str]) -> None:
        """Log and count that no page came of signals that xMatters accepted; `request_ids` are xMatters' own."""
        self._metrics.add_metric("unconfirmed", MetricUnit.Count, 1)
        fields = {"channel": job.channel, "incident_id": job.incident_id, "delivery_id": job.delivery_id}
        fields["request_id"] = ", ".join(request_ids)
        self._logger.error(
            "unconfirmed: xMatters accepted a signal and made no page of it", extra=fields | _history(job)
        )

    def reconciled(
        self, channels: Sequence[str], environment_id: str, found: Found, spent: Mapping[str, float]
    ) -> None:
        """Log and count the result of a reconcile run; `spent` has the milliseconds of its last piece."""
        if found.missed:
            self._metrics.add_metric("share_missed", MetricUnit.Count, found.missed)
        if found.reason:
            self._metrics.add_metric("reconcile_failed", MetricUnit.Count, 1)
        fields = {"channel": _channels(channels), "environment_id": environment_id, **found._asdict()}
        fields["milliseconds"] = {part: round(exact) for part, exact in spent.items()}
        known = {name: value for name, value in fields.items() if value is not None}
        log = self._logger.error if found.failure or found.missed else self._logger.info
        log("reconciled", extra=known)

    def unannounced(self, incident_id: str, status: str | None, channels: Sequence[str]) -> None:
        """Log and count an open incident that a reconcile run found and none of these channels knows."""
        self._metrics.add_metric("missed_unannounced", MetricUnit.Count, 1)
        fields = {"incident_id": incident_id, "status": status, "channel": _channels(channels)}
        self._logger.warning(
            "missed unannounced: an incident of which no share came, and that is not rung", extra=fields
        )

    def refused(self, request: "Request", error: BadRequest) -> None:
        """Log and count a request that was turned away.

        Wrong credentials for a channel that exists count twice: such a request may be a share of BigPanda's. A request
        without a body is none.
        """
        self._metrics.add_metric("rejected_request", MetricUnit.Count, 1)
        if isinstance(error, Unauthorized) and error.channel_exists and request.body:
            self._metrics.add_metric("unauthorized_share", MetricUnit.Count, 1)
        channel = request.channel if is_channel_name(request.channel) else "(not a channel name)"
        fields = {"channel": channel, "status": error.status, "field": error.field, "correlation_id": request.id}
        self._logger.info("request refused", extra=fields)

    def crashed(self, error: BaseException, *, raw_body: str | None = None) -> None:
        """Log where our own code failed; an exception's words may quote what must not be shown, its frames do not.

        `raw_body` is the only copy of a share that was let in and is nowhere else, as API Gateway handed it over.
        """
        self._metrics.add_metric("crash", MetricUnit.Count, 1)
        frames = [
            f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)
        ]
        fields: dict[str, Any] = {"error": type(error).__name__, "frames": frames}
        if raw_body is None:
            self._logger.error("crash", extra=fields)
        else:
            self._logger.critical("crash", extra=fields | {"raw_body": raw_body[:MAX_LOGGED_CHARACTERS]})

    def notice(self, name: str, detail: str) -> None:
        """Log and count that something had to do in place of something better."""
        self._metrics.add_metric(name, MetricUnit.Count, 1)
        self._logger.warning(name, extra={"detail": detail})

    def _note_last_copy(self, result: Result, correlation_id: str) -> None:
        if result.last_copy is not None:
            fields = _fields(result, {}, correlation_id) | {"last_copy": result.last_copy}
            self._logger.critical("last copy: neither delivered nor kept", extra=fields)

    def _note_failed_signal(self, result: Result) -> None:
        """Count a signal that xMatters did not accept, whether or not it is tried again."""
        if result.outcome in {Outcome.QUEUED, Outcome.UNSAFE} and result.reason in _FAILURES:
            self._metrics.add_metric("signal_failed", MetricUnit.Count, 1)

    def _note_cause(self, result: Result) -> None:
        """Count the reason and what is unusual, and say where it was if it was a fault of our own."""
        if result.reason:
            self._metrics.add_metric(_reason_metric(result.reason), MetricUnit.Count, 1)
        if result.unguarded:
            self._metrics.add_metric("unguarded", MetricUnit.Count, 1)
        if result.end:
            self._metrics.add_metric(f"resolve_{result.end}", MetricUnit.Count, 1)
        if result.unverified:
            self._metrics.add_metric("unverified_callback", MetricUnit.Count, 1)
        if result.refused_recipients:
            self._metrics.add_metric("refused_recipients", MetricUnit.Count, result.refused_recipients)
        if result.queue == "dead_letter" and result.reason:
            self._metrics.add_metric("dead_lettered", MetricUnit.Count, 1)
        if result.fault:
            self.crashed(result.fault)


def log_line(fields: Mapping[str, Any]) -> str:
    """Return the fields of a log line as JSON: one line of ASCII, with texts that can be shown anywhere."""
    return json.dumps(_shown(fields), default=str, separators=(",", ":"))


def _shown(value: Any) -> Any:
    """Return a value of a log line with safe texts: strangers choose ids, and viewers of logs decode escapes."""
    match value:
        case str():
            return printable(value, MAX_LOGGED_TEXT)
        case Mapping():
            return {name: each if name in _VERBATIM else _shown(each) for name, each in value.items()}
        case list() | tuple():
            return [_shown(each) for each in value]
    return value


def _channels(names: Sequence[str]) -> str:
    """Return names of channels for a log line: three, and how many more there are."""
    more = len(names) - MAX_CHANNELS
    return ", ".join(names[:MAX_CHANNELS]) + (f" and {more} more" if more > 0 else "")


def _fields(result: Result, spent: Mapping[str, float], correlation_id: str) -> dict[str, Any]:
    fields = {
        "channel": result.channel,
        "incident_id": result.incident_id,
        "outcome": result.outcome,
        "transition": result.transition,
        "why": result.why,
        "reason": result.reason,
        "queue": result.queue,
        "attempts": result.attempts or None,
        "http_status": result.http_status,
        "detail": result.detail,
        "unguarded": result.unguarded,
        "refused_recipients": result.refused_recipients or None,
        "unverified": result.unverified,
        "end": result.end,
        "delivery_id": result.delivery_id,
        "request_id": result.request_id,
        "correlation_id": correlation_id,
        "milliseconds": {part: round(exact) for part, exact in spent.items()},
    }
    return {name: value for name, value in fields.items() if value is not None}


def _history(job: Job) -> dict[str, Any]:
    return {"kind": job.kind, "rounds": job.rounds, "replays": job.replays, "received_at": job.received_at}
