"""Explanation of the relay's decision about a share, by the ledger entry of its incident."""

from copy import replace
from typing import Any

import pytest

from relay.channels.channel import Channel
from relay.incidents.share import State, parse_share
from relay.ledger.entry import Entry
from relay.ledger.rate_limit_and_circuit import Circuit, Gate, gate_of
from relayctl.report.explain import Case, explanation
from tests.samples import body, parsed, secret

NOW = 1_800_000_100.0


def channel(**policy: Any) -> Channel:
    return parsed(secret(policy=policy))


def case(to: Channel | None = None, named: tuple[str, ...] = (), **members: Any) -> Case:
    content = body(**members)
    return Case(to or channel(), parse_share(content), content, named, NOW)


def announced(**members: Any) -> Entry:
    """Return the entry of an incident whose share with these members was announced."""
    state = State.of(parse_share(body(**{"changedOn": 1_700_000_000} | members)), NOW - 1000)
    return replace(Entry().announcing(state, "r1", NOW - 1000), sequence=1)


def explained(a_case: Case, entry: Entry | None = None, **known: Any) -> dict[str, Any]:
    return explanation(a_case._replace(entry=entry or Entry(), **known))


@pytest.mark.parametrize(
    ("before", "share", "transition", "outcome"),
    [
        ({"status": "warning"}, {}, "worsened", "delivered"),
        ({"status": "critical"}, {"status": "warning"}, "eased", "unchanged"),
        ({"status": "critical"}, {}, "touched", "unchanged"),
        ({"status": "critical"}, {"changedOn": 1_600_000_000}, None, "superseded"),
        ({}, {"changedOn": 1_700_000_000}, None, "duplicate"),
    ],
)
def test_transition_against_the_ledger_decides(
    before: dict[str, Any], share: dict[str, Any], transition: str | None, outcome: str
) -> None:
    found = explained(case(channel(preset="oncall"), **share), announced(**before))
    assert (found["transition"], found["verdict"]["outcome"]) == (transition, outcome)
    assert found["verdict"]["why"]
    assert found["request"]["is_sent"] is (outcome == "delivered")


@pytest.mark.parametrize(
    ("gate", "reason"),
    [
        (Gate({int(NOW) - 10: 3}, 0.0, 0.0), "paced"),
        (Gate({}, 0.0, 0.0, Circuit(NOW + 20, 5)), "circuit_open"),
        (Gate({int(NOW) - 10: 2}, 0.0, 0.0), None),
        (Gate({int(NOW) - 90: 9}, 0.0, 0.0), None),
    ],
)
def test_full_or_broken_channel_would_wait(gate: Gate, reason: str | None) -> None:
    found = explained(case(channel(max_per_minute=3)), gates={gate_of("noc"): gate})
    assert found["verdict"].get("reason") == reason


def test_pause_for_other_incidents_does_not_apply() -> None:
    pause = {"since": "2027-01-15T08:00:00Z", "until": "2027-01-15T10:00:00Z", "then": "drop"}
    found = explained(case(channel(pauses=[pause | {"when": {"status": "warning"}}])))
    assert found["verdict"]["action"] == "signal"
