"""Plain sentences for the relay's log lines: the outcome of a share, a retry or an answer, and the reason for it."""

from collections.abc import Mapping
from typing import Any

# Reasons of a failure or a wait, as log lines name them (docs/operate.md, "Reasons").
REASONS: Mapping[str, str] = {
    "rate_limited": "xMatters answered 429, too many requests",
    "upstream": "xMatters answered with a server error",
    "unreachable": "xMatters could not be reached",
    "timeout": "xMatters did not answer in time",
    "refused": "xMatters refused the signal",
    "credentials": "xMatters did not accept the credentials",
    "circuit_open": "xMatters failed repeatedly, so the relay pauses before the next attempt",
    "claimed": "a resolve came, and BigPanda is asked if the incident is over",
    "in_flight": "another attempt is still running, or an answer is not confirmed yet",
    "paced": "the channel's rate limit lets it through later",
    "flapping": "the incident flaps, so the next signal waits until it is calm",
    "expired": "it was owed longer than the channel's age limit",
    "channel_removed": "its channel was removed",
    "paused": "its channel is paused",
    "shadowed": "its channel is in shadow mode, which sends nothing",
    "internal": "a part of the relay's own cloud failed",
}
# End of `why` for a state that a pause of the channel leaves out.
_PAUSED = "left out: the channel is paused"
_CHORES: Mapping[str, str] = {
    "followup": "Following up the page in xMatters",
    "question": "Asking BigPanda if the incident is over",
    "writeback": "Writing xMatters' answer into BigPanda",
    "release": "Ending BigPanda's callback lock",
}
_CHORES_DONE: Mapping[str, str] = {
    "followup": "The pages in xMatters were checked, and those of past states were ended",
    "question": "BigPanda was asked if the incident is over",
    "writeback": "xMatters' answer was written into BigPanda",
    "release": "BigPanda's callback lock was ended",
}
# Transitions as the object of "… is not signalled by this channel".
_TRANSITIONS: Mapping[str, str] = {
    "eased": "a better status",
    "grew": "a new alert",
    "worsened": "a worse status",
    "reopened": "a reopened incident",
    "opened": "a new incident",
    "resolved": "an end",
}


def why(line: Mapping[str, Any]) -> str:
    """Return one sentence that explains a log line; the line's `message` is share, job or callback."""
    if line.get("message") == "callback":
        return _of_callback(line)
    if line.get("message") == "job" and line.get("kind", "signal") != "signal":
        return _of_chore(line)
    return _of_signal(line)


def reason(line: Mapping[str, Any]) -> str:
    """Return a clause for a log line's reason, such as "xMatters did not answer in time"; "" if it has no reason.

    The clause ends with the HTTP status if the line has one, except for the reason `rate_limited`.
    """
    word = str(line.get("reason") or "")
    if not word:
        return ""
    clause = REASONS.get(word, word.replace("_", " "))
    status = line.get("http_status")
    return f"{clause} (HTTP {status})" if status and word != "rate_limited" else clause


def _of_signal(line: Mapping[str, Any]) -> str:
    change = str(line.get("why") or "")
    match line.get("outcome"):
        case "delivered":
            again = " after a retry" if line.get("message") == "job" else ""
            return _sentence(f"Sent to xMatters{again}", change or _unguarded(line))
        case "queued" if line.get("queue") == "dead_letter":
            return _sentence(
                "Dead-lettered", f"{reason(line) or 'it failed for good'}, and an operator has to replay it"
            )
        case "queued":
            return _sentence("Owed", f"{reason(line) or 'it was not sent yet'}; the relay tries again by itself")
        case "duplicate":
            return "No signal: it is a copy of a share that the relay knows already."
        case "superseded":
            return "No signal: a newer state of the incident takes its place."
        case "unchanged":
            return _sentence("No signal", _unsignalled(line, change))
        case "shadowed":
            why = f", since {change}" if change else ""
            return _sentence("No signal", f"{REASONS['shadowed']}; live, it would be signalled{why}")
        case "unsafe":
            return _sentence("Not kept", f"{reason(line) or 'no queue took it'}; BigPanda is asked to send it again")
    return _sentence(str(line.get("outcome") or "Unknown outcome"), change)


def _unsignalled(line: Mapping[str, Any], change: str) -> str:
    if _PAUSED in change:
        return change
    subject = _TRANSITIONS.get(str(line.get("transition") or ""))
    if subject is None:
        return change or _unguarded(line) or "nothing has to be announced"
    return f"{change or subject}, and this channel does not signal {subject}"


def _unguarded(line: Mapping[str, Any]) -> str:
    return "the ledger did not answer, and a page too many is better than none" if line.get("unguarded") else ""


def _of_callback(line: Mapping[str, Any]) -> str:
    match line.get("outcome"):
        case "queued":
            return "xMatters' answer was kept, and is written into BigPanda next."
        case "unchanged":
            return "xMatters' answer needs nothing in BigPanda."
    return _sentence("xMatters' answer was not kept", reason(line))


def _of_chore(line: Mapping[str, Any]) -> str:
    kind = str(line.get("kind"))
    if line.get("outcome") in {"delivered", "duplicate", "unchanged"}:
        return f"{_CHORES_DONE.get(kind, f'The job {kind} is done')}."
    # A chore's reasons are the same words, but the vendor may be BigPanda.
    clause = reason(line).replace("xMatters", "the vendor").replace("the signal", "the request")
    return _sentence(_CHORES.get(kind, f"The job {kind}"), clause or "it continues later")


def _sentence(head: str, clause: str) -> str:
    return f"{head}: {clause}." if clause else f"{head}."
