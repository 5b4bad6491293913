"""Stories of settings, sizes and damages that the other stories leave out, in place of some of those."""

from copy import replace
from random import Random
from typing import Any

from tests.simulation.cloud import USUAL
from tests.simulation.narrow_stories import incidents, not_me, one_of, plain
from tests.simulation.settings import Settings, Timeline, moment, with_routes
from tests.simulation.story import (
    BOSS,
    NOC,
    QUIET,
    Said,
    SharedState,
    Story,
    alone,
    course,
    in_time,
    plain_policy,
    roomy,
    stamped,
    waits,
    with_rarities,
)
from tests.simulation.weather import Spell

# A stored job has up to 390 KB, and a message 1 MiB: characters of a description that is too long for either.
TOO_LONG_TO_STORE, TOO_LONG_TO_QUEUE = 430_000, 1_150_000


def _with_snoozed_criticals(random: Random, story: Story) -> Story:
    """Return a story of criticals that nobody may hear, some of which people snooze in BigPanda: a share says so."""
    states: list[SharedState] = []
    for number in range(random.choice([3, 4])):
        statuses = random.choice(["critical critical", "critical critical ok critical", "critical critical critical"])
        own = course(f"z{number}", random.uniform(0, 60), statuses, waits(random, 50.0, 150.0, 400.0))
        is_snoozed = random.random() < 0.7
        states += [replace(state, is_snoozed=is_snoozed and state.number == 1) for state in own]
    policy = {"confirm_resolve": False, "notify_on": ["opened", "worsened", "eased", "resolved", "reopened"]}
    receipts = {
        "notified_within_seconds": random.choice([0.0, 120.0]),
        "answered_within_seconds": random.choice([300.0, 600.0]),
    }
    members = {"answers": not_me(1500.0, "z0"), "has_rest": True, "has_dead_ends": random.random() < 0.5}
    return plain(story, in_time(states), policy=policy, routed=(), receipts=receipts, **members)


def _with_assignments(random: Random, story: Story) -> Story:
    """Return a story of acknowledgements, by which BigPanda's incidents are assigned to people."""
    states = incidents(random, "a", [2, 3], ["critical", "warning critical", "critical ok"], 60, 60.0, 200.0)
    answers: list[Said] = []
    for name in sorted({state.incident for state in states}):
        for _ in range(random.choice([1, 2])):
            at, response = random.uniform(80, 400), random.choice(["Acknowledge", "Acknowledge", "Not me"])
            said = Said(at, len(answers), name, response, random.choice([1, 2]), person=random.choice(["jdoe", "ed"]))
            answers.append(replace(said, is_forged=random.random() < 0.2))
    ends = random.uniform(200, 500)
    spells = [
        Spell("bigpanda", random.choice(["503", "429", "timeout did it"]), 100.0, ends, random.choice([0.3, 1.0]))
    ]
    members: dict[str, Any] = {"answers": answers, "has_rest": True, "assigns": True}
    kind = random.random()
    if kind > 0.85:
        # The first of two people is verified after the second: xMatters' API did not answer then.
        answers[:] = [Said(150.0 + 8 * number, number, "a0", "Acknowledge", 1, person=who) for number, who in _TWO]
        states = course("a0", 60.0, "critical critical", waits(random, 300.0))
        spells = [Spell("rest", "503", 150.0, random.uniform(155, 158), 1.0)]
    spells = spells if kind < 0.5 or kind > 0.85 else []
    return plain(story, in_time(states), policy={"confirm_resolve": False}, routed=(), spells=spells, **members)


_TWO = ((0, "jdoe"), (1, "ed"))


def _with_withheld_updates(random: Random, story: Story) -> Story:
    """Return a story of incidents whose updates BigPanda withholds until their first shares are reported."""
    states = incidents(random, "h", [3, 5], ["critical ok", "warning critical", "warning"], 100, 60.0)
    services = random.sample(["bigpanda", "xmatters"], random.choice([0, 1]))
    spells = [Spell(service, random.choice(["503", "timeout"]), 0.0, 300.0, 1.0) for service in services]
    members = {"answers": not_me(1500.0, "h0"), "withholds": True}
    return plain(story, in_time(states), policy={"confirm_resolve": False}, spells=spells, **members)


def _with_poison(random: Random, story: Story) -> Story:
    """Return a story of incidents whose signals kill each worker, among others."""
    states = incidents(random, "p", [2, 3], ["critical", "warning"], 20, 60.0)
    poison = frozenset(state.incident for state in states if random.random() < 0.6) or {states[0].incident}
    spells = [Spell("xmatters", random.choice(["503", "gone"]), 0.0, random.uniform(40, 60), 1.0)]
    return plain(story, in_time(states), routed=(), spells=spells, poison=frozenset(poison))


def _with_many_sick_channels(random: Random, story: Story) -> Story:
    """Return a story of many channels whose triggers fail at once, so that people get one message about all."""
    others = {
        f"c{number}": roomy(story.policy, min_seconds_between_signals=0) for number in range(random.choice([5, 7]))
    }
    states = [
        state.elsewhere(channel)
        for channel in others
        for state in course(
            f"i{channel}", random.uniform(0, 40), random.choice(["critical", "warning"]), waits(random, 1.0)
        )
    ]
    ends, fault = random.uniform(1000, 1500), random.choice(["503", "gone"])
    spells = [Spell(f"xmatters/{channel}", fault, 0.0, ends, 1.0) for channel in others]
    topics = random.choice([("alarm", "notice"), ("alarm",), ("notice",)])
    return plain(story, in_time(states), others=others, spells=spells, topics=topics)


def _with_large_shares(random: Random, story: Story) -> Story:
    """Return a story of shares that are too large for the ledger or the queue, and that have to wait."""
    states: list[SharedState] = []
    for number in range(random.choice([1, 2])):
        size, team = random.choice([TOO_LONG_TO_STORE, TOO_LONG_TO_QUEUE]), random.choice(["web", "db"])
        own = course(
            f"l{number}", random.uniform(0, 40), random.choice(["critical", "critical ok"]), waits(random, 60.0)
        )
        states += [replace(state, environment="prod-eu", team=team, padding=size) for state in own]
    # The tags name the recipients, also of what is cut to fit.
    routes = with_routes([({"tag.team": ["web"]}, "Web"), ({"tag.team": ["db"]}, "Dba")])
    spells = [Spell("xmatters", random.choice(["503", "gone"]), 0.0, random.uniform(100, 300), 1.0)]
    vanishing = random.choice([0.0, 1.0])
    members = {"timelines": {NOC: Timeline([routes])}, "vanishing": vanishing, "routed": ()}
    return plain(story, in_time(states), spells=spells, **members)


def _with_damaged_entries(random: Random, story: Story) -> Story:
    """Return a story of incidents whose ledger entries become unreadable while they are open."""
    states = incidents(random, "d", [2, 3], ["critical ok", "warning critical ok", "critical"], 60, 150.0)
    damaged = [(random.uniform(60, 150), name) for name in sorted({state.incident for state in states})]
    spells = [Spell("xmatters", "503", 0.0, random.uniform(30, 200), 1.0)] if random.random() < 0.4 else []
    policy = {"notify_on": ["opened", "worsened", "reopened", "resolved"]}
    return plain(story, in_time(states), policy=policy, routed=(), spells=spells, damaged=damaged)


def _with_refused_recipients(random: Random, story: Story) -> Story:
    """Return a story of webhooks whose URLs name people whom the channel permits, and one whom it does not."""
    states = incidents(random, "u", [2, 3], ["critical ok", "warning critical"], 60, 60.0)
    named = [("Ann",), ("Bob", "Ann"), ("Ops", "Bob")]
    states = [state.elsewhere(NOC, named[int(state.id[1:])]) for state in states]
    policy = {"allowed_recipients": ["ann", "b?b", "ops"]}
    return plain(story, in_time(states), policy=policy, routed=(), refused_recipient="Mallory")


def _with_unheard_updates(random: Random, story: Story) -> Story:
    """Return a story of criticals that nobody hears, and that get alerts while xMatters takes no signal."""
    states = incidents(random, "w", [2, 3], ["critical critical", "critical critical critical"], 40, 200.0)
    policy = {"confirm_resolve": False, "notify_on": ["opened", "worsened", "grew", "resolved"]}
    spells = [Spell("xmatters", random.choice(["503", "gone"]), 60.0, random.uniform(300, 600), 1.0)]
    receipts = {"notified_within_seconds": 120.0}
    members = {"answers": not_me(1500.0, "w0"), "has_rest": True, "has_dead_ends": True, "receipts": receipts}
    story = plain(story, in_time(states), policy=policy, routed=(), spells=spells, **members)
    return replace(story, policy={**story.policy, "unanswered_recipients": [BOSS]})


def _with_second_replays(random: Random, story: Story) -> Story:
    """Return a story of signals that are refused, also when an operator replays them, and that are replayed again."""
    states = incidents(random, "r", [1, 2], ["critical", "warning"], 40, 60.0)
    ends = random.uniform(200, 300)
    replays = [(random.uniform(60, 150), "replay"), (ends + random.uniform(100, 900), "replay")]
    spells = [Spell("xmatters", "refused", 0.0, ends, 1.0)]
    policy = {"max_age_seconds": random.choice([100, 300])}
    return plain(story, in_time(states), policy=policy, routed=(), spells=spells, operations=replays)


def _with_doubtful_comments(random: Random, story: Story) -> Story:
    """Return a story of answers whose comments may be written: BigPanda fails after it wrote them, and then refuses."""
    states = incidents(random, "c", [2, 3], ["critical", "warning critical"], 60, 30.0)
    answers = [
        Said(100.0 + 4 * int(each[1:]), int(each[1:]), each, "Not me", 1)
        for each in sorted({s.incident for s in states})
    ]
    after = random.uniform(112, 135)
    spells = [
        Spell("bigpanda", "timeout did it", 90.0, after, 1.0),
        Spell("bigpanda", random.choice(["503", "429"]), after, after + random.uniform(20, 120), 1.0),
    ]
    return plain(story, in_time(states), policy={"confirm_resolve": False}, spells=spells, answers=answers)


def _with_long_lives(random: Random, story: Story) -> Story:
    """Return a story of an incident with more signals than its entry remembers, whose last pages end with it."""
    statuses = " ".join(["critical warning"] * random.choice([9, 10]))
    states = course("l0", random.uniform(0, 40), f"{statuses} ok", waits(random, 62.0))
    policy = {"replace": False, "notify_on": ["opened", "worsened", "eased", "resolved"], "confirm_resolve": False}
    return plain(story, in_time(states), policy=policy, routed=(), has_rest=True)


def _with_unanswered_questions(random: Random, story: Story) -> Story:
    """Return a story of criticals that devices get, and of which xMatters' API does not say so when it is asked."""
    states = incidents(random, "q", [1, 2], ["critical"], 20, 60.0)
    # The first question comes 45 seconds before the notification is late.
    at = states[0].at + 120 - 45 + random.uniform(-8, 1)
    spells = [Spell("rest", "503", at, at + random.uniform(4, 9), 1.0)]
    members = {"has_rest": True, "receipts": {"notified_within_seconds": 120.0}}
    return plain(story, in_time(states), routed=(), spells=spells, **members)


def _with_a_second_critical(random: Random, story: Story) -> Story:
    """Return a story of incidents that end and open again in an outage, after people were told of the first time."""
    states = incidents(random, "b", [1, 2], ["warning critical ok critical"], 30, 90.0, 150.0)
    delay = random.choice([30, 60])
    spells = [Spell("xmatters", random.choice(["503", "gone"]), random.uniform(35, 60), 1500.0, 1.0)]
    policy = {"confirm_resolve": False, "fallback_after_seconds": delay}
    return plain(story, in_time(states), policy=policy, routed=(), spells=spells, has_rest=random.random() < 0.3)


def _with_comments_in_flight(random: Random, story: Story) -> Story:
    """Return a story of criticals that nobody may hear, and of further shares of them while they are being sent."""
    courses = ["critical critical", "warning critical critical", "critical critical critical"]
    states = incidents(random, "f", [2, 3], courses, 60, 1.5, 3.0)
    spells = [Spell("xmatters", "slow", 0.0, random.uniform(60, 200), 1.0)]
    receipts = {"notified_within_seconds": 120.0, "answered_within_seconds": random.choice([0.0, 600.0])}
    members = {"answers": not_me(1500.0, "f0"), "has_rest": True, "has_dead_ends": True, "receipts": receipts}
    policy = {"confirm_resolve": False, "notify_on": ["opened", "worsened", "resolved"]}
    return plain(story, in_time(states), policy=policy, routed=(), spells=spells, **members)


def _with_a_pause_in_a_pause(random: Random, story: Story) -> Story:
    """Return a story of a long pause that leaves out what comes, and of a short one in it that keeps it."""
    begins = random.randrange(5, 40)
    keeps_at, keeps_until, ends = begins + random.randrange(20, 60), 200, random.randrange(300, 700)
    pauses = [
        {"since": moment(since), "until": moment(until), "then": then}
        for since, until, then in ((begins, ends, "drop"), (keeps_at, keeps_until, "keep"))
    ]
    random.shuffle(pauses)
    states = [state.elsewhere(QUIET) for state in incidents(random, "n", [4, 6], ["critical", "warning"], 250, 1.0)]
    story = alone(story, in_time(states), cloud=USUAL)
    others = {QUIET: plain_policy()}
    return replace(story, others=others, timelines={QUIET: Timeline([Settings(0, pauses=tuple(pauses))])})


def _with_changes_in_the_dark(random: Random, story: Story) -> Story:
    """Return a story of criticals that ease and come back within two minutes, while the ledger fails for longer."""
    states = incidents(random, "j", [2, 3], ["critical warning critical", "critical"], 60, 20.0, 45.0)
    spells = [Spell("dynamodb", random.choice(["refuses", "refuses writes"]), 0.0, random.uniform(500, 900), 1.0)]
    return plain(story, in_time(states), routed=(), spells=spells)


def _with_a_worse_state_in_shadow(random: Random, story: Story) -> Story:
    """Return a story of incidents that ease without a signal, and get worse again in the channel's shadow mode."""
    begins, ends = random.randrange(150, 250), random.randrange(400, 500)
    states: list[SharedState] = []
    for number in range(random.choice([2, 3])):
        first, worse = random.uniform(0, 60), random.uniform(begins + 20, ends - 20)
        times = iter([first, first + random.uniform(40, 80), worse, ends + random.uniform(30, 90)])
        statuses = ("critical", "warning", "critical", "critical")
        own = [stamped(f"k{number}", place, next(times), each, place + 1) for place, each in enumerate(statuses)]
        states += [state.elsewhere(QUIET) for state in own]
    story = alone(story, in_time(states), cloud=USUAL)
    wants = ["opened", "worsened", "reopened", "resolved"]
    others = {QUIET: plain_policy(notify_on=wants)}
    return replace(story, others=others, timelines={QUIET: Timeline.shadowed(begins, ends)})


def _with_flaps_that_a_person_knows(random: Random, story: Story) -> Story:
    """Return a story of criticals that people acknowledge, and that ease and come back."""
    states = incidents(
        random, "g", [2, 3], ["critical warning critical", "critical warning critical warning"], 40, 200.0
    )
    firsts = [state for state in states if state.number == 0]
    answers = [
        Said(state.at + random.uniform(5, 20), number, state.incident, "Acknowledge", 1)
        for number, state in enumerate(firsts)
    ]
    flap = {"transitions": random.choice([2, 3, 9]), "minutes": random.choice([1, 20])}
    policy = {"confirm_resolve": False, "flap": flap, "notify_on": ["opened", "worsened", "eased", "resolved"]}
    return plain(story, in_time(states), policy=policy, routed=(), answers=answers, has_rest=True)


_KINDS = (
    _with_snoozed_criticals,
    _with_assignments,
    _with_withheld_updates,
    _with_poison,
    _with_many_sick_channels,
    _with_large_shares,
    _with_damaged_entries,
    _with_refused_recipients,
    _with_unheard_updates,
)
_LATER_KINDS = (_with_second_replays, _with_doubtful_comments, _with_long_lives, _with_unanswered_questions)

_NEWEST_KINDS = (
    _with_a_second_critical,
    _with_comments_in_flight,
    _with_a_pause_in_a_pause,
    _with_changes_in_the_dark,
    _with_a_worse_state_in_shadow,
    _with_flaps_that_a_person_knows,
)


def with_rare_conditions(seed: int, story: Story) -> Story:
    """Return the story, or one with a rare condition in its place."""
    rarities = (
        ("rarities of {}", 0.1099, 0.2299, one_of(_KINDS)),
        ("late rarities of {}", 0.325, 0.365, one_of(_LATER_KINDS)),
        ("newest rarities of {}", 0.1435, 0.1765, one_of(_NEWEST_KINDS)),
    )
    return with_rarities(seed, story, rarities)
