"""Reduction of a failing schedule to the fewest events that still fail, and its print as a test."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from copy import deepcopy, replace
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Any

from tests.simulation.silence import silence
from tests.simulation.simulation import Simulation, judge_story
from tests.simulation.story import SharedState, Story, chosen, default, plain_policy
from tests.simulation.verdict import Verdict

# Schedules that a reduction runs at most.
MOST_TRIES = 800
# A smaller story is tried with so many seeds, since each deletion changes all later random choices of a schedule.
SEEDS = 3
# Members of a policy that every channel of a story has.
_POLICY = plain_policy().keys()
# Lists of states that several states may share, since the relay can't distinguish these states.
_SHARED = ("arrivals", "answered", "shown")


@dataclass(frozen=True)
class Case:
    """A failing schedule.

    Attributes:
        seed: seed of the random choices while the story is played.
        story: the story, not played yet.
    """

    seed: int
    story: Story
    verdict: Verdict

    @property
    def events(self) -> int:
        """Number of posts, answers, operations, naps, spells and other members of the story's lists."""
        return sum(map(len, _lists(self.story).values()))


def shrunk(seed: int, story: Story, *, tries: int = MOST_TRIES) -> Case:
    """Return the failing schedule with as few channels, incidents, events and features as possible.

    Parts of the story are left out as long as the rest fails with a problem of the same kind. After `tries` schedules
    the smallest story so far is returned. Raises ValueError if the schedule does not fail.
    """
    case = Case(seed, story, judge_story(seed, deepcopy(story)))
    if not case.verdict.problems:
        raise ValueError(f"the schedule of seed {seed} does not fail")
    kinds, left, before = case.verdict.kinds, tries, None
    while before is not case:
        before = case
        for parts in (_without_channels, _without_incidents, _without_features, _without_events):
            place = 0
            # A part that is left out makes room for the next one at the same place.
            while left > 0 and (smaller := parts(case.story))[place:]:
                found, tried = _failing(case.seed, smaller[place], kinds)
                left -= tried
                case, place = (found, place) if found else (case, place + 1)
    return case


def _failing(seed: int, story: Story, kinds: AbstractSet[str]) -> tuple[Case | None, int]:
    """Return the story as a case if it has a problem of these kinds, else None; and the number of schedules run."""
    for tried in range(SEEDS):
        verdict = judge_story(seed + tried, deepcopy(story))
        if verdict.kinds & kinds:
            return Case(seed + tried, story, verdict), tried + 1
    return None, SEEDS


def _without_channels(story: Story) -> list[Story]:
    return [
        replace(
            story,
            others=_without(story.others, channel),
            timelines=_without(story.timelines, channel),
            posts=[post for post in story.posts if post.state.channel != channel],
            spells=[spell for spell in story.spells if spell.service != f"xmatters/{channel}"],
        )
        for channel in story.others
    ]


def _without_incidents(story: Story) -> list[Story]:
    names = dict.fromkeys(post.state.incident for post in story.posts)
    return [replace(story, posts=[post for post in story.posts if post.state.incident != name]) for name in names]


def _without_features(story: Story) -> list[Story]:
    smaller: list[dict[str, Any]] = [
        *({each.name: default(each)} for each in chosen(story) if default(each) is not MISSING),
        *({"cloud": replace(story.cloud, **{each.name: default(each)})} for each in chosen(story.cloud)),
        *({"policy": _without(story.policy, name)} for name in story.policy if name not in _POLICY),
        *(
            {"others": {**story.others, channel: _without(policy, name)}}
            for channel, policy in story.others.items()
            for name in policy
            if name not in _POLICY
        ),
    ]
    return [replace(story, **members) for members in smaller]


def _without_events(story: Story) -> list[Story]:
    smaller: list[dict[str, Any]] = [
        {name: events[:place] + events[place + 1 :]}
        for name, events in _lists(story).items()
        for place in range(len(events))
    ]
    return [replace(story, **members) for members in smaller]


def _lists(story: Story) -> dict[str, Any]:
    members = {each.name: getattr(story, each.name) for each in fields(story)}
    return {name: value for name, value in members.items() if isinstance(value, list | tuple)}


def _without(members: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {each: value for each, value in members.items() if each != name}


def as_test(case: Case) -> str:
    """Return the source of a test module with a failing schedule. The test fails while the schedule does."""
    states = list({id(post.state): post.state for post in case.story.posts}.values())
    names = {id(state): f"{re.sub(r'\W', '_', state.incident)}_{state.number}" for state in states}
    body = [f"# It found: {problem}" for problem in case.verdict.problems]
    body += [f"{names[id(state)]} = {_source(state)}" for state in states]
    body += _sharing(states, names)
    posts = [f"        {_source(post, {id(post.state): names[id(post.state)]})},\n" for post in case.story.posts]
    members = [f"    posts=[\n{''.join(posts)}    ],"]
    members += [
        f"    {each.name}={_source(getattr(case.story, each.name))},"
        for each in chosen(case.story)
        if each.name != "posts"
    ]
    body += ["story = Story(", *members, ")", "with silence():"]
    body += [f"    verdict = Simulation({case.seed}, story).run()", "assert verdict.problems == []"]
    lines = [line for text in body for line in text.split("\n")]
    code = "\n".join([f"def test_shrunk_schedule_of_seed_{case.seed}() -> None:", *(f"    {line}" for line in lines)])
    used: dict[str, set[str]] = defaultdict(set)
    needed: list[Any] = [silence, Simulation, *_classes(case.story)]
    for each in needed:
        used[each.__module__].add(each.__name__)
    imports = [f"from {module} import {', '.join(sorted(names))}" for module, names in sorted(used.items())]
    return "\n".join([*imports, "", "", code, ""])


def _classes(value: Any) -> Iterator[type]:
    """Yield the dataclasses of all objects that the source of a value names."""
    parts: Iterable[Any] = ()
    if is_dataclass(value):
        yield type(value)
        parts = [getattr(value, each.name) for each in chosen(value)]
    elif isinstance(value, Mapping):
        parts = value.values()
    elif isinstance(value, list | tuple):
        parts = value
    for part in parts:
        yield from _classes(part)


def _sharing(states: Sequence[SharedState], names: Mapping[int, str]) -> Iterator[str]:
    """Yield assignments that give states the same lists, where they share these lists in the story."""
    for name in _SHARED:
        first: dict[int, SharedState] = {}
        for state in states:
            known = first.setdefault(id(getattr(state, name)), state)
            if known is not state:
                yield f"{names[id(state)]}.{name} = {names[id(known)]}.{name}"


def _source(value: Any, names: Mapping[int, str] | None = None) -> str:
    """Return a Python expression for a value. `names` has the variables for objects that have one, by their ids."""
    source: Callable[[Any], str] = lambda part: _source(part, names)  # noqa: E731 - it passes the names on
    if names and id(value) in names:
        return names[id(value)]
    if is_dataclass(value):
        members = [f"{each.name}={source(getattr(value, each.name))}" for each in chosen(value)]
        return f"{type(value).__name__}({', '.join(members)})"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{source(key)}: {source(each)}' for key, each in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(source, value))}]"
    if isinstance(value, frozenset):
        return f"frozenset({sorted(value)!r})"
    return repr(value)
