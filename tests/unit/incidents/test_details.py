"""Details of an incident, read from a share in any spelling of the members' names, and the relay's own body of them."""

import json
from typing import Any

import pytest

from relay.incidents import details
from relay.incidents.details import Details, details_of
from relay.incidents.own_body import BodyRule, build_body
from relay.incidents.share import State, parse_share
from relay.jobs.reduced_body import reduced_body

CONSOLE = "https://a.bigpanda.io/#/app/overview/all/active/incidents/"
ALERT = {
    "id": "a1",
    "status": "Critical",
    "active": True,
    "description": "lag is 340 s",
    "primary_property": "node",
    "secondary_property": "probe",
    "source_system": "nagios.east",
    "tags": [
        {"name": "node", "value": "db-1"},
        {"name": "Probe", "value": "lag"},
        {"name": "team", "value": ["a", "b"]},
    ],
}


def found(document: Any) -> Details:
    return details_of(parse_share(json.dumps(document).encode()))


def of_incident(**members: Any) -> Details:
    return found({"incident": {"id": "i1", **members}})


class TestAlerts:
    def test_details_of_an_alert_are_read_in_full(self) -> None:
        [alert] = of_incident(alerts=[ALERT]).alerts
        assert (alert.status, alert.is_active, alert.description) == ("critical", True, "lag is 340 s")
        assert (alert.host, alert.check, alert.source_system) == ("db-1", "lag", "nagios.east")
        assert alert.tags == (("node", "db-1"), ("Probe", "lag"), ("team", "a"), ("team", "b"))

    @pytest.mark.parametrize(
        ("said", "title"),
        [
            (
                {"alerts": [{"status": "ok", "description": "calm"}, {"status": "critical", "description": "hot"}]},
                "hot",
            ),
            ({"alerts": [{"status": "ok"}, {"status": "warning", "description": "warm"}]}, "warm"),
            ({"alerts": [{"id": "a1"}, "a2", None], "description": "the incident's own"}, "the incident's own"),
            ({"alerts": None, "description": " two\n lines\x1b[31m "}, "two lines[31m"),
            ({"alerts": [], "description": "x" * 200}, "x" * 79 + "…"),
            ({"alerts": {"a": 1}, "description": ["no text"]}, ""),
        ],
    )
    def test_title_is_a_description_on_one_line(self, said: dict[str, Any], title: str) -> None:
        share = parse_share(json.dumps({"incident": {"id": "i1", "status": "critical"} | said}).encode())
        assert share.title == title


class TestIncident:
    def test_environments_are_read_by_id_and_by_name(self) -> None:
        share = {
            "incident": {"id": "i1", "environments": ["e1", {"id": "e2", "name": "Payments"}]},
            "metadata": {"environment_id": "e0", "environment": "Prod"},
        }
        assert found(share).environments == ("e0", "Prod", "e1", "Payments")

    def test_tags_of_the_incident_and_of_all_alerts_are_found_by_name(self) -> None:
        share = of_incident(incidentTags={"Team": "x"}, alerts=[ALERT, ALERT])
        assert share.tags_by_name()["team"] == ["x", "a", "b", "a", "b"]
        assert "none" not in share.tags_by_name()

    def test_tag_has_the_name_of_its_id_and_not_of_the_person_who_set_it(self) -> None:
        tag = {"tag_id": "priority", "tag_value": "P1", "name": "Jane Doe", "email": "jane@example.com"}
        assert of_incident(incident_tags=[tag]).tags_by_name() == {"priority": ["P1"]}

    def test_tags_are_found_beside_an_empty_list_of_incident_tags_and_with_boolean_values(self) -> None:
        share = of_incident(incident_tags=[], tags={"team": "x", "customer_facing": True})
        assert share.tags_by_name() == {"team": ["x"], "customer_facing": ["true"]}


class TestLink:
    @pytest.mark.parametrize(
        ("links", "expected"),
        [
            ([{"rel": "timeline", "href": "https://a.bigpanda.io/t"}], "https://a.bigpanda.io/t"),
            ([{"href": "https://phish.example/x"}, {"href": "https://bigpanda.io/1"}], "https://bigpanda.io/1"),
        ],
    )
    def test_first_bigpanda_link_of_the_body_is_taken(self, links: Any, expected: str) -> None:
        assert of_incident(links=links).link == expected

    @pytest.mark.parametrize("links", [{}, [{"href": "https://bigp.io/1"}]], ids=str)
    def test_link_to_the_console_is_made_if_the_body_has_no_bigpanda_link(self, links: Any) -> None:
        assert of_incident(links=links).link == f"{CONSOLE}i1"
        assert details.console_link("a/b ?#é\ud800") == f"{CONSOLE}a%2Fb%20%3F%23%C3%A9%3F"


def test_values_alerts_and_tags_beyond_the_limits_are_left_out_and_the_rest_is_kept() -> None:
    values = [f"v{number}" for number in range(105)]
    alerts = of_incident(tags={"team": values}, environments=values, alerts=[{"status": "warning"}] * 1005)
    assert alerts.tags_by_name()["team"] == list(alerts.environments) == values[:100]
    assert len(alerts.alerts) == 1000
    assert len(of_incident(tags={str(number): "v" for number in range(5000)}).tags) == 200


# ---- The relay's own body --------------------------------------------------------------------------------------------

ALERTS = [
    {"id": "a1", "status": "warning", "source_system": "zabbix", "tags": {"host": "web-1"}, "description": "slow"},
    {
        "id": "a2",
        "status": "critical",
        "source_system": "nagios",
        "tags": {"host": "db-1", "check": "lag", "team": "x"},
        "description": "lag\n is  340 s",
    },
    {"id": "a3", "status": "unknown", "active": False, "source_system": "nagios"},
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
            "description": "CRITICAL db-1 lag: lag is 340 s\nWARNING web-1: slow\nunknown",
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
    alerts = [{"id": number, "status": "critical", "description": f"alert {number}"} for number in range(400)]
    lines = built(alerts=alerts)["properties"]["description"].splitlines()
    assert lines[-1] == f"and {400 - len(lines) + 1} more"
    assert 80 < len(lines) < 120


def test_own_body_of_a_webhook_of_version_2_has_its_subject_host_and_check() -> None:
    document = {
        "incident_id": "66b0",
        "status": "critical",
        "subject": "DNS times out",
        "host": "dns-2",
        "check": "resolve",
    }
    share = parse_share(json.dumps(document).encode())
    made = json.loads(build_body(share, State.of(share, 0.0), (), "HIGH", BodyRule()))["properties"]
    assert (made["subject"], made["host"], share.title) == (
        "CRITICAL dns-2 resolve: DNS times out",
        "dns-2",
        "DNS times out",
    )


def test_subject_is_short_enough_for_a_text_message_and_a_reduced_body_keeps_it() -> None:
    share = parse_share(
        json.dumps({"id": "i1", "status": "critical", "alerts": [{"id": "a", "description": "x" * 900}]}).encode()
    )
    for each in (share, parse_share(reduced_body(share))):
        made = json.loads(build_body(each, State.of(each, 0.0), (), "HIGH", BodyRule()))["properties"]
        assert (len(made["subject"]) <= 150, made["subject"][:13]) == (True, "CRITICAL xxxx")


def test_reduced_body_keeps_the_incidents_own_description() -> None:
    own = "Checkout is down. Runbook: restart it. " * 99
    document = {"id": "i1", "status": "critical", "description": own, "alerts": [{"id": "a", "description": "CPU"}]}
    assert json.loads(reduced_body(parse_share(json.dumps(document).encode())))["description"] == own[:1024]
