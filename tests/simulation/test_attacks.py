"""Random attacks with each of a channel's tokens, and their invariants."""

from collections.abc import Iterable, Sequence
from copy import replace

import pytest

from tests.fakes import Clock
from tests.simulation.attack_invariants import gaps, refuted
from tests.simulation.attack_plans import ATTACKED, RECIPIENTS, Flood, Rhythm, Truth, plan_of
from tests.simulation.attacks import RHYTHM_STEP_SECONDS, Attack, _DelayedSqs, judge, play
from tests.simulation.silence import silence

# Half of them with each token.
SCHEDULES = 200
# Workers of a queue, and the time that one needs for a job besides its waits for BigPanda's rate limit.
WORKERS, JOB_SECONDS = 5, 0.5


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


class _SleepingClock(Clock):
    """The clock of workers that work at the same moment: while one of them sleeps, no time passes for the others."""

    def sleep(self, seconds: float) -> None:
        """Note how long the worker is busy."""
        self.slept.append(seconds)


class _FloodedAttack(Attack):
    """An attack in which five workers do the jobs of a queue, oldest first, and sleep at the same time."""

    def _work_on(self, queue: _DelayedSqs) -> None:
        awake, seconds, slept = queue.receive(), WORKERS * RHYTHM_STEP_SECONDS, self.relay.clock.slept
        while awake and seconds > 0:
            slept.clear()
            self.relay.worker.work([{"messageId": "m1", "body": awake.pop(0)["MessageBody"]}])
            seconds -= JOB_SECONDS + sum(slept)
        queue.messages[:0] = awake


def test_forged_resolve_is_refuted_in_a_few_minutes_during_a_flood_of_resolves_of_invented_incidents() -> None:
    """40 forged shares a minute: a critical and a resolve of each invented incident."""
    plan = replace(plan_of(0), truths=(Truth("i0", 10.0, 5000.0),), outages=(), forgeries=0, is_reconciled=False)
    # BigPanda is asked ten times about each. One resolve of the true incident comes when that many questions wait.
    plan = replace(plan, flood=Flood(30.0, 3.0, 480, resolved_after=1.0), rhythm=Rhythm(700.0, 700.0, 0.0))
    attack = _FloodedAttack(0, plan, _SleepingClock())
    with silence():
        attack.run()
    assert attack.problems == []
    assert refuted(attack.plan, attack.vendors) == 1


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
    assert sum(refuted(attack.plan, attack.vendors) > 0 for attack in with_webhook_token) > SCHEDULES / 5
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
