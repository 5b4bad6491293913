"""Shadow mode: a channel decides as a live one, and sends and queues nothing."""

from typing import Any

import pytest

from relay.http.session import HttpAnswer
from relay.ledger.entry_key import key, shadow_of
from tests import samples
from tests.fakes import Call, HookedDynamoDb, Relay, hooked, new_relay, table_down, worked
from tests.unit.paging_tenant import Tenant
from tests.unit.paging_tenant import new_relay as paging_relay
from tests.unit.reconcile_scene import incident, make_scene

OK, DOWN = samples.accepted(), samples.refused(503)
OVER: dict[str, Any] = {"status": "ok", "active": False, "resolved": True}
ONCALL: dict[str, Any] = {"preset": "oncall"}


def shadowed(**policy: object) -> Relay:
    return new_relay(policy={"mode": "shadow", **ONCALL, **policy})


def switch(relay: Relay, mode: str, **policy: Any) -> None:
    """Give the channel another mode, as relayctl does."""
    relay.change_policy(mode=mode, **ONCALL, **policy)


def fail(table: HookedDynamoDb, calls: int) -> None:
    """Let the next calls of the table fail."""
    for name in ("get_item", "update_item", "put_item"):
        for number in range(calls):
            table.before_next(table_down, name, after=number)


def sent_nothing(relay: Relay) -> bool:
    queued = [*relay.retries.messages, *relay.chores.messages, *relay.dead_letters.messages, *relay.sns.published]
    return not relay.session.calls and not queued


def test_shares_are_recorded_and_compared_as_if_their_signals_had_been_accepted_and_nothing_is_sent() -> None:
    relay = shadowed()
    assert relay.play("critical comment ok") == ["shadowed opened", "unchanged touched", "shadowed resolved"]
    assert relay.share(status="ok", changedOn=int(relay.clock.now)).outcome == "duplicate"
    assert relay.entry().announced is None
    assert relay.ledger.read(shadow_of(key("noc", (), "i1"))).announced is not None
    assert sent_nothing(relay)


def test_log_line_names_the_recipients_of_a_signal_that_was_not_sent() -> None:
    relay = shadowed()
    relay.webhook.serve(samples.request(recipients=("jdoe",)))
    [line] = relay.recorder.lines()
    assert (line["outcome"], line["transition"], line["status"]) == ("shadowed", "opened", "critical")
    assert "jdoe" in line["recipients"]


def test_nothing_is_sent_while_the_ledger_fails() -> None:
    relay, table = hooked(policy={"mode": "shadow"})
    table.before_next(table_down, "get_item")
    result = relay.share()
    assert (result.outcome, bool(result.notices.unguarded), sent_nothing(relay)) == ("shadowed", True, True)


def test_pause_that_keeps_does_not_matter_in_shadow_mode() -> None:
    assert shadowed(pauses=[samples.pause("keep")]).play("critical") == ["shadowed opened"]


def test_flapping_incident_makes_as_many_signals_in_the_report_as_in_a_live_channel() -> None:
    flap = {"transitions": 2, "minutes": 10}
    shadow, live = shadowed(flap=flap), new_relay(policy={**ONCALL, "flap": flap})
    events = "59 critical 59 ok " * 4
    became = shadow.play(events + "660 comment")
    live.play(events)
    live.sweep_for(660)
    assert sum(each.startswith("shadowed") for each in became) == len(live.session.calls) == 4


# ---- Signals from before the mode ------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_owed", [True, False])
def test_signal_from_before_is_dead_lettered_if_it_is_owed_and_rings_if_it_is_replayed_afterwards(
    is_owed: bool,
) -> None:
    relay = new_relay(*[DOWN] * (3 if is_owed else 0), OK, policy=ONCALL)
    relay.play("critical")
    sent = len(relay.session.calls)
    switch(relay, "shadow")
    relay.wake()
    letters = relay.dead_letters.jobs()
    assert ([job.stamps.reason for job in letters], len(relay.session.calls)) == (["shadowed"] * is_owed, sent)
    switch(relay, "live")
    worked(relay, *letters)
    assert len(relay.session.calls) == sent + is_owed


def test_job_that_is_older_than_the_limit_because_of_a_pause_is_not_sent() -> None:
    policy: dict[str, Any] = {"max_age_seconds": 3600, "pauses": [samples.pause("keep", until=7200)]}
    relay = new_relay(policy=ONCALL | policy)
    relay.share()
    switch(relay, "shadow", **policy)
    relay.sweep(7260)
    relay.wake(1)
    assert (relay.session.calls, [job.stamps.reason for job in relay.dead_letters.jobs()]) == ([], ["shadowed"])


@pytest.mark.parametrize("ledger_fails", [True, False])
def test_overdue_critical_of_a_channel_in_shadow_mode_alarms_nobody(ledger_fails: bool) -> None:
    relay, table = hooked(DOWN, policy=ONCALL)
    relay.share()
    switch(relay, "shadow")
    for _ in range(8):
        fail(table, 20 * ledger_fails)
        relay.wake(60)
    assert len(relay.retries.messages) == int(ledger_fails)
    table.before.clear()
    relay.sweep(900)
    assert relay.sns.published == []


def test_record_of_an_accepted_signal_waits_for_the_ledger_in_shadow_mode() -> None:
    relay, table = hooked(policy=ONCALL)
    fail(table, 60)
    relay.share()
    switch(relay, "shadow")
    fail(table, 60)
    relay.wake()
    assert (relay.dead_letters.messages, len(relay.retries.messages)) == ([], 1)
    table.before.clear()
    relay.wake()
    assert relay.entry().announced is not None


# ---- Back to live: shares that came in shadow mode count as known, and nothing older is announced --------------------


@pytest.mark.parametrize("policy", [{}, {"notify_on": ["opened", "reopened"]}])
@pytest.mark.parametrize("is_in_flight", [True, False])
def test_critical_that_resolved_in_shadow_rings_when_it_reopens(policy: dict[str, Any], is_in_flight: bool) -> None:
    relay = new_relay(policy=ONCALL | policy)

    def resolve_in_shadow() -> None:
        switch(relay, "shadow", **policy)
        relay.play("ok")

    def meanwhile(_: Call) -> HttpAnswer:
        resolve_in_shadow()
        relay.clock.now -= 15
        return OK

    relay.session.steps = [meanwhile if is_in_flight else OK, OK]
    relay.play("critical")
    if not is_in_flight:
        resolve_in_shadow()
    switch(relay, "live", **policy)
    relay.sweep_for(600)
    assert relay.statuses() == "critical"
    assert relay.play("critical")[0].startswith("delivered")


@pytest.mark.parametrize("minutes_before_the_resolve", [0, 5])
def test_critical_that_was_owed_and_resolved_in_shadow_is_neither_notified_nor_replayed(
    minutes_before_the_resolve: int,
) -> None:
    relay = new_relay(DOWN, policy=ONCALL)
    relay.play("critical")
    sent = len(relay.session.calls)
    switch(relay, "shadow")
    relay.sweep_for(60 * minutes_before_the_resolve)
    assert relay.play("ok") == ["unchanged touched"]
    relay.sweep_for(300)
    switch(relay, "live")
    worked(relay, *relay.dead_letters.jobs())
    relay.sweep_for(3600)
    assert (len(relay.session.calls), relay.sns.published) == (sent, [])


def test_older_state_that_is_replayed_rings_nobody_and_the_next_share_does() -> None:
    relay = new_relay(DOWN, DOWN, DOWN, OK, policy=ONCALL)
    relay.play("critical")
    switch(relay, "shadow")
    relay.sweep_for(120)
    relay.play("comment")
    switch(relay, "live")
    worked(relay, *relay.dead_letters.jobs())
    assert len(relay.session.calls) == 3
    assert relay.play("comment") == ["delivered opened"]


def test_missing_page_of_an_incident_that_went_on_in_shadow_is_not_notified_afterwards() -> None:
    tenant = Tenant()
    tenant.makes_pages = False
    relay = paging_relay(tenant)
    relay.share()
    relay.drain()
    switch(relay, "shadow")
    relay.play("comment")
    switch(relay, "live")
    relay.sweep_for(600)
    assert relay.sns.published == []


@pytest.mark.parametrize("said", [{}, {"changedOn": 1_800_000_009, "comments": ["seen"]}], ids=["it", "the next one"])
def test_share_that_came_in_shadow_rings_if_it_or_the_next_one_comes_afterwards(said: dict[str, Any]) -> None:
    relay = shadowed()
    relay.share()
    switch(relay, "live")
    assert relay.share(**said).subject.transition == "opened"
    assert relay.statuses() == "critical"


@pytest.mark.parametrize("hours", [1, 23])
@pytest.mark.parametrize(("recipients", "reconcile"), [((), "ring"), (("jdoe",), "ring"), (("jdoe",), "report")])
def test_reconcile_run_knows_what_opened_in_shadow(hours: int, recipients: tuple[str, ...], reconcile: str) -> None:
    scene = make_scene(policy={"mode": "shadow"}, reconcile=reconcile)
    relay = scene.relay
    incident_now = incident(relay.clock, ago=0)
    scene.has(incident_now)
    stamps = {"changedOn": incident_now["changed_at"], "updatedOn": incident_now["updated_at"]}
    relay.webhook.serve(samples.request(samples.enveloped("e1", **stamps), recipients=recipients))
    relay.clock.now += hours * 3600
    switch(relay, "live")
    for _ in range(4):
        scene.run_twice()
        relay.wake(300)
    assert (relay.session.calls, relay.sns.published) == ([], [])


def test_reconcile_run_announces_a_change_that_came_after_shadow() -> None:
    scene = make_scene(policy={"mode": "shadow"})
    relay = scene.relay
    relay.share(status="warning", changedOn=int(relay.clock.now))
    switch(relay, "live")
    scene.has(incident(relay.clock, ago=0))
    scene.run_twice()
    relay.wake(0)
    assert scene.signalled() == ["critical"]
