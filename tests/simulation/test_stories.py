"""Fixed stories: schedules that once broke an invariant, kept as tests, since the random schedules change."""

from tests.simulation.silence import silence
from tests.simulation.simulation import Simulation
from tests.simulation.story import Post, Story, plain_policy, stamped
from tests.simulation.weather import Spell


def signalled(simulation: Simulation) -> list[int]:
    """Return the numbers of the states that xMatters accepted, in order."""
    return [ring.share for ring in simulation.phones.rings]


def test_second_lost_resolve_within_an_hour_is_found_by_a_reconcile_run() -> None:
    """Found by seed 500222: both resolves lost their webhooks, and the second was taken for the first."""
    times = [(10, "critical"), (1240, "ok"), (1480, "critical"), (1528, "ok")]
    shares = [stamped("i0", number, at, status) for number, (at, status) in enumerate(times)]
    posts = [Post(each.at, each, is_lost=each.status == "ok") for each in shares]
    simulation = Simulation(500222, Story(plain_policy(), posts, reconcile_interval=120.0))
    with silence():
        verdict = simulation.run()
    assert verdict.problems == []
    assert signalled(simulation) == [0, 1, 2, 3]


def test_share_may_name_a_recipient_that_its_channel_gets_while_the_secret_is_read() -> None:
    """Found by seed 70011482: the share came before the change, and its function read the slow secret after it."""
    share = stamped("i0", 0, 10, "critical")
    slow = Spell("secrets", "slow", 0.0, 20.0, 1.0)
    simulation = Simulation(70011482, Story(plain_policy(), [Post(10.0, share)], widens_at=10.1, spells=[slow]))
    with silence():
        verdict = simulation.run()
    assert verdict.problems == []
    assert [ring.recipients for ring in simulation.phones.rings] == [("Ops", "Dba")]
