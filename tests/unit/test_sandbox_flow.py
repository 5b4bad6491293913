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
from sandbox.xmatters.signals import Signal

EVENTS = Path(__file__).parents[2] / "events"


def read(content: bytes, *recipients: str, **decision: Any) -> Order | None:
    headers = CIMultiDictProxy(CIMultiDict({"X-Relay-Decision": json.dumps(decision)} if decision else {}))
    now = datetime(2030, 1, 1, tzinfo=UTC)
    return flow.read(Signal(0, now, "f1", "r1", recipients, "url", headers, content, 202, True, None))


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


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000])
def test_flow_fails_for_a_body_that_is_not_json(body: bytes) -> None:
    assert read(body) is None


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(["incident", "id", "status", "alerts", "tags", "metadata"]) | st.text(max_size=5),
                inner,
                max_size=6,
            )
        ),
    )
)
def test_flow_reads_any_json(document: Any) -> None:
    found = read(json.dumps(document).encode())
    assert found is None if document is None else found is not None
    assert found is None or len(found.subject) <= flow.PROPERTY_LIMIT + 20
