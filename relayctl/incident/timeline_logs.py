"""Events of an incident from the functions' log lines, in the words of docs/operate.md, "Log lines". Pure code."""

from collections.abc import Callable, Mapping

from relay.channels.channel import is_channel_name
from relay.foreign_text import identifier, quoted
from relayctl.incident.timeline import LOG, Event
from relayctl.log_lines import Line

_MAX_DETAIL = 200
# Jobs that woke too early or had nothing to do.
_SILENT_CHORES = frozenset(
    (kind, outcome) for kind in ("followup", "question") for outcome in ("queued", "duplicate", "unchanged")
)
# Callbacks of the kinds that arrive for each device and each change of a page.
_SILENT_CALLBACKS = frozenset({("delivery", "unchanged"), ("status", "unchanged")})
_OUTCOMES: Mapping[str, str] = {
    "delivered": "signal accepted",
    "queued": "owed",
    "duplicate": "no signal: a copy of a known share",
    "superseded": "no signal: a newer state takes its place",
    "unchanged": "no signal: nothing that the channel announces now",
    "shadowed": "no signal: the channel is in shadow mode; live, it would ring",
    "unsafe": "NOT KEPT",
}
_CHORES: Mapping[str, str] = {
    "followup": "follow-up of the pages",
    "question": "question to BigPanda if it is over",
    "writeback": "write-back of an answer into BigPanda",
    "release": "release of BigPanda's held updates",
}
_DONE: Mapping[str, str] = {
    "delivered": "done",
    "duplicate": "was done before",
    "unchanged": "not wanted by the channel's settings",
}


def event_of(line: Line) -> Event | None:
    """Return the event of a log line; None for a line that timelines leave out."""
    make = next((make for start, make in _MAKERS.items() if line.message.startswith(start)), None)
    made = make(line) if make else None
    # A line of a reconcile run names several channels in one text.
    channel = line.text("channel") if is_channel_name(line.text("channel")) else ""
    return Event(line.at, LOG, *made, channel, line.text("request_id")) if made else None


def _signal(line: Line, kind: str) -> tuple[str, str]:
    why = f" ({line.text('why')})" if line.text("why") else ""
    change = f"{line.text('transition')}{why}; " if line.text("transition") else ""
    outcome = line.text("outcome")
    said = _OUTCOMES.get(outcome, identifier(outcome or "unknown"))
    if line.text("queue") == "dead_letter":
        kind, said = "dead_letter" if kind == "retry" else kind, "DEAD-LETTERED"
    if outcome == "shadowed":
        said = f"{said} {_recipients(line)}"
    return kind, f"{kind if kind == 'share' else 'retry'}: {change}{said}{_facts(line)}"


def _facts(line: Line) -> str:
    found, status = list[str](), f" (HTTP {line.text('http_status')})" if line.text("http_status") else ""
    if line.text("reason"):
        found.append(f"{identifier(line.text('reason'))}{status}")
    if line.text("detail"):
        found.append(quoted(line.text("detail"), _MAX_DETAIL))
    if line.text("outcome") == "delivered" and line.text("attempts") not in {"", "0", "1"}:
        found.append(f"attempt {identifier(line.text('attempts'))}")
    if line.text("request_id"):
        found.append(f"request {identifier(line.text('request_id'))}")
    unsure = (name for name in ("unguarded", "unverified") if line.text(name))
    found += (f"{name}: {quoted(line.text(name), _MAX_DETAIL)}" for name in unsure)
    return "".join(f", {each}" for each in found)


def _recipients(line: Line) -> str:
    names = line.fields.get("recipients")
    said = [quoted(str(each), _MAX_DETAIL) for each in names] if isinstance(names, list) else []
    return ", ".join(said) or "the workflow's recipients"


def _job(line: Line) -> tuple[str, str] | None:
    kind, outcome = line.text("kind") or "signal", line.text("outcome")
    if kind == "signal":
        return _signal(line, "retry")
    if line.text("end"):
        return "end", f"end of the incident, asked of BigPanda: {identifier(line.text('end'))}"
    if (kind, outcome) in _SILENT_CHORES:
        return None
    said, name = _DONE.get(outcome, "waits"), _CHORES.get(kind, f"job {identifier(kind)}")
    if line.text("queue") == "dead_letter":
        kind, said = "dead_letter", "DEAD-LETTERED"
    return kind, f"{name}: {said}{_facts(line)}"


def _callback(line: Line) -> tuple[str, str] | None:
    kind, outcome = line.text("transition"), line.text("outcome")
    if (kind, outcome) in _SILENT_CALLBACKS:
        return None
    said = {"queued": "kept for BigPanda", "unchanged": "needs nothing in BigPanda", "unsafe": "NOT KEPT"}
    told = [quoted(text, _MAX_DETAIL) for text in map(line.text, ("person", "answer")) if text]
    return "answer", f"xMatters called back ({identifier(kind)}): {': '.join([*told, said.get(outcome, outcome)])}"


# By the beginning of the message, as `relay.telemetry` writes it.
_MAKERS: Mapping[str, Callable[[Line], tuple[str, str] | None]] = {
    "share": lambda line: _signal(line, "share"),
    "job": _job,
    "callback": _callback,
    "fallback notified": lambda _: ("fallback", "the fallback topic was notified of it"),
    "the fallback topic could not be notified": lambda _: (
        "fallback",
        "the fallback topic could NOT be notified of it",
    ),
    "page missing": lambda _: ("page", "page missing: xMatters accepted a signal and made NO PAGE of it"),
    "unknown incident": lambda _: ("share", "BigPanda shows it open, and no share of it came; it is not signalled"),
    "last copy": lambda _: ("share", "neither delivered nor kept; the last copy is in the log line"),
}
