"""Messages about sick channels: their topic, and what a reader learns from them."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from relay.delivery.channel_health import Debts
from relay.delivery.health_notice import MAX_DESCRIBED, ChannelNotice, HealthTopics
from relay.delivery.sns_topic import MAX_SMS, MAX_SUBJECT
from tests.fakes import FakeSns

NOW = 1_800_000_000.0
ALARM = "arn:aws:sns:eu-central-1:000000000000:wake"
NOTICE = "arn:aws:sns:eu-central-1:000000000000:tomorrow"
WHY = "a critical is owed for 2m (credentials 3)"
SICK = ChannelNotice("payments", NOW - 120, WHY, Debts(critical=3, other=4), is_urgent=True)


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


def test_message_names_channel_start_reason_incidents_and_command() -> None:
    message = published(SICK)
    assert message["Subject"] == "Channel payments is sick: 3 critical, 4 other incidents wait"
    assert message["Message"]["default"] == message["Message"]["email"]
    assert message["Message"]["email"].splitlines() == [
        "Channel payments is sick since 2027-01-15T07:58:00.000Z (2m).",
        "Why: a critical is owed for 2m (credentials 3).",
        "Incidents: 3 critical, 4 other wait.",
        "",
        "Type: relayctl status --channel payments",
        'What to do: docs/operate.md, "A channel is sick".',
    ]
    assert message["MessageAttributes"]["channel"]["StringValue"] == "payments"
    assert message["MessageAttributes"]["health"]["StringValue"] == "sick"


def test_message_of_a_well_channel_says_how_long_it_was_sick_and_why() -> None:
    message = published(SICK._replace(debts=Debts()), health="well")
    assert message["Subject"] == "Channel payments is well again"
    assert "It was sick since 2027-01-15T07:58:00.000Z (2m)." in message["Message"]["email"]
    assert f"Why it was sick: {WHY}." in message["Message"]["email"]
    assert "Type: relayctl status --channel payments" in message["Message"]["email"]


@pytest.mark.parametrize("health", ["sick", "well"])
def test_given_up_incidents_are_counted_apart_from_those_that_wait(health: str) -> None:
    debts = Debts(critical=3, other=4, given_up=20, given_up_other=60)
    counts = "3 critical, 4 other wait; 20 critical, 60 other given up"
    assert f"Incidents: {counts}." in published(SICK._replace(debts=debts), health=health)["Message"]["email"]
    many = published(*[SICK._replace(debts=debts)] * 5, health=health)["Message"]["email"]
    assert "Incidents: 15 critical, 20 other wait; 100 critical, 300 other given up." in many
    assert f"; {counts}; " in many


@pytest.mark.parametrize(
    ("health", "is_urgent", "topic"), [("sick", True, ALARM), ("sick", False, NOTICE), ("well", True, NOTICE)]
)
def test_only_urgent_sickness_goes_to_the_topic_that_wakes_people(health: str, is_urgent: bool, topic: str) -> None:
    assert published(SICK._replace(is_urgent=is_urgent), health=health)["TopicArn"] == topic


@pytest.mark.parametrize(("alarm", "notice", "topic"), [(ALARM, "", ALARM), ("", NOTICE, NOTICE)])
def test_only_topic_gets_all_messages(alarm: str, notice: str, topic: str) -> None:
    assert {topics(FakeSns(), alarm, notice).arn(is_urgent=each) for each in (True, False)} == {topic}


@pytest.mark.parametrize("health", ["sick", "well"])
def test_message_about_many_channels_names_each_and_has_no_channel_to_filter_by(health: str) -> None:
    notices = [SICK._replace(channel=f"c{number}", is_urgent=number == 1) for number in range(MAX_DESCRIBED + 2)]
    message = published(*notices, health=health)
    assert message["Subject"].startswith("52 channels are ")
    assert message["TopicArn"] == (ALARM if health == "sick" else NOTICE)
    assert message["MessageAttributes"].keys() == {"health"}
    text = message["Message"]["email"]
    assert f"- c0: since 2027-01-15T07:58:00.000Z; 3 critical, 4 other wait; {WHY}" in text
    assert "And 2 more channels." in text
    assert "relayctl status --channel c0" in text
    assert message["Message"]["sms"].endswith("c0, c1 and 50 more")


@pytest.mark.parametrize("health", ["sick", "well"])
@pytest.mark.parametrize("count", [1, 200])
def test_longest_messages_fit_into_what_sns_takes(count: int, health: str) -> None:
    longest = ChannelNotice("c" * 48, NOW, "x" * 5000, Debts(1_000_000, 1_000_000, 1_000_000, 1_000_000))
    message = published(*[longest] * count, health=health)
    assert len(message["Subject"]) <= MAX_SUBJECT
    assert len(message["Message"]["sms"]) <= MAX_SMS
    assert len(json.dumps(message)) < 256 * 1024


def test_refused_message_is_reported() -> None:
    sns = FakeSns()
    sns.failure = ClientError({"Error": {"Code": "NotFound"}}, "Publish")
    assert not topics(sns).sick([SICK], NOW)
    assert not topics(sns).well([SICK], NOW)
