"""An owed critical notifies the stack's fallback topic once, and is delivered when xMatters accepts it."""

import json
import uuid
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from sandbox import local
from sandbox.cloud import queues
from sandbox.environment import REGION
from sandbox.server.client import StandIn
from tests.e2e import channels
from tests.e2e.channels import Channel
from tests.e2e.relayctl_operator import Operator
from tests.waiting import until

SETTINGS = (*channels.UNPACED, "policy.fallback_after_seconds=1")


class Subscriber:
    """A subscriber of the fallback topic."""

    def __init__(self, up: local.Local) -> None:
        self._sqs = queues.client(up)
        self._url = self._sqs.create_queue(QueueName=f"subscriber-{uuid.uuid4().hex[:8]}")["QueueUrl"]
        arn = self._sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": arn,
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self._sqs.set_queue_attributes(QueueUrl=self._url, Attributes={"Policy": policy})
        self._sns = boto3.client("sns", region_name=REGION, endpoint_url=up.aws_endpoint_url)
        topic = up.outputs["FallbackTopicArn"]
        self._arn = self._sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, ReturnSubscriptionArn=True)[
            "SubscriptionArn"
        ]
        self.told: list[dict[str, Any]] = []

    def hears(self) -> list[dict[str, Any]]:
        """Return the notifications so far, each with `Subject` and `Message`."""
        for message in self._sqs.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10).get("Messages", []):
            self.told.append(json.loads(message["Body"]))
            self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
        return self.told

    def close(self) -> None:
        """Unsubscribe."""
        self._sns.unsubscribe(SubscriptionArn=self._arn)
        self._sqs.delete_queue(QueueUrl=self._url)


@pytest.fixture
def subscriber(cloud: local.Local) -> Iterator[Subscriber]:
    its_subscriber = Subscriber(cloud)
    yield its_subscriber
    its_subscriber.close()


@pytest.fixture
def channel(cloud: local.Local, xmatters: StandIn) -> Channel:
    return channels.made(cloud, xmatters, SETTINGS)


def sweep(cloud: local.Local) -> bool:
    """Run the sweeper by hand, besides its schedule; return True if it ran."""
    functions = boto3.client("lambda", region_name=REGION, endpoint_url=cloud.aws_endpoint_url)
    answer = functions.invoke(FunctionName=cloud.outputs["SweeperFunction"])
    return bool(json.load(answer["Payload"]))


def test_owed_critical_notifies_the_fallback_topic_once_and_is_delivered_later(
    channel: Channel, operator: Operator, subscriber: Subscriber
) -> None:
    ids = {f"{operator.tag}-critical", f"{operator.tag}-warning"}
    # Messages that are moved to the retry queue are visible at once; those kept there are delayed.
    operator.script({"kind": "status", "status": 404, "times": len(ids)})
    for incident_id in sorted(ids):
        status = incident_id.partition("-")[2]
        answer = channel.post(json.dumps({"incident": {"id": incident_id, "status": status}}).encode())
        assert answer.json()["queue"] == "dead_letter"
    assert subscriber.hears() == []

    operator.listen(is_open=False)
    assert operator.redrive() == len(ids)
    until(lambda: sweep(channel.cloud) and len(subscriber.hears()) == 1)
    [message] = subscriber.told
    assert message["Subject"] == (
        f"CRITICAL, xMatters did not notify: incident {operator.tag}-critical of channel {channel.name}"
    )
    assert f"/incidents/{operator.tag}-critical" in message["Message"]
    assert message["MessageAttributes"]["channel"]["Value"] == channel.name
    assert (channel.signals(), queues.dead_letters(channel.cloud)) == ([], 0)

    operator.listen(is_open=True)
    until(lambda: {each["body"]["incident"]["id"] for each in channel.signals()} == ids)
    # The jobs kept at the time of the shares wake as well, and find nothing owed.
    until(lambda: queues.waiting(channel.cloud) == 0)
    assert len(channel.signals()) == len(ids)
    assert len(subscriber.hears()) == 1
    assert queues.dead_letters(channel.cloud) == 0
