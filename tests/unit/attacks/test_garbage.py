"""Attacks without a credential: garbage that uses up look-ups, reveals channel names, or raises alarms."""

import json
import secrets
from typing import Any

import pytest

from relay.channels import token
from relay.channels.authentication import Reply, Request
from relay.channels.token import EndpointName
from relay.failures import ChannelForbidden, ChannelUnreadable
from tests import samples
from tests.fakes import FakeSecrets, FakeSession, Relay

STRANGER, BIGPANDA = "203.0.113.66", "192.0.2.10"
CHECKED = token.make("noc", "inbound", secrets.choice)
DOWN = ChannelUnreadable("Secrets Manager could not be reached")


def relay_of(**texts: Any) -> Relay:
    """Return a relay with the channels `noc` and `plain`, and a channel for each secret in `texts`.

    The token of `noc` has a checksum, the token of `plain` has none.
    """
    known = {
        "noc": json.dumps(samples.secret(inbound={"token": CHECKED})),
        "plain": json.dumps(samples.secret()),
    }
    return Relay(FakeSession(samples.accepted()), secrets=FakeSecrets(**known | texts))


def asking(channel: str, credential: str, source: str = STRANGER, **changes: Any) -> Request:
    return samples.request(channel=channel, headers={"x-api-key": credential}, source=source, **changes)


def flood(relay: Relay) -> list[Reply]:
    """Send garbage for channels that do not exist; return the replies."""
    return [relay.webhook.serve(asking(f"guess-{number}", "garbage")) for number in range(40)]


class TestLookUps:
    def test_garbage_of_a_stranger_does_not_lock_out_a_channel_that_is_not_cached(self) -> None:
        relay = relay_of()
        flood(relay)
        for channel, credential in (("noc", CHECKED), ("plain", samples.TOKEN)):
            assert relay.webhook.serve(asking(channel, credential, BIGPANDA)).status == 200

    @pytest.mark.parametrize(
        "credential",
        [
            token.make("other", "inbound", secrets.choice),
            token.make("noc", "callback", secrets.choice),
            CHECKED[:-1],
            CHECKED[:-1] + ("0" if CHECKED[-1] != "0" else "1"),
            "bpr_garbage",
        ],
        ids=["other channel", "other endpoint", "cut", "one wrong character", "garbage"],
    )
    def test_token_with_a_wrong_checksum_costs_no_lookup(self, credential: str) -> None:
        relay = relay_of()
        replies = [relay.webhook.serve(asking("noc", credential)) for _ in range(3 * 100)]
        assert {reply.status for reply in replies} == {401}
        assert relay.secrets.reads == []

    def test_tokens_with_forged_checksums_have_a_budget_of_lookups(self) -> None:
        relay = relay_of()
        forged = [token.make(f"guess-{number}", "inbound", secrets.choice) for number in range(150)]
        replies = [relay.webhook.serve(asking(f"guess-{number}", each)) for number, each in enumerate(forged)]
        assert [reply.status for reply in replies] == [401] * 100 + [503] * 50
        assert len(relay.secrets.reads) == 100

    def test_stranger_with_a_network_of_addresses_has_one_budget(self) -> None:
        relay = relay_of()
        replies = [relay.webhook.serve(asking(f"guess-{n}", "garbage", f"2001:db8:1:2::{n:x}")) for n in range(40)]
        assert [reply.status for reply in replies].count(401) == 20


def test_answers_to_garbage_do_not_tell_which_channels_exist() -> None:
    relay = relay_of()
    # `noc` is cached, `plain` is not, `ghost` does not exist; its second request finds that remembered.
    relay.webhook.serve(asking("noc", CHECKED, BIGPANDA))
    names = ("noc", "plain", "ghost")
    for expected in (401, 503):
        replies = [relay.webhook.serve(asking(name, "garbage")) for name in names]
        replies += [relay.webhook.serve(asking("ghost", "garbage"))]
        assert {reply.status for reply in replies} == {expected}
        answers = {json.dumps(dict(reply.document) | {"channel": "asked for"}) for reply in replies}
        assert len(answers) == 1
        flood(relay)


class TestAlarms:
    @pytest.mark.parametrize("endpoint", ["inbound", "callback"])
    def test_requests_of_strangers_raise_no_alarm_for_lost_shares_while_secrets_are_unreadable(
        self, endpoint: EndpointName
    ) -> None:
        relay = relay_of(ghost=DOWN)
        webhook = {"inbound": relay.webhook, "callback": relay.callbacks}[endpoint]
        for _ in range(40):
            assert webhook.serve(asking("ghost", "garbage")).status == 503
        assert relay.recorder.metrics() == {"stale_channel": 20, "rejected_request": 20}

    def test_share_with_a_valid_checksum_raises_the_alarm_if_its_secret_is_unreadable(self) -> None:
        relay = relay_of(noc=DOWN)
        reply = relay.webhook.serve(asking("noc", CHECKED, BIGPANDA))
        assert (reply.status, reply.document["outcome"]) == (503, "unsafe")
        assert relay.recorder.metrics()["unsafe"] == 1

    @pytest.mark.parametrize("trouble", ["{}", "no json", ChannelForbidden("AccessDeniedException")])
    @pytest.mark.parametrize("credential", [samples.TOKEN, CHECKED], ids=["typed", "checked"])
    def test_share_of_a_malformed_or_denied_channel_raises_the_alarm(
        self, trouble: str | Exception, credential: str
    ) -> None:
        relay = relay_of(noc=trouble)
        for number in range(1, 6):
            assert relay.webhook.serve(asking("noc", credential, BIGPANDA)).status == 503
            assert relay.recorder.metrics()["unsafe"] == number
        assert relay.secrets.reads == ["noc"], "it is remembered for some seconds"


@pytest.mark.parametrize(
    "credential",
    [{"token": "shared-by-both-endpoints-of-it"}, {"basic": {"username": "u", "password": "p"}}],
    ids=["token", "basic"],
)
def test_same_credential_for_both_endpoints_makes_the_secret_malformed(credential: dict[str, Any]) -> None:
    inbound = {"token": CHECKED, "previous": credential | {"expires_at": "2030-01-31T12:00:00Z"}}
    document = samples.secret(inbound=inbound)
    document["xmatters"]["callback"] = credential
    relay = relay_of(noc=json.dumps(document))
    assert relay.webhook.serve(asking("noc", CHECKED, BIGPANDA)).status == 503
    [line] = relay.recorder.lines()
    assert "is also valid at BigPanda's endpoint" in line["detail"]
