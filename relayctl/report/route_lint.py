"""Lint of a channel's policy: routes that can never match, and settings with which nobody is notified. Pure code.

The relay's own `relay.channels.routes.chosen` does the matching. For conditions on status and severity, the lint calls
it with each combination that BigPanda documents.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from itertools import product
from typing import NamedTuple

from relay.channels import misconfiguration
from relay.channels.channel import Channel
from relay.channels.routes import TAG, Route, chosen
from relay.incidents.share import RANKS, Share, is_open, parse_share

# Stars of a pattern at most, for which all combinations of an empty and a long text are tried.
_MAX_STARS = 6
# Stands for every character that neither pattern names.
_OTHER = "\0"


def includes(wide: str, narrow: str) -> bool | None:
    """Return True if `wide` matches every text that `narrow` matches; None if that is not decided.

    `wide` is tried on texts that `narrow` matches: each `*` stands for nothing, or for more foreign characters than
    `wide` has question marks, so that a star of `wide` must take some of them. Patterns with brackets are compared as
    a whole only.
    """
    if wide in {narrow, "*"}:
        return True
    *parts, last = narrow.replace("?", _OTHER).split("*")
    if "[" in wide + narrow or len(parts) > _MAX_STARS:
        return None
    fillings = product(("", _OTHER * (len(wide) + 1)), repeat=len(parts))
    texts = ("".join((*map("".join, zip(parts, each, strict=True)), last)) for each in fillings)
    return all(fnmatchcase(text, wide) for text in texts)


_ROUTES = "policy.routes"
_BY_STATUS = frozenset({"status", "severity"})
_WORDS = ", ".join(RANKS)
UNDECIDED = (
    "whether several earlier routes together take all that a later one would take",
    "whether an environment, a source system or a tag exists in BigPanda",
    "whether a recipient exists in xMatters and is on call: relayctl channel test",
)
_NO_CHANNEL = (
    "whether a critical incident that matches no route notifies somebody: the file has no recipients of a channel"
)


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
        """Return key and complaint in one line."""
        return f"{self.key}: {self.detail}"


class Lint(NamedTuple):
    """Result of a lint.

    Attributes:
        findings: The settings that are wrong.
        undecided: The questions that the lint does not answer, in words.
    """

    findings: tuple[Finding, ...]
    undecided: tuple[str, ...]


def lint(channel: Channel, *, is_whole: bool) -> Lint:
    """Return what is wrong with a channel's routes. `is_whole` is False if only the channel's policy is known."""
    routes, unclear = channel.policy.routes, list[str]()
    findings = [*_silent(channel, is_whole=is_whole)]
    for place, route in enumerate(routes):
        never = _never(route) or _covered_by_earlier(routes, place, unclear.append)
        if never:
            findings.append(Finding(f"{_ROUTES}.{place}", "never_matches", f"never matches: {never}"))
    undecided = (*UNDECIDED, *(() if is_whole else (_NO_CHANNEL,)), *unclear)
    return Lint(tuple(findings), undecided)


def _silent(channel: Channel, *, is_whole: bool) -> Iterator[Finding]:
    """Yield the settings with which nobody is notified."""
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


def _never(route: Route) -> str | None:
    """Return the reason why no incident meets the conditions on status and severity; None if one may."""
    conditions = tuple(each for each in route.when if each[0] in _BY_STATUS)
    if not conditions or _matched(conditions):
        return None
    for fact, patterns in conditions:
        if not _matched(((fact, patterns),)):
            return f"BigPanda's {fact} is one of {_WORDS}, and no pattern matches one of these"
    return "status and severity contradict each other: severity is the worst status so far, so it is never below status"


def _matched(conditions: tuple[tuple[str, tuple[str, ...]], ...]) -> frozenset[tuple[str | None, str | None]]:
    """Return the documented pairs of status and severity that meet the conditions."""
    route = Route(conditions, ())
    return frozenset((each.status, each.severity) for each in _SHARES if chosen((route,), each, is_open=is_open(each)))


def _documented() -> Iterator[Share]:
    """Yield an active and an inactive share for each pair of status and severity that an incident can have."""
    for status, severity, active in product((*RANKS, None), (*RANKS, None), (True, False)):
        is_possible = severity is None or status is None or RANKS[status] <= RANKS[severity]
        members = {"id": "i", "status": status, "severity": severity, "active": active}
        if is_possible:
            yield parse_share(json.dumps(members).encode())


_SHARES = tuple(_documented())


def _covered_by_earlier(routes: Sequence[Route], place: int, unclear: Callable[[str], object]) -> str | None:
    """Return a complaint if an earlier route matches every incident that the route at `place` matches; else None.

    If an earlier route's patterns cannot be compared, `unclear` is called with a text that says so.
    """
    for before in range(place):
        taken = _takes_all(routes[before], routes[place])
        if taken:
            return f"{_ROUTES}.{before} matches every incident that it would match, and comes first"
        if taken is None:
            unclear(
                f"whether {_ROUTES}.{before} takes all that {_ROUTES}.{place} would take: their patterns have brackets "
                "or many stars"
            )
    return None


def _takes_all(first: Route, later: Route) -> bool | None:
    """Return True if the route `first` matches every incident that the route `later` matches, else False.

    Return None if the patterns of the routes cannot be compared.
    """
    known = {_name(fact): patterns for fact, patterns in later.when}
    verdicts = [
        _is_wider(fact, patterns, known[_name(fact)]) if _name(fact) in known else False
        for fact, patterns in first.when
    ]
    if False in verdicts:
        return False
    return None if None in verdicts else True


def _name(fact: str) -> str:
    # The library compares names of tags without regard to letter case.
    return fact.lower() if fact.startswith(TAG) else fact


def _is_wider(fact: str, wide: tuple[str, ...], narrow: tuple[str, ...]) -> bool | None:
    verdicts = [_any(includes(one, each) for one in wide) for each in narrow]
    if all(verdicts):
        return True
    if fact in _BY_STATUS and _matched(((fact, narrow),)) <= _matched(((fact, wide),)):
        return True
    return False if False in verdicts else None


def _any(verdicts: Iterator[bool | None]) -> bool | None:
    found = list(verdicts)
    return True if True in found else None if None in found else False
