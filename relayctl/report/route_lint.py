"""Lint of a channel's policy: routes that can never match, and settings with which nobody is notified. Pure code."""

from collections.abc import Iterator
from fnmatch import fnmatchcase
from itertools import product
from typing import NamedTuple

from relay.channels import misconfiguration
from relay.channels.channel import Channel
from relay.channels.routes import TAG, Route
from relay.incidents.share import RANKS

# Stars of a pattern at most, for which all combinations of an empty and a long text are tried.
_MAX_STARS = 6
# Stands for every character that neither pattern names.
_OTHER = "\0"
_ROUTES = "policy.routes"
# Facts whose values BigPanda documents.
_BY_STATUS = frozenset({"status", "severity"})


class Finding(NamedTuple):
    """A setting that is certainly wrong.

    Attributes:
        key: The dotted key of the secret; routes are counted from 0.
        problem: `never_matches` or `notifies_nobody`.
        detail: The complaint.
    """

    key: str
    problem: str
    detail: str

    def __str__(self) -> str:
        return f"{self.key}: {self.detail}"


def lint(channel: Channel, *, is_whole: bool) -> list[Finding]:
    """Return what is wrong with a channel's routes. `is_whole` is False if only the channel's policy is known."""
    routes, found = channel.policy.routes, list(_silent(channel, is_whole=is_whole))
    for place, route in enumerate(routes):
        before = next((number for number in range(place) if _takes_all(routes[number], route)), None)
        unknown = [fact for fact, patterns in route.when if fact in _BY_STATUS and not _matched(patterns)]
        if unknown:
            why = f"BigPanda's {unknown[0]} is one of {', '.join(RANKS)}, and no pattern matches one of these"
        elif before is not None:
            why = f"{_ROUTES}.{before} matches every incident that it would match, and comes first"
        else:
            continue
        found.append(Finding(f"{_ROUTES}.{place}", "never_matches", f"never matches: {why}"))
    return found


def _silent(channel: Channel, *, is_whole: bool) -> Iterator[Finding]:
    if not channel.policy.notify_on:
        yield Finding("policy.notify_on", "notifies_nobody", "is empty, so no change of an incident is signalled")
    for problem in misconfiguration.problems(channel):
        if problem.key.startswith("policy.") or (is_whole and problem.key == "xmatters.recipients"):
            yield Finding(problem.key, "notifies_nobody", problem.detail)
    if not is_whole:
        return
    named = any(route.recipients for route in channel.policy.routes)
    if named and misconfiguration.critical_may_notify_nobody(channel):
        detail = "empty, so a critical incident that matches no route notifies nobody"
        yield Finding("xmatters.recipients", "notifies_nobody", detail)
    if channel.policy.allowed_recipients == () and misconfiguration.needs_url_recipients(channel):
        detail = "allows no recipient in the URL, and the secret names none"
        yield Finding("policy.allowed_recipients", "notifies_nobody", detail)


def _takes_all(first: Route, later: Route) -> bool:
    """True if the route `first` certainly matches every incident that the route `later` matches."""
    known = {_name(fact): patterns for fact, patterns in later.when}
    return all(_is_wider(fact, patterns, known.get(_name(fact), ())) for fact, patterns in first.when)


def _name(fact: str) -> str:
    # The library compares names of tags without regard to letter case.
    return fact.lower() if fact.startswith(TAG) else fact


def _is_wider(fact: str, wide: tuple[str, ...], narrow: tuple[str, ...]) -> bool:
    """True if `wide` matches every value that `narrow` matches; False if `narrow` is empty, or that is not certain."""
    if narrow and fact in _BY_STATUS and _matched(narrow) <= _matched(wide):
        return True
    return bool(narrow) and all(any(includes(each, one) for each in wide) for one in narrow)


def _matched(patterns: tuple[str, ...]) -> frozenset[str]:
    return frozenset(status for status in RANKS if any(fnmatchcase(status, each) for each in patterns))


def includes(wide: str, narrow: str) -> bool:
    """Return True if `wide` certainly matches every text that `narrow` matches.

    `wide` is tried on texts that `narrow` matches: each `*` stands for nothing, or for more foreign characters than
    `wide` has question marks, so that a star of `wide` must take some of them. Patterns with brackets are compared as
    a whole only.
    """
    if wide in {narrow, "*"}:
        return True
    *parts, last = narrow.replace("?", _OTHER).split("*")
    if "[" in wide + narrow or len(parts) > _MAX_STARS:
        return False
    fillings = product(("", _OTHER * (len(wide) + 1)), repeat=len(parts))
    texts = ("".join((*map("".join, zip(parts, each, strict=True)), last)) for each in fillings)
    return all(fnmatchcase(text, wide) for text in texts)
