"""Both vendors' stand-ins as programs and people use them: the status of each route, callbacks and shares.

The clients that read their answers are the relay's (`test_vendors_over_sockets`) and python-xmatters (`tests/clients`).
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from relay.incidents.callback import Kind, ResponseMeanings, parse_callback
from sandbox.bigpanda.incidents import ENVIRONMENT
from sandbox.bigpanda.users import USERS
from sandbox.processes import Process
from sandbox.server.client import StandIn
from sandbox.server.in_process import Box
from tests.integration.live import Site, site
from tests.stand_in import BASIC, TENANT, session, signal
from tests.waiting import until

KEY, APP = "BPU-canary-key", "app-canary-key"
HEADER = ("x-api-key", "inbound-canary")
SAMPLE = Path(__file__).parents[2] / "events/bigpanda_1_critical.json"


@pytest.fixture
def relay() -> Iterator[Site]:
    """Receiver of BigPanda's shares and of xMatters' callbacks, which answers as a relay that delivered the share."""
    with site(lambda _: (200, {"Content-Type": "application/json"}, b'{"outcome": "delivered"}')) as receiver:
        yield receiver


@pytest.fixture
def people(box: Box) -> StandIn:
    """What people do in BigPanda, whose environment has no incident yet."""
    box.bigpanda.declare_incidents(ENVIRONMENT, [])
    box.bigpanda.let_in(KEY)
    box.bigpanda.let_app_in(APP)
    return StandIn(box.control_url, box.xmatters_url, box.bigpanda.url, Process(os.getpid(), ""))


def shared(people: StandIn, count: int) -> list[str]:
    """Wait until `count` webhooks are answered, and return their events."""
    until(lambda: len(people.live()["webhooks"]) >= count)
    return [each["event"] for each in people.live()["webhooks"]]


def call(box: Box, method: str, path: str, body: object = None, key: str = KEY) -> requests.Response:
    """Call BigPanda's API; the path of an incident begins with `incidents`."""
    place = f"v2.0/environments/{ENVIRONMENT}/{path}" if path.startswith("incidents") else path
    base = box.bigpanda.url if path.startswith("/") else f"{box.bigpanda.url}/resources/"
    with session(Authorization=f"Bearer {key}") as http:
        return http.request(method, base + place, json=body, timeout=60)


def test_xmatters_refusals_have_their_status_and_say_why(box: Box) -> None:
    box.events.declare(BASIC)
    box.xmatters.people.declare(TENANT)
    signal(box)
    [made] = box.events.all()
    unknown = ["events/nope", "events/nope/annotations", "events/nope/annotations/nope", "audits?eventId=nope"]
    unknown += ["people/nope", "people/nope/devices", "groups/nope", "nothing/here"]
    malformed = ("events?limit=0", "people?limit=0", "groups?limit=0", "audits?limit=0", "on-call")
    calls: list[tuple[str, str, Any, int]] = [
        ("GET", "people", None, 401),
        *(("GET", path, None, 404) for path in unknown),
        *(("GET", path, None, 400) for path in malformed),
        ("POST", "events", {"id": made.id, "status": "OVER"}, 400),
        ("POST", f"events/{made.id}/annotations", {}, 400),
    ]
    with session() as http:
        for method, path, document, status in calls:
            http.auth = None if status == 401 else (BASIC["username"], BASIC["password"])
            answer = http.request(method, f"{box.xmatters_url}/api/xm/1/{path}", json=document, timeout=60)
            assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/json;charset=utf-8")
            assert status == 401 or answer.json().keys() == {"code", "reason", "message"}, path


def test_relay_reads_all_callbacks_of_a_page(box: Box, people: StandIn, relay: Site) -> None:
    box.xmatters.people.declare(TENANT)
    people.send_callbacks(f"{relay.url}/xmatters/demo", ("Authorization", "Bearer canary-token"))
    signal(box)
    for response, note in (("Escalate", "in a tunnel"), ("Acknowledge", None)):
        box.xmatters.notifier.answer(box.xmatters.notifier.notifications.newest(1)[0].id, response, note)
    until(lambda: len(relay.received) == 6)
    said = [parse_callback(each.body) for each in relay.received]
    assert [(each.kind, (each.text or "").lower(), each.target) for each in said] == [
        (Kind.STATUS, "active", None),
        (Kind.DELIVERY, "delivered", "kim"),
        (Kind.RESPONSE, "escalate", "kim"),
        (Kind.DELIVERY, "delivered", "jo"),
        (Kind.RESPONSE, "acknowledge", "jo"),
        (Kind.STATUS, "terminated", None),
    ]
    assert {(each.incident_id, each.environment_id) for each in said} == {("i1", "e1")}
    assert (said[2].note, said[4].note) == ("in a tunnel", None)
    assert ResponseMeanings().is_acknowledgement(said[4])
    assert {each.headers["authorization"] for each in relay.received} == {"Bearer canary-token"}


def test_each_route_of_bigpanda_answers_and_refuses_with_its_status(box: Box, people: StandIn) -> None:
    incident = f"incidents/{people.open_incident()['id']}"
    released = {"event_type": "incident#new", "incident_id": "i1", "app_key": APP}
    calls: list[tuple[str, str, Any, int]] = [
        ("GET", "incidents?folder=active&expand=alerts", None, 200),
        ("GET", "incidents?folder=nope", None, 400),
        ("GET", "v2.0/environments/nope/incidents", None, 404),
        ("GET", incident, None, 200),
        ("GET", "incidents/nope", None, 404),
        ("DELETE", "incidents/nope", None, 405),
        ("POST", f"{incident}/comments", {"comment": "on it"}, 204),
        ("POST", f"{incident}/comments", {}, 400),
        ("PUT", f"{incident}/assignment", {"assignee": USERS[0]["id"]}, 204),
        ("GET", f"v2.0/{incident}/activities", None, 200),
        ("POST", f"{incident}/resolve", {"comments": "done"}, 202),
        ("POST", f"{incident}/resolve", {"comments": "again"}, 409),
        ("GET", '/scim/v2/Users?filter=userName eq "nope"', None, 200),
        ("POST", "v2.1/outbound/callback", released, 200),
        ("POST", "v2.1/outbound/callback", released | {"app_key": "other"}, 403),
        ("POST", "v2.1/outbound/callback", {}, 400),
    ]
    for method, path, body, status in calls:
        answer = call(box, method, path, body)
        assert answer.status_code == status, (method, path, answer.text)
        assert status < 400 or answer.json().keys() == {"status", "errors"}
    assert call(box, "GET", incident, key="wrong").status_code == 401
    shown = call(box, "GET", incident).json()
    assert (shown["active"], shown["assignee"]["user_id"]) == (False, USERS[0]["id"])


def test_each_trigger_is_shared_by_its_name_with_the_members_of_the_sample(
    box: Box, people: StandIn, relay: Site
) -> None:
    people.share_with(f"{relay.url}/bigpanda/noc", HEADER)
    opened = people.open_incident(status="warning", alerts=[{}, {}])["id"]
    for action in ("worsen", "gain_alert", "share", "resolve", "reopen", "flap", "calm", "snooze", "unsnooze"):
        people.act_on_incident(opened, action)
    call(box, "POST", f"incidents/{opened}/comments", {"comment": "on it"})
    call(box, "POST", f"incidents/{opened}/resolve", {"comments": "done"})
    assert shared(people, 10) == [
        "incident#new", "incident#updated", "incident#updated", "manual", "incident#closed", "incident#reopen",
        "incident#become-flapping", "incident#snoozed", "incident#commented", "incident#closed",
    ]  # fmt: skip
    sent = relay.received[0]
    assert (sent.method, sent.target, sent.headers[HEADER[0]]) == ("POST", "/bigpanda/noc", HEADER[1])
    sample = json.loads(json.loads(SAMPLE.read_text())["body"])
    for document in (json.loads(each.body) for each in relay.received):
        assert document.keys() == sample.keys()
        assert document["incident"].keys() == sample["incident"].keys()
        assert document["incident"]["alerts"][0].keys() == sample["incident"]["alerts"][0].keys()
        assert document["metadata"].keys() >= sample["metadata"].keys()


@pytest.mark.parametrize(
    ("quiet", "told", "end"),
    [("snooze", "incident#snoozed", "unsnooze"), ("flap", "incident#become-flapping", "calm")],
)
def test_snoozed_and_flapping_incidents_send_no_updates_but_their_close(
    people: StandIn, relay: Site, quiet: str, told: str, end: str
) -> None:
    people.share_with(f"{relay.url}/bigpanda/noc", HEADER)
    opened = people.open_incident()["id"]
    for action in (quiet, "ease", "gain_alert", end, "worsen", quiet, "resolve"):
        people.act_on_incident(opened, action)
    assert shared(people, 5) == ["incident#new", told, "incident#updated", told, "incident#closed"]
