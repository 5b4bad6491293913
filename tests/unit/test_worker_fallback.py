"""A critical incident that is owed for too long is told on another way, once."""

import threading
from copy import replace
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from relay.worker import DEAD_LETTER_AGAIN_SECONDS
from tests import samples
from tests.fakes import FakeSecrets, FakeSns, Relay, room

DOWN = samples.refused(503, b"down")
REFUSED = samples.refused(404)
NOW = "2027-01-15T08:00:00.000Z"
LATER = 1_800_000_001


def woken(relay: Relay, **changes: Any) -> None:
    """Let this job wake up now, and wait if it must."""
    job = samples.job(**{"received_at": NOW, "attempts": 0} | changes)
    assert relay.worker.work([{"messageId": "m1", "body": job.to_json()}]) == []


def told(relay: Relay) -> list[str]:
    """The subjects that the fallback topic was told."""
    return [message["Subject"] for message in relay.sns.published]


class TestFallback:
    def test_a_critical_that_is_owed_for_too_long_is_told_once(self) -> None:
        relay = room(DOWN)
        relay.share()
        for _ in range(9):
            relay.wake(30)
        assert told(relay) == []
        for _ in range(20):
            relay.wake(30)
        assert told(relay) == ["CRITICAL, xMatters not reached: incident i1"]
        assert relay.recorder.metrics()["fallback_told"] == 1
        assert relay.entry().told

    def test_in_time_though_its_next_try_is_later(self) -> None:
        relay = room(samples.refused(503, retry_after="900"))
        woken(relay)
        assert (relay.retries.delays(), told(relay)) == ([300], [])
        [before] = relay.retries.jobs()
        relay.wake(300)
        assert len(told(relay)) == 1
        # And only then does it sleep until its next try.
        [after] = relay.retries.jobs()
        assert (relay.retries.delays(), after.not_before) == ([600], before.not_before)
        assert len(relay.session.calls) == 1

    @pytest.mark.parametrize("status", ["warning", "unknown"])
    def test_what_is_not_critical_is_not_told(self, status: str) -> None:
        relay = room(DOWN)
        relay.share(status=status)
        for _ in range(20):
            relay.wake(60)
        assert told(relay) == []
        assert len(relay.retries.messages) == 1

    def test_a_refused_critical_is_told_too_and_then_its_job_goes(self) -> None:
        relay = room(REFUSED)
        relay.share()
        relay.wake()
        assert (len(relay.retries.messages), relay.retries.delays(), told(relay)) == (1, [270], [])
        relay.wake(270)
        assert (relay.retries.messages, len(told(relay))) == ([], 1)
        assert (len(relay.dead_letters.messages), len(relay.session.calls)) == (1, 1)

    def test_of_those_that_are_refused_together_the_topic_hears_of_each(self) -> None:
        relay = room(REFUSED, policy={"max_per_minute": 100})
        for number in range(20):
            relay.share(id=f"i{number}")
        for _ in range(16):
            relay.wake(30)
        assert len(told(relay)) == 2
        assert "19 more critical incidents since the last message" in relay.sns.published[1]["Message"]
        assert (relay.retries.messages, len(relay.dead_letters.messages)) == ([], 20)

    def test_one_that_was_moved_back_and_is_refused_again_is_one_dead_letter(self) -> None:
        relay = room(REFUSED)
        woken(relay, dead_lettered_at=NOW)
        for _ in range(16):
            relay.wake(30)
        assert (len(relay.dead_letters.messages), len(relay.session.calls), len(told(relay))) == (1, 1, 1)

    def test_one_whose_turn_is_far_away_wakes_for_it(self) -> None:
        relay = room(policy={"min_seconds_between_signals": 3000, "fallback_after_seconds": 60})
        for second, status in ((0, "critical"), (1, "ok"), (2, "critical")):
            relay.share(status=status, changedOn=1_800_000_000 + second)
        relay.retries.messages = relay.retries.messages[-1:]
        assert relay.retries.delays() == [61]
        relay.wake(61)
        assert len(told(relay)) == 1
        assert relay.retries.delays() == [900]

    def test_a_refused_warning_is_not(self) -> None:
        relay = room(REFUSED)
        relay.share(status="warning")
        relay.wake()
        relay.wake(600)
        assert (relay.retries.messages, told(relay)) == ([], [])

    def test_an_expired_one_is_told_before_it_rests(self) -> None:
        relay = room(policy={"max_age_seconds": 60, "fallback_after_seconds": 300})
        relay.clock.now += 61
        woken(relay)
        assert (len(relay.dead_letters.messages), relay.retries.delays()) == (1, [239])
        relay.wake(239)
        assert (len(told(relay)), relay.retries.messages) == (1, [])

    def test_what_is_announced_in_time_is_not_told(self) -> None:
        relay = room(DOWN, DOWN, DOWN, samples.accepted())
        relay.share()
        relay.wake(30)
        relay.wake(600)
        assert (relay.retries.messages, told(relay)) == ([], [])

    @pytest.mark.parametrize("kind", ["followup", "writeback", "release"])
    def test_what_is_no_signal_is_owed_to_nobody(self, kind: str) -> None:
        relay = room(secrets=FakeSecrets(noc="not json"))
        relay.retries.queue().send(samples.job(kind=kind, received_at=NOW))
        relay.wake(301)
        assert (told(relay), [job.kind for job in relay.chores.jobs()]) == ([], [kind])

    def test_a_newer_state_is_owed_since_the_first(self) -> None:
        relay = room(DOWN)
        relay.share()
        relay.clock.now += 200
        relay.share(changedOn=LATER, comments=["on it"])
        relay.wake(101)
        assert len(told(relay)) == 1

    def test_it_is_told_again_only_after_it_was_announced_in_between(self) -> None:
        down = [True]
        relay = room(lambda _: DOWN if down[0] else samples.accepted())

        def pass_by(seconds: int) -> None:
            for _ in range(seconds // 60):
                relay.wake(60)

        relay.share()
        pass_by(600)
        relay.share(changedOn=LATER, comments=["still owed"])
        pass_by(600)
        assert len(told(relay)) == 1
        down[0] = False
        pass_by(900)
        assert (relay.retries.messages, relay.entry().told) == ([], False)
        down[0] = True
        relay.share(changedOn=LATER + 1, status="warning")
        relay.share(changedOn=LATER + 2, status="critical", alerts=["another"])
        pass_by(600)
        assert len(told(relay)) == 1
        relay.share(changedOn=LATER + 3, status="ok")
        down[0] = False
        pass_by(900)
        down[0] = True
        relay.share(changedOn=LATER + 4, status="critical")
        pass_by(900)
        assert len(told(relay)) == 2

    def test_a_topic_that_fails_is_told_later(self) -> None:
        relay = room(DOWN, policy={"fallback_after_seconds": 0})
        relay.sns.failure = EndpointConnectionError(endpoint_url="https://sns.test")
        woken(relay)
        assert told(relay) == []
        assert relay.recorder.metrics()["fallback_failed"] == 1
        assert not relay.entry(recipients=("Network Operations",)).told
        relay.sns.failure = None
        relay.wake(60)
        assert len(told(relay)) == 1

    def test_a_fault_of_it_keeps_the_message_and_not_the_others(self) -> None:
        class Broken(FakeSns):
            def publish(self, **message: str) -> dict[str, str]:
                raise ZeroDivisionError

        relay = room(DOWN, samples.accepted(), sns=Broken(), policy={"fallback_after_seconds": 0})
        first = samples.job(received_at=NOW)
        second = replace(first, incident_id="i2", body=samples.body(id="i2"))
        batch = [{"messageId": f"m{n}", "body": job.to_json()} for n, job in enumerate((first, second))]
        assert relay.worker.work(batch) == ["m0"]
        assert len(relay.session.calls) == 2

    def test_a_topic_that_hangs_holds_nobody_up(self) -> None:
        let_go = threading.Event()

        class Hanging(FakeSns):
            def publish(self, **message: str) -> dict[str, str]:
                let_go.wait(30)
                return super().publish(**message)

        relay = room(DOWN, sns=Hanging(), policy={"fallback_after_seconds": 0})
        woken(relay)
        assert told(relay) == [], "the worker waited for the topic"
        let_go.set()
        # It is told again, rather than taken for told.
        [delay] = relay.retries.delays()
        assert delay <= DEAD_LETTER_AGAIN_SECONDS
        assert not relay.entry(recipients=("Network Operations",)).told
