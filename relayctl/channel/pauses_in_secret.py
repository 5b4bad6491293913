"""Pauses in a channel's secret: add one, end the active and future ones, drop old ones. No side effects."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import click

from relay.channels.policy import Policy
from relay.channels.routes import Pause, conditions_of
from relay.channels.schema import MOST_PAUSES
from relayctl.channel.secret_document import SecretDocument
from relayctl.moments import iso

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

    Args:
        since: Start (epoch seconds).
        until: End (epoch seconds).
        then: `keep` if the states that come in the pause wait for its end; `drop` if they are left out.
        when: Conditions on incidents, as in a route; without any, the pause is for all incidents.
        now: Current time (epoch seconds).
        **said: The operator's `reason`, and `by`, the operator's name; each may be empty.
    """
    if until <= max(since, now):
        raise click.UsageError(
            "--until: is not after the start of the pause; name a later time, or a duration such as 2h"
        )
    if until - since > LONGEST_SECONDS:
        raise click.UsageError("--until: a pause lasts 14 days at most")
    others = {"when": dict(when), **said}
    return {
        "since": iso(since),
        "until": iso(until),
        "then": then,
        **{key: each for key, each in others.items() if each},
    }


def add(document: SecretDocument, new: Members, now: float) -> Members:
    """Add a pause to the secret, and return it as it is stored. `now` is in epoch seconds.

    It is joined with a pause of the same kind and conditions that it overlaps, so that none is stored twice. Pauses
    that ended too long ago to matter for the age of an owed state are dropped. Raises UsageError if more than
    MOST_PAUSES pauses would remain.
    """
    kept: list[Members] = []
    for each in _remembered(document, now):
        one, other = Pause.of(each), Pause.of(new)
        is_alike = (one.keeps_states, one.when) == (other.keeps_states, other.when)
        if is_alike and one.until > now and one.since < other.until and other.since < one.until:
            ends = {"since": iso(min(one.since, other.since)), "until": iso(max(one.until, other.until))}
            new = {**each, **new, **ends}
        else:
            kept.append(each)
    kept.append(new)
    if len(kept) > MOST_PAUSES:
        raise click.UsageError(f"the channel has {MOST_PAUSES} pauses, and no more fit")
    document.set(KEY, kept)
    return new


def end(document: SecretDocument, when: Mapping[str, list[str]], now: float) -> list[Members]:
    """End the active pauses at `now` (epoch seconds), and remove the future ones; return them as they were.

    If `when` has conditions, only the pauses with exactly these are ended. An ended pause stays in the secret for a
    time, since the age of a state that waited for it counts from its end.
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
            kept.append({**each, "until": iso(now)})
    if kept:
        document.set(KEY, kept)
    else:
        document.unset(KEY)
    return ended


def parse_conditions(texts: Sequence[str]) -> dict[str, list[str]]:
    """Parse the texts of `--when`, FACT=PATTERN such as `environment=staging*`. Return the patterns of each fact.

    A fact is a property of an incident that routes can match, such as `environment` or `tag.team`. Two texts may name
    the same fact. Raises UsageError if a text is not FACT=PATTERN.
    """
    found: dict[str, list[str]] = {}
    for text in texts:
        fact, equals, pattern = text.partition("=")
        if not (fact and equals and pattern):
            raise click.UsageError("--when: takes FACT=PATTERN, such as environment=staging or tag.team=web*")
        found.setdefault(fact, []).append(pattern)
    return found


def _remembered(document: SecretDocument, now: float) -> list[Members]:
    """Return the pauses without those that ended too long ago to matter for a state that is still owed.

    A state may have waited for several pauses, one after the other. Its age counts from the end of the last one only if
    the earlier ones are still in the secret. The oldest ended pauses are left out if a new pause would find no room.
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
