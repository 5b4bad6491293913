"""Stories for one weakness each, in place of some of those in which no process dies."""

from collections.abc import Iterable, Sequence
from copy import replace
from random import Random
from typing import Any

from tests.simulation.cloud import USUAL
from tests.simulation.settings import Timeline, with_routes
from tests.simulation.story import (
    BOSS,
    NOC,
    QUIET,
    Change,
    Nap,
    Post,
    Rarity,
    Said,
    SharedState,
    Story,
    alone,
    course,
    in_time,
    roomy,
    waits,
    with_rarities,
)
from tests.simulation.weather import FAULTS, Spell

# Stories in which so many processes die stay, too.
MANY_CRASHES = 0.01


def with_narrow_kind(seed: int, story: Story) -> Story:
    """Return the story, or one of a narrow kind in its place."""
    # Stories that are rare themselves stay.
    if story.actions or story.cloud.has_both or any(post.state.url_recipients for post in story.posts):
        return story
    if not story.crashes:
        story = with_rarities(seed, story, _WITHOUT_CRASHES)
    return with_rarities(seed, story, _FAMILIES) if story.crashes < MANY_CRASHES else story


def one_of(kinds: Sequence[Change]) -> Change:
    return lambda random, story: random.choice(kinds)(random, story)


def plain(story: Story, posts: Iterable[Post], **members: Any) -> Story:
    """Return the story with these shares alone, with room for all signals in its policy, and in the usual cloud.

    `members` are those of `alone`. The member `policy` has only what is added to the policy.
    """
    policy = roomy(story.policy, min_seconds_between_signals=0, **members.pop("policy", {}))
    return alone(story, posts, policy=policy, cloud=USUAL, **members)


def incidents(
    random: Random, letter: str, counts: Sequence[int], courses: Sequence[str], latest: float, *seconds: float
) -> list[SharedState]:
    """Return the states of some incidents, each with one of the courses. They begin by `latest`."""
    states: list[SharedState] = []
    for number in range(random.choice(counts)):
        statuses = random.choice(courses) if len(courses) > 1 else courses[0]
        states += course(f"{letter}{number}", random.uniform(0, latest), statuses, waits(random, *seconds))
    return states


def not_me(at: float, incident: str) -> list[Said]:
    """Return an answer that changes nothing. BigPanda's key and the callback's token are parts of a story with one."""
    return [Said(at, 0, incident, "Not me", 1)]


def _with_late_answers(random: Random, story: Story) -> Story:
    """Return a story of criticals whose pages people answer late, or whose pages end without an answer.

    Some incidents become critical again, and people answer the page from before that. No service fails.
    """
    states: list[SharedState] = []
    answers: list[Said] = []
    for number in range(random.choice([3, 4])):
        name = f"u{number}"
        courses = ["critical", "critical", "critical ok critical", "critical warning critical", "critical critical ok"]
        own = course(name, random.uniform(0, 60), random.choice(courses), waits(random, 60.0, 150.0))
        states += own
        if len(own) > 1:
            at = own[-1].at + random.choice([10.0, 100.0, 1000.0]) * random.uniform(0.8, 1.5)
            said = Said(at, len(answers), name, random.choice(["Acknowledge", "Not me"]), random.choice([1, 2]))
            answers.append(replace(said, is_to_the_first=random.random() < 0.8))
    policy = {"confirm_resolve": False, "replace": random.random() < 0.5}
    receipts = {"notified_within_seconds": 0.0, "answered_within_seconds": random.choice([600.0, 900.0])}
    return plain(
        story,
        in_time(states),
        policy=policy,
        routed=(),
        answers=answers or not_me(1000.0, "u0"),
        has_rest=True,
        receipts=receipts,
        has_dead_ends=True,
    )


def _with_a_deaf_topic(random: Random, story: Story) -> Story:
    """Return a story of criticals that xMatters does not take, while the fallback topic fails when it is due."""
    delay = random.choice([60, 300])
    states = incidents(random, "i", [1, 2, 3], ["critical", "critical", "warning critical"], 60, 20.0)
    begins = delay + random.uniform(-30, 60)
    spells = [
        Spell("xmatters", random.choice(["503", "gone"]), 0.0, random.uniform(1200, 1800), 1.0),
        Spell("sns", "refuses", begins, begins + random.uniform(60, 300), 1.0),
    ]
    has_phones = random.random() < 0.5
    # A signal without a page, which the relay searches for, is told of at any time.
    members = {"has_phones": has_phones, "has_rest": story.has_rest and not has_phones}
    return plain(story, in_time(states), policy={"fallback_after_seconds": delay}, spells=spells, **members)


def _with_hard_ends(random: Random, story: Story) -> Story:
    """Return a story of incidents that end, and end again, while the queues, the ledger or BigPanda fail."""
    states: list[SharedState] = []
    spells: list[Spell] = []
    for number in range(random.choice([2, 3, 4])):
        courses = ["critical ok", "critical ok critical ok", "warning ok ok"]
        own = course(f"e{number}", random.uniform(0, 60), random.choice(courses), waits(random, 3.0, 20.0, 90.0))
        states += own
        end = random.choice([state for state in own if not state.is_open])
        service = random.choice(["sqs", "sqs", "dynamodb", "bigpanda"])
        begins = end.at - random.uniform(0, 5)
        spells.append(Spell(service, random.choice(FAULTS[service]), begins, begins + random.uniform(5, 40), 1.0))
    answers = not_me(1000.0, "e0")
    return plain(story, in_time(states), policy={"confirm_resolve": True}, spells=spells, answers=answers)


# Twice, since it is the kind with the most ways to go.
_KINDS = (_with_late_answers, _with_late_answers, _with_a_deaf_topic, _with_hard_ends)


def _with_an_unreadable_secret(random: Random, story: Story) -> Story:
    """Return a story of criticals that nobody may hear, while functions that come new cannot read the secret."""
    story, begins = _with_late_answers(random, story), random.uniform(5, 90)
    return replace(story, spells=[Spell("secrets", "refuses", begins, begins + random.uniform(300, 900), 1.0)])


def _with_a_debt_after_a_message(random: Random, story: Story) -> Story:
    """Return a story of criticals that no device gets, and that become owed again once xMatters takes no signal."""
    states = incidents(random, "d", [1, 2], ["critical critical", "critical critical critical"], 40, 350.0)
    wants = ["opened", "worsened", "grew", "resolved"]
    policy = {"notify_on": wants, "confirm_resolve": False, "fallback_after_seconds": random.choice([60, 300])}
    return plain(
        story,
        in_time(states),
        policy=policy,
        routed=(),
        spells=[Spell("xmatters", random.choice(["503", "gone"]), random.uniform(180, 230), 1800.0, 1.0)],
        answers=not_me(1500.0, "d0"),
        has_rest=True,
        receipts={"notified_within_seconds": 120.0},
        has_dead_ends=True,
    )


def _with_routed_ends(random: Random, story: Story) -> Story:
    """Return a story of incidents whose routes ask for what BigPanda's API does not show, and that end."""
    states: list[SharedState] = []
    for number in range(random.choice([2, 3])):
        courses = ["critical ok", "warning critical ok", "warning ok"]
        own = course(f"g{number}", random.uniform(0, 60), random.choice(courses), waits(random, 30.0, 150.0))
        worst = "critical" if any(state.status == "critical" for state in own) else "warning"
        environment, team = random.choice(["prod-eu", "prod-us"]), random.choice(["web", "db"])
        states += [replace(state, severity=worst, environment=environment, team=team) for state in own]
    conditions = (("environment", "prod-eu", "Europe"), ("tag.team", "web", "Web"))
    timelines = {NOC: Timeline([with_routes(({fact: [value]}, name) for fact, value, name in conditions)])}
    members = {"routed": (), "timelines": timelines, "answers": not_me(1000.0, "g0")}
    return plain(story, in_time(states), policy={"confirm_resolve": True}, **members)


def _with_two_ends(random: Random, story: Story) -> Story:
    """Return a story of incidents that end twice within a minute, while BigPanda's API is behind.

    The share of the open state between the two ends is lost.
    """
    posts: list[Post] = []
    for number in range(random.choice([2, 3])):
        first = random.uniform(50, 150)
        times = iter([first, random.uniform(1.5, 5), random.uniform(44, 54), 0.0])
        own = course(f"e{number}", random.uniform(0, 60), "critical ok critical ok", times.__next__)
        posts += [Post(state.at, state, is_lost=state.number == 2) for state in own]
    policy = {"confirm_resolve": True, "notify_on": ["opened", "worsened", "reopened", "resolved"]}
    return plain(story, posts, policy=policy, answers=not_me(1000.0, "e0"), api_lag=random.choice([20.0, 45.0]))


def _with_quick_answers(random: Random, story: Story) -> Story:
    """Return a story of pages that people answer at once, and maybe again, with late second pages, and that end."""
    states: list[SharedState] = []
    answers: list[Said] = []
    for number in range(random.choice([2, 3, 4])):
        own = course(f"q{number}", random.uniform(0, 60), "critical ok", waits(random, 60.0, 400.0))
        states += own
        at, response = own[0].at + random.uniform(1, 40), random.choice(["Acknowledge", "Not me"])
        answers.append(Said(at, number, f"q{number}", response, 1))
        if random.random() < 0.4:
            answers.append(replace(answers[-1], at=at + random.uniform(20, 300)))
    members = {"answers": answers, "has_rest": True, "has_late_twins": True}
    return plain(story, in_time(states), policy={"confirm_resolve": random.random() < 0.5}, **members)


def _with_separate_limits(random: Random, story: Story) -> Story:
    """Return a story of many incidents for one person at once, and of a few for another person soon after."""
    states: list[SharedState] = []
    for number in range(12):
        at = random.uniform(0, 4) if number < 5 else random.uniform(12, 25) if number == 5 else 100.0 * number
        [state] = course(f"l{number}", at, random.choice(["critical", "warning"]), waits(random, 1.0))
        states.append(state.elsewhere(NOC, ("Ann",) if number < 5 else ("Bob",)))
    story = plain(story, in_time(states), routed=())
    return replace(story, policy=story.policy | {"max_per_minute": 4, "max_per_minute_per_recipients": 2})


def _with_a_full_line(random: Random, story: Story) -> Story:
    """Return a story of more warnings than the rate limit has slots for, and of a critical among them."""
    begins = random.uniform(0, 60)
    states = [
        state
        for number in range(30)
        for state in course(f"f{number}", begins + random.uniform(0, 8), "warning", waits(random, 1.0))
    ]
    states += course("f30", begins + random.uniform(5, 8), "critical", waits(random, 1.0))
    return plain(story, in_time(states), policy={"max_per_minute": 2})


def _with_a_long_pause_by_xmatters(random: Random, story: Story) -> Story:
    """Return a story of states that get too old while xMatters has asked for no signal for long."""
    states = incidents(random, "t", [2, 4], ["critical", "warning"], 40, 1.0)
    spell = Spell("xmatters", "429 for long", 0.0, random.uniform(45, 90), 1.0)
    policy = {"max_age_seconds": random.choice([100, 300])}
    return plain(story, in_time(states), policy=policy, spells=[spell, *_full_dead_letters(random, 400.0)])


def _full_dead_letters(random: Random, until: float) -> list[Spell]:
    """Return a time in which the dead-letter queue takes nothing, or an empty list."""
    if random.random() < 0.5:
        return []
    ends = until * random.uniform(0.5, 1.5)
    return [Spell("dead-letters", "refuses", 0.0, ends, random.choice([0.5, 1.0]))]


def _with_a_pause_for_new_incidents(random: Random, story: Story) -> Story:
    """Return a story of criticals that are owed before a pause leaves out what comes, and that change in it."""
    states: list[SharedState] = []
    begins = random.randrange(60, 90)
    for number in range(random.choice([2, 3])):
        first, second = begins - random.uniform(25, 60), begins + random.uniform(1, 30)
        own = course(f"p{number}", first, "critical critical", iter([second - first, 0.0]).__next__)
        states += [state.elsewhere(QUIET) for state in own]
    ends = begins + random.randrange(300, 500)
    wants = ["opened", "worsened", "grew", "reopened", "resolved"]
    spell = Spell(f"xmatters/{QUIET}", random.choice(["503", "gone"]), 0.0, begins + random.uniform(20, 100), 1.0)
    story = alone(story, in_time(states), spells=[spell], cloud=USUAL)
    others = {QUIET: roomy(story.policy, min_seconds_between_signals=0, notify_on=wants)}
    return replace(story, others=others, timelines={QUIET: Timeline.paused("drop", begins, ends)})


def _with_another_webhook(random: Random, story: Story) -> Story:
    """Return a story with incidents that BigPanda shares with another webhook, of which no share comes."""
    posts: list[Post] = []
    for number in range(5):
        name = f"x{number}" if number > 2 else f"i{number}"
        status = random.choice(["critical", "warning"])
        [state] = course(name, random.uniform(0, 200), status, waits(random, 1.0))
        posts.append(Post(state.at, state, is_lost=number > 1))
    return plain(story, posts, reconcile_interval=120.0, foreign=frozenset({"x3", "x4"}))


def _with_two_recipients(random: Random, story: Story) -> Story:
    """Return a story of criticals for two recipients, of whom xMatters may not notify one.

    A route names both, or the webhook's URL the second, in a channel that may have no key for the vendors' APIs.
    """
    story = _with_late_answers(random, story)
    if random.random() < 0.4:
        return replace(story, routed=("Oncall", "Second"))
    posts = [replace(post, state=post.state.elsewhere(NOC, ("Second",))) for post in story.posts]
    is_keyless = random.random() < 0.7
    return replace(story, posts=posts, is_keyless=is_keyless, has_rest=not is_keyless or random.random() < 0.3)


def _with_late_recipients(random: Random, story: Story) -> Story:
    """Return a story of criticals of which a late tag brings in other people, who may be the only ones with a page.

    Some ring before that, and ring again as they get worse.
    """
    courses = ["critical critical", "critical critical", "warning critical critical"]
    states = incidents(random, "w", [3, 4], courses, 60, 60.0, 400.0)
    last = {state.incident: state.number for state in states}
    states = [replace(state, environment="prod-eu", team="db" * (state.number == last[state.id])) for state in states]
    timelines = {NOC: Timeline([with_routes([({"tag.team": ["db"]}, "Dba")])])}
    return plain(story, in_time(states), routed=(), timelines=timelines, has_rest=True)


def _with_comments_in_bigpanda(random: Random, story: Story) -> Story:
    """Return a story of pages that nobody answers, or only escalates, and of comments in BigPanda itself."""
    states: list[SharedState] = []
    answers: list[Said] = []
    remarks: list[tuple[float, str]] = []
    for number in range(random.choice([2, 3, 4])):
        name = f"u{number}"
        at, statuses = random.uniform(0, 60), random.choice(["critical", "warning critical"])
        states += course(name, at, statuses, waits(random, 90.0))
        rang = states[-1].at
        if random.random() < 0.7:
            remarks.append((rang + random.choice([-60.0, 30.0, 200.0]) * random.uniform(0.5, 1.2), name))
        if random.random() < 0.5:
            answers.append(Said(rang + random.uniform(70, 200), len(answers), name, "Escalate", 1))
    policy = {"confirm_resolve": False, "notify_on": ["opened", "worsened", "resolved"]}
    answered = random.choice([300.0, 600.0])
    receipts = {"notified_within_seconds": 120.0 if answered > 300 else 0.0, "answered_within_seconds": answered}
    return plain(
        story,
        in_time(states),
        policy=policy,
        routed=(),
        answers=answers or not_me(1500.0, "u0"),
        has_rest=True,
        receipts=receipts,
        remarks=sorted(remarks),
    )


def _with_moved_incidents(random: Random, story: Story) -> Story:
    """Return a story of ends, some of incidents that BigPanda has in another environment than their shares say."""
    states = incidents(random, "m", [2, 3], ["critical ok"], 60, 60.0, 150.0)
    states = [replace(state, environment="prod-eu", environment_id="e") for state in states]
    moved = frozenset(state.id for state in states if random.random() < 0.6)
    members = {"routed": (), "answers": not_me(1500.0, "m0"), "moved": moved}
    return plain(story, in_time(states), policy={"confirm_resolve": True}, **members)


def _with_a_silent_bigpanda(random: Random, story: Story) -> Story:
    """Return a story of incidents that end, and may open again, while BigPanda answers nothing for long."""
    states: list[SharedState] = []
    for number in range(random.choice([2, 3])):
        courses = ["critical ok critical", "critical ok", "critical ok warning", "warning ok critical"]
        times = waits(random, 20.0, 150.0, 500.0)
        states += course(f"e{number}", random.uniform(0, 60), random.choice(courses), times)
    fault = random.choice(["503", "timeout"])
    spell = Spell("bigpanda", fault, 0.0, random.uniform(1500, 2500), 1.0)
    members = {"routed": (), "answers": not_me(2800.0, "e0")}
    return plain(story, in_time(states), policy={"confirm_resolve": True}, spells=[spell], **members)


def _with_a_deaf_phone(random: Random, story: Story) -> Story:
    """Return a story of criticals that xMatters does not take, and of two phones of which one can't be called."""
    return replace(_with_a_deaf_topic(random, story), has_phones=True, has_deaf_phone=True, has_rest=False)


def _with_refusals_for_good(random: Random, story: Story) -> Story:
    """Return a story of many signals that xMatters refuses for good, one by one, while others come."""
    states: list[SharedState] = []
    for number in range(16):
        at, status = number * random.uniform(4, 6), random.choice(["critical", "warning"])
        states += course(f"n{number}", at, status, waits(random, 1.0))
    spells = [Spell("xmatters", "refused", 0.0, random.uniform(50, 70), 1.0), *_full_dead_letters(random, 100.0)]
    return plain(story, in_time(states), spells=spells)


def _with_acknowledged_incidents(random: Random, story: Story) -> Story:
    """Return a story of criticals that people acknowledge, before a late tag names others."""
    story, later = _with_late_recipients(random, story), random.uniform(130, 250)
    posts: list[Post] = []
    answers: list[Said] = []
    for post in story.posts:
        at = post.state.at + (later if post.state.number else 0.0)
        posts.append(Post(at, replace(post.state, at=at)))
        if not post.state.number and random.random() < 0.7:
            answers.append(Said(at + random.uniform(30, 60), len(answers), post.state.id, "Acknowledge", 1))
    return replace(story, posts=posts, answers=answers or not_me(1500.0, "w0"))


def _with_a_row_of_ambiguous_answers(random: Random, story: Story) -> Story:
    """Return a story of incidents that change each few seconds, while xMatters accepts signals without an answer."""
    courses = ["critical warning critical", "warning critical critical"]
    states = incidents(random, "r", [1, 2], courses, 40, 4.0, 12.0)
    policy = {"notify_on": ["opened", "worsened", "grew", "eased", "resolved"]}
    spell = Spell("xmatters", random.choice(["reset rang", "504 rang"]), 0.0, random.uniform(60, 120), 1.0)
    return plain(story, in_time(states), policy=policy, spells=[spell], routed=())


def _with_recipients_in_the_url(random: Random, story: Story) -> Story:
    """Return a story of criticals that nobody may hear, for one more recipient whom the trigger's URL names."""
    story = _with_late_answers(random, story)
    return replace(story, policy={**story.policy, "unanswered_recipients": [BOSS]}, has_url_recipient=True)


def _with_a_share_without_a_status(random: Random, story: Story) -> Story:
    """Return a story of criticals that nobody may hear, of which a later share does not say a status."""
    story = _with_late_answers(random, story)
    posts: list[Post] = []
    for incident in sorted({post.state.incident for post in story.posts if random.random() < 0.7}):
        own = (post.state for post in story.posts if post.state.incident == incident)
        last = max(own, key=lambda state: state.number)
        [_, later] = course(incident, last.at, "critical critical", waits(random, 30.0, 200.0))
        later = replace(later, number=last.number + 1, alerts=last.alerts, says_status=False)
        if last.status == "critical":
            posts.append(Post(later.at, later))
    return story.with_more(posts)


def _with_a_pause_beside_receipts(random: Random, story: Story) -> Story:
    """Return a story of criticals that nobody may hear, while the channel is paused for some time."""
    story = _with_late_answers(random, story)
    begins = random.randrange(150, 500)
    # As long as a chore may be old, and longer.
    ends = begins + random.choice([random.randrange(200, 900), random.randrange(21600, 23000)])
    timelines = {NOC: Timeline.paused(random.choice(["keep", "drop"]), begins, ends)}
    return replace(story, policy={**story.policy, "max_age_seconds": 21600}, timelines=timelines)


def _with_refused_bells(random: Random, story: Story) -> Story:
    """Return a story of signals that fail at first, while the retry queue loses messages and then takes none."""
    states = incidents(random, "b", [2, 4], ["critical", "critical", "warning"], 20, 1.0)
    ends = random.uniform(20, 60)
    begins = random.choice([0.0, ends + 30])
    spells = [
        Spell("xmatters", "503", 0.0, ends, 1.0),
        Spell("sqs", "refuses", begins, begins + random.uniform(300, 900), 1.0),
    ]
    return plain(story, in_time(states), spells=spells, vanishing=random.choice([0.0, 0.5, 1.0]))


def _with_a_dead_ledger(random: Random, story: Story) -> Story:
    """Return a story of states that get too old while the ledger fails, and xMatters at first."""
    states = incidents(random, "o", [2, 3], ["critical"], 40, 1.0)
    age = random.choice([60, 100, 200])
    ends = 40 + age + random.uniform(-20, 60)
    faults = random.choice(["refuses", "refuses writes"])
    spells = [
        Spell("xmatters", random.choice(["503", "gone"]), 0.0, ends, 1.0),
        Spell("dynamodb", faults, random.choice([0.0, 30.0]), ends + random.uniform(100, 500), 1.0),
    ]
    return plain(story, in_time(states), policy={"max_age_seconds": age}, spells=spells)


def _with_slow_apis(random: Random, story: Story) -> Story:
    """Return a story of incidents that end and open again, while the vendors' APIs take seconds for each answer.

    If the triggers do, too, some change while a signal is on its way, and the policy may not announce an end.
    """
    courses = ["critical ok critical ok", "critical ok critical ok critical ok", "critical warning ok critical ok"]
    has_slow_trigger = random.random() < 0.4
    courses += ["critical ok critical", "critical warning critical"] * has_slow_trigger
    states = incidents(random, "s", [1, 2, 3], courses, 60, *([2.0, 2.0] * has_slow_trigger), 35.0, 60.0)
    ends = states[-1].at + random.uniform(100, 900)
    policy: dict[str, Any] = {"confirm_resolve": random.random() < 0.5, "replace": random.random() < 0.7}
    receipts = {"notified_within_seconds": 300.0, "answered_within_seconds": random.choice([0.0, 900.0])}
    spells = [Spell("rest", "slow", 0.0, ends, random.choice([0.5, 1.0]))]
    if random.random() < 0.5:
        spells.append(Spell("bigpanda", "slow answer", 0.0, ends, random.choice([0.5, 1.0])))
    if has_slow_trigger:
        spells.append(Spell("xmatters", "slow", 0.0, ends, 1.0))
        policy["notify_on"] = ["opened", "worsened", "reopened", *random.choice([[], ["eased", "resolved"]])]
    members = {"answers": not_me(states[0].at + 100, states[0].incident), "receipts": receipts}
    return plain(story, in_time(states), policy=policy, spells=spells, has_rest=True, routed=(), **members)


def _with_unrecorded_replays(random: Random, story: Story) -> Story:
    """Return a story of signals that xMatters refuses, and that operators replay while the ledger fails."""
    states = incidents(random, "d", [1, 2, 3], ["critical", "warning critical", "critical ok", "warning"], 20, 20.0)
    replayed_at = states[-1].at + random.uniform(100, 400)
    begins = replayed_at + random.uniform(-20, 5)
    ends = begins + random.uniform(30, 300)
    spells = [
        Spell("xmatters", "refused", 0.0, replayed_at + random.choice([-30.0, 0.0, 60.0]), 1.0),
        Spell("dynamodb", random.choice(["refuses", "refuses writes"]), begins, ends, 1.0),
    ]
    operations = [(replayed_at, random.choice(["redrive", "replay"]))]
    return plain(story, in_time(states), spells=spells, operations=operations)


def _with_troubled_follow_ups(random: Random, story: Story) -> Story:
    """Return a story of pages that have to end, while xMatters' REST API fails now and then."""
    courses = ["critical ok", "warning critical ok", "critical critical critical ok"]
    states = incidents(random, "v", [2, 3], courses, 60, 30.0, 90.0)
    spell = Spell("rest", random.choice(["503", "timeout"]), 0.0, random.uniform(300, 600), random.choice([0.3, 0.6]))
    wants = ["opened", "worsened", "grew", "resolved"]
    policy = {"confirm_resolve": False, "notify_on": wants, "replace": True}
    return plain(story, in_time(states), policy=policy, spells=[spell], has_rest=True)


def _with_ended_snoozes(random: Random, story: Story) -> Story:
    """Return a story of incidents that BigPanda snoozes, and that ring again meanwhile or after it."""
    states: list[SharedState] = []
    naps: list[Nap] = []
    for number in range(random.choice([2, 3])):
        name = f"z{number}"
        statuses = random.choice(["critical", "warning critical", "critical critical"])
        states += course(name, random.uniform(0, 60), statuses, waits(random, 100.0, 300.0, 500.0))
        begins = random.uniform(70, 300)
        naps.append(Nap(name, begins, begins + random.uniform(60, 500)))
    policy = {"notify_on": ["opened", "worsened", "grew", "resolved", "reopened"]}
    # An API that lags shows a snooze after the incident rang at its end.
    lags = {"reconcile_interval": 120.0, "api_lag": 0.0}
    return plain(story, in_time(states), policy=policy, routed=(), naps=naps, **lags)


_UNSEEN = (
    _with_an_unreadable_secret,
    _with_a_debt_after_a_message,
    _with_routed_ends,
    _with_two_ends,
    _with_quick_answers,
    _with_separate_limits,
    _with_a_full_line,
    _with_a_long_pause_by_xmatters,
    _with_a_pause_for_new_incidents,
    _with_another_webhook,
    _with_two_recipients,
    _with_late_recipients,
)
_LATER = (
    _with_comments_in_bigpanda,
    _with_moved_incidents,
    _with_a_silent_bigpanda,
    _with_a_deaf_phone,
    _with_refusals_for_good,
    _with_acknowledged_incidents,
)
_PAIRS = (
    _with_recipients_in_the_url,
    _with_a_share_without_a_status,
    _with_a_pause_beside_receipts,
    _with_refused_bells,
    _with_a_dead_ledger,
    _with_troubled_follow_ups,
    _with_ended_snoozes,
)


def _with_forged_deliveries(random: Random, story: Story) -> Story:
    """Return a story of criticals that few devices get, although a stranger says that they did."""
    story, answered = _with_late_answers(random, story), random.choice([0.0, 600.0])
    receipts = {"notified_within_seconds": random.choice([120.0, 300.0]), "answered_within_seconds": answered}
    return replace(story, receipts=receipts, has_forged_deliveries=True)


def _with_dead_pages(random: Random, story: Story) -> Story:
    """Return a story of pages that others replace, some of which xMatters ends when it makes them."""
    courses = ["warning critical", "critical critical critical", "warning critical critical ok"]
    states = incidents(random, "y", [2, 3], courses, 60, 40.0, 120.0)
    wants = ["opened", "worsened", "grew", "resolved"]
    policy = {"confirm_resolve": False, "notify_on": wants, "replace": True}
    return plain(story, in_time(states), policy=policy, routed=(), has_rest=True, has_dead_pages=True)


def _with_distances(random: Random, story: Story) -> Story:
    """Return a story of incidents that get worse soon after a signal or a resolve, under a long minimum distance."""
    courses = [
        "warning critical",
        "warning ok critical",
        "warning critical ok critical",
        "critical ok warning critical",
    ]
    states = incidents(random, "s", [1, 2, 3], courses, 200, 6.0, 20.0, 45.0)
    story = plain(story, in_time(states), policy={"confirm_resolve": True}, routed=(), answers=not_me(1000.0, "s0"))
    policy = {**story.policy, "min_seconds_between_signals": random.choice([60, 120, 300])}
    return replace(story, policy=policy, api_lag=random.choice([0.0, 20.0, 45.0]))


def _with_escalations(random: Random, story: Story) -> Story:
    """Return a story of pages, some with a late second one, that one person escalates, and another one may answer."""
    states = incidents(random, "e", [2, 3], ["critical", "warning critical"], 60, 30.0)
    answers: list[Said] = []
    for name in sorted({state.incident for state in states}):
        at = max(state.at for state in states if state.incident == name) + random.uniform(30, 70)
        answers.append(Said(at, len(answers), name, "Escalate", 1))
        if random.random() < 0.7:
            response = random.choice(["Acknowledge", "Not me"])
            answers.append(Said(at + random.uniform(30, 100), len(answers), name, response, random.choice([0, 0, 1])))
    receipts = {"notified_within_seconds": random.choice([0.0, 120.0]), "answered_within_seconds": 300.0}
    policy, has_late_twins = {"confirm_resolve": False}, random.random() < 0.7
    members = {"routed": (), "answers": answers, "has_rest": True, "receipts": receipts}
    return plain(story, in_time(states), policy=policy, has_late_twins=has_late_twins, **members)


def _with_untold_ends(random: Random, story: Story) -> Story:
    """Return a story of incidents that end, and maybe open again, while their signals fail, wait or expire.

    Their pages end all the same.
    """
    courses = ["critical ok", "critical ok critical", "critical ok warning", "critical warning ok critical"]
    states = incidents(random, "e", [2, 3, 4], courses, 60, 100.0, 300.0)
    ages = [100, 300, 3600, 21600]
    policy: dict[str, Any] = {"confirm_resolve": random.random() < 0.3, "max_age_seconds": random.choice(ages)}
    begins, ends = random.randrange(60, 200), random.randrange(400, 1000)
    if random.random() < 0.4:
        policy["notify_on"] = ["opened", "worsened", "reopened", "resolved"]
        story = plain(story, in_time([state.elsewhere(QUIET) for state in states]), routed=(), has_rest=True)
        others = {QUIET: roomy(story.policy, min_seconds_between_signals=0, **policy)}
        return replace(story, others=others, timelines={QUIET: Timeline.paused("keep", begins, ends)})
    spell = Spell("xmatters", random.choice(["503", "timeout", "429", "gone"]), begins, ends, 1.0)
    if random.random() < 0.2:
        # People are told of the first critical, and have to be told of the second.
        states = incidents(random, "e", [2, 3], ["warning critical ok critical"], 60, 150.0)
        spell = replace(spell, ends=ends + 800)
    return plain(story, in_time(states), policy=policy, spells=[spell], routed=(), has_rest=True)


def _with_a_canary(random: Random, story: Story) -> Story:
    """Return a story of a channel with a canary, through one or two outages of xMatters, or through a pause."""
    spells: list[Spell] = []
    at = random.uniform(0, 600)
    for _ in range(random.choice([1, 2])):
        service, ends = random.choice(["xmatters", "rest"]), at + random.choice([300.0, 1000.0, 2500.0])
        spells.append(Spell(service, "503", at, ends, 1.0))
        at = ends + random.uniform(1000, 3000)
    members: dict[str, Any] = {"spells": spells}
    if random.random() < 0.3:
        begins = random.randrange(30, 200)
        members = {"timelines": {NOC: Timeline.paused("keep", begins, begins + random.randrange(100, 2000))}}
    members |= {"receipts": {"notified_within_seconds": random.choice([120.0, 300.0])}, "answers": not_me(600.0, "k0")}
    states = incidents(random, "k", [1, 2], ["warning", "warning ok"], 60, 60.0)
    topics = random.choice([("alarm", "notice"), ("alarm",), ("notice",)])
    members |= {"topics": topics, "has_rest": True, "is_keyless": True}
    policy = {"canary": True, "notify_on": ["opened", "worsened", "reopened", "resolved"]}
    return plain(story, in_time(states), policy=policy, routed=(), **members)


def _with_further_trouble(random: Random, story: Story) -> Story:
    """Return a story of another narrow kind, in which one or two more services fail for some time."""
    story = random.choice((*_KINDS, *_UNSEEN, *_LATER, *_PAIRS, *_LATEST))(random, story)
    # A message is in the ledger or in the queue: no more is promised if both fail.
    services = sorted(set(FAULTS) - ({"dynamodb", "sqs"} if story.vanishing else set()))
    spells = []
    for service in random.sample(services, random.choice([1, 1, 2])):
        begins = random.choice(story.posts).at + random.uniform(-5, 60)
        ends = begins + random.choice([10.0, 60.0, 300.0]) * random.uniform(0.7, 1.3)
        spells.append(Spell(service, random.choice(FAULTS[service]), begins, ends, random.choice([0.5, 1.0])))
    for post in story.posts:
        # A fault may keep the relay from taking the share that said the status.
        post.state.says_status = True
    return story.with_more(spells=spells)


_LATEST = (_with_forged_deliveries, _with_dead_pages, _with_distances, _with_escalations)
_TROUBLES = (*[_with_further_trouble] * 4, *_LATEST[:2])
_WITHOUT_CRASHES: Sequence[Rarity] = (
    ("narrow of {}", 0.105, 0.275, one_of(_KINDS)),
    ("troubles of {}", 0.32, 0.4, one_of(_TROUBLES)),
    ("paces of {}", 0.93, 0.99, one_of(_LATEST[2:])),
    ("untold ends of {}", 0.389, 0.449, _with_untold_ends),
)
_FAMILIES: Sequence[Rarity] = (
    ("unseen of {}", 0.24, 0.4, one_of(_UNSEEN)),
    ("later kinds of {}", 0.42, 0.54, one_of(_LATER)),
    ("pairs of {}", 0.021, 0.101, one_of(_PAIRS)),
    ("floods of {}", 0.7, 0.72, one_of((_with_a_row_of_ambiguous_answers,))),
    ("slow apis of {}", 0.1373, 0.1773, _with_slow_apis),
    ("unrecorded replays of {}", 0.8964, 0.9385, _with_unrecorded_replays),
    ("canaries of {}", 0.468, 0.497, _with_a_canary),
)
