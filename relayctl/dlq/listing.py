"""Output of dead-lettered jobs: tables, JSON objects and counts."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from relay.delivery.channel_health import age as duration
from relay.failures import BadRequest
from relay.foreign_text import identifier, printable, quoted
from relay.incidents.share import MAX_ID_LENGTH, parse_share, title_of
from relay.jobs.job import Flag, Job, seconds_of
from relay.jobs.queue import UnreadableMessage, read_envelope
from relayctl.dlq.mover import NO_STATUS
from relayctl.dlq.queue import Depth, HeldMessage

_NAME_COLUMNS = 18
_REASON = "reason (attempts)"
_SHORT_TITLES = ("id", "age", "status", _REASON)
_TITLE = "title"
_MAX_TITLE = 82
_GAP = "  "
_MAX_PROBLEM = 200
# A vendor's answer may have several lines.
_OF_MANY_LINES = "response_excerpt"
SUMMARY_INDENT = 14


def has_id_prefix(held: HeldMessage, prefix: str) -> bool:
    """Return True if the message's id, or the delivery id of its job, begins with `prefix`."""
    return held.message_id.startswith(prefix) or (held.job is not None and held.job.delivery_id.startswith(prefix))


def title(envelope: str) -> str:
    """Return the title of the incident in a signal's job, from the job as message text; empty if there is none."""
    try:
        return title_of(parse_share(read_envelope(envelope).body))
    except (BadRequest, UnreadableMessage):
        return ""


def document(held: HeldMessage, title: str = "") -> dict[str, Any]:
    """Return a message as a JSON object, without its body. `title` is the title of its incident."""
    if held.job is None:
        return {"message_id": held.message_id, "unreadable": held.problem}
    job = held.job
    return {
        "message_id": held.message_id,
        "kind": job.kind,
        "delivery_id": job.delivery_id,
        "channel": job.channel,
        "incident_id": job.incident_id,
        "title": title or None,
        "status": job.stamps.status,
        "transition": job.stamps.transition,
        "recipients": list(job.stamps.recipients),
        "reason": job.stamps.reason,
        "http_status": job.stamps.http_status,
        "response_excerpt": job.stamps.response_excerpt,
        "attempts": job.attempts,
        "replays": job.stamps.replays,
        "may_have_paged": Flag.MAY_HAVE_PAGED in job.flags,
        "received_at": job.received_at,
        "first_failed_at": job.stamps.first_failed_at,
        "last_failed_at": job.stamps.last_failed_at,
        "dead_lettered_at": job.dead_lettered_at,
        "correlation_id": job.stamps.correlation_id,
        "body_reduced": Flag.BODY_REDUCED in job.flags,
    }


def whole_document(held: HeldMessage, envelope: str) -> dict[str, Any]:
    """Return a message as a JSON object with its body as text; bytes that are not UTF-8 are replaced."""
    if held.job is None:
        return document(held)
    return {**document(held, title(envelope)), "body": read_envelope(envelope).body.decode("utf-8", "replace")}


def listing(held_messages: Sequence[HeldMessage], depth: Depth, titles: Mapping[str, str]) -> dict[str, Any]:
    """Return a list of messages as a JSON object, without their bodies.

    The object also has `depth`, the numbers of messages on the queue. `titles` are those of the incidents by the
    messages' ids.
    """
    return {
        "messages": [document(held, titles.get(held.message_id, "")) for held in held_messages],
        "shown": len(held_messages),
        "about": depth.about,
        "held": depth.held,
    }


def table(jobs: Sequence[Job], now: datetime, columns: int, titles: Sequence[str] = ()) -> RenderableType:
    """Return a table of jobs for the terminal. `titles` are those of the jobs' incidents, in the same order.

    If the rows are wider than `columns`, channel and incident get a line of their own, and the title another. A name is
    broken only if it is longer than a line.
    """
    rows = [_cells(job, now) for job in jobs]
    if any(titles):
        said = (quoted(each, _MAX_TITLE) if each else "" for each in titles)
        rows = [{**row, _TITLE: each} for row, each in zip(rows, said, strict=True)]
    widths = {title: max(cell_len(each[title]) for each in (*rows, {title: title})) for title in rows[0]}
    if sum(widths.values()) + len(_GAP) * (len(widths) - 1) > columns:
        return Group(*_two_lines_each(rows, widths))
    whole = Table(box=None, pad_edge=False, header_style="bold", collapse_padding=True)
    for title in widths:
        whole.add_column(title, overflow="fold", no_wrap=True)
    for row in rows:
        whole.add_row(*row.values())
    return whole


def _cells(job: Job, now: datetime) -> dict[str, str]:
    """Return the cells of a job by the titles of their columns."""
    # Incident ids come from BigPanda, and a message may be a stranger's. In quotes a text with spaces is one cell.
    status = f" {job.stamps.http_status}" if job.stamps.http_status else ""
    return {
        "id": printable(job.delivery_id[:8]),
        "age": age(job, now),
        "channel": printable(job.channel),
        "incident": identifier(job.incident_id, MAX_ID_LENGTH),
        "status": identifier(job.stamps.status) if job.stamps.status else NO_STATUS,
        _REASON: f"{identifier(job.stamps.reason)}{status} ({job.attempts})",
    }


def _two_lines_each(rows: Sequence[dict[str, str]], widths: dict[str, int]) -> Iterator[Text]:
    for number, row in enumerate([{title: title for title in widths}, *rows]):
        style = "" if number else "bold"
        short = (set_cell_size(row[title], widths[title]) for title in _SHORT_TITLES)
        yield Text(_GAP.join(short).rstrip(), style, overflow="fold")
        yield Text(f"{_GAP}{row['channel']}{_GAP}{row['incident']}", style, overflow="fold")
        if row.get(_TITLE):
            yield Text(f"{_GAP}{row[_TITLE]}", style, overflow="ellipsis", no_wrap=True)


def unreadable(held: HeldMessage) -> str:
    """Return one line of text about a message that is not a job."""
    return f"{held.message_id[:8]} unreadable: {printable(held.problem or '', _MAX_PROBLEM)}"


def text(members: dict[str, Any]) -> str:
    """Return a dead-lettered message as text: a line for each member that is not empty, then the body.

    `members` is the message as a JSON object, as `whole_document` returns it.
    """
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


def summary(jobs: Sequence[Job], depth: Depth) -> dict[str, Any]:
    """Return the counts of the matching jobs by channel, kind, reason and status, as a JSON object.

    `depth` adds the numbers of messages on the queue.
    """
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


def summary_lines(sums: dict[str, Any]) -> list[str]:
    """Return the counts of `summary` as lines of text; if a line is wrapped, its rest is indented by SUMMARY_INDENT."""
    lines = [f"{sums['matched']} of about {sums['about']} messages match; incidents: {sums['incidents']}"]
    for title, key in (
        ("channel", "by_channel"),
        ("kind", "by_kind"),
        ("reason", "by_reason"),
        ("status", "by_status"),
    ):
        counts = ", ".join(f"{name} {count}" for name, count in sorted(sums[key].items()))
        lines.append(f"  by {title:8} {counts}")
    lines.append(f"  shared      {sums['oldest']} to {sums['newest']}")
    return list(map(printable, lines))


def age(job: Job, now: datetime) -> str:
    """Return the time since the share of the job arrived, in the largest unit that fits, such as hours."""
    return duration(now.timestamp() - seconds_of(job.received_at))
