"""Words for a channel's mode and its pauses. Pure code."""

from collections.abc import Iterator
from typing import Any

from relay.channels.policy import Mode, Policy
from relay.channels.routes import Pause
from relayctl import moments

LIVE, SHADOW, PAUSED = Mode.LIVE, Mode.SHADOW, "paused"


def current(policy: Policy, now: float) -> str:
    """Return the mode at `now` (epoch seconds): `shadow`; `paused` if a pause of all incidents is active; `live`."""
    if policy.mode is Mode.SHADOW:
        return SHADOW
    return PAUSED if any(each.is_active(now) and not each.when for each in policy.pauses) else LIVE


def brief(policy: Policy, now: float) -> str:
    """Return the mode at `now` (epoch seconds) in few words, such as `live` or `live, partly paused until TIME`."""
    found = open_pauses(policy, now)
    active = [each for each in found if each.is_active(now)]
    whole = [each for each in active if not each.when]
    if policy.mode is Mode.SHADOW or not found:
        return policy.mode
    if not active:
        return f"live, {'partly ' if found[0].when else ''}paused from {moments.moment(found[0].since)}"
    end = moments.moment(max(each.until for each in whole or active))
    return f"paused until {end}" if whole else f"live, partly paused until {end}"


def words(policy: Policy, now: float) -> Iterator[str]:
    """Yield a line for a mode other than live, and for each pause that is not over at `now` (epoch seconds)."""
    if policy.mode is Mode.SHADOW:
        yield "in shadow mode: it sends nothing"
    for each in open_pauses(policy, now):
        yield pause_words(each, now)


def open_pauses(policy: Policy, now: float) -> list[Pause]:
    """Return the pauses that are not over at `now` (epoch seconds), the earliest first."""
    return sorted(each for each in policy.pauses if each.until > now)


def pause_words(pause: Pause, now: float) -> str:
    """Return a pause in words: its end, the handling of states that come in it, its incidents, reason and author."""
    start = "paused" if pause.is_active(now) else f"to be paused from {moments.moment(pause.since)}"
    then = "then the newest states ring" if pause.keeps_states else "and what comes is left out"
    why = "".join(f"; {what}{text}" for what, text in (("reason: ", pause.reason), ("by ", pause.by)) if text)
    return f"{start} until {moments.moment(pause.until)}, {then}{whom(pause)}{why}"


def end_words(pause: Pause, now: float) -> str:
    """Return in words that a pause was ended at `now` (epoch seconds), and what becomes of the states in it."""
    if not pause.is_active(now):
        return f"the pause from {moments.moment(pause.since)} is removed; it had not begun{whom(pause)}"
    kept, dropped = "what waited rings within two minutes", "what it left out rings at its incident's next share"
    return f"resumed; {kept if pause.keeps_states else dropped}, if it is still news{whom(pause)}"


def whom(pause: Pause) -> str:
    """Return the incidents that a pause is for, as the end of a sentence; empty for all incidents."""
    facts = [f"{fact} {' or '.join(patterns)}" for fact, patterns in pause.when]
    return f", for incidents with {' and '.join(facts)}" if facts else ""


def document(policy: Policy | None, now: float) -> dict[str, Any]:
    """Return the mode, and the pauses that are not over, as a JSON object for programs; null if not known."""
    if policy is None:
        return {"mode": None, "pauses": None}
    return {
        "mode": current(policy, now),
        "pauses": [
            {
                "since": moments.iso(each.since),
                "until": moments.iso(each.until),
                "then": "keep" if each.keeps_states else "drop",
                "when": {fact: list(patterns) for fact, patterns in each.when},
                "reason": each.reason or None,
                "by": each.by or None,
                "is_active": each.is_active(now),
            }
            for each in open_pauses(policy, now)
        ],
    }
