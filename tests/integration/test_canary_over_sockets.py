"""Canary over real sockets: the sweeper posts to the webhook's URL, and the stand-in for xMatters notifies, or not."""

import json
from collections.abc import Iterator, Mapping
from functools import partial

import pytest
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.sns.models import sns_backends

from relay.channels.authentication import Request
from relay.http.client import HttpClient, post_share
from relay.http.session import Session
from sandbox.server.in_process import Box
from tests import samples
from tests.integration.account import REGION, Aws
from tests.integration.live import LOOPBACK, Live, Received, site

TRIGGER_AUTH = {"type": "url", "api_key": "url-key-0042"}
REST_AUTH = {"type": "basic", "username": "asker", "password": "canary-password"}
STEP = 60


@pytest.fixture
def live(box: Box, account: Aws) -> Iterator[Live]:
    """The relay with a canary that rings a user of the stand-in, and a webhook with a URL of its own."""
    box.events.declare(REST_AUTH)
    box.xmatters.people.declare({"people": [{"name": "Canary"}]})
    document = samples.secret(url=box.declare(TRIGGER_AUTH).url, policy={"canary": True})
    document["xmatters"] |= {"recipients": ["Canary"], "rest": {"base_url": box.xmatters_url, "auth": REST_AUTH}}
    account.put_secret("noc", document)
    notices = account.sns.create_topic(Name="notices")["TopicArn"]

    def serve(received: Received) -> tuple[int, Mapping[str, str], bytes]:
        channel = received.target.removeprefix("/v1/bigpanda/")
        request = Request(channel, received.headers, (), received.body.decode(), is_base64=False, id="r1")
        reply = relay.webhook.serve(request)
        return reply.status, {}, json.dumps(reply.document).encode()

    with site(serve) as api:
        post = partial(post_share, HttpClient(Session(LOOPBACK)), f"{api.url}/v1/bigpanda/{{channel}}")
        relay = Live(account, notice_topic_arn=notices, own_webhook=post)
        yield relay
        account.sns.delete_topic(TopicArn=notices)


def goes_on(live: Live, seconds: float) -> None:
    for _ in range(round(seconds / STEP)):
        live.sweeper.sweep()
        live.wake(STEP)


def told(live: Live) -> list[str]:
    """Return the subjects of all messages to the topic for notices."""
    topic = sns_backends[DEFAULT_ACCOUNT_ID][REGION].topics[live.notice_topic_arn]
    return [str(subject) for _, _, subject, *_ in topic.sent_notifications]


def test_outage_in_which_xmatters_notifies_nobody_is_told_within_an_hour_and_its_end(box: Box, live: Live) -> None:
    goes_on(live, 600)
    assert [json.loads(each.body_bytes)["incident"]["status"] for each in box.signals()] == ["critical", "ok"]
    assert [page.status for page in box.xmatters.pages.all()] == ["TERMINATED", "TERMINATED"]
    box.xmatters.workflow.set({"mode": "notifies_nobody"})
    # Nothing happens until the next canary.
    live.ahead += 2400
    goes_on(live, 900)
    assert told(live) == ["Channel noc is sick: 0 critical, 0 other incidents wait"]
    box.xmatters.workflow.set({"mode": "page"})
    live.ahead += 2100
    goes_on(live, 900)
    assert told(live)[1:] == ["Channel noc is well again"]
    assert live.aws.told() == []
