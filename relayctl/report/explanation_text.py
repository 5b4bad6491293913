"""Text of `relayctl explain` for a terminal of 80 columns: pairs of a label and a line.

Its explanations come from the module `explanation`, and for a transition from `relay.incidents.share.compare`.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from relay.failures import Reason
from relay.foreign_text import one_line, printable
from relayctl.channel import modes

# Characters of a value, and of the body, that the text shows; --json has all.
MAX_VALUE = 160
MAX_BODY = 3000

type Line = tuple[str, str]


def lines(document: dict[str, Any]) -> Iterator[Line]:
    """Yield pairs of label and line from the JSON object of an explanation.

    The first line of each part has the part's label; the others have an empty one.
    """
    yield "incident", f"{_short(document['incident_id'])}, channel {document['channel']} ({document['source']})"
    yield "result", _result(document["verdict"], document["transition"])
    yield from _part("compared with", _compared(document["transition"]))
    yield from _part("parsed", _fields(document["parsed"]))
    yield from _part("details", _fields(document["details"]))
    yield from _part("policy", _policy(document["policy"], document["transition"]))
    yield from _part("routes", _routes(document["routes"]))
    yield from _part("recipients", _recipients(document["recipients"]))
    yield "priority", document["request"]["priority"]
    yield from _part("rate limit", _rate_limit(document["rate_limit"]))
    yield from _part("request", _request(document["request"]))
    yield from _part("note", document["notes"])


def _part(label: str, found: Iterable[str]) -> Iterator[Line]:
    for number, line in enumerate(found):
        yield "" if number else label, line


def _short(value: Any) -> str:
    return one_line(str(value), MAX_VALUE)


def _listed(names: Iterable[Any]) -> str:
    return ", ".join(map(_short, names))


def _result(verdict: dict[str, Any], change: dict[str, Any]) -> str:
    reason = f"{change['transition']}: {verdict['why']}" if verdict["why"] else str(change["transition"])
    match verdict["action"]:
        case "signal":
            return f"would be signalled to xMatters now, {reason}"
        case "wait":
            wait = "the channel's pause" if verdict["reason"] == Reason.PAUSED else verdict["reason"]
            return f"would wait until about {verdict['until']} ({wait}), then be signalled, {reason}"
        case "shadow":
            return f"nothing would be sent, the channel is in shadow mode; live, it would be signalled, {reason}"
    return f"nothing would be sent ({verdict['outcome']}): {verdict['why']}"


def _compared(change: dict[str, Any]) -> Iterator[str]:
    if change["compared_with"] == "nothing":
        yield f"nothing, as if the incident were new: {printable(change['ledger_missing'])}"
        return
    if not change["ledger_has_entry"]:
        yield "the ledger, which has nothing of this incident"
        return
    yield f"the ledger: announced is {_state(change['announced'])}"
    for each in change["maybe_announced"]:
        yield f"maybe announced is {_state(each)}"
    yield f"the newest known state is {_state(change['newest_known'])}"
    if change["owed_since"]:
        yield f"a state is owed since {change['owed_since']}"
    if change["acknowledged_by"]:
        yield f"acknowledged by {_short(change['acknowledged_by'])}"
    if change["flapping_until"]:
        yield f"it flaps, and is calm at {change['flapping_until']} unless it changes again"


def _state(state: dict[str, Any] | None) -> str:
    if state is None:
        return "nothing"
    words = "over" if not state["is_open"] else "open, critical" if state["is_critical"] else "open"
    return f"{words}, of {state['at']}"


def _fields(found: dict[str, Any]) -> Iterator[str]:
    """Yield a line for each field that the body has, and one with the names of the others."""
    shown = {name.replace("_", " "): _value(value) for name, value in found.items()}
    yield from (f"{name}: {said}" for name, said in shown.items() if said)
    if missing := [name for name, said in shown.items() if not said]:
        yield f"not in the body: {', '.join(missing)}"


def _value(value: Any) -> str:
    """Return a parsed value in words; an empty text if the body does not have it."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case list():
            return one_line(", ".join(dict.fromkeys(filter(None, map(_value, value)))), MAX_VALUE)
    return _short(value)


def _policy(policy: dict[str, Any], change: dict[str, Any]) -> Iterator[str]:
    if policy["mode"] == modes.SHADOW:
        yield "shadow mode: nothing is sent, and the ledger has an entry of its own for the incident"
    yield from map(_short, policy["applying_pauses"])
    if others := len(policy["pauses"]) - len(policy["applying_pauses"]):
        yield f"{others} other pause{'s' if others > 1 else ''}, for other incidents"
    signalled = ", ".join(policy["notify_on"]) or "no transition"
    yield f"signals {signalled}"
    if policy["is_announced"] is not None:
        yield f"{change['transition']} is {'one' if policy['is_announced'] else 'none'} of them"
    yield f"a state that is owed for {policy['max_age_seconds']:,.0f} s is dead-lettered"
    if policy["fallback_after_seconds"] is not None:
        yield f"the fallback topic is notified of a critical that is owed for {policy['fallback_after_seconds']:,.0f} s"
    if flap := policy["flap"]:
        changes, minutes = flap["transitions"], f"{flap['minutes']:g} minutes"
        yield f"{changes} changes within {minutes} flap: one signal, then none until {minutes} without a change"


def _routes(routes: list[dict[str, Any]]) -> Iterator[str]:
    if not routes:
        yield "none: the channel's own recipients are used"
    for each in routes:
        yield f"{each['key']}: {_route(each)}"
    if routes and not any(each["result"] in {"matched", "undecided"} for each in routes):
        yield "no route matches: the channel's own recipients are used"


def _route(route: dict[str, Any]) -> str:
    match route["result"]:
        case "matched":
            return f"matched, {'; '.join(map(_held, route['conditions'])) or 'it has no condition'}"
        case "no":
            return f"did not match, {'; '.join(_missed(each) for each in route['conditions'] if not each['holds'])}"
        case "undecided":
            return "not decided, matching its patterns takes too long; its recipients are included"
    return "not reached, an earlier route matched"


def _held(condition: dict[str, Any]) -> str:
    return f"{_short(condition['fact'])} is {_listed(condition['values'][:5])}"


def _missed(condition: dict[str, Any]) -> str:
    values = condition["values"]
    said = f"is {_listed(values[:5])}" + (f" and {len(values) - 5} more" if len(values) > 5 else "")
    return (
        f"{_short(condition['fact'])} {said if values else 'is not in the body'}, not {_listed(condition['patterns'])}"
    )


def _recipients(found: dict[str, Any]) -> Iterator[str]:
    elsewhere = {"workflow": "the workflow in xMatters names them", "url": "BigPanda's URL names them (--recipients)"}
    yield _listed(found["names"]) or elsewhere.get(found["named_elsewhere"], "none is named here")
    if found["only_acknowledger"]:
        yield "the acknowledger alone: nothing worsened or reopened since"
    if found["refused_in_url"]:
        yield f"left out, not allowed (policy.allowed_recipients) or too many: {_listed(found['refused_in_url'])}"


def _rate_limit(found: dict[str, Any]) -> Iterator[str]:
    yield f"{found['min_seconds_between_signals']:g} s between two signals of one incident"
    if found["signals_of_the_incident"]:
        yield f"last signal of this incident: {found['signals_of_the_incident'][-1]}"
    for each in found["limits"]:
        yield f"{each['per_minute']} signals a minute for {each['gate'].removeprefix('gate/')}: {_used(each)}"


def _used(limit: dict[str, Any]) -> str:
    if limit["used"] is None:
        return "how many are used is not known"
    if limit["circuit_open_until"]:
        return f"{limit['used']} used; the circuit is open until {limit['circuit_open_until']}"
    room = f"it would wait, room from {limit['room_from']}" if limit["waits"] else "there is room"
    return f"{limit['used']} used; {room}"


def _request(request: dict[str, Any]) -> Iterator[str]:
    whose = "BigPanda's bytes unchanged" if request["is_bigpandas_body"] else "the relay's own body"
    sent = "POST to the trigger" if request["is_sent"] else "not sent; it would be a POST to the trigger"
    yield f"{sent}, {request['bytes']:,} bytes, {whose}"
    for line in request["body"][:MAX_BODY].splitlines():
        yield printable(line)
    if len(request["body"]) > MAX_BODY:
        yield f"… the first {MAX_BODY:,} characters; --json has all"
