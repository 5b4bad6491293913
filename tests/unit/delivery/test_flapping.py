"""Flapping incidents (`policy.flap`): one signal, then quiet until the incident is worse or calm. Nothing is lost."""

import json
from typing import Any

import pytest

from tests import samples
from tests.fakes import TABLE_DOWN, Relay, new_relay, secrets_of

SECONDS = 600.0
FLAP: dict[str, Any] = {"flap": {"transitions": 3, "minutes": 10}}
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


def flapping(then: str = "critical ok", **policy: Any) -> Relay:
    """Return a relay that announced a critical incident as flapping."""
    relay = new_relay(policy=FLAP | policy)
    relay.play(spread(f"{FOUR} {then}"))
    assert relay.entry().flap.is_signalled
    return relay


def test_signal_of_the_change_that_makes_a_flap_says_so() -> None:
    relay, whys = new_relay(policy=FLAP), []
    for number in range(4):
        relay.clock.now += 30
        status = "ok" if number % 2 else "critical"
        whys.append(relay.share(status=status, changedOn=int(relay.clock.now)).subject.why or "")
    assert whys[2:] == [
        "it was announced as over, and is open",
        "it was announced as open, and is over; it flaps",
    ]


def test_flag_of_bigpanda_alone_rings_nobody_and_makes_the_next_signal_say_so() -> None:
    relay = new_relay(policy=FLAP)
    assert relay.play("warning") == ["delivered opened"]
    assert relay.play("warning", flapping=True) == ["unchanged touched"]
    worse = relay.share(status="critical", changedOn=int(relay.clock.now) + 1)
    assert (worse.subject.why or "").endswith("; it flaps")
    relay.clock.now += 1
    assert (relay.play("warning"), relay.statuses()) == (["queued flapping"], "warning critical")


def test_state_that_people_know_as_bad_waits_in_the_ledger_alone() -> None:
    relay = flapping("critical")
    relay.retries.messages.clear()
    assert relay.play("ok") == ["queued flapping"]
    assert (relay.retries.messages, relay.entry().debt.due) == ([], relay.clock.now + SECONDS)


def test_without_the_rule_nothing_is_remembered_and_every_change_rings() -> None:
    relay = new_relay()
    relay.play(spread(f"{FOUR} critical"))
    assert len(relay.session.calls) == 5
    [item] = [item for name, item in relay.dynamodb.items.items() if name.startswith("incident/")]
    assert "flap" not in json.loads(item["text"]["S"])


def test_rule_that_is_taken_away_ends_the_quiet_time_with_the_next_share() -> None:
    relay = flapping("critical")
    relay.change_policy()
    assert (relay.play("ok"), relay.entry().flap.calm_at) == (["delivered resolved"], 0)


def test_further_change_moves_the_end_of_the_quiet_time_and_a_calm_incident_rings_at_once_again() -> None:
    relay = flapping()
    relay.sweep_for(SECONDS - 60)
    relay.play("critical ok")
    relay.sweep_for(SECONDS - 10)
    assert len(relay.session.calls) == 5
    relay.sweep_for(60)
    assert relay.statuses() == f"{FOUR} critical ok"
    relay.sweep_for(SECONDS)
    assert relay.play("critical ok") == ["delivered reopened", "delivered resolved"]


def test_age_of_a_state_counts_from_the_end_of_the_quiet_time() -> None:
    relay = flapping(max_age_seconds=900).other(samples.refused(503))
    relay.sweep_for(SECONDS + 840)
    assert relay.dead_letters.messages == []
    relay.sweep_for(240)
    assert len(relay.dead_letters.messages) == 1


def test_job_from_before_the_flap_waits_for_its_end_though_it_is_too_old() -> None:
    relay = flapping(max_age_seconds=60)
    relay.play("120")
    assert (relay.dead_letters.messages, len(relay.session.calls)) == ([], 5)
    relay.sweep_for(SECONDS)
    assert (relay.statuses(), relay.dead_letters.messages) == (f"{FOUR} critical ok", [])


def test_fallback_topic_is_not_notified_of_a_state_that_waits_for_the_end_of_a_flap() -> None:
    policy = {"notify_on": ["opened", "worsened", "reopened"], "fallback_after_seconds": 60}
    relay = flapping("critical ok", **policy)
    assert relay.play("critical") == ["queued flapping"]
    relay = relay.other(samples.refused(503))
    relay.sweep_for(SECONDS)
    assert relay.sns.published == []
    relay.sweep_for(180)
    assert len(relay.sns.published) == 1


def test_critical_is_sent_at_once_while_the_ledger_fails() -> None:
    relay = flapping()
    relay.dynamodb.failure = TABLE_DOWN
    assert relay.play("critical") == ["delivered"]


# Events before and after the acknowledgement, and the recipients of the signals after it.
ACKNOWLEDGED: dict[str, tuple[str, str, list[str]]] = {
    "as bad": ("critical", "400 warning 400 critical", ["jdoe", "jdoe"]),
    "worse": ("warning", "critical", ["Ops"]),
    "flaps": (spread("warning ok warning ok warning"), spread("ok warning ok warning"), []),
    "flaps, then worse": (spread("warning ok warning ok warning"), spread("ok warning critical"), ["Ops"]),
    "flaps, then calm": (spread("warning ok warning ok warning"), f"29 ok {'sweep 60 ' * 12}", ["jdoe"]),
}


@pytest.mark.parametrize("name", ACKNOWLEDGED)
def test_state_that_is_no_worse_than_the_acknowledged_one_goes_to_that_person_alone(name: str) -> None:
    before, after, recipients = ACKNOWLEDGED[name]
    xmatters = samples.secret()["xmatters"] | {"callback": {"token": "t"}, "recipients": ["Ops"]}
    relay = new_relay(secrets=secrets_of(xmatters=xmatters, policy={"min_seconds_between_signals": 0, **FLAP}))
    relay.play(before)
    sent = len(relay.session.calls)
    [incident] = [name for name in relay.dynamodb.items if name.startswith("incident/")]
    relay.ledger.change(incident, lambda entry: entry.acknowledged("jdoe", relay.clock.now))
    relay.play(after)
    assert [call.url.partition("&recipients=")[2] for call in relay.session.calls[sent:]] == recipients
    assert relay.entry().acknowledged_by == ("jdoe" if name == "as bad" else "")
