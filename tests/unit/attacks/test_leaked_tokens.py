"""Attacks with a leaked token of a channel."""

from collections import Counter
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from relay.http.session import HttpAnswer
from tests import samples
from tests.fakes import Call, FakeSession, Relay, new_relay
from tests.unit.xmatters_tenant import Tenant
from tests.unit.xmatters_tenant import new_relay as tenant_relay

ACCESS = {"api_key": "BPU-1", "environment_id": "e1"}


def relay_with(**policy: Any) -> Relay:
    return new_relay(policy=policy, access=ACCESS)


def recipients_of(relay: Relay) -> list[list[str]]:
    queries = [parse_qs(urlsplit(call.url).query) for call in relay.session.calls]
    return [query.get("recipients", [""])[0].split(",") for query in queries]


class TestRecipientsInTheUrl:
    """Recipients in the URL: an attacker with the webhook's token can add `?recipients=`."""

    @pytest.mark.parametrize("names", [("mallory",), ("ceo", "mallory")])
    def test_url_recipients_that_the_channel_does_not_allow_get_no_signal(self, names: tuple[str, ...]) -> None:
        relay = relay_with(allowed_recipients=["dba", "Storage*", "net-?"])
        named = ("DBA", *names, "storage on-call", "net-1")
        reply = relay.webhook.serve(samples.request(samples.body(), recipients=named))
        assert reply.document["outcome"] == "delivered"
        [recipients] = recipients_of(relay)
        assert not {"mallory", "ceo"} & set(recipients)
        assert {"DBA", "storage on-call", "net-1"} <= set(recipients)
        assert relay.recorder.metrics()["refused_recipients"] == len(names)

    @pytest.mark.parametrize(
        "name", ["dba-x https://evil.example/login", "dba-\n- x", 'dba-" and', "dba-<b>", "dba-" + "x" * 200]
    )
    def test_name_that_is_not_plain_gets_no_signal_unless_it_is_allowed_word_by_word(self, name: str) -> None:
        relay = relay_with(allowed_recipients=["dba-*"])
        relay.webhook.serve(samples.request(samples.body(), recipients=(name, "dba-Zoë 1_a.b|Work Phone@x")))
        [recipients] = recipients_of(relay)
        assert name not in recipients
        assert "dba-Zoë 1_a.b|Work Phone@x" in recipients
        exact = relay_with(allowed_recipients=[name[:200]])
        assert exact.channels.get("noc").permits(name[:200])


def test_flood_of_callbacks_writes_a_few_comments_a_minute_and_the_rest_later() -> None:
    """An attacker with the callback's token can report any event of any incident as any person."""
    tenant, commented = Tenant(), list[float]()

    def noted(_: Call) -> HttpAnswer:
        commented.append(relay.clock.now)
        return HttpAnswer(200, {}, b"")

    relay = tenant_relay(
        tenant,
        xmatters=samples.CALLBACK,
        access=ACCESS,
        bigpanda=FakeSession(noted),
    )
    relay.share(samples.enveloped("e1"))
    began = relay.clock.now
    for number in range(10 + 5):
        relay.call_back("response", "Acknowledge", person="ceo", note=f"flood {number}")
    relay.wake(600)
    minutes = Counter(int((at - began) // 60) for at in commented)
    assert max(minutes.values()) <= 10
    assert len(commented) == 10 + 5
