"""Rotation of a credential in the local cloud: warm functions accept the new token and the old one."""

import uuid

import pytest

from sandbox import local
from sandbox.server.client import StandIn
from tests import samples
from tests.e2e import channels
from tests.e2e.channels import Channel
from tests.e2e.relayctl_operator import Operator
from tests.waiting import until


@pytest.fixture
def channel(cloud: local.Local, xmatters: StandIn) -> Channel:
    return channels.made(cloud, xmatters)


def share(channel: Channel, token: str) -> int:
    headers = {"x-api-key": token, "content-type": "application/json"}
    return channel.post(samples.body(id=uuid.uuid4().hex), headers).status_code


def test_warm_function_accepts_the_new_and_the_old_token_once_channel_rotate_returns(
    operator: Operator, channel: Channel
) -> None:
    def rotate() -> str:
        document = operator.run_json("channel", "rotate", channel.name, "inbound")
        assert document["verified"] is True
        return str(document["headers"][0]["value"].removeprefix("Bearer "))

    def retire() -> None:
        assert operator.run_json("channel", "rotate", channel.name, "inbound", "--retire", "--now")["retired"] is True

    first = rotate()
    retire()
    assert share(channel, first) == 200, "the function is warm, and has the secret"
    second = rotate()
    assert (share(channel, second), share(channel, first)) == (200, 200)
    retire()
    third = rotate()
    retire()
    # Functions learn of it within ten seconds.
    until(lambda: share(channel, second) == 401)
    assert share(channel, third) == 200
