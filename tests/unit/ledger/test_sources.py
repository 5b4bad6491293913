"""Sources: environments and recipients that shares name are remembered and suggested, and delay no share."""

import json
from typing import Any

import pytest

from tests import samples
from tests.fakes import Relay, new_relay


def relay_with(**access: Any) -> Relay:
    return new_relay(access={"api_key": "BPU-1"} | access)


def post(relay: Relay, environment_id: str | None = "e1", **said: Any) -> None:
    assert relay.webhook.serve(samples.request(samples.enveloped(environment_id, **said))).status == 200


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
    that_lists_e2 = relay_with(environments=["e2"]).channels.get("noc")
    assert relay.sources.suggested(that_lists_e2) == ("e1",)
    relay.clock.now += 30 * 24 * 3600
    assert suggested(relay) == ()


def test_invented_environments_take_one_write_a_minute_and_bounded_memory() -> None:
    relay = relay_with(environments=["e1"])
    for number in range(3 * 1000):
        channel, place = relay.channels.get("noc"), f"invented-{number}"
        relay.sources.record(channel, place, (), relay.deadline(8))
    assert item(relay)["environments"].keys() == {"invented-0"}
    relay.clock.now += 60 + 1
    relay.sources.record(channel, "e2", (), relay.deadline(8))
    assert suggested(relay) == ("e2", "invented-0")


def test_share_without_an_environment_is_noted_once_a_day_and_suggests_none() -> None:
    relay = relay_with()
    for _ in range(2):
        relay.sources.record(relay.channels.get("noc"), None, ("ann",), relay.deadline(8))
        relay.clock.now += 60 + 1
    assert (suggested(relay), relay.dynamodb.calls.count("update_item")) == ((), 1)


@pytest.mark.parametrize("text", ["[[1]]", "{", '{"environments": 1}', '{"environments": {"e1": "x"}}', "null"])
def test_unreadable_sources_are_written_anew(text: str) -> None:
    relay = relay_with()
    relay.table.write("sources/noc", 0, text)
    assert suggested(relay) == ()
    post(relay)
    assert suggested(relay) == ("e1",)


def test_invented_recipients_do_not_push_out_those_with_which_an_incident_was_shared() -> None:
    relay = relay_with()
    channel = relay.channels.get("noc")
    for name in ("ann", *(f"invented-{number}" for number in range(100))):
        relay.sources.record_recipients(channel, "i1", (name,), relay.deadline(8))
    known = relay.sources.of_incident(channel, "i1")
    assert (("ann",) in known, len(known) < 100) == (True, True)
