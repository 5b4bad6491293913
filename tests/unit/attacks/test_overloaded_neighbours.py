"""Floods of forged criticals by a stranger with the token of one channel: their effect on other channels."""

from collections import Counter
from typing import Any

import pytest

from relay.jobs.result import Outcome
from tests import samples
from tests.fakes import Relay, new_relay

FLOOD = 400
LIMIT = 60
DOWN = samples.refused(503, b"down")


def two_channels(*steps: Any, **policy: int) -> Relay:
    return new_relay(*steps, policy={"max_per_minute": LIMIT, **policy}, channels=("loud", "noc"))


def flood(relay: Relay, count: int = FLOOD) -> None:
    for number in range(count):
        relay.post("loud", id=f"f{number}")


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


@pytest.mark.parametrize("debts", [10, 100])
def test_wakes_of_a_channel_in_an_outage_do_not_grow_with_its_debts(debts: int) -> None:
    relay = two_channels(DOWN)
    flood(relay, debts)
    woken = [minute(relay) for _ in range(8)]
    assert max(woken[3:]) <= 5, "the sweeper's probe, and two messages for each time that the circuit opened"
