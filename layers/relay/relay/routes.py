"""Routes: whom a signal rings, chosen by what its incident is. Pure code."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple, Self

from relay import details
from relay.details import Details
from relay.incident import Share

TAG = "tag."


class Route(NamedTuple):
    """Who is rung `when` all of its conditions hold: pairs of a fact and the patterns of which one must match.

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
    found = details.of(share)
    return next((route for route in routes if _holds(route, share, found, is_open=is_open)), None)


def _holds(route: Route, share: Share, found: Details, *, is_open: bool) -> bool:
    return all(_matches(_values(fact, share, found, is_open), patterns) for fact, patterns in route.when)


def _matches(values: Iterable[str], patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(value.lower(), pattern) for value in values for pattern in patterns)


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
