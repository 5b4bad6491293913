"""The relay's own body: texts alone, within their length, worst alert first."""

import json
from typing import Any

import pytest

from relay.incidents.own_body import BodyRule, build_body
from relay.incidents.share import State, parse_share

ALERTS = [
    {"id": "a1", "status": "warning", "source_system": "zabbix", "tags": {"host": "web-1"}, "description": "slow"},
    {
        "id": "a2",
        "status": "critical",
        "source_system": "nagios",
        "tags": {"host": "db-1", "check": "lag", "team": "x"},
        "description": "lag\n is  340 s",
    },
    {"id": "a3", "status": "ok", "active": False, "source_system": "nagios"},
]


def built(*, rule: BodyRule | None = None, **members: Any) -> dict[str, Any]:
    plain = {"id": "i1", "status": "critical", "severity": "critical", "alerts": ALERTS}
    document = {"incident": plain | members, "metadata": {"environment_id": "e1"}}
    share = parse_share(json.dumps(document).encode())
    found: dict[str, Any] = json.loads(build_body(share, State.of(share, 0.0), ("Ops",), "HIGH", rule or BodyRule()))
    return found


def test_own_body_is_built_in_full() -> None:
    assert built() == {
        "recipients": [{"id": "Ops"}],
        "priority": "HIGH",
        "properties": {
            "subject": "CRITICAL db-1 lag: lag is 340 s",
            "description": "CRITICAL db-1 lag: lag is 340 s\nWARNING web-1: slow\nok",
            "incident_id": "i1",
            "environment_id": "e1",
            "status": "critical",
            "severity": "critical",
            "is_over": "false",
            "source_systems": "nagios, zabbix",
            "host": "db-1",
            "check": "lag",
            "tags": "host: db-1\ncheck: lag\nteam: x",
            "link": "https://a.bigpanda.io/#/app/overview/all/active/incidents/i1",
            "alerts_total": "3",
            "alerts_active": "2",
        },
    }


def test_properties_of_the_channel_join_and_override_those_of_the_own_body() -> None:
    properties = built(rule=BodyRule(properties=(("team", "payments"), ("host", "fixed"))))["properties"]
    assert (properties["team"], properties["host"], properties["check"]) == ("payments", "fixed", "lag")


@pytest.mark.parametrize("length", [100, 2000])
def test_texts_of_the_own_body_are_cut_to_their_length(length: int) -> None:
    alerts = [{"id": number, "status": "critical", "description": "d" * 3000} for number in range(300)]
    properties = built(rule=BodyRule(max_length=length), alerts=alerts)["properties"]
    assert max(map(len, properties.values())) <= length
    assert properties["alerts_total"] == "300"


def test_own_body_counts_the_alerts_that_were_left_out() -> None:
    alerts = [
        {"id": number, "status": "critical", "description": f"alert {number} " + "d" * 90} for number in range(40)
    ]
    lines = built(alerts=alerts)["properties"]["description"].splitlines()
    assert lines[-1] == f"and {40 - len(lines) + 1} more"
    assert 10 < len(lines) < 30
