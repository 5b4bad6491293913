"""What happens in a schedule: incidents and their shares, the weather, and what operators do. All of it from a seed."""

import json
from collections.abc import Iterable, Iterator, Mapping
from copy import replace
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.simulation.weather import FAULTS, Spell
from tests.simulation.world import BEGINS_AT

STORM_SECONDS = 700.0
# A clock that is wrong by so much: nobody believes it.
AHEAD_SECONDS = (20, 90, 7200)
BELIEVED_SECONDS = 5
# A stamp that is nearly so far ahead is believed by one function and not by another: no story has one.
UNCLEAR_SECONDS = 4.0
# Only its arrival orders a share of such a clock among the others, and no two functions' clocks are the same.
APART_SECONDS = 2.0
RANKS = {"ok": 0, "unknown": 1, "warning": 2, "critical": 3}


# The channel that every story has.
NOC = "noc"


def entry_name(channel: str, url_recipients: Iterable[str], incident: str) -> str:
    """The simulation's name for the ledger's entry of an incident."""
    extra = "+".join((channel, *sorted(url_recipients)))
    return incident if extra == NOC else f"{incident}@{extra}"


@dataclass
class SharedState:
    """A state of an incident that BigPanda shares, number by number as it happened.

    `arrivals` are when copies of it came in; `answered` when copies of it were answered 2xx. `incident` names the
    entry that the ledger should have of it: the incident's id, and, where those are not the usual, its channel and
    the recipients in the webhook's URL.
    """

    incident: str
    number: int
    at: float
    is_open: bool
    status: str | None
    alerts: frozenset[str]
    changed_on: int | None
    updated_on: int | None
    is_comment: bool = False
    arrivals: list[float] = field(default_factory=list)
    answered: list[float] = field(default_factory=list)
    # When BigPanda's API showed it.
    shown: list[float] = field(default_factory=list)
    channel: str = NOC
    url_recipients: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """The incident's id in BigPanda."""
        return self.incident.partition("@")[0]

    def elsewhere(self, channel: str, url_recipients: tuple[str, ...] = ()) -> "SharedState":
        """The same state as another webhook of BigPanda's tells it."""
        name = entry_name(channel, url_recipients, self.id)
        return replace(self, incident=name, channel=channel, url_recipients=url_recipients, arrivals=[], answered=[])

    @property
    def version(self) -> tuple[int, int] | None:
        """What BigPanda's time stamps say of its place."""
        ahead = BEGINS_AT + self.at + BELIEVED_SECONDS
        stamps = [stamp for stamp in (self.changed_on, self.updated_on) if stamp is not None]
        if any(stamp > ahead for stamp in stamps):
            return None
        return (max(stamps), self.changed_on or 0) if stamps else None

    @property
    def has_wrong_stamps(self) -> bool:
        """Whether its time stamps are of a clock that is wrong, so that only its arrival orders it among others."""
        return self.version is None and self.updated_on is not None

    def tells_the_same(self, other: "SharedState") -> bool:
        """Whether it differs in nothing that makes a state this state."""
        return (self.is_open, self.status, self.alerts) == (other.is_open, other.status, other.alerts)

    def body(self) -> bytes:
        """The webhook's body."""
        stamps = {"changedOn": self.changed_on, "updatedOn": self.updated_on}
        incident: dict[str, Any] = {
            "id": self.id,
            "share": self.number,
            "active": self.is_open,
            "resolved": not self.is_open,
            "alerts": [{"id": alert, "status": self.status or "unknown"} for alert in sorted(self.alerts)],
        }
        if self.status:
            incident["status"] = self.status
        if self.incident != self.id:
            # For the simulated xMatters, which sees no more than a body.
            incident["entry"] = self.incident
        return json.dumps({"incident": incident | {k: v for k, v in stamps.items() if v is not None}}).encode()

    def in_the_api(self, *, is_snoozed: bool) -> dict[str, Any]:
        """What BigPanda says of it to those who ask."""
        stamps = {"changed_at": self.changed_on, "updated_at": self.updated_on}
        return {
            "id": self.incident,
            "share": self.number,
            "active": self.is_open,
            "status": (self.status or "").capitalize() or None,
            "shared": True,
            "end": None if self.is_open else BEGINS_AT + int(self.at),
            "snooze": {"snoozed": is_snoozed},
            "alerts": [{"alert_id": alert, "status": self.status or "unknown"} for alert in sorted(self.alerts)],
            **stamps,
        }

    def __str__(self) -> str:
        kind = "open" if self.is_open else "over"
        stamps = f"changedOn {self.changed_on}, updatedOn {self.updated_on}"
        return f"{self.incident} share {self.number}: {kind}, {self.status}, {len(self.alerts)} alerts, {stamps}"


@dataclass(frozen=True)
class Post:
    """A copy of a share that BigPanda sends at a moment; one that `is_lost` never gets anywhere."""

    at: float
    state: SharedState
    is_lost: bool = False


@dataclass(frozen=True)
class Said:
    """What somebody answers in xMatters, at a moment; it is called back once or twice.

    Or what somebody forged who has the callback's token: they know no page, and xMatters does not know them.
    """

    at: float
    number: int
    incident: str
    response: str
    copies: int
    is_forged: bool = False

    @property
    def who(self) -> str:
        """Who answers, in words."""
        return "a stranger" if self.is_forged else "somebody"

    def body(self, page: str) -> bytes:
        """The callback's body; `page` is the one that is answered."""
        event = {"number": "page-of-a-stranger" if self.is_forged else page}
        members = {"relay": 1, "kind": "response", "incident_id": self.incident, "event": event}
        person = {"target": "mallory" if self.is_forged else "jdoe"}
        return json.dumps(
            members | {"person": person, "response": self.response, "note": f"answer-{self.number}"}
        ).encode()


@dataclass(frozen=True)
class Nap:
    """While an incident is snoozed in BigPanda; times count from the beginning."""

    incident: str
    begins: float
    ends: float


@dataclass(frozen=True)
class Story:
    """All that a seed decides beforehand; times count from the beginning."""

    policy: dict[str, Any]
    posts: list[Post]
    spells: list[Spell]
    crashes: float
    operations: list[tuple[float, str]]
    rotates_at: float | None
    learns_at: float
    # When the channel rings somebody else, too.
    widens_at: float | None
    # Whether the relay may ask xMatters what became of its signals.
    has_rest: bool
    # What people answer; without any, the channel takes no callbacks.
    answers: list[Said]
    # How often BigPanda is asked for what never came, if at all, and what is snoozed meanwhile.
    looks_every: float | None
    naps: list[Nap]
    # Who is rung for what is critical, if not who is rung for all else.
    routed: list[str]
    # The share of messages on the retry queue that vanish.
    vanishing: float = 0.0
    # The policies of other channels, which share the queues, the workers and the table with the first.
    others: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    # Write units a second above which DynamoDB throttles a key for a while; None: never.
    ceiling: int | None = None
    # When the first channel's inbound token changes, in its secret and in BigPanda.
    token_changes_at: float | None = None

    @property
    def policies(self) -> Mapping[str, Mapping[str, Any]]:
        """The policy of each channel."""
        return {NOC: self.policy, **self.others}

    def words(self) -> Iterator[str]:
        """The story as a person reads it."""
        yield f"policy: {self.policy}"
        yield from (f"policy of {channel}: {policy}" for channel, policy in self.others.items())
        yield f"processes die at {self.crashes:.1%} of all steps"
        yield from (str(spell) for spell in self.spells if spell.share)
        if self.has_rest:
            yield "the relay asks xMatters what became of its signals"
        if self.token_changes_at is not None:
            yield f"BigPanda's token changes at {self.token_changes_at:.0f} s"
        if self.ceiling:
            yield f"DynamoDB throttles a key that takes more than {self.ceiling} write units in a second"
        if self.vanishing:
            yield f"{self.vanishing:.0%} of the messages on the retry queue vanish"
        if self.rotates_at is not None:
            yield f"xMatters' key changes at {self.rotates_at:.0f} s; the secret at {self.learns_at:.0f} s"
        if self.widens_at is not None:
            yield f"the channel gets another recipient at {self.widens_at:.0f} s"
        if self.routed:
            yield f"what is critical rings {', '.join(self.routed)}"
        if self.looks_every is not None:
            yield f"BigPanda is asked every {self.looks_every:.0f} s for what never came"
        yield from (f"{nap.incident} is snoozed from {nap.begins:.0f} s to {nap.ends:.0f} s" for nap in self.naps)
        yield from (
            f"at {each.at:.0f} s {each.who} answers {each.response} for {each.incident}" for each in self.answers
        )
        yield from (f"at {moment:.0f} s an operator does: {deed}" for moment, deed in self.operations)
        yield from (
            f"at {post.at:.1f} s BigPanda posts {post.state}{', which is lost' if post.is_lost else ''}"
            for post in self.posts
        )


def tell(seed: int) -> Story:
    """The story of a seed."""
    random = Random(seed)
    incidents = [_states(random, f"i{number}") for number in range(random.choice([1, 1, 2, 3, 4]))]
    for states in incidents:
        _pair_twins(states)
    posts = [post for states in incidents for post in _posts(random, states)]
    rotates_at = random.uniform(0, 300) if random.random() < 0.15 else None
    policy = _policy(random)
    # What has been told of a seed stays so.
    more = Random(f"more of {seed}")
    looks_every = more.choice([120.0, 300.0]) if more.random() < 0.25 else None
    if looks_every:
        # Of what BigPanda was asked for nobody knows which alerts joined.
        policy |= (
            {"notify_on": [each for each in policy["notify_on"] if each != "grew"]} if "notify_on" in policy else {}
        )
        posts = [replace(post, is_lost=more.random() < 0.25) for post in posts]
    # With other recipients it is another limit.
    widens = random.random() < 0.1 and "max_per_minute_per_recipients" not in policy
    story = Story(
        policy=policy,
        posts=sorted(posts, key=lambda post: post.at),
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
        looks_every=looks_every,
        naps=list(_naps(more, len(incidents))) if looks_every else [],
        routed=["Oncall"] if more.random() < 0.2 and "max_per_minute_per_recipients" not in policy else [],
    )
    story = _with_url_recipients(Random(f"recipients of {seed}"), story)
    story = _with_other_channels(Random(f"channels of {seed}"), story)
    story = _with_a_rush(Random(f"rush of {seed}"), story)
    story = _with_a_ceiling(Random(f"ceiling of {seed}"), story)
    inbound = Random(f"inbound token of {seed}")
    story = replace(story, token_changes_at=inbound.uniform(5, 300) if inbound.random() < 0.15 else None)
    story = _with_a_chorus(Random(f"chorus of {seed}"), story)
    story = _with_haste(Random(f"haste of {seed}"), story)
    if (calm := Random(f"calm of {seed}")).random() < 0.08:
        return _calmed(calm, story)
    return replace(story, vanishing=_vanishing(Random(f"vanishing of {seed}"), story))


def _calmed(random: Random, story: Story) -> Story:
    """Let nothing fail but xMatters' triggers, if anything; the relay asks what became of its signals."""
    spells = [spell for spell in story.spells if spell.service.startswith("xmatters") and random.random() < 0.5]
    return replace(story, spells=spells, crashes=0.0, operations=[], ceiling=None, has_rest=True)


def _with_haste(random: Random, story: Story) -> Story:
    """Let some incidents get worse, or end, while the signal before that is still being sent."""
    if random.random() > 0.08:
        return story
    posts = list(story.posts)
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
    return replace(story, posts=sorted(posts, key=lambda post: post.at))


def _with_a_chorus(random: Random, story: Story) -> Story:
    """Let many people answer at the same moment, so that BigPanda would be asked too often."""
    if not story.answers or random.random() > 0.08:
        return story
    at, first = random.uniform(10, 400), len(story.answers)
    incidents = sorted({said.incident for said in story.answers})
    chorus = [
        Said(at + random.uniform(0, 0.5), first + number, random.choice(incidents), "Not me", 1) for number in range(24)
    ]
    return replace(story, answers=[*story.answers, *chorus])


def _with_url_recipients(random: Random, story: Story) -> Story:
    """Let another webhook, whose URL names recipients, tell of some of the incidents, too."""
    if story.looks_every is not None or random.random() > 0.15:
        return story
    states = list({id(post.state): post.state for post in story.posts}.values())
    for incident in sorted({state.incident for state in states}):
        if random.random() < 0.7:
            names = random.choice([("Ann",), ("Ann", "Bob"), ("Ops",)])
            # It need not tell of all, and it may tell of a state that the first one does not.
            told = [state for state in states if state.incident == incident and random.random() < 0.8]
            copies = sorted((state.elsewhere(NOC, names) for state in told), key=lambda state: state.number)
            _pair_twins(copies)
            story = replace(story, posts=[*story.posts, *_posts(random, copies)])
    return replace(story, posts=sorted(story.posts, key=lambda post: post.at))


def _with_other_channels(random: Random, story: Story) -> Story:
    """Let other channels share the queues, the workers and the table; one of them all may be sick for long."""
    if random.random() > 0.25:
        return story
    others, posts, spells = {}, list(story.posts), list(story.spells)
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
    return replace(story, others=others, posts=sorted(posts, key=lambda post: post.at), spells=spells)


def _vanishing(random: Random, story: Story) -> float:
    """The share of messages that vanish. A debt has its second leg only if its sender lives and the ledger works."""
    is_steady = (
        not story.crashes
        # What an operator moves, or a reconcile run queues, has no row until a worker has it.
        and not story.operations
        and not story.looks_every
        and story.ceiling is None
        and not any(spell.service in {"dynamodb", "secrets"} for spell in story.spells)
    )
    return random.choice([0.05, 0.3, 1.0]) if random.random() < 0.5 and is_steady else 0.0


def _with_a_ceiling(random: Random, story: Story) -> Story:
    """Let DynamoDB throttle keys that are written often: the real ceiling is 1,000 units a second."""
    if random.random() > 0.08:
        return story
    spell = Spell("dynamodb", "throttles", 0.0, STORM_SECONDS, 0.0)
    return replace(story, ceiling=random.choice([3, 6, 12]), spells=[*story.spells, spell])


def _with_a_rush(random: Random, story: Story) -> Story:
    """Let many incidents come to one channel within a minute, so that they wait; perhaps its trigger fails for a while.

    Nothing else that it needs fails. Another channel's trigger may hang meanwhile, with as many incidents.
    """
    if random.random() > 0.15:
        return story
    policy = _policy(random) | {"max_per_minute": random.choice([2, 3, 6, 10, 60])}
    policy.pop("max_per_minute_per_recipients", None)
    spells = [spell for spell in story.spells if spell.service not in {"sqs", "dynamodb", "lambda", "secrets", "sns"}]
    posts = [*story.posts, *_rush(random, "busy", random.choice([6, 10, 16]))]
    others = {**story.others, "busy": policy}
    if random.random() < 0.5:
        begins = random.uniform(0, 100)
        is_long = random.random() < 0.3
        if is_long:
            # Long enough for the longest backoff, so that nothing may be too old before.
            policy["max_age_seconds"] = 21600
        ends = begins + (random.uniform(1500, 2500) if is_long else random.uniform(20, 500))
        fault = random.choice(["503", "gone", "429"])
        spells.append(Spell("xmatters/busy", fault, begins, ends, 1.0))
    if random.random() < 0.4:
        others["sick"] = _policy(random)
        posts += _rush(random, "sick", random.choice([6, 12]))
        ends, fault = random.uniform(100, STORM_SECONDS), random.choice(["timeout", "timeout", "slow"])
        spells.append(Spell("xmatters/sick", fault, 0.0, ends, 1.0))
    posts.sort(key=lambda post: post.at)
    return replace(story, posts=posts, others=others, spells=spells, crashes=0.0, operations=[])


def _rush(random: Random, channel: str, incidents: int) -> Iterator[Post]:
    """Shares of many incidents that open within a minute, in good order."""
    for number in range(incidents):
        at, is_open, status = random.uniform(0, 60), True, random.choice(["critical", "warning", "unknown"])
        for place in range(random.choice([1, 1, 2, 3, 4])):
            if place:
                at += 2 + random.expovariate(1 / 40)
                is_open = random.random() < 0.75
                status = random.choice(["critical", "warning", "unknown"]) if is_open else "ok"
            stamp = int(BEGINS_AT + at)
            state = SharedState(f"i{number}", place, at, is_open, status, frozenset({"a0"}), stamp, stamp)
            yield Post(at, state.elsewhere(channel))


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
            changed += random.choice(AHEAD_SECONDS)
            if abs(changed - BEGINS_AT - at - BELIEVED_SECONDS) < UNCLEAR_SECONDS:
                changed += AHEAD_SECONDS[0]
        said = None if is_open and random.random() < 0.03 else status
        states.append(SharedState(incident, number, at, is_open, said, frozenset(alerts), changed, updated, is_comment))
    return states


def _pair_twins(states: list[SharedState]) -> None:
    """What tells the very same with the very same time stamps comes, for all that anybody can know, once.

    Without time stamps, only what comes right after the same is taken for it.
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
