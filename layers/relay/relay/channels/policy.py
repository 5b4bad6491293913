"""Policy of a channel: the transitions to announce, and limits. docs/install.md explains each key."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from relay.incidents.transition import PRESETS, Transition

if TYPE_CHECKING:
    from relay.channels.routes import Route
    from relay.incidents.own_body import BodyRule


class Policy(NamedTuple):
    """The settings of a channel that decide what rings, when, and whom. Numbers are in seconds or signals a minute.

    `replace` ends a page when a newer one tells of its incident. `confirm_resolve` asks BigPanda before pages end.
    `allowed_recipients` are the names, or patterns of names, that a webhook's URL may add; None: any. `own_body` says
    what the relay's own body is like; None: xMatters gets the bytes that BigPanda sent.
    """

    notify_on: frozenset[Transition] = PRESETS["parity"]
    min_seconds_between_signals: float = 15.0
    max_per_minute: int = 60
    max_per_minute_per_recipients: int | None = None
    max_age_seconds: float = 21_600.0
    fallback_after_seconds: float = 300.0
    replace: bool = True
    confirm_resolve: bool = True
    quiet_after_acknowledge: bool = True
    routes: tuple["Route", ...] = ()
    allowed_recipients: tuple[str, ...] | None = None
    own_body: "BodyRule | None" = None

    @classmethod
    def of(cls, members: Mapping[str, Any]) -> Self:
        """Read the (valid) members of a secret's policy; `notify_on` goes before `preset`."""
        chosen = {name: members[name] for name in cls._fields if name in members}
        chosen["notify_on"] = (
            frozenset(map(Transition, members["notify_on"]))
            if "notify_on" in members
            else PRESETS[members.get("preset", "parity")]
        )
        if "allowed_recipients" in members:
            chosen["allowed_recipients"] = tuple(name.strip().lower() for name in members["allowed_recipients"])
        chosen["routes"] = _routes(members["routes"]) if "routes" in members else ()
        if members.get("body") == "xmatters":
            chosen["own_body"] = _own_body(members)
        return cls(**chosen)


# Most channels need neither, and a cold start need not wait for them.
def _routes(found: list[dict[str, Any]]) -> tuple["Route", ...]:
    from relay.channels.routes import Route  # noqa: PLC0415

    return tuple(map(Route.of, found))


def _own_body(members: Mapping[str, Any]) -> "BodyRule":
    from relay.incidents.own_body import MAX_LENGTH, PRIORITIES, BodyRule  # noqa: PLC0415

    return BodyRule(
        members.get("max_property_length", MAX_LENGTH),
        {**PRIORITIES, **members.get("priorities", {})},
        tuple(members.get("properties", {}).items()),
    )
