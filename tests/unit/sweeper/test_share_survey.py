"""Silent channels: a policy expects shares, and none comes."""

import json
from copy import replace
from typing import Any

import pytest

from relay.failures.errors import ChannelUnreadable
from tests import samples
from tests.fakes import FakeSecrets, Relay, new_relay
from tests.unit.sweeper.test_sweeper_health import ALARM, NOTICE, runs, texts, told

HOUR = 3600.0
EVERY = 4 * HOUR


def expecting(**changes: Any) -> Relay:
    return new_relay(
        **{"alarm_topic_arn": ALARM, "notice_topic_arn": NOTICE, "policy": {"expect_share_every": EVERY}} | changes
    )


def share(relay: Relay) -> None:
    relay.webhook.serve(samples.request(samples.body(status="ok")))


def minutes(relay: Relay, hours: float) -> None:
    """Run the sweeper each minute for some hours."""
    runs(relay, round(hours * 60))


def test_channel_without_a_share_for_too_long_wakes_people() -> None:
    relay = expecting()
    share(relay)
    minutes(relay, 4)
    assert told(relay.sns) == []
    runs(relay, 3)
    assert told(relay.sns) == [("alarm", "Channel noc is sick: 0 critical, 0 other incidents wait")]
    assert "no share came for 4h, and one is expected every 4h" in texts(relay.sns)[0]


def test_channel_that_never_had_a_share_is_silent_from_the_first_run_on() -> None:
    relay = expecting()
    minutes(relay, 4)
    assert told(relay.sns) == []
    runs(relay, 5)
    assert len(told(relay.sns)) == 1


def test_share_with_a_rotated_credential_counts() -> None:
    relay = expecting()
    share(relay)
    minutes(relay, 3)
    document = samples.secret(policy={"expect_share_every": EVERY})
    document["inbound"] = {"token": "another-token-of-the-channel"}
    relay.secrets.texts["noc"] = json.dumps(document)
    relay.clock.now += 400
    relay.webhook.serve(
        samples.request(samples.body(status="ok"), headers={"authorization": "Bearer another-token-of-the-channel"})
    )
    minutes(relay, 3)
    assert told(relay.sns) == []


@pytest.mark.parametrize("change", ["policy", "channel"])
def test_removed_policy_or_channel_is_not_silent(change: str) -> None:
    relay = expecting()
    share(relay)
    minutes(relay, 3)
    if change == "policy":
        relay.secrets.texts["noc"] = json.dumps(samples.secret())
    else:
        del relay.secrets.texts["noc"]
    minutes(relay, 3)
    assert told(relay.sns) == []


def test_policies_are_read_once_an_hour() -> None:
    relay = new_relay(alarm_topic_arn=ALARM)
    minutes(relay, 5)
    assert len(relay.secrets.reads) == 5
    assert relay.credentials.calls == []


def test_channels_that_cannot_be_listed_are_listed_again_five_minutes_later() -> None:
    relay = expecting()
    assert relay.sweeper.health
    survey = relay.sweeper.health.survey
    asked: list[float] = []

    def names() -> list[str]:
        asked.append(relay.clock.now)
        raise ChannelUnreadable("Secrets Manager refused to list the channels")

    health = replace(relay.sweeper.health, survey=replace(survey, names=names))
    relay.sweeper = replace(relay.sweeper, health=health)
    runs(relay, 11)
    assert len(asked) == 3
    assert relay.recorder.metrics()["health_failed"] == 3
    assert relay.recorder.metrics()["sweeper_heartbeat"] == 11


def test_secret_that_cannot_be_read_does_not_make_a_silent_channel_well() -> None:
    relay = expecting()
    share(relay)
    minutes(relay, 4.2)
    assert len(told(relay.sns)) == 1
    again = relay.other()
    again.secrets.texts["noc"] = ChannelUnreadable("no")
    runs(again, 30)
    assert len(told(relay.sns)) == 1


def test_secret_that_cannot_be_read_does_not_repeat_the_survey() -> None:
    relay = new_relay(alarm_topic_arn=ALARM, secrets=FakeSecrets(bad=ChannelUnreadable("no")))
    minutes(relay, 2)
    assert relay.secrets.reads == ["bad"] * 4, "two surveys, and two probes of credentials"
