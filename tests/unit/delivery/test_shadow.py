"""Shadow mode: a channel decides as a live one, and sends and queues nothing."""

import json
from typing import Any

import pytest

from relay.failures.reasons import Reason
from relay.http.session import HttpAnswer
from relay.jobs.outcome import Outcome
from relay.ledger.credentials import mark_changed
from relay.ledger.entry_key import key, shadow_of
from tests import samples
from tests.fakes import Call, HookedDynamoDb, Relay, new_relay, table_down, worked
from tests.unit.delivery.test_ledger_down_and_races import hooked
from tests.unit.delivery.test_pauses import moment
from tests.unit.paging_tenant import Tenant
from tests.unit.paging_tenant import new_relay as paging_relay
from tests.unit.reconcile_scene import incident, make_scene

LATER = 1_800_000_001
HOUR = 3600
OVER: dict[str, Any] = {"status": "ok", "active": False, "resolved": True}


def shadowed(**policy: object) -> Relay:
    return new_relay(policy={"mode": "shadow", "preset": "oncall", **policy})


def switch(relay: Relay, mode: str, **policy: Any) -> None:
    """Give the channel another mode, as relayctl does."""
    document = json.loads(str(relay.secrets.texts["noc"]))
    document["policy"] = {"min_seconds_between_signals": 0, "preset": "oncall", **policy, "mode": mode}
    relay.secrets.texts["noc"] = json.dumps(document)
    mark_changed(relay.credentials.table(relay.clock), "noc", f"{mode} {relay.clock.now}", relay.clock.now)
    relay.clock.now += 15
    # `Relay.share` uses the cached channel.
    relay.channels.for_work("noc")


def pass_minutes(relay: Relay, minutes: int) -> None:
    for _ in range(minutes):
        relay.sweep()
        relay.wake(1)


def rang(relay: Relay) -> list[str]:
    return [json.loads(call.body)["incident"]["status"] for call in relay.session.calls]


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
    assert relay.entry().announced is None
    assert relay.ledger.read(shadow_of(key("noc", (), "i1"))).announced is not None
    assert sent_nothing(relay)


def test_later_shares_are_compared_as_if_the_signal_had_been_accepted() -> None:
    relay = shadowed()
    relay.share()
    outcomes = [
        relay.share(),
        relay.share(changedOn=LATER, comments=["seen"]),
        relay.share(changedOn=LATER + 1, **OVER),
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
    assert [job.stamps.reason for job in shadow.dead_letters.jobs()] == [Reason.SHADOWED] * is_owed
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
    assert [job.stamps.reason for job in shadow.dead_letters.jobs()] == [Reason.SHADOWED]


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
    outcomes = []
    for number in range(8):
        changes: dict[str, Any] = {"changedOn": LATER + 60 * number, **(OVER if number % 2 else {})}
        for relay in (shadow, live):
            relay.clock.now += 60
        outcomes.append(shadow.share(**changes).outcome)
        live.share(**changes)
    live.sweep(660)
    live.wake(1)
    shadow.clock.now += 660
    outcomes.append(shadow.share(changedOn=LATER + 1200, comments=["over"], **OVER).outcome)
    assert outcomes.count(Outcome.SHADOWED) == len(live.session.calls) == 4


class TestBackToLive:
    """Shares that came in shadow mode count as known once the channel is live again, and nothing older is announced."""

    @pytest.mark.parametrize("policy", [{}, {"notify_on": ["opened", "reopened"]}])
    @pytest.mark.parametrize("is_in_flight", [True, False])
    def test_critical_that_resolved_in_shadow_rings_when_it_reopens(
        self, policy: dict[str, Any], is_in_flight: bool
    ) -> None:
        relay = new_relay(policy={"preset": "oncall", **policy})

        def resolve_in_shadow() -> None:
            switch(relay, "shadow", **policy)
            relay.share(changedOn=LATER, **OVER)

        def meanwhile(_: Call) -> HttpAnswer:
            resolve_in_shadow()
            relay.clock.now -= 15
            return samples.accepted()

        relay.session.steps = [meanwhile if is_in_flight else samples.accepted(), samples.accepted()]
        relay.share()
        if not is_in_flight:
            resolve_in_shadow()
        switch(relay, "live", **policy)
        pass_minutes(relay, 10)
        assert rang(relay) == ["critical"]
        assert relay.share(changedOn=LATER + 1).outcome == Outcome.DELIVERED

    @pytest.mark.parametrize("minutes_before_the_resolve", [0, 5])
    def test_critical_that_was_owed_and_resolved_in_shadow_is_neither_notified_nor_replayed(
        self, minutes_before_the_resolve: int
    ) -> None:
        relay = new_relay(samples.refused(503), policy={"preset": "oncall"})
        relay.share()
        sent = len(relay.session.calls)
        switch(relay, "shadow")
        pass_minutes(relay, minutes_before_the_resolve)
        assert relay.share(changedOn=LATER, **OVER).outcome == Outcome.UNCHANGED
        pass_minutes(relay, 5)
        switch(relay, "live")
        worked(relay, *relay.dead_letters.jobs())
        pass_minutes(relay, 60)
        assert (len(relay.session.calls), relay.sns.published) == (sent, [])

    def test_older_state_that_is_replayed_rings_nobody_and_the_next_share_does(self) -> None:
        relay = new_relay(*[samples.refused(503)] * 3, samples.accepted(), policy={"preset": "oncall"})
        relay.share()
        switch(relay, "shadow")
        pass_minutes(relay, 2)
        relay.share(changedOn=LATER, comments=["seen"])
        switch(relay, "live")
        sent = len(relay.session.calls)
        worked(relay, *relay.dead_letters.jobs())
        assert len(relay.session.calls) == sent
        assert relay.share(changedOn=LATER + 1, comments=["seen again"]).outcome == Outcome.DELIVERED

    def test_missing_page_of_an_incident_that_went_on_in_shadow_is_not_notified_afterwards(self) -> None:
        tenant = Tenant()
        tenant.makes_pages = False
        relay = paging_relay(tenant)
        relay.share()
        relay.drain()
        switch(relay, "shadow")
        relay.share(changedOn=LATER, **OVER)
        switch(relay, "live")
        pass_minutes(relay, 10)
        assert relay.sns.published == []

    def test_share_that_came_in_shadow_rings_if_it_comes_again(self) -> None:
        relay = shadowed()
        relay.share()
        switch(relay, "live")
        assert relay.share().outcome == Outcome.DELIVERED

    @pytest.mark.parametrize("hours", [1, 23])
    @pytest.mark.parametrize("recipients", [(), ("jdoe",)])
    @pytest.mark.parametrize("reconcile", ["ring", "report"])
    def test_reconcile_run_knows_what_opened_in_shadow(
        self, hours: int, recipients: tuple[str, ...], reconcile: str
    ) -> None:
        scene = make_scene(policy={"mode": "shadow"}, reconcile=reconcile)
        relay = scene.relay
        incident_now = incident(relay.clock, ago=0)
        scene.has(incident_now)
        stamps = {"changedOn": incident_now["changed_at"], "updatedOn": incident_now["updated_at"]}
        relay.webhook.serve(samples.request(samples.enveloped("e1", **stamps), recipients=recipients))
        relay.clock.now += hours * HOUR
        switch(relay, "live")
        for _ in range(4):
            scene.run_twice()
            relay.wake(300)
        assert (relay.session.calls, relay.sns.published) == ([], [])

    def test_reconcile_run_announces_a_change_that_came_after_shadow(self) -> None:
        scene = make_scene(policy={"mode": "shadow"})
        relay = scene.relay
        relay.share(status="warning", changedOn=int(relay.clock.now))
        switch(relay, "live")
        scene.has(incident(relay.clock, ago=0))
        scene.run_twice()
        relay.wake(0)
        assert scene.signalled() == ["critical"]
