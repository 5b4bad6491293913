"""Origin of a share's fields."""

import json
from typing import Any

from relay.incidents.share import parse_share
from relayctl.report.share_reading import MAX_MEMBERS, Field, Reading, read


def reading(document: dict[str, Any]) -> Reading:
    return read(parse_share(json.dumps(document).encode()))


def field(found: Reading, name: str) -> Field:
    return next(each for each in (*found.state, *found.details) if each.name == name)


WRAPPED = {
    "incident": {
        "id": "i1",
        "status": "critical",
        "changedOn": 1_800_000_000,
        "startedOn": 1_700_000_000,
        "snooze": {"snoozed": True, "end_time": 5},
        "alerts": [
            {"id": "a1", "status": "critical", "tags": [{"name": "host", "value": "db"}], "priority": 1},
            {"id": "a2", "status": "ok", "active": False},
        ],
    },
    "id": "outside",
    "metadata": {"environment_id": "e1", "sender": "jdoe"},
}


def test_each_field_names_the_members_that_it_was_read_from() -> None:
    found = reading(WRAPPED)
    assert field(found, "incident_id").read_from == ("incident.id",)
    assert field(found, "snoozed") == Field("snoozed", True, ("incident.snooze.snoozed",))
    assert field(found, "environment_id").read_from == ("metadata.environment_id",)
    assert field(found, "alerts").read_from == ("incident.alerts[].id", "incident.alerts[].status")
    assert field(found, "alert_host").read_from == ("incident.alerts[].tags[].name", "incident.alerts[].tags[].value")
    assert field(found, "severity") == Field("severity", None, ())


def test_members_that_the_relay_does_not_read_are_ignored() -> None:
    found = reading(WRAPPED)
    assert set(found.ignored) == {
        *("incident.startedOn", "incident.snooze.end_time", "incident.alerts[].priority", "id", "metadata.sender")
    }
    assert found.is_whole


def test_spelling_that_another_one_hides_is_ignored() -> None:
    found = reading({"id": "i1", "changed_at": 1_800_000_000, "changedOn": 1_800_000_000, "status": 7})
    assert field(found, "changed_on").read_from == ("changed_at",) or field(found, "changed_on").read_from == (
        "changedOn",
    )
    assert len(found.ignored) == 2, "the other spelling, and a status that is no text"
    assert "status" in found.ignored


def test_large_and_deep_bodies_are_read_in_part() -> None:
    deep: dict[str, Any] = {}
    node = deep
    for _ in range(200):
        node["x"] = {}
        node = node["x"]
    found = reading({"id": "i1", "alerts": [{"id": f"a{n}"} for n in range(300)], "deep": deep})
    assert not found.is_whole
    assert len(field(found, "alerts").value) == 300
    wide = reading({"id": "i1"} | {f"m{n}": n for n in range(MAX_MEMBERS + 1)})
    assert not wide.is_whole
