"""Concurrent senders of one incident: another function changes the entry during the send, or between read and claim."""

from collections.abc import Callable
from typing import Any

import pytest

from relay.ledger.channel_rate_limiter import Gate
from tests import samples
from tests.fakes import Relay, dies, hooked

OK = samples.accepted()
LATER = 1_800_000_001


def counted(relay: Relay) -> int:
    """Return the signals of the last minute, as the channel's gate counts them."""
    numbers = {name: float(each["N"]) for name, each in relay.dynamodb.items["gate/noc"].items() if "N" in each}
    return Gate.of(numbers).counted(relay.clock.now)


def crash(relay: Relay, **said: Any) -> None:
    """Let another function take a share, and crash while it waits for xMatters."""
    with pytest.raises(SystemExit):
        relay.other(dies).share(**said)


# ---- Between read and claim ------------------------------------------------------------------------------------------


def sends_later(other: Relay) -> None:
    other.clock.now += 0.5
    other.share()


# Function that acts as another sender meanwhile, what becomes of the share, and the signals that the gate counts.
MEANWHILE: dict[str, tuple[Callable[[Relay], object], str, int]] = {
    "announces the same share": (sends_later, "duplicate", 1),
    "announces a newer state": (lambda other: other.share(changedOn=LATER), "superseded", 1),
    "announces an older state": (
        lambda other: other.share(changedOn=LATER - 2, status="warning"),
        "delivered worsened",
        2,
    ),
    "sends a copy": (crash, "duplicate", 1),
    "sends an older state": (
        lambda other: crash(other, changedOn=LATER - 2, status="warning"),
        "queued in_flight",
        1,
    ),
}


@pytest.mark.parametrize("name", MEANWHILE)
def test_share_is_judged_anew_and_an_unused_slot_is_given_back_if_another_sender_claims_first(name: str) -> None:
    meanwhile, became, signals = MEANWHILE[name]
    relay, table = hooked()
    table.before_next(lambda: meanwhile(relay.other(samples.accepted("r8"))), after=1)
    result = relay.share()
    reason_or_transition = result.reason or (result.subject.transition if result.outcome == "delivered" else None)
    assert " ".join(filter(None, (result.outcome, reason_or_transition))) == became
    assert (counted(relay), len(relay.session.calls)) == (signals, int(result.outcome == "delivered"))
    if name == "sends an older state":
        first, _, last = relay.retries.jobs()
        assert first.delivery_id == last.delivery_id
        assert first.plan < last.plan == relay.entry().debt.plan
    relay.wake(40)
    assert (relay.retries.messages, relay.entry().debt.since) == ([], None)
