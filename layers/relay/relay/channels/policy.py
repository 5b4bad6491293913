"""Policy of a channel: transitions to announce, rate limits, routes. docs/install.md explains each key."""

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from relay.incidents.share import PRESETS, Transition

if TYPE_CHECKING:
    from relay.channels.routes import Pause, Route
    from relay.incidents.own_body import BodyRule


CHANNEL_NAME = r"^[a-z0-9][a-z0-9_-]{0,47}\Z"
PRIORITIES: Mapping[str, str] = {"critical": "HIGH", "warning": "MEDIUM", "unknown": "MEDIUM", "ok": "LOW"}


# Default of `notified_within_seconds` for a channel with access to xMatters' REST API.
NOTIFIED_WITHIN_SECONDS = 300.0
# Shorter times would be over before a workflow has made its page and a device has rung.
LEAST_WITHIN_SECONDS = 60.0
# Upper bound of `notified_within_seconds` of a canary, so that its failure is known within the hour.
MOST_CANARY_SECONDS = 300.0


class Mode(StrEnum):
    """Mode of a channel. SHADOW records the signals that would be sent, and sends nothing."""

    LIVE = "live"
    SHADOW = "shadow"


class FlapRule(NamedTuple):
    """Rule for flaps: an incident flaps after `transitions` changes within `minutes`.

    A change is that the incident opens, ends, or has another status. The incident is calm after `minutes` without one.
    """

    transitions: int
    minutes: float

    @property
    def seconds(self) -> float:
        return self.minutes * 60


class Policy(NamedTuple):
    """Rules for a channel's signals: when to send them, and to which recipients. Times are in seconds.

    Attributes:
        pauses: Times in which signals wait or are left out, also past and future ones.
        notify_on: Transitions that are announced.
        min_seconds_between_signals: Least time between two signals of an incident, unless it worsens or ends.
        max_per_minute: Rate limit of the channel, in signals.
        max_per_minute_per_recipients: Rate limit of each set of recipients in webhook URLs, in signals; None for none.
        max_age_seconds: Age at which a job is dead-lettered as expired.
        fallback_after_seconds: Time for which a critical may be owed before the fallback topic is notified of it.
        page_within_seconds: Time after which the page of an accepted signal counts as missing.
        notified_within_seconds: Time within which a device has to get a critical; 0 to await no proof of that.
        answered_within_seconds: Time within which a person has to answer a critical; 0 to await no answer.
        unanswered_recipients: Further recipients, signalled after the fallback topic was notified that nobody is known
            to have heard a critical.
        reroute_within_seconds: Time after an incident's last signal within which a late tag can bring further
            recipients (by a route); 0 for never.
        expect_share_every: Time without a share after which the channel counts as sick; None for no limit.
        replace: True to terminate a page when its incident has a newer one.
        confirm_resolve: True to ask BigPanda about each resolve before it counts, if the channel has an API key.
        quiet_after_acknowledge: True to signal only the acknowledger of an incident, until it worsens or reopens.
        routes: The first route that matches gives the recipients.
        allowed_recipients: Names and patterns of recipients that a webhook's URL may name, in lower case; None for all.
        priorities: xMatters priority for each BigPanda status; `ok` is for each incident that is over.
        own_body: Settings of the relay's own request body; None to forward BigPanda's bytes unchanged.
        canary: True if the relay tests the channel with canaries. The last resort is not notified of a failed one.
        flap: Rule for flapping incidents, which are signalled once, and again when they worsen or are calm; None for
            none.
    """

    mode: Mode = Mode.LIVE
    pauses: tuple["Pause", ...] = ()
    notify_on: frozenset[Transition] = PRESETS["parity"]
    min_seconds_between_signals: float = 15.0
    max_per_minute: int = 60
    max_per_minute_per_recipients: int | None = None
    max_age_seconds: float = 21_600.0
    fallback_after_seconds: float = 300.0
    page_within_seconds: float = 180.0
    notified_within_seconds: float = 0.0
    answered_within_seconds: float = 0.0
    unanswered_recipients: tuple[str, ...] = ()
    reroute_within_seconds: float = 600.0
    expect_share_every: float | None = None
    replace: bool = True
    confirm_resolve: bool = True
    quiet_after_acknowledge: bool = True
    routes: tuple["Route", ...] = ()
    allowed_recipients: tuple[str, ...] | None = None
    priorities: Mapping[str, str] = PRIORITIES
    own_body: "BodyRule | None" = None
    canary: bool = False
    flap: FlapRule | None = None

    @property
    def awaits_receipt(self) -> bool:
        """True if the policy awaits a proof that a device got a critical, or that a person answered it."""
        return self.notified_within_seconds > 0 or self.answered_within_seconds > 0

    def stops_all(self, now: float) -> bool:
        """True if the channel sends nothing at `now` (epoch seconds): it is in shadow mode, or wholly paused."""
        return self.mode is Mode.SHADOW or self.is_paused(now)

    def is_paused(self, now: float) -> bool:
        """True if the whole channel is paused at `now` (epoch seconds). A pause with conditions does not count."""
        return any(not each.when and each.is_active(now) for each in self.pauses)

    def after_pauses(self, at: float) -> float:
        """Return the time `at`, or the end of the pause if the whole channel is paused at that time (epoch seconds)."""
        if not self.pauses:
            return at
        from relay.channels.routes import age_start  # noqa: PLC0415

        return age_start([each for each in self.pauses if not each.when], at, 0.0)

    @classmethod
    def of(cls, members: Mapping[str, Any], *, has_rest: bool = False) -> Self:
        """Return the policy from `members`, the content of the member `policy` of a valid secret.

        With `has_rest` (access to xMatters' REST API), the default of `notified_within_seconds` is
        NOTIFIED_WITHIN_SECONDS. A list `notify_on` takes precedence over `preset`, the name of such a list.
        """
        chosen = {name: members[name] for name in cls._fields if name in members}
        if has_rest:
            chosen.setdefault("notified_within_seconds", NOTIFIED_WITHIN_SECONDS)
        chosen["notify_on"] = (
            frozenset(map(Transition, members["notify_on"]))
            if "notify_on" in members
            else PRESETS[members.get("preset", "parity")]
        )
        if "allowed_recipients" in members:
            chosen["allowed_recipients"] = tuple(name.strip().lower() for name in members["allowed_recipients"])
        if "unanswered_recipients" in members:
            chosen["unanswered_recipients"] = tuple(name.strip() for name in members["unanswered_recipients"])
        chosen["priorities"] = {**PRIORITIES, **members.get("priorities", {})}
        chosen["mode"] = Mode(members.get("mode", Mode.LIVE))
        # Imported late: most channels need none of these, and the imports would slow their cold starts.
        if {"pauses", "routes"} & members.keys():
            from relay.channels.routes import Pause, Route  # noqa: PLC0415

            chosen["pauses"] = tuple(map(Pause.of, members.get("pauses", ())))
            chosen["routes"] = tuple(map(Route.of, members.get("routes", ())))
        if members.get("body") == "xmatters":
            from relay.incidents.own_body import MAX_LENGTH, BodyRule  # noqa: PLC0415

            length, properties = members.get("max_property_length", MAX_LENGTH), members.get("properties", {})
            # JSON Schema counts 100.0 as an integer.
            chosen["own_body"] = BodyRule(int(length), tuple(properties.items()))
        if "flap" in members:
            chosen["flap"] = FlapRule(int(members["flap"]["transitions"]), members["flap"]["minutes"])
        return cls(**chosen)
