"""Concurrent senders of one incident: another function changes the entry during the send, or between read and claim."""

from collections.abc import Callable
from typing import Any

import pytest

from relay.http.session import HttpAnswer
from relay.ledger.channel_rate_limiter import Gate
from relay.ledger.debt import SHARD
from tests import samples
from tests.fake_dynamodb import FakeDynamoDb, condition_failed
from tests.fakes import Call, Relay, dies, hooked, new_relay

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


# ---- During the send -------------------------------------------------------------------------------------------------


def test_share_that_meets_a_live_lease_waits_and_is_woken_by_the_sender() -> None:
    became: list[str] = []

    def meets(_: Call) -> HttpAnswer:
        became.extend(relay.play("warning"))
        return OK

    relay = new_relay(meets, OK)
    relay.play("critical")
    assert (became, relay.statuses()) == (["queued in_flight"], "critical")
    entry, [_, waiting, woken] = relay.entry(), relay.retries.jobs()
    # Past the end of the lease, which lasts 15 s from the first share; and at once, since the sender is ready.
    assert (relay.retries.delays(), waiting.stamps.reason) == ([36, 15, 0], "in_flight")
    assert (woken.delivery_id, woken.plan) == (waiting.delivery_id, waiting.plan)
    assert entry.newest
    assert entry.announced
    assert (entry.announced.precedes(entry.newest), entry.debt.since is None) == (True, False)
    relay.wake(1)
    assert (relay.statuses(), relay.retries.messages) == ("critical warning", [])


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


class ForgetfulDynamoDb(FakeDynamoDb):
    """A table that makes one write, and fails its condition, as botocore's repeated call does if an answer was lost."""

    def __init__(self, is_lost: Callable[[dict[str, Any]], bool]) -> None:
        super().__init__()
        self.is_lost = is_lost
        self.lost = 0

    def update_item(self, **request: Any) -> dict[str, Any]:
        answer = super().update_item(**request)
        if not self.lost and self.is_lost(request):
            self.lost = 1
            raise condition_failed("UpdateItem")
        return answer


def test_share_is_kept_and_answered_duplicate_if_the_answer_to_its_own_record_was_lost() -> None:
    table = ForgetfulDynamoDb(lambda request: f"#{SHARD} = " in request["UpdateExpression"])
    relay = new_relay(OK, dynamodb=table, policy={"max_per_minute": 1})
    relay.share(id="i2")
    assert (relay.share().outcome, table.lost) == ("duplicate", 1)
    assert relay.retries.jobs()[-1].incident_id == "i1"
    relay.wake(120)
    assert (len(relay.session.calls), relay.entry().debt.since) == (2, None)
