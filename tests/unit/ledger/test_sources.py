"""Where shares come from: learned once, asked for later, and never in a share's way."""

import json
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from relay.ledger.sources import AGAIN_SECONDS, GONE_SECONDS, MAX_SOURCES, OLD_SECONDS, REFRESH_SECONDS, RETRY_SECONDS
from tests import samples
from tests.fakes import Relay, room, secrets_of

ENVIRONMENT = {"metadata": {"environment_id": "e1"}}


def relay_with(**access: Any) -> Relay:
    return room(secrets=secrets_of(bigpanda={"api_key": "BPU-1"} | access))


def post(relay: Relay, environment_id: str | None = "e1", recipients: tuple[str, ...] = (), **said: Any) -> None:
    content = samples.enveloped(environment_id, **said)
    reply = relay.webhook.serve(samples.request(content, recipients=recipients))
    assert reply.status == 200


def known(relay: Relay) -> dict[str, tuple[tuple[str, ...], ...]]:
    return dict(relay.sources.of_all([relay.channels.get("noc")])["noc"])


def test_a_share_tells_its_environment_and_the_recipients_of_its_url() -> None:
    relay = relay_with()
    post(relay)
    post(relay, "e2", ("b", "a", "b"), id="i2")
    assert known(relay) == {"e1": ((),), "e2": (("a", "b"),)}


def test_it_is_written_once_and_again_after_a_day() -> None:
    relay = relay_with()
    post(relay)
    relay.dynamodb.calls.clear()
    post(relay, id="i2")
    assert relay.dynamodb.calls == ["get_item", "update_item", "update_item", "update_item"]
    relay.clock.now += AGAIN_SECONDS + 1
    post(relay, id="i3")
    assert json.loads(relay.dynamodb.items["sources/noc"]["text"]["S"]) == [["e1", [], relay.clock.now]]


def test_a_place_that_shared_nothing_for_long_is_forgotten_but_the_last_one() -> None:
    relay = relay_with()
    post(relay)
    relay.clock.now += OLD_SECONDS + 1
    assert known(relay) == {"e1": ((),)}
    post(relay, "e2", id="i2")
    assert known(relay) == {"e2": ((),)}


def test_the_last_one_outlives_the_tables_own_memory() -> None:
    relay = relay_with()
    post(relay)
    relay.clock.now += REFRESH_SECONDS + 1
    expires = int(relay.dynamodb.items["sources/noc"]["expires"]["N"])
    known(relay)
    assert int(relay.dynamodb.items["sources/noc"]["expires"]["N"]) > expires


def test_of_an_environments_webhooks_those_count_that_shared_lately() -> None:
    relay = relay_with()
    for name in ("a", "b", "c"):
        post(relay, recipients=(name,), id=name)
        relay.clock.now += GONE_SECONDS / 2
    assert known(relay) == {"e1": (("c",), ("b",))}


def test_no_more_are_remembered_than_so_many_the_latest_stay() -> None:
    relay = relay_with()
    for number in range(MAX_SOURCES + 5):
        relay.clock.now += 1
        post(relay, f"e{number}", id=f"i{number}")
    assert len(known(relay)) == MAX_SOURCES
    assert f"e{MAX_SOURCES + 4}" in known(relay)


def test_an_incident_is_remembered_with_the_recipients_that_its_shares_named() -> None:
    relay = relay_with()
    channel = relay.channels.get("noc")
    post(relay)
    assert relay.sources.of_incident(channel, "i1") == ()
    for recipients in (("b", "a"), ("c",), ("a", "b")):
        post(relay, recipients=recipients)
    assert relay.sources.of_incident(channel, "i1") == (("a", "b"), ("c",))
    assert relay.sources.of_incidents("noc", ["i1", "i2"]) == {"i1": (("a", "b"), ("c",)), "i2": ()}


def test_nobody_needs_to_know_that_without_a_key_and_without_callbacks() -> None:
    relay = room()
    post(relay, recipients=("a",))
    assert not any(name.startswith("shared/") for name in relay.dynamodb.items)


@pytest.mark.parametrize(("access", "environment_id"), [({"reconcile": False}, "e1"), ({}, None), ({}, "e" * 513)])
def test_what_nobody_will_ask_for_is_not_written(access: dict[str, Any], environment_id: str | None) -> None:
    relay = relay_with(**access)
    post(relay, environment_id)
    assert "sources/noc" not in relay.dynamodb.items


def test_a_channel_without_a_key_of_bigpandas_has_no_sources() -> None:
    relay = room()
    post(relay)
    assert "sources/noc" not in relay.dynamodb.items


def test_the_channels_own_environment_is_one_before_anything_was_shared() -> None:
    relay = relay_with(environment_id="e9")
    assert known(relay) == {"e9": ((),)}
    post(relay, "e1", ("a",))
    assert known(relay) == {"e1": (("a",),)}


def test_channels_that_dynamodb_does_not_answer_for_are_left_out() -> None:
    relay = relay_with(environment_id="e1")
    relay.dynamodb.batch_size = 0
    assert relay.sources.of_all([relay.channels.get("noc")]) == {}


def test_a_table_that_fails_keeps_no_share_and_is_asked_again_later() -> None:
    relay = relay_with()
    relay.dynamodb.failure = EndpointConnectionError(endpoint_url="x")
    post(relay)
    relay.dynamodb.failure = None
    post(relay, id="i2")
    assert known(relay) == {}
    relay.clock.now += RETRY_SECONDS + 1
    post(relay, id="i3")
    assert known(relay) == {"e1": ((),)}


def test_what_cannot_be_read_is_written_anew() -> None:
    relay = relay_with()
    relay.table.write("sources/noc", 0, "[[1]]")
    assert known(relay) == {}
    post(relay)
    assert known(relay) == {"e1": ((),)}
