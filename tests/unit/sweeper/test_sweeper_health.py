"""Sweeper: it tells people by name which channel is sick, and when it is well again."""

import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from relay.ledger.entry_key import key
from relay.ledger.wait import gate_of
from relay.sweeper.run import KEY, SweeperRun
from tests import samples
from tests.fakes import Clock, FakeSecrets, FakeSns, HookedDynamoDb, Relay, Step, new_relay, table_down, worked

ALARM = "arn:aws:sns:eu-central-1:000000000000:wake"
NOTICE = "arn:aws:sns:eu-central-1:000000000000:tomorrow"
DOWN = samples.refused(503, b"down")
REFUSED = ClientError({"Error": {"Code": "NotFound"}}, "Publish")


def watched(*steps: Step, **changes: Any) -> Relay:
    """Return a relay with both topics about channels' health: one for alarms, one for notices."""
    return new_relay(*steps, **{"alarm_topic_arn": ALARM, "notice_topic_arn": NOTICE} | changes)


def runs(relay: Relay, count: int = 1, seconds: float = 60.0) -> None:
    for _ in range(count):
        relay.sweep(seconds)


def told(sns: FakeSns) -> list[tuple[str, str]]:
    """Return topic and subject of the messages about health."""
    names = {ALARM: "alarm", NOTICE: "notice"}
    return [(names[each["TopicArn"]], each["Subject"]) for each in sns.published if each["TopicArn"] in names]


def texts(sns: FakeSns) -> list[str]:
    return [json.loads(each["Message"])["email"] for each in sns.published if each["TopicArn"] in {ALARM, NOTICE}]


def settle(relay: Relay, *names: str) -> None:
    """Take the debts of these incidents out of the ledger."""
    for name in names or ("i1",):
        place = key("noc", (), name)
        entry = relay.ledger.read(place)
        relay.ledger.write(
            place, entry, entry._replace(debt=entry.debt.settled()._replace(is_page_missing=False, row=None))
        )


def open_circuit(relay: Relay, channel: str = "noc", seconds: float = 100_000) -> None:
    relay.table.update(gate_of(channel), put={"open_until": relay.clock.now + seconds, "failures": 5})


def secrets(names: Iterable[str], **policy: Any) -> FakeSecrets:
    document = samples.secret(policy={"min_seconds_between_signals": 0} | policy)
    return FakeSecrets(**{name: json.dumps(document) for name in names})


class TestSick:
    def test_critical_owed_for_two_minutes_wakes_people_in_the_second_run(self) -> None:
        relay = watched(DOWN)
        relay.share()
        runs(relay, 2, 100)
        assert told(relay.sns) == []
        runs(relay)
        assert told(relay.sns) == [("alarm", "Channel noc is sick: 1 critical, 0 other incidents wait")]
        [text] = texts(relay.sns)
        assert "a critical is owed for 4m (" in text
        assert "relayctl status --channel noc" in text
        runs(relay, 30)
        assert len(told(relay.sns)) == 1

    def test_other_debt_is_told_on_the_notice_topic_after_fifteen_minutes(self) -> None:
        relay = watched(DOWN)
        relay.share(status="warning")
        runs(relay, 15)
        assert told(relay.sns) == []
        runs(relay, 3)
        assert told(relay.sns) == [("notice", "Channel noc is sick: 0 critical, 1 other incidents wait")]

    def test_refused_credentials_are_told_without_a_wait_for_the_age_of_the_debt(self) -> None:
        relay = watched(samples.refused(401))
        relay.share(status="warning")
        runs(relay, 2, 5)
        assert texts(relay.sns)[0].splitlines()[1] == "Why: xMatters refuses the credentials."

    def test_open_circuit_of_a_channel_that_owes_is_told(self) -> None:
        relay = watched(DOWN)
        relay.share(status="warning")
        open_circuit(relay)
        runs(relay, 2)
        assert "its circuit is open after 5 failures in a row" in texts(relay.sns)[0]

    def test_critical_signal_without_a_page_is_told_although_the_fallback_was_notified(self) -> None:
        relay = watched()
        relay.share()
        place = key("noc", (), "i1")
        entry = relay.ledger.read(place)
        relay.ledger.write(place, entry, entry._replace(debt=entry.debt.with_page_missing(relay.clock.now)))
        runs(relay)
        assert relay.entry().debt.is_page_missing is False, "the fallback topic was notified"
        runs(relay)
        assert told(relay.sns)[0][0] == "alarm"
        assert "1 critical signals made no page" in texts(relay.sns)[0]

    def test_sickness_that_gets_a_critical_wakes_people(self) -> None:
        relay = watched(DOWN)
        relay.share(id="i2", status="warning")
        open_circuit(relay)
        runs(relay, 2)
        relay.share(id="i1")
        runs(relay, 20)
        assert [topic for topic, _ in told(relay.sns)] == ["notice", "alarm"]


class TestWell:
    def sick(self) -> Relay:
        relay = watched(DOWN)
        relay.share()
        runs(relay, 20)
        assert len(told(relay.sns)) == 1
        return relay

    def test_well_again_is_told_on_the_notice_topic_after_five_runs(self) -> None:
        relay = self.sick()
        settle(relay)
        runs(relay, 4)
        assert len(told(relay.sns)) == 1
        runs(relay)
        assert told(relay.sns)[1:] == [("notice", "Channel noc is well again")]
        runs(relay, 60)
        assert len(told(relay.sns)) == 2
        assert json.loads(relay.dynamodb.items[KEY]["text"]["S"])["health"] == {}

    def test_restart_repeats_no_message(self) -> None:
        relay = self.sick()
        again = relay.other(DOWN)
        runs(again, 20)
        assert len(told(relay.sns)) == 1
        settle(again)
        runs(again, 20)
        assert [subject for _, subject in told(relay.sns)][1:] == ["Channel noc is well again"]

    def test_channel_is_not_judged_well_by_a_part_of_the_index(self) -> None:
        relay = self.sick()
        watch, run = relay.sweeper.health, SweeperRun.begin(relay.table, relay.clock.now)
        assert watch
        assert run
        for is_whole in (False, True):
            for _ in range(5):
                relay.clock.now += 60
                watch.judge(run, {}, relay.deadline(5), is_whole=is_whole)
            assert len(told(relay.sns)) == 1 + is_whole


class TestGivenUp:
    """A channel with a dead-lettered, unannounced critical is sick until that is replayed, overtaken or dropped."""

    LATER = 1_800_000_001

    def given_up(self, *steps: Step, **policy: Any) -> Relay:
        """Return a relay that gave up a critical, and told people that the channel is sick."""
        relay = watched(samples.refused(404), *steps, policy=policy)
        relay.share()
        runs(relay, 30)
        assert [topic for topic, _ in told(relay.sns)] == ["alarm"]
        return relay

    def test_channel_stays_sick_after_the_fallback_was_notified(self) -> None:
        relay = self.given_up()
        assert relay.entry().debt.is_notified
        assert told(relay.sns)[0][1] == (
            "Channel noc is sick: 0 critical, 0 other incidents wait; 1 critical, 0 other given up"
        )
        assert "Why: 1 critical was given up, and rang nobody." in texts(relay.sns)[0]
        runs(relay, 600)
        assert len(told(relay.sns)) == 1

    def replay(self, relay: Relay) -> None:
        [dead] = relay.dead_letters.jobs()
        worked(relay, dead)

    def resolve(self, relay: Relay) -> None:
        relay.share(status="ok", changedOn=self.LATER)

    def worsen(self, relay: Relay) -> None:
        relay.share(changedOn=self.LATER, alerts=["another"])

    def drop(self, relay: Relay) -> None:
        relay.ledger.change(key("noc", (), "i1"), lambda entry: entry.dropped(relay.clock.now))

    @pytest.mark.parametrize("end", [replay, resolve, worsen, drop])
    def test_channel_is_well_once_the_state_is_replayed_overtaken_or_dropped(
        self, end: "Callable[[TestGivenUp, Relay], None]"
    ) -> None:
        relay = self.given_up(samples.accepted())
        end(self, relay)
        runs(relay, 10)
        assert told(relay.sns)[1:] == [("notice", "Channel noc is well again")]

    def test_given_up_states_are_no_debts_in_logs_and_metrics(self) -> None:
        relay = self.given_up()
        before = len(relay.recorder.lines())
        assert relay.sweep()["owed"] == 0
        assert "channel owes signals" not in [line["message"] for line in relay.recorder.lines()[before:]]

    def test_given_up_warning_does_not_make_the_channel_sick(self) -> None:
        relay = watched(samples.refused(404))
        relay.share(status="warning")
        runs(relay, 30)
        assert told(relay.sns) == []


class TestManyChannels:
    def owing(self, count: int) -> Relay:
        names = [f"c{number}" for number in range(count)]
        relay = watched(DOWN, secrets=secrets(names))
        for number, name in enumerate(names):
            status = "critical" if number == 1 else "warning"
            relay.webhook.serve(samples.request(samples.body(id=f"i{number}", status=status), channel=name))
            open_circuit(relay, name)
        return relay

    def test_many_channels_that_get_sick_in_one_run_are_told_with_one_message(self) -> None:
        relay = self.owing(5)
        runs(relay, 5)
        assert told(relay.sns) == [("alarm", "5 channels are sick: 1 critical, 4 other incidents wait")]
        assert all(f"- c{number}: since " in texts(relay.sns)[0] for number in range(5))

    def test_few_channels_have_a_message_each_urgent_first(self) -> None:
        relay = self.owing(5 - 1)
        runs(relay, 5)
        assert [topic for topic, _ in told(relay.sns)] == ["alarm", "notice", "notice", "notice"]
        assert "Channel c1 is sick" in told(relay.sns)[0][1]


def test_states_that_cannot_be_read_do_not_stop_the_sweeper() -> None:
    relay = watched(DOWN)
    relay.share()
    relay.sweep(300)
    item = relay.dynamodb.items[KEY]
    document = json.loads(item["text"]["S"]) | {"health": {"noc": 7}, "expected": []}
    relay.dynamodb.items[KEY] = item | {"text": {"S": json.dumps(document)}}
    assert relay.sweep(60)["owed"] == 1
    runs(relay, 3)
    assert len(told(relay.sns)) == 1


class Hanging(FakeSns):
    """SNS whose topics about health hang."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock, self.calls = clock, 0

    def publish(self, **message: Any) -> dict[str, str]:
        if message["TopicArn"] in {ALARM, NOTICE}:
            self.calls += 1
            self.clock.now += 5
            raise EndpointConnectionError(endpoint_url="https://sns")
        return super().publish(**message)


class TestFailures:
    def test_refused_message_is_sent_again_by_the_next_run_and_counted(self) -> None:
        relay = watched(DOWN)
        relay.share(status="warning")
        open_circuit(relay)
        runs(relay)
        relay.sns.failure = REFUSED
        runs(relay, 2)
        assert relay.recorder.metrics()["health_failed"] == 2
        relay.sns.failure = None
        runs(relay, 3)
        assert len(told(relay.sns)) == 1
        assert relay.recorder.metrics()["health_failed"] == 2

    def test_topic_that_hangs_is_called_once_a_run_and_delays_neither_fallback_nor_healing(self) -> None:
        clock = Clock()
        sns = Hanging(clock)
        relay = watched(DOWN, clock=clock, sns=sns, secrets=secrets(["a", "b", "c"]))
        for name in ("a", "b", "c"):
            relay.webhook.serve(samples.request(samples.body(id=f"i-{name}"), channel=name))
        relay.retries.messages.clear()
        runs(relay)
        sns.calls = 0
        began = clock.now + 400
        assert relay.sweep(400) == {"owed": 3, "notified": 3, "healed": 3}
        runs(relay)
        assert sns.calls == 1
        assert clock.now - began < 120
        assert relay.recorder.metrics()["sweeper_heartbeat"] == 3

    def test_message_is_recorded_before_the_next_one_is_published(self) -> None:
        relay = TestManyChannels().owing(2)
        runs(relay)
        seen: list[int] = []
        publish = relay.sns.publish

        def spy(**message: Any) -> dict[str, str]:
            health = json.loads(relay.dynamodb.items[KEY]["text"]["S"])["health"]
            seen.append(sum("told" in each for each in health.values()))
            return publish(**message)

        relay.sns.publish = spy  # type: ignore[method-assign]
        runs(relay)
        assert seen == [0, 1]


class TestWithoutTopics:
    @pytest.mark.parametrize(("alarm", "notice"), [(NOTICE, ""), ("", NOTICE)])
    def test_single_topic_gets_all_messages(self, alarm: str, notice: str) -> None:
        relay = new_relay(DOWN, alarm_topic_arn=alarm, notice_topic_arn=notice)
        relay.share()
        runs(relay, 20)
        settle(relay)
        runs(relay, 6)
        assert [subject for _, subject in told(relay.sns)] == [
            "Channel noc is sick: 1 critical, 0 other incidents wait",
            "Channel noc is well again",
        ]


class Switch:
    """A fake dead man's switch that records the time limit of each heartbeat, in seconds."""

    def __init__(self) -> None:
        self.beats: list[float] = []

    def __call__(self, seconds: float) -> str:
        self.beats.append(seconds)
        return ""


class TestHeartbeat:
    def test_complete_run_calls_the_dead_mans_switch(self) -> None:
        switch = Switch()
        relay = new_relay(heartbeat=switch)
        runs(relay, 2)
        assert switch.beats == [2.0, 2.0]

    def test_failed_heartbeat_is_logged_and_counted_and_fails_nothing(self) -> None:
        relay = new_relay(heartbeat=lambda _: "HTTP 500")
        assert relay.sweep() == {"owed": 0, "notified": 0, "healed": 0}
        assert relay.recorder.metrics()["heartbeat_failed"] == 1

    def test_run_that_another_run_keeps_out_or_that_fails_sends_no_heartbeat(self) -> None:
        switch, dynamodb = Switch(), HookedDynamoDb()
        relay = new_relay(dynamodb=dynamodb, heartbeat=switch)
        dynamodb.before[("query", 1)] = table_down
        assert relay.sweep() == {}
        assert relay.sweep(1) == {}, "the lease of the failed run"
        assert switch.beats == []
