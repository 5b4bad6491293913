"""Random schedules with all kinds of faults, and the invariants of all of them."""

from dataclasses import fields

import pytest

from tests.simulation.cloud import USUAL
from tests.simulation.many import Plays, play_all
from tests.simulation.operators import tell
from tests.simulation.recorded import PLAYED, changed
from tests.simulation.simulation import judge
from tests.simulation.weather import FAULTS

SCHEDULES = 1000


@pytest.fixture(scope="module")
def plays() -> Plays:
    """The schedules, after they ran."""
    return play_all(judge, PLAYED)


def test_every_invariant_holds_in_every_schedule(plays: Plays) -> None:
    if plays.failed:
        worst = plays.failed[0]
        words = "\n".join([*worst.words, "", *worst.problems])
        pytest.fail(f"{words}\n\nto see it again: make simulate SEED={worst.seed}", pytrace=False)


def test_every_schedule_plays_as_it_did_when_it_was_recorded(plays: Plays) -> None:
    if others := changed(plays.digests):
        some = ", ".join(map(str, others[:5]))
        pytest.fail(
            f"{len(others)} of {len(plays.digests)} schedules play in another way, such as {some}.\n"
            f"`make simulate SEED={others[0]}` prints one: compare it with the code before the change.\n"
            "If the change is meant: make record",
            pytrace=False,
        )


def test_the_same_seed_makes_the_same_schedule() -> None:
    assert judge(7).words == judge(7).words


def test_the_schedules_hold_what_they_promise() -> None:
    """Check that every kind of trouble occurs often enough to find its faults."""
    stories = [tell(seed) for seed in range(SCHEDULES)]
    faults = [(spell.service.partition("/")[0], spell.fault) for story in stories for spell in story.spells]
    assert min(map(faults.count, set(faults))) >= 8
    assert {service for service, _ in faults} == set(FAULTS)
    assert sum(story.crashes > 0 for story in stories) > SCHEDULES / 4
    assert sum(bool(story.operations) for story in stories) > SCHEDULES / 3
    assert sum(story.rotates_at is not None for story in stories) > SCHEDULES / 20
    assert any(state.state.version is None for story in stories for state in story.posts)
    assert sum(bool(story.others) for story in stories) > SCHEDULES / 6
    assert sum(bool(story.actions) for story in stories) >= SCHEDULES / 50
    assert sum(bool(story.topics) for story in stories) > SCHEDULES / 25
    assert sum(bool(story.timelines) for story in stories) > SCHEDULES / 30
    assert sum(any(post.state.url_recipients for post in story.posts) for story in stories) > SCHEDULES / 20
    usual = {each.name: getattr(USUAL, each.name) for each in fields(USUAL)}
    for name in usual.keys() - {"newer_schema"}:
        assert sum(getattr(story.cloud, name) != usual[name] for story in stories) >= SCHEDULES / 60, name
