"""Settings of a channel that operators change while a schedule runs: pauses, mode, routes, credentials."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from tests.simulation.world import BEGINS_AT

# Later than any schedule, in seconds since the beginning.
FOR_EVER = 10**9

# Conditions of a route or a pause, as the secret has them: patterns by the name of a fact.
type When = Mapping[str, Sequence[str]]


class Facts(NamedTuple):
    """Facts of a state that routes and pauses can ask about.

    Attributes:
        team: value of its tag `team`.
    """

    environment: str = ""
    team: str = ""
    status: str = ""

    def meet(self, when: When) -> bool:
        """Return True if these facts meet all conditions."""
        values = {"environment": self.environment, "tag.team": self.team, "status": self.status}
        return all(any(fnmatchcase(values[fact], pattern) for pattern in patterns) for fact, patterns in when.items())


def plain_secret(token: str, trigger: str, recipients: Iterable[str], policy: Mapping[str, Any]) -> str:
    """Return the text of a secret whose trigger URL has the credentials."""
    xmatters = {"trigger_url": trigger, "auth": {"type": "url"}, "recipients": list(recipients)}
    return json.dumps({"inbound": {"token": token}, "xmatters": xmatters, "policy": policy})


@dataclass(frozen=True)
class Settings:
    """A channel's settings from a time on, until an operator changes them again.

    Attributes:
        mode: "live" or "shadow".
        credentials: number of the credentials: trigger key and inbound token.
    """

    at: int
    deed: str = "is made"
    mode: str = "live"
    pauses: tuple[Mapping[str, Any], ...] = ()
    routes: tuple[Mapping[str, Any], ...] = ()
    recipients: tuple[str, ...] = ("Ops",)
    credentials: int = 0
    is_removed: bool = False

    def key(self, channel: str) -> str:
        """Return the key of the channel's trigger."""
        return f"{channel}-key-{self.credentials}"

    def token(self, channel: str) -> str:
        """Return the token of the channel's webhook."""
        return f"{channel}-inbound-token-{self.credentials}"

    def secret(self, channel: str, trigger: str, policy: Mapping[str, Any]) -> str:
        """Return the text of the channel's secret, with this trigger URL and policy."""
        return plain_secret(self.token(channel), trigger, self.recipients, {**policy, **self.policy})

    @property
    def policy(self) -> dict[str, Any]:
        """Mode, pauses and routes as members of the secret's policy."""
        routes = {"routes": list(self.routes)} if self.routes else {}
        return {"mode": self.mode, "pauses": list(self.pauses), **routes}

    def recipients_of(self, facts: Facts) -> tuple[str, ...]:
        """Return the recipients of a state: those of the first route that applies, or the channel's own."""
        found = (route["recipients"] for route in self.routes if facts.meet(route["when"]))
        return tuple(next(found, self.recipients))

    def pauses_of(self, facts: Facts) -> list["Pause"]:
        """Return the pauses that apply to a state: past, present and future ones."""
        return [Pause.of(each) for each in self.pauses if facts.meet(each.get("when", {}))]


def with_routes(routes: Iterable[tuple[When, str]]) -> Settings:
    """Return the settings of a new channel with these routes, each for one recipient."""
    return Settings(0, routes=tuple({"when": when, "recipients": [name]} for when, name in routes))


def moment(seconds: int) -> str:
    """Return a time, in seconds since the beginning, as the secret has it."""
    return datetime.fromtimestamp(BEGINS_AT + seconds, UTC).isoformat()


class Pause(NamedTuple):
    """A pause that applies to a state. Times are in epoch seconds.

    Attributes:
        keeps: True if the states that it holds are signalled after it.
    """

    since: float
    until: float
    keeps: bool

    @classmethod
    def of(cls, members: Mapping[str, Any]) -> "Pause":
        """Read a pause from the secret's members."""
        since, until = (datetime.fromisoformat(members[name]).timestamp() for name in ("since", "until"))
        return cls(since, until, members["then"] == "keep")


class Timeline(tuple[Settings, ...]):
    """All settings of a channel in a schedule, in the order of their times."""

    __slots__ = ()

    def now(self, moment: float) -> Settings:
        """Return the settings that the secret has at a time (epoch seconds)."""
        return [self[0], *(each for each in self if BEGINS_AT + each.at <= moment)][-1]

    def used(self, first: float, last: float, stale: float) -> list[Settings]:
        """Return the settings that a function may use between two times (epoch seconds).

        A function may use settings for `stale` seconds after they were changed.
        """
        ends = [*(BEGINS_AT + each.at for each in self[1:]), float("inf")]
        return [
            each for each, end in zip(self, ends, strict=True) if BEGINS_AT + each.at <= last and first < end + stale
        ]

    @classmethod
    def paused(cls, then: str, begins: int, ends: int, planned: int = 0) -> "Timeline":
        """Return the settings of a channel with a pause, which an operator ends if it does not end as planned.

        Times are in seconds since the beginning.
        """
        pauses = [{"since": moment(begins), "until": moment(until), "then": then} for until in (planned or ends, ends)]
        first, second = Settings(0, pauses=(pauses[0],)), Settings(ends, "is resumed", pauses=(pauses[1],))
        return cls([first] if first.pauses == second.pauses else [first, second])

    @classmethod
    def shadowed(cls, begins: int, ends: int) -> "Timeline":
        """Return the settings of a channel that is in shadow mode between two times, or from the beginning."""
        first = [Settings(0), Settings(begins, "gets shadow", "shadow")] if begins else [Settings(0, mode="shadow")]
        return cls([*first, Settings(ends, "gets live")])

    @property
    def quiet_until(self) -> int:
        """The time after which nothing is held or left out any more, in seconds since the beginning."""
        if self[-1].mode == "shadow" or self[-1].is_removed:
            return FOR_EVER
        return max(self[-1].at, self.paused_until)

    @property
    def paused_until(self) -> int:
        """The end of the last pause, in seconds since the beginning; 0 without one."""
        changes = [*(each.at for each in self[1:]), FOR_EVER]
        return max(
            (
                min(int(Pause.of(pause).until - BEGINS_AT), change)
                for each, change in zip(self, changes, strict=True)
                for pause in each.pauses
            ),
            default=0,
        )
