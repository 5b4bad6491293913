"""Attacks with a leaked token of a channel's, each as somebody would try it."""

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests import samples
from tests.fakes import Relay, room, secrets_of

ACCESS = {"api_key": "BPU-1", "environment_id": "e1"}


def relay_with(**policy: Any) -> Relay:
    return room(policy=policy, secrets=secrets_of(bigpanda=ACCESS, policy=policy))


def recipients_of(relay: Relay) -> list[list[str]]:
    """Whom each signal named."""
    queries = [parse_qs(urlsplit(call.url).query) for call in relay.session.calls]
    return [query.get("recipients", [""])[0].split(",") for query in queries]


class TestRecipientsInTheUrl:
    """Whoever has the webhook's token can add `?recipients=` to its URL."""

    @pytest.mark.parametrize("names", [("mallory",), ("ceo", "mallory")])
    def test_those_whom_the_channel_does_not_permit_are_not_rung(self, names: tuple[str, ...]) -> None:
        relay = relay_with(allowed_recipients=["dba", "Storage*"])
        reply = relay.webhook.serve(samples.request(samples.body(), recipients=("DBA", *names, "storage on-call")))
        assert reply.document["outcome"] == "delivered"
        [rung] = recipients_of(relay)
        assert not {"mallory", "ceo"} & set(rung)
        assert {"DBA", "storage on-call"} <= set(rung)
        assert relay.recorder.metrics()["refused_recipients"] == len(names)

    def test_the_channels_own_are_rung_although_nobody_else_is_permitted(self) -> None:
        relay = relay_with(allowed_recipients=[])
        relay.webhook.serve(samples.request(samples.body(), recipients=("mallory",)))
        usual = relay_with(allowed_recipients=[])
        usual.webhook.serve(samples.request(samples.body()))
        assert recipients_of(relay) == recipients_of(usual)

    def test_share_with_refused_recipients_is_of_the_same_incident_as_one_without(self) -> None:
        relay = relay_with(allowed_recipients=[])
        relay.webhook.serve(samples.request(samples.body()))
        reply = relay.webhook.serve(samples.request(samples.body(), recipients=("mallory",)))
        assert reply.document["outcome"] == "duplicate"

    def test_without_that_policy_anybody_may_be_named(self) -> None:
        relay = relay_with()
        relay.webhook.serve(samples.request(samples.body(), recipients=("anybody",)))
        assert "anybody" in recipients_of(relay)[0]


def test_environment_of_a_stranger_becomes_neither_the_incidents_place_nor_the_channels() -> None:
    relay = relay_with()
    document = {"incident": json.loads(samples.body()), "metadata": {"environment_id": "e-of-a-stranger"}}
    relay.webhook.serve(samples.request(json.dumps(document).encode()))
    assert relay.entry().environment_id == ""
    access = relay.channels.get("noc").bigpanda
    assert access is not None
    assert access.environments == ("e1",)
