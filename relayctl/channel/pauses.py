"""Mode and pauses of a channel: words for them, and pauses in the secret: add, end, drop old ones. Pure code."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import click

from relay.channels.policy import Mode, Policy
from relay.channels.routes import Pause, conditions_of
from relay.channels.schema import MOST_PAUSES
from relayctl import moments
from relayctl.channel.secret_document import SecretDocument

KEY = "policy.pauses"
# A pause that ends this long after it begins would outlive what BigPanda and people remember of its incidents.
LONGEST_SECONDS = 14 * 86_400

# A pause as the secret has it.
type Members = Mapping[str, Any]


def pauses_of(document: SecretDocument) -> list[Members]:
    """Return the pauses in a secret; an empty list if `policy.pauses` is missing or not a list."""
    found = document.get(KEY)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def pause(
    since: float, until: float, then: Literal["keep", "drop"], when: Mapping[str, list[str]], now: float, **said: str
) -> Members:
    """Return a new pause for the secret. Raises UsageError if it ends before its start or `now`, or is too long.

    `said` has the operator's `reason`, and `by`, the operator's name; each may be empty.
    """
    if until <= max(since, now):
        raise click.UsageError(
            "--until: is not after the start of the pause; name a later time, or a duration such as 2h"
        )
    if until - since > LONGEST_SECONDS:
        raise click.UsageError("--until: a pause lasts 14 days at most")
    others = {"when": dict(when), **said}
    return {
        "since": moments.iso(since),
        "until": moments.iso(until),
        "then": then,
        **{key: each for key, each in others.items() if each},
    }


def add(document: SecretDocument, new: Members, now: float) -> Members:
    """Add a pause to the secret, joined with one like it that it overlaps, and return it as it is stored.

    Raises UsageError if there are MOST_PAUSES others.
    """
    kept: list[Members] = []
    for each in _remembered(document, now):
        one, other = Pause.of(each), Pause.of(new)
        is_alike = (one.keeps_states, one.when) == (other.keeps_states, other.when)
        if is_alike and one.until > now and one.since < other.until and other.since < one.until:
            ends = {
                "since": moments.iso(min(one.since, other.since)),
                "until": moments.iso(max(one.until, other.until)),
            }
            new = {**each, **new, **ends}
        else:
            kept.append(each)
    kept.append(new)
    if len(kept) > MOST_PAUSES:
        raise click.UsageError(f"the channel has {MOST_PAUSES} pauses, and no more fit")
    document.set(KEY, kept)
    return new


def end(document: SecretDocument, when: Mapping[str, list[str]], now: float) -> list[Members]:
    """End the active pauses, and remove the future ones; return them as they were. `when` chooses those that have it.

    An ended pause stays in the secret for a time, since the age of a state that waited for it counts from its end.
    """
    kept: list[Members] = []
    ended: list[Members] = []
    for each in _remembered(document, now):
        pause = Pause.of(each)
        if pause.until <= now or (when and pause.when != conditions_of(when)):
            kept.append(each)
            continue
        ended.append(each)
        if pause.since < now:
            kept.append({**each, "until": moments.iso(now)})
    if kept:
        document.set(KEY, kept)
    else:
        document.unset(KEY)
    return ended


def parse_conditions(texts: Sequence[str]) -> dict[str, list[str]]:
    """Return the patterns of each fact in texts such as `environment=staging*`. Raises UsageError for another text."""
    found: dict[str, list[str]] = {}
    for text in texts:
        fact, equals, pattern = text.partition("=")
        if not (fact and equals and pattern):
            raise click.UsageError("--when: takes FACT=PATTERN, such as environment=staging or tag.team=web*")
        found.setdefault(fact, []).append(pattern)
    return found


def _remembered(document: SecretDocument, now: float) -> list[Members]:
    """Return the pauses that still matter for the age of an owed state; the oldest give way to a new one.

    A state may have waited for several pauses, one after the other, and its age counts from the end of the last one.
    """
    longest = document.get("policy.max_age_seconds") or Policy().max_age_seconds
    kept, earliest = list[Members](), now
    found = [(Pause.of(each), each) for each in pauses_of(document)]
    for pause, each in sorted(found, key=lambda pair: pair[0].until, reverse=True):
        is_needed = pause.until > earliest - longest
        if is_needed and (len(kept) < MOST_PAUSES - 1 or pause.until > now):
            kept.append(each)
            earliest = min(earliest, pause.since)
    return [each for _, each in found if each in kept]


LIVE, SHADOW, PAUSED = Mode.LIVE, Mode.SHADOW, "paused"


def current(policy: Policy, now: float) -> str:
    """Return the mode at `now` (epoch seconds): `shadow`; `paused` if a pause of all incidents is active; `live`."""
    if policy.mode is Mode.SHADOW:
        return SHADOW
    return PAUSED if any(each.is_active(now) and not each.when for each in policy.pauses) else LIVE


def words(policy: Policy, now: float) -> list[str]:
    """Return the mode at `now` (epoch seconds), unless a pause tells it, and each pause that is not over, in words."""
    said: dict[str, list[str]] = {LIVE: [LIVE], SHADOW: ["shadow: it sends nothing"]}
    return [*said.get(current(policy, now), []), *(pause_words(each, now) for each in open_pauses(policy, now))]


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
    """Return the mode, and the pauses that are not over in words, as members of a JSON object; null if not known."""
    if policy is None:
        return {"mode": None, "pauses": None}
    return {"mode": current(policy, now), "pauses": [pause_words(each, now) for each in open_pauses(policy, now)]}
