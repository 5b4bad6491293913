"""Output of dead-lettered jobs: lines, JSON objects and counts."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from relay.delivery.channel_health import age as duration
from relay.failures import BadRequest
from relay.foreign_text import identifier, printable, quoted
from relay.incidents.share import MAX_ID_LENGTH, parse_share
from relay.jobs.job import Flag, Job, seconds_of
from relay.jobs.queue import UnreadableMessage, read_envelope
from relayctl import terminal
from relayctl.dlq.queue import HeldMessage, QueueDepth
from relayctl.dlq.reading import NO_STATUS

_NAME_COLUMNS = 18
_AGE_COLUMNS = 5
_MAX_TITLE = 82
_MAX_PROBLEM = 200
# A vendor's answer may have several lines.
_OF_MANY_LINES = "response_excerpt"
SUMMARY_INDENT = 14
# Jobs that are printed one by one; --json has all.
MAX_LINES = 20


def title(envelope: str) -> str:
    """Return the title of the incident in a signal's job, from the job as message text; empty if there is none."""
    try:
        return parse_share(read_envelope(envelope).body).title
    except (BadRequest, UnreadableMessage):
        return ""


def document(held: HeldMessage, *, with_body: bool = False) -> dict[str, Any]:
    """Return a message as a JSON object. Bytes of the body that are not UTF-8 are replaced."""
    if held.job is None:
        return {"message_id": held.message_id, "unreadable": held.problem}
    job = held.job
    body = {"body": read_envelope(held.envelope).body.decode("utf-8", "replace")} if with_body else {}
    return {
        "message_id": held.message_id,
        "kind": job.kind,
        "delivery_id": job.delivery_id,
        "channel": job.channel,
        "incident_id": job.incident_id,
        "title": title(held.envelope) or None,
        "status": job.stamps.status,
        "transition": job.stamps.transition,
        "recipients": list(job.stamps.recipients),
        "reason": job.stamps.reason,
        "http_status": job.stamps.http_status,
        "response_excerpt": job.stamps.response_excerpt,
        "attempts": job.stamps.attempts,
        "replays": job.stamps.replays,
        "may_have_paged": Flag.MAY_HAVE_PAGED in job.flags,
        "received_at": job.received_at,
        "first_failed_at": job.stamps.first_failed_at,
        "last_failed_at": job.stamps.last_failed_at,
        "dead_lettered_at": job.dead_lettered_at,
        "correlation_id": job.stamps.correlation_id,
        "body_reduced": Flag.BODY_REDUCED in job.flags,
    } | body


def show(document: Mapping[str, Any], now: float) -> None:
    """Print a line for a message, from its JSON object: its age, its id, its channel and incident, why it is there."""
    if "unreadable" in document:
        problem = printable(document["unreadable"] or "", _MAX_PROBLEM)
        terminal.show_line(f"{document['message_id'][:8]} unreadable: {problem}", indent=2)
        return
    # Incident ids come from BigPanda, and a message may be a stranger's. In quotes a text with spaces is one word.
    status = identifier(document["status"]) if document["status"] else NO_STATUS
    http = f" {document['http_status']}" if document["http_status"] else ""
    attempts = f"{document['attempts']} attempt{'' if document['attempts'] == 1 else 's'}"
    said = [status, f"{identifier(document['reason'])}{http} after {attempts}"]
    said += [quoted(document["title"], _MAX_TITLE)] if document["title"] else []
    incident = identifier(document["incident_id"], MAX_ID_LENGTH)
    name = printable(f"{document['delivery_id'][:8]}  {document['channel']} {incident}")
    lead = f"{age(document['received_at'], now):>{_AGE_COLUMNS}}  "
    terminal.show_line(f"{name}: {', '.join(said)}", lead=lead)


def text(members: dict[str, Any]) -> str:
    """Return a message, from its JSON object, as a line for each member that is not empty, then the body."""
    members = members.copy()
    body = members.pop("body", None)
    lines = [
        f"{name.replace('_', ' '):{_NAME_COLUMNS - 1}} {_aligned(value, is_of_many_lines=name == _OF_MANY_LINES)}"
        for name, value in members.items()
        if value not in (None, "", [])
    ]
    if isinstance(body, str):
        # Indented, so that no line of the body looks like a line of relayctl.
        lines += ["body", *(f"  {printable(line)}" for line in _indented(body).splitlines())]
    return "\n".join(lines)


def _aligned(value: Any, *, is_of_many_lines: bool) -> str:
    whole = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return ("\n" + " " * _NAME_COLUMNS).join(map(printable, whole.splitlines() if is_of_many_lines else [whole]))


def _indented(body: str) -> str:
    try:
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return body


def summary(jobs: Sequence[Job], depth: QueueDepth) -> dict[str, Any]:
    """Return the counts of the matching jobs by channel, kind, reason and status, as a JSON object."""
    return {
        "matched": len(jobs),
        "about": depth.about,
        "held": depth.held,
        "by_channel": dict(Counter(job.channel for job in jobs)),
        "by_kind": dict(Counter(job.kind for job in jobs)),
        "by_reason": dict(Counter(job.stamps.reason for job in jobs)),
        "by_status": dict(Counter(job.stamps.status or NO_STATUS for job in jobs)),
        "incidents": len({(job.channel, job.incident_id) for job in jobs}),
        "oldest": min((job.received_at for job in jobs), default=None),
        "newest": max((job.received_at for job in jobs), default=None),
    }


def show_some(lines: Sequence[str]) -> None:
    """Print the first lines about jobs, and the number of the others."""
    for line in lines[:MAX_LINES]:
        terminal.show_line(line, indent=2)
    if len(lines) > MAX_LINES:
        terminal.show_line(f"and {len(lines) - MAX_LINES} more like these; --json lists all")


def show_summary(sums: Mapping[str, Any]) -> None:
    terminal.show_line(f"{sums['matched']} of about {sums['about']} messages match; incidents: {sums['incidents']}")
    for by in ("channel", "kind", "reason", "status"):
        counts = ", ".join(f"{name} {count}" for name, count in sorted(sums[f"by_{by}"].items()))
        terminal.show_line(printable(f"  by {by:8} {counts}"), indent=SUMMARY_INDENT)
    terminal.show_line(f"  shared      {sums['oldest']} to {sums['newest']}")


def age(received_at: str, now: float) -> str:
    return duration(now - seconds_of(received_at))
