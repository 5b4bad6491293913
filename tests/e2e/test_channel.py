"""Shares, `relayctl channel rotate` and `channel test --ring` through the deployed relay."""

import base64
import json
import uuid

import pytest

from sandbox import local, team
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


def test_channel_test_ring_reaches_the_recipients_and_its_page_ends(
    xmatters: StandIn, operator: Operator, channel: Channel
) -> None:
    rest = json.dumps({"base_url": xmatters.xmatters_url, "auth": team.REST_AUTH})
    operator.run("channel", "set", channel.name, "--set", f"xmatters.rest={rest}", "--recipient", "jdoe")
    document = operator.run_json("channel", "test", channel.name, "--ring", "--yes")
    states = {each["check"]: each["state"] for each in document["checks"]}
    assert (states["xMatters REST API"], states["recipient jdoe"], states["its end"]) == ("ok", "ok", "ok")
    opened, ended = (signal["body"]["incident"] for signal in channel.signals())
    assert (opened["status"], ended["status"]) == ("warning", "ok")
    assert states[f"test incident {opened['id']}"] == "ok"


@pytest.mark.parametrize(
    "body",
    [
        b'{"incident": {"id": "e2e-1"}}',
        b'\r\n{ "incident":\t{"id":"e2e-2","x":"\xc3\xa9\xf0\x9f\x98\x80\\u00e9"} }\r\n',
        b'{"id": "first", "id": "e2e-3"}',
    ],
)
def test_share_reaches_xmatters_byte_for_byte_through_the_deployed_api(channel: Channel, body: bytes) -> None:
    answer = channel.post(body, query="?recipients=On%20Call%20%26%20DBA,jdoe")
    assert (answer.status_code, answer.json()["outcome"]) == (200, "delivered")
    [signal] = channel.signals()
    assert base64.b64decode(signal["body_base64"]) == body
    assert signal["recipients"] == ["On Call & DBA", "jdoe"]
    assert signal["request_id"] == answer.json()["request_id"]
