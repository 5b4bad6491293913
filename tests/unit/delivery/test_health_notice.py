"""Messages about sick channels: their topic, and what a reader learns from them."""

import json
from typing import Any

import pytest

from relay.delivery.channel_health import ChannelNotice, Debts, HealthTopics
from tests.fakes import FakeSns

NOW = 1_800_000_000.0
ALARM = "arn:aws:sns:eu-central-1:000000000000:wake"
NOTICE = "arn:aws:sns:eu-central-1:000000000000:tomorrow"
WHY = "a critical is owed for 2m (credentials 3)"
SICK = ChannelNotice("payments", NOW - 120, WHY, Debts(critical=3, other=4), is_urgent=True)
GIVEN_UP = Debts(critical=3, other=4, given_up=20, given_up_other=60)


def topics(sns: FakeSns, alarm: str = ALARM, notice: str = NOTICE) -> HealthTopics:
    client: Any = sns
    return HealthTopics(lambda: client, alarm, notice)


def published(*notices: ChannelNotice, health: str = "sick") -> dict[str, Any]:
    """Publish a message, and return it as SNS got it, with its texts by protocol."""
    sns = FakeSns()
    publish = topics(sns).sick if health == "sick" else topics(sns).well
    assert publish(notices, NOW)
    [message] = sns.published
    return message | {"Message": json.loads(message["Message"])}


@pytest.mark.parametrize(
    ("health", "words"),
    [
        (
            "sick",
            ("is sick since 2027-01-15T07:58:00.000Z (2m)", "3 critical, 4 other wait", "status --channel payments"),
        ),
        (
            "well",
            ("was sick since 2027-01-15T07:58:00.000Z (2m)", "20 critical, 60 other given up", "relayctl dlq list"),
        ),
    ],
)
def test_message_about_one_channel_says_since_when_why_what_waits_and_what_to_type(
    health: str, words: tuple[str, ...]
) -> None:
    message = published(SICK._replace(debts=SICK.debts if health == "sick" else GIVEN_UP), health=health)
    text = message["Message"]["email"]
    assert [each for each in (*words, WHY) if each not in text] == []
    assert (message["Message"]["default"], f"Channel payments is {health}" in message["Subject"]) == (text, True)
    assert message["Message"]["sms"].startswith(f"payments is {health}")
    attributes = {name: each["StringValue"] for name, each in message["MessageAttributes"].items()}
    assert attributes == {"channel": "payments", "health": health}


@pytest.mark.parametrize("health", ["sick", "well"])
@pytest.mark.parametrize("count", [1, 200])
def test_longest_messages_fit_into_what_sns_takes(count: int, health: str) -> None:
    longest = ChannelNotice("c" * 48, NOW, "x" * 5000, Debts(1_000_000, 1_000_000, 1_000_000, 1_000_000))
    message = published(*[longest] * count, health=health)
    assert len(message["Subject"]) < 100
    assert len(message["Message"]["sms"]) <= 140
    assert len(json.dumps(message)) < 256 * 1024
