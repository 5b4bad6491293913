"""Fixed stories: schedules that once broke an invariant, kept as tests, since the random schedules change."""

from typing import Any

from tests.simulation.silence import silence
from tests.simulation.simulation import Simulation
from tests.simulation.story import Post, SharedState, Story
from tests.simulation.weather import Spell
from tests.simulation.world import BEGINS_AT

PLAIN: dict[str, Any] = {
    "preset": "parity",
    "min_seconds_between_signals": 0,
    "max_per_minute": 60,
    "max_age_seconds": 3600,
    "fallback_after_seconds": 300,
    "replace": True,
}


def state(number: int, at: float, status: str) -> SharedState:
    """Return state `number` of incident i0, with the second of the state as its time stamp."""
    stamp = BEGINS_AT + int(at)
    return SharedState("i0", number, at, status != "ok", status, frozenset({"a0"}), stamp, stamp)


def story(posts: list[Post], **members: Any) -> Story:
    """Return a story of these posts in fair weather."""
    fair: dict[str, Any] = {
        "spells": [],
        "crashes": 0.0,
        "operations": [],
        "rotates_at": None,
        "learns_at": 0.0,
        "widens_at": None,
        "has_rest": False,
        "answers": [],
        "reconcile_interval": None,
        "naps": [],
        "routed": [],
    }
    return Story(policy=PLAIN, posts=posts, **fair | members)


def signalled(simulation: Simulation) -> list[int]:
    """Return the numbers of the states that xMatters accepted, in order."""
    return [ring.share for ring in simulation.phones.rings]


def test_second_lost_resolve_within_an_hour_is_found_by_a_reconcile_run() -> None:
    """Found by seed 500222: both resolves lost their webhooks, and the second was taken for the first."""
    shares = [state(0, 10, "critical"), state(1, 1240, "ok"), state(2, 1480, "critical"), state(3, 1528, "ok")]
    posts = [Post(each.at, each, is_lost=each.status == "ok") for each in shares]
    simulation = Simulation(500222, story(posts, reconcile_interval=120.0))
    with silence():
        verdict = simulation.run()
    assert verdict.problems == []
    assert signalled(simulation) == [0, 1, 2, 3]


def test_share_may_name_a_recipient_that_its_channel_gets_while_the_secret_is_read() -> None:
    """Found by seed 70011482: the share came before the change, and its function read the slow secret after it."""
    share = state(0, 10, "critical")
    slow = Spell("secrets", "slow", 0.0, 20.0, 1.0)
    simulation = Simulation(70011482, story([Post(10.0, share)], widens_at=10.1, spells=[slow]))
    with silence():
        verdict = simulation.run()
    assert verdict.problems == []
    assert [ring.recipients for ring in simulation.phones.rings] == [("Ops", "Dba")]
