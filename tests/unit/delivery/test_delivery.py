"""Delivery of a share: an owed state is kept, claimed, sent and recorded; any other sends no signal."""

import json

import pytest

from relay.http.session import HttpAnswer
from relay.ledger.accepted_signal import AcceptedSignal
from tests import samples
from tests.fakes import new_relay
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
    policy = {"routes": [{"when": {"tag.team": "payments"}, "recipients": ["payments"]}], "preset": "oncall"}
    relay = new_relay(Tenant().accept, xmatters={"recipients": ["own"]}, policy=policy)
    relay.share()
    relay.session.steps = [HttpAnswer(202, {}, b"{}")]
    for number in range(3):
        relay.clock.now += 30
        relay.share(changedOn=LATER + number, tags=[{"name": "team", "value": "payments"}], comments=[str(number)])
    assert [call.url.partition("&recipients=")[2] for call in relay.session.calls] == ["own", "payments"]
