"""Signals that a channel's policy holds back, for a flapping incident or in shadow mode. None is lost."""

from typing import Any

import pytest

from relay.ledger.entry_key import key, shadow_of
from tests import samples
from tests.fakes import Relay, hooked, new_relay, table_down, worked

NOW, HOUR, MINUTE = 1_800_000_000.0, 3600.0, 60.0
OK, DOWN = samples.accepted(), samples.refused(503)


# ---- The fallback ----------------------------------------------------------------------------------------------------


# The age limit is shorter than the wait until the incident is calm.
FLAP: dict[str, Any] = {"flap": {"transitions": 3, "minutes": 10}, "max_age_seconds": 60}


def test_flag_of_bigpanda_alone_rings_nobody_and_makes_the_next_signal_say_so() -> None:
    relay = new_relay(policy=FLAP)
    assert relay.play("warning") == ["delivered opened"]
    assert relay.play("warning", flapping=True) == ["unchanged touched"]
    worse = relay.share(status="critical", changedOn=int(relay.clock.now) + 1)
    assert (worse.subject.why or "").endswith("; it flaps")
    relay.clock.now += 1
    assert (relay.play("warning"), relay.statuses()) == (["queued flapping"], "warning critical")


ONCALL: dict[str, Any] = {"preset": "oncall"}


def shadowed(**policy: object) -> Relay:
    return new_relay(policy={"mode": "shadow", **ONCALL, **policy})


def switch(relay: Relay, mode: str, **policy: Any) -> None:
    """Give the channel another mode, as relayctl does."""
    relay.change_policy(mode=mode, **ONCALL, **policy)


def sent_nothing(relay: Relay) -> bool:
    queued = [*relay.retries.messages, *relay.chores.messages, *relay.dead_letters.messages, *relay.sns.published]
    return not relay.session.calls and not queued


def test_shares_are_recorded_and_compared_as_if_their_signals_had_been_accepted_and_nothing_is_sent() -> None:
    relay = shadowed()
    assert relay.play("critical comment ok") == ["shadowed opened", "unchanged touched", "shadowed resolved"]
    assert relay.share(status="ok", changedOn=int(relay.clock.now)).outcome == "duplicate"
    assert relay.entry().announced is None
    assert relay.ledger.read(shadow_of(key("noc", (), "i1"))).announced is not None
    assert sent_nothing(relay)


def test_log_line_names_the_recipients_of_a_signal_that_was_not_sent() -> None:
    relay = shadowed()
    relay.webhook.serve(samples.request(recipients=("jdoe",)))
    [line] = relay.recorder.lines()
    assert (line["outcome"], line["transition"], line["status"]) == ("shadowed", "opened", "critical")
    assert "jdoe" in line["recipients"]


def test_nothing_is_sent_while_the_ledger_fails() -> None:
    relay, table = hooked(policy={"mode": "shadow"})
    table.before_next(table_down, "get_item")
    result = relay.share()
    assert (result.outcome, bool(result.notices.unguarded), sent_nothing(relay)) == ("shadowed", True, True)


# ---- Signals from before the mode ------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_owed", [True, False])
def test_signal_from_before_is_dead_lettered_if_it_is_owed_and_rings_if_it_is_replayed_afterwards(
    is_owed: bool,
) -> None:
    relay = new_relay(*[DOWN] * (3 if is_owed else 0), OK, policy=ONCALL)
    relay.play("critical")
    sent = len(relay.session.calls)
    switch(relay, "shadow")
    relay.wake()
    letters = relay.dead_letters.jobs()
    assert ([job.stamps.reason for job in letters], len(relay.session.calls)) == (["shadowed"] * is_owed, sent)
    switch(relay, "live")
    worked(relay, *letters)
    assert len(relay.session.calls) == sent + is_owed


# ---- Back to live: shares that came in shadow mode count as known, and nothing older is announced --------------------


@pytest.mark.parametrize("said", [{}, {"changedOn": 1_800_000_009, "comments": ["seen"]}], ids=["it", "the next one"])
def test_share_that_came_in_shadow_rings_if_it_or_the_next_one_comes_afterwards(said: dict[str, Any]) -> None:
    relay = shadowed()
    relay.share()
    switch(relay, "live")
    assert relay.share(**said).subject.transition == "opened"
    assert relay.statuses() == "critical"


@pytest.mark.parametrize("quiet", [{"mode": "shadow"}, {"pauses": [samples.pause("drop")]}], ids=["shadow", "drop"])
@pytest.mark.parametrize("meanwhile", ["ok critical", "warning critical"])
def test_critical_that_is_as_bad_again_in_the_quiet_time_rings_at_its_next_share(
    quiet: dict[str, Any], meanwhile: str
) -> None:
    """Its page may have ended with the better state, of which nobody was told."""
    relay = new_relay(policy=ONCALL)
    relay.play("critical")
    relay.change_policy(**ONCALL, **quiet)
    relay.play(meanwhile)
    relay.change_policy(**ONCALL)
    assert relay.play("comment") == [f"delivered {'reopened' if 'ok' in meanwhile else 'worsened'}"]
    assert relay.play("comment") == ["unchanged touched"]
