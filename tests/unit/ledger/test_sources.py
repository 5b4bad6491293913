"""Sources: environments and recipients that shares name are remembered and suggested, and delay no share."""

import json
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

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


def test_environment_that_the_secret_names_is_not_suggested() -> None:
    relay = relay_with(environments=["e1"])
    post(relay)
    assert "sources/noc" not in relay.dynamodb.items
    post(relay, "e2", id="i2")
    assert suggested(relay) == ("e2",)


def test_source_is_written_once_and_again_after_a_day() -> None:
    relay = relay_with()
    post(relay)
    relay.dynamodb.calls.clear()
    post(relay, id="i2")
    assert relay.dynamodb.calls == ["get_item", "update_item", "update_item", "update_item"]
    relay.clock.now += 86_400 + 1
    post(relay, id="i3")
    assert item(relay) == {"environments": {"e1": relay.clock.now}, "names_recipients": False}


def test_channel_whose_webhook_named_recipients_is_remembered() -> None:
    relay = relay_with(environments=["e1"])
    channel = relay.channels.get("noc")
    post(relay)
    assert relay.sources.naming_recipients([channel]) == set()
    post(relay, recipients=("a",), id="i2")
    post(relay, "e2", id="i3")
    assert relay.sources.naming_recipients([channel]) == {"noc"}


def test_latest_sources_are_kept_up_to_a_limit() -> None:
    relay = relay_with()
    for number in range(20 + 5):
        relay.clock.now += 60 + 1
        post(relay, f"e{number}", id=f"i{number}")
    assert len(suggested(relay)) == 20
    assert suggested(relay)[0] == f"e{20 + 4}"


def test_incident_is_remembered_with_the_recipients_of_its_shares() -> None:
    relay = relay_with()
    channel = relay.channels.get("noc")
    post(relay)
    assert relay.sources.of_incident(channel, "i1") == ()
    for recipients in (("b", "a"), ("c",), ("a", "b")):
        post(relay, recipients=recipients)
    assert relay.sources.of_incident(channel, "i1") == (("a", "b"), ("c",))
    assert relay.sources.of_incidents("noc", ["i1", "i2"]) == {"i1": (("a", "b"), ("c",)), "i2": ()}


def test_recipients_of_the_first_shares_of_an_incident_are_kept_however_many_others_follow() -> None:
    relay = relay_with()
    post(relay, recipients=("true",))
    for number in range(20 + 5):
        post(relay, recipients=(f"forged-{number}",))
    known = relay.sources.of_incident(relay.channels.get("noc"), "i1")
    assert (known[0], len(known)) == (("true",), 20)


@pytest.mark.parametrize(("access", "environment_id"), [({"reconcile": False}, "e1"), ({}, None), ({}, "e" * 513)])
def test_source_of_a_channel_that_is_not_reconciled_or_without_valid_environment_is_not_written(
    access: dict[str, Any], environment_id: str | None
) -> None:
    relay = relay_with(**access)
    post(relay, environment_id)
    assert "sources/noc" not in relay.dynamodb.items


def test_failing_table_delays_no_share_and_is_tried_again_later() -> None:
    relay = relay_with()
    relay.dynamodb.failure = EndpointConnectionError(endpoint_url="x")
    post(relay)
    relay.dynamodb.failure = None
    post(relay, id="i2")
    assert suggested(relay) == ()
    relay.clock.now += 60 + 1
    post(relay, id="i3")
    assert suggested(relay) == ("e1",)


@pytest.mark.parametrize("text", ["[[1]]", "{", '{"environments": 1}', '{"environments": {"e1": "x"}}', "null"])
def test_unreadable_sources_are_written_anew(text: str) -> None:
    relay = relay_with()
    relay.table.write("sources/noc", 0, text)
    assert suggested(relay) == ()
    post(relay)
    assert suggested(relay) == ("e1",)


def test_worker_notes_the_recipients_of_an_incident_if_the_webhook_crashed_before() -> None:
    relay = relay_with()
    channel = relay.channels.get("noc")
    # Relay a share without the webhook's note, as if the function crashed after the signal.
    relay.share(recipients=("Ann",))
    assert relay.sources.of_incident(channel, "i1") == ()
    relay.wake()
    assert relay.sources.of_incident(channel, "i1") == (("Ann",),)


def test_recipients_of_an_incident_are_not_noted_without_key_and_callbacks() -> None:
    relay = new_relay()
    post(relay, recipients=("a",))
    assert not any(name.startswith("shared/") for name in relay.dynamodb.items)


def test_channel_that_dynamodb_leaves_unprocessed_counts_as_naming_recipients() -> None:
    relay = relay_with(environment_id="e1")
    relay.dynamodb.batch_size = 0
    assert relay.sources.naming_recipients([relay.channels.get("noc")]) == {"noc"}
