"""Pauses: a state that a pause keeps is signalled after it, a dropped state never.

Meanwhile the fallback topic is not notified of them.
"""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from relay.failures.errors import ChannelUnreadable
from relay.failures.reasons import Reason
from relay.jobs.outcome import Outcome
from relay.ledger.credentials import mark_changed
from tests import samples
from tests.fakes import Relay, new_relay, secrets_of, table_down
from tests.unit.delivery.test_ledger_down_and_races import hooked

NOW = 1_800_000_000.0
LATER = 1_800_000_001
HOUR = 3600.0


def moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def pause(then: str, *, since: float = NOW - 10, until: float = NOW + HOUR, **members: Any) -> dict[str, Any]:
    return {"since": moment(since), "until": moment(until), "then": then, **members}


def paused(then: str, **members: Any) -> Relay:
    return new_relay(policy={"pauses": [pause(then, **members)], "preset": "oncall"})


def change_pauses(relay: Relay, *pauses: dict[str, Any]) -> None:
    """Store other pauses in the channel's secret, and write the channel's change mark, as relayctl does."""
    policy = {"min_seconds_between_signals": 0, "preset": "oncall", "pauses": list(pauses)}
    relay.secrets.texts["noc"] = json.dumps(samples.secret(policy=policy))
    mark_changed(relay.credentials.table(relay.clock), "noc", "m1", relay.clock.now)
    relay.clock.now += 15


def pass_hours(relay: Relay, hours: float) -> None:
    """Let the sweeper run every ten minutes, and the workers work all jobs after it."""
    for _ in range(round(hours * 6)):
        relay.sweep(600)
        relay.wake(1)


class TestKeep:
    def test_state_of_a_paused_channel_waits_in_the_ledger_alone(self) -> None:
        relay = paused("keep")
        result = relay.share()
        assert (result.outcome, result.reason, result.queue) == (Outcome.QUEUED, Reason.PAUSED, "ledger")
        assert (relay.session.calls, relay.retries.messages) == ([], [])
        debt = relay.entry().debt
        assert (debt.since, debt.paused_until) == (NOW, NOW + HOUR)
        assert debt.reason == Reason.PAUSED

    def test_newest_state_rings_once_after_the_pause(self) -> None:
        relay = paused("keep")
        relay.share(status="warning")
        relay.clock.now += 60
        relay.share(changedOn=LATER)
        pass_hours(relay, 0.8)
        assert relay.session.calls == []
        pass_hours(relay, 0.5)
        [call] = relay.session.calls
        assert json.loads(call.body)["incident"]["status"] == "critical"
        assert relay.entry().debt.since is None

    def test_incident_that_opened_and_ended_in_the_pause_rings_nobody(self) -> None:
        relay = paused("keep")
        relay.share()
        result = relay.share(changedOn=LATER, status="ok", active=False, resolved=True)
        assert result.outcome == Outcome.UNCHANGED
        pass_hours(relay, 2)
        assert relay.session.calls == []

    def test_resolve_of_an_earlier_page_is_announced_after_the_pause(self) -> None:
        relay = new_relay(policy={"pauses": [pause("keep", since=NOW + 50)], "preset": "oncall"})
        relay.share()
        relay.clock.now += 60
        result = relay.share(changedOn=LATER, status="ok", active=False, resolved=True)
        assert result.reason == Reason.PAUSED
        pass_hours(relay, 2)
        assert len(relay.session.calls) == 2

    def test_state_that_was_owed_before_the_pause_waits_for_its_end(self) -> None:
        relay = new_relay(
            *[samples.refused(503)] * 3, samples.accepted(), policy={"pauses": [pause("keep", since=NOW + 20)]}
        )
        relay.share(status="warning")
        sent = len(relay.session.calls)
        pass_hours(relay, 0.8)
        assert len(relay.session.calls) == sent
        pass_hours(relay, 0.5)
        assert len(relay.session.calls) == sent + 1

    def test_nobody_is_alarmed_before_the_fallback_time_after_the_pause(self) -> None:
        relay = new_relay(
            samples.refused(503), policy={"pauses": [pause("keep")], "fallback_after_seconds": 300, "preset": "oncall"}
        )
        relay.share()
        pass_hours(relay, 0.9)
        assert relay.sns.published == []
        relay.clock.now = NOW + HOUR
        relay.sweep(240)
        assert relay.sns.published == []
        relay.sweep(120)
        assert len(relay.sns.published) == 1

    @pytest.mark.parametrize("then", ["keep", "drop"])
    def test_fallback_is_notified_in_time_of_a_critical_that_is_owed_before_a_pause_that_is_planned(
        self, then: str
    ) -> None:
        weekend = pause(then, since=NOW + 24 * HOUR, until=NOW + 72 * HOUR)
        relay = new_relay(
            samples.refused(503), policy={"pauses": [weekend], "fallback_after_seconds": 300, "preset": "oncall"}
        )
        relay.share()
        relay.sweep(240)
        assert relay.sns.published == []
        relay.sweep(120)
        assert len(relay.sns.published) == 1

    def test_age_counts_from_the_end_of_the_pause(self) -> None:
        long = pause("keep", until=NOW + 20 * HOUR)
        relay = new_relay(
            samples.refused(503), policy={"pauses": [long], "max_age_seconds": HOUR, "fallback_after_seconds": 86_400}
        )
        relay.share(status="warning")
        pass_hours(relay, 20.5)
        assert relay.dead_letters.messages == []
        pass_hours(relay, 1)
        assert [job.stamps.reason for job in relay.dead_letters.jobs()] == [Reason.EXPIRED]

    def test_incident_that_meets_no_condition_of_the_pause_rings_at_once(self) -> None:
        relay = paused("keep", when={"status": "warning"})
        assert relay.share(id="i1").outcome == Outcome.DELIVERED
        assert relay.share(id="i2", status="warning").reason == Reason.PAUSED

    def test_resume_sends_what_waited_at_the_sweepers_next_run(self) -> None:
        relay = paused("keep")
        relay.share()
        relay.clock.now += 60
        change_pauses(relay, pause("keep", until=NOW + 60))
        relay.sweep()
        relay.wake(1)
        assert len(relay.session.calls) == 1
        relay.sweep()
        relay.drain()
        assert len(relay.session.calls) == 1

    def test_fallback_time_counts_from_an_early_end_though_the_resumed_job_vanishes(self) -> None:
        relay = new_relay(
            samples.refused(503), policy={"pauses": [pause("keep")], "fallback_after_seconds": 300, "preset": "oncall"}
        )
        relay.share()
        relay.clock.now += 60
        change_pauses(relay, pause("keep", until=NOW + 60))
        for _ in range(4):
            relay.sweep()
            relay.retries.messages.clear()
        assert relay.sns.published == []
        relay.sweep(120)
        assert len(relay.sns.published) == 1

    def test_fallback_time_counts_from_an_early_end_though_the_first_attempt_comes_minutes_later(self) -> None:
        relay = new_relay(
            samples.refused(503), policy={"pauses": [pause("keep")], "fallback_after_seconds": 300, "preset": "oncall"}
        )
        relay.share()
        relay.clock.now += 60
        change_pauses(relay, pause("keep", until=NOW + 60))
        relay.sweep(200)
        relay.wake(1)
        assert (len(relay.session.calls) > 0, relay.sns.published) == (True, [])
        relay.sweep(120)
        assert len(relay.sns.published) == 1

    def test_attempt_after_an_early_end_ends_the_hold(self) -> None:
        relay = new_relay(samples.refused(503), policy={"pauses": [pause("keep")], "preset": "oncall"})
        relay.share()
        relay.clock.now += 60
        change_pauses(relay, pause("keep", until=NOW + 60))
        relay.sweep()
        relay.wake(1)
        assert 0 < relay.entry().debt.paused_until <= relay.clock.now

    def test_sweeper_counts_the_age_from_the_end_of_a_pause_that_no_worker_recorded(self) -> None:
        policy = {"max_age_seconds": 600, "pauses": [pause("keep", since=NOW + 30, until=NOW + 900)]}
        relay = new_relay(*[samples.refused(503)] * 3, samples.accepted(), policy=policy)
        relay.share(status="warning")
        relay.retries.messages.clear()
        relay.sweep(950)
        assert relay.dead_letters.messages == []
        relay.wake(1)
        assert relay.entry().debt.since is None

    def test_resume_of_one_pause_leaves_states_that_another_holds(self) -> None:
        relay = new_relay(policy={"preset": "oncall", "pauses": [pause("keep", when={"status": "critical"})]})
        relay.share()
        change_pauses(relay, pause("keep", when={"status": "critical"}), pause("keep", since=NOW, until=NOW + 20))
        relay.sweep()
        relay.drain()
        assert relay.session.calls == []

    def test_pause_acts_on_the_worker_before_its_copy_of_the_secret_is_old(self) -> None:
        relay = new_relay(samples.refused(503), samples.accepted(), policy={"preset": "oncall"})
        relay.share()
        sent = len(relay.session.calls)
        change_pauses(relay, pause("keep", since=NOW))
        relay.wake(30)
        assert len(relay.session.calls) == sent

    def test_share_is_taken_though_the_secret_with_the_new_pause_cannot_be_read(self) -> None:
        relay = new_relay(policy={"preset": "oncall"})
        assert relay.webhook.serve(samples.request()).status == 200
        change_pauses(relay, pause("keep", since=NOW))
        relay.secrets.texts["noc"] = ChannelUnreadable("Secrets Manager is down")
        answer = relay.webhook.serve(samples.request(samples.body(id="i2")))
        assert (answer.status, answer.document["outcome"]) == (200, "delivered")

    def test_pause_holds_a_share_on_the_retry_queue_while_the_ledger_fails(self) -> None:
        relay, table = hooked(policy={"pauses": [pause("keep")]})
        table.before["get_item", 0] = table_down
        result = relay.share()
        assert (result.outcome, result.reason, result.queue) == (Outcome.QUEUED, Reason.PAUSED, "retry")
        assert (relay.session.calls, len(relay.retries.messages), relay.retries.delays()) == ([], 1, [120])

    def test_early_end_of_the_pause_is_noticed_within_two_minutes_although_the_ledger_failed(self) -> None:
        """Found by seed 63000037 of the simulation: the state slept for 15 minutes, and expired meanwhile."""
        relay, table = hooked(policy={"pauses": [pause("keep")]})
        table.before["get_item", 0] = table_down
        relay.share()
        change_pauses(relay, pause("keep", until=relay.clock.now))
        relay.wake(120)
        assert len(relay.session.calls) == 1

    def test_early_end_of_the_pause_is_noticed_within_two_minutes_although_the_table_refused_writes(self) -> None:
        """Found by seed 92016474 of the simulation: the state slept for 15 minutes, and expired meanwhile."""
        relay, table = hooked(policy={"pauses": [pause("keep")]})
        table.before["get_item", 0] = table_down
        relay.share()
        for operation in ("put_item", "update_item"):
            table.before[operation, table.calls.count(operation)] = table_down
        relay.wake(120)
        assert relay.entry().debt.since is None
        change_pauses(relay, pause("keep", until=relay.clock.now))
        relay.wake(120)
        assert len(relay.session.calls) == 1

    def test_replayed_dead_letter_waits_for_the_end_of_the_pause(self) -> None:
        relay = new_relay(samples.refused(400), samples.accepted(), policy={"preset": "oncall"})
        relay.share()
        [job] = relay.dead_letters.jobs()
        change_pauses(relay, pause("keep", since=NOW))
        relay.retries.messages = relay.dead_letters.messages
        relay.wake(1)
        assert (len(relay.session.calls), relay.entry().debt.reason) == (1, Reason.PAUSED)
        assert job.stamps.reason == Reason.REFUSED
        pass_hours(relay, 1.5)
        assert len(relay.session.calls) == 2


class TestChangedPauses:
    """An operator replaces or prolongs the pause that holds a state."""

    @pytest.mark.parametrize("held_by", [{}, {"when": {"status": "crit*"}}], ids=["all incidents", "its status"])
    def test_state_is_not_held_by_a_later_pause_for_other_incidents(self, held_by: dict[str, Any]) -> None:
        relay = paused("keep", until=NOW + 4 * HOUR, **held_by)
        relay.share()
        relay.clock.now += 600
        for_others = pause("keep", since=NOW + 600, until=NOW + 6 * HOUR, when={"status": "warning"})
        change_pauses(relay, pause("keep", until=NOW + 600, **held_by), for_others)
        relay.sweep()
        relay.wake(1)
        assert len(relay.session.calls) == 1

    def test_fallback_time_counts_from_the_end_of_the_pause_that_held_the_state(self) -> None:
        held_by: dict[str, Any] = {"when": {"status": "crit*"}}
        others: dict[str, Any] = {"when": {"status": "warning"}}
        relay = new_relay(
            samples.refused(503),
            policy={"pauses": [pause("keep", until=NOW + 4 * HOUR, **held_by)], "preset": "oncall"},
        )
        relay.share()
        relay.clock.now += 600
        ended = pause("keep", until=NOW + 600, **held_by)
        change_pauses(relay, ended, pause("keep", until=NOW + 700, **others), pause("keep", since=NOW + 600, **others))
        for _ in range(4):
            relay.sweep()
            relay.retries.messages.clear()
        assert relay.sns.published == []
        relay.sweep(120)
        assert len(relay.sns.published) == 1

    def test_fallback_is_not_notified_of_a_state_that_another_pause_with_conditions_holds_by_now(self) -> None:
        relay = paused("keep", until=NOW + 4 * HOUR, when={"status": "crit*"})
        relay.share()
        relay.clock.now += 600
        ended = pause("keep", until=NOW + 600, when={"status": "crit*"})
        change_pauses(relay, ended, pause("keep", since=NOW + 600, when={"status": ["critical", "warning"]}))
        # The sweeper's first run after the change comes late.
        relay.sweep(600)
        assert relay.sns.published == []
        pass_hours(relay, 1)
        assert (len(relay.session.calls), relay.sns.published) == (1, [])

    @pytest.mark.parametrize("since", [NOW - 10, NOW + 1800], ids=["the same pause", "a further pause"])
    def test_state_rings_after_a_pause_that_was_prolonged_by_days(self, since: float) -> None:
        first = pause("keep", until=NOW + 2 * HOUR)
        relay = new_relay(policy={"pauses": [first], "preset": "oncall"})
        relay.share()
        relay.clock.now += HOUR
        change_pauses(relay, first, pause("keep", since=since, until=NOW + 120 * HOUR))
        pass_hours(relay, 118)
        assert (relay.session.calls, relay.sns.published) == ([], [])
        pass_hours(relay, 1.5)
        assert len(relay.session.calls) == 1


class TestDrop:
    def test_state_in_the_pause_rings_neither_then_nor_afterwards(self) -> None:
        relay = paused("drop")
        result = relay.share()
        assert (result.outcome, result.queue) == (Outcome.UNCHANGED, None)
        assert "the channel is paused" in (result.subject.why or "")
        pass_hours(relay, 2)
        assert relay.session.calls == []

    def test_incident_that_was_owed_before_the_pause_rings_after_it(self) -> None:
        drop = pause("drop", since=NOW + 20)
        relay = new_relay(
            *[samples.refused(503)] * 3, samples.accepted(), policy={"preset": "oncall", "pauses": [drop]}
        )
        relay.share()
        relay.clock.now += 60
        assert relay.share(changedOn=LATER, comments=["seen"]).reason == Reason.PAUSED
        sent = len(relay.session.calls)
        pass_hours(relay, 0.8)
        assert len(relay.session.calls) == sent
        pass_hours(relay, 0.5)
        assert len(relay.session.calls) == sent + 1

    def test_state_is_left_out_though_an_earlier_pause_held_a_signal_of_its_incident(self) -> None:
        relay = new_relay(policy={"pauses": [pause("keep", until=NOW + 60), pause("drop", since=NOW + 600)]})
        relay.share(status="warning")
        relay.sweep(60)
        relay.wake(1)
        assert len(relay.session.calls) == 1
        relay.clock.now += 600
        assert relay.share(status="critical", changedOn=LATER).outcome == Outcome.UNCHANGED
        pass_hours(relay, 2)
        assert len(relay.session.calls) == 1

    def test_state_that_another_pause_keeps_waits_for_the_end_of_both(self) -> None:
        pauses = [pause("keep"), pause("drop", until=NOW + 2 * HOUR)]
        relay = new_relay(policy={"preset": "oncall", "pauses": pauses})
        assert relay.share().reason == Reason.PAUSED
        pass_hours(relay, 1.8)
        assert (relay.session.calls, relay.entry().debt.paused_until) == ([], NOW + 2 * HOUR)
        pass_hours(relay, 0.5)
        assert len(relay.session.calls) == 1

    def test_incident_that_is_still_open_rings_at_its_next_share_after_the_pause(self) -> None:
        relay = paused("drop")
        relay.share()
        relay.clock.now += 2 * HOUR
        assert relay.share(changedOn=LATER, comments=["seen"]).subject.transition == "opened"
        assert len(relay.session.calls) == 1

    def test_state_that_comes_while_the_ledger_fails_is_left_out_once_it_works(self) -> None:
        relay, table = hooked(policy={"pauses": [pause("drop")]})
        table.before["get_item", 0] = table_down
        result = relay.share()
        assert (result.outcome, result.reason, result.queue) == (Outcome.QUEUED, Reason.PAUSED, "retry")
        relay.wake()
        assert (relay.entry().debt.since, relay.retries.messages) == (None, [])
        pass_hours(relay, 2)
        assert (relay.session.calls, relay.sns.published) == ([], [])

    def test_resolve_that_comes_while_the_ledger_fails_supersedes_what_was_owed_before_the_pause(self) -> None:
        drop = pause("drop", since=NOW + 20)
        relay, table = hooked(samples.refused(503), policy={"preset": "oncall", "pauses": [drop]})
        relay.share()
        sent = len(relay.session.calls)
        relay.clock.now += 60
        table.before["get_item", table.calls.count("get_item")] = table_down
        relay.share(changedOn=LATER, status="ok", active=False, resolved=True)
        pass_hours(relay, 2)
        assert (len(relay.session.calls), relay.entry().debt.since) == (sent, None)


def test_pause_that_has_ended_changes_nothing() -> None:
    relay = Relay(new_relay().session, secrets=secrets_of(policy={"pauses": [pause("drop", until=NOW - 5)]}))
    assert relay.share().outcome == Outcome.DELIVERED
