"""Ambiguous failures: after a 500, 502, 504 or a cut connection xMatters may have notified people."""

from typing import Any

import pytest
import requests

from relay.delivery.step import FLOOD_CONTROL_SECONDS, FLOOD_CONTROL_SIGNALS
from relay.failures.reasons import AMBIGUOUS_WAIT_SECONDS, Reason
from relay.jobs.outcome import Outcome
from tests import samples
from tests.fakes import Relay, Step, new_relay

LATER = 1_800_000_001


@pytest.fixture(
    params=[*(samples.refused(status) for status in (500, 502, 504)), requests.ConnectionError("reset")], ids=str
)
def ambiguous(request: pytest.FixtureRequest) -> Step:
    step: Step = request.param
    return step


def may_repeat(relay: Relay) -> list[str | None]:
    return [call.headers.get("X-Relay-May-Repeat") for call in relay.session.calls]


def test_resolve_is_owed_after_an_ambiguous_answer(ambiguous: Step) -> None:
    relay = new_relay(ambiguous, ambiguous, samples.accepted())
    assert relay.share(status="critical").reason in {Reason.UPSTREAM, Reason.UNREACHABLE}
    relay.clock.now += 5
    result = relay.share(status="ok", changedOn=LATER)
    assert (result.outcome, result.subject.transition) == (Outcome.DELIVERED, "resolved")


def test_state_is_not_sent_again_within_half_a_minute_of_an_ambiguous_answer(ambiguous: Step) -> None:
    relay = new_relay(ambiguous, ambiguous, samples.accepted())
    relay.share(status="critical")
    sent_at = relay.clock.now
    relay.clock.now += 10
    relay.wake(0)
    assert len(relay.session.calls) == 2
    relay.wake(AMBIGUOUS_WAIT_SECONDS)
    assert len(relay.session.calls) == 3
    assert relay.clock.now >= sent_at + AMBIGUOUS_WAIT_SECONDS - 2
    assert may_repeat(relay) == [None, "true", "true"]


def test_warning_gets_no_inline_retry_after_an_ambiguous_answer(ambiguous: Step) -> None:
    relay = new_relay(ambiguous)
    relay.share(status="warning")
    assert may_repeat(relay) == [None]


def test_ambiguous_attempts_of_one_incident_stay_within_four_a_minute(ambiguous: Step) -> None:
    relay = new_relay(ambiguous, policy={"min_seconds_between_signals": 0})
    began = relay.clock.now
    for number, status in enumerate(["warning", "critical", "ok", "critical", "ok", "critical"]):
        relay.share(status=status, changedOn=LATER + number)
        relay.clock.now += 1
    assert relay.clock.now < began + FLOOD_CONTROL_SECONDS
    assert len(relay.session.calls) == FLOOD_CONTROL_SIGNALS


@pytest.mark.parametrize("status", [429, 503])
def test_answer_429_or_503_leaves_no_state_in_doubt(status: int) -> None:
    relay = new_relay(samples.refused(status))
    result = relay.share(status="critical")
    entry: Any = relay.entry()
    assert not result.exchange.may_have_acted
    assert (entry.doubtful, entry.signal_times) == ((), ())
    assert may_repeat(relay) == [None] * 3
