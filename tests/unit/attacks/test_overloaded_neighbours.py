"""Floods of forged criticals by a stranger with the token of one channel: their effect on other channels."""

from collections import Counter
from typing import Any

import pytest

from relay.jobs.outcome import Outcome
from tests import samples
from tests.fakes import Call, Relay, new_relay

FLOOD = 400
LIMIT = 60
DOWN = samples.refused(503, b"down")


def two_channels(*steps: Any, **policy: int) -> Relay:
    return new_relay(*steps, policy={"max_per_minute": LIMIT, **policy}, channels=("loud", "noc"))


def flood(relay: Relay, count: int = FLOOD, prefix: str = "f") -> None:
    for number in range(count):
        relay.post("loud", id=f"{prefix}{number}")


def minute(relay: Relay) -> int:
    """Let a minute pass, with a run of the sweeper; return the number of messages that woke workers at its end."""
    relay.sweep(60)
    woken = len(relay.retries.messages)
    relay.wake(0)
    return woken


def test_critical_of_another_channel_is_sent_at_once_without_extra_calls_during_a_flood() -> None:
    def asked(relay: Relay) -> tuple[Counter[str], int]:
        before, signals = Counter(relay.dynamodb.calls), len(relay.session.calls)
        assert relay.post().document["outcome"] == Outcome.DELIVERED
        assert len(relay.session.calls) == signals + 1
        return Counter(relay.dynamodb.calls) - before, len(relay.retries.messages)

    quiet, overloaded = two_channels(), two_channels()
    flood(overloaded)
    calls, messages = asked(quiet)
    calls_in_a_flood, messages_in_a_flood = asked(overloaded)
    assert calls_in_a_flood == calls
    assert messages_in_a_flood == FLOOD + messages
    assert overloaded.clock.slept == []


class TestRetries:
    """Retries: all channels use the same retry queue and workers."""

    @pytest.mark.parametrize("debts", [10, 100])
    def test_wakes_of_a_channel_in_an_outage_do_not_grow_with_its_debts(self, debts: int) -> None:
        relay = two_channels(DOWN)
        flood(relay, debts)
        woken = [minute(relay) for _ in range(8)]
        assert max(woken[3:]) <= 5, "the sweeper's probe, and two messages for each time that the circuit opened"

    def test_signal_that_closes_a_circuit_wakes_the_criticals_that_waited_for_it(self) -> None:
        works = [False]
        relay = two_channels(lambda _: samples.accepted() if works[0] else DOWN)
        flood(relay, 30)
        for _ in range(3):
            minute(relay)
        works[0], before = True, len(relay.session.calls)
        minute(relay)
        probes = len(relay.session.calls) - before
        relay.wake(1)
        relay.wake(0)
        assert probes <= 5
        assert len(relay.session.calls) == before + 30

    def test_critical_behind_a_flood_is_notified_in_time_and_handed_to_a_worker_by_the_sweeper(self) -> None:
        def answer(call: Call) -> Any:
            return DOWN if b'"i1"' in call.body else samples.accepted()

        relay = two_channels(answer, fallback_after_seconds=300)
        flood(relay)
        relay.post()
        wakes = max(relay.retries.delays()[-1:])
        # There are more messages than workers can handle, so none of them reaches a worker.
        passed, notified_after, handed_after = 0, 0, 0
        while not handed_after and passed < 3600:
            passed += 60
            relay.sweep(60)
            subjects = [message["Subject"] for message in relay.sns.published]
            notified_after = notified_after or (passed if any("i1 of channel noc" in each for each in subjects) else 0)
            handed_after = passed if any(job.channel == "noc" for job in relay.invoked) else 0
        assert notified_after == 300
        assert handed_after <= wakes + 180 + 180 + 2 * 60
