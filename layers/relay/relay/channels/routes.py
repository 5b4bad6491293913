"""Routes: whom a signal rings, chosen by what its incident is. Pure code."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from itertools import islice
from typing import Any, NamedTuple, Self

from relay.incidents.details import Details, details_of
from relay.incidents.share import Share

TAG = "tag."
# So many different values of a fact, and so much of each, are compared: a signal must not wait for more.
MAX_VALUES = 1000
MAX_LENGTH = 2048


class Route(NamedTuple):
    """Recipients for incidents that fit all of `when`: pairs of a fact and the patterns of which one must match.

    `priority` is xMatters', in a body of the relay's own.
    """

    when: tuple[tuple[str, tuple[str, ...]], ...]
    recipients: tuple[str, ...]
    priority: str | None = None

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


def chosen(routes: Sequence[Route], share: Share, *, is_open: bool) -> Route | None:
    """The first route whose conditions hold; None where none does.

    When an incident is over, `status` stands for the worst that it ever was: a resolve reaches those who were rung.
    """
    if not routes:
        return None
    found = details_of(share)
    said: dict[str, Sequence[str]] = {}

    def holds(fact: str, patterns: Iterable[str]) -> bool:
        if fact not in said:
            said[fact] = _compared(_values(fact, share, found, is_open))
        return any(fnmatchcase(value, pattern) for value in said[fact] for pattern in patterns)

    return next((route for route in routes if all(holds(*condition) for condition in route.when)), None)


def _compared(values: Iterable[str]) -> Sequence[str]:
    return list(islice(dict.fromkeys(value[:MAX_LENGTH].lower() for value in values), MAX_VALUES))


def _values(fact: str, share: Share, found: Details, is_open: bool) -> Iterable[str]:
    match fact:
        case "status":
            said = share.status if is_open else share.severity or share.status
            return [said] if said else []
        case "severity":
            return [share.severity] if share.severity else []
        case "environment":
            return found.environments
        case "source_system":
            return [alert.source_system for alert in found.alerts]
        case _:
            return found.tag(fact.removeprefix(TAG))
