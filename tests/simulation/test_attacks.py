"""Random attacks with each of a channel's tokens, and their invariants."""

import pytest

from tests.simulation.attacks import Attack

SCHEDULES = 120


@pytest.mark.parametrize("holds", ["webhook", "callback"])
def test_who_holds_a_token_silences_no_critical_rings_no_stranger_and_writes_nowhere_else(holds: str) -> None:
    found = {seed: problems for seed in range(SCHEDULES) if (problems := Attack(seed, holds).run())}
    assert found == {}


def test_schedules_hold_what_they_promise() -> None:
    attacks = [Attack(seed, "webhook") for seed in range(SCHEDULES)]
    for attack in attacks:
        attack.run()
    assert sum(attack.rhythm > 0 for attack in attacks) > SCHEDULES / 5
    assert sum(attack.refuted > 0 for attack in attacks) > SCHEDULES / 4
