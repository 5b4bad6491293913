"""Sources: environments and recipients that shares name are remembered and suggested, and delay no share."""

import json
from typing import Any

import pytest

from tests import samples
from tests.fakes import Relay, new_relay, secrets_of


def relay_with(**access: Any) -> Relay:
    return new_relay(secrets=secrets_of(bigpanda={"api_key": "BPU-1"} | access))


def post(relay: Relay, environment_id: str | None = "e1", recipients: tuple[str, ...] = (), **said: Any) -> None:
    content = samples.enveloped(environment_id, **said)
    reply = relay.webhook.serve(samples.request(content, recipients=recipients))
    assert reply.status == 200


def suggested(relay: Relay) -> tuple[str, ...]:
    return relay.sources.suggested(relay.channels.get("noc"))


def item(relay: Relay) -> Any:
    return json.loads(relay.dynamodb.items["sources/noc"]["text"]["S"])


def test_environments_of_shares_are_suggested_latest_first() -> None:
    relay = relay_with()
    for place in ("e1", "e2"):
        post(relay, place, id=place)
        relay.clock.now += 60 + 1
    assert suggested(relay) == ("e2", "e1")


def test_invented_environments_take_one_write_a_minute_and_bounded_memory() -> None:
    relay = relay_with(environments=["e1"])
    for number in range(3 * 1000):
        channel, place = relay.channels.get("noc"), f"invented-{number}"
        relay.sources.record(channel, place, (), relay.deadline(8))
    assert item(relay)["environments"].keys() == {"invented-0"}
    relay.clock.now += 60 + 1
    relay.sources.record(channel, "e2", (), relay.deadline(8))
    assert suggested(relay) == ("e2", "invented-0")


def test_incident_is_remembered_with_the_recipients_of_its_shares() -> None:
    relay = relay_with()
    channel = relay.channels.get("noc")
    post(relay)
    assert relay.sources.of_incident(channel, "i1") == ()
    for recipients in (("b", "a"), ("c",), ("a", "b")):
        post(relay, recipients=recipients)
    assert relay.sources.of_incident(channel, "i1") == (("a", "b"), ("c",))
    assert relay.sources.of_incidents("noc", ["i1", "i2"]) == {"i1": (("a", "b"), ("c",)), "i2": ()}


@pytest.mark.parametrize(("access", "environment_id"), [({"reconcile": False}, "e1"), ({}, None), ({}, "e" * 513)])
def test_source_of_a_channel_that_is_not_reconciled_or_without_valid_environment_is_not_written(
    access: dict[str, Any], environment_id: str | None
) -> None:
    relay = relay_with(**access)
    post(relay, environment_id)
    assert "sources/noc" not in relay.dynamodb.items


@pytest.mark.parametrize("text", ["[[1]]", "{", '{"environments": 1}', '{"environments": {"e1": "x"}}', "null"])
def test_unreadable_sources_are_written_anew(text: str) -> None:
    relay = relay_with()
    relay.table.write("sources/noc", 0, text)
    assert suggested(relay) == ()
    post(relay)
    assert suggested(relay) == ("e1",)
