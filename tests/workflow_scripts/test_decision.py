"""The header X-Relay-Decision: the script acts on what the relay decided, whatever a body says."""

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from relay.failures import BadRequest
from relay.incidents.share import Share, is_open, parse_share
from relay.ledger.entry import entry_key, page_key
from tests import samples
from tests.fakes import Call, new_relay
from tests.workflow_scripts.node import Case, run
from tests.workflow_scripts.test_trigger import CONSOLE, request

POLICY = {"allowed_recipients": ["dba-*"]}
STRANGERS = ["CEO", "All Staff"]
VICTIM = {"id": "VICTIM", "incident_id": "VICTIM", "is_over": True, "status": "ok", "recipients": STRANGERS}
# A name that one of two readers might fold to `id`.
LONG_NAME = "i" + "_" * 70 + "d"


def signal_of(content: bytes, **policy: Any) -> Call | None:
    """Return the signal for a share with this content, after one that opened its incident; None if there is none."""
    try:
        incident_id = parse_share(content).incident_id
    except BadRequest:
        return None
    relay = new_relay(xmatters={"recipients": ["Ops"]}, policy=POLICY | policy)
    names = ("dba-1", *STRANGERS)
    opening = samples.body(id=incident_id, status="unknown", changedOn=1_700_000_000)
    for each in (opening, content):
        relay.clock.now += 60
        relay.webhook.serve(samples.request(each, recipients=names))
    return relay.session.calls[1] if len(relay.session.calls) > 1 else None


def case_of(call: Call) -> Case:
    """Return the script's run for a signal."""
    query = parse_qs(urlsplit(call.url).query)
    return request(call.body.decode(), recipients=query["recipients"][0], headers=dict(call.headers))


def decided(share: Share) -> dict[str, str]:
    """Return the outputs on which the flow acts, as the relay has to decide them."""
    known = share.status if share.status in {"critical", "warning", "unknown", "ok"} else ""
    urgency = {"critical": "HIGH"}.get(known, "MEDIUM") if is_open(share) else "LOW"
    return {
        "incident_id": share.incident_id,
        "environment_id": share.environment_id or "",
        "is_over": "false" if is_open(share) else "true",
        "status": known,
        "priority": urgency,
        "recipients": "Ops,dba-1",
        "channel": "noc",
        "page_key": page_key(entry_key("noc", ("dba-1",), share.incident_id)),
    }


ATTACKS: tuple[Any, ...] = (
    {"id": "x", "status": "critical", "properties": VICTIM, "recipients": STRANGERS, "priority": "LOW"},
    {"id": "x", "status": "critical", "properties": {"id": "VICTIM", "is_over": True}},
    {"incident": {"id": "x", "status": "critical", "is_over": True, "isOver": "true"}},
    {"id": "x", "status": "critical", LONG_NAME: "VICTIM", "properties": VICTIM, "incident": None},
    {LONG_NAME: "VICTIM", "id": "x", "status": "critical"},
    {"incident": [VICTIM], "id": "x", "status": "warning"},
    {"incident": {"id": "x", "status": "critical"}, "properties": VICTIM, "X-Relay-Decision": VICTIM},
    {"id": "victim,x", "status": "ok"},
    {"id": "x", "status": "strange", "active": "FALSE", "metadata": {"environment_id": "e1"}, "__proto__": VICTIM},
    {"ID": "x", "i_d": "VICTIM", "Status": " OK ", "resolved": "true", "priority": 1.5, "link": "\ud800"},
    {"incident": {"id": "é✓😀", "active": False}, "incident_id": "VICTIM", "is_over": "false", "alerts": VICTIM},
    # Two readers may take another one of two members with the same name.
    b'{"id": "VICTIM", "id": "x", "status": "ok", "status": "critical", "is_over": true, "is_over": false}',
    b'{"incident": {"id": "VICTIM"}, "incident": {"id": "x", "status": "warning"}, "id": "VICTIM"}',
)


@pytest.mark.parametrize("body", ["bigpanda", "xmatters"])
def test_script_acts_on_what_the_relay_decided_for_any_body(body: str) -> None:
    bodies = [each if isinstance(each, bytes) else json.dumps(each).encode() for each in ATTACKS]
    signals = [(each, call) for each in bodies if (call := signal_of(each, body=body))]
    assert len(signals) > 8
    for (content, _), found in zip(signals, run(*(case_of(call) for _, call in signals)), strict=True):
        expected = decided(parse_share(content))
        assert {name: found.output[name] for name in expected} == expected, content


def test_decision_is_ascii_and_short_for_the_longest_names_and_ids() -> None:
    names = [f"{number} " + "é" * 150 for number in range(40)]
    relay = new_relay(xmatters={"recipients": ["Ops"]})
    content = samples.enveloped("e" * 512, id="i" * 512)
    reply = relay.webhook.serve(samples.request(content, recipients=tuple(names)))
    [call] = relay.session.calls
    header = call.headers["X-Relay-Decision"]
    assert header.isascii()
    assert len(header) + len(call.url) < 6000
    rung = json.loads(header)["recipients"]
    assert rung == ["Ops", *names[: len(rung) - 1]]
    assert rung == parse_qs(urlsplit(call.url).query)["recipients"][0].split(",")
    assert reply.document["outcome"] == "delivered"
    assert relay.recorder.metrics()["refused_recipients"] == len(names) - (len(rung) - 1) > 0


def test_unreadable_decision_rings_whom_the_url_names_and_ends_nothing() -> None:
    hostile = {"id": "x", "status": "ok", "properties": VICTIM, "recipients": STRANGERS}
    headers = ("", "{", "[]", '{"is_over": true}', '{"recipients": "CEO"}')
    wanted = {"incident_id": "", "page_key": "", "is_over": "false", "priority": "HIGH", "recipients": "jdoe"}
    runs = run(*(request(hostile, recipients="jdoe", headers={"X-Relay-Decision": header}) for header in headers))
    for header, found in zip(headers, runs, strict=True):
        assert {name: found.output[name] for name in wanted} == wanted, header


def test_body_without_the_header_is_read_as_bigpandas_alone() -> None:
    own = {"recipients": ["CEO"], "priority": "HIGH", "properties": VICTIM}
    bare, wrapped, nameless = run(
        request(own | {"id": "x", "status": "warning"}, recipients="jdoe"),
        request({"incident": {"id": "x", "status": "warning", "is_over": True}, **own}, recipients="jdoe"),
        request({"status": "ok"}),
    )
    for found in (bare, wrapped):
        acted = {name: found.output[name] for name in ("incident_id", "is_over", "priority", "recipients", "page_key")}
        assert acted == {
            "incident_id": "x",
            "is_over": "false",
            "priority": "MEDIUM",
            "recipients": "jdoe",
            "page_key": "bigpanda x",
        }
    # A search without a key might find pages of other incidents.
    assert (nameless.output["page_key"], nameless.output["is_over"]) == ("", "false")


def test_page_key_differs_for_another_channel_other_url_recipients_and_another_letter_case() -> None:
    entries = [("noc", (), "a1"), ("noc", (), "A1"), ("dba", (), "a1"), ("noc", ("dba",), "a1"), ("noc", (), "x,a1")]
    keys = [page_key(entry_key(*entry)) for entry in entries]
    assert len(set(keys)) == len(keys)
    assert all(each.isalnum() for each in keys)


@pytest.mark.parametrize("body", ["bigpanda", "xmatters"])
def test_link_leads_to_a_host_of_bigpandas_or_to_its_console(body: str) -> None:
    calls = [signal_of(samples.body(link=each, links=[{"href": each}]), body=body) for each in samples.LINKS]
    shown = [found.output["link"] for found in run(*(case_of(call) for call in calls if call))]
    assert shown == [link if is_bigpandas else CONSOLE + "i1" for link, is_bigpandas in samples.LINKS.items()]
