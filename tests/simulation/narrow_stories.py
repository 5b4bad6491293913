"""Stories for one weakness each, in place of some of those in which no process dies."""

from collections.abc import Iterator
from copy import replace
from random import Random

from tests.simulation.cloud import USUAL
from tests.simulation.story import Post, Said, SharedState, Story, alone
from tests.simulation.weather import FAULTS, Spell
from tests.simulation.world import BEGINS_AT


def with_narrow_kind(seed: int, story: Story) -> Story:
    """Return the story, or one of a narrow kind in its place."""
    random = Random(f"narrow of {seed}")
    place = random.random()
    # Stories that are rare themselves stay.
    is_rare = story.crashes or story.actions or any(post.state.url_recipients for post in story.posts)
    return random.choice(_KINDS)(random, story) if 0.105 < place < 0.275 and not is_rare else story


def _course(incident: str, at: float, statuses: str, paces: Iterator[float]) -> list[SharedState]:
    """Return the states of an incident; `statuses` are its statuses in order, and `paces` the seconds in between."""
    states = []
    for number, status in enumerate(statuses.split()):
        stamp, alerts = int(BEGINS_AT + at), frozenset(f"a{each}" for each in range(number + 1))
        states.append(SharedState(incident, number, at, status != "ok", status, alerts, stamp, stamp))
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
    return replace(alone(story, _posts(states), policy=policy, spells=spells), cloud=USUAL)


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
