"""Delivery of a share: an owed state is kept, claimed, sent and recorded; any other sends no signal."""

import json
from typing import TYPE_CHECKING, Any

import pytest

from relay.http.session import HttpAnswer
from relay.ledger.accepted_signal import AcceptedSignal
from relay.ledger.entry_key import key
from tests import samples
from tests.fakes import Call, HookedDynamoDb, Relay, new_relay, table_down
from tests.unit.xmatters_tenant import Tenant

if TYPE_CHECKING:
    from relay.jobs.job import Job

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


def test_job_is_on_the_retry_queue_and_the_incident_is_claimed_before_the_signal_is_sent() -> None:
    on_queue: list[Job] = []

    def accept(_: Call) -> HttpAnswer:
        on_queue.extend(relay.retries.jobs())
        entry = relay.entry(recipients=("jdoe",))
        assert entry.lease
        assert (entry.lease.until - relay.clock.now, entry.debt.plan) == (15, 1)
        return OK

    relay = new_relay(accept)
    assert relay.share(recipients=("jdoe",)).outcome == "delivered"
    job = samples.unfailed_job(transition="opened", recipients=("jdoe",), plan=1)
    # The message wakes after the lease.
    assert (on_queue, relay.retries.delays()) == ([job], [36])


def urls(relay: Relay) -> list[str]:
    return [call.url.partition("&recipients=")[2] for call in relay.session.calls]


def test_recipients_are_the_channels_and_then_the_urls_and_each_set_of_the_url_has_signals_of_its_own() -> None:
    relay = new_relay(xmatters={"recipients": ["Net Ops", "jdoe"]})
    for recipients in ((), ("jdoe", "night shift"), ("night shift", "jdoe")):
        relay.share(recipients=recipients)
    assert urls(relay) == ["Net%20Ops,jdoe", "Net%20Ops,jdoe,night%20shift"]
    # The incident stays the same after the channel changes its recipients.
    relay.edit_secret(lambda document: document["xmatters"].update(recipients=["new"]))
    relay.clock.now += 301
    assert relay.share(status="ok", changedOn=LATER).subject.transition == "resolved"
    assert urls(relay)[2:] == ["new"]


TEAM = [{"name": "team", "value": "payments"}]
DBA = [{"name": "team", "value": "dba"}]


@pytest.mark.parametrize(
    ("policy", "shares", "rung"),
    [
        pytest.param({}, [(0, {}), (120, {"tags": TEAM})], ["own", "payments"], id="late tag"),
        pytest.param({}, [(0, {}), (601, {"tags": TEAM})], ["own"], id="too late"),
        pytest.param({"reroute_within_seconds": 60}, [(0, {}), (61, {"tags": TEAM})], ["own"], id="too late by policy"),
        pytest.param({"reroute_within_seconds": 0}, [(0, {}), (9, {"tags": TEAM})], ["own"], id="never"),
        pytest.param({}, [(0, {"tags": TEAM}), (9, {"tags": []})], ["payments"], id="tag removed"),
        pytest.param({}, [(0, {"tags": TEAM}), (9, {"tags": TEAM, "comments": ["c"]})], ["payments"], id="no news"),
        pytest.param(
            {}, [(0, {}), (9, {"tags": TEAM}), (9, {"tags": []})], ["own", "payments"], id="each is rung once"
        ),
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


def test_tag_that_comes_late_rings_nobody_once_a_person_acknowledged() -> None:
    relay = routed({})
    relay.share()
    relay.ledger.change(key("noc", (), "i1"), lambda entry: entry.acknowledged("jdoe", relay.clock.now))
    assert relay.share(changedOn=LATER, tags=TEAM).outcome == "unchanged"


def test_tag_that_comes_late_rings_the_recipients_of_its_route_alone_also_if_its_claim_cannot_be_written() -> None:
    table = HookedDynamoDb()
    relay = routed({}, dynamodb=table)
    relay.share(recipients=("jdoe",))
    table.before_next(table_down, after=1)
    assert relay.share(changedOn=LATER, tags=TEAM, recipients=("jdoe",)).notices.unguarded
    relay.drain()
    assert urls(relay) == ["own,jdoe", "payments"]


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


def test_critical_that_is_owed_stays_owed_if_the_next_share_does_not_say_its_status() -> None:
    relay = new_relay(samples.accepted("r1"), *[samples.refused(503)] * 3, samples.accepted("r2"))
    assert relay.play("warning critical") == ["delivered opened", "queued upstream"]
    relay.clock.now += 1
    assert relay.share(status=None, changedOn=int(relay.clock.now)).subject.transition == "worsened"
    assert json.loads(relay.session.calls[-1].headers["X-Relay-Decision"])["status"] == "critical"
    assert relay.play("critical") == ["unchanged touched"]


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
