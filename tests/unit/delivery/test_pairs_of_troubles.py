"""Two troubles at once: a queue or the ledger fails, or the incident changes, while something else is under way."""

import json
from contextlib import suppress
from copy import replace
from typing import Any

import pytest

from relay.failures import ChannelUnreadable, UnknownChannel
from relay.http.session import HttpAnswer
from relay.jobs.job import Flag, Job, timestamp
from relay.jobs.queue import read_envelope
from relay.ledger.entry import About, entry_key
from tests import samples
from tests.fakes import (
    TABLE_DOWN,
    Call,
    FakeSecrets,
    FakeSession,
    HookedDynamoDb,
    Relay,
    dies,
    hooked,
    new_relay,
    once,
    table_down,
    worked,
)
from tests.unit import xmatters_tenant
from tests.unit.xmatters_tenant import Tenant

REFUSED = samples.refused(400)
DONE = HttpAnswer(204, {}, b"")
JANE = {"target": "jane"}


@pytest.fixture
def tenant() -> Tenant:
    made = Tenant()
    made.status["jane"] = "ACTIVE"
    return made


def refuse_gates(relay: Relay) -> Any:
    """Let the table refuse each update of the rate limiter; return the table's own update, which ends that."""
    update = relay.dynamodb.update_item

    def without_gates(**request: Any) -> Any:
        if request["Key"]["pk"]["S"].startswith("gate/"):
            table_down()
        return update(**request)

    relay.dynamodb.update_item = without_gates  # type: ignore[method-assign]
    return update


# ---- A queue refuses one message -------------------------------------------------------------------------------------


def test_pages_end_although_a_queue_refuses_the_follow_up_of_a_resolve_once(tenant: Tenant) -> None:
    relay = xmatters_tenant.new_relay(tenant)
    relay.play("critical 20 critical 20")
    relay.session.steps = [samples.refused(503), samples.refused(503), samples.refused(503), tenant.accept]
    relay.play("ok")
    relay.chores.before = once(table_down)
    relay.wake(400)
    assert tenant.ended == ["page-1"]


def test_pages_end_although_a_queue_refuses_the_follow_up_of_a_resolve_that_a_pause_holds(tenant: Tenant) -> None:
    relay = xmatters_tenant.new_relay(tenant)
    relay.play("critical 20 20 20")
    relay.change_policy(pauses=[samples.pause("keep", until=8 * 3600)], notified_within_seconds=0)
    relay.chores.before = once(table_down)
    assert relay.play("ok") == ["queued paused"]
    relay.sweep_for(120)
    assert (tenant.ended, relay.statuses(), relay.entry().debt.reason) == (["page-1"], "critical", "paused")


def test_pages_end_although_a_queue_refuses_the_follow_up_of_a_resolve_that_xmatters_refuses(tenant: Tenant) -> None:
    relay = xmatters_tenant.new_relay(tenant)
    relay.play("critical 20 20 20")
    relay.session.steps, relay.chores.failure = [REFUSED] * 60, TABLE_DOWN
    relay.play("ok")
    relay.wake(600)
    assert (tenant.ended, len(relay.dead_letters.messages), len(relay.session.calls)) == ([], 0, 2)
    relay.chores.failure = None
    relay.wake(900)
    assert (tenant.ended, len(relay.dead_letters.messages), len(relay.session.calls)) == (["page-1"], 1, 2)


@pytest.mark.parametrize("trouble", ["the queue refuses it", "its sender dies"])
def test_signal_that_xmatters_refused_is_sent_no_more_although_it_is_dead_lettered_late(trouble: str) -> None:
    relay = new_relay(*[REFUSED] * 9)

    def fail(_: dict[str, Any]) -> None:
        relay.dead_letters.before = lambda _: None
        raise SystemExit if trouble == "its sender dies" else TABLE_DOWN.with_traceback(None)

    relay.dead_letters.before = fail
    with suppress(SystemExit):
        relay.play("critical")
    assert (len(relay.session.calls), relay.dead_letters.messages) == (1, [])
    relay.sweep_for(600)
    [dead] = relay.dead_letters.jobs()
    assert (len(relay.session.calls), dead.stamps.reason, relay.entry().debt.is_given_up) == (1, "refused", True)


def test_page_of_a_held_resolve_ends_soon_although_both_queues_refuse_it_once(tenant: Tenant) -> None:
    relay = xmatters_tenant.new_relay(tenant)
    relay.play("critical 20 20 20")
    relay.change_policy(pauses=[samples.pause("keep", until=8 * 3600)], notified_within_seconds=0)
    relay.retries.failure = relay.chores.failure = TABLE_DOWN
    assert relay.play("ok") == ["queued paused"]
    relay.retries.failure = relay.chores.failure = None
    relay.sweep_for(180)
    assert tenant.ended == ["page-1"]


def test_critical_that_opens_again_rings_although_its_resolve_had_no_follow_up_and_was_refused(tenant: Tenant) -> None:
    relay = xmatters_tenant.new_relay(tenant)
    relay.play("critical 20 20 20")
    relay.session.steps, relay.chores.failure = [REFUSED] * 60, TABLE_DOWN
    relay.play("ok")
    relay.wake(300)
    relay.session.steps = [tenant.accept]
    assert relay.play("critical") == ["delivered reopened"]


@pytest.mark.parametrize("failures", [0, 4])
def test_recipients_of_a_webhook_are_recorded_once_the_table_takes_writes(failures: int, tenant: Tenant) -> None:
    access = {"api_key": "BPU-x", "environment_id": "e1", "reconcile": False}
    relay = xmatters_tenant.new_relay(
        tenant,
        policy={"confirm_resolve": False},
        xmatters=samples.CALLBACK,
        access=access,
        bigpanda=FakeSession(DONE),
    )
    relay.session.steps = [*[samples.refused(503)] * failures, tenant.accept]
    update, ends = relay.dynamodb.update_item, relay.clock.now + 60

    def throttled(**request: Any) -> Any:
        if request["Key"]["pk"]["S"].startswith("shared/") and relay.clock.now < ends:
            table_down()
        return update(**request)

    relay.dynamodb.update_item = throttled  # type: ignore[method-assign]
    relay.post(recipients=("dba",))
    relay.wake(40)
    assert len(relay.retries.messages) == 1
    relay.wake(40)
    assert failures or "without a record of the URL's recipients" in relay.recorder.written()
    relay.wake(40)
    relay.call_back("response", "Acknowledge", page="page-1", person=JANE)
    relay.drain()
    assert [call.url.rpartition("/")[2] for call in relay.bigpanda.calls] == ["comments"]


def test_state_that_was_sent_without_the_ledger_rings_once_although_a_queue_refuses_its_follow_up(
    tenant: Tenant,
) -> None:
    relay = xmatters_tenant.new_relay(tenant)
    relay.dynamodb.failure = relay.chores.failure = TABLE_DOWN
    relay.play("warning")
    relay.wake(1800)
    assert len(relay.session.calls) == 1
    relay.dynamodb.failure = relay.chores.failure = None
    relay.wake(60)
    assert ([signal.pages for signal in relay.entry().accepted_signals], len(relay.session.calls)) == ([("page-1",)], 1)


def test_page_is_found_although_the_rate_limiter_failed_and_a_queue_refuses_the_follow_up_once(tenant: Tenant) -> None:
    relay = xmatters_tenant.new_relay(tenant)
    relay.session.steps = [samples.refused(503), samples.refused(503), samples.refused(503), tenant.accept]
    relay.play("critical")
    refuse_gates(relay)
    relay.chores.before = once(table_down)
    relay.wake(400)
    assert [signal.pages for signal in relay.entry().accepted_signals] == [("page-1",)]


@pytest.mark.parametrize("is_refused", [True, False], ids=["the queue refuses its next message", "it takes it"])
def test_bell_whose_channel_cannot_be_read_is_no_poison(is_refused: bool) -> None:
    relay = new_relay(samples.refused(503))
    relay.play("critical")
    relay.retries.messages.clear()
    relay.sweep(400)
    [bell] = relay.retries.jobs()
    relay = replace(relay, secrets=FakeSecrets(noc=ChannelUnreadable("refused")))
    relay.retries.failure = TABLE_DOWN if is_refused else None
    for _ in range(7):
        relay.clock.now += 180
        assert worked(relay, bell) == (["m1"] if is_refused else [])
    row = relay.entry().debt.row
    assert row is not None
    assert (row.begun, row.due > relay.clock.now + 180) == (0, True)
    assert relay.dead_letters.messages == []


# ---- The ledger fails ------------------------------------------------------------------------------------------------


def test_people_are_told_of_a_refused_critical_that_the_ledger_could_not_record() -> None:
    relay, table = hooked(samples.refused(503))
    table.failure = TABLE_DOWN
    relay.play("critical")
    table.failure = None

    def refuse(_: Call) -> HttpAnswer:
        table.failure = TABLE_DOWN
        return REFUSED

    relay.session.steps = [refuse, REFUSED]
    relay.wake(40)
    table.failure = None
    relay.sweep_for(300)
    assert relay.entry().debt.is_given_up
    assert (len(relay.dead_letters.messages), len(relay.sns.published)) == (1, 1)


@pytest.mark.parametrize("trouble", ["another sender writes", "the table fails"])
def test_expired_critical_of_a_sender_that_died_is_dead_lettered_and_told_of_although_a_write_fails(
    trouble: str,
) -> None:
    relay, table = hooked(dies, policy={"max_age_seconds": 600})
    with pytest.raises(SystemExit):
        relay.play("critical")
    [job] = relay.retries.jobs()
    relay.retries.messages, key = [], entry_key("noc", (), "i1")
    relay.clock.now += 700
    if trouble == "the table fails":
        table.before_next(table_down, after=1)
    else:
        table.before_next(lambda: relay.ledger.change(key, lambda each: replace(each, about=About("other"))))
    assert worked(relay, job) == []
    relay.play("3m")
    assert (relay.entry().debt.is_given_up, len(relay.sns.published)) == (True, 1)


def test_state_that_waited_in_a_pause_for_a_record_without_the_ledger_rings_after_the_pause() -> None:
    policy: dict[str, Any] = {"notify_on": ["opened", "grew"]}
    relay = new_relay(policy=policy)
    relay.dynamodb.failure = TABLE_DOWN
    relay.play("critical", alerts=["a1"])
    relay.change_policy(**policy, pauses=[samples.pause("keep")])
    assert relay.play("critical", alerts=["a1", "a2"]) == ["queued paused"]
    relay.change_policy(**policy)
    relay.dynamodb.failure = None
    relay.play("30 60 60")
    assert relay.statuses() == "critical critical"


def test_state_whose_row_was_written_twice_since_an_answer_was_lost_rings_although_its_message_is_lost_too() -> None:
    relay = new_relay(policy={"notify_on": ["opened", "grew"], "min_seconds_between_signals": 60})
    relay.play("critical", alerts=["a1"])
    update = relay.dynamodb.update_item
    relay.dynamodb.update_item = lambda **request: (update(**request), update(**request))[1]  # type: ignore[method-assign]
    assert relay.play("critical", alerts=["a1", "a2"]) == ["duplicate"]
    relay.dynamodb.update_item = update  # type: ignore[method-assign]
    relay.retries.messages.clear()
    relay.play("10m")
    assert relay.statuses() == "critical critical"


@pytest.mark.parametrize("change", ["pause", "shadow"])
def test_pause_and_shadow_mode_are_learnt_within_seconds_while_the_table_cannot_be_read(change: str) -> None:
    relay = new_relay()
    relay.play("critical 20")
    signals = len(relay.session.calls)

    for table in (relay.dynamodb, relay.credentials):
        table.get_item = table_down  # type: ignore[method-assign]
    pauses = [samples.pause("keep")]
    relay.edit_secret(
        lambda secret: secret["policy"].update({"pauses": pauses} if change == "pause" else {"mode": change})
    )
    reads = len(relay.secrets.reads)
    relay.clock.now += 15
    for number in range(4):
        relay.post(id=f"later{number}")
    assert (len(relay.session.calls), len(relay.secrets.reads)) == (signals, reads + 1)


# ---- The incident changes meanwhile ----------------------------------------------------------------------------------


def test_answer_does_not_resolve_an_incident_that_gets_worse_while_bigpanda_is_slow(tenant: Tenant) -> None:
    def bigpanda(call: Call) -> HttpAnswer:
        if "Users" in call.url:
            return HttpAnswer(200, {}, json.dumps({"Resources": [{"id": "u1", "userName": "jane"}]}).encode())
        if call.url.endswith("/assignment"):
            relay.clock.now += 3
            relay.play("critical")
        return DONE

    access = {"api_key": "BPU-x", "environment_id": "e1", "reconcile": False, "assign": True}
    relay = xmatters_tenant.new_relay(
        tenant,
        policy={"confirm_resolve": False},
        xmatters=CALLBACK,
        access=access | {"actions": {"Acknowledge": {"do": "resolve"}}},
        bigpanda=FakeSession(bigpanda),
    )
    relay.play("warning 15")
    relay.call_back("response", "Acknowledge", page="page-1", person=JANE)
    relay.wake(0)
    last = relay.bigpanda.calls[-1]
    assert last.url.endswith("/comments")
    assert b"(Not resolved: it changed since that page.)" in last.body


def test_answer_to_a_page_of_an_earlier_critical_says_nothing_of_a_later_one(tenant: Tenant) -> None:
    policy = {"notified_within_seconds": 120, "answered_within_seconds": 600}
    relay = xmatters_tenant.new_relay(tenant, policy=policy, xmatters={"recipients": ["Ops"]})
    relay.play("critical")
    tenant.audits = {"page-1": ["DELIVERED", "Acknowledge"]}
    ends = once(lambda: relay.play("ok critical"))

    def rest(call: Call) -> HttpAnswer:
        if "/audits" in call.url:
            relay.clock.now += 1
            ends()
        return tenant.rest(call)

    relay.rest.steps = [rest]
    relay.wake(150)
    relay.sweep_for(600)
    assert relay.entry().receipt.answered_at == 0
    assert len(relay.sns.published) == 1


@pytest.mark.parametrize("second", ["rang", "owed"])
def test_topic_is_told_of_a_critical_that_comes_while_it_is_told_of_an_earlier_one(second: str, tenant: Tenant) -> None:
    relay = xmatters_tenant.new_relay(tenant, policy={"notified_within_seconds": 120}, xmatters={"recipients": ["Ops"]})
    relay.play("critical")

    def comes_again(_: dict[str, Any]) -> None:
        relay.clock.now += 3
        if second == "owed":
            relay.session.steps = [tenant.accept, samples.refused(503)]
        relay.play("ok critical")

    relay.sns.before = once(comes_again)
    relay.sweep_for(1200)
    assert len(relay.sns.published) == 2


def test_nobody_is_told_again_that_no_page_came_of_a_critical_that_was_snoozed_while_people_were_told(
    tenant: Tenant,
) -> None:
    tenant.makes_pages = False
    policy = {"notified_within_seconds": 120, "page_within_seconds": 300}
    relay = xmatters_tenant.new_relay(tenant, policy=policy, xmatters={"recipients": ["Ops"]})
    relay.play("critical")
    relay.sns.before = once(lambda _: relay.play("comment", snooze={"snoozed": True}))
    relay.sweep_for(1200)
    assert len(relay.sns.published) == 1


def test_nobody_is_told_of_a_critical_that_xmatters_refuses_if_it_ended_meanwhile() -> None:
    def ends(_: Call) -> HttpAnswer:
        relay.play("ok")
        return REFUSED

    relay = new_relay(ends, policy={"notify_on": ["opened"]})
    relay.play("critical 10m")
    assert (relay.entry().is_over, relay.sns.published) == (True, [])


def test_critical_rings_again_if_its_page_ended_and_it_opens_while_the_resolve_fails(tenant: Tenant) -> None:
    def opens(_: Call) -> HttpAnswer:
        relay.play("critical")
        return samples.refused(503)

    relay = xmatters_tenant.new_relay(tenant)
    relay.play("critical 20 20")
    relay.session.steps = [*[samples.refused(503)] * 3, opens, tenant.accept]
    relay.play("ok")
    relay.close_circuits()
    relay.play("70 60 60")
    assert (relay.statuses(), tenant.ended) == ("critical ok ok ok ok critical", ["page-1"])


@pytest.mark.parametrize(("distance", "reason"), [(0, "upstream"), (3600, "paced")])
def test_delay_of_a_critical_counts_from_the_early_end_of_its_pause(distance: int, reason: str) -> None:
    policy: dict[str, Any] = {"notify_on": ["opened", "grew"], "min_seconds_between_signals": distance}
    relay = new_relay(samples.accepted("r1"), samples.refused(503), policy=policy)
    relay.play("critical", alerts=["a1"])
    relay.change_policy(**policy, pauses=[samples.pause("keep", until=7200)])
    relay.play("critical", alerts=["a1", "a2"])
    relay.change_policy(**policy, pauses=[samples.pause("keep", since=80_000, until=90_000)])
    relay.play("60 sweep 0")
    debt = relay.entry().debt
    assert (debt.reason, debt.paused_until <= relay.clock.now) == (reason, True)


def test_entry_of_a_replayed_critical_says_what_it_waits_for() -> None:
    relay = new_relay(REFUSED, samples.refused(429))
    relay.play("critical")
    relay.share(id="i2")
    relay.clock.now += 1
    worked(relay, *relay.dead_letters.jobs())
    assert relay.entry().debt.reason == "circuit_open"


def test_older_copy_of_a_replayed_message_is_not_too_old() -> None:
    relay = new_relay(REFUSED, samples.refused(503), policy={"max_age_seconds": 600})
    relay.play("critical")
    [dead] = relay.dead_letters.jobs()
    relay.clock.now += 590
    worked(relay, dead)
    *_, again = relay.retries.jobs()
    relay.clock.now += 60
    worked(relay, replace(again, revived_at=None, dead_lettered_at=None))
    assert len(relay.dead_letters.messages) == 1


def test_bell_does_not_overwrite_what_a_quick_worker_recorded() -> None:
    relay = new_relay(samples.refused(503))
    relay.share()
    relay.retries.messages.clear()
    relay.close_circuits()
    relay.retries.before = once(lambda message: worked(relay, read_envelope(message["MessageBody"])))
    relay.sweep(300)
    row = relay.entry().debt.row
    assert row is not None
    assert (row.is_unbegun, row.begun) == (False, 0)


@pytest.mark.parametrize("is_bell", [False, True])
def test_state_whose_sender_dies_each_time_is_given_up_although_no_further_bell_rings(is_bell: bool) -> None:
    relay = new_relay(samples.refused(503), samples.refused(503), samples.refused(503), dies)
    relay.play("critical")
    relay.close_circuits()
    [job] = relay.retries.jobs()
    job = job.with_flags(Flag.BELL) if is_bell else job
    for _ in range(5):
        relay.clock.now += 180
        with pytest.raises(SystemExit):
            worked(relay, job)
    relay.clock.now += 180
    worked(relay, job)
    assert [dead.stamps.reason for dead in relay.dead_letters.jobs()] == ["internal"]
    relay.sweep(60)
    assert len(relay.sns.published) == 1


def test_comment_never_rings_although_neither_the_table_nor_a_queue_takes_it() -> None:
    relay = new_relay()
    relay.play("critical")
    relay.dynamodb.refuses_writes, relay.retries.failure = True, TABLE_DOWN
    [came] = relay.play("comment")
    assert (came, len(relay.session.calls)) == ("unsafe internal", 1)


def test_recipients_who_were_signalled_meanwhile_are_not_signalled_again_with_the_next_update(tenant: Tenant) -> None:
    policy = {"answered_within_seconds": 300, "unanswered_recipients": ["Boss"], "notify_on": ["opened", "grew"]}
    table = HookedDynamoDb()
    relay = xmatters_tenant.new_relay(tenant, policy=policy, xmatters={"recipients": ["Ops"]}, dynamodb=table)
    relay.play("critical", alerts=[{"id": "a1"}])
    tenant.audits = {"page-1": ["DELIVERED"]}
    for _ in range(6):
        relay.sweep(60)
    table.before_next(lambda: relay.wake(0))
    relay.play("critical", alerts=[{"id": "a1"}, {"id": "a2"}])
    assert relay.rung() == ["Ops", "Boss", "Ops"]


def test_further_recipients_are_signalled_of_a_critical_whose_record_failed_once(tenant: Tenant) -> None:
    table = HookedDynamoDb()
    relay = xmatters_tenant.new_relay(tenant, policy=LATE, xmatters=CALLBACK, dynamodb=table)

    def accepts(call: Call) -> HttpAnswer:
        table.before_next(table_down)
        return tenant.accept(call)

    relay.session.steps = [accepts]
    relay.play("critical 7m")
    assert relay.rung() == ["Ops", "Boss"]


def test_critical_is_owed_to_further_recipients_alone_if_the_topic_is_told_while_an_update_is_sent(
    tenant: Tenant,
) -> None:
    relay = xmatters_tenant.new_relay(tenant, policy=GROWING, xmatters=CALLBACK)
    relay.play("critical 298", alerts=["a1"])

    def slow(call: Call) -> HttpAnswer:
        relay.sweep(4)
        return tenant.accept(call)

    relay.session.steps = [slow, tenant.accept]
    relay.play("critical", alerts=["a1", "a2"])
    relay.retries.messages.clear()
    relay.sweep(0)
    # Only the ledger says that the message of the sweeper is for further recipients.
    relay.dynamodb.failure = TABLE_DOWN
    relay.play("0 60 60 60 60")
    assert (relay.rung(), len(relay.sns.published)) == (["Ops", "Ops"], 1)
    relay.dynamodb.failure = None
    relay.play("5m")
    assert relay.rung() == ["Ops", "Ops", "Boss"]


def test_critical_that_comes_again_rings_all_if_the_policy_has_no_rule_for_flaps() -> None:
    relay = new_relay(policy={"notify_on": ["opened", "eased", "worsened"]}, xmatters=CALLBACK)
    relay.play("critical 60 response:Acknowledge@page-1=anna 60 warning 60 critical 60")
    assert relay.rung() == ["Ops", "anna", "Ops"]


def test_share_that_takes_too_much_work_to_route_rings_the_channels_own_recipients_too() -> None:
    patterns = [f"*{number}{198 * 'x'}" for number in range(6)]
    routes = [{"when": {"tag.team": pattern}, "recipients": ["Web"]} for pattern in patterns]
    relay = new_relay(policy={"routes": routes}, xmatters=CALLBACK)
    tags = [{"name": "team", "value": f"{number:01507}"} for number in range(202)]
    assert relay.share(tags=tags).outcome == "delivered"
    assert relay.rung() == ["Ops,Web"]


def test_incident_has_the_priority_of_its_route_or_else_of_its_status_also_of_an_unknown_one() -> None:
    route = {"when": {"status": "warning"}, "recipients": ["Ops"], "priority": "HIGH"}
    relay = new_relay(policy={"priorities": {"unknown": "MEDIUM", "ok": "LOW"}, "routes": [route]})
    relay.play("major warning critical ok")
    said = [json.loads(call.headers["X-Relay-Decision"]) for call in relay.session.calls]
    assert [(each["status"], each["is_over"], each["priority"]) for each in said] == [
        ("", False, "MEDIUM"),
        ("warning", False, "HIGH"),
        ("critical", False, "HIGH"),
        ("ok", True, "LOW"),
    ]


def test_critical_that_expires_while_the_table_refuses_writes_is_dead_lettered_once_and_told_of() -> None:
    relay = new_relay(samples.refused(503), policy={"max_age_seconds": 120, "fallback_after_seconds": 60})
    relay.dynamodb.refuses_writes = True
    relay.play("critical")
    relay.wake(600)
    relay.dynamodb.refuses_writes = False
    relay.wake(60)
    relay.sweep(60)
    assert [dead.stamps.reason for dead in relay.dead_letters.jobs()] == ["expired"]
    assert relay.sns.published[-1]["Subject"] == "CRITICAL, xMatters did not notify: incident i1 of channel noc"


def test_critical_rings_although_an_older_state_of_its_incident_killed_its_workers() -> None:
    relay = new_relay(samples.refused(503))
    relay.play("warning")
    relay.session.steps = [dies]
    [job] = relay.retries.jobs()
    for _ in range(5):
        relay.clock.now += 180
        with pytest.raises(SystemExit):
            worked(relay, job)
    relay.close_circuits()
    relay.session.steps = [samples.accepted("r9")]
    relay.clock.now += 40
    assert relay.play("critical") == ["delivered worsened"]


def test_critical_that_waits_by_its_row_alone_rings_although_an_older_state_begins_its_unreadable_entry_anew() -> None:
    relay = new_relay(samples.refused(503))
    relay.play("warning")
    [older] = relay.retries.jobs()
    relay.close_circuits()
    relay.change_policy(pauses=[samples.pause("keep")])
    assert relay.play("critical") == ["queued paused"]
    relay.change_policy()
    relay.dynamodb.items[entry_key("noc", (), "i1")]["text"]["S"] = "damaged"
    relay.session.steps = [samples.accepted("r1"), samples.accepted("r2")]
    relay.retries.messages = []
    worked(relay, older)
    relay.wake(60)
    assert relay.statuses().endswith("warning critical")


def test_bell_lets_a_signal_be_recorded_first_that_was_accepted_when_the_ledger_failed() -> None:
    relay, table = hooked()
    relay.session.steps = [samples.refused(503)] * 3
    relay.play("critical")

    def accept_last(_: Call) -> HttpAnswer:
        table.failure = TABLE_DOWN
        return samples.accepted("r1")

    relay.session.steps = [accept_last]
    relay.wake(40)
    relay.clock.now += 300
    table.failure = None
    [note] = relay.retries.jobs()
    relay.sweep(0)
    _, bell = relay.retries.jobs()
    assert note.accepted
    assert bell.accepted is None
    assert relay.retries.delays()[1] > 30


def test_critical_of_an_unreadable_entry_rings_although_the_rate_limiter_failed_when_the_entry_was_begun_anew() -> None:
    relay, table = hooked(samples.refused(503))
    relay.change_policy(pauses=[samples.pause("keep")])
    assert relay.play("critical") == ["queued paused"]
    relay.change_policy()
    relay.dynamodb.items[entry_key("noc", (), "i1")]["text"]["S"] = "damaged"
    relay.session.steps = [samples.accepted("r1"), samples.accepted("r2")]
    update = refuse_gates(relay)
    assert relay.share(status="critical", changedOn=int(relay.clock.now - 900)).outcome == "delivered"
    table.update_item = update  # type: ignore[method-assign]
    assert len({job.delivery_id for job in relay.retries.jobs()}) == 2


def test_incident_that_ended_and_opened_again_while_its_signal_was_sent_rings_again(tenant: Tenant) -> None:
    policy = {"notify_on": ["opened", "worsened", "reopened"], "min_seconds_between_signals": 0}
    relay = xmatters_tenant.new_relay(tenant, policy=policy)
    became: list[str] = []

    def slow(call: Call) -> HttpAnswer:
        if not became:
            became.append("")
            became.extend(relay.play("ok critical"))
        return tenant.accept(call)

    relay.session.steps = [slow]
    relay.play("critical")
    relay.play("60 60 30m")
    assert became[1:] == ["unchanged touched", "queued in_flight"]
    # The relay ended the first page, since the incident ended.
    assert tenant.ended == ["page-1"]
    assert len(relay.session.calls) == 2


# ---- Flaps -----------------------------------------------------------------------------------------------------------

CALLBACK: dict[str, Any] = samples.CALLBACK | {"recipients": ["Ops"]}


def test_flapping_incident_that_is_as_bad_again_rings_the_acknowledger_alone(tenant: Tenant) -> None:
    policy = {"flap": {"transitions": 9, "minutes": 30}, "min_seconds_between_signals": 0, "confirm_resolve": False}
    relay = xmatters_tenant.new_relay(tenant, policy=policy, xmatters=CALLBACK)
    relay.play("critical 15 response:Acknowledge@page-1=jane 15 warning 15 critical 15")
    assert relay.rung() == ["Ops", "jane", "jane"]


def test_acknowledgement_counts_for_nothing_once_the_channel_takes_no_callbacks(tenant: Tenant) -> None:
    relay = xmatters_tenant.new_relay(tenant, policy={"confirm_resolve": False}, xmatters=CALLBACK)
    relay.play("critical 15 response:Acknowledge@page-1=jane 15")
    relay.edit_secret(lambda document: document["xmatters"].pop("callback"))
    relay.play("15m warning 15")
    assert relay.rung() == ["Ops", "Ops"]


@pytest.mark.parametrize(
    ("policy", "events", "last"),
    [
        ({"flap": {"transitions": 2, "minutes": 60}}, "warning ok warning ok", "ok"),
        ({"pauses": [samples.pause("keep", until=3600)]}, "critical", "critical"),
    ],
    ids=["flap", "pause"],
)
def test_state_that_waited_long_for_the_end_of_a_flap_or_pause_is_not_too_old(
    policy: dict[str, Any], events: str, last: str
) -> None:
    relay = new_relay(policy=policy | {"max_age_seconds": 600})
    relay.play(f"{events} 62m")
    assert (relay.statuses().split()[-1:], relay.dead_letters.messages) == ([last], [])


def test_changes_of_an_incident_are_forgotten_once_the_policy_has_no_rule_for_flaps() -> None:
    relay = new_relay(policy={"flap": {"transitions": 9, "minutes": 60}})
    relay.play("critical warning")
    relay.change_policy()
    relay.play("ok")
    assert relay.entry().flap.changes == ()


def test_further_recipients_do_not_wait_for_the_calm_with_an_update_that_does() -> None:
    notify_on = ["opened", "worsened", "reopened", "resolved", "grew"]
    late = {"answered_within_seconds": 300, "unanswered_recipients": ["Boss"], "notify_on": notify_on}
    relay = new_relay(policy=late | {"flap": {"transitions": 2, "minutes": 60}}, xmatters=CALLBACK)
    relay.play("warning 2 ok 2 warning 2 critical 2", alerts=["a1"])
    assert relay.play("critical 10m", alerts=["a1", "a2"]) == ["queued flapping"]
    assert relay.rung()[-2:] == ["Ops", "Ops,Boss"]


def test_page_of_an_incident_that_flapped_ends_although_a_pause_holds_its_resolve(tenant: Tenant) -> None:
    relay = xmatters_tenant.new_relay(tenant, policy={"flap": {"transitions": 2, "minutes": 60}})
    relay.play("critical 10 ok 10 critical 10 10")
    relay.change_policy(
        pauses=[samples.pause("keep", until=8 * 3600)],
        flap={"transitions": 2, "minutes": 60},
        notified_within_seconds=0,
    )
    relay.play("ok 5m")
    [*_, last] = [signal for signal in relay.entry().accepted_signals if signal.is_open]
    assert set(last.pages) <= set(tenant.ended)


def test_page_of_a_flapping_incident_stays_if_it_ends_and_opens_while_the_signal_that_says_so_is_in_flight(
    tenant: Tenant,
) -> None:
    became: list[str] = []

    def accept(call: Call) -> HttpAnswer:
        became.extend(relay.play("2 ok"))
        return tenant.accept(call)

    policy = {"flap": {"transitions": 2, "minutes": 60}, "min_seconds_between_signals": 0, "replace": False}
    relay = xmatters_tenant.new_relay(tenant, tenant.accept, tenant.accept, accept, policy=policy)
    relay.play("critical 70 warning 70 critical")
    assert (became, relay.play("5 critical 5m")) == (["queued in_flight"], ["unchanged touched"])
    assert tenant.ended == []


# ---- The ledger, a mode, a snooze or a removal beside what a signal is for -------------------------------------------


def test_signal_to_the_acknowledger_that_is_recorded_late_counts_as_one_of_a_change(tenant: Tenant) -> None:
    policy = {"notify_on": ["opened", "worsened", "grew", "resolved"], "min_seconds_between_signals": 0}
    table = HookedDynamoDb()
    relay = xmatters_tenant.new_relay(tenant, policy=policy, xmatters=CALLBACK, dynamodb=table)
    relay.play("critical 15 response:Acknowledge@page-1=jane 15", alerts=["a1"])

    def accept(call: Call) -> HttpAnswer:
        table.failure = TABLE_DOWN
        return tenant.accept(call)

    relay.session.steps = [accept, tenant.accept]
    relay.play("critical", alerts=["a1", "a2"])
    table.failure = None
    relay.play("20 20")
    last = relay.entry().accepted_signals[-1]
    assert (relay.rung(), last.is_for_acknowledger, last.is_further) == (["Ops", "jane"], True, False)


API = {"api_key": "BPU-x", "environment_id": "e1", "reconcile": False}
ROUTED = {"routes": [{"when": {"tag.team": "web"}, "recipients": ["Web"]}], "confirm_resolve": False}
WEB = {"tags": [{"name": "team", "value": "web"}]}


@pytest.mark.parametrize("is_found", [True, False], ids=["BigPanda's API", "a webhook"])
def test_tags_that_only_bigpandas_api_shows_ring_nobody(is_found: bool) -> None:
    relay = new_relay(policy=ROUTED, xmatters=CALLBACK)
    relay.play("critical 10")
    stamp, came = int(relay.clock.now), timestamp(relay.clock.now)
    body = samples.body(changedOn=stamp, **WEB)
    worked(relay, samples.job(body=body, version=(stamp, stamp), received_at=came, url_recipients=(), found=is_found))
    assert relay.rung() == (["Ops"] if is_found else ["Ops", "Web"])


@pytest.mark.parametrize(
    ("events", "said", "is_rung"),
    [
        ("critical 10 response:Acknowledge 10", {}, False),
        ("critical 10", {"snooze": {"snoozed": True}}, False),
        ("critical 10", {"status": "major"}, False),
        ("major 10", {}, True),
    ],
    ids=["acknowledged", "snoozed", "status got lost", "status was never known"],
)
def test_late_tag_rings_its_recipients_unless_a_person_answered_or_snoozed_or_the_status_got_lost(
    events: str, said: dict[str, Any], is_rung: bool
) -> None:
    relay = new_relay(policy=ROUTED, xmatters=CALLBACK)
    relay.play(events)
    relay.play("comment", **WEB, **said)
    assert relay.rung() == ["Ops", "Web"][: 1 + is_rung]


def test_route_by_the_status_of_a_change_that_the_policy_does_not_announce_rings_nobody() -> None:
    routes = [{"when": {"status": "warning"}, "recipients": ["Web"]}, {"when": {"status": "*"}, "recipients": ["Ops"]}]
    relay = new_relay(policy={"routes": routes, "notify_on": ["opened"]})
    assert relay.play("critical 10 warning") == ["delivered opened", "unchanged eased"]


def test_recipient_who_joins_a_channel_without_routes_is_not_signalled_of_what_was_announced() -> None:
    relay = new_relay(xmatters=CALLBACK)
    relay.play("critical 10")
    relay.edit_secret(lambda document: document["xmatters"].update(recipients=["Ops", "New"]))
    relay.change_policy()
    assert relay.play("comment") == ["unchanged touched"]


def test_what_routes_ask_of_a_share_is_kept_in_shadow_mode() -> None:
    relay = new_relay(policy=ROUTED | {"mode": "shadow"}, access=API)
    relay.play("warning", **WEB)
    assert relay.entry().about.facts["tag.team"] == ("web",)


def test_what_routes_ask_of_a_share_is_kept_of_a_signal_that_was_sent_without_the_ledger() -> None:
    relay = new_relay(policy=ROUTED, access=API)
    relay.dynamodb.failure = TABLE_DOWN
    relay.play("critical", **WEB)
    relay.dynamodb.failure = None
    relay.play("10 30")
    assert relay.entry().announced
    assert relay.entry().about.facts["tag.team"] == ("web",)


def test_first_share_is_reported_to_bigpanda_although_the_ledger_cannot_be_read() -> None:
    relay = new_relay(access=API | {"callbacks": True, "app_key": "a" * 24})
    relay.dynamodb.failure = TABLE_DOWN
    content = json.loads(samples.enveloped("e1", status="warning", changedOn=int(relay.clock.now)))
    # The webhook of v1 names no event.
    for event in ({"event": "incident#new"}, {"event": "incident#updated"}, {}):
        relay.webhook.serve(samples.request(json.dumps(content | event).encode()))
    assert [job.kind for job in relay.chores.jobs()] == ["release", "release"]
    relay.retries.failure = relay.dead_letters.failure = TABLE_DOWN
    relay.session.steps = [samples.refused(503)]
    assert relay.webhook.serve(samples.request(json.dumps(content).encode())).status == 503
    assert len(relay.chores.messages) == 2, "a share that is kept nowhere is not reported as received"


LATE = {"answered_within_seconds": 300, "unanswered_recipients": ["Boss"]}


def test_snooze_ends_what_is_owed_to_further_recipients() -> None:
    relay = new_relay(samples.accepted("r1"), samples.refused(503), policy=LATE, xmatters=CALLBACK)
    relay.play("critical 7m")
    assert relay.entry().debt.is_owed
    relay.play("comment", snooze={"snoozed": True})
    relay.close_circuits()
    relay.session.steps = [samples.accepted("r2")]
    relay.play("20m")
    relay.play("comment 10m", snooze={"snoozed": False})
    assert set(relay.rung()) == {"Ops", "Boss"}
    assert len(relay.entry().accepted_signals) == 1


def test_critical_that_rang_while_it_was_snoozed_is_told_of_once_nobody_answers() -> None:
    relay = new_relay(policy=LATE, xmatters=CALLBACK)
    relay.play("critical", snooze={"snoozed": True})
    relay.play("critical 10m", snooze={"snoozed": False}, alerts=["a1"])
    assert (relay.rung()[-1], len(relay.sns.published)) == ("Boss", 1)


def rung_by_replay(relay: Relay, job: Job) -> list[str]:
    """Return whom a dead-lettered job rings that is replayed a minute later, while xMatters works."""
    sent = len(relay.session.calls)
    relay.session.steps = [samples.accepted("r2")]
    relay.close_circuits()
    relay.clock.now += 60
    worked(relay, job)
    return relay.rung()[sent:]


@pytest.mark.parametrize("event", ["", "comment", "late tag"])
def test_signal_to_further_recipients_is_dead_lettered_with_a_removed_channel_and_rings_when_it_is_replayed(
    event: str,
) -> None:
    policy = {"routes": [{"when": {"tag.team": "web"}, "recipients": ["Ops", "Boss"]}]} if event == "late tag" else LATE
    relay = new_relay(samples.accepted("r1"), samples.refused(503), policy=policy, xmatters=CALLBACK)
    relay.play("critical 10" if event == "late tag" else "critical 7m")
    if event:
        relay.play("comment", **(WEB if event == "late tag" else {}))
    removed, copies = replace(relay, secrets=FakeSecrets(noc=UnknownChannel("noc"))), relay.retries.jobs()
    removed.play("10m")
    worked(removed, *copies)
    [job] = relay.dead_letters.jobs()
    assert (job.stamps.reason, relay.rung()[-1]) == ("channel_removed", "Boss")
    assert rung_by_replay(relay, job) == ["Boss"]


def test_late_tag_of_a_removed_channel_is_dead_lettered_although_a_person_answered() -> None:
    policy = LATE | {"reroute_within_seconds": 3600}
    policy |= {"routes": [{"when": {"tag.team": "web"}, "recipients": ["Ops", "Web"]}]}
    relay = new_relay(samples.accepted("r1"), samples.refused(503), policy=policy, xmatters=CALLBACK)
    relay.play("critical 10")
    # What is owed to "Web" goes to "Boss", too, once nobody answered.
    relay.play("comment 8m", **WEB)
    relay.play("response:Looking@page-1=jane 5")
    replace(relay, secrets=FakeSecrets(noc=UnknownChannel("noc"))).play("10m")
    [job] = relay.dead_letters.jobs()
    assert job.stamps.transition == "unanswered"
    assert rung_by_replay(relay, job) == ["Web"]


@pytest.mark.parametrize("owed_for", ["a missing answer", "a late tag"])
def test_acknowledged_critical_of_a_removed_channel_is_owed_to_nobody(owed_for: str) -> None:
    is_tag = owed_for == "a late tag"
    policy = {"routes": [{"when": {"tag.team": "web"}, "recipients": ["Ops", "Boss"]}]} if is_tag else LATE
    relay = new_relay(samples.accepted("r1"), samples.refused(503), policy=policy, xmatters=CALLBACK)
    relay.play("critical 10" if is_tag else "critical 7m")
    relay.play("comment", **WEB if is_tag else {})
    assert relay.entry().debt.is_owed
    relay.play("response:Acknowledge@page-1=jane 5")
    replace(relay, secrets=FakeSecrets(noc=UnknownChannel("noc"))).play("10m")
    assert (relay.dead_letters.messages, relay.entry().debt.is_owed) == ([], False)


def resolved_by_answer(tenant: Tenant) -> Relay:
    """Return a relay whose critical a person resolved while BigPanda was down. Just before its end xMatters fails."""

    def bigpanda(_: Call) -> HttpAnswer:
        return samples.refused(503) if began <= relay.clock.now < began + 420 else DONE

    relay = xmatters_tenant.new_relay(
        tenant,
        policy={"confirm_resolve": False},
        xmatters=CALLBACK,
        access=API | {"actions": {"Resolve": {"do": "resolve"}}},
        bigpanda=FakeSession(bigpanda),
    )
    began = relay.clock.now + 31
    relay.play("critical 30 response:Resolve@page-1=jane 30 60 120 180")
    tenant.replies["people"] = samples.refused(503)
    return relay


def is_resolved(relay: Relay) -> bool:
    """Return if the last call of BigPanda resolved the incident; fail if a call said that the answer is unverified."""
    assert not any(b"Unverified" in (call.body or b"") for call in relay.bigpanda.calls)
    return relay.bigpanda.calls[-1].url.endswith("/resolve")


def test_verified_answer_acts_although_xmatters_fails_once_after_bigpanda_did(tenant: Tenant) -> None:
    relay = resolved_by_answer(tenant)
    relay.play("60")
    tenant.replies.clear()
    relay.play("900 900 900")
    assert is_resolved(relay)


def test_verified_answer_is_dead_lettered_and_no_comment_if_xmatters_cannot_be_asked_for_too_long(
    tenant: Tenant,
) -> None:
    relay = resolved_by_answer(tenant)
    relay.play(" ".join(["900"] * 25))
    [job] = relay.dead_letters.jobs()
    assert job.stamps.reason == "expired"
    tenant.replies.clear()
    worked(relay, job)
    assert is_resolved(relay)


@pytest.mark.parametrize("is_snoozed", [False, True])
def test_topic_is_told_of_a_missing_page_after_it_was_told_that_nobody_answered(
    is_snoozed: bool, tenant: Tenant
) -> None:
    policy = {"answered_within_seconds": 300, "notify_on": ["opened", "grew"], "min_seconds_between_signals": 0}
    relay = xmatters_tenant.new_relay(tenant, policy=policy, xmatters=CALLBACK)
    relay.play("critical 10m", alerts=["a1"])
    relay.play("comment 60", alerts=["a1"], snooze={"snoozed": is_snoozed})
    tenant.makes_pages = False
    relay.play("comment 15m", alerts=["a1", "a2"], snooze={"snoozed": False})
    assert [message["Subject"].partition(":")[0] for message in relay.sns.published] == [
        "CRITICAL, nobody answered",
        "CRITICAL, xMatters did not notify",
    ]


GROWING = LATE | {"notify_on": ["opened", "grew"], "min_seconds_between_signals": 0}


def test_missing_page_of_all_is_told_although_that_of_the_further_recipients_is_missing_too(tenant: Tenant) -> None:
    relay = xmatters_tenant.new_relay(tenant, policy=GROWING, xmatters=CALLBACK)
    tenant.hidden = {"r2", "r3"}
    relay.play("critical 5m", alerts=["a1"])
    # Both pages are looked for once xMatters' REST API works again.
    tenant.replies["events"] = samples.refused(503)
    relay.play("2m", alerts=["a1"])
    assert relay.rung() == ["Ops", "Boss"]
    relay.play("comment 4m", alerts=["a1", "a2"])
    tenant.replies.clear()
    relay.play("15m")
    assert [message["Subject"].partition(":")[0] for message in relay.sns.published] == [
        "CRITICAL, nobody answered",
        "CRITICAL, xMatters did not notify",
    ]


def test_share_in_a_pause_waits_for_the_record_of_a_signal_without_the_ledger_unless_the_incident_ended_since() -> None:
    relay = new_relay()
    relay.dynamodb.failure = TABLE_DOWN
    relay.play("critical")
    relay.change_policy(pauses=[samples.pause("keep")])
    relay.play("comment ok critical")
    waits = [Flag.WAITS_FOR_LEDGER in job.flags for job in relay.retries.jobs()]
    assert (waits[-3:], relay.retries.delays()[-3:]) == ([True, False, False], [30, 30, 30])


def test_critical_does_not_ring_after_its_resolve_whose_follow_up_a_queue_refuses_once(tenant: Tenant) -> None:
    relay = xmatters_tenant.new_relay(tenant, policy={"notify_on": ["opened", "worsened"]})
    relay.play("warning 40 20")
    relay.session.steps = [samples.refused(503)]
    relay.play("critical")
    critical = relay.retries.records()
    relay.dynamodb.failure = TABLE_DOWN
    assert relay.play("ok") == ["queued internal"]
    resolve = relay.retries.records()
    relay.dynamodb.failure = None
    relay.close_circuits()
    relay.session.steps = [tenant.accept]
    relay.session.calls.clear()
    relay.chores.failure = TABLE_DOWN
    relay.clock.now += 31
    assert relay.worker.work(resolve) == []
    relay.chores.failure = None
    relay.wake(6)
    relay.worker.work(critical)
    relay.play("60 60 60")
    assert relay.statuses() == ""
