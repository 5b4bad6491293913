"""Events of an incident from the functions' log lines. Pure code."""

from collections.abc import Callable, Mapping
from typing import Any

from relay.channels.channel import is_channel_name
from relay.failures import Reason
from relay.foreign_text import identifier, quoted
from relay.incidents.share import Transition
from relayctl.channel import modes
from relayctl.incident.timeline import LOG, Event
from relayctl.log_lines import Line

_MAX_DETAIL = 200
# Recipients of a signal that are named.
_MAX_NAMES = 10
# Jobs that woke too early or had nothing to do.
_SILENT_CHORES = frozenset(
    (kind, outcome) for kind in ("followup", "question") for outcome in ("queued", "duplicate", "unchanged")
)
# Callbacks of the kinds that arrive for each device and each change of a page.
_SILENT_CALLBACKS = frozenset({("delivery", "unchanged"), ("status", "unchanged")})
_CHORES: Mapping[str, str] = {
    "followup": "follow-up of the pages",
    "question": "question to BigPanda if it is over",
    "writeback": "write-back of an answer into BigPanda",
    "release": "release of BigPanda's held updates",
}
_MEMBERS = (
    *("outcome", "transition", "reason", "queue", "attempts", "replays", "http_status"),
    *("delivery_id", "request_id", "correlation_id"),
)


def event_of(line: Line, function: str) -> Event | None:
    """Return the event of a log line of one function; None for a line that timelines leave out."""
    message = line.message
    for start, make in _MAKERS.items():
        if message.startswith(start):
            made = make(line)
            if made is None:
                return None
            kind, text = made
            details = {name: line.fields[name] for name in _MEMBERS if name in line.fields}
            channel = line.text("channel")
            if not is_channel_name(channel):
                # A line of a reconcile run names several channels in one text.
                channel, details = "", details | {"channels": channel}
            return Event(line.at, LOG, kind, text, channel, {"function": function, **details})
    return None


def _share(line: Line) -> tuple[str, str]:
    return "share", f"share: {_what(line)}{_outcome(line)}"


def _job(line: Line) -> tuple[str, str] | None:
    kind, outcome = line.text("kind") or "signal", line.text("outcome")
    if kind == "signal":
        return _retry(line)
    if line.text("end"):
        return "end", f"end of the incident, asked of BigPanda: {identifier(line.text('end'))}"
    if (kind, outcome) in _SILENT_CHORES:
        return None
    name = _CHORES.get(kind, f"job {identifier(kind)}")
    if line.text("queue") == "dead_letter":
        return "dead_letter", f"{name}: DEAD-LETTERED, {_reason(line)}"
    doubt = f"; unverified: {quoted(line.text('unverified'), _MAX_DETAIL)}" if line.text("unverified") else ""
    match outcome:
        case "delivered":
            return kind, f"{name}: done{doubt}"
        case "duplicate":
            return kind, f"{name}: was done before{doubt}"
        case "unchanged":
            return kind, f"{name}: not wanted by the channel's settings{doubt}"
    return kind, f"{name}: waits, {_reason(line)}"


def _retry(line: Line) -> tuple[str, str]:
    kind = "dead_letter" if line.text("queue") == "dead_letter" else "retry"
    return kind, f"retry: {_what(line)}{_outcome(line)}"


def _callback(line: Line) -> tuple[str, str] | None:
    kind, outcome = line.text("transition"), line.text("outcome")
    if (kind, outcome) in _SILENT_CALLBACKS:
        return None
    said = {"queued": "kept for BigPanda", "unchanged": "needs nothing in BigPanda", "unsafe": "NOT KEPT"}
    told = [quoted(text, _MAX_DETAIL) for text in map(line.text, ("person", "answer")) if text]
    return "answer", f"xMatters called back ({identifier(kind)}): {': '.join([*told, said.get(outcome, outcome)])}"


def _what(line: Line) -> str:
    why = f" ({line.text('why')})" if line.text("why") else ""
    return f"{line.text('transition')}{why}; " if line.text("transition") else ""


def _outcome(line: Line) -> str:
    guard = f"; unguarded: {line.text('unguarded')}" if line.text("unguarded") else ""
    match line.text("outcome"):
        case "delivered":
            attempts = line.fields.get("attempts")
            tries = f" at attempt {attempts}" if isinstance(attempts, int) and attempts > 1 else ""
            request = f", request {identifier(line.text('request_id'))}" if line.text("request_id") else ""
            return f"signal accepted{tries}{request}{guard}"
        case "queued" if line.text("queue") == "dead_letter":
            return f"DEAD-LETTERED: {_reason(line)}{_remedy(line)}"
        case "queued":
            is_paused = line.text("reason") == Reason.PAUSED
            return f"owed: {"it waits for the end of the channel's pause" if is_paused else _reason(line)}{guard}"
        case "unsafe":
            return f"NOT KEPT: {_reason(line)}"
        case outcome:
            return _unsent(line, outcome)


def _unsent(line: Line, outcome: str) -> str:
    match outcome:
        case "duplicate":
            return "no signal: a copy of a known share"
        case "superseded":
            return "no signal: a newer state takes its place"
        case "unchanged":
            return _unchanged(line)
        case "shadowed":
            return f"no signal: the channel is in shadow mode; live, it would ring {_recipients(line)}"
    return identifier(outcome or "unknown")


def _unchanged(line: Line) -> str:
    if modes.LEFT_OUT in line.text("why"):
        return "no signal: a pause leaves it out; the incident's next share after the pause rings, if it is news"
    if line.text("transition") == Transition.TOUCHED:
        return "no signal: there is nothing to announce"
    return "no signal: this channel does not announce it"


def _recipients(line: Line) -> str:
    names = line.fields.get("recipients")
    said = [quoted(str(each), _MAX_DETAIL) for each in names] if isinstance(names, list) else []
    return ", ".join(said[:_MAX_NAMES] + (["others"] if len(said) > _MAX_NAMES else [])) or "the workflow's recipients"


def _remedy(line: Line) -> str:
    is_shadowed = line.text("reason") == Reason.SHADOWED
    return ", the channel is in shadow mode; once it is live, the job can be replayed" if is_shadowed else ""


def _reason(line: Line) -> str:
    word = identifier(line.text("reason") or "no reason given")
    status = f" (HTTP {line.text('http_status')})" if line.text("http_status") else ""
    detail = f", {quoted(line.text('detail'), _MAX_DETAIL)}" if line.text("detail") else ""
    return f"{word}{status}{detail}"


def _fixed(kind: str, text: str) -> Callable[[Line], tuple[str, str]]:
    return lambda _: (kind, text)


# By the beginning of the message, as `relay.telemetry` writes it.
_MAKERS: Mapping[str, Callable[[Line], Any]] = {
    "share": _share,
    "job": _job,
    "callback": _callback,
    "fallback notified": _fixed("fallback", "the fallback topic was notified of it"),
    "the fallback topic could not be notified": _fixed("fallback", "the fallback topic could NOT be notified of it"),
    "page missing": _fixed("page", "page missing: xMatters accepted a signal and made NO PAGE of it"),
    "unknown incident": _fixed("share", "BigPanda shows it open, and no share of it came; it is not signalled"),
    "last copy": _fixed("share", "neither delivered nor kept; the last copy is in the log line"),
}
