"""Flapping incidents (`policy.flap`): one signal, then quiet until the incident is worse or calm. Nothing is lost."""

import json
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from relay.failures.reasons import Reason
from relay.jobs.outcome import Outcome, Result
from tests import samples
from tests.fakes import FakeSecrets, FakeSession, Relay, new_relay

SECONDS = 600.0
LATER = 1_800_000_001
FLAP = {"flap": {"transitions": 3, "minutes": 10}}


def play(relay: Relay, *statuses: str, apart: float = 30.0, **said: Any) -> Result:
    """Let an incident take these statuses, one after the other, and return the last result."""
    for status in statuses:
        relay.clock.now += apart
        result = relay.share(status=status, changedOn=int(relay.clock.now), **said)
    return result


def signalled(relay: Relay) -> list[str]:
    return [json.loads(call.body)["incident"]["status"] for call in relay.session.calls]


def sweep_for(relay: Relay, seconds: float) -> None:
    """Let time pass. Each minute the sweeper runs, and workers handle the jobs that it queued."""
    end = relay.clock.now + seconds
    while relay.clock.now < end:
        relay.sweep(min(60.0, end - relay.clock.now))
        relay.wake(0)


def flapping(*more: str, **policy: Any) -> Relay:
    """Return a relay that announced a critical incident as flapping."""
    relay = new_relay(policy=FLAP | policy)
    result = play(relay, "critical", "ok", "critical", "ok", *more)
    assert relay.entry().flap.is_signalled
    assert result.subject.why
    return relay


class TestQuiet:
    def test_signal_of_the_change_that_makes_a_flap_says_so(self) -> None:
        relay = new_relay(policy=FLAP)
        assert play(relay, "critical", "ok", "critical").subject.why == "it was announced as over, and is open"
        result = play(relay, "ok")
        assert (result.outcome, result.subject.why) == (
            Outcome.DELIVERED,
            "it was announced as open, and is over; it flaps",
        )

    def test_incident_that_opens_again_rings_once_more_and_is_quiet_then(self) -> None:
        relay = flapping("critical", "ok", "critical", "ok", "critical", "ok")
        assert signalled(relay) == ["critical", "ok", "critical", "ok", "critical"]

    def test_state_that_people_know_as_bad_waits_in_the_ledger_alone(self) -> None:
        relay = flapping("critical")
        relay.retries.messages.clear()
        result = play(relay, "ok")
        assert (result.outcome, result.reason, result.queue) == (Outcome.QUEUED, Reason.FLAPPING, "ledger")
        assert result.until == relay.clock.now + SECONDS
        assert relay.retries.messages == []
        row = relay.entry().debt.row
        assert row
        assert row.due == result.until

    def test_without_the_rule_nothing_is_remembered_and_every_change_rings(self) -> None:
        relay = new_relay()
        play(relay, "critical", "ok", "critical", "ok", "critical")
        assert len(relay.session.calls) == 5
        [item] = [item for name, item in relay.dynamodb.items.items() if name.startswith("incident/")]
        assert "flap" not in json.loads(item["text"]["S"])

    def test_rule_that_is_taken_away_ends_the_quiet_time_with_the_next_share(self) -> None:
        relay = flapping("critical")
        relay.secrets.texts["noc"] = json.dumps(samples.secret(policy={"min_seconds_between_signals": 0}))
        relay.clock.now += 301
        assert play(relay, "ok").outcome == Outcome.DELIVERED
        assert relay.entry().flap.calm_at == 0

    def test_flag_of_bigpanda_alone_rings_nobody_and_makes_the_next_signal_say_so(self) -> None:
        relay = new_relay(policy=FLAP)
        assert play(relay, "warning").outcome == Outcome.DELIVERED
        assert play(relay, "warning", flapping=True).outcome == Outcome.UNCHANGED
        assert (play(relay, "critical").subject.why or "").endswith("; it flaps")
        assert play(relay, "warning").reason == Reason.FLAPPING
        assert signalled(relay) == ["warning", "critical"]


class TestWorse:
    def test_state_that_is_worse_than_announced_rings_at_once(self) -> None:
        relay = new_relay(policy=FLAP)
        play(relay, "warning", "ok", "warning", "ok", "warning", "ok", "unknown", "warning")
        assert len(relay.session.calls) == 5
        assert play(relay, "critical").outcome == Outcome.DELIVERED
        assert play(relay, "warning", "critical", "ok", "critical").outcome == Outcome.UNCHANGED
        assert signalled(relay)[-2:] == ["warning", "critical"]

    def test_incident_that_people_know_as_over_rings_when_it_opens(self) -> None:
        relay = flapping()
        assert signalled(relay)[-1] == "ok"
        assert play(relay, "warning").outcome == Outcome.DELIVERED


class TestCalm:
    def test_resolve_that_stays_is_announced_when_the_incident_is_calm(self) -> None:
        relay = flapping("critical", "ok")
        sweep_for(relay, SECONDS - 1)
        assert len(relay.session.calls) == 5
        sweep_for(relay, 60)
        assert signalled(relay)[-1] == "ok"
        assert relay.entry().debt.row is None

    def test_open_state_that_was_not_announced_rings_when_the_incident_is_calm(self) -> None:
        relay = flapping("critical", "ok", "warning")
        sweep_for(relay, SECONDS + 60)
        assert signalled(relay)[-2:] == ["critical", "warning"]

    def test_open_state_that_was_announced_does_not_ring_again(self) -> None:
        relay = flapping("critical", "ok", "critical")
        sweep_for(relay, 2 * SECONDS)
        assert len(relay.session.calls) == 5
        assert relay.entry().debt.since is None

    def test_further_change_moves_the_end_of_the_quiet_time(self) -> None:
        relay = flapping("critical", "ok")
        sweep_for(relay, SECONDS - 60)
        play(relay, "critical", "ok", apart=1)
        sweep_for(relay, SECONDS - 10)
        assert len(relay.session.calls) == 5
        sweep_for(relay, 60)
        assert signalled(relay)[-1] == "ok"

    def test_calm_incident_rings_at_once_again(self) -> None:
        relay = flapping("critical", "ok")
        sweep_for(relay, 2 * SECONDS)
        assert play(relay, "critical").outcome == Outcome.DELIVERED
        assert play(relay, "ok").outcome == Outcome.DELIVERED

    def test_state_that_waits_does_not_expire_before_the_incident_is_calm(self) -> None:
        relay = flapping("critical", "ok", max_age_seconds=60)
        sweep_for(relay, SECONDS + 60)
        assert (signalled(relay)[-1], relay.dead_letters.messages) == ("ok", [])

    def test_age_of_a_state_counts_from_the_end_of_the_quiet_time(self) -> None:
        relay = flapping("critical", "ok", max_age_seconds=900)
        relay = relay.other(samples.refused(503))
        sweep_for(relay, SECONDS + 840)
        assert relay.dead_letters.messages == []
        sweep_for(relay, 240)
        assert len(relay.dead_letters.messages) == 1

    def test_job_from_before_the_flap_waits_for_its_end_though_it_is_too_old(self) -> None:
        relay = flapping("critical", "ok", max_age_seconds=60)
        assert relay.retries.messages
        relay.wake(120)
        assert (relay.dead_letters.messages, len(relay.session.calls)) == ([], 5)
        sweep_for(relay, SECONDS)
        assert signalled(relay)[-1] == "ok"


class TestSomebodyKnows:
    def test_fallback_topic_is_not_notified_of_a_state_that_waits_for_the_end_of_a_flap(self) -> None:
        policy = {"notify_on": ["opened", "worsened", "reopened"], "fallback_after_seconds": 60}
        relay = flapping_with_silent_ends(policy)
        assert play(relay, "critical").reason == Reason.FLAPPING
        assert relay.entry().debt.is_critical
        relay = relay.other(samples.refused(503))
        sweep_for(relay, SECONDS)
        assert relay.sns.published == []
        sweep_for(relay, 180)
        assert len(relay.sns.published) == 1

    def test_channel_with_a_state_that_waits_for_the_end_of_a_flap_is_not_reported_as_sick(self) -> None:
        relay = flapping("critical", "ok")
        sweep_for(relay, SECONDS - 60)
        assert not [line for line in relay.recorder.lines() if "owed" in line.get("message", "")]


def flapping_with_silent_ends(policy: dict[str, Any]) -> Relay:
    relay = new_relay(policy=FLAP | policy)
    play(relay, "critical", "ok", "critical", "ok", "critical", "ok")
    assert relay.entry().flap.is_signalled
    return relay


class TestFaults:
    def test_critical_is_sent_at_once_while_the_ledger_fails(self) -> None:
        relay = flapping("critical", "ok")
        relay.dynamodb.failure = EndpointConnectionError(endpoint_url="https://dynamodb")
        assert play(relay, "critical").outcome == Outcome.DELIVERED


class TestAcknowledged:
    @pytest.fixture
    def relay(self) -> Relay:
        document = samples.secret(policy={"min_seconds_between_signals": 0, **FLAP})
        document["xmatters"] |= {"callback": {"token": "t"}, "recipients": ["Ops"]}
        return Relay(FakeSession(samples.accepted()), secrets=FakeSecrets(noc=json.dumps(document)))

    def acknowledge(self, relay: Relay) -> None:
        relay.clock.now += 1
        name = next(name for name in relay.dynamodb.items if name.startswith("incident/"))
        relay.ledger.change(name, lambda entry: entry.acknowledged("jdoe", relay.clock.now))
        assert relay.entry().acknowledged_by == "jdoe"

    def recipients_signalled(self, relay: Relay) -> list[str]:
        return [call.url.partition("&recipients=")[2] for call in relay.session.calls]

    def test_state_that_is_as_bad_as_the_acknowledged_one_goes_to_that_person_alone(self, relay: Relay) -> None:
        play(relay, "critical")
        self.acknowledge(relay)
        play(relay, "warning", "critical", apart=400)
        assert self.recipients_signalled(relay) == ["Ops", "jdoe", "jdoe"]
        assert relay.entry().acknowledged_by == "jdoe"

    def test_state_that_is_worse_than_the_acknowledged_one_rings_all(self, relay: Relay) -> None:
        play(relay, "warning")
        self.acknowledge(relay)
        play(relay, "critical")
        assert self.recipients_signalled(relay) == ["Ops", "Ops"]
        assert relay.entry().acknowledged_by == ""

    def test_flapping_incident_stays_quiet_after_an_acknowledgement_until_it_is_worse(self, relay: Relay) -> None:
        play(relay, "warning", "ok", "warning", "ok", "warning")
        self.acknowledge(relay)
        play(relay, "ok", "warning", "ok", "warning")
        assert len(relay.session.calls) == 5
        play(relay, "critical")
        assert self.recipients_signalled(relay)[5:] == ["Ops"]

    def test_resolve_of_a_flap_ends_the_acknowledgement_when_the_incident_is_calm(self, relay: Relay) -> None:
        play(relay, "warning", "ok", "warning", "ok", "warning")
        self.acknowledge(relay)
        play(relay, "ok")
        sweep_for(relay, SECONDS + 60)
        assert (self.recipients_signalled(relay)[5:], relay.entry().acknowledged_by) == (["jdoe"], "")
