"""Waits before a signal: spacing of an incident, rate limits of channel and recipients, the circuit breaker."""

import json

import pytest
import requests

from relay.delivery.step import FLOOD_CONTROL_SECONDS
from relay.failures.reasons import Reason
from relay.http.session import HttpAnswer
from relay.jobs.outcome import Outcome
from tests import samples
from tests.fakes import new_relay

DOWN = samples.refused(503, b"<h1>Service Unavailable</h1>")
LATER = 1_800_000_001


class TestSpacingAndRateLimits:
    """Owed states that wait for spacing, a rate limit or the circuit."""

    @pytest.mark.parametrize(("status", "waits"), [("unknown", True), ("critical", False), ("ok", False)])
    def test_signals_of_an_incident_keep_their_spacing_unless_critical_or_resolved(
        self, status: str, waits: bool
    ) -> None:
        relay = new_relay(policy={"min_seconds_between_signals": 15})
        relay.share(status="warning")
        started = relay.clock.now
        relay.dynamodb.calls.clear()
        result = relay.share(status=status, changedOn=LATER)
        if not waits:
            assert result.outcome == Outcome.DELIVERED
            return
        assert (result.outcome, result.reason, result.queue) == (Outcome.QUEUED, Reason.PACED, "retry")
        assert result.until == started + 15
        [_, waiting] = relay.retries.jobs()
        assert waiting.stamps.reason == "paced"
        assert (relay.retries.delays()[1], relay.dynamodb.calls) == (15, ["get_item", "put_item", "update_item"])
        relay.wake(15)
        assert [json.loads(call.body)["incident"]["status"] for call in relay.session.calls] == ["warning", status]

    def test_flapping_incident_is_signalled_four_times_a_minute_at_most(self) -> None:
        relay = new_relay(policy={"min_seconds_between_signals": 0})
        outcomes = []
        for number in range(5):
            relay.clock.now += 1
            outcomes.append(relay.share(status="ok" if number % 2 else "critical", changedOn=LATER + number))
        assert [result.outcome for result in outcomes] == [Outcome.DELIVERED] * 4 + [Outcome.QUEUED]
        assert (outcomes[4].reason, outcomes[4].subject.transition) == (Reason.PACED, "reopened")
        assert outcomes[4].until == relay.clock.now - 4 + FLOOD_CONTROL_SECONDS
        relay.wake(60)
        assert len(relay.session.calls) == 5

    def test_flood_control_counts_from_when_xmatters_accepted(self) -> None:
        def slow(_: object) -> HttpAnswer:
            relay.clock.now += 3
            return samples.accepted()

        relay = new_relay(slow, policy={"min_seconds_between_signals": 0})
        began = relay.clock.now
        for number in range(5):
            result = relay.share(status="ok" if number % 2 else "critical", changedOn=LATER + number)
            relay.clock.now += 1
        assert (result.reason, result.until) == (Reason.PACED, began + 3 + FLOOD_CONTROL_SECONDS)

    def test_ambiguous_attempts_count_towards_flood_control(self) -> None:
        reset = requests.ConnectionError("reset")
        assert new_relay(reset).share().exchange.attempts == 2
        relay = new_relay(*[samples.accepted()] * 3, reset)
        for number, status in enumerate(["critical", "ok", "critical", "ok"]):
            relay.clock.now += 1
            result = relay.share(status=status, changedOn=LATER + number)
        assert (result.reason, result.exchange.attempts, len(relay.session.calls)) == (Reason.UNREACHABLE, 1, 4)

    def test_share_of_a_full_channel_waits_on_the_retry_queue(self) -> None:
        relay = new_relay(policy={"max_per_minute": 2})
        for number in range(3):
            relay.clock.now += 1
            result = relay.share(id=f"i{number}")
        assert (result.outcome, result.reason, result.queue) == (Outcome.QUEUED, Reason.PACED, "retry")
        assert len(relay.session.calls) == 2
        assert relay.entry("i2").debt.since == relay.clock.now
        assert (relay.retries.delays(), relay.retries.jobs()[2].attempts) == ([36, 36, 59], 0)

    def test_waiting_share_wakes_at_its_rate_limit_slot(self) -> None:
        relay = new_relay(policy={"max_per_minute": 1})
        relay.share(id="i1")
        relay.clock.now += 59.5
        assert relay.share(id="i2").reason == Reason.PACED
        [first, again] = relay.retries.delays()
        assert first == 36
        assert again <= 3
        relay.wake(again)
        assert [json.loads(call.body)["incident"]["id"] for call in relay.session.calls] == ["i1", "i2"]

    def test_state_that_may_have_been_announced_is_not_sent_by_another_job_for_30_seconds(self) -> None:
        relay = new_relay(requests.ReadTimeout(), samples.accepted())
        timed_out = relay.clock.now
        assert relay.share().reason == Reason.TIMEOUT
        relay.wake(20)
        assert len(relay.session.calls) == 1
        relay.wake(10)
        assert (len(relay.session.calls), relay.clock.now - timed_out >= 28) == (2, True)

    def test_worsened_state_does_not_wait_for_one_that_may_have_been_announced(self) -> None:
        relay = new_relay(requests.ReadTimeout(), samples.accepted())
        relay.share(status="warning")
        assert relay.share(status="critical", changedOn=LATER).outcome == Outcome.DELIVERED

    def test_rate_limit_per_recipients_counts_each_set_of_recipients(self) -> None:
        relay = new_relay(policy={"max_per_minute_per_recipients": 1})
        outcomes = []
        for name, recipient in (("i1", "jdoe"), ("i2", "jdoe"), ("i3", "ops")):
            relay.clock.now += 1
            outcomes.append(relay.share(id=name, recipients=(recipient,)).outcome)
        assert outcomes == [Outcome.DELIVERED, Outcome.QUEUED, Outcome.DELIVERED]

    def test_share_is_queued_without_an_attempt_while_the_circuit_is_open(self) -> None:
        relay = new_relay(DOWN)
        for number in range(5):
            assert relay.share(id=f"i{number}").reason == Reason.UPSTREAM
        asked = len(relay.session.calls)
        result = relay.share(id="i9")
        assert (result.outcome, result.reason, result.exchange.attempts) == (Outcome.QUEUED, Reason.CIRCUIT_OPEN, 0)
        assert len(relay.session.calls) == asked
        assert relay.retries.jobs()[-1].attempts == 0

    def test_retry_after_of_429_opens_the_circuit_for_that_time(self) -> None:
        relay = new_relay(samples.refused(429, retry_after="40"), samples.accepted())
        assert relay.share().reason == Reason.RATE_LIMITED
        assert relay.share(id="i2").reason == Reason.CIRCUIT_OPEN
        relay.clock.now += 41
        assert relay.share(id="i3").outcome == Outcome.DELIVERED
