"""Text of `relayctl explain` for a terminal of 80 columns: pairs of a label and a line."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from relay.failures import Reason
from relay.foreign_text import one_line, printable

# Characters of a value, and of the body, that the text shows; --json has all.
MAX_VALUE = 160
MAX_BODY = 3000
# Values of a condition that did not hold, of which a body may have hundreds.
MAX_VALUES = 5

type Line = tuple[str, str]


def lines(document: Mapping[str, Any]) -> Iterator[Line]:
    """Yield pairs of label and line from the JSON object of an explanation; only the first of a part has its label."""
    change, routes, request = document["transition"], document["routes"], document["request"]
    compared = {name: each for name, each in change.items() if name not in {"transition", "compared_with"}}
    nothing = [f"nothing, as if the incident were new: {printable(change['ledger_missing'] or '')}"]
    limits = document["rate_limit"]
    used = [_fields(each, separator=" ") for each in limits["limits"]]
    yield "incident", f"{_value(document['incident_id'])}, channel {document['channel']} ({document['source']})"
    yield "result", _result(document["verdict"], change["transition"])
    yield from _part("compared with", nothing if change["ledger_missing"] else ["the ledger", *_fields(compared)])
    yield from _part("parsed", [*_fields(document["parsed"]), *_missing(document["parsed"])])
    yield from _part("details", [*_fields(document["details"]), *_missing(document["details"])])
    yield from _part("policy", _fields({name: each for name, each in document["policy"].items() if name != "pauses"}))
    yield from _part("routes", map(_route, routes) if routes else ["none: the channel's own recipients are used"])
    yield from _part("recipients", _recipients(document["recipients"]))
    yield "priority", request["priority"]
    yield from _part("rate limit", [*_fields(limits | {"limits": None}), *map(", ".join, used)])
    yield from _part("request", _request(request))
    yield from _part("note", document["notes"])


def _part(label: str, found: Iterable[str]) -> Iterator[Line]:
    for number, line in enumerate(found):
        yield "" if number else label, line


def _fields(found: Mapping[str, Any], separator: str = ": ") -> list[str]:
    shown = {name.replace("_", " "): _value(value) for name, value in found.items()}
    return [f"{name}{separator}{said}" for name, said in shown.items() if said]


def _missing(found: Mapping[str, Any]) -> list[str]:
    missing = [name.replace("_", " ") for name, value in found.items() if not _value(value)]
    return [f"not in the body: {', '.join(missing)}"] if missing else []


def _value(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:g}"
        case dict():
            return ", ".join(_fields(value, separator=" "))
        case list():
            return one_line(", ".join(dict.fromkeys(filter(None, map(_value, value)))), MAX_VALUE)
    return one_line(str(value), MAX_VALUE)


def _result(verdict: Mapping[str, Any], transition: str | None) -> str:
    reason = f"{transition}: {verdict['why']}" if verdict["why"] else str(transition)
    match verdict["action"]:
        case "signal":
            return f"would be signalled to xMatters now, {reason}"
        case "wait":
            wait = "the channel's pause" if verdict["reason"] == Reason.PAUSED else verdict["reason"]
            return f"would wait until about {verdict['until']} ({wait}), then be signalled, {reason}"
        case "shadow":
            return f"nothing would be sent, the channel is in shadow mode; live, it would be signalled, {reason}"
    return f"nothing would be sent ({verdict['outcome']}): {verdict['why']}"


def _route(route: Mapping[str, Any]) -> str:
    results = {
        "matched": "matched",
        "no": "did not match",
        "undecided": "not decided, matching its patterns takes too long; its recipients are included",
        "not_reached": "not reached, an earlier route matched",
    }
    is_match = route["result"] == "matched"
    why = "; ".join(_condition(each) for each in route["conditions"] if each["holds"] is is_match)
    return f"{route['key']}: {results[route['result']]}{', ' if why else ''}{why}"


def _condition(condition: Mapping[str, Any]) -> str:
    values = condition["values"]
    more = f" and {len(values) - MAX_VALUES} more" if len(values) > MAX_VALUES else ""
    said = f"is {_value(values[:MAX_VALUES])}{more}" if values else "is not in the body"
    wanted = "" if condition["holds"] else f", not {_value(condition['patterns'])}"
    return f"{_value(condition['fact'])} {said}{wanted}"


_ALONE = {
    "rerouted": "a late tag chose them, and the others know of it",
    "unanswered": "nobody is known to have heard the others' page",
}


def _recipients(found: Mapping[str, Any]) -> Iterator[str]:
    elsewhere = {"workflow": "the workflow in xMatters names them", "url": "BigPanda's URL names them (--recipients)"}
    yield _value(found["names"]) or elsewhere.get(found["named_elsewhere"], "none is named here")
    if found["only"]:
        yield f"alone: {_ALONE.get(found['only_for'], 'they acknowledged, and nothing worsened or reopened since')}"
    if found["refused_in_url"]:
        yield f"left out, not allowed (policy.allowed_recipients) or too many: {_value(found['refused_in_url'])}"


def _request(request: Mapping[str, Any]) -> Iterator[str]:
    whose = "BigPanda's bytes unchanged" if request["is_bigpandas_body"] else "the relay's own body"
    sent = "POST to the trigger" if request["is_sent"] else "not sent; it would be a POST to the trigger"
    yield f"{sent}, {request['bytes']:,} bytes, {whose}"
    for line in request["body"][:MAX_BODY].splitlines():
        yield printable(line)
    if len(request["body"]) > MAX_BODY:
        yield f"… the first {MAX_BODY:,} characters; --json has all"
