"""The last resort of the relay in the local cloud: the topic's subscriber, the phone, and the sweeper that notifies."""

import json
import uuid
from collections.abc import Mapping
from typing import Any

from sandbox.cloud.deployment import Deployment


class Subscriber:
    """A subscriber of the fallback topic, in place of people's phones and mailboxes."""

    def __init__(self, up: Deployment) -> None:
        self._sqs = up.client("sqs")
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
        self._sns = up.client("sns")
        topic = up.outputs["FallbackTopicArn"]
        self._arn = self._sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, ReturnSubscriptionArn=True)[
            "SubscriptionArn"
        ]
        self._told: list[dict[str, Any]] = []

    def hears(self, channel: str) -> list[dict[str, Any]]:
        """Return the messages about a channel so far, oldest first, each with `Subject` and `Message`."""
        for message in self._sqs.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10).get("Messages", []):
            self._told.append(json.loads(message["Body"]))
            self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
        return [each for each in self._told if _channel_of(each) == channel]

    def close(self) -> None:
        """Unsubscribe."""
        self._sns.unsubscribe(SubscriptionArn=self._arn)
        self._sqs.delete_queue(QueueUrl=self._url)


def _channel_of(message: Mapping[str, Any]) -> str | None:
    found: str | None = message.get("MessageAttributes", {}).get("channel", {}).get("Value")
    return found


def phone_messages(up: Deployment, kind: str) -> list[dict[str, str]]:
    """Return the calls to phones, or the texts, oldest first; `kind` is "call" or "text"."""
    return [each for each in up.asked("/_sandbox/messages") if each["kind"] == kind]


def sweep(up: Deployment) -> bool:
    """Run the sweeper at once, besides its schedule; return True if it ran."""
    answer = up.client("lambda").invoke(FunctionName=up.outputs["SweeperFunction"])
    return bool(json.load(answer["Payload"]))
