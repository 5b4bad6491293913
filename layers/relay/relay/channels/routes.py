"""Routes and pauses: both can have conditions on facts of an incident. Pure code.

A fact is a property of an incident: `status`, `severity`, `environment`, `source_system` or a tag.
"""

import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from fnmatch import fnmatchcase
from itertools import islice
from typing import Any, NamedTuple, Self
from unicodedata import normalize

from relay.incidents.details import details_of, kept_values
from relay.incidents.share import Share

TAG = "tag."
# Different values of a fact that are compared, and characters of each value. They bound the delay of a signal.
MAX_VALUES = 1000
MAX_LENGTH = 2048
# Budget of pattern matching for one share, in comparisons of a pattern's character with a value's.
# Measured: 1,000 million comparisons take a second at worst. On Lambda, 512 MB come with a third of a processor, and
# BigPanda waits for 8 seconds (docs/decisions.md, D-route-budget).
MAX_WORK = 300_000_000
# Measured: cost of one call with a short pattern and a short value, in comparisons.
CALL_WORK = 250
_WILD = re.compile(r"[*?\[]")

# Conditions on an incident: pairs of a fact (such as `status`) and its patterns.
type Conditions = tuple[tuple[str, tuple[str, ...]], ...]


class Route(NamedTuple):
    """Recipients for the incidents that meet all conditions.

    Attributes:
        when: Each fact, such as `status`, must have a value that one of its patterns matches.
        priority: xMatters priority; None for the priority of the incident's status.
        is_undecided: True if the budget of comparisons was used up. Then `recipients` are those of all routes that may
            match, and the channel's own recipients get the signal as well.
    """

    when: Conditions
    recipients: tuple[str, ...]
    priority: str | None = None
    is_undecided: bool = False

    @classmethod
    def of(cls, members: dict[str, Any]) -> Self:
        return cls(
            when=conditions_of(members["when"]),
            recipients=tuple(dict.fromkeys(name.strip() for name in members["recipients"])),
            priority=members.get("priority"),
        )


def conditions_of(members: Mapping[str, Any]) -> Conditions:
    """Return the conditions in the member `when` of a route or a pause of a valid secret."""
    return tuple(
        (fact, tuple(map(_compared, patterns if isinstance(patterns, list) else [patterns])))
        for fact, patterns in members.items()
    )


def _compared(text: str) -> str:
    """Return a value or a pattern as it is compared: in lower case, with accents in one form (Unicode's NFC)."""
    return normalize("NFC", text.strip().lower())


class TooMuchWork(Exception):
    """The matching of a share's values with the channel's patterns exceeds the budget of comparisons."""


def chosen(routes: Sequence[Route], share: Share, *, is_open: bool) -> Route | None:
    """Return the first route whose conditions the share meets; None if there is none.

    `is_open` is False after the incident's end: then its `status` is the worst that it had. If the budget of
    comparisons is used up, the result combines the recipients of all routes that may still match.
    """
    if not routes:
        return None
    facts = _Facts(share, is_open)
    for index, route in enumerate(routes):
        try:
            if all(facts.fits(fact, patterns) for fact, patterns in route.when):
                return route
        except TooMuchWork:
            names = dict.fromkeys(name for each in routes[index:] for name in each.recipients)
            return Route((), tuple(names), is_undecided=True)
    return None


def meets(when: Conditions, share: Share, *, is_open: bool) -> bool:
    """True if a share meets all conditions. False also if that takes more comparisons than MAX_WORK."""
    facts = _Facts(share, is_open)
    try:
        return all(facts.fits(fact, patterns) for fact, patterns in when)
    except TooMuchWork:
        return False


def values_of(fact: str, share: Share, *, is_open: bool) -> tuple[str, ...]:
    """Return the different values that a share has for a fact, such as `status` or `tag.host`, in lower case.

    Empty if the share lacks the fact. `is_open` is False after the incident's end: then `status` is the worst status.
    """
    return tuple(_Facts(share, is_open).read(fact).values)


class _Fact(NamedTuple):
    """Values that a share has for one fact, in lower case (keys of `values`), and the sum of their lengths."""

    values: Mapping[str, None]
    length: int


class _Facts:
    """The facts of a share (status, severity, environment, source system, tags), each read at its first use."""

    def __init__(self, share: Share, is_open: bool) -> None:
        self._share = share
        self._found = details_of(share)
        self._is_open = is_open
        self._left = MAX_WORK
        self._known: dict[str, _Fact] = {}
        self._tags: Mapping[str, Sequence[str]] | None = None

    def fits(self, fact: str, patterns: Sequence[str]) -> bool:
        """True if a pattern (as of `fnmatch`) matches a whole value of `fact`, in any letter case.

        Raises TooMuchWork once all calls together took more than MAX_WORK comparisons of characters.
        """
        found = self.read(fact)
        return any(self._matches(found, pattern) for pattern in patterns)

    def read(self, fact: str) -> _Fact:
        if fact not in self._known:
            compared = (_compared(value[:MAX_LENGTH]) for value in self._values(fact))
            values = dict.fromkeys(islice(dict.fromkeys(compared), MAX_VALUES))
            self._known[fact] = _Fact(values, sum(map(len, values)))
        return self._known[fact]

    def _values(self, fact: str) -> Iterable[str]:
        """Return a share's values for a fact; if a share from BigPanda's API has none, those that the ledger kept."""
        # The API names environments by id only, so the kept names of environments count besides the ids.
        own = list(self._own_values(fact))
        return [*own, *kept_values(self._share, fact)] if fact == "environment" or not any(own) else own

    def _own_values(self, fact: str) -> Iterable[str]:
        share, found = self._share, self._found
        match fact:
            case "status":
                status = share.status if self._is_open else share.severity or share.status
                return [status] if status else []
            case "severity":
                return [share.severity] if share.severity else []
            case "environment":
                return found.environments
            case "source_system":
                return [alert.source_system for alert in found.alerts]
        if self._tags is None:
            # Built once: routes may name thousands of tags, and an incident may have a hundred thousand.
            self._tags = found.tags_by_name()
        return self._tags.get(fact.removeprefix(TAG).lower(), ())

    def _matches(self, fact: _Fact, pattern: str) -> bool:
        """True if a pattern (`*` and `?` as wildcards) matches one of the values. Raises TooMuchWork."""
        if not _WILD.search(pattern):
            self._spend(len(pattern) + CALL_WORK)
            return pattern in fact.values
        # fnmatch's expressions do not backtrack beyond a star, so this is their worst case.
        self._spend(len(pattern) * fact.length + CALL_WORK * len(fact.values))
        return any(fnmatchcase(value, pattern) for value in fact.values)

    def _spend(self, comparisons: int) -> None:
        """Spend comparisons of the budget before they are made. Raises TooMuchWork if fewer are left."""
        if comparisons > self._left:
            raise TooMuchWork
        self._left -= comparisons


class Pause(NamedTuple):
    """A time in which a channel sends no signals for some incidents, or for all. Times are epoch seconds.

    Attributes:
        keeps_states: True if the newest state of each incident is signalled after the pause; False if states that
            become owed in the pause are never signalled.
        when: Conditions as of a route; empty to pause all incidents.
        by: The operator who made the pause, as AWS names them; empty if unknown.
    """

    since: float
    until: float
    keeps_states: bool
    when: Conditions = ()
    reason: str = ""
    by: str = ""

    @classmethod
    def of(cls, members: Mapping[str, Any]) -> Self:
        since, until = (datetime.fromisoformat(members[name]).timestamp() for name in ("since", "until"))
        said = (members.get(name, "") for name in ("reason", "by"))
        return cls(since, until, members["then"] == "keep", conditions_of(members.get("when", {})), *said)

    @property
    def id(self) -> str:
        """Identity of the pause, which stays if its end is moved: a hash of `since`, `keeps_states` and `when`."""
        return f"{zlib.crc32(repr((self.since, self.keeps_states, self.when)).encode()):08x}"

    def is_active(self, now: float) -> bool:
        return self.since <= now < self.until

    def postpones(self, owed_since: float) -> bool:
        """True if a state waits for the pause's end; False if the pause leaves it out, so that it is never signalled.

        A state that was owed before the pause began always waits. `owed_since` is in epoch seconds.
        """
        return self.keeps_states or owed_since < self.since


def pauses_for(share: Share, pauses: Iterable[Pause], *, is_open: bool) -> tuple[Pause, ...]:
    """Return the pauses whose conditions an incident's share meets: past, active and future ones.

    `is_open` is False after the incident's end: then its `status` is the worst that it had. A pause whose conditions
    take too many comparisons does not apply, so that no page is held back by mistake.
    """
    return tuple(each for each in pauses if not each.when or meets(each.when, share, is_open=is_open))


def active_pause(pauses: Iterable[Pause], now: float) -> Pause | None:
    """Return the pause that is active at `now` (epoch seconds); None if there is none.

    Of several, one with `keeps_states` takes precedence, so that no state is left out by mistake; then the last to end.
    """
    active = [each for each in pauses if each.is_active(now)]
    return max(active, key=lambda each: (each.keeps_states, each.until), default=None)


def age_start(pauses: Sequence[Pause], came: float, longest: float) -> float:
    """Return the time from which a state's age counts (epoch seconds): its arrival `came`, or a later end of a pause.

    A pause counts only if it begins before the state expires, at the age `longest` (seconds).
    """
    start = came
    for each in sorted(pauses):
        if each.since < start + longest and each.until > start:
            start = each.until
    return start
