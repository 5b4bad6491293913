"""Waits of an owed state: spacing, flood control, rate limits, the circuit, and the rest after an ambiguous answer."""

from typing import Any

import pytest
import requests

from relay.delivery.step import earliest_send_time, room_for_signals
from relay.incidents.share import Transition
from relay.ledger.entry import Entry
from tests import samples
from tests.fakes import Step, new_relay
from tests.unit.states import NOW

OK, DOWN, RESET = samples.accepted(), samples.refused(503), requests.ConnectionError("reset")
LATE, FULL = requests.ReadTimeout("late"), samples.refused(429, retry_after="40")
AMBIGUOUS: list[Step] = [*map(samples.refused, (500, 502, 504)), RESET]


def rang(*seconds: float) -> Entry:
    return Entry(signal_times=tuple(NOW + each for each in seconds))


@pytest.mark.parametrize(
    ("signals", "kind", "after"),
    [
        ((), "opened", None),
        ((0,), "eased", 15),
        ((0, 30), "reopened", 45),
        ((0,), "worsened", None),
        ((0,), "resolved", None),
        ((0, 1, 2), "worsened", None),
        ((0, 1, 2, 3), "worsened", 61),
        ((0, 1, 2, 3, 20), "resolved", 62),
        ((0, 1, 2, 50), "eased", 65),
    ],
)
def test_earliest_time_of_the_next_signal_by_spacing_and_flood_control(
    signals: tuple[float, ...], kind: str, after: float | None
) -> None:
    assert earliest_send_time(rang(*signals), Transition(kind), 15) == (0 if after is None else NOW + after)


@pytest.mark.parametrize(
    ("signals", "now", "room"),
    [
        *(((0, 1, 2), now, room) for now, room in [(3, 1), (60, 1), (61, 2), (61.5, 2), (62, 3), (70, 4)]),
        ((0, 1, 1, 1, 1), 2, -1),
    ],
)
def test_room_for_signals_is_what_flood_control_leaves_of_the_last_minute(
    signals: tuple[float, ...], now: float, room: int
) -> None:
    assert room_for_signals(rang(*signals), NOW + now) == room


FOUR = "critical ok critical ok"
EASED = "warning critical warning critical"
SPACED: dict[str, Any] = {"min_seconds_between_signals": 15}
PAUSED: dict[str, Any] = {"pauses": [samples.pause("keep", since=2)]}
# Policy, answers of xMatters, events (see `Relay.play`), what becomes of the last share, and the signals' statuses.
WAITS: dict[str, tuple[dict[str, Any], list[Step], str, str, str]] = {
    "spacing": (SPACED, [OK], "warning unknown", "queued paced", "warning"),
    "spacing is over": (SPACED, [OK], "warning unknown 14", "queued paced", "warning unknown"),
    "worse needs no spacing": (SPACED, [OK], "warning critical", "delivered worsened", "warning critical"),
    "end needs no spacing": (SPACED, [OK], "warning ok", "delivered resolved", "warning ok"),
    "fifth in a minute": ({}, [OK], f"{FOUR} critical", "queued paced", FOUR),
    "fifth after a minute": ({}, [OK], f"{FOUR} critical 60", "queued paced", f"{FOUR} critical"),
    "one attempt is left of four": ({}, [OK, OK, OK, RESET], EASED, "queued unreachable", EASED),
    "latest of two holds": (SPACED | PAUSED, [OK], "warning 2 unknown", "queued paused", "warning"),
    "worse than one that may have rung": ({}, [LATE, OK], "warning critical", "delivered opened", "warning critical"),
    "ambiguous attempts count": (
        {},
        [RESET],
        "warning critical ok critical",
        "queued paced",
        "warning critical critical ok",
    ),
}


@pytest.mark.parametrize("name", WAITS)
def test_state_waits_as_long_as_something_holds_it(name: str) -> None:
    policy, answers, events, last, statuses = WAITS[name]
    relay = new_relay(*answers, policy=policy)
    assert (relay.play(events)[-1], relay.statuses()) == (last, statuses)


@pytest.mark.parametrize("answer", AMBIGUOUS, ids=str)
@pytest.mark.parametrize(("status", "attempts"), [("critical", [None, "true"]), ("warning", [None])])
def test_ambiguous_answer_is_repeated_inline_for_criticals_only_and_again_after_half_a_minute(
    answer: Step, status: str, attempts: list[str | None]
) -> None:
    relay = new_relay(*[answer] * len(attempts), OK)
    relay.play(status)
    assert relay.repeats() == attempts
    assert (len(relay.entry().doubtful), len(relay.entry().signal_times)) == (1, len(attempts))
    relay.wake(27)
    assert relay.repeats() == attempts
    relay.wake(30)
    assert relay.repeats() == [*attempts, "true"]


# Policy, answers of xMatters, ids of incidents that come a second apart, and what becomes of each.
RATES: dict[str, tuple[dict[str, Any], list[Step], list[tuple[str, str]], list[str]]] = {
    "channel": ({"max_per_minute": 2}, [OK], [("i1", "a"), ("i2", "a"), ("i3", "b")], ["", "", "paced"]),
    "recipients": (
        {"max_per_minute_per_recipients": 1},
        [OK],
        [("i1", "a"), ("i2", "a"), ("i3", "b")],
        ["", "paced", ""],
    ),
    "circuit": (
        {},
        [DOWN],
        [(f"i{number}", "a") for number in range(6)],
        ["upstream"] * 5 + ["circuit_open"],
    ),
    "retry after": ({}, [FULL, OK], [("i1", "a"), ("i2", "a")], ["rate_limited", "circuit_open"]),
}


@pytest.mark.parametrize("name", RATES)
def test_rate_limit_or_circuit_holds_a_share_without_an_attempt(name: str) -> None:
    policy, answers, shares, reasons = RATES[name]
    relay, results = new_relay(*answers, policy=policy), []
    for incident_id, recipient in shares:
        relay.clock.now += 1
        asked = len(relay.session.calls)
        results.append(relay.share(id=incident_id, recipients=(recipient,)))
        is_held = results[-1].reason in {"paced", "circuit_open"}
        assert (len(relay.session.calls) == asked) == is_held == (results[-1].exchange.attempts == 0)
    assert [result.reason or "" for result in results] == reasons
