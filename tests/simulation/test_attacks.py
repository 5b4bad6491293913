"""Random attacks with each of a channel's tokens, and their invariants."""

from collections.abc import Iterable, Sequence
from copy import replace

import pytest

from tests.simulation.attack_invariants import gaps
from tests.simulation.attack_plans import ATTACKED, RECIPIENTS, Flood, Rhythm, Truth, plan_of
from tests.simulation.attacks import Attack, judge, play
from tests.simulation.silence import silence

# Half of them with each token. Three of them are floods of resolves, which take the longest.
SCHEDULES = 104


@pytest.fixture(scope="module")
def attacks() -> Sequence[Attack]:
    """The schedules, after they ran."""
    return [play(seed) for seed in range(SCHEDULES)]


def assert_invariants(attacks: Iterable[Attack]) -> None:
    """Fail with the words of the first schedule that broke an invariant, if there is one."""
    failed = [attack for attack in attacks if attack.problems]
    if failed:
        words = "\n".join([*failed[0].words, "", *failed[0].problems])
        again = f"make simulate ATTACKS=1 SEED={failed[0].plan.seed}"
        pytest.fail(f"{words}\n\n{len(failed)} failed; to see this one again: {again}", pytrace=False)


def test_who_holds_the_webhook_token_silences_no_critical_rings_no_stranger_and_writes_nowhere(
    attacks: Sequence[Attack],
) -> None:
    assert_invariants(attack for attack in attacks if attack.plan.holds_webhook_token)


def test_who_holds_the_callback_token_changes_no_incident_and_writes_unverified_comments_alone(
    attacks: Sequence[Attack],
) -> None:
    assert_invariants(attack for attack in attacks if not attack.plan.holds_webhook_token)


@pytest.mark.parametrize("every", [3.0, 0.5])
def test_critical_rings_on_and_its_true_end_is_announced_during_a_flood_of_invented_incidents(every: float) -> None:
    """20 or 120 pairs a minute of a critical and its resolve are forged, and the channel has six environments.

    The channel's limit has room for all of them.
    """
    truth, after = Truth("i0", 10.0, 5000.0), Truth("i1", 20.0, 500.0)
    plan = replace(
        plan_of(0), truths=(truth, after), outages=(), forgeries=0, is_reconciled=False, environments=6, lag=0.0
    )
    plan = replace(plan, max_per_minute=200)
    # Resolves of the true incident are forged, too.
    flood, rhythm = Flood(30.0, every, int(600 / every), resolved_after=1.0), Rhythm(300.0, 150.0, 0.0)
    attack = Attack(0, replace(plan, flood=flood, rhythm=rhythm))
    with silence():
        attack.run()
    assert attack.problems == []
    ends = [signal.at for signal in attack.vendors.of("i1") if not signal.is_open]
    assert ends[0] <= 500 + (60 if every > 1 else 300)


def test_the_same_seed_makes_the_same_attack() -> None:
    assert judge(4).words == judge(4).words


def test_schedules_hold_what_they_promise(attacks: Sequence[Attack]) -> None:
    """Check that each kind of attack occurs often enough to find the faults that it is for."""
    with_webhook_token = [attack for attack in attacks if attack.plan.holds_webhook_token]
    floods = [attack for attack in with_webhook_token if attack.plan.flood]
    signals = [(attack, signal) for attack in with_webhook_token for signal in attack.vendors.signals]
    rung_by_url = {
        attack.plan.seed
        for attack, signal in signals
        if not signal.recipients <= {*RECIPIENTS.values(), *attack.plan.url_recipients}
    }
    assert sum(attack.plan.rhythm is not None for attack in with_webhook_token) > SCHEDULES / 10
    ends = [entry.end for attack in with_webhook_token for entry in attack.entries() if not entry.is_over]
    assert sum(end.version is not None and not end.is_claimed for end in ends) >= 3, "resolves that were refuted"
    assert sum(attack.plan.has_flood_of_resolves for attack in with_webhook_token) >= 3
    assert len({attack.plan.seed for attack, signal in signals if signal.is_of_reconcile}) > SCHEDULES / 10
    assert len(rung_by_url) > SCHEDULES / 20
    assert len(floods) > SCHEDULES / 10
    assert sum(bool(attack.notices) for attack in floods) >= 5
    assert any(
        gap.ends - gap.begins > attack.plan.fallback_seconds
        for attack in floods
        for truth in attack.plan.truths
        for gap in gaps(truth, attack.vendors.of(truth.id))
        if truth.channel == ATTACKED and not truth.is_lost
    )
    assert sum(bool(attack.vendors.comments) for attack in attacks) > SCHEDULES / 4
