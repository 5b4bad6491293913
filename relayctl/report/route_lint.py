"""Lint of a channel's policy: routes that can never match, and settings with which nobody is notified. Pure code.

The relay's own `relay.channels.routes.chosen` does the matching. For conditions on status and severity, the lint calls
it with each combination that BigPanda documents.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from itertools import product
from typing import NamedTuple

from relay.channels import misconfiguration
from relay.channels.channel import Channel
from relay.channels.routes import TAG, Route, chosen
from relay.incidents.share import Share, parse_share
from relay.incidents.transition import RANKS, is_open

# Pairs of states that are searched at most. Usual patterns need some tens.
MAX_PAIRS = 4000
# A bracket expression with its end, as fnmatch finds it: a `]` may be its first character.
_TOKEN = re.compile(r"\[!?.[^\]]*\]|.", re.DOTALL)
_STAR = "*"
_ASCII = frozenset(map(chr, range(0x20, 0x7F)))
# Stands for every character that neither pattern names.
_OTHER = "\0"

type _States = frozenset[int]


def includes(wide: str, narrow: str) -> bool | None:
    """Return True if `wide` matches every text that `narrow` matches; None if the search gives up.

    It gives up for patterns whose automata reach more than MAX_PAIRS pairs of state sets, and for brackets with
    characters other than ASCII.
    """
    if wide in {narrow, _STAR}:
        return True
    tokens = _TOKEN.findall(wide), _TOKEN.findall(narrow)
    brackets = [each for side in tokens for each in side if len(each) > 1]
    if not all(each.isascii() for each in brackets):
        return None
    letters = {each for side in tokens for each in side if len(each) == 1} - {_STAR, "?"}
    return _search(*tokens, letters | {_OTHER} | (_ASCII if brackets else frozenset()))


def _search(wide: list[str], narrow: list[str], alphabet: Iterable[str]) -> bool | None:
    start = _closed(narrow, {0}), _closed(wide, {0})
    seen, todo = {start}, [start]
    while todo:
        inner, outer = todo.pop()
        if len(narrow) in inner and len(wide) not in outer:
            return False
        for letter in alphabet:
            after = _step(narrow, inner, letter), _step(wide, outer, letter)
            if after[0] and after not in seen:
                seen.add(after)
                todo.append(after)
        if len(seen) > MAX_PAIRS:
            return None
    return True


def _step(tokens: list[str], states: _States, letter: str) -> _States:
    """Return the automaton's states after one more character; a state is the number of tokens that are matched."""
    after = set[int]()
    for state in states:
        if state < len(tokens) and tokens[state] == _STAR:
            after.add(state)
        elif state < len(tokens) and fnmatchcase(letter, tokens[state]):
            after.add(state + 1)
    return _closed(tokens, after)


def _closed(tokens: list[str], states: Iterable[int]) -> _States:
    """Return these states of the automaton, and those that it also reaches if a `*` matches no character."""
    reached = set(states)
    for state in states:
        after = state
        while after < len(tokens) and tokens[after] == _STAR:
            after += 1
            reached.add(after)
    return frozenset(reached)


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

    If an earlier route's patterns are too complex to be compared, `unclear` is called with a text that says so.
    """
    for before in range(place):
        taken = _takes_all(routes[before], routes[place])
        if taken:
            return f"{_ROUTES}.{before} matches every incident that it would match, and comes first"
        if taken is None:
            unclear(
                f"whether {_ROUTES}.{before} takes all that {_ROUTES}.{place} would take: its patterns are too complex"
            )
    return None


def _takes_all(first: Route, later: Route) -> bool | None:
    """Return True if the route `first` matches every incident that the route `later` matches, else False.

    Return None if the patterns of the routes are too complex to be compared.
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
