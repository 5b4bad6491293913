"""xMatters' phones in the sandbox over real sockets, callbacks to the relay, and scripts of `make sandbox`."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from relay.incidents.callback import Kind, ResponseMeanings, parse_callback
from sandbox.bigpanda.life import ACTIONS
from sandbox.demo.script import SCRIPTS
from sandbox.server.in_process import Box
from tests.integration.live import Site, site
from tests.stand_in import TENANT, session, signal
from tests.waiting import until

HEADER = {"name": "Authorization", "value": "Bearer canary-token"}


@pytest.fixture(autouse=True)
def _people(box: Box) -> Iterator[None]:
    box.xmatters.people.declare(TENANT)
    yield
    box.xmatters.people.declare({})


def control(box: Box, method: str, path: str, document: Any = None) -> requests.Response:
    with session() as http:
        return http.request(method, f"{box.control_url}/{path}", json=document, timeout=60)


def phones(box: Box) -> Any:
    return control(box, "GET", "phones").json()


@pytest.fixture
def relay(box: Box) -> Iterator[Site]:
    """A receiver of callbacks, to which the stand-in sends them."""
    with site(lambda _: (202, {}, b"")) as receiver:
        declaration = {"url": f"{receiver.url}/xmatters/demo", "header": HEADER, "function": None}
        control(box, "PUT", "phones/callbacks", declaration)
        yield receiver


def logged(box: Box, count: int) -> list[dict[str, Any]]:
    """Wait until `count` callbacks are in the log, and return them."""
    until(lambda: len(phones(box)["callbacks"]) >= count)
    return list(phones(box)["callbacks"])


class TestCallbacks:
    def test_relay_reads_all_callbacks_of_a_page(self, box: Box, relay: Site) -> None:
        signal(box)
        box.xmatters.notifier.answer(phones(box)["notifications"][-1]["id"], "Escalate", "in a tunnel")
        box.xmatters.notifier.answer(phones(box)["notifications"][-1]["id"], "Acknowledge")
        entries = logged(box, 6)
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
        assert {(each["status"], each["page"]) for each in entries} == {(202, said[0].page_number)}
        assert "canary" not in json.dumps(phones(box))

    def test_relay_reads_the_callback_of_a_failed_delivery(self, box: Box, relay: Site) -> None:
        control(box, "PUT", "flow", {"mode": "devices_fail"})
        signal(box)
        logged(box, 2)
        callback = parse_callback(relay.received[1].body)
        assert (callback.is_failed_delivery(), callback.is_delivered(), callback.target) == (True, False, "kim")

    def test_relay_reads_the_callback_that_nobody_is_left(self, box: Box, relay: Site) -> None:
        signal(box)
        for _ in range(2):
            box.xmatters.notifier.answer(phones(box)["notifications"][-1]["id"], "Escalate")
        logged(box, 6)
        callback = parse_callback(relay.received[-1].body)
        assert (callback.kind, callback.target, callback.is_dead_end()) == (Kind.FAILURE, "dba", True)


def test_devices_ring_after_their_delays_and_a_group_escalates_to_its_next_member(box: Box) -> None:
    signal(box)
    box.xmatters.clock.turn(90)
    assert [each["device"] for each in phones(box)["notifications"]] == ["Work Email", "Mobile", "Cell", "Home"]
    box.xmatters.clock.turn(310)
    rung = phones(box)["notifications"]
    assert [each["person"] for each in rung] == ["kim"] * 4 + ["jo"]
    # The member before can still answer.
    box.xmatters.notifier.answer(rung[0]["id"], "Acknowledge")
    assert {each["state"] for each in phones(box)["notifications"]} == {"answered", "over"}


def test_resolve_makes_a_page_for_information_that_ends_when_all_are_notified(box: Box) -> None:
    signal(box)
    signal(box, status="ok")
    told = phones(box)["notifications"][-1]
    assert (told["person"], told["responses"], told["state"]) == ("kim", [], "over")
    box.xmatters.clock.turn(180)
    assert [each.status for each in box.events.all()] == ["ACTIVE", "TERMINATED"]


@pytest.mark.parametrize("name", SCRIPTS)
def test_script_is_in_the_order_of_its_times_and_opens_each_incident_before_it_is_changed(name: str) -> None:
    steps = SCRIPTS[name]
    assert [step.at for step in steps] == sorted(step.at for step in steps)
    opened: set[str] = set()
    for step in steps:
        if step.act == "open":
            assert step.incident not in opened
            opened.add(step.incident)
        assert step.incident in {*opened, ""}
        assert bool(step.incident) == (step.act in {*ACTIONS, "open", "acknowledge", "escalate"})
