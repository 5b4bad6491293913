"""Plans of attacks: true incidents, outages, settings and the attacker's ways, all derived from a schedule's seed."""

from collections.abc import Iterator, Mapping, Sequence
from copy import replace
from dataclasses import dataclass
from random import Random
from typing import Any

from tests import samples

LASTS_SECONDS = 1500.0
# After the attack, so that everything that is owed can be announced.
CALM_SECONDS = 900.0
TOKEN, CALLBACK_TOKEN, NEIGHBOUR_TOKEN = "attacked-webhook-token", "attacked-callback-token", "neighbour-webhook-token"
# The attacked channel, and one that the attacker does not know.
ATTACKED, NEIGHBOUR = "noc", "neighbour"
RECIPIENTS = {ATTACKED: "Ops", NEIGHBOUR: "Neighbours"}
ENVIRONMENT = "e1"
# The name of the attacked channel's webhook, with which all incidents are shared.
WEBHOOK = "webhook.attacked"
ACTIONS = {"Resolve": {"do": "resolve"}, "Snooze": {"do": "snooze", "minutes": 60}}
ALLOWED_PATTERNS = ("dba-*", "Oncall")
# Names in a URL that ALLOWED_PATTERNS allow, and others, some of them alike.
ALLOWED_NAMES, STRANGERS = ("dba-1", "DBA-night", "oncall"), ("mallory", "dba", "xdba-1", "Oncall2")


@dataclass(frozen=True)
class Truth:
    """The true course of an incident. Times are in seconds since the beginning.

    Attributes:
        opened: start as a critical, in seconds since the beginning.
        recipients: recipients in the URL of BigPanda's webhook.
        is_lost: True if the share of its start never arrives, so that a reconcile run has to find it.
        is_end_lost: True if the share of its end never arrives.
    """

    id: str
    opened: float
    over: float
    recipients: tuple[str, ...] = ()
    is_lost: bool = False
    is_end_lost: bool = False
    channel: str = ATTACKED

    def is_open(self, at: float) -> bool:
        """Return True if the incident is open at that time."""
        return self.opened <= at < self.over


@dataclass(frozen=True)
class Outage:
    """An outage of a vendor. Times are in seconds since the beginning.

    Attributes:
        vendor: "xmatters" or "bigpanda".
        is_rate_limit: True if the vendor answers that its rate limit is used up.
    """

    vendor: str
    begins: float
    ends: float
    is_rate_limit: bool = False


@dataclass(frozen=True)
class Rhythm:
    """Resolves of the incident `i0` that are forged all the time, from `begins` (seconds since the beginning) on.

    Attributes:
        every: seconds between two.
        ahead: seconds by which their timestamps are ahead.
    """

    begins: float
    every: float
    ahead: float


@dataclass(frozen=True)
class Flood:
    """Forged shares of `count` incidents that do not exist, from `begins` (seconds since the beginning) on.

    Attributes:
        every: seconds between two.
        resolved_after: seconds from each forged critical to its forged resolve; None without a resolve.
        is_silent: True if no critical is forged, but its resolve alone: that rings nobody, and costs questions.
    """

    begins: float
    every: float
    count: int
    resolved_after: float | None = None
    is_silent: bool = False

    @property
    def ends(self) -> float:
        """Time of the flood's last forged critical, in seconds since the beginning."""
        return self.begins + self.every * (self.count - 1)


@dataclass(frozen=True)
class Plan:
    """The plan of a schedule.

    Attributes:
        seed: the schedule's seed. If it is even, the attacker holds the webhook's token, else the callback's.
        allowed: names and patterns that the attacked channel's URL may add.
        environments: number of environments of BigPanda that the channels' secrets name.
        lag: BigPanda's API shows a change so many seconds after its webhook.
    """

    seed: int
    truths: tuple[Truth, ...]
    outages: tuple[Outage, ...]
    forgeries: int
    rhythm: Rhythm | None
    flood: Flood | None
    max_per_minute: int
    fallback_seconds: int
    allowed: tuple[str, ...]
    is_reconciled: bool
    environments: int = 1
    lag: float = 0.0

    @property
    def environment_ids(self) -> tuple[str, ...]:
        """Ids of the environments that the channels' secrets name. All incidents are in the first one."""
        return (ENVIRONMENT, *(f"{ENVIRONMENT}-{number}" for number in range(1, self.environments)))

    @property
    def url_recipients(self) -> tuple[str, ...]:
        """Recipients in the URL of the attacked channel's webhook."""
        return self.truths[0].recipients

    @property
    def has_flood_of_resolves(self) -> bool:
        """True if BigPanda is asked about many incidents that do not exist."""
        return self.flood is not None and self.flood.resolved_after is not None

    @property
    def holds_webhook_token(self) -> bool:
        """True if the attacker holds the webhook's token; False if it is the callback's."""
        return self.seed % 2 == 0

    def secrets(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the secret of each channel."""
        policy: dict[str, Any] = {"allowed_recipients": list(self.allowed), "min_seconds_between_signals": 0}
        policy |= {"max_per_minute": self.max_per_minute, "fallback_after_seconds": self.fallback_seconds}
        # With receipts every answer would have to name a person, also one that only acknowledges.
        policy |= {"notified_within_seconds": 0}
        access = {"api_key": "BPU-1", "environment_id": ENVIRONMENT, "assign": True, "actions": ACTIONS}
        access |= {"reconcile": "ring" if self.is_reconciled else False}
        if self.environments > 1:
            access |= {"environments": list(self.environment_ids[1:])}
        attacked = samples.secret(policy=policy, bigpanda=access, inbound={"token": TOKEN})
        auth = {"type": "basic", "username": "u", "password": "p"}
        attacked["xmatters"] |= {"recipients": [RECIPIENTS[ATTACKED]], "callback": {"token": CALLBACK_TOKEN}}
        attacked["xmatters"]["rest"] = {"base_url": "https://acme.xmatters.com", "auth": auth}
        # The same key as the attacked channel's, so both share BigPanda's rate limit.
        shared = {name: access[name] for name in ("api_key", "environment_id", "environments") if name in access}
        policy = {"max_per_minute": 10}
        neighbour = samples.secret(policy=policy, bigpanda=shared, inbound={"token": NEIGHBOUR_TOKEN})
        neighbour["xmatters"] |= {"recipients": [RECIPIENTS[NEIGHBOUR]]}
        return {ATTACKED: attacked, NEIGHBOUR: neighbour}


def plan_of(seed: int) -> Plan:
    """Return the plan of a seed."""
    random = Random(f"attack {seed}")
    plan = Plan(
        seed=seed,
        truths=(),
        outages=tuple(_outages(random)),
        forgeries=random.choice([1, 3, 12]),
        rhythm=None,
        flood=None,
        max_per_minute=60,
        fallback_seconds=300,
        allowed=random.choice([(), ALLOWED_PATTERNS]),
        is_reconciled=random.random() < 0.5,
    )
    way = random.random()
    bigpanda = Random(f"bigpanda {seed}")
    plan = replace(plan, environments=bigpanda.choice([1, 1, 2, 6]), lag=bigpanda.choice([0.0, 0.0, 10.0, 40.0]))
    if plan.holds_webhook_token and way < 0.25:
        rhythm = Rhythm(random.uniform(0, 600), random.choice([2.0, 5.0, 12.0, 30.0]), random.choice([0, 2, 4]))
        plan = replace(plan, rhythm=rhythm, forgeries=0)
    elif plan.holds_webhook_token and way < 0.55:
        flood = Flood(random.uniform(0, 300), random.choice([0.0, 0.5, 2.0]), random.choice([20, 50, 100]))
        limit, seconds = random.choice([10, 20, 60]), random.choice([120, 300])
        plan = replace(plan, flood=flood, max_per_minute=limit, fallback_seconds=seconds)
    elif plan.holds_webhook_token and way < 0.6:
        every = random.choice([0.5, 1.0, 2.0])
        flood = Flood(random.uniform(0, 100), every, int(900 / every), resolved_after=1.0, is_silent=True)
        plan = replace(plan, flood=flood)
    limited = Random(f"limited {seed}")
    if plan.holds_webhook_token and way >= 0.6 and 0.46 < limited.random() < 0.53:
        plan = _with_a_rate_limit(limited, plan)
    return replace(plan, truths=tuple(_truths(random, plan)))


def _with_a_rate_limit(random: Random, plan: Plan) -> Plan:
    """Return the plan with one forged resolve, and with an outage of BigPanda after its rate limit was used up.

    Both together are longer than BigPanda may be silent until a resolve is believed, and the outage alone is shorter.
    """
    forged_at = random.uniform(320, 400)
    begins, ends = forged_at - 20, forged_at + random.uniform(620, 700)
    outages = Outage("bigpanda", begins, ends, is_rate_limit=True), Outage("bigpanda", ends, ends + 320)
    return replace(plan, outages=outages, forgeries=0, rhythm=Rhythm(forged_at, LASTS_SECONDS, 0.0))


def hostile_members(random: Random, victims: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return members of a forged body, inside and outside its incident, on which a workflow must not act.

    `victims` are incidents of the attacked channel and of its neighbour.
    """
    victim, is_over = random.choice(victims), random.choice([True, "true", False])
    names = list(random.sample(STRANGERS, 2))
    properties = {"id": victim, "incident_id": victim, "is_over": is_over, "recipients": names, "priority": "LOW"}
    inside = {"is_over": is_over, "i" + "_" * 70 + "d": victim, "recipients": names}
    outside = {"properties": properties, "recipients": names, "incident_id": victim, "is_over": is_over}
    return random.choice([(inside, outside), ({}, outside), (inside, {}), ({}, {})])


def _truths(random: Random, plan: Plan) -> Iterator[Truth]:
    recipients = random.choice([(), ("Oncall",)]) if plan.allowed else ()
    for number in range(3):
        opened = random.uniform(0, 300)
        if plan.flood and not plan.flood.is_silent and number == 0:
            # The worst moment: the channel's limit is used up.
            opened = plan.flood.ends + random.uniform(0, 10)
        over = opened + random.choice([200.0, 900.0, 5000.0])
        # Without reconcile runs nobody would find what is lost.
        is_lost, is_end_lost = (plan.is_reconciled and random.random() < 0.4 for _ in range(2))
        yield Truth(f"i{number}", opened, over, recipients, is_lost, is_end_lost)
    if plan.flood:
        yield Truth("n0", plan.flood.begins + random.uniform(0, 120), 5000.0, channel=NEIGHBOUR)


def _outages(random: Random) -> Iterator[Outage]:
    for vendor in ("xmatters", "bigpanda"):
        begins, seconds = random.uniform(0, 900), random.choice([0.0, 0.0, 90.0, 240.0])
        if seconds:
            yield Outage(vendor, begins, begins + seconds)
