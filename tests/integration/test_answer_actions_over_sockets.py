"""Answers that act, over real sockets: a person's response in xMatters resolves or snoozes an incident of BigPanda."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.server.in_process import Box
from tests import samples
from tests.integration.account import Aws
from tests.integration.live import Live

BASIC = {"type": "basic", "username": "relay", "password": "canary-password"}
URL = {"type": "url", "api_key": "url-key-0042"}
KEY = "BPU-canary-key"
ACTIONS = {"Resolve": {"do": "resolve"}, "Snooze 1 h": {"do": "snooze", "minutes": 60}}


@pytest.fixture
def live(box: Box, account: Aws) -> Iterator[Live]:
    """The relay, with one incident that it announced."""
    box.events.declare(BASIC)
    box.xmatters.people.declare({"people": [{"name": "jdoe"}]})
    box.bigpanda.let_in(KEY)
    incident = {"id": "i1", "status": "Critical", "active": True, "changed_at": 1_800_000_000, "folders": ["shared"]}
    box.bigpanda.declare_incidents("e1", [incident])
    document = samples.secret(
        url=box.declare(URL).url, policy={"min_seconds_between_signals": 0, "notified_within_seconds": 0}
    )
    document["xmatters"] |= {"callback": {"token": "t"}, "rest": {"base_url": box.xmatters_url, "auth": BASIC}}
    access = {"api_key": KEY, "base_url": box.bigpanda.url, "environment_id": "e1", "reconcile": False}
    document["bigpanda"] = access | {"actions": ACTIONS}
    account.put_secret("noc", document)
    relay = Live(account)
    relay.share()
    relay.wake(36)
    yield relay
    box.xmatters.people.declare({})


def answer(box: Box, live: Live, response: str, target: str = "jdoe") -> None:
    [event] = box.events.of_incident("i1")[-1:]
    said = {"relay": 1, "kind": "response", "incident_id": "i1", "response": response, "event": {"id": event.id}}
    content = json.dumps(said | {"person": {"target": target}}).encode()
    headers = {"authorization": "Bearer t", "content-type": "application/json"}
    assert live.callbacks.serve(samples.request(content, headers=headers)).status == 200
    live.wake(0)


def incident(box: Box) -> Any:
    [found] = box.bigpanda.incidents()["e1"]
    return found


def routes(box: Box) -> list[tuple[str, int | None]]:
    return [(call.route, call.status) for call in box.bigpanda.calls.all() if call.route != "incident"]


def test_resolve_ends_the_incident_in_bigpanda_and_a_second_one_settles(box: Box, live: Live) -> None:
    answer(box, live, "Resolve")
    assert routes(box) == [("resolve", 202)]
    assert incident(box)["active"] is False
    [call] = box.bigpanda.calls.all()
    assert "jdoe answered" in call.document["comments"]
    answer(box, live, "resolve")
    assert routes(box)[1:] == [("resolve", 409), ("comment", 204)]
    assert live.aws.chores.messages() == live.aws.dead_letters.messages() == []


def test_snooze_snoozes_the_incident_in_bigpanda_for_as_long_as_the_response_says(box: Box, live: Live) -> None:
    answer(box, live, "Snooze 1 h")
    assert routes(box) == [("snooze", 204)]
    assert incident(box)["snooze"]["snoozed"] is True
    assert abs(incident(box)["snooze"]["end_time"] - live.clock() - 3600) < 30


def test_answer_of_somebody_whom_xmatters_does_not_know_changes_no_incident(box: Box, live: Live) -> None:
    answer(box, live, "Resolve", "mallory")
    live.wake(400)
    assert routes(box) == [("comment", 204)]
    assert incident(box)["active"] is True
