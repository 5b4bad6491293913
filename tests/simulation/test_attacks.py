"""Random attacks with each of a channel's tokens, and their invariants."""

from collections.abc import Sequence

import pytest

from tests.simulation.attacks import Attack

SCHEDULES = 120


def played(holds: str) -> list[Attack]:
    """Return the schedules of an attacker with that token, after they ran."""
    attacks = [Attack(seed, holds) for seed in range(SCHEDULES)]
    for attack in attacks:
        attack.run()
    return attacks


@pytest.fixture(scope="module")
def of_webhook_token() -> Sequence[Attack]:
    """The schedules of an attacker with the webhook's token."""
    return played("webhook")


def test_who_holds_the_webhook_token_silences_no_critical_rings_no_stranger_and_writes_nowhere_else(
    of_webhook_token: Sequence[Attack],
) -> None:
    assert {attack.seed: attack.problems for attack in of_webhook_token if attack.problems} == {}


def test_who_holds_the_callback_token_silences_no_critical_rings_no_stranger_and_writes_nowhere_else() -> None:
    assert {attack.seed: attack.problems for attack in played("callback") if attack.problems} == {}


def test_schedules_hold_what_they_promise(of_webhook_token: Sequence[Attack]) -> None:
    assert sum(attack.rhythm > 0 for attack in of_webhook_token) > SCHEDULES / 5
    assert sum(attack.refuted > 0 for attack in of_webhook_token) > SCHEDULES / 4
