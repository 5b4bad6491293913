import json

import pytest

from relay.channels.api_gateway import Request
from relay.failures.errors import BadRequest, ChannelUnreadable
from tests import samples
from tests.fakes import FakeSession, Relay


class TestAdmit:
    @pytest.mark.parametrize(
        "request_",
        [
            samples.request(headers={}),
            samples.request(headers={"authorization": ""}),
            samples.request(headers={"authorization": "Basic !"}),
            samples.request(channel=""),
            samples.request(channel="../noc"),
            samples.request(channel="NOC"),
        ],
    )
    def test_impossible_request_is_refused_without_reading_a_secret(self, request_: Request) -> None:
        relay = Relay(FakeSession())
        with pytest.raises(BadRequest) as caught:
            relay.webhook.authenticator.authenticate(request_)
        assert caught.value.status == 401
        assert relay.secrets.reads == []

    def test_credentials_changed_two_seconds_ago_are_admitted_and_the_old_ones_refused(self) -> None:
        relay = Relay(FakeSession())
        relay.channels.get("noc")
        relay.secrets.texts["noc"] = json.dumps(samples.secret(inbound={"token": "new-token"}))
        new = samples.request(headers={"x-api-key": "new-token"})
        with pytest.raises(BadRequest):
            relay.webhook.authenticator.authenticate(new)
        relay.clock.now += 2
        assert relay.webhook.authenticator.authenticate(new).name == "noc"
        with pytest.raises(BadRequest):
            relay.webhook.authenticator.authenticate(samples.request())

    def test_credential_is_not_refused_while_the_secret_cannot_be_read(self) -> None:
        relay = Relay(FakeSession())
        relay.channels.get("noc")
        relay.secrets.texts["noc"] = ChannelUnreadable("down")
        relay.clock.now += 2
        new = samples.request(headers={"x-api-key": "new-token"})
        for _ in range(3):
            with pytest.raises(ChannelUnreadable):
                relay.webhook.authenticator.authenticate(new)
        assert relay.webhook.authenticator.authenticate(samples.request()).name == "noc"
