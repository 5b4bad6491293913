"""Flapping incidents (`policy.flap`): one signal, then quiet until the incident is worse or calm. Nothing is lost."""

from typing import Any

import pytest

from tests.fakes import new_relay

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
