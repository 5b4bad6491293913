"""Stories for one weakness each, in place of some of those in which no process dies."""

from collections.abc import Iterator
from copy import replace
from random import Random

from tests.simulation.cloud import USUAL
from tests.simulation.settings import Settings, Timeline
from tests.simulation.story import BOSS, NOC, Nap, Post, Quiet, Said, SharedState, Story, alone, moment
from tests.simulation.weather import FAULTS, Spell
from tests.simulation.world import BEGINS_AT

# Stories in which so many processes die stay, too.
MANY_CRASHES = 0.01


def with_narrow_kind(seed: int, story: Story) -> Story:
    """Return the story, or one of a narrow kind in its place."""
    random = Random(f"narrow of {seed}")
    place = random.random()
    # Stories that are rare themselves stay.
    is_rare = bool(story.actions) or any(post.state.url_recipients for post in story.posts)
    if 0.105 < place < 0.275 and not story.crashes and not is_rare:
        story = random.choice(_KINDS)(random, story)
    # Generators of their own, and ranges with few of the seeds that the mutations record.
    families = (
        ("unseen", 0.24, 0.4, _UNSEEN),
        ("later kinds", 0.42, 0.54, _LATER),
        ("pairs", 0.021, 0.101, _PAIRS),
        ("floods", 0.7, 0.72, (_with_a_row_of_ambiguous_answers,)),
    )
    for name, first, last, kinds in families:
        random = Random(f"{name} of {seed}")
        if first < random.random() < last and story.crashes < MANY_CRASHES and not is_rare:
            story = random.choice(kinds)(random, story)
    return story


def _course(incident: str, at: float, statuses: str, paces: Iterator[float]) -> list[SharedState]:
    """Return the states of an incident; `statuses` are its statuses in order, and `paces` the seconds in between.

    The status "none" is that of an open state that does not say its status.
    """
    states = []
    for number, status in enumerate(statuses.split()):
        stamp, alerts = int(BEGINS_AT + at), frozenset(f"a{each}" for each in range(number + 1))
        said = None if status == "none" else status
        states.append(SharedState(incident, number, at, status != "ok", said, alerts, stamp, stamp))
        at += next(paces)
    return states


def _paces(random: Random, *seconds: float) -> Iterator[float]:
    while True:
        yield random.choice(seconds) * random.uniform(0.7, 1.3)


def _posts(states: list[SharedState]) -> list[Post]:
    return [Post(state.at, state) for state in sorted(states, key=lambda state: state.at)]


def _plain(story: Story, **members: object) -> dict[str, object]:
    """Return the story's policy with room for all signals."""
    policy = {**story.policy, "max_age_seconds": 3600, "max_per_minute": 60, "min_seconds_between_signals": 0}
    policy.pop("max_per_minute_per_recipients", None)
    return policy | members


def _with_late_answers(random: Random, story: Story) -> Story:
    """Return a story of criticals whose pages people answer late, or whose pages end without an answer.

    Some incidents become critical again, and people answer the page from before that. No service fails.
    """
    states: list[SharedState] = []
    answers: list[Said] = []
    for number in range(random.choice([3, 4])):
        name = f"u{number}"
        courses = ["critical", "critical", "critical ok critical", "critical warning critical", "critical critical ok"]
        course = _course(name, random.uniform(0, 60), random.choice(courses), _paces(random, 60.0, 150.0))
        states += course
        if len(course) > 1:
            at = course[-1].at + random.choice([10.0, 100.0, 1000.0]) * random.uniform(0.8, 1.5)
            said = Said(at, len(answers), name, random.choice(["Acknowledge", "Not me"]), random.choice([1, 2]))
            answers.append(replace(said, is_to_the_first=random.random() < 0.8))
    policy = _plain(story, confirm_resolve=False, replace=random.random() < 0.5)
    story = alone(story, _posts(states), policy=policy, routed=[])
    # The callback's token is part of a story with answers.
    answers = answers or [Said(1000.0, 0, "u0", "Not me", 1)]
    receipts = {"notified_within_seconds": 0.0, "answered_within_seconds": random.choice([600.0, 900.0])}
    return replace(story, answers=answers, has_rest=True, receipts=receipts, has_dead_ends=True, cloud=USUAL)


def _with_a_deaf_topic(random: Random, story: Story) -> Story:
    """Return a story of criticals that xMatters does not take, while the fallback topic fails when it is due."""
    waits = random.choice([60, 300])
    states: list[SharedState] = []
    for number in range(random.choice([1, 2, 3])):
        course = random.choice(["critical", "critical", "warning critical"])
        states += _course(f"i{number}", random.uniform(0, 60), course, _paces(random, 20.0))
    begins = waits + random.uniform(-30, 60)
    spells = [
        Spell("xmatters", random.choice(["503", "gone"]), 0.0, random.uniform(1200, 1800), 1.0),
        Spell("sns", "refuses", begins, begins + random.uniform(60, 300), 1.0),
    ]
    policy = _plain(story, fallback_after_seconds=waits)
    story = replace(alone(story, _posts(states), policy=policy, spells=spells), cloud=USUAL)
    has_phones = random.random() < 0.5
    # A signal without a page, which the relay searches for, is told of at any time.
    return replace(story, has_phones=has_phones, has_rest=story.has_rest and not has_phones)


def _with_hard_ends(random: Random, story: Story) -> Story:
    """Return a story of incidents that end, and end again, while the queues, the ledger or BigPanda fail."""
    states: list[SharedState] = []
    spells: list[Spell] = []
    for number in range(random.choice([2, 3, 4])):
        courses = ["critical ok", "critical ok critical ok", "warning ok ok"]
        course = _course(f"e{number}", random.uniform(0, 60), random.choice(courses), _paces(random, 3.0, 20.0, 90.0))
        states += course
        end = random.choice([state for state in course if not state.is_open])
        service = random.choice(["sqs", "sqs", "dynamodb", "bigpanda"])
        begins = end.at - random.uniform(0, 5)
        spells.append(Spell(service, random.choice(FAULTS[service]), begins, begins + random.uniform(5, 40), 1.0))
    story = alone(story, _posts(states), policy=_plain(story, confirm_resolve=True), spells=spells)
    # BigPanda's key is part of a story with answers.
    return replace(story, answers=[Said(1000.0, 0, "e0", "Not me", 1)], cloud=USUAL)


# Twice, since it is the kind with the most ways to go.
_KINDS = (_with_late_answers, _with_late_answers, _with_a_deaf_topic, _with_hard_ends)


def _with_an_unreadable_secret(random: Random, story: Story) -> Story:
    """Return a story of criticals that nobody may hear, while functions that come new cannot read the secret."""
    story, begins = _with_late_answers(random, story), random.uniform(5, 90)
    return replace(story, spells=[Spell("secrets", "refuses", begins, begins + random.uniform(300, 900), 1.0)])


def _with_a_debt_after_a_message(random: Random, story: Story) -> Story:
    """Return a story of criticals that no device gets, and that become owed again once xMatters takes no signal."""
    states: list[SharedState] = []
    for number in range(random.choice([1, 2])):
        course = random.choice(["critical critical", "critical critical critical"])
        states += _course(f"d{number}", random.uniform(0, 40), course, _paces(random, 350.0))
    wants = ["opened", "worsened", "grew", "resolved"]
    policy = _plain(story, notify_on=wants, confirm_resolve=False, fallback_after_seconds=random.choice([60, 300]))
    # Nobody else is called, which would be owed meanwhile.
    policy.pop("unanswered_recipients", None)
    spell = Spell("xmatters", random.choice(["503", "gone"]), random.uniform(180, 230), 1800.0, 1.0)
    story = alone(story, _posts(states), policy=policy, routed=[], spells=[spell])
    receipts = {"notified_within_seconds": 120.0}
    # The callback's token is part of a story with answers.
    answers = [Said(1500.0, 0, "d0", "Not me", 1)]
    return replace(story, answers=answers, has_rest=True, receipts=receipts, has_dead_ends=True, cloud=USUAL)


def _with_routed_ends(random: Random, story: Story) -> Story:
    """Return a story of incidents whose routes ask for what BigPanda's API does not show, and that end."""
    states: list[SharedState] = []
    for number in range(random.choice([2, 3])):
        courses = ["critical ok", "warning critical ok", "warning ok"]
        course = _course(f"g{number}", random.uniform(0, 60), random.choice(courses), _paces(random, 30.0, 150.0))
        worst = "critical" if any(state.status == "critical" for state in course) else "warning"
        environment, team = random.choice(["prod-eu", "prod-us"]), random.choice(["web", "db"])
        states += [replace(state, severity=worst, environment=environment, team=team) for state in course]
    conditions = (("environment", "prod-eu", "Europe"), ("tag.team", "web", "Web"))
    routes = tuple({"when": {fact: [value]}, "recipients": [name]} for fact, value, name in conditions)
    policy = _plain(story, confirm_resolve=True)
    story = alone(
        story, _posts(states), policy=policy, routed=[], timelines={NOC: Timeline([Settings(0, routes=routes)])}
    )
    # BigPanda's key is part of a story with answers.
    return replace(story, answers=[Said(1000.0, 0, "g0", "Not me", 1)], cloud=USUAL)


def _with_two_ends(random: Random, story: Story) -> Story:
    """Return a story of incidents that end twice within a minute, while BigPanda's API is behind.

    The share of the open state between the two ends is lost.
    """
    posts: list[Post] = []
    for number in range(random.choice([2, 3])):
        first = random.uniform(50, 150)
        paces = iter([first, random.uniform(1.5, 5), random.uniform(44, 54), 0.0])
        course = _course(f"e{number}", random.uniform(0, 60), "critical ok critical ok", paces)
        posts += [Post(state.at, state, is_lost=state.number == 2) for state in course]
    policy = _plain(story, confirm_resolve=True, notify_on=["opened", "worsened", "reopened", "resolved"])
    story = alone(story, sorted(posts, key=lambda post: post.at), policy=policy)
    answers = [Said(1000.0, 0, "e0", "Not me", 1)]
    return replace(story, answers=answers, api_lag=random.choice([20.0, 45.0]), cloud=USUAL)


def _with_quick_answers(random: Random, story: Story) -> Story:
    """Return a story of pages that people answer at once, that have a late second page at times, and that end."""
    states: list[SharedState] = []
    answers: list[Said] = []
    for number in range(random.choice([2, 3, 4])):
        course = _course(f"q{number}", random.uniform(0, 60), "critical ok", _paces(random, 400.0))
        states += course
        at, response = course[0].at + random.uniform(1, 40), random.choice(["Acknowledge", "Not me"])
        answers.append(Said(at, number, f"q{number}", response, 1))
    story = alone(story, _posts(states), policy=_plain(story, confirm_resolve=random.random() < 0.5))
    return replace(story, answers=answers, has_rest=True, has_late_twins=True, cloud=USUAL)


def _with_separate_limits(random: Random, story: Story) -> Story:
    """Return a story of many incidents for one person at once, and of a few for another person soon after."""
    posts: list[Post] = []
    for number in range(12):
        at = random.uniform(0, 4) if number < 5 else random.uniform(12, 25) if number == 5 else 100.0 * number
        [state] = _course(f"l{number}", at, random.choice(["critical", "warning"]), _paces(random, 1.0))
        posts.append(Post(at, state.elsewhere(NOC, ("Ann",) if number < 5 else ("Bob",))))
    policy = {**_plain(story), "max_per_minute": 4, "max_per_minute_per_recipients": 2}
    return replace(alone(story, sorted(posts, key=lambda post: post.at), policy=policy), routed=[], cloud=USUAL)


def _with_a_full_line(random: Random, story: Story) -> Story:
    """Return a story of more warnings than the rate limit has slots for, and of a critical among them."""
    begins = random.uniform(0, 60)
    states = [
        state
        for number in range(30)
        for state in _course(f"f{number}", begins + random.uniform(0, 8), "warning", _paces(random, 1.0))
    ]
    states += _course("f30", begins + random.uniform(5, 8), "critical", _paces(random, 1.0))
    return replace(alone(story, _posts(states), policy=_plain(story, max_per_minute=2)), cloud=USUAL)


def _with_a_long_pause_by_xmatters(random: Random, story: Story) -> Story:
    """Return a story of states that get too old while xMatters has asked for no signal for long."""
    states: list[SharedState] = []
    for number in range(random.choice([2, 4])):
        status = random.choice(["critical", "warning"])
        states += _course(f"t{number}", random.uniform(0, 40), status, _paces(random, 1.0))
    spell = Spell("xmatters", "429 for long", 0.0, random.uniform(45, 90), 1.0)
    policy = {**_plain(story), "max_age_seconds": random.choice([100, 300])}
    spells = [spell, *_full_dead_letters(random, 400.0)]
    return replace(alone(story, _posts(states), policy=policy, spells=spells), cloud=USUAL)


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
        course = _course(f"p{number}", first, "critical critical", iter([second - first, 0.0]))
        states += [state.elsewhere("quiet") for state in course]
    ends = begins + random.randrange(300, 500)
    wants = ["opened", "worsened", "grew", "reopened", "resolved"]
    spell = Spell("xmatters/quiet", random.choice(["503", "gone"]), 0.0, begins + random.uniform(20, 100), 1.0)
    story = alone(story, _posts(states), spells=[spell])
    others = {"quiet": _plain(story, notify_on=wants)}
    return replace(story, others=others, quiet={"quiet": Quiet("drop", begins, ends, ends)}, cloud=USUAL)


def _with_another_webhook(random: Random, story: Story) -> Story:
    """Return a story with incidents that BigPanda shares with another webhook, of which no share comes."""
    posts: list[Post] = []
    for number in range(5):
        name = f"x{number}" if number > 2 else f"i{number}"
        status = random.choice(["critical", "warning"])
        [state] = _course(name, random.uniform(0, 200), status, _paces(random, 1.0))
        posts.append(Post(state.at, state, is_lost=number > 1))
    story = alone(story, sorted(posts, key=lambda post: post.at), policy=_plain(story))
    return replace(story, reconcile_interval=120.0, foreign=frozenset({"x3", "x4"}), cloud=USUAL)


def _with_two_recipients(random: Random, story: Story) -> Story:
    """Return a story of criticals for two recipients, of whom xMatters may not notify one."""
    return replace(_with_late_answers(random, story), routed=["Oncall", "Second"])


def _with_late_recipients(random: Random, story: Story) -> Story:
    """Return a story of criticals of which a late tag brings in other people, who may be the only ones with a page."""
    states: list[SharedState] = []
    for number in range(random.choice([3, 4])):
        course = _course(f"w{number}", random.uniform(0, 60), "critical critical", _paces(random, 60.0))
        states += [replace(state, environment="prod-eu", team="db" if state.number else "") for state in course]
    routes = ({"when": {"tag.team": ["db"]}, "recipients": ["Dba"]},)
    timelines = {NOC: Timeline([Settings(0, routes=routes)])}
    story = alone(story, _posts(states), policy=_plain(story), routed=[], timelines=timelines)
    return replace(story, has_rest=True, cloud=USUAL)


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


def _with_comments_in_bigpanda(random: Random, story: Story) -> Story:
    """Return a story of pages that nobody answers, or only escalates, and of comments in BigPanda itself."""
    states: list[SharedState] = []
    answers: list[Said] = []
    remarks: list[tuple[float, str]] = []
    for number in range(random.choice([2, 3, 4])):
        name = f"u{number}"
        course = _course(
            name, random.uniform(0, 60), random.choice(["critical", "warning critical"]), _paces(random, 90.0)
        )
        states += course
        rang = course[-1].at
        if random.random() < 0.7:
            remarks.append((rang + random.choice([-60.0, 30.0, 200.0]) * random.uniform(0.5, 1.2), name))
        if random.random() < 0.5:
            answers.append(Said(rang + random.uniform(70, 200), len(answers), name, "Escalate", 1))
    policy = _plain(story, confirm_resolve=False, notify_on=["opened", "worsened", "resolved"])
    story = alone(story, _posts(states), policy=policy, routed=[])
    # BigPanda's key is part of a story with answers.
    answers = answers or [Said(1500.0, 0, "u0", "Not me", 1)]
    answered = random.choice([300.0, 600.0])
    receipts = {"notified_within_seconds": 120.0 if answered > 300 else 0.0, "answered_within_seconds": answered}
    story = replace(story, answers=answers, has_rest=True, receipts=receipts, cloud=USUAL)
    return replace(story, remarks=tuple(sorted(remarks)))


def _with_moved_incidents(random: Random, story: Story) -> Story:
    """Return a story of ends, some of incidents that BigPanda has in another environment than their shares say."""
    states: list[SharedState] = []
    for number in range(random.choice([2, 3])):
        course = _course(f"m{number}", random.uniform(0, 60), "critical ok", _paces(random, 60.0, 150.0))
        states += [replace(state, environment="prod-eu", environment_id="e") for state in course]
    story = alone(story, _posts(states), policy=_plain(story, confirm_resolve=True), routed=[])
    moved = frozenset(state.id for state in states if random.random() < 0.6)
    # BigPanda's key is part of a story with answers.
    return replace(story, answers=[Said(1500.0, 0, "m0", "Not me", 1)], moved=moved, cloud=USUAL)


def _with_a_silent_bigpanda(random: Random, story: Story) -> Story:
    """Return a story of incidents that end, and may open again, while BigPanda answers nothing for long."""
    states: list[SharedState] = []
    for number in range(random.choice([2, 3])):
        courses = ["critical ok critical", "critical ok", "critical ok warning", "warning ok critical"]
        paces = _paces(random, 20.0, 150.0, 500.0)
        states += _course(f"e{number}", random.uniform(0, 60), random.choice(courses), paces)
    fault = random.choice(["503", "timeout"])
    spell = Spell("bigpanda", fault, 0.0, random.uniform(1500, 2500), 1.0)
    story = alone(story, _posts(states), policy=_plain(story, confirm_resolve=True), spells=[spell], routed=[])
    return replace(story, answers=[Said(2800.0, 0, "e0", "Not me", 1)], cloud=USUAL)


def _with_a_deaf_phone(random: Random, story: Story) -> Story:
    """Return a story of criticals that xMatters does not take, and of two phones of which one can't be called."""
    return replace(_with_a_deaf_topic(random, story), has_phones=True, has_deaf_phone=True, has_rest=False)


def _with_refusals_for_good(random: Random, story: Story) -> Story:
    """Return a story of many signals that xMatters refuses for good, one by one, while others come."""
    states: list[SharedState] = []
    for number in range(16):
        states += _course(
            f"n{number}", number * random.uniform(4, 6), random.choice(["critical", "warning"]), _paces(random, 1.0)
        )
    spells = [Spell("xmatters", "refused", 0.0, random.uniform(50, 70), 1.0), *_full_dead_letters(random, 100.0)]
    return replace(alone(story, _posts(states), policy=_plain(story), spells=spells), cloud=USUAL)


def _with_acknowledged_incidents(random: Random, story: Story) -> Story:
    """Return a story of criticals that people acknowledge, before a late tag names others."""
    story = _with_late_recipients(random, story)
    posts: list[Post] = []
    answers: list[Said] = []
    for post in story.posts:
        at = post.state.at + (random.uniform(150, 300) if post.state.number else 0.0)
        posts.append(Post(at, replace(post.state, at=at)))
        if not post.state.number and random.random() < 0.7:
            answers.append(Said(at + random.uniform(30, 60), len(answers), post.state.id, "Acknowledge", 1))
    story = replace(story, posts=sorted(posts, key=lambda post: post.at))
    return replace(story, answers=answers or [Said(1500.0, 0, "w0", "Not me", 1)])


_LATER = (
    _with_comments_in_bigpanda,
    _with_moved_incidents,
    _with_a_silent_bigpanda,
    _with_a_deaf_phone,
    _with_refusals_for_good,
    _with_acknowledged_incidents,
)


def _with_a_row_of_ambiguous_answers(random: Random, story: Story) -> Story:
    """Return a story of incidents that change each few seconds, while xMatters accepts signals without an answer."""
    states: list[SharedState] = []
    for number in range(random.choice([1, 2])):
        course = random.choice(["critical warning critical", "warning critical critical"])
        states += _course(f"r{number}", random.uniform(0, 40), course, _paces(random, 4.0, 12.0))
    wants = ["opened", "worsened", "grew", "eased", "resolved"]
    spell = Spell("xmatters", random.choice(["reset rang", "504 rang"]), 0.0, random.uniform(60, 120), 1.0)
    policy = _plain(story, notify_on=wants)
    return replace(alone(story, _posts(states), policy=policy, spells=[spell], routed=[]), cloud=USUAL)


def _with_recipients_in_the_url(random: Random, story: Story) -> Story:
    """Return a story of criticals that nobody may hear, for one more recipient whom the trigger's URL names."""
    story = _with_late_answers(random, story)
    return replace(story, policy={**story.policy, "unanswered_recipients": [BOSS]}, has_url_recipient=True)


def _with_a_share_without_a_status(random: Random, story: Story) -> Story:
    """Return a story of criticals that nobody may hear, of which a later share does not say a status."""
    story = _with_late_answers(random, story)
    posts = list(story.posts)
    for incident in sorted({post.state.incident for post in posts if random.random() < 0.7}):
        last = max((post.state for post in posts if post.state.incident == incident), key=lambda state: state.number)
        [_, later] = _course(incident, last.at, "critical none", _paces(random, 30.0, 200.0))
        if last.status == "critical":
            posts.append(Post(later.at, replace(later, number=last.number + 1, alerts=last.alerts)))
    return replace(story, posts=sorted(posts, key=lambda post: post.at))


def _with_a_pause_beside_receipts(random: Random, story: Story) -> Story:
    """Return a story of criticals that nobody may hear, while the channel is paused for some time."""
    story = _with_late_answers(random, story)
    begins = random.randrange(150, 500)
    ends = begins + random.randrange(200, 900)
    pause = {"since": moment(begins), "until": moment(ends), "then": random.choice(["keep", "drop"])}
    return replace(story, timelines={NOC: Timeline([Settings(0, pauses=(pause,))])})


def _with_refused_bells(random: Random, story: Story) -> Story:
    """Return a story of signals that fail at first, while the retry queue loses messages and then takes none."""
    states: list[SharedState] = []
    for number in range(random.choice([2, 4])):
        status = random.choice(["critical", "critical", "warning"])
        states += _course(f"b{number}", random.uniform(0, 20), status, _paces(random, 1.0))
    ends = random.uniform(20, 60)
    begins = random.choice([0.0, ends + 30])
    spells = [
        Spell("xmatters", "503", 0.0, ends, 1.0),
        Spell("sqs", "refuses", begins, begins + random.uniform(300, 900), 1.0),
    ]
    story = alone(story, _posts(states), policy=_plain(story), spells=spells)
    return replace(story, vanishing=random.choice([0.0, 0.5, 1.0]), cloud=USUAL)


def _with_a_dead_ledger(random: Random, story: Story) -> Story:
    """Return a story of states that get too old while the ledger fails, and xMatters at first."""
    states: list[SharedState] = []
    for number in range(random.choice([2, 3])):
        states += _course(f"o{number}", random.uniform(0, 40), "critical", _paces(random, 1.0))
    age = random.choice([60, 100, 200])
    ends = 40 + age + random.uniform(-20, 60)
    faults = random.choice(["refuses", "refuses writes"])
    spells = [
        Spell("xmatters", random.choice(["503", "gone"]), 0.0, ends, 1.0),
        Spell("dynamodb", faults, random.choice([0.0, 30.0]), ends + random.uniform(100, 500), 1.0),
    ]
    policy = _plain(story, max_age_seconds=age)
    return replace(alone(story, _posts(states), policy=policy, spells=spells), cloud=USUAL)


def _with_troubled_follow_ups(random: Random, story: Story) -> Story:
    """Return a story of pages that have to end, while xMatters' REST API fails now and then."""
    states: list[SharedState] = []
    for number in range(random.choice([2, 3])):
        course = random.choice(["critical ok", "warning critical ok", "critical critical critical ok"])
        states += _course(f"v{number}", random.uniform(0, 60), course, _paces(random, 30.0, 90.0))
    spell = Spell("rest", random.choice(["503", "timeout"]), 0.0, random.uniform(300, 600), random.choice([0.3, 0.6]))
    wants = ["opened", "worsened", "grew", "resolved"]
    policy = _plain(story, confirm_resolve=False, notify_on=wants, replace=True)
    story = alone(story, _posts(states), policy=policy, spells=[spell])
    return replace(story, has_rest=True, cloud=USUAL)


def _with_ended_snoozes(random: Random, story: Story) -> Story:
    """Return a story of incidents that BigPanda snoozes, and that ring again meanwhile or after it."""
    states: list[SharedState] = []
    naps: list[Nap] = []
    for number in range(random.choice([2, 3])):
        name = f"z{number}"
        course = random.choice(["critical", "warning critical", "critical critical"])
        states += _course(name, random.uniform(0, 60), course, _paces(random, 100.0, 300.0, 500.0))
        begins = random.uniform(70, 300)
        naps.append(Nap(name, begins, begins + random.uniform(60, 500)))
    wants = ["opened", "worsened", "grew", "resolved", "reopened"]
    story = alone(story, _posts(states), policy=_plain(story, notify_on=wants), routed=[])
    # An API that lags shows a snooze after the incident rang at its end.
    return replace(story, naps=naps, reconcile_interval=120.0, api_lag=0.0, cloud=USUAL)


_PAIRS = (
    _with_recipients_in_the_url,
    _with_a_share_without_a_status,
    _with_a_pause_beside_receipts,
    _with_refused_bells,
    _with_a_dead_ledger,
    _with_troubled_follow_ups,
    _with_ended_snoozes,
)
