"""Pauses: a state that a pause keeps is signalled after it, a dropped state never.

Meanwhile the fallback topic is not notified of them.
"""

from collections.abc import Sequence
from typing import Any

import pytest

from tests import samples
from tests.fakes import Relay, Step, new_relay
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
