"""Stories with operators who change a channel while its incidents come."""

from collections.abc import Callable, Iterator, Sequence
from copy import replace
from random import Random
from typing import Literal

from relayctl.channel import pauses
from relayctl.channel.secret_document import SecretDocument
from tests.simulation import story as stories
from tests.simulation.cloud import USUAL
from tests.simulation.dead_letter_deeds import DEEDS
from tests.simulation.narrow_stories import with_narrow_kind
from tests.simulation.rare_stories import with_rare_conditions
from tests.simulation.settings import Pause, Settings, Timeline, When, with_routes
from tests.simulation.story import (
    NOC,
    RANKS,
    STORM_SECONDS,
    Post,
    Rarity,
    SharedState,
    Story,
    in_time,
    plain_policy,
    stamped,
    trouble,
    with_rarities,
)
from tests.simulation.weather import FAULTS, Spell
from tests.simulation.world import BEGINS_AT

# Fate of the states that a pause holds.
type Then = Literal["keep", "drop"]
# The channel that operators change.
CHANGED = "changed"
# Operators act, and shares come, within this time (seconds since the beginning).
ACTS_SECONDS, SHARES_SECONDS = 900, 1200
ENVIRONMENTS, TEAMS = ("prod-eu", "prod-us", "staging"), ("web", "db")
_CONDITIONS: tuple[When, ...] = (
    {},
    {},
    {"environment": ["staging"]},
    {"environment": ["prod*"]},
    {"tag.team": ["web"]},
    {"status": ["warning"]},
    {"environment": ["prod-*"], "tag.team": ["db"]},
)
_ROUTES: tuple[tuple[When, str], ...] = (
    ({"environment": ["prod-eu"]}, "Europe"),
    ({"environment": ["prod*"], "tag.team": ["db"]}, "Dba"),
    ({"tag.team": ["web"]}, "Web"),
    ({"status": ["critical"]}, "Oncall"),
)


def tell(seed: int) -> Story:
    """Return the story of a seed, with operators in some of them."""
    # Another generator, so that the earlier choices of a seed stay the same.
    random, story = Random(f"operators of {seed}"), stories.tell(seed)
    story = _with_changes(random, story) if random.random() < 0.06 else story
    story = _with_drops(random, story) if random.random() < 0.06 else story
    story = with_rarities(seed, story, _PAUSES)
    if interval := story.reconcile_interval:
        story = _with_routes(random, story) if random.random() < 0.25 else story
        story = _with_reports(random, story) if random.random() < 0.25 else story
        story = (
            _with_close_shares(random, story, story.reconcile_interval or interval) if random.random() < 0.2 else story
        )
    story = with_narrow_kind(seed, with_rarities(seed, story, _FACTS))
    story = with_rarities(seed, story, [("moves of dead letters of {}", 0.7, 0.9, _with_moves)])
    return with_rare_conditions(seed, story)


def _with_moves(random: Random, story: Story) -> Story:
    """Return the story with operators who move dead letters, unless some do, or messages vanish."""
    if story.operations or story.vanishing:
        # A vanished message may be the only copy of what an operator moved.
        return story
    times = (random.uniform(50, 2 * STORM_SECONDS) for _ in range(random.choice([1, 2])))
    return replace(story, operations=sorted((at, random.choice(["redrive", "replay"])) for at in times))


def _with_changes(random: Random, story: Story) -> Story:
    """Return the story with a further channel that operators change while its incidents come."""
    policy = plain_policy(
        preset=random.choice(["parity", "parity", "oncall"]),
        min_seconds_between_signals=random.choice([0, 0, 15]),
        max_age_seconds=random.choice([300, 3600, 3600]),
        fallback_after_seconds=random.choice([60, 300]),
    )
    change = random.choice([_paused, _paused, _paused_in_turn, _shadowed, _remade, _paused_and_shadowed])
    posts, spells = list(_shares(random, random.choice([3, 6, 10]))), list[Spell]()
    story = _with_topics(random, story)
    if random.random() < 0.4:
        spells.append(trouble(random, f"xmatters/{CHANGED}", ["503", "gone", "timeout rang"], 600, (20, 300)))
    timelines = {**story.timelines, CHANGED: Timeline(change(random, _first(random)))}
    return story.with_more(posts, spells, others={**story.others, CHANGED: policy}, timelines=timelines)


def _with_a_narrow_pause(random: Random, story: Story) -> Story:
    """Return a story of a channel that is paused for some of its incidents, and whose trigger fails for long."""
    when: When = random.choice(_CONDITIONS[2:])
    begins = random.randrange(5, 60)
    pause = _paused_for(Settings(0), begins, begins, begins + 2000, random.choice(["keep", "drop"]), when)
    return _while_the_trigger_fails(random, story, [Settings(0), pause])


def _with_a_planned_pause(random: Random, story: Story) -> Story:
    """Return a story of a channel whose trigger fails, while a pause is planned that begins 10 to 60 minutes later."""
    when: When = random.choice([{}, {}, {"environment": ["prod*"]}])
    at = random.randrange(5, 60)
    since = at + random.randrange(600, 3600)
    until = since + random.randrange(300, 900)
    then: Then = random.choice(["keep", "drop"])
    pause = _paused_for(Settings(0), at, since, until, then, when, "gets a planned pause")
    return _while_the_trigger_fails(random, story, [Settings(0), pause])


def _with_a_resumed_pause(random: Random, story: Story) -> Story:
    """Return a story of a channel with two long pauses for some incidents each, of which an operator ends one early."""
    begins, ends = random.randrange(5, 200), random.randrange(300, 700)
    one, two = random.sample(_CONDITIONS[2:], 2)
    first = _paused_for(Settings(0), begins, begins, begins + 3000, "keep", one)
    both = _paused_for(first, begins + 50, begins + 50, begins + 3000, random.choice(["keep", "drop"]), two)
    when = {fact: list(patterns) for fact, patterns in one.items()}
    resumed = _edited(both, ends, "is resumed", lambda document: pauses.end(document, when, float(BEGINS_AT + ends)))
    policy = plain_policy(min_seconds_between_signals=random.choice([0, 15]))
    members = {"others": {CHANGED: policy}, "timelines": {CHANGED: Timeline([Settings(0), first, both, resumed])}}
    return stories.alone(story, _shares(random, 8), **members)


def _with_disordered_pauses(random: Random, story: Story) -> Story:
    """Return a story of two pauses with a short time between them, of which an operator planned the later one first.

    The trigger fails until the second pause, which lasts longer than the states' greatest age.
    """
    begins, ends = random.randrange(10, 40), random.randrange(550, 700)
    since = ends + random.randrange(60, 250)
    until = since + random.randrange(400, 900)
    later = _paused_for(Settings(0), 0, since, until, "keep", {}, "is made")
    both = _paused_for(later, 0, begins, ends, "keep", {}, "is made")
    story = _while_the_trigger_fails(random, story, [both])
    spells = [replace(each, ends=random.uniform(since, until)) for each in story.spells]
    return replace(story, spells=spells, others={CHANGED: {**story.others[CHANGED], "max_age_seconds": 300}})


def _with_a_long_pause(random: Random, story: Story) -> Story:
    """Return a story of states that fail before a pause, which lasts longer than their stored jobs would have."""
    at = random.randrange(250, 500)
    until = at + random.randrange(2200, 3000)
    pause = _paused_for(Settings(0), at, at, until, "keep", {})
    story = _while_the_trigger_fails(random, story, [Settings(0), pause])
    cloud = replace(USUAL, job_margin=900.0, deleted_late=random.choice([0.0, 300.0]))
    return replace(story, cloud=cloud, others={CHANGED: {**story.others[CHANGED], "max_age_seconds": 900}})


def _with_an_unread_pause(random: Random, story: Story) -> Story:
    """Return a story of a channel that is paused while the ledger fails, so that no mark tells of the pause."""
    at = random.randrange(60, 300)
    pause = _paused_for(Settings(0), at, at, at + random.randrange(300, 1000), random.choice(["keep", "drop"]), {})
    spell = Spell("dynamodb", "refuses", at - random.uniform(5, 60), at + random.uniform(200, 400), 1.0)
    others = {CHANGED: plain_policy(min_seconds_between_signals=0)}
    members = {"others": others, "timelines": {CHANGED: Timeline([Settings(0), pause])}}
    return stories.alone(story, _shares(random, 14), spells=[spell], **members)


def _while_the_trigger_fails(random: Random, story: Story, settings: list[Settings]) -> Story:
    """Return a story of a channel with these settings over time, whose trigger fails for long."""
    policy = plain_policy(fallback_after_seconds=random.choice([60, 300]))
    spell = Spell(f"xmatters/{CHANGED}", random.choice(["503", "gone"]), 0.0, random.uniform(900, 1500), 1.0)
    members = {"others": {CHANGED: policy}, "timelines": {CHANGED: Timeline(settings)}}
    return stories.alone(story, _shares(random, 6), spells=[spell], **members)


def _with_routes(random: Random, story: Story) -> Story:
    """Return the story with routes and pauses of the first channel, which also apply to what reconcile runs find.

    The ledger does not keep the facts for the confirmation of a resolve, so nothing is confirmed.
    """
    settings = _first(random)
    for _ in range(random.choice([0, 1, 2])):
        settings = _new(random, settings, random.randrange(0, 600))
    pauses = tuple(each for each in settings.pauses if each.get("when"))
    places = {post.state.id: (random.choice(ENVIRONMENTS), random.choice(TEAMS)) for post in story.posts}
    for state in {id(post.state): post.state for post in story.posts if post.state.channel == NOC}.values():
        state.environment, state.team = places[state.id]
    policy = {name: value for name, value in story.policy.items() if name != "max_per_minute_per_recipients"}
    timelines = {**story.timelines, NOC: Timeline([replace(settings, at=0, pauses=pauses)])}
    return replace(story, policy=policy, widens_at=None, routed=(), timelines=timelines)


def _with_lost_facts(random: Random, story: Story) -> Story:
    """Return a story of incidents that lose their team, and maybe their environment, before a share is lost.

    The first channel has routes that ask for both, and a reconcile run finds the incidents' last states.
    """
    posts, chosen = list[Post](), random.sample(_ROUTES[:3], random.choice([2, 3]))
    for number in range(random.choice([2, 3, 4])):
        at, environment, team = random.uniform(0, 100), random.choice(ENVIRONMENTS), random.choice(TEAMS)
        statuses = random.choice([("warning", "warning", "critical"), ("warning", "critical", "warning")])
        for place, status in enumerate(statuses):
            if place == 1:
                environment, team = random.choice([environment, ""]), ""
            state = replace(stamped(f"i{number}", place, at, status), environment=environment, team=team)
            posts.append(Post(at, state, is_lost=place == len(statuses) - 1))
            at += random.uniform(60, 200)
    policy = plain_policy(replace=story.policy["replace"])
    interval, timelines = random.choice([120.0, 300.0]), {NOC: Timeline([with_routes(chosen)])}
    members = {"routed": (), "reconcile_interval": interval, "timelines": timelines}
    return stories.alone(story, posts, policy=policy, **members)


def _with_late_tags(random: Random, story: Story) -> Story:
    """Return a story of incidents whose team comes to be known some time after them, and changes again in some."""
    states: list[SharedState] = []
    for number in range(random.choice([2, 3, 4])):
        at, environment = random.uniform(0, 60), random.choice(ENVIRONMENTS)
        course = random.choice(
            [("", "db"), ("", "web"), ("", "db", "web"), ("web", "db"), ("", "", "db"), ("db", ""), ("", "db", "db")]
        )
        status = random.choice(["critical", "warning"])
        for place, team in enumerate(course):
            state = stamped(f"t{number}", place, at, status)
            states.append(replace(state, environment=environment, team=team))
            at += random.choice([20.0, 120.0, 400.0, 800.0]) * random.uniform(0.7, 1.3)
        if random.random() < 0.4:
            state = stamped(f"t{number}", len(course), at, "ok")
            states.append(replace(state, environment=environment, team=course[-1]))
    policy = plain_policy(preset="oncall", replace=story.policy["replace"])
    spells = []
    if random.random() < 0.4:
        service = random.choice(["xmatters", "xmatters", "sqs", "dynamodb"])
        spells = [trouble(random, service, FAULTS[service], 600, (20, 300))]
    settings = with_routes([({"tag.team": ["db"]}, "Dba"), ({"tag.team": ["web"]}, "Web")])
    members = {"routed": (), "spells": spells, "timelines": {NOC: Timeline([settings])}}
    return stories.alone(story, in_time(states), policy=policy, **members)


def _with_reports(random: Random, story: Story) -> Story:
    """Return the story with reconcile runs that only report, or with a new API key."""
    reports, rotates = random.random() < 0.7, random.random() < 0.4
    posts = story.posts
    if reports:
        # Incidents of which no share comes.
        names = {post.state.id for post in posts if post.state.channel == NOC and random.random() < 0.4}
        posts = [replace(post, is_lost=post.is_lost or post.state.incident in names) for post in posts]
    changes_at = random.uniform(50, 900) if rotates else None
    return replace(story, posts=posts, reports=reports, api_key_changes_at=changes_at)


def _with_close_shares(random: Random, story: Story, interval: float) -> Story:
    """Return the story with incidents that end while a reconcile run asks BigPanda for their lost first states.

    They have no timestamps, and BigPanda answers slowly.
    """
    run, posts, names = interval * random.choice([2, 3, 4]), list[Post](), ["n0", "n1"][: random.choice([1, 2])]
    for name in names:
        at = run - interval - random.uniform(2, 20)
        posts.append(Post(at, SharedState(name, 0, at, True, "critical", frozenset({"a0"}), None, None), is_lost=True))
    spell = Spell("bigpanda", "slow answer", run - 5, run + 60, 1.0)
    return story.with_more(posts, [spell], ending=frozenset(names))


def _with_drops(random: Random, story: Story) -> Story:
    """Return the story with operators who drop, export and import dead letters, and with a trigger that fails."""
    deeds = [(random.uniform(50, STORM_SECONDS), random.choice(DEEDS)) for _ in range(random.choice([1, 2, 3, 4]))]
    deeds += [(random.uniform(200, 2 * STORM_SECONDS), "replay")] if random.random() < 0.4 else []
    spell = trouble(random, "xmatters", ["refused", "503"], 100, (60, 500))
    policy = {**story.policy, "max_age_seconds": random.choice([100, 300])}
    operations = sorted([*story.operations, *deeds])
    story = _with_topics(random, story)
    # A vanished message may be the only copy of what an operator then finds neither on a queue nor dead-lettered.
    return story.with_more(spells=[spell], policy=policy, operations=operations, vanishing=0.0)


def _with_topics(random: Random, story: Story) -> Story:
    """Return the story, often with topics about the health of channels."""
    return story if story.topics or random.random() < 0.4 else replace(story, topics=("alarm", "notice"))


def _shares(random: Random, incidents: int) -> Iterator[Post]:
    """Yield shares of incidents with an environment and a team, which may change."""
    for number in range(incidents):
        at, status, pace = random.uniform(0, 500), random.choice(["critical", "critical", "warning"]), [20, 100, 200]
        severity = status
        environment, team = random.choice(ENVIRONMENTS), random.choice(TEAMS)
        for place in range(random.choice([1, 2, 3, 4, 6])):
            if place:
                at += 2 + random.expovariate(1 / random.choice(pace))
                status = random.choice([each for each in ("critical", "warning", "ok") if each != status])
                team = random.choice(TEAMS) if random.random() < 0.1 else team
                severity = max(severity, status, key=RANKS.__getitem__)
            if at < SHARES_SECONDS:
                state = stamped(f"i{number}", place, at, status)
                yield Post(at, replace(state, environment=environment, team=team, severity=severity).elsewhere(CHANGED))


def _first(random: Random) -> Settings:
    return with_routes(random.sample(_ROUTES, random.choice([0, 1, 2, 3])))


def _moments(random: Random, number: int) -> list[int]:
    return sorted(random.sample(range(5, ACTS_SECONDS), number))


def _shadowed(random: Random, first: Settings) -> list[Settings]:
    """Return settings with shadow mode from a time on, and back; or live from a time on, and back."""
    modes = random.choice([("live", "shadow", "live"), ("shadow", "live", "shadow")])
    moments = [0, *_moments(random, 2)]
    return [replace(first, at=at, mode=mode, deed=f"gets {mode}") for at, mode in zip(moments, modes, strict=True)]


def _remade(random: Random, first: Settings) -> list[Settings]:
    """Return settings of a channel that is removed, and made anew with other credentials and recipients."""
    at = random.choice(_moments(random, 3))
    removed = replace(first, at=at, deed="is removed", is_removed=True)
    recipients = random.choice([("Ops",), ("Net", "Ops"), ("Net",)])
    made = Settings(at + random.choice([1, 20, 90, 400]), "is made anew", recipients=recipients, credentials=1)
    return [first, removed, made]


def _paused(random: Random, first: Settings) -> list[Settings]:
    """Return settings with pauses that overlap, and that operators prolong, shorten, narrow or end."""
    found = [first]
    for at in _moments(random, random.choice([2, 3, 4, 6])):
        running = [each for each in found[-1].pauses if Pause.of(each).until > BEGINS_AT + at]
        deeds = [_new, _prolonged, _shortened, _narrowed, _ended] if running else [_new]
        found.append(random.choice(deeds)(random, found[-1], at))
    return found


def _paused_in_turn(random: Random, first: Settings) -> list[Settings]:
    """Return settings with two pauses: the second begins at the end of the first, which an operator chose, or later."""
    begins, is_narrowed = random.randrange(20, 120), random.random() < 0.5
    ends = begins + random.randrange(60, 200)
    when: When = {"environment": ["prod*"]} if is_narrowed else {}
    one = _paused_for(first, begins, begins, ends, "keep", when)
    if is_narrowed:
        at, narrower = random.randrange(begins + 10, ends), {"environment": ["prod-eu"]}
        return [first, one, _replaced(one, at, "is paused for fewer", when, at + 300, "keep", narrower)]
    at = ends + random.randrange(20, 100)
    return [first, one, _paused_for(one, at, at, at + 300, "drop", {})]


def _paused_and_shadowed(random: Random, first: Settings) -> list[Settings]:
    pauses, (begins, ends) = _paused(random, first), _moments(random, 2)
    moments = sorted({begins, ends, *(each.at for each in pauses)})
    return [
        replace(
            Timeline(pauses).now(BEGINS_AT + at),
            at=at,
            mode="shadow" if begins <= at < ends else "live",
            deed={begins: "gets shadow", ends: "gets live"}.get(at, Timeline(pauses).now(BEGINS_AT + at).deed),
        )
        for at in moments
    ]


def _edited(settings: Settings, at: int, deed: str, edit: Callable[[SecretDocument], object]) -> Settings:
    """Return the settings after `relayctl channel pause` or `resume` changed the pauses in the secret."""
    document = SecretDocument({"policy": {"pauses": list(settings.pauses)}})
    edit(document)
    return replace(settings, at=at, deed=deed, pauses=tuple(pauses.pauses_of(document)))


def _paused_for(
    settings: Settings, at: int, since: int, until: int, then: Then, when: When, deed: str = "is paused"
) -> Settings:
    return _edited(settings, at, deed, lambda document: _added(document, at, since, until, then, when))


def _added(document: SecretDocument, at: int, since: int, until: int, then: Then, when: When) -> None:
    now, conditions = float(BEGINS_AT + at), {fact: list(patterns) for fact, patterns in when.items()}
    new = pauses.pause(BEGINS_AT + since, BEGINS_AT + until, then, conditions, now)
    pauses.add(document, new, now)


def _new(random: Random, settings: Settings, at: int) -> Settings:
    since = at + random.choice([0, 0, random.randrange(10, 100)])
    until, when = since + random.randrange(30, 500), random.choice(_CONDITIONS)
    return _paused_for(settings, at, since, until, random.choice(["keep", "keep", "drop"]), when)


def _running(random: Random, settings: Settings, at: int) -> tuple[int, Then, When]:
    """Return the end, the kind and the conditions of a pause that has not ended."""
    one = random.choice([each for each in settings.pauses if Pause.of(each).until > BEGINS_AT + at])
    return int(Pause.of(one).until - BEGINS_AT), one["then"], one.get("when", {})


def _prolonged(random: Random, settings: Settings, at: int) -> Settings:
    ends, then, when = _running(random, settings, at)
    return _paused_for(settings, at, at, ends + random.randrange(20, 400), then, when, "is paused for longer")


def _shortened(random: Random, settings: Settings, at: int) -> Settings:
    ends, then, when = _running(random, settings, at)
    return _replaced(settings, at, "is paused more briefly", when, random.randrange(at + 1, ends + 1), then, when)


def _narrowed(random: Random, settings: Settings, at: int) -> Settings:
    ends, then, when = _running(random, settings, at)
    narrower = {**when, **random.choice(_CONDITIONS[2:])}
    return _replaced(settings, at, "is paused for fewer incidents", when, ends, then, narrower)


def _replaced(settings: Settings, at: int, deed: str, before: When, until: int, then: Then, when: When) -> Settings:
    """Return the settings after a pause was ended, and another one made at once."""

    def edit(document: SecretDocument) -> None:
        pauses.end(document, {fact: list(each) for fact, each in before.items()}, float(BEGINS_AT + at))
        _added(document, at, at, until, then, when)

    return _edited(settings, at, deed, edit)


def _ended(random: Random, settings: Settings, at: int) -> Settings:
    when = random.choice([{}, _running(random, settings, at)[2]])
    conditions = {fact: list(patterns) for fact, patterns in when.items()}
    return _edited(settings, at, "is resumed", lambda document: pauses.end(document, conditions, float(BEGINS_AT + at)))


# None of the seeds that the mutations record.
_PAUSES: Sequence[Rarity] = (
    ("narrow pause of {}", 0.15, 0.17, _with_a_narrow_pause),
    ("planned pause of {}", 0.18, 0.2, _with_a_planned_pause),
    ("disorder of pauses of {}", 0.5, 0.52, _with_disordered_pauses),
    ("long pause of {}", 0.355, 0.38, _with_a_long_pause),
    ("resumed pause of {}", 0.79, 0.82, _with_a_resumed_pause),
    ("unread pause of {}", 0.077, 0.105, _with_an_unread_pause),
)
_FACTS: Sequence[Rarity] = (
    ("lost facts of {}", 0.26, 0.28, _with_lost_facts),
    ("late tags of {}", 0.85, 0.86, _with_late_tags),
)
