"""Shadow mode: a channel decides as a live one, and sends and queues nothing."""

from typing import Any

import pytest

from relay.failures.reasons import Reason
from relay.jobs.outcome import Outcome
from relay.ledger.entry_key import key, shadow_of
from tests import samples
from tests.fakes import HookedDynamoDb, Relay, new_relay, table_down, worked
from tests.unit.delivery.test_ledger_down_and_races import hooked
from tests.unit.delivery.test_pauses import moment

LATER = 1_800_000_001


def shadowed(**policy: object) -> Relay:
    return new_relay(policy={"mode": "shadow", "preset": "oncall", **policy})


def fail(table: HookedDynamoDb, calls: int) -> None:
    """Let the next calls of the table fail."""
    for name in ("get_item", "update_item", "put_item"):
        done = table.calls.count(name)
        table.before |= {(name, number): table_down for number in range(done, done + calls)}


def sent_nothing(relay: Relay) -> bool:
    queued = [*relay.retries.messages, *relay.chores.messages, *relay.dead_letters.messages, *relay.sns.published]
    return not relay.session.calls and not queued


def test_share_that_would_ring_is_recorded_and_sends_nothing() -> None:
    relay = shadowed()
    result = relay.share()
    assert (result.outcome, result.subject.transition) == (Outcome.SHADOWED, "opened")
    assert relay.entry().newest is None
    assert relay.ledger.read(shadow_of(key("noc", (), "i1"))).announced is not None
    assert sent_nothing(relay)


def test_later_shares_are_compared_as_if_the_signal_had_been_accepted() -> None:
    relay = shadowed()
    relay.share()
    outcomes = [
        relay.share(),
        relay.share(changedOn=LATER, comments=["seen"]),
        relay.share(changedOn=LATER + 1, status="ok", active=False, resolved=True),
    ]
    assert [each.outcome for each in outcomes] == [Outcome.DUPLICATE, Outcome.UNCHANGED, Outcome.SHADOWED]
    assert outcomes[-1].subject.transition == "resolved"
    assert sent_nothing(relay)


def test_log_line_names_the_recipients_of_a_signal_that_was_not_sent() -> None:
    relay = new_relay(policy={"mode": "shadow"})
    relay.webhook.serve(samples.request(recipients=("jdoe",)))
    [line] = relay.recorder.lines()
    assert (line["outcome"], line["transition"], line["status"]) == ("shadowed", "opened", "critical")
    assert "jdoe" in line["recipients"]


def test_nothing_is_sent_while_the_ledger_fails() -> None:
    relay, table = hooked(policy={"mode": "shadow"})
    table.before["get_item", 0] = table_down
    result = relay.share()
    assert (result.outcome, bool(result.notices.unguarded)) == (Outcome.SHADOWED, True)
    assert sent_nothing(relay)


def test_pause_that_keeps_does_not_matter_in_shadow_mode() -> None:
    relay = shadowed(pauses=[{"since": moment(1_799_999_000), "until": moment(1_800_009_000), "then": "keep"}])
    assert relay.share().outcome == Outcome.SHADOWED


def test_open_incident_rings_at_its_next_share_after_shadow_mode() -> None:
    relay = shadowed()
    relay.share()
    live = Relay(relay.session, dynamodb=relay.dynamodb, clock=relay.clock, secrets=new_relay().secrets)
    assert live.share(changedOn=LATER, comments=["seen"]).outcome == Outcome.DELIVERED


@pytest.mark.parametrize("is_owed", [True, False])
def test_signal_from_before_shadow_mode_is_dead_lettered_if_it_is_owed(is_owed: bool) -> None:
    relay = new_relay(*([samples.refused(503)] if is_owed else []), policy={"preset": "oncall"})
    relay.share()
    sent = len(relay.session.calls)
    shadow = Relay(
        relay.session, dynamodb=relay.dynamodb, clock=relay.clock, secrets=shadowed().secrets, retries=relay.retries
    )
    shadow.wake()
    assert [job.failures.reason for job in shadow.dead_letters.jobs()] == [Reason.SHADOWED] * is_owed
    assert len(relay.session.calls) == sent


def test_job_that_is_older_than_the_limit_because_of_a_pause_is_not_sent_in_shadow_mode() -> None:
    pause = {"since": moment(1_799_999_990), "until": moment(1_800_007_200), "then": "keep"}
    policy = {"preset": "oncall", "max_age_seconds": 3600, "pauses": [pause]}
    relay = new_relay(policy=policy)
    relay.share()
    shadow = Relay(relay.session, dynamodb=relay.dynamodb, clock=relay.clock, secrets=shadowed(**policy).secrets)
    shadow.sweep(7260)
    shadow.wake(1)
    assert relay.session.calls == []
    assert [job.failures.reason for job in shadow.dead_letters.jobs()] == [Reason.SHADOWED]


def test_overdue_critical_of_a_channel_in_shadow_mode_alarms_nobody() -> None:
    relay = new_relay(samples.refused(503), policy={"preset": "oncall"})
    relay.share()
    relay.wake()
    shadow = Relay(relay.session, dynamodb=relay.dynamodb, clock=relay.clock, secrets=shadowed().secrets)
    shadow.sweep(900)
    assert shadow.sns.published == []


def test_overdue_critical_alarms_nobody_in_shadow_mode_while_the_ledger_fails() -> None:
    relay, table = hooked(samples.refused(503), policy={"preset": "oncall"})
    relay.share()
    shadow = Relay(relay.session, dynamodb=table, clock=relay.clock, secrets=shadowed().secrets, retries=relay.retries)
    for _ in range(8):
        fail(table, 20)
        shadow.wake(60)
    assert (shadow.sns.published, len(shadow.retries.messages)) == ([], 1)


def test_replayed_job_rings_once_the_channel_is_live_again() -> None:
    relay = new_relay(*[samples.refused(503)] * 3, samples.accepted(), policy={"preset": "oncall"})
    relay.share()
    shadow = Relay(
        relay.session, dynamodb=relay.dynamodb, clock=relay.clock, secrets=shadowed().secrets, retries=relay.retries
    )
    shadow.wake()
    sent = len(relay.session.calls)
    worked(relay, *shadow.dead_letters.jobs())
    assert len(relay.session.calls) == sent + 1


def test_record_of_an_accepted_signal_waits_for_the_ledger_in_shadow_mode() -> None:
    relay, table = hooked(policy={"preset": "oncall"})
    fail(table, 60)
    relay.share()
    shadow = Relay(relay.session, dynamodb=table, clock=relay.clock, secrets=shadowed().secrets, retries=relay.retries)
    fail(table, 60)
    shadow.wake()
    assert (shadow.dead_letters.messages, len(shadow.retries.messages)) == ([], 1)
    table.before.clear()
    shadow.wake()
    assert shadow.entry().announced is not None


def test_flapping_incident_makes_as_many_signals_in_the_report_as_in_a_live_channel() -> None:
    flap = {"transitions": 2, "minutes": 10}
    shadow, live = shadowed(flap=flap), new_relay(policy={"preset": "oncall", "flap": flap})
    resolved: dict[str, Any] = {"status": "ok", "active": False, "resolved": True}
    outcomes = []
    for number in range(8):
        changes: dict[str, Any] = {"changedOn": LATER + 60 * number, **(resolved if number % 2 else {})}
        for relay in (shadow, live):
            relay.clock.now += 60
        outcomes.append(shadow.share(**changes).outcome)
        live.share(**changes)
    live.sweep(660)
    live.wake(1)
    shadow.clock.now += 660
    outcomes.append(shadow.share(changedOn=LATER + 1200, comments=["over"], **resolved).outcome)
    assert outcomes.count(Outcome.SHADOWED) == len(live.session.calls) == 4
