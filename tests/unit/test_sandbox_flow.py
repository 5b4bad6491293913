"""Flow of the sandbox's xMatters: what it reads from BigPanda's body and from the relay's own."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from relay.incidents.own_body import BodyRule, build_body
from relay.incidents.share import parse_share
from relay.incidents.transition import State
from sandbox.xmatters import flow
from sandbox.xmatters.flow import Order
from sandbox.xmatters.people import PRIORITIES
from sandbox.xmatters.signals import Signal

EVENTS = Path(__file__).parents[2] / "events"


def read(content: bytes, *recipients: str, **decision: Any) -> Order | None:
    headers = CIMultiDictProxy(CIMultiDict({"X-Relay-Decision": json.dumps(decision)} if decision else {}))
    now = datetime(2030, 1, 1, tzinfo=UTC)
    return flow.read(Signal(0, now, "f1", "r1", recipients, "url", headers, content, 202, True, None))


def order(document: Any, *recipients: str) -> Order:
    found = read(json.dumps(document).encode(), *recipients)
    assert found is not None
    return found


def sample(name: str) -> bytes:
    return str(json.loads((EVENTS / name).read_text())["body"]).encode()


def test_bigpandas_body_becomes_subject_priority_and_details() -> None:
    found = read(sample("bigpanda_1_critical.json"), "dba")
    assert found is not None
    assert found.subject == "CRITICAL: pay-db-1 replication: Replica lag is 340 s (limit 30 s)"
    assert (found.incident_id, found.environment_id) == ("66b0f1c2a94d3e0012ab34cd", "5f3c1a2b9d8e7f6a5b4c3d2e")
    assert (found.priority, found.is_over, found.recipients) == ("HIGH", False, ("dba",))
    details = dict(found.details)
    assert (details["Status"], details["Alerts"]) == ("critical", "2 active of 2")
    assert ("Alert", "WARNING pay-api-3 latency: p99 latency is 2.4 s (limit 1 s)") in found.details


def test_resolve_is_over_and_of_low_priority() -> None:
    found = read(sample("bigpanda_3_resolved.json"))
    assert found is not None
    assert (found.is_over, found.priority, found.subject.partition(":")[0]) == (True, "LOW", "RESOLVED")


@pytest.mark.parametrize("name", ["bigpanda_4_snake_case_and_group.json", "bigpanda_5_webhook_v2.json"])
def test_other_spellings_of_bigpandas_body_are_read(name: str) -> None:
    found = read(sample(name))
    assert found is not None
    assert found.incident_id
    assert found.status in ("warning", "critical")


def test_title_and_assignee_are_shown() -> None:
    incident = {"id": "i1", "status": "warning", "title": "Disk\n fills", "assignee": {"name": "Kim Lee"}}
    found = order({"incident": incident})
    assert (found.subject, found.priority) == ("WARNING: Disk fills", "MEDIUM")
    assert ("Assignee", "Kim Lee") in found.details
    assert ("Assignee", "kim") in order({"id": "i1", "assignee": "kim"}).details


def test_the_relays_own_body_gives_texts_and_its_header_the_rest() -> None:
    share = parse_share(sample("bigpanda_1_critical.json"))
    body = build_body(share, State.of(share, 0.0), ("sam",), "HIGH", BodyRule())
    decided = {"incident_id": "i1", "environment_id": "e1", "is_over": False, "status": "critical", "priority": "LOW"}
    found = read(body, "dba", "kim", recipients=["dba", "kim"], body="xmatters", **decided)
    assert found is not None
    assert found.subject == "CRITICAL pay-db-1 replication: Replica lag is 340 s (limit 30 s)"
    assert (found.recipients, found.priority, found.is_over) == (("dba", "kim"), "LOW", False)
    assert (found.incident_id, found.environment_id) == ("i1", "e1")
    assert dict(found.details)["Active alerts"] == "2"


def test_body_without_a_decision_names_no_recipients() -> None:
    own = {"id": "i1", "recipients": [{"id": "dba"}], "priority": "HIGH", "properties": {"incident_id": "i2"}}
    found = order(own, "sam")
    assert (found.incident_id, found.recipients, found.priority) == ("i1", ("sam",), "MEDIUM")


@pytest.mark.parametrize(
    ("incident", "is_over"),
    [
        ({"status": "ok"}, True),
        ({"status": "critical", "active": False}, True),
        ({"status": "critical", "resolved": True}, True),
        ({"status": "critical", "active": True, "resolved": True}, False),
        ({"status": "critical", "is_over": "true"}, False),
        ({}, False),
    ],
)
def test_what_is_resolved_is_over(incident: dict[str, Any], is_over: bool) -> None:
    assert order({"incident": {"id": "i1"} | incident}).is_over == is_over


@pytest.mark.parametrize("body", [b"", b"{", b"NaN", b"\xff", b"[" * 100_000])
def test_flow_fails_for_a_body_that_is_not_json(body: bytes) -> None:
    assert read(body) is None


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(
                    ["incident", "id", "status", "alerts", "tags", "properties", "recipients", "assignee", "metadata"]
                )
                | st.text(max_size=5),
                inner,
                max_size=6,
            )
        ),
    )
)
def test_flow_reads_any_json(document: Any) -> None:
    found = read(json.dumps(document).encode())
    assert found is None if document is None else found is not None
    assert found is None or (len(found.subject) <= flow.PROPERTY_LIMIT + 20 and found.priority in PRIORITIES)
