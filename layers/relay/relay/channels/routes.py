"""Routes: whom a signal rings, chosen by what its incident is. Pure code."""

import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import accumulate, islice
from typing import Any, NamedTuple, Self
from urllib.parse import quote

from relay.incidents.details import Details, details_of
from relay.incidents.share import Share

TAG = "tag."
# So many different values of a fact, and so much of each, are compared: a signal must not wait for more.
MAX_VALUES = 1000
MAX_LENGTH = 2048
# Measured: a thousand million comparisons take a second at worst. 512 MB have a third of a processor on Lambda, where
# BigPanda waits 8 seconds (docs/decisions.md, D-route-budget).
MAX_WORK = 300_000_000
# A call with a short pattern and a short value takes as long as so many comparisons.
CALL_WORK = 250
# The names stand in a URL, and many servers take 8 KiB of one.
MAX_NAMES_LENGTH = 4096
_WILD = re.compile(r"[*?\[]")


class Route(NamedTuple):
    """Recipients for incidents that fit all of `when`: pairs of a fact and the patterns of which one must match.

    `priority` is xMatters', in a body of the relay's own. `is_undecided`: the route stands for several, of which one or
    none may fit, so the channel's own recipients are rung, too.
    """

    when: tuple[tuple[str, tuple[str, ...]], ...]
    recipients: tuple[str, ...]
    priority: str | None = None
    is_undecided: bool = False

    @classmethod
    def of(cls, members: dict[str, Any]) -> Self:
        """The route that valid members of a channel's policy describe."""
        return cls(
            when=tuple(
                (fact, tuple(text.lower() for text in (patterns if isinstance(patterns, list) else [patterns])))
                for fact, patterns in members["when"].items()
            ),
            recipients=tuple(dict.fromkeys(name.strip() for name in members["recipients"])),
            priority=members.get("priority"),
        )


class Work:
    """Budget of a share: comparisons of a character of a pattern with a character of a value.

    Attributes:
        left: The comparisons that are left.
    """

    def __init__(self, most: int = MAX_WORK) -> None:
        self.left = most

    def spend(self, comparisons: int) -> None:
        """Count comparisons before they are made. Raises TooMuchWork if fewer are left."""
        if comparisons > self.left:
            raise TooMuchWork
        self.left -= comparisons


class TooMuchWork(Exception):
    """A share's values are too many for a channel's patterns."""


def chosen(routes: Sequence[Route], share: Share, *, is_open: bool, work: Work | None = None) -> Route | None:
    """The first route whose conditions hold; None where none does.

    When an incident is over, `status` stands for the worst that it ever was: a resolve reaches those who were rung. If
    the work comes to its bound, the route is one for all recipients of those that were not ruled out yet.
    """
    if not routes:
        return None
    facts, work = _Facts(share, details_of(share), is_open), work or Work()
    for place, route in enumerate(routes):
        try:
            if all(facts.fits(fact, patterns, work) for fact, patterns in route.when):
                return route
        except TooMuchWork:
            return _undecided(routes[place:])
    return None


def _undecided(routes: Sequence[Route]) -> Route:
    """Return a route for the recipients of all these, the first ones first, as many as a URL surely has room for."""
    names = dict.fromkeys(name for route in routes for name in route.recipients)
    lengths = accumulate(len(quote(name, safe="", errors="replace")) + 1 for name in names)
    fitting = (name for name, length in zip(names, lengths, strict=True) if length <= MAX_NAMES_LENGTH)
    return Route((), tuple(fitting), is_undecided=True)


class _Fact(NamedTuple):
    """The different values of a fact, in lower case, and the sum of their lengths."""

    values: Mapping[str, None]
    length: int


class _Facts:
    """The facts of a share, each read when a pattern first asks for it."""

    def __init__(self, share: Share, found: Details, is_open: bool) -> None:
        self._share = share
        self._found = found
        self._is_open = is_open
        self._known: dict[str, _Fact] = {}
        self._tags: Mapping[str, Sequence[str]] | None = None

    def fits(self, fact: str, patterns: Sequence[str], work: Work) -> bool:
        """Return True if one of the patterns matches a value of the fact. Raises TooMuchWork."""
        if fact not in self._known:
            values = dict.fromkeys(islice(dict.fromkeys(map(_compared, self._values(fact))), MAX_VALUES))
            self._known[fact] = _Fact(values, sum(map(len, values)))
        return any(_matches(self._known[fact], pattern, work) for pattern in patterns)

    def _values(self, fact: str) -> Iterable[str]:
        share, found = self._share, self._found
        match fact:
            case "status":
                said = share.status if self._is_open else share.severity or share.status
                return [said] if said else []
            case "severity":
                return [share.severity] if share.severity else []
            case "environment":
                return found.environments
            case "source_system":
                return [alert.source_system for alert in found.alerts]
        if self._tags is None:
            # Routes may ask for thousands of tags, and an incident may have a hundred thousand.
            self._tags = found.tags_by_name()
        return self._tags.get(fact.removeprefix(TAG).lower(), ())


def _compared(value: str) -> str:
    return value[:MAX_LENGTH].lower()


def _matches(fact: _Fact, pattern: str, work: Work) -> bool:
    """Return True if the pattern matches a value. Raises TooMuchWork."""
    if not _WILD.search(pattern):
        work.spend(len(pattern) + CALL_WORK)
        return pattern in fact.values
    # fnmatch's expressions never backtrack beyond a star, so this is their worst case.
    work.spend(len(pattern) * fact.length + CALL_WORK * len(fact.values))
    return any(fnmatchcase(value, pattern) for value in fact.values)
