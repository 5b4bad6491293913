"""Delivery of a share: an owed state is kept, claimed, sent and recorded; any other sends no signal."""

from typing import Any

import pytest

from relay.http.session import HttpAnswer
from relay.ledger.accepted_signal import AcceptedSignal
from tests import samples
from tests.fakes import Relay, new_relay
from tests.unit.xmatters_tenant import Tenant

OK = samples.accepted()
LATER = 1_800_000_001
# A read, the gate, a claim and a record: no row and no stored job.
DELIVERED = ["get_item", "update_item", "update_item", "update_item"]


def test_accepted_share_is_delivered_and_recorded_by_one_read_two_writes_and_one_rate_limit_call() -> None:
    relay = new_relay()
    result, entry = relay.share(), relay.entry()
    assert (result.outcome, result.exchange.request_id, result.exchange.attempts) == ("delivered", "r7", 1)
    assert (result.subject.channel, result.subject.incident_id, result.subject.is_first) == ("noc", "i1", True)
    assert result.subject.why == "nothing of this open incident was announced"
    assert (result.queue, result.reason, result.notices.unguarded) == (None, None, None)
    assert (relay.dynamodb.calls[:4], len(relay.retries.messages), relay.dead_letters.messages) == (DELIVERED, 1, [])
    assert entry.announced
    assert (entry.announced.version, entry.announced.is_same(entry.newest)) == ((1_800_000_000,) * 2, True)
    assert (entry.lease, entry.debt.since, entry.is_given_up) == (None, None, False)
    assert entry.accepted_signals == (AcceptedSignal("r7", relay.clock.now, is_open=True, is_critical=True),)


def urls(relay: Relay) -> list[str]:
    return [call.url.partition("&recipients=")[2] for call in relay.session.calls]


TEAM = [{"name": "team", "value": "payments"}]
DBA = [{"name": "team", "value": "dba"}]


@pytest.mark.parametrize(
    ("policy", "shares", "rung"),
    [
        pytest.param({}, [(0, {}), (601, {"tags": TEAM})], ["own"], id="too late"),
        pytest.param({"reroute_within_seconds": 60}, [(0, {}), (61, {"tags": TEAM})], ["own"], id="too late by policy"),
        pytest.param({"reroute_within_seconds": 0}, [(0, {}), (9, {"tags": TEAM})], ["own"], id="never"),
        pytest.param(
            {},
            [(0, {}), (9, {"tags": TEAM}), (9, {"tags": TEAM, "status": "ok"}), (9, {}), (99, {"tags": TEAM})],
            ["own", "payments", "payments", "own", "payments"],
            id="again after the end",
        ),
        pytest.param({}, [(0, {}), (9, {"status": "warning"})], ["own"], id="route by status is no late tag"),
        pytest.param({}, [(0, {}), (9, {"status": None, "tags": TEAM})], ["own"], id="without its status"),
        pytest.param(
            {}, [(0, {}), (9, {"tags": TEAM}), (9, {"tags": DBA})], ["own", "payments", "dba"], id="second tag"
        ),
    ],
)
def test_tag_that_comes_late_rings_the_recipients_of_its_route_alone(
    policy: dict[str, Any], shares: list[tuple[float, dict[str, Any]]], rung: list[str]
) -> None:
    relay = routed(policy)
    for number, (seconds, said) in enumerate(shares):
        relay.clock.now += seconds
        relay.share(**({"changedOn": LATER + number} | said))
    assert urls(relay) == rung
    relay.wake(60)
    assert (urls(relay), relay.entry().debt.since) == (rung, None)


def routed(policy: dict[str, Any], **changes: Any) -> Relay:
    """Return a relay whose channel has routes by tag and by status."""
    routes = [
        {"when": {"tag.team": "payments"}, "recipients": ["payments"]},
        {"when": {"tag.team": "dba"}, "recipients": ["dba"]},
        {"when": {"status": "warning"}, "recipients": ["chat"]},
    ]
    policy = {"routes": routes, "preset": "oncall"} | policy
    return new_relay(Tenant().accept, xmatters={"recipients": ["own"]}, policy=policy, **changes)


# ---- Shares with bad timestamps --------------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [6, 3599])
def test_resolve_with_a_stamp_in_the_future_does_not_hide_the_next_critical(ahead: float) -> None:
    relay = new_relay()
    relay.share()
    stamp = relay.clock.now + ahead
    relay.share(status="ok", active=False, resolved=True, changedOn=stamp, updatedOn=stamp)
    relay.clock.now += 10
    assert relay.share(changedOn=LATER + 9, updatedOn=LATER + 9).subject.transition == "reopened"


def test_recipients_of_a_late_tag_are_signalled_once_although_the_answer_has_no_request_id() -> None:
    relay = routed({})
    relay.share()
    relay.session.steps = [HttpAnswer(202, {}, b"{}")]
    for number in range(3):
        relay.clock.now += 30
        relay.share(changedOn=LATER + number, tags=TEAM, comments=[str(number)])
    assert urls(relay) == ["own", "payments"]
