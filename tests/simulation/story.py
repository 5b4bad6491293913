"""Stories: the incidents, shares, faults and operators' actions of a schedule, all derived from a seed."""

import base64
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import replace
from dataclasses import MISSING, Field, dataclass, field, fields
from functools import cached_property, partial
from random import Random
from typing import Any

from tests import samples
from tests.simulation.cloud import USUAL, Cloud, clouds
from tests.simulation.settings import Facts, Timeline
from tests.simulation.weather import FAULTS, Spell
from tests.simulation.world import BEGINS_AT

STORM_SECONDS = 700.0
# Error of a wrong clock; the relay does not believe such time stamps.
AHEAD_SECONDS = (20, 90, 7200)
BELIEVED_SECONDS = 5
# No story has a time stamp about this far ahead: one function would believe it, and another not.
UNCLEAR_SECONDS = 4.0
# Only arrivals order the shares of a wrong clock, and the clocks of functions differ.
APART_SECONDS = 2.0
RANKS = {"ok": 0, "unknown": 1, "warning": 2, "critical": 3}


# The channel that every story has.
NOC = "noc"
# The channel that is paused, or in shadow mode, for some time.
QUIET = "quiet"
# BigPanda's ids of the people who answer, by their names in xMatters.
USERS = {"jdoe": "u9", "ed": "u8"}
# The recipient in `unanswered_recipients`.
BOSS = "Boss"
# The recipient in the trigger's URL, if it names one.
DESK = "Desk"


def entry_name(channel: str, url_recipients: Iterable[str], incident: str) -> str:
    """Return the simulation's name for the ledger's entry of an incident."""
    extra = "+".join((channel, *sorted(url_recipients)))
    return incident if extra == NOC else f"{incident}@{extra}"


@dataclass
class SharedState:
    """A state of an incident that BigPanda shares.

    Attributes:
        incident: name of the ledger entry: the incident's id, plus channel and URL recipients if not the usual ones.
        number: number of the state, in the true order.
        at: time of the state, in seconds since the beginning.
        is_comment: True if only a comment made the state.
        arrivals: times at which copies arrived, in epoch seconds.
        answered: times at which copies were answered 2xx, in epoch seconds.
        shown: times at which BigPanda's API showed the state, in epoch seconds.
        environment: name of the incident's environment; empty if the share has none.
        team: value of the incident's tag `team`, with an environment; empty if the share has no such tag.
        severity: the worst status of the incident so far; empty if the share has none.
        says_status: False if the share leaves the status out, which is that of the state before.
        is_snoozed: True if the share says that people snoozed the incident.
        padding: number of characters of an alert's description, which no algorithm compresses.
    """

    incident: str
    number: int
    at: float
    is_open: bool
    status: str
    alerts: frozenset[str]
    changed_on: int | None
    updated_on: int | None
    is_comment: bool = False
    arrivals: list[float] = field(default_factory=list)
    answered: list[float] = field(default_factory=list)
    shown: list[float] = field(default_factory=list)
    channel: str = NOC
    url_recipients: tuple[str, ...] = ()
    environment: str = ""
    team: str = ""
    severity: str = ""
    environment_id: str = ""
    says_status: bool = True
    is_snoozed: bool = False
    padding: int = 0

    @property
    def facts(self) -> Facts:
        """Facts for routes and pauses. A resolve reaches those who were rung: it has the worst status."""
        status = self.status if self.is_open else self.severity or self.status
        return Facts(self.environment, self.team, status if self.says_status else "")

    @property
    def is_critical(self) -> bool:
        """True if the state is open and critical."""
        return self.is_open and self.status == "critical"

    @cached_property
    def id(self) -> str:
        """The incident's id in BigPanda."""
        return self.incident.partition("@")[0]

    def elsewhere(self, channel: str, url_recipients: tuple[str, ...] = ()) -> "SharedState":
        """Return the same state as another BigPanda webhook shares it."""
        name = entry_name(channel, url_recipients, self.id)
        return replace(self, incident=name, channel=channel, url_recipients=url_recipients, arrivals=[], answered=[])

    @cached_property
    def version(self) -> tuple[int, int] | None:
        """The state's version, from BigPanda's time stamps; None without them, or if the relay disbelieves them."""
        ahead = BEGINS_AT + self.at + BELIEVED_SECONDS
        stamps = [stamp for stamp in (self.changed_on, self.updated_on) if stamp is not None]
        if any(stamp > ahead for stamp in stamps):
            return None
        return (max(stamps), self.changed_on or 0) if stamps else None

    @property
    def has_wrong_stamps(self) -> bool:
        """True if the time stamps come from a wrong clock, and the relay does not believe them.

        The relay then orders the state among others by its time of arrival only.
        """
        return self.version is None and self.updated_on is not None

    def tells_the_same(self, other: "SharedState") -> bool:
        """Return True if both states are equal in openness, status and alerts."""
        mine = (self.is_open, self.status, self.alerts, self.says_status, self.is_snoozed)
        return mine == (other.is_open, other.status, other.alerts, other.says_status, other.is_snoozed)

    def body(self) -> bytes:
        """Return the webhook's body."""
        stamps = {"changedOn": self.changed_on, "updatedOn": self.updated_on}
        incident: dict[str, Any] = {
            "id": self.id,
            "share": self.number,
            "active": self.is_open,
            "resolved": not self.is_open,
            "alerts": [{"id": alert, "status": self.status} for alert in sorted(self.alerts)],
        }
        if self.says_status:
            incident["status"] = self.status
        if self.severity:
            incident["severity"] = self.severity
        if self.is_snoozed:
            incident["snooze"] = {"snoozed": True}
        if self.incident != self.id:
            # For the simulated xMatters, which sees only the body.
            incident["entry"] = self.incident
        incident |= {k: v for k, v in stamps.items() if v is not None}
        if not self.environment:
            return json.dumps({"incident": incident}).encode()
        incident["tags"] = [{"name": "team", "value": self.team}] if self.team else []
        metadata = {"environment": self.environment}
        metadata |= {"environment_id": self.environment_id} if self.environment_id else {}
        return json.dumps({"incident": incident, "metadata": metadata}).encode()

    def sent(self) -> bytes:
        """Return the webhook's body with the padding, which no judge needs, in an alert that has the tags."""
        if not self.padding:
            return self.body()
        document = json.loads(self.body())
        noise = Random(f"{self.incident} {self.number}").randbytes(self.padding * 3 // 4)
        alert = document["incident"]["alerts"][0]
        alert |= {"description": base64.b64encode(noise).decode(), "tags": document["incident"].pop("tags")}
        return json.dumps(document).encode()

    def in_the_api(self, *, is_snoozed: bool) -> dict[str, Any]:
        """Return the state as BigPanda's API shows it."""
        stamps = {"changed_at": self.changed_on, "updated_at": self.updated_on}
        return {
            "id": self.incident,
            "share": self.number,
            "active": self.is_open,
            "status": self.status.capitalize(),
            "shared": True,
            "end": None if self.is_open else BEGINS_AT + int(self.at),
            "snooze": {"snoozed": is_snoozed},
            "alerts": [{"alert_id": alert, "status": self.status} for alert in sorted(self.alerts)],
            **({"severity": self.severity.capitalize()} if self.severity else {}),
            **stamps,
        }

    def __str__(self) -> str:
        kind = "open" if self.is_open else "over"
        stamps = f"changedOn {self.changed_on}, updatedOn {self.updated_on}"
        status = self.status if self.says_status else f"{self.status}, which it does not say"
        return f"{self.incident} share {self.number}: {kind}, {status}, {len(self.alerts)} alerts, {stamps}"


@dataclass(frozen=True)
class Post:
    """A copy of a share that BigPanda sends, `at` seconds since the beginning.

    Attributes:
        is_lost: True if the copy never arrives.
    """

    at: float
    state: SharedState
    is_lost: bool = False

    def __str__(self) -> str:
        return f"at {self.at:.1f} s {self.state}{', which is lost' if self.is_lost else ''}"


@dataclass(frozen=True)
class Said:
    """A person's answer in xMatters, or a forged callback.

    A forger has the callback's token, but knows no page, and is no xMatters user.

    Attributes:
        number: One of its own, or that of an earlier answer, which the same person gives again on the same page.
        copies: Number of callbacks that come; 0 if it is lost, so that only xMatters knows of the answer.
        knows_page: True if the forger guessed the number of the incident's latest page.
        is_to_the_first: True if the person answers the incident's first page, and not the latest one.
        person: xMatters' name of the person, unless it is forged.
    """

    at: float
    number: int
    incident: str
    response: str
    copies: int
    is_forged: bool = False
    knows_page: bool = False
    is_to_the_first: bool = False
    person: str = "jdoe"

    def body(self, page: str) -> bytes:
        """Return the callback's body; `page` is the id of the answered page."""
        event = {"number": "page-of-a-stranger" if self.is_forged and not self.knows_page else page}
        members = {"relay": 1, "kind": "response", "incident_id": self.incident, "event": event, "at": f"{self.at:.0f}"}
        person = {"target": "mallory" if self.is_forged else self.person}
        # xMatters' administrators choose the letter case of the words.
        response = self.response.upper() if self.response == "Escalate" and self.number % 2 else self.response
        return json.dumps(members | {"person": person, "response": response, "note": f"answer-{self.number}"}).encode()


@dataclass(frozen=True)
class Nap:
    """A snooze of an incident in BigPanda. Times are in seconds since the beginning."""

    incident: str
    begins: float
    ends: float


@dataclass(frozen=True)
class Story:
    """Choices of a seed for one schedule. Times are in seconds since the beginning.

    Attributes:
        policy: policy of the first channel.
        operations: time and kind of each operator's action: "redrive" or "replay".
        rotates_at: time at which xMatters' key changes; the secret has the new one from `learns_at`.
        widens_at: time at which the channel gets another recipient.
        has_rest: True if the relay asks xMatters what became of its signals.
        reconcile_interval: seconds after which BigPanda is asked again for what never came.
        naps: snoozes in BigPanda.
        routed: recipients of what is critical.
        vanishing: fraction of the messages on the retry queue that vanish.
        others: policies of other channels, which share the queues, the workers and the table with the first.
        ceiling: write units in a second from which DynamoDB throttles a key.
        token_changes_at: time at which BigPanda's token changes.
        snooze_minutes: minutes of the answer Snooze; None if the answers Resolve and Snooze do nothing.
        topics: topics on which people are told of sick channels.
        api_lag: seconds by which BigPanda's API is behind its webhook.
        timelines: settings that operators change, by channel.
        reports: True if what no share brought is reported, and rings nobody.
        api_key_changes_at: time at which BigPanda's API gets another key.
        ending: incidents that end while BigPanda is asked about them.
        has_slow_pages: True if xMatters takes minutes to make some pages.
        receipts: members of the policy for awaited receipts of criticals.
        has_dead_ends: True if few devices get a page, and xMatters gives up minutes later.
        has_late_twins: True if xMatters makes a second page of many signals, some time after the first.
        has_phones: True if phones are called, too, when the fallback topic is told of a critical.
        foreign: incidents that BigPanda shares with another webhook alone.
        has_deaf_phone: True if a second phone can never be called.
        moved: incidents that BigPanda has in another environment than their shares say.
        remarks: time and incident of each comment of people in BigPanda.
        has_url_recipient: True if the trigger's URL names DESK.
        has_forged_deliveries: True if a stranger calls back that devices got pages.
        has_dead_pages: True if xMatters ends some pages at once, since it can notify nobody.
        assigns: True if the first channel assigns incidents to those who acknowledge them.
        withholds: True if BigPanda withholds updates until an incident's first share is reported as received.
        poison: incidents whose signals kill each worker.
        damaged: time and incident of each ledger entry that becomes unreadable.
        refused_recipient: name in the URLs of webhooks that the channel does not permit; empty for none.
        is_keyless: True if the first channel has no key of BigPanda's, although people answer.
    """

    policy: dict[str, Any]
    posts: list[Post]
    spells: list[Spell] = field(default_factory=list)
    crashes: float = 0.0
    operations: list[tuple[float, str]] = field(default_factory=list)
    rotates_at: float | None = None
    learns_at: float = 0.0
    widens_at: float | None = None
    has_rest: bool = False
    answers: list[Said] = field(default_factory=list)
    reconcile_interval: float | None = None
    naps: list[Nap] = field(default_factory=list)
    routed: tuple[str, ...] = ()
    vanishing: float = 0.0
    others: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    ceiling: int | None = None
    token_changes_at: float | None = None
    snooze_minutes: int | None = None
    topics: tuple[str, ...] = ()
    cloud: Cloud = USUAL
    api_lag: float = 0.0
    timelines: Mapping[str, Timeline] = field(default_factory=dict)
    reports: bool = False
    api_key_changes_at: float | None = None
    ending: frozenset[str] = frozenset()
    has_slow_pages: bool = False
    receipts: Mapping[str, float] = field(default_factory=dict)
    has_dead_ends: bool = False
    has_late_twins: bool = False
    has_phones: bool = False
    foreign: frozenset[str] = frozenset()
    has_deaf_phone: bool = False
    moved: frozenset[str] = frozenset()
    remarks: list[tuple[float, str]] = field(default_factory=list)
    has_url_recipient: bool = False
    has_forged_deliveries: bool = False
    has_dead_pages: bool = False
    assigns: bool = False
    withholds: bool = False
    poison: frozenset[str] = frozenset()
    damaged: list[tuple[float, str]] = field(default_factory=list)
    refused_recipient: str = ""
    is_keyless: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "posts", sorted(self.posts, key=lambda post: post.at))

    def with_more(self, posts: Iterable[Post] = (), spells: Iterable[Spell] = (), **members: Any) -> "Story":
        """Return the story with further shares and faults, and with these members."""
        return replace(self, posts=[*self.posts, *posts], spells=[*self.spells, *spells], **members)

    @property
    def actions(self) -> Mapping[str, Mapping[str, Any]]:
        """Actions of the first channel's response texts."""
        if self.snooze_minutes is None:
            return {}
        return {"Resolve": {"do": "resolve"}, "Snooze": {"do": "snooze", "minutes": self.snooze_minutes}}

    @property
    def policies(self) -> Mapping[str, Mapping[str, Any]]:
        """Policy of each channel."""
        return {NOC: self.policy, **self.others}

    @cached_property
    def confirms_ends(self) -> bool:
        """True if the first channel confirms ends of incidents with BigPanda before it believes them."""
        has_access = bool(self.answers and not self.is_keyless) or self.reconcile_interval is not None
        is_chosen: bool = self.policy.get("confirm_resolve", True)
        return is_chosen and has_access and not any(post.state.url_recipients for post in self.posts)

    def words(self) -> Iterator[str]:
        """Yield the story in words, line by line: its members that are set, and each item of a list on its own."""
        for owner, each in [(part, each) for part in (self, self.cloud) for each in chosen(part)]:
            value = getattr(owner, each.name)
            if isinstance(value, list):
                yield from (f"{each.name}: {item}" for item in value)
            elif value is not self.cloud:
                yield f"{each.name}: {value}"


def chosen(owner: Any) -> "list[Field[Any]]":
    """Return the members of a dataclass's object that have not their default value, or have no default."""
    return [each for each in fields(owner) if getattr(owner, each.name) != default(each)]


def default(member: "Field[Any]") -> Any:
    """Return the default value of a dataclass's member; MISSING without one."""
    return member.default if member.default_factory is MISSING else member.default_factory()


def tell(seed: int) -> Story:
    """Return the story of a seed."""
    random = Random(seed)
    incidents = [_states(random, f"i{number}") for number in range(random.choice([1, 1, 2, 3, 4]))]
    for states in incidents:
        _pair_twins(states)
    posts = [post for states in incidents for post in _posts(random, states)]
    rotates_at = random.uniform(0, 300) if random.random() < 0.15 else None
    policy = _policy(random)
    # Another generator, so that the earlier choices of a seed stay the same.
    more = Random(f"more of {seed}")
    reconcile_interval = more.choice([120.0, 300.0]) if more.random() < 0.25 else None
    if reconcile_interval:
        # `grew` cannot be judged, since BigPanda's API may name alerts in another way than the webhook.
        policy |= (
            {"notify_on": [each for each in policy["notify_on"] if each != "grew"]} if "notify_on" in policy else {}
        )
        posts = [replace(post, is_lost=more.random() < 0.25) for post in posts]
    # A limit by recipients would change with the recipients.
    widens = random.random() < 0.1 and "max_per_minute_per_recipients" not in policy
    story = Story(
        policy=policy,
        posts=posts,
        spells=list(_spells(random)),
        crashes=random.choice([0.0, 0.0, 0.002, 0.01, 0.03, 0.06]),
        operations=sorted(
            (random.uniform(50, STORM_SECONDS), random.choice(["redrive", "replay"]))
            for _ in range(random.choice([0, 0, 1, 2]))
        ),
        rotates_at=rotates_at,
        learns_at=(rotates_at or 0.0) + random.uniform(-20, 120),
        widens_at=random.uniform(0, 300) if widens else None,
        has_rest=random.random() < 0.4,
        answers=list(_answers(random, len(incidents))),
        reconcile_interval=reconcile_interval,
        naps=list(_naps(more, len(incidents))) if reconcile_interval else [],
        routed=("Oncall",) if more.random() < 0.2 and "max_per_minute_per_recipients" not in policy else (),
    )
    story = with_rarities(seed, story, _ADDED)
    if (calm := Random(f"calm of {seed}")).random() < 0.08:
        story = _calmed(calm, story)
    else:
        story = replace(story, vanishing=_vanishing(Random(f"vanishing of {seed}"), story))
    story = with_rarities(seed, story, [("{}/actions", 0.062, 0.242, _with_actions)])
    story = replace(story, api_lag=Random(f"lag of {seed}").choice([0.0, 0.0, 0.0, 3.0, 20.0, 45.0]))
    story = with_rarities(seed, _with_a_cloud(seed, story), _RARITIES)
    # The relay may not know the status of a lost share, or of one whose place in the order is its arrival's. If the
    # clock of one share is wrong, others of its incident have such a place.
    unknown = {post.state.incident for post in story.posts if post.is_lost or post.state.has_wrong_stamps}
    stamps = Counter({(post.state.incident, post.state.number): post.state.version for post in story.posts}.values())
    for state in (post.state for post in story.posts):
        state.says_status |= state.incident in unknown or state.version is None or stamps[state.version] > 1
    return story


type Change = Callable[[Random, Story], Story]
# A name in which the seed stands for {}, the range of random numbers that have the change, and the change.
type Rarity = tuple[str, float, float, Change]


def with_rarities(seed: int, story: Story, rarities: Iterable[Rarity]) -> Story:
    """Return the story with what only some stories have. Each has a generator, so that a seed's others stay the same.

    Where a range does not begin at 0, it had none or few of the seeds that the mutations record when it was chosen.
    """
    for name, low, high, change in rarities:
        random = Random(name.format(seed))
        story = change(random, story) if low < random.random() < high else story
    return story


def _with_bursts(random: Random, story: Story) -> Story:
    """Return the story with a channel that has no limit but xMatters' flood control, and incidents in quick change."""
    policy = _policy(random) | {"min_seconds_between_signals": 0, "max_per_minute": 60, "max_age_seconds": 3600}
    posts = [
        Post(state.at, state.elsewhere("bursts"))
        for number in range(random.choice([1, 2]))
        for state in _in_turn(random, f"i{number}", random.choice([12, 25, 40]), 4.0)
    ]
    return story.with_more(posts, others={**story.others, "bursts": policy})


def _with_a_pause_of_others(random: Random, story: Story) -> Story:
    """Return the story with a pause in the first channel whose conditions none of its incidents meets."""
    pause = samples.pause(
        random.choice(["keep", "drop"]), -60.0, random.choice([300.0, 7200.0]), when={"tag.team": "a"}
    )
    return replace(story, policy=story.policy | {"pauses": [pause]})


def stamped(incident: str, number: int, at: float, status: str, alerts: int = 1) -> SharedState:
    """Return a state with its own second as time stamps, and with so many alerts. It is over if its status is "ok"."""
    stamp, names = int(BEGINS_AT + at), frozenset(f"a{each}" for each in range(alerts))
    return SharedState(incident, number, at, status != "ok", status, names, stamp, stamp)


def course(incident: str, at: float, statuses: str, wait: Callable[[], float]) -> list[SharedState]:
    """Return states of an incident that gets an alert with each; `wait` returns the seconds until the next one.

    `statuses` are their statuses in order.
    """
    states = []
    for number, status in enumerate(statuses.split()):
        states.append(stamped(incident, number, at, status, number + 1))
        at += wait()
    return states


def waits(random: Random, *seconds: float, spread: float = 0.3) -> Callable[[], float]:
    """Return a function for one of these waits, which is by a fraction `spread` shorter or longer at most."""
    return lambda: random.choice(seconds) * random.uniform(1 - spread, 1 + spread)


def in_time(states: Iterable[SharedState]) -> list[Post]:
    """Return a copy of each state, which BigPanda sends at once."""
    return [Post(state.at, state) for state in states]


def trouble(
    random: Random,
    service: str,
    faults: Sequence[str],
    latest: float,
    lasts: tuple[float, float],
    shares: Sequence[float] = (),
) -> Spell:
    """Return a time with one of these faults. It begins by `latest`, and lasts for seconds in the range `lasts`."""
    begins, fault = random.uniform(0, latest), random.choice(faults)
    ends = begins + random.uniform(*lasts)
    return Spell(service, fault, begins, ends, random.choice(shares) if shares else 1.0)


def plain_policy(**members: Any) -> dict[str, Any]:
    """Return a policy with room for all signals but those that come after an hour, and with these members."""
    policy = {"preset": "parity", "min_seconds_between_signals": 0, "max_per_minute": 60, "max_age_seconds": 3600}
    return policy | {"fallback_after_seconds": 300, "replace": True} | members


def roomy(policy: Mapping[str, Any], **members: object) -> dict[str, Any]:
    """Return the policy with room for all signals, and with these members."""
    room = {"max_age_seconds": 3600, "max_per_minute": 60, **members}
    return {name: value for name, value in {**policy, **room}.items() if name != "max_per_minute_per_recipients"}


def _in_turn(random: Random, incident: str, count: int, pace: float) -> Iterator[SharedState]:
    """Yield states of an incident that worsens and eases, with `pace` seconds and more in between."""
    at, status = random.uniform(0, 60), random.choice(["critical", "warning"])
    for number in range(count):
        yield stamped(incident, number, at, status)
        at += pace * random.uniform(0.6, 2)
        status = random.choice([each for each in ("critical", "warning", "ok") if each != status])


def _with_slow_pages(random: Random, story: Story) -> Story:
    """Return the story with a workflow that takes minutes for some pages, and with incidents that last as long."""
    states = [
        state
        for number in range(random.choice([1, 2, 3]))
        for state in _in_turn(random, f"s{number}", random.choice([2, 3]), random.choice([200.0, 400.0]))
    ]
    return story.with_more(in_time(states), has_rest=True, has_slow_pages=True)


def _with_a_long_outage(random: Random, story: Story) -> Story:
    """Return a story with shares during a long outage of the ledger or of BigPanda, while all else works."""
    service, begins = random.choice(["dynamodb", "bigpanda"]), random.uniform(0, 100)
    fault = {"dynamodb": "refuses", "bigpanda": random.choice(["503", "timeout"])}[service]
    spell = Spell(service, fault, begins, begins + random.uniform(900, 1800), 1.0)
    policy = {**story.policy, "max_age_seconds": random.choice([3600, 21600])}
    states = [
        state
        for number in range(random.choice([3, 6]))
        for state in _in_turn(random, f"i{number}", random.choice([1, 1, 2]), random.choice([20.0, 100.0]))
    ]
    answers = [Said(random.uniform(10, 400), 0, "i0", "Not me", 1)]
    return alone(story, in_time(states), policy=policy, spells=[spell], answers=answers)


def _with_updates(random: Random, story: Story) -> Story:
    """Return a story of criticals to which alerts are added while xMatters takes no signal."""
    states: list[SharedState] = []
    for number in range(random.choice([1, 2])):
        at, pace = random.uniform(0, 60), random.choice([20.0, 40.0, 70.0])
        wait = partial(lambda pace: pace * random.uniform(0.6, 1.4), pace)
        states += course(f"i{number}", at, "critical " * int(600 / pace), wait)
    policy = {**story.policy, "max_age_seconds": 3600}
    spell = Spell("xmatters", random.choice(["503", "gone", "429"]), 0.0, random.uniform(600, 900), 1.0)
    return alone(story, in_time(states), policy=policy, spells=[spell])


def _with_unguarded_updates(random: Random, story: Story) -> Story:
    """Return a story of criticals to which alerts are added during a long outage of the ledger."""
    begins, states = random.uniform(0, 30), list[SharedState]()
    for number in range(random.choice([1, 2])):
        at, statuses = begins + random.uniform(20, 120), "critical " * random.choice([2, 3, 4])
        states += course(f"i{number}", at, statuses, waits(random, 15.0, 50.0, 150.0, spread=0.4))
    policy = {**story.policy, "max_age_seconds": 3600, "notify_on": ["opened", "worsened", "grew", "resolved"]}
    spells = [Spell("dynamodb", "refuses", begins, begins + random.uniform(500, 1200), 1.0)]
    if random.random() < 0.4:
        # The relay can't know if a signal rang.
        spells.append(Spell("xmatters", random.choice(["timeout rang", "504 rang"]), 0.0, spells[0].ends, 1.0))
    return alone(story, in_time(states), policy=policy, spells=spells)


def _with_lost_tokens(random: Random, story: Story) -> Story:
    """Return the story with OAuth, and with a time in which xMatters gives no token, or refuses the password."""
    spell = trouble(random, "token", ["timeout", "empty", "refused"], 300, (30, 300))
    return story.with_more(spells=[spell], cloud=replace(story.cloud, login="oauth"))


def _with_receipts(random: Random, story: Story) -> Story:
    """Return a story of criticals that devices may not get, and that people may not answer, or answer late."""
    states: list[SharedState] = []
    answers: list[Said] = []
    for number in range(random.choice([1, 2, 3])):
        courses = (
            "critical|critical|warning critical|critical critical|critical warning|critical ok|critical ok critical"
        )
        statuses = random.choice(courses.split("|")).split()
        at = random.uniform(0, 60)
        for place, status in enumerate(statuses):
            states.append(stamped(f"u{number}", place, at, status, place + 1))
            if random.random() < 0.4:
                response = random.choice(["Acknowledge", "Acknowledge", "Escalate", "Not me"])
                said = Said(at + random.uniform(15, 500), len(answers), f"u{number}", response, random.choice([1, 2]))
                answers.append(said)
            at += random.choice([10.0, 100.0, 400.0]) * random.uniform(0.6, 1.4)
    # Without BigPanda's key, which a story with answers has, ends are believed at once.
    policy = roomy(story.policy, min_seconds_between_signals=0, confirm_resolve=False)
    spells = []
    if random.random() < 0.4:
        service = random.choice(["rest", "rest", "dynamodb", "sqs", "sns", "lambda"])
        spells = [trouble(random, service, FAULTS[service], 400, (30, 400))]
    awaited = random.choice([(120, 0), (120, 400), (0, 300), (300, 600)])
    receipts = dict(zip(("notified_within_seconds", "answered_within_seconds"), awaited, strict=True))
    # The callback's token is part of a story with answers.
    answers = answers or [Said(1000.0, 0, "u0", "Not me", 1)]
    members = {"answers": answers, "has_rest": random.random() < 0.6, "receipts": receipts, "cloud": USUAL}
    story = alone(story, in_time(states), policy=policy, spells=spells, **members)
    if random.random() < 0.4:
        story.policy["unanswered_recipients"] = [BOSS]
    return story


def _with_limits(random: Random, story: Story) -> Story:
    """Return a story with many incidents at once, and a trigger that answers some signals 429, and the others late."""
    begins = random.uniform(0, 60)
    states = [
        stamped(f"i{number}", 0, begins + random.uniform(0, 6), random.choice(["critical", "warning"]))
        for number in range(16)
    ]
    ends, fault = begins + random.uniform(60, 600), random.choice(["timeout", "503"])
    spells = [
        Spell("xmatters", random.choice(["429", "429 for long"]), begins, ends, random.choice([0.1, 0.2])),
        Spell("xmatters", fault, begins, ends, 1.0),
    ]
    return alone(story, in_time(states), policy=roomy(story.policy), spells=spells)


def _with_a_lag(random: Random, story: Story) -> Story:
    """Return a story of criticals that ring about when the fallback topic is due, and with an index that lags."""
    states = [stamped(f"i{number}", 0, random.uniform(0, 40), "critical") for number in range(8)]
    spell = Spell("xmatters", random.choice(["503", "gone"]), 0.0, random.uniform(60, 140), 1.0)
    cloud = replace(story.cloud, index_lag=random.choice([20.0, 40.0]))
    policy = roomy(story.policy, fallback_after_seconds=60)
    return alone(story, in_time(states), policy=policy, spells=[spell], cloud=cloud)


def _with_lost_shares(random: Random, story: Story) -> Story:
    """Return a story of incidents whose last share is lost, so that a reconcile run has to find it.

    xMatters takes no signal before the lost resolve, or the report of the lost critical comes to nobody or in a pause,
    or nothing fails besides the lost warning or resolve.
    """
    kind, posts, ends = random.choice(["late", "unreported", "calm"]), list[Post](), random.uniform(600, 900)
    statuses = {"late": ["critical", "ok"], "unreported": ["critical"], "calm": ["warning", "ok"]}[kind]
    has_ends = kind == "late" or (kind == "calm" and random.random() < 0.3)
    for number in range(random.choice([2, 4])):
        states = zip(_in_turn(random, f"i{number}", 1 + has_ends, 80.0), statuses, strict=False)
        changed = [replace(state, status=status, is_open=status != "ok") for state, status in states]
        posts += [Post(state.at, state, is_lost=state is changed[-1]) for state in changed]
    faults = {"late": ("xmatters", "503"), "unreported": ("sns", "refuses")}
    spells = [Spell(*faults[kind], 0.0, ends, 1.0)] if kind in faults else []
    story = alone(story, posts, policy={**story.policy, "max_age_seconds": 3600}, spells=spells)
    if kind == "unreported" and random.random() < 0.5:
        pause = Timeline.paused(random.choice(["keep", "drop"]), 0, int(ends))
        story = replace(story, spells=[], timelines={NOC: pause})
    return replace(story, reconcile_interval=random.choice([120.0, 300.0]), reports=kind == "unreported")


def _with_urgency(random: Random, story: Story) -> Story:
    """Return a story of a trigger that fails for long, a warning that waits, and a critical that comes later."""
    times = [random.uniform(0, 60), random.uniform(0, 60), random.uniform(300, 900)]
    statuses = ["warning", "warning", "critical"]
    states = [stamped(f"i{number}", 0, times[number], status) for number, status in enumerate(statuses)]
    spell = Spell("xmatters", random.choice(["503", "gone", "timeout"]), 0.0, random.uniform(2000, 3000), 1.0)
    policy = {**story.policy, "max_age_seconds": 21600}
    return alone(story, in_time(states), policy=policy, spells=[spell], topics=("alarm", "notice"))


def _with_a_replay(random: Random, story: Story) -> Story:
    """Return a story of a signal that failed until it was too old, and that fails again once it is replayed."""
    [state] = _in_turn(random, "i0", 1, 0.0)
    replayed_at = state.at + random.uniform(3700, 4000)
    spell = Spell("xmatters", random.choice(["503", "gone"]), 0.0, replayed_at + random.uniform(100, 600), 1.0)
    policy = {**story.policy, "max_age_seconds": 3600}
    return alone(story, in_time([state]), policy=policy, spells=[spell], operations=[(replayed_at, "replay")])


def _with_retry_after(random: Random, story: Story) -> Story:
    """Return a story of an outage in which xMatters asks for some minutes without a signal."""
    states = [state for number in range(2) for state in _in_turn(random, f"i{number}", 1, 0.0)]
    spell = Spell("xmatters", "503 for minutes", 0.0, random.uniform(600, 1200), 1.0)
    return alone(story, in_time(states), policy={**story.policy, "max_age_seconds": 3600}, spells=[spell])


def _with_old_signals(random: Random, story: Story) -> Story:
    """Return a story of signals that xMatters accepts shortly before they are too old, after two hours."""
    states = [state for number in range(2) for state in _in_turn(random, f"i{number}", 1, 0.0)]
    policy = {**story.policy, "max_age_seconds": 7200}
    ends = min(state.at for state in states) + policy["max_age_seconds"] - random.uniform(40, 150)
    spell = Spell("xmatters", "503", 0.0, ends, 1.0)
    return alone(story, in_time(states), policy=policy, spells=[spell], has_rest=True)


# Members of a story that are no shares, faults or changes.
_KEPT = ("policy", "has_rest", "learns_at", "routed", "topics", "cloud", "api_lag", "has_slow_pages")


def alone(story: Story, posts: Iterable[Post], **members: Any) -> Story:
    """Return the story with these shares alone, and without faults and changes but those in `members`."""
    members = {**{name: getattr(story, name) for name in _KEPT}, **members}
    # Without a receipt the policy must not name whom to signal if nobody answers.
    policy = {name: value for name, value in members.pop("policy").items() if name != "unanswered_recipients"}
    return Story(policy, list(posts), **members)


def _with_a_cloud(seed: int, story: Story) -> Story:
    """Return the story with the seed's conditions of the cloud. The password may change, and requests for tokens fail.

    If the clocks of functions differ by seconds, there are incidents that only the arrivals of their shares order.
    """
    cloud, random = clouds(seed), Random(f"token of {seed}")
    story = replace(story, cloud=cloud)
    if cloud.login == "oauth" and random.random() < 0.95:
        story = story.with_more(spells=[_spell(random, "token", random.choice([10, 60, 300]))])
    if cloud.login != "url" and random.random() < 0.4:
        rotates_at = random.uniform(0, 300)
        story = replace(story, rotates_at=rotates_at, learns_at=rotates_at + random.uniform(-20, 120))
    if cloud.clocks_differ > APART_SECONDS - 1:
        story = story.with_more(post for number in range(3) for post in _unstamped(random, f"c{number}"))
    return story


def _unstamped(random: Random, incident: str) -> Iterator[Post]:
    """Yield shares without time stamps, with less time in between than the clocks of functions differ."""
    at = random.uniform(0, 300)
    for number in range(random.choice([2, 3, 4])):
        at += random.uniform(0.8, 1.9)
        status = "ok" if number % 2 else random.choice(["critical", "warning"])
        yield Post(at, SharedState(incident, number, at, status != "ok", status, frozenset({"a0"}), None, None))


def _with_actions(random: Random, story: Story) -> Story:
    """Return the story with answers that resolve or snooze their incidents in BigPanda, and incidents for them."""
    if not story.answers or not story.has_rest:
        return story
    posts, answers, spells = list[Post](), list(story.answers), list[Spell]()
    for number in range(random.choice([1, 2, 3])):
        states = list(_answerable(random, f"r{number}"))
        posts += [
            replace(post, is_lost=bool(story.reconcile_interval) and random.random() < 0.1)
            for post in _posts(random, states)
        ]
        for _ in range(random.choice([1, 2, 3, 4])):
            at = random.choice(states).at + 3 + random.expovariate(1 / random.choice([10, 60, 300]))
            response = random.choice(["Resolve", "Resolve", "Resolve", "Snooze", "Snooze", "Acknowledge"])
            said = Said(at, len(answers), f"r{number}", response, random.choice([1, 1, 2]))
            kind = random.choice(["true", "true", "true", "true", "to the first", "to the first", "forged", "guessed"])
            # An acknowledgement in the name of a stranger is judged by other rules.
            is_forged = kind in {"forged", "guessed"} and response != "Acknowledge"
            answers.append(
                replace(said, is_forged=is_forged, knows_page=kind == "guessed", is_to_the_first=kind == "to the first")
            )
    if random.random() < 0.4:
        faults = ["503", "429", "timeout", "timeout did it", "timeout did it"]
        spells.append(trouble(random, "bigpanda", faults, 400, (20, 400), [0.3, 0.6, 1.0]))
    return story.with_more(posts, spells, answers=answers, snooze_minutes=random.choice([3, 5, 10]))


def _answerable(random: Random, incident: str) -> Iterator[SharedState]:
    """Yield the states of an incident that may be over, worse or open again when its page is answered."""
    at, status = random.uniform(0, 150), random.choice(["critical", "warning"])
    gap = random.choice([5, 30, 120])
    for number in range(random.choice([1, 1, 2, 3, 4, 5])):
        if number:
            at += 2 + random.expovariate(1 / gap)
            status = random.choice([each for each in ("critical", "critical", "warning", "ok") if each != status])
        yield stamped(incident, number, at, status)


def _with_topics(random: Random, story: Story) -> Story:
    """Return the story with topics about the health of channels, and with a channel that may be sick for long."""
    topics = random.choice([("alarm", "notice"), ("alarm", "notice"), ("alarm", "notice"), ("alarm",), ("notice",)])
    posts, spells, others = list[Post](), list[Spell](), dict(story.others)
    if random.random() < 0.3:
        spells.append(trouble(random, "sns", ["refuses", "refuses", "slow"], 1500, (30, 900), [0.5, 1.0]))
    if random.random() < 0.75:
        policy = _policy(random) | {"max_age_seconds": random.choice([600, 3600, 10800])}
        policy.pop("max_per_minute_per_recipients", None)
        others["ill"] = policy
        posts += _illness(random, random.choice([2, 4, 8]))
        spells += _relapses(random)
    story = story.with_more(posts, spells, topics=topics, others=others)
    return _with_quiet(random, story) if QUIET not in story.timelines and random.random() < 0.35 else story


def _illness(random: Random, incidents: int) -> Iterator[Post]:
    """Yield shares of incidents of the channel "ill", over a long time."""
    for number in range(incidents):
        at, status = random.uniform(0, 2500), random.choice(["critical", "critical", "warning"])
        for place in range(random.choice([1, 1, 2, 3])):
            if place:
                at += 2 + random.expovariate(1 / 300)
                status = random.choice([each for each in ("critical", "warning", "ok") if each != status])
            yield Post(at, stamped(f"i{number}", place, at, status).elsewhere("ill"))


def _relapses(random: Random) -> Iterator[Spell]:
    """Yield times in which the trigger of the channel "ill" fails: a long one, or several with well times between."""
    at, fault = random.uniform(0, 200), random.choice(["503", "gone", "429", "refused", "timeout"])
    for _ in range(random.choice([1, 1, 2, 4, 7])):
        ends = at + random.choice([100, 300, 900]) * random.uniform(0.7, 1.5)
        yield Spell("xmatters/ill", fault, at, ends, random.choice([0.6, 1.0, 1.0, 1.0]))
        at = ends + random.choice([60, 200, 500]) * random.uniform(0.5, 1.5)


def _calmed(random: Random, story: Story) -> Story:
    """Return the story with no faults but some of xMatters' triggers, and with access to xMatters' REST API."""
    spells = [spell for spell in story.spells if spell.service.startswith("xmatters") and random.random() < 0.5]
    return replace(story, spells=spells, crashes=0.0, operations=[], ceiling=None, has_rest=True)


def _with_quiet(random: Random, story: Story) -> Story:
    """Return the story with a further channel that is paused, or in shadow mode, for some time."""
    kind = random.choice(["keep", "keep", "drop", "shadow"])
    begins = 0 if kind == "shadow" else random.randrange(0, 60)
    ends = begins + random.randrange(30, 600)
    is_ended_early = kind != "shadow" and random.random() < 0.4
    planned = ends + random.randrange(300, 3000) if is_ended_early else ends
    policy = _policy(random)
    policy.pop("max_per_minute_per_recipients", None)
    posts, spells = list(_rush(random, QUIET, random.choice([2, 4, 6]))), list[Spell]()
    if random.random() < 0.4:
        fails_at, fault = random.randrange(0, 300), random.choice(["503", "gone", "timeout rang"])
        works_at, share = fails_at + random.randrange(20, 400), random.choice([0.5, 1.0])
        spells.append(Spell(f"xmatters/{QUIET}", fault, fails_at, works_at, share))
    if kind == "shadow" and random.random() > 0.4:
        begins = random.randrange(5, ends - 20)
    line = Timeline.shadowed(begins, ends) if kind == "shadow" else Timeline.paused(kind, begins, ends, planned)
    return story.with_more(
        posts, spells, others={**story.others, QUIET: policy}, timelines={**story.timelines, QUIET: line}
    )


def _with_another_token(random: Random, story: Story) -> Story:
    """Return the story with another inbound token from a time on."""
    return replace(story, token_changes_at=random.uniform(5, 300))


def _with_haste(random: Random, story: Story) -> Story:
    """Return the story with incidents that worsen or end while their previous signal is being sent."""
    posts: list[Post] = []
    for number in range(3):
        at = random.uniform(0, 300)
        stamp = int(BEGINS_AT + at)
        changes = [("warning", True), random.choice([("critical", True), ("ok", False)])]
        for place, (status, is_open) in enumerate(changes):
            moment = at + place * random.uniform(0.05, 0.3)
            state = SharedState(
                f"h{number}", place, moment, is_open, status, frozenset({"a0"}), stamp + place, stamp + place
            )
            posts.append(Post(moment, state))
    return story.with_more(posts)


def _with_flaps(random: Random, story: Story) -> Story:
    """Return the story with incidents that flap, and the rule for that in the policy of their channel.

    The channel is the first one, whose pages are answered, or a further one.
    """
    flap = {"transitions": random.choice([2, 3, 4]), "minutes": random.choice([1, 1, 2, 3])}
    is_first = random.random() < 0.4
    channel = NOC if is_first else "flaps"
    posts, answers = list[Post](), list(story.answers)
    for number in range(random.choice([1, 1, 2, 3])):
        states = list(_flapping(random, f"f{number}", flap["minutes"] * 60.0))
        posts += [Post(state.at, state if is_first else state.elsewhere(channel)) for state in states]
        if is_first and answers and random.random() < 0.7:
            at = random.uniform(states[0].at + 5, states[-1].at + 60)
            answers.append(Said(at, len(answers), f"f{number}", "Acknowledge", 1))
    if is_first:
        return story.with_more(posts, policy=story.policy | {"flap": flap}, answers=answers)
    policy, spells = _policy(random) | {"flap": flap}, list[Spell]()
    if random.random() < 0.3:
        faults = ["503", "gone", "429", "timeout", "slow", "refused"]
        spells.append(trouble(random, "xmatters/flaps", faults, 300, (10, 200), [0.5, 1.0]))
    return story.with_more(posts, spells, others={**story.others, channel: policy})


def _flapping(random: Random, incident: str, calm: float) -> Iterator[SharedState]:
    """Yield the states of an incident with bursts of changes; `calm` is the policy's time without a change."""
    at, changed_at, number = random.uniform(0, 120), 0.0, 0
    levels = random.choice(
        [["critical", "ok"], ["warning", "critical"], ["critical", "warning", "ok"], ["warning", "ok"]]
    )
    status = levels[0]
    for burst in range(random.choice([1, 1, 2])):
        # Around the end of the quiet time.
        at += burst * random.uniform(0.5, 1.6) * calm
        for _ in range(random.choice([3, 4, 5, 6, 8, 10])):
            is_comment = number > 0 and random.random() < 0.1
            if number and not is_comment:
                other = "critical" if random.random() < 0.05 else random.choice(levels)
                status = other if other != status else next(each for each in levels if each != status)
            changed_at = changed_at if is_comment else at
            stamps = int(BEGINS_AT + changed_at), int(BEGINS_AT + at)
            alerts = frozenset({"a0"})
            yield SharedState(incident, number, at, status != "ok", status, alerts, *stamps, is_comment)
            at, number = at + 2 + random.expovariate(1 / random.choice([3, 10, 20])), number + 1


def _with_a_chorus(random: Random, story: Story) -> Story:
    """Return the story with many answers at the same time, which would exceed BigPanda's rate limit."""
    if not story.answers:
        return story
    at, first = random.uniform(10, 400), len(story.answers)
    incidents = sorted({said.incident for said in story.answers})
    chorus = [
        Said(at + random.uniform(0, 0.5), first + number, random.choice(incidents), "Not me", 1) for number in range(24)
    ]
    return replace(story, answers=[*story.answers, *chorus])


def _with_url_recipients(random: Random, story: Story) -> Story:
    """Return the story with a second webhook, whose URL names recipients, for some of the incidents."""
    if story.reconcile_interval is not None:
        return story
    states = list({id(post.state): post.state for post in story.posts}.values())
    for incident in sorted({state.incident for state in states}):
        if random.random() < 0.7:
            names = random.choice([("Ann",), ("Ann", "Bob"), ("Ops",)])
            # The second webhook need not share all states, and may share states that the first does not.
            told = [state for state in states if state.incident == incident and random.random() < 0.8]
            copies = sorted((state.elsewhere(NOC, names) for state in told), key=lambda state: state.number)
            _pair_twins(copies)
            story = story.with_more(_posts(random, copies))
    return story


def _with_other_channels(random: Random, story: Story) -> Story:
    """Return the story with other channels that share queues, workers and table; one channel may fail for long."""
    others, posts, spells = {}, list[Post](), list[Spell]()
    names = ["dba", "net"][: random.choice([1, 1, 2])]
    for channel in names:
        others[channel] = _policy(random)
        for number in range(random.choice([1, 2, 4, 8])):
            states = [state.elsewhere(channel) for state in _states(random, f"i{number}")]
            _pair_twins(states)
            posts.extend(_posts(random, states))
    if random.random() < 0.8:
        sick = random.choice([NOC, *names])
        service = "xmatters" if sick == NOC else f"xmatters/{sick}"
        begins = random.uniform(0, 200)
        fault = random.choice(["timeout", "timeout", "timeout rang", "503", "gone", "429", "slow", "refused"])
        spells.append(Spell(service, fault, begins, random.uniform(begins, STORM_SECONDS), random.choice([0.5, 1.0])))
    return story.with_more(posts, spells, others=others)


def _vanishing(random: Random, story: Story) -> float:
    """Return the fraction of messages that vanish; 0 if a failing sender or ledger may leave a debt without a row."""
    is_steady = (
        not story.crashes
        # Jobs that an operator moves, or that a reconcile run queues, have no row until a worker receives them.
        and not story.operations
        and not story.reconcile_interval
        and story.ceiling is None
        and not any(spell.service in {"dynamodb", "secrets"} for spell in story.spells)
    )
    return random.choice([0.05, 0.3, 1.0]) if random.random() < 0.5 and is_steady else 0.0


def _with_a_ceiling(random: Random, story: Story) -> Story:
    """Return the story with DynamoDB throttling keys above a ceiling; the real one is 1,000 units a second."""
    spell = Spell("dynamodb", "throttles", 0.0, STORM_SECONDS, 0.0)
    return story.with_more(spells=[spell], ceiling=random.choice([3, 6, 12]))


def _with_a_rush(random: Random, story: Story) -> Story:
    """Return the story with more incidents of one channel in a minute than its rate limit admits.

    The channel's trigger may fail for a while; no other service that the channel needs fails. Another channel's trigger
    may hang meanwhile, with as many incidents.
    """
    policy = _policy(random) | {"max_per_minute": random.choice([2, 3, 6, 10, 60])}
    policy.pop("max_per_minute_per_recipients", None)
    spells = [spell for spell in story.spells if spell.service not in {"sqs", "dynamodb", "lambda", "secrets", "sns"}]
    posts = [*story.posts, *_rush(random, "busy", random.choice([6, 10, 16]))]
    others = {**story.others, "busy": policy}
    if random.random() < 0.5:
        begins = random.uniform(0, 100)
        is_long = random.random() < 0.3
        if is_long:
            # Longer than the longest backoff, so that no job expires before its next attempt.
            policy["max_age_seconds"] = 21600
        ends = begins + (random.uniform(1500, 2500) if is_long else random.uniform(20, 500))
        fault = random.choice(["503", "gone", "429"])
        spells.append(Spell("xmatters/busy", fault, begins, ends, 1.0))
    if random.random() < 0.4:
        others["sick"] = _policy(random)
        posts += _rush(random, "sick", random.choice([6, 12]))
        ends, fault = random.uniform(100, STORM_SECONDS), random.choice(["timeout", "timeout", "slow"])
        spells.append(Spell("xmatters/sick", fault, 0.0, ends, 1.0))
    return replace(story, posts=posts, others=others, spells=spells, crashes=0.0, operations=[])


def _rush(random: Random, channel: str, incidents: int) -> Iterator[Post]:
    """Yield shares of many incidents that open within a minute, in order."""
    for number in range(incidents):
        at, status = random.uniform(0, 60), random.choice(["critical", "warning", "unknown"])
        for place in range(random.choice([1, 1, 2, 3, 4])):
            if place:
                at += 2 + random.expovariate(1 / 40)
                status = random.choice(["critical", "warning", "unknown"]) if random.random() < 0.75 else "ok"
            yield Post(at, stamped(f"i{number}", place, at, status).elsewhere(channel))


def _policy(random: Random) -> dict[str, Any]:
    policy: dict[str, Any] = {
        "preset": random.choice(["parity", "parity", "oncall"]),
        "min_seconds_between_signals": random.choice([0, 15, 15, 60]),
        "max_per_minute": random.choice([2, 6, 60, 60]),
        "max_age_seconds": random.choice([100, 300, 3600, 21600]),
        "fallback_after_seconds": random.choice([60, 300]),
        "replace": random.random() < 0.5,
    }
    if random.random() < 0.2:
        policy["notify_on"] = ["opened", "worsened", "grew", "resolved", "reopened"]
    elif random.random() < 0.1:
        policy["notify_on"] = ["opened", "worsened", "reopened"]
    if random.random() < 0.2:
        policy["max_per_minute_per_recipients"] = 4
    return policy


def _states(random: Random, incident: str) -> list[SharedState]:
    stamps = random.choice(["seconds", "seconds", "seconds", "coarse", "lagging", "none"])
    at = random.uniform(0, 120)
    pace = random.choice([1.0, 10.0, 40.0, 120.0])
    changed_at, alerts, is_open = at, {"a0"}, random.random() < 0.93
    status = random.choice(["critical", "critical", "warning", "unknown"]) if is_open else "ok"
    states: list[SharedState] = []
    for number in range(random.choice([1, 2, 3, 4, 5, 6, 8])):
        is_comment = False
        if number:
            at += random.expovariate(1 / pace) + (APART_SECONDS if states[-1].has_wrong_stamps else 0.0)
            deed = random.choice(["status", "status", "comment", "joins", "resolve", "resolve", "reopen"])
            is_comment = deed == "comment"
            if deed == "status" and is_open:
                status = random.choice(["critical", "warning", "unknown"])
            elif deed == "joins":
                alerts = alerts | {f"a{number}"}
            elif deed == "resolve":
                is_open, status = False, "ok"
            elif deed == "reopen" and not is_open:
                is_open, status = True, random.choice(["critical", "warning"])
            changed_at = changed_at if is_comment else at
        changed, updated = _stamp(stamps, changed_at), _stamp(stamps, at)
        if stamps == "lagging":
            updated = _stamp(stamps, states[0].at if states else at)
        if changed and random.random() < 0.05 and (not states or at - states[-1].at > APART_SECONDS):
            changed = _with_error(random, changed, at, is_open=is_open)
        is_silent = is_open and random.random() < 0.03 and _is_steady(states, status)
        state = SharedState(incident, number, at, is_open, status, frozenset(alerts), changed, updated, is_comment)
        states.append(replace(state, says_status=not is_silent))
    return states


def _is_steady(states: Sequence[SharedState], status: str) -> bool:
    """Return True if the incident is open, and had this status alone since it opened."""
    since = list(itertools.takewhile(lambda state: state.is_open, reversed(states)))
    return bool(since) and all(state.status == status and state.says_status for state in since)


def _with_error(random: Random, changed: int, at: float, *, is_open: bool) -> int:
    """Return the time stamp that a wrong clock gives a state instead of `changed`."""
    believed_by = BEGINS_AT + at + BELIEVED_SECONDS
    changed += random.choice(AHEAD_SECONDS)
    if abs(changed - believed_by) < UNCLEAR_SECONDS:
        changed += AHEAD_SECONDS[0]
    # BigPanda is asked about an end. By then, a stamp that is a little ahead would be believed.
    is_asked = not is_open and changed > believed_by
    return changed + AHEAD_SECONDS[-1] if is_asked else changed


def _pair_twins(states: list[SharedState]) -> None:
    """Give equal states with equal time stamps the same arrivals, since the relay cannot distinguish them.

    Without time stamps, only directly successive equal states count as one.
    """
    for place, state in enumerate(states):
        for earlier in states[:place] if state.version else states[max(0, place - 1) : place]:
            if earlier.version == state.version and earlier.tells_the_same(state):
                state.arrivals, state.answered = earlier.arrivals, earlier.answered


def _stamp(kind: str, at: float) -> int | None:
    match kind:
        case "seconds" | "lagging":
            return int(BEGINS_AT + at)
        case "coarse":
            return int(BEGINS_AT + at // 60 * 60)
        case _:
            return None


def _posts(random: Random, states: list[SharedState]) -> Iterator[Post]:
    for state in states:
        if state.has_wrong_stamps:
            yield Post(state.at, state)
            continue
        late = random.choice([0.0, 0.0, 0.0, random.uniform(0, 5), random.uniform(0, 60)])
        yield Post(state.at + late, state)
        if random.random() < 0.2:
            yield Post(state.at + late + random.choice([0.0, random.uniform(0, 5), random.uniform(0, 200)]), state)


def _answers(random: Random, incidents: int) -> Iterator[Said]:
    for number in range(random.choice([0, 0, 1, 3, 6])):
        incident, response = f"i{random.randrange(incidents)}", random.choice(["Acknowledge", "Not me"])
        said = Said(random.uniform(10, 400), number, incident, response, random.choice([1, 1, 2]))
        yield replace(said, is_forged=Random(said.at).random() < 0.2)


def _naps(random: Random, incidents: int) -> Iterator[Nap]:
    for number in range(incidents):
        if random.random() < 0.5:
            begins = random.uniform(50, 500)
            yield Nap(f"i{number}", begins, begins + random.uniform(30, 900))


def _spells(random: Random) -> Iterator[Spell]:
    for _ in range(random.choice([0, 1, 1, 2, 3])):
        yield _spell(random, "xmatters", random.choice([10, 60, 300, 600]))
    for service, often in (
        ("sqs", 0.3),
        ("dynamodb", 0.2),
        ("secrets", 0.25),
        ("sns", 0.1),
        ("lambda", 0.1),
        ("rest", 0.1),
        ("bigpanda", 0.1),
    ):
        if random.random() < often:
            yield _spell(random, service, random.choice([5, 60, 300]))


def _spell(random: Random, service: str, longest: float) -> Spell:
    begins = random.uniform(0, 300)
    ends = min(STORM_SECONDS, begins + random.uniform(1, longest))
    return Spell(service, random.choice(FAULTS[service]), begins, ends, random.choice([0.3, 1.0, 1.0]))


# What only some stories have, in the order in which it is added.
_ADDED: Sequence[Rarity] = (
    ("recipients of {}", 0.0, 0.15, _with_url_recipients),
    ("channels of {}", 0.0, 0.25, _with_other_channels),
    ("rush of {}", 0.0, 0.15, _with_a_rush),
    ("ceiling of {}", 0.0, 0.08, _with_a_ceiling),
    ("inbound token of {}", 0.0, 0.15, _with_another_token),
    ("chorus of {}", 0.0, 0.08, _with_a_chorus),
    ("haste of {}", 0.0, 0.08, _with_haste),
    ("quiet of {}", 0.0, 0.07, _with_quiet),
    ("{}/flap", 0.37, 0.48, _with_flaps),
)
_RARITIES: Sequence[Rarity] = (
    ("{}/sickness", 0.3425, 0.4105, _with_topics),
    ("bursts of {}", 0.005, 0.035, _with_bursts),
    ("slow pages of {}", 0.856, 0.886, _with_slow_pages),
    ("outage of {}", 0.764, 0.804, _with_a_long_outage),
    ("lost shares of {}", 0.757, 0.78, _with_lost_shares),
    ("replays of {}", 0.895, 0.915, _with_a_replay),
    ("retry-after of {}", 0.415, 0.44, _with_retry_after),
    ("old signals of {}", 0.052, 0.067, _with_old_signals),
    ("urgency of {}", 0.077, 0.092, _with_urgency),
    ("updates of {}", 0.458, 0.473, _with_updates),
    ("lags of {}", 0.284, 0.304, _with_a_lag),
    ("limits of {}", 0.265, 0.285, _with_limits),
    ("unguarded updates of {}", 0.77, 0.79, _with_unguarded_updates),
    ("receipts of {}", 0.494, 0.534, _with_receipts),
    ("lost tokens of {}", 0.033, 0.053, _with_lost_tokens),
    ("pauses of others in {}", 0.0, 0.1, _with_a_pause_of_others),
)
