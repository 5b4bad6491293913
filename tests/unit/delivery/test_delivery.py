"""Delivery of a share: an owed state is kept, claimed, sent and recorded; any other sends no signal."""

from typing import Any

import pytest

from relay.ledger.accepted_signal import AcceptedSignal
from tests import samples
from tests.fakes import new_relay

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


def test_log_line_of_a_share_in_shadow_mode_names_the_recipients_of_the_signal_that_was_not_sent() -> None:
    relay = new_relay(policy={"mode": "shadow"})
    relay.webhook.serve(samples.request(recipients=("jdoe",)))
    [line] = relay.recorder.lines()
    assert (line["outcome"], line["transition"], line["status"]) == ("shadowed", "opened", "critical")
    assert "jdoe" in line["recipients"]


# ---- Shares with bad timestamps --------------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [6, 3599])
def test_resolve_with_a_stamp_in_the_future_does_not_hide_the_next_critical(ahead: float) -> None:
    relay = new_relay()
    relay.share()
    stamp = relay.clock.now + ahead
    relay.share(status="ok", active=False, resolved=True, changedOn=stamp, updatedOn=stamp)
    relay.clock.now += 10
    assert relay.share(changedOn=LATER + 9, updatedOn=LATER + 9).subject.transition == "reopened"


@pytest.mark.parametrize("quiet", [{"mode": "shadow"}, {"pauses": [samples.pause("drop")]}], ids=["shadow", "drop"])
@pytest.mark.parametrize("meanwhile", ["ok critical", "warning critical"])
def test_critical_that_is_as_bad_again_in_a_quiet_time_rings_at_its_next_share(
    quiet: dict[str, Any], meanwhile: str
) -> None:
    """Its page may have ended with the better state, of which nobody was told."""
    relay = new_relay(policy={"preset": "oncall"})
    relay.play("critical")
    relay.change_policy(preset="oncall", **quiet)
    relay.play(meanwhile)
    relay.change_policy(preset="oncall")
    assert relay.play("comment") == [f"delivered {'reopened' if 'ok' in meanwhile else 'worsened'}"]
    assert relay.play("comment") == ["unchanged touched"]
