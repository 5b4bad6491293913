"""Signals that a channel's policy holds back: pauses, flapping incidents, and shadow mode. None is lost."""

from collections.abc import Sequence
from typing import Any

import pytest

from relay.ledger.entry_key import key, shadow_of
from tests import samples
from tests.fakes import Relay, Step, hooked, new_relay, table_down, worked
from tests.samples import pause

NOW, HOUR, MINUTE = 1_800_000_000.0, 3600.0, 60.0
OK, DOWN = samples.accepted(), samples.refused(503)
CRITICAL: dict[str, Any] = {"when": {"status": "crit*"}}
WARNING: dict[str, Any] = {"when": {"status": "warning"}}


def paused(*pauses: dict[str, Any], answers: Sequence[Step] = (OK,), **policy: Any) -> Relay:
    return new_relay(*answers, policy={"preset": "oncall", "pauses": list(pauses), **policy})


def resume(relay: Relay, *pauses: dict[str, Any]) -> None:
    relay.change_policy(preset="oncall", pauses=list(pauses), fallback_after_seconds=300)


# Pauses, answers of xMatters, events (see `Relay.play`), what becomes of the last share, the statuses of the signals
# until ten minutes before the hour is over, and those in the half hour after that.
IN_A_PAUSE: dict[str, tuple[list[dict[str, Any]], Sequence[Step], str, str, str, str]] = {
    "keep": ([pause("keep")], [OK], "warning 60 critical", "queued paused", "", "critical"),
    "keep, over in it": ([pause("keep")], [OK], "critical ok", "unchanged touched", "", ""),
    "keep, over, was announced": ([pause("keep", 2)], [OK], "critical 2 ok", "queued paused", "critical", "ok"),
    "keep, was owed": ([pause("keep", 20)], [DOWN] * 3 + [OK], "warning", "queued upstream", "warning " * 3, "warning"),
    "other incidents": ([pause("keep", **WARNING)], [OK], "critical", "delivered opened", "critical", ""),
    "has ended": ([pause("drop", until=-5)], [OK], "critical", "delivered opened", "critical", ""),
    "drop": ([pause("drop")], [OK], "critical", "unchanged opened", "", ""),
    "drop, was owed": (
        [pause("drop", 20)],
        [DOWN] * 3 + [OK],
        "critical 60 comment",
        "queued paused",
        "critical " * 3,
        "critical",
    ),
    "drop, after a pause that kept": (
        [pause("keep", until=60), pause("drop", 600)],
        [OK],
        "warning 60 sweep 0 600 critical",
        "unchanged worsened",
        "warning",
        "",
    ),
    "keep and drop": ([pause("keep", until=60), pause("drop")], [OK], "critical", "queued paused", "", "critical"),
}


@pytest.mark.parametrize("name", IN_A_PAUSE)
def test_state_in_a_pause_rings_after_it_or_never(name: str) -> None:
    pauses, answers, events, became, during, afterwards = IN_A_PAUSE[name]
    relay = paused(*pauses, answers=answers)
    assert relay.play(events)[-1] == became
    relay.sweep_for(NOW + HOUR - 10 * MINUTE - relay.clock.now, 5 * MINUTE)
    assert relay.statuses().split() == during.split()
    relay.sweep_for(40 * MINUTE, 5 * MINUTE)
    assert relay.statuses().split() == (during + " " + afterwards).split()
    assert (relay.entry().debt.since, relay.sns.published) == (None, [])


# ---- An end that comes early, and pauses that change -----------------------------------------------------------------

# Pauses at first, pauses after a minute, and the number of signals after the sweeper's next run.
CHANGED: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]], int]] = {
    "ends early": ([pause("keep")], [pause("keep", until=60)], 1),
    "for its status, ends early": (
        [pause("keep", **CRITICAL)],
        [pause("keep", until=60, **CRITICAL), pause("keep", 60, 6 * HOUR, **WARNING)],
        1,
    ),
    "ends early, and one for others begins": (
        [pause("keep")],
        [pause("keep", until=60), pause("keep", 60, 6 * HOUR, **WARNING)],
        1,
    ),
    "another one ends": ([pause("keep", **CRITICAL)], [pause("keep", **CRITICAL), pause("keep", 0, 20)], 0),
    "another one with conditions begins": (
        [pause("keep", **CRITICAL)],
        [pause("keep", until=60, **CRITICAL), pause("keep", 60, when={"status": ["critical", "warning"]})],
        0,
    ),
    "is prolonged": ([pause("keep")], [pause("keep", until=120 * HOUR)], 0),
}


@pytest.mark.parametrize("name", CHANGED)
def test_state_is_held_by_the_pauses_of_now(name: str) -> None:
    before, after, signals = CHANGED[name]
    relay = paused(*before)
    relay.play("critical 60")
    resume(relay, *after)
    relay.sweep_for(2 * MINUTE)
    assert (len(relay.session.calls), relay.sns.published) == (signals, [])
    relay.sweep_for(5 * MINUTE)
    assert (len(relay.session.calls), relay.sns.published) == (signals, [])
    relay.sweep_for(2 * HOUR, 10 * MINUTE)
    assert len(relay.session.calls) == (0 if name == "is prolonged" else 1)


# ---- The fallback ----------------------------------------------------------------------------------------------------

EARLY = [pause("keep", until=60)]
# Pauses at first, pauses after a minute (None: the same), and the seconds from the share until the fallback topic is
# notified. `fallback_after_seconds` is 300.
FALLBACKS: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]] | None, float]] = {
    "after the pause": ([pause("keep", until=600)], None, 900),
    "before a planned pause that keeps": ([pause("keep", 24 * HOUR, 72 * HOUR)], None, 300),
    "before a planned pause that drops": ([pause("drop", 24 * HOUR, 72 * HOUR)], None, 300),
    "after an early end": ([pause("keep")], EARLY, 360),
    "after the end of the pause that held it": (
        [pause("keep", until=4 * HOUR, **CRITICAL)],
        [pause("keep", until=60, **CRITICAL), pause("keep", until=200, **WARNING), pause("keep", 60, **WARNING)],
        360,
    ),
}


@pytest.mark.parametrize("loses_messages", [False, True])
@pytest.mark.parametrize("name", FALLBACKS)
def test_fallback_time_counts_from_the_end_of_the_pause(name: str, loses_messages: bool) -> None:
    before, after, seconds = FALLBACKS[name]
    relay = paused(*before, answers=(DOWN,), fallback_after_seconds=300)
    relay.share()
    relay.sweep(60)
    if after is not None:
        resume(relay, *after)
    while not relay.sns.published and relay.clock.now < NOW + 2 * HOUR:
        relay.sweep(30)
        if loses_messages:
            relay.retries.messages.clear()
        relay.wake(0)
    # The sweeper runs every 30 s, and the change of the pauses takes 15 s.
    assert seconds <= relay.clock.now - NOW <= seconds + 60
    assert len(relay.sns.published) == 1


SECONDS = 600.0
# The age limit is shorter than the wait until the incident is calm.
FLAP: dict[str, Any] = {"flap": {"transitions": 3, "minutes": 10}, "max_age_seconds": 60}
FOUR = "critical ok critical ok"
# Events (see `Relay.play`, 30 s apart), what becomes of the last share, the statuses of the signals, and those when the
# incident is calm.
STORIES: dict[str, tuple[str, str, str, str]] = {
    "rings once more, and is quiet": (f"{FOUR} {FOUR} {FOUR}", "queued flapping", f"{FOUR} critical", "ok"),
    "announced state": (f"{FOUR} critical ok critical", "unchanged touched", f"{FOUR} critical", ""),
    "other open state": (f"{FOUR} critical ok warning", "queued flapping", f"{FOUR} critical", "warning"),
    "opens, known as over": (f"{FOUR} warning", "delivered reopened", f"{FOUR} warning", ""),
    "worse than announced": (
        "warning ok warning ok warning ok unknown warning critical",
        "delivered worsened",
        "warning ok warning ok warning critical",
        "",
    ),
    "as bad as announced": (
        "warning ok warning ok warning critical warning critical ok critical",
        "unchanged touched",
        "warning ok warning ok warning critical",
        "",
    ),
    "seldom changes": ("critical ok 400 critical ok 400 critical", "delivered reopened", f"{FOUR} critical", ""),
}


def spread(events: str) -> str:
    """Return the events with half a minute before each."""
    return " ".join(f"29 {event}" for event in events.split())


@pytest.mark.parametrize("name", STORIES)
def test_flapping_incident_is_quiet_until_it_is_worse_or_calm(name: str) -> None:
    events, last, statuses, calm = STORIES[name]
    relay = new_relay(policy=FLAP)
    assert (relay.play(spread(events))[-1], relay.statuses()) == (last, statuses)
    relay.sweep_for(SECONDS - 1)
    assert relay.statuses() == statuses
    relay.sweep_for(120)
    assert (relay.statuses(), relay.entry().debt.row) == (f"{statuses} {calm}".strip(), None)
    assert (relay.dead_letters.messages, relay.sns.published) == ([], [])
    assert not [line for line in relay.recorder.lines() if "owed" in line.get("message", "")]


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
