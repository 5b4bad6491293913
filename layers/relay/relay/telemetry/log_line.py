"""Fields of log lines, and their JSON: printable texts of a bounded length. Pure code."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from relay.foreign_text import printable
from relay.jobs.job import Job
from relay.jobs.outcome import Outcome, Result

# Characters of a text in a log line.
MAX_LOGGED_TEXT = 4096
# Logged without a change, since they may be the only copy of a share. JSON escapes their control characters.
_VERBATIM = {"last_copy", "raw_body"}
# Channels that one log line names at most; a reconcile run can compare hundreds.
MAX_CHANNELS = 3


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
    """Return channel names for a log line: at most three, and the number of the others."""
    more = len(names) - MAX_CHANNELS
    return ", ".join(names[:MAX_CHANNELS]) + (f" and {more} more" if more > 0 else "")


def result_fields(result: Result, spent: Mapping[str, float], correlation_id: str) -> dict[str, Any]:
    """Return the fields of a log line about a result, without those that are None.

    `spent` has the time spent on each part of the work (milliseconds), and `correlation_id` the id for log searches.
    """
    subject, exchange, notices = result.subject, result.exchange, result.notices
    fields = {
        "channel": subject.channel,
        "incident_id": subject.incident_id,
        "outcome": result.outcome,
        "recipients": list(result.job.stamps.recipients) if _is_shadowed(result) and result.job else None,
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
    return {name: value for name, value in fields.items() if value is not None}


def _is_shadowed(result: Result) -> bool:
    """True if the channel's shadow mode is the reason why no signal was sent.

    Then the log is the only record of the signal.
    """
    return result.outcome == Outcome.SHADOWED


def history(job: Job) -> dict[str, Any]:
    """Return the fields of a log line about a job's history: kind, earlier attempts, replays and arrival."""
    return {
        "kind": job.kind,
        "earlier_attempts": job.attempts,
        "replays": job.stamps.replays,
        "received_at": job.received_at,
    }
