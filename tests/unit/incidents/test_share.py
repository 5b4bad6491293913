import json
from typing import Any

import pytest

from relay.failures import BadRequest
from relay.incidents.share import Alert, Share, parse_share
from tests import samples


def parsed(document: Any) -> Share:
    return parse_share(json.dumps(document).encode())


WRAPPED = {
    "incident": {
        "id": "66b0",
        "status": "Critical",
        "severity": "CRITICAL",
        "active": True,
        "resolved": False,
        "flapping": True,
        "snooze": {"snoozed": True, "end_time": 1},
        "changedOn": 1_795_564_860,
        "updatedOn": 1_795_564_870,
        "alerts": [{"id": "a1", "status": "Warning"}],
    },
    "metadata": {"event_type": "incident#new"},
}
BARE = {
    "ID": "66b0",
    "STATUS": "critical ",
    "Severity": " critical",
    "is-active": "ignored",
    "active": "true",
    "Resolved": "False",
    "flapping": 1,
    "snooze": True,
    "changed_on": "1795564860",
    "updated_at": 1_795_564_870_000,
    "alerts": [{"alert_id": "a1", "Status": "WARNING"}],
    "eventType": "incident#new",
}
TEMPLATED = {
    "event": "incident#new",
    "incident_id": "66b0",
    "status": "critical",
    "severity": "critical",
    "active": True,
    "resolved": False,
    "flapping": True,
    "snooze": "TRUE",
    "changed-at": "2026-11-25T00:01:00Z",
    "updatedAt": "2026-11-25T01:01:10+01:00",
    "alerts": [{"id": "a1", "status": "warning"}],
}


@pytest.mark.parametrize(
    ("event", "said", "expected"),
    [
        ("incident#closed", {}, (False, None, None)),
        ("incident#closed", {"active": True}, (True, None, None)),
        ("incident#snoozed", {}, (None, True, None)),
        ("incident#become-flapping", {}, (None, None, True)),
        ("incident#updated", {}, (None, None, None)),
    ],
)
def test_trigger_says_what_a_webhook_of_version_2_leaves_out(
    event: str, said: dict[str, Any], expected: tuple[bool | None, ...]
) -> None:
    share = parsed({"event": event, "incident_id": "66b0", "status": "critical"} | said)
    assert (share.active, share.snoozed, share.flapping) == expected


@pytest.mark.parametrize("document", [WRAPPED, BARE, TEMPLATED], ids=["wrapped", "bare", "templated"])
def test_share_is_read_the_same_in_every_spelling(document: Any) -> None:
    share = parsed(document)
    assert (share.incident_id, share.event) == ("66b0", "incident#new")
    assert (share.status, share.severity) == ("critical", "critical")
    assert (share.active, share.resolved, share.flapping, share.snoozed) == (True, False, True, True)
    assert share.version == (1_795_564_870.0, 1_795_564_860.0)
    assert share.alerts == (Alert("a1", "warning"),)
    assert share.digest == parsed(WRAPPED).digest


@pytest.mark.parametrize(
    "document",
    [
        {"incident": {"id": "i1"}, "id": "other"},
        {"incident": {"status": "ok"}, "id": "i1"},
        {"incident": {"incidentId": "i1"}},
        {"incident": "text", "incident_id": "i1"},
        {"incident": {}, "Incident-ID": "i1"},
        {"incident_id": None, "incidentId": "i1"},
    ],
)
def test_incident_id_is_found_in_each_place_and_spelling(document: Any) -> None:
    assert parsed(document).incident_id == "i1"


NO_ID = "must be a string or a number, and not blank; it is "
MISSING = "is missing (also looked for id and incident_id)"


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        # The incident's id, and the names that were looked for.
        ({"incident": {"id": ""}}, NO_ID + "a string"),
        ({"incident": {"id": True}}, NO_ID + "a boolean"),
        ({"incident": {"id": "x" * 513}}, "is longer than 512 characters"),
        ({}, MISSING),
        ({"incident": {"id": None}}, MISSING),
        ({"incident": "i1"}, MISSING + "; incident is a string"),
        # The body, and the position in it.
        (b"", "is not JSON: Expecting value (line 1, column 1)"),
        (b'{"id": 1} x', "is not JSON: Extra data (line 1, column 11)"),
        (b'{"id": "\xff"}', "is not UTF-8 (byte 8)"),
        (b'{"id": NaN}', "is not JSON: NaN is not a JSON number"),
        (b'{"id": ' + b"9" * 5000 + b"}", "has a number with too many digits"),
        (b'{"id": 1, "a": ' + b"[" * 200_000, "is nested too deeply"),
        (b"[]", "must be a JSON object, not a list"),
    ],
    ids=lambda value: value[:24] if isinstance(value, bytes) else "",
)
def test_invalid_share_is_refused_with_its_field_and_what_is_wrong_with_it(body: Any, detail: str) -> None:
    is_of_body = isinstance(body, bytes)
    with pytest.raises(BadRequest) as caught:
        parse_share(body if is_of_body else json.dumps(body).encode())
    assert (caught.value.field, caught.value.detail) == ("body" if is_of_body else "incident.id", detail)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (1_795_564_860, 1_795_564_860),
        (1_795_564_860.5, 1_795_564_860.5),
        ("1795564860", 1_795_564_860),
        ("1795564860.5", 1_795_564_860.5),
        (1_795_564_860_123, 1_795_564_860.123),
        ("2026-11-25T00:01:00Z", 1_795_564_860),
        ("2026-11-25T00:01:00", None),
        ("yesterday", None),
        (0, None),
        (10**15, None),
        (True, None),
        (10**400, None),
    ],
)
def test_timestamp_is_read_in_any_spelling_and_an_invalid_one_is_none(value: Any, seconds: float | None) -> None:
    assert parsed({"id": 1, "changedOn": value}).changed_on == seconds


MEANINGFUL = [
    {"id": "i2"},
    {"status": "warning"},
    {"severity": "warning"},
    {"active": False},
    {"resolved": True},
    {"snooze": {"snoozed": True}},
    {"flapping": True},
    {"alerts": [{"id": "a1", "status": "ok"}]},
    {"alerts": [{"id": "a1", "status": "critical"}, {"id": "a3", "status": "critical"}]},
    {"alerts": []},
]
STATE: dict[str, Any] = {
    "severity": "critical",
    "active": True,
    "resolved": False,
    "snooze": {"snoozed": False},
    "flapping": False,
    "alerts": [{"id": "a1", "status": "critical"}, {"id": "a2", "status": "critical"}],
}


@pytest.mark.parametrize("change", MEANINGFUL, ids=str)
def test_digest_changes_with_each_meaningful_member(change: dict[str, Any]) -> None:
    assert samples.share(**STATE | change).digest != samples.share(**STATE).digest


# `digest` names the members that count. A hash over the whole document would differ for each of these.
@pytest.mark.parametrize(
    "change",
    [
        {"changedOn": 1_900_000_000, "updatedOn": 1_900_000_001},
        {"alerts": list(reversed(STATE["alerts"]))},
        {"alerts": [each | {"updatedOn": 5, "description": "new"} for each in STATE["alerts"]]},
        {"comments": ["read"], "links": [], "endedOn": None},
        {"snooze": {"snoozed": False, "end_time": 99}},
        {"status": "CRITICAL"},
        {"active": "true"},
    ],
    ids=str,
)
def test_digest_does_not_change_with_volatile_members(change: dict[str, Any]) -> None:
    assert samples.share(**STATE | change).digest == samples.share(**STATE).digest
