"""Explanation of the relay's decision about a share, by the ledger entry of its incident."""

from copy import replace
from typing import Any

import pytest

from relay.channels.channel import Channel
from relay.incidents.share import State, parse_share
from relay.ledger.channel_rate_limiter import Circuit, Gate, gate_of
from relay.ledger.entry import Entry, Flap
from relayctl.report import explanation_text
from relayctl.report.explanation import Case, Knowledge, explanation
from tests.samples import body, parsed, secret

NOW = 1_800_000_100.0
ROUTES = [
    {"when": {"status": "warning"}, "recipients": ["Day Shift"]},
    {"when": {"status": "crit*", "tag.team": "pay*"}, "recipients": ["Pay On-Call"], "priority": "HIGH"},
    {"when": {"status": "critical"}, "recipients": ["Ops"]},
]
ALERT = {"id": "a1", "status": "critical", "tags": [{"name": "team", "value": "Payments"}]}


def channel(*, recipients: list[str] | None = None, **policy: Any) -> Channel:
    document = secret(policy=policy)
    document["xmatters"]["recipients"] = recipients or []
    return parsed(document)


def case(to: Channel | None = None, named: tuple[str, ...] = (), **members: Any) -> Case:
    content = body(**members)
    return Case(to or channel(), parse_share(content), content, named, NOW)


def announced(**members: Any) -> Entry:
    """Return the entry of an incident whose share with these members was announced."""
    state = State.of(parse_share(body(**{"changedOn": 1_700_000_000} | members)), NOW - 1000)
    return replace(Entry().announcing(state, "r1", NOW - 1000), sequence=1)


def explained(a_case: Case, entry: Entry | None = None, **known: Any) -> dict[str, Any]:
    return explanation(a_case, Knowledge(entry or Entry(), **known))


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
    assert (found["transition"]["transition"], found["verdict"]["outcome"]) == (transition, outcome)
    assert found["verdict"]["why"]
    assert found["request"]["is_sent"] is (outcome == "delivered")


def test_each_route_says_why_it_matched_or_did_not() -> None:
    found = explained(case(channel(routes=ROUTES), alerts=[ALERT]))
    assert [each["result"] for each in found["routes"]] == ["no", "matched", "not_reached"]
    assert found["routes"][0]["conditions"] == [
        {"fact": "status", "patterns": ["warning"], "values": ["critical"], "holds": False}
    ]
    assert found["routes"][1]["conditions"][1]["values"] == ["payments"]
    assert found["recipients"]["names"] == ["Pay On-Call"]


def test_without_a_matching_route_the_recipients_are_the_channels_own_and_the_urls() -> None:
    to = channel(recipients=["Ops"], routes=ROUTES[:1], allowed_recipients=["jdoe"])
    found = explained(case(to, ("jdoe", "boss")))
    assert found["recipients"]["names"] == ["Ops", "jdoe"]
    assert (found["recipients"]["in_url"], found["recipients"]["refused_in_url"]) == (["jdoe"], ["boss"])


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
    assert found["rate_limit"]["limits"][0]["waits"] is (reason is not None)


def test_text_names_each_part() -> None:
    found = explained(case(channel(routes=ROUTES), alerts=[ALERT]), announced(status="warning"))
    document = {"channel": "noc", "source": "from the stack", "incident_id": "i1", **found}
    document |= {"notes": ["a note"]}
    shown = list(explanation_text.lines(document))
    labels = [label for label, _ in shown if label]
    assert labels == [
        *("incident", "result", "compared with", "parsed", "details", "policy", "routes", "recipients", "priority"),
        *("rate limit", "request", "note"),
    ]
    lines = [line for _, line in shown]
    assert "alerts: a1 critical" in lines
    assert "alert tags: team=Payments" in lines
    assert any(line.startswith("not in the body: event") for line in lines)
    assert "policy.routes.0: did not match, status is critical, not warning" in lines
    assert "policy.routes.1: matched, status is critical; tag.team is payments" in lines


def paused(*, then: str, **more: Any) -> dict[str, Any]:
    """Return a pause of the policy that is active at NOW."""
    return {"since": "2027-01-15T08:00:00Z", "until": "2027-01-15T10:00:00Z", "then": then, **more}


def test_share_in_a_pause_that_keeps_waits_for_its_end() -> None:
    found = explained(case(channel(pauses=[paused(then="keep")])))
    assert (found["verdict"]["action"], found["verdict"]["reason"]) == ("wait", "paused")
    assert found["verdict"]["until"] == "2027-01-15T10:00:00.000Z"
    assert (found["policy"]["mode"], len(found["policy"]["applying_pauses"])) == ("paused", 1)


def test_state_that_a_flap_keeps_quiet_is_not_announced_in_shadow_mode() -> None:
    entry = replace(announced(), flap=Flap((NOW - 9, NOW - 5), NOW + 600, is_signalled=True))
    found = explained(case(channel(mode="shadow", flap={"transitions": 2, "minutes": 10}), status="warning"), entry)
    assert (found["verdict"]["action"], found["verdict"]["outcome"]) == ("nothing", "unchanged")
    assert found["verdict"]["why"].endswith("it flaps; not announced until it is calm")
