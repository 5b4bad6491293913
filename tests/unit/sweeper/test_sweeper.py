"""Sweeper: it replaces vanished messages, ends long waits, and reports the debts of each channel."""

import json
from dataclasses import replace
from typing import Any

import pytest

from relay.failures import ChannelUnreadable
from relay.http.session import HttpAnswer
from relay.ledger.debt import Ticket
from relay.ledger.entry import entry_key
from relay.ledger.rate_limit_and_circuit import gate_of
from tests import samples
from tests.fakes import Call, FakeSecrets, HookedDynamoDb, Relay, Step, dies, new_relay, table_down, worked

DOWN = samples.refused(503, b"down")


def vanished(*steps: Step, **changes: Any) -> Relay:
    """Return a relay that owes a share and whose retry queue lost its message."""
    relay = new_relay(*steps, **changes)
    relay.share()
    relay.retries.messages.clear()
    return relay


def due(relay: Relay) -> float:
    """Return the time from which the sweeper acts on the incident's debt, in epoch seconds."""
    row = relay.entry().debt.row
    assert row
    return row.due


def sweep_at(relay: Relay, moment: float) -> dict[str, Any]:
    """Let the sweeper run once, at a time in epoch seconds."""
    return relay.sweep(moment - relay.clock.now)


def begun(relay: Relay) -> int:
    row = relay.entry().debt.row
    assert row
    return row.begun


def test_many_debts_of_one_channel_do_not_delay_those_of_another() -> None:
    relay = new_relay(DOWN, channels=("loud", "noc"))
    for number in range(500):
        relay.post("loud", id=f"f{number}")
    relay.clock.now += 1
    relay.post()
    relay.post(id="i2", status="warning")
    relay.retries.messages.clear()
    relay.close_circuits()
    before = relay.dynamodb.calls.count("batch_get_item")
    assert relay.sweep(600)["healed"] == 62
    jobs = relay.retries.jobs()
    assert "i1" in [job.incident_id for job in jobs[:2]]
    assert jobs[-1].incident_id == "i2"
    # Six batches are for the fallback topic. A channel that used up its part of the run has no more rows read.
    assert relay.dynamodb.calls.count("batch_get_item") - before - 6 <= 2


def test_debts_that_a_pause_holds_do_not_keep_a_half_open_circuit_from_its_probe() -> None:
    def shared(name: str, environment: str) -> None:
        body = {"incident": {"id": name, "status": "critical"}, "metadata": {"environment": environment}}
        relay.share(json.dumps(body).encode())

    relay = new_relay(DOWN)
    for number in range(20):
        shared(f"s{number}", "staging")
    shared("p1", "production")
    relay.retries.messages.clear()
    relay.change_policy(pauses=[samples.pause("keep", when={"environment": ["staging"]})])
    relay.session.steps = [samples.accepted()]
    relay.sweep_for(300)
    assert (relay.entry("p1").announced is not None, relay.entry("s1").announced) == (True, None)


def test_state_that_came_while_the_circuit_was_tested_rings_soon_after_the_test_succeeded() -> None:
    def arrive(_: Call) -> HttpAnswer:
        # The first one has a message, which would be the next test.
        assert [relay.other().share(id=each).reason for each in ("i1", "i2")] == ["circuit_open"] * 2
        return samples.accepted()

    relay = new_relay(DOWN)
    for number in range(5):
        relay.share(id=f"f{number}")
    relay.session.steps = [arrive, samples.accepted()]
    relay.wake(36)
    relay.wake(6)
    assert relay.entry("i2").announced


def stormy() -> Relay:
    """Return a relay with an open circuit: `i0` has the message that is to test it, and `i1` waits with a row alone."""
    relay = new_relay(DOWN)
    for number in range(5):
        relay.share(id=f"f{number}")
    relay.retries.messages.clear()
    systems = {"i0": "nagios", "i1": "zabbix"}
    said = [relay.share(id=each, alerts=[{"id": each, "source_system": systems[each]}]) for each in systems]
    assert [each.reason for each in said] == ["circuit_open"] * 2
    relay.session.steps = [samples.accepted()]
    return relay


@pytest.mark.parametrize(
    ("change", "rung"),
    [({"alerts": ["a1"]}, True), ({"status": "ok"}, False), (None, False)],
    ids=["newer share", "end", "pause"],
)
def test_another_state_tests_the_circuit_if_the_one_that_was_to_do_it_sends_nothing(
    change: dict[str, Any] | None, rung: bool
) -> None:
    relay = stormy()
    if change:
        relay.share(id="i0", changedOn=int(relay.clock.now) + 1, **change)
    else:
        relay.change_policy(pauses=[samples.pause("keep", when={"source_system": ["nagios"]})])
    relay.clock.now += 36
    relay.wake(4)
    assert [relay.entry(each).announced is not None for each in ("i1", "i0")] == [True, rung]


def test_recovery_of_one_channel_does_not_use_up_that_of_another_whose_circuit_is_still_open() -> None:
    relay = stormy()
    relay.retries.messages.clear()
    relay.clock.now += 20
    relay.sweeper.recover(relay.clock.now)
    relay.clock.now += 5
    probe = Ticket({}, troubled=True, is_probe=True)
    assert relay.delivery.services.rate_limiter.report("noc", probe, None, None)
    relay.sweeper.recover(relay.clock.now)
    assert [job.incident_id for job in relay.retries.jobs()] == ["i1"]


def test_what_a_pause_held_rings_once_it_is_resumed_although_another_pause_goes_on() -> None:
    body = {"incident": {"id": "p1", "status": "critical"}, "metadata": {"environment": "production"}}
    staging = samples.pause("keep", when={"environment": ["staging"]})
    relay = new_relay(policy={"pauses": [samples.pause("keep", when={"environment": ["production"]}), staging]})
    assert relay.share(json.dumps(body).encode()).reason == "paused"
    relay.change_policy(pauses=[staging])
    relay.sweep(60)
    relay.wake(0)
    assert relay.entry("p1").announced


def test_what_a_pause_held_rings_no_sooner_than_other_states_after_a_worker_died_at_it() -> None:
    relay = new_relay(policy={"pauses": [samples.pause("keep")]})
    relay.share()
    relay.change_policy()
    relay.sweep(60)
    [job] = relay.retries.jobs()
    relay.delivery.record_begun_bell(job)
    assert [relay.sweep(60)["healed"] for _ in range(3)] == [0, 0, 1]


@pytest.mark.parametrize("text", [None, "{", '{"schema": 2}'], ids=["missing", "no JSON", "newer schema"])
def test_unreadable_stored_job_is_counted_and_asked_for_later(text: str | None) -> None:
    relay = vanished(DOWN)
    [name] = [name for name in relay.dynamodb.items if name.startswith("job/")]
    stored = relay.dynamodb.items.pop(name)
    if text is not None:
        relay.dynamodb.items[name] = stored | {"text": {"S": text}}
    moment = due(relay)
    assert sweep_at(relay, moment)["healed"] == 0
    assert relay.recorder.metrics()["sweeper_failed"] == 1
    assert due(relay) == moment + 180
    assert relay.sweep(60)["healed"] == 0
    assert relay.recorder.metrics()["sweeper_failed"] == 1
    relay.dynamodb.items[name] = stored
    assert relay.sweep(180)["healed"] == 1


def test_newer_debt_that_comes_while_one_with_an_unreadable_job_is_put_off_is_kept() -> None:
    table = HookedDynamoDb()
    relay = vanished(DOWN, dynamodb=table)
    [name] = [name for name in table.items if name.startswith("job/")]
    table.items[name] |= {"text": {"S": "{"}}
    # The share comes just before the sweeper writes the entry.
    table.before_next(lambda: relay.play("critical"), after=1)
    sweep_at(relay, due(relay))
    assert relay.recorder.metrics()["sweeper_failed"] == 1
    [newer] = [job.stored_name for job in relay.retries.jobs()]
    assert relay.entry().debt.job == newer


@pytest.mark.parametrize(("waiting", "woken"), [(200, {"c", "w"}), (201, {"c"})])
def test_only_criticals_are_woken_while_many_messages_wait_for_workers(waiting: int, woken: set[str]) -> None:
    relay = new_relay(DOWN)
    for name, status in (("w", "warning"), ("c", "critical")):
        relay.share(id=name, status=status)
    relay.retries.messages.clear()
    relay.close_circuits()
    relay.retries.visible = waiting
    relay.sweep(600)
    assert {job.incident_id for job in relay.retries.jobs()} == woken


def begun_five_times(**changes: Any) -> Relay:
    """Return a relay that owes a share at whose job five workers died."""
    relay = vanished(DOWN, DOWN, DOWN, dies, **changes)
    for number in range(5):
        assert begun(relay) == number
        sweep_at(relay, due(relay) + 60)
        jobs = relay.retries.jobs()
        relay.retries.messages.clear()
        for job in jobs:
            with pytest.raises(SystemExit):
                worked(relay, job)
    assert (begun(relay), relay.dead_letters.messages) == (5, [])
    return relay


def test_job_that_was_begun_five_times_without_a_result_is_dead_lettered_and_described_to_people() -> None:
    relay = begun_five_times(policy={"fallback_after_seconds": 3600}, xmatters={"recipients": ["Ops"]})
    assert sweep_at(relay, due(relay) + 60)["healed"] == 0
    [dead] = relay.dead_letters.jobs()
    assert (dead.stamps.reason, dead.incident_id, dead.dead_lettered_at is None) == ("internal", "i1", False)
    debt = relay.entry().debt
    assert (relay.entry().debt.is_given_up, debt.job, debt.reason) == (True, "", "internal")
    assert (relay.recorder.metrics()["dead_lettered"], relay.retries.messages) == (1, [])
    relay.sweep(60)
    assert 'recipients: "Ops"' in relay.sns.message()["Message"]["email"]


def test_job_that_the_sweeper_dead_lettered_can_be_replayed() -> None:
    relay = begun_five_times(policy={"fallback_after_seconds": 3600})
    sweep_at(relay, due(relay) + 60.000_456_7)
    [dead] = relay.dead_letters.jobs()
    relay.clock.now += 60
    relay.session.steps = [samples.accepted("r1")]
    relay.close_circuits()
    sent = len(relay.session.calls)
    assert (worked(relay, dead), len(relay.session.calls)) == ([], sent + 1)


def test_job_that_was_begun_five_times_is_said_to_be_too_old_once_it_is() -> None:
    relay = begun_five_times(policy={"max_age_seconds": 3600})
    sweep_at(relay, relay.clock.now + 3600)
    assert [dead.stamps.reason for dead in relay.dead_letters.jobs()] == ["expired"]
    assert relay.entry().debt.reason == "expired"


def test_newer_state_whose_job_could_not_be_stored_is_not_dead_lettered_with_the_older_job() -> None:
    table = HookedDynamoDb()
    relay = begun_five_times(dynamodb=table)
    relay.session.steps = [DOWN]
    relay.clock.now += 20
    stored = table.calls.count("put_item")
    table.before |= {("put_item", stored + attempt): table_down for attempt in (0, 1)}
    relay.play("critical")
    sweep_at(relay, due(relay))
    assert (relay.dead_letters.messages, len(relay.retries.messages)) == ([], 1)


def test_pause_that_is_over_ends_for_a_process_that_could_not_read_the_secret_before() -> None:
    relay = new_relay(policy={"pauses": [samples.pause("keep")]})
    relay.share()
    new = replace(relay, secrets=FakeSecrets(noc=ChannelUnreadable("throttled")))
    assert new.sweep(60)["healed"] == 0, "until it is read, the pause may go on"
    new.secrets.texts |= relay.secrets.texts
    new.change_policy()
    new.sweep(60)
    new.wake(0)
    assert relay.entry().announced


def test_state_whose_message_waits_until_its_channel_can_be_read_gets_no_second_message() -> None:
    relay = new_relay(DOWN)
    relay.share(status="warning")
    new = replace(relay, secrets=FakeSecrets(noc=ChannelUnreadable("throttled")))
    for _ in range(8):
        [wait] = new.delays()
        for _ in range(wait // 60):
            new.sweep(60)
        new.wake(wait % 60)
    assert wait >= 300


@pytest.mark.parametrize(("is_removed", "reason"), [(True, "channel_removed"), (False, "shadowed")])
def test_debt_of_a_channel_that_sends_no_more_is_given_up_although_its_circuit_is_open(
    is_removed: bool, reason: str
) -> None:
    relay = vanished(DOWN)
    relay.table.update(gate_of("noc"), put={"open_until": relay.clock.now + 9000, "failures": 5})
    if is_removed:
        del relay.secrets.texts["noc"]
    else:
        relay.edit_secret(lambda document: document["policy"].update(mode="shadow"))
    relay.sweep_for(600)
    assert [job.stamps.reason for job in relay.dead_letters.jobs()] == [reason]


def test_next_run_waits_for_the_lease_of_a_run_that_crashed() -> None:
    relay = vanished(DOWN)
    relay.sns.before = dies
    with pytest.raises(SystemExit):
        relay.sweep(300)
    relay.sns.before = lambda _: None
    other = relay.other(DOWN)
    assert other.sweep(55 - 1) == {}
    assert other.sweep(1) == {"owed": 1, "notified": 1, "healed": 1}


def test_lease_that_ends_far_in_the_future_keeps_no_run_out() -> None:
    relay = vanished(DOWN)
    relay.sns.before = dies
    relay.clock.now += 86_400
    with pytest.raises(SystemExit):
        relay.sweep(300)
    relay.clock.now -= 86_400
    relay.sns.before = lambda _: None
    assert relay.sweep(300)["healed"] == 1


class TestHealth:
    def test_each_run_asks_about_the_dead_letter_queue_so_that_sqs_goes_on_with_its_metrics(self) -> None:
        relay = new_relay()
        for _ in range(3):
            relay.sweep(60)
        assert relay.dead_letters.asked == 3

    def test_run_logs_and_counts_how_late_the_oldest_debt_is(self) -> None:
        relay = vanished(DOWN)
        sweep_at(relay, relay.entry("i1").debt.due + 12.4)
        line, metrics = relay.recorder.lines()[-1], relay.recorder.metrics()
        assert (line["message"], line["owed"], line["overdue_seconds"], line["healed"]) == ("swept", 1, 12, 1)
        assert (metrics["debts_owed"], metrics["debt_overdue_seconds"], metrics["debt_healed"]) == (1, 12, 1)

    def test_run_names_a_channel_that_owes_signals_for_two_minutes_and_why(self) -> None:
        relay = vanished(DOWN)
        since = relay.entry().debt.since or 0.0
        sweep_at(relay, since + 119.9)
        assert relay.recorder.lines("channel owes signals") == []
        sweep_at(relay, since + 120.1)
        [line] = relay.recorder.lines("channel owes signals")
        assert (line["channel"], line["owed"], line["oldest_seconds"], line["reason"]) == ("noc", 1, 120, "upstream")

    @pytest.mark.parametrize(("rows", "reports"), [(5000 - 1, 0), (5000, 1)])
    def test_run_that_does_not_see_all_rows_is_logged_as_failed(self, rows: int, reports: int) -> None:
        relay = new_relay()
        relay.dynamodb.page_size = 5000
        row = {
            "text": {"S": '{"owed_since": 1}'},
            "sequence": {"N": "1"},
            "due": {"S": "critical#3"},
            "due_at": {"N": "1900000000"},
        }
        for number in range(rows):
            name = entry_key("noc", (), f"i{number}")
            relay.dynamodb.items[name] = {"pk": {"S": name}, **row}
        assert relay.sweep()["owed"] == rows
        details = [line["detail"] for line in relay.recorder.lines("sweeper_failed")]
        assert len(details) == reports
        assert all("shard critical#3" in each for each in details)


LIMIT = 5
OVERLOADED = "channel overloaded: more arrives than its limit lets through"


def flood(relay: Relay, minutes: int, *, each: int, prefix: str = "f") -> None:
    """Share `each` new criticals in every minute. At a minute's end workers have all jobs, and the sweeper runs."""
    start = int(relay.clock.now)
    for _ in range(minutes):
        for number in range(each):
            relay.post(id=f"{prefix}-{int(relay.clock.now) - start}-{number}")
        relay.wake(30)
        relay.wake(0)
        relay.sweep(29)
        relay.clock.now += 1


def test_overloaded_channel_is_reported_in_the_third_run() -> None:
    relay = new_relay(policy={"max_per_minute": LIMIT})
    flood(relay, 2, each=20)
    assert relay.recorder.lines(OVERLOADED) == []
    flood(relay, 1, each=20, prefix="g")
    [line] = relay.recorder.lines(OVERLOADED)
    assert (line["channel"], line["arrived_per_minute"], line["max_per_minute"]) == ("noc", 20, LIMIT)
    assert 20 < line["owed"] <= 60
    assert 60 < line["critical_wait_seconds"] <= 900
    assert line["above_seconds"] == 120
