"""Fallback by the sweeper: the topic is notified once, in time, of a critical that is owed for too long."""

import json
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from relay.http.session import HttpAnswer
from relay.jobs.job import timestamp
from relay.ledger.credentials import change_mark
from relay.ledger.entry import entry_key
from relayctl.stack.last_resort import last_confirmation
from tests import samples
from tests.fake_dynamodb import FakeDynamoDb
from tests.fakes import Clock, HookedDynamoDb, Relay, new_relay
from tests.unit.xmatters_tenant import Tenant
from tests.unit.xmatters_tenant import new_relay as tenant_relay

DOWN = samples.refused(503, b"down")
SNS_DOWN = EndpointConnectionError(endpoint_url="https://sns.test")
LEDGER_DOWN = EndpointConnectionError(endpoint_url="https://dynamodb")


def subjects(relay: Relay) -> list[str]:
    """Return the subjects of the fallback messages, without their common beginning."""
    return [message["Subject"].removeprefix("CRITICAL, xMatters did not notify: ") for message in relay.sns.published]


def test_debt_that_was_settled_after_the_index_was_read_is_left_out() -> None:
    table = HookedDynamoDb()
    relay = new_relay(DOWN, DOWN, DOWN, samples.accepted(), dynamodb=table)
    relay.share()
    table.before["batch_get_item", 0] = lambda: relay.wake(0)
    relay.sweep(300)
    assert len(relay.session.calls) == 4
    assert subjects(relay) == []


@pytest.mark.parametrize("reply", [DOWN, samples.accepted()], ids=["owed", "unheard"])
def test_critical_that_eased_after_the_index_was_read_is_left_out(reply: HttpAnswer) -> None:
    table, xmatters = HookedDynamoDb(), samples.CALLBACK
    relay = new_relay(reply, DOWN, dynamodb=table, policy={"notified_within_seconds": 300}, xmatters=xmatters)
    relay.play("critical 0")
    table.before["batch_get_item", 0] = lambda: relay.play("warning")
    relay.sweep(300)
    assert subjects(relay) == []


def test_topic_is_told_at_once_of_a_critical_that_was_given_up_and_of_another_after_its_delay() -> None:
    relay = new_relay(samples.refused(400), DOWN)
    relay.share(id="given-up")
    relay.share(id="owed")
    told = []
    for seconds in (0, 240, 120):
        relay.sweep(seconds)
        told.append(len(relay.sns.published))
    assert told == [1, 1, 2]


def test_message_counts_the_overdue_criticals_that_it_does_not_name() -> None:
    relay = new_relay(DOWN)
    for number in range(12):
        relay.share(id=f"i{number}")
    relay.sweep(360)
    assert subjects(relay) == ["12 incidents of channel noc"]
    assert "And 2 more critical incidents." in relay.sns.published[0]["Message"]
    assert "phone" not in relay.recorder.written(), "there is none"


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("warning 15 critical 40", "", "made page 408002, and no device is known to have got it"),
        ("warning 40", "critical", "accepted its signal, and no device is known to have got it"),
        ("critical 40", "critical", "made page 408001, and no device is known to have got it"),
        ("critical 40 ok 15", "critical", "accepted its signal, and no device is known to have got it"),
    ],
)
def test_message_names_the_last_known_page_of_the_critical_alone(before: str, after: str, said: str) -> None:
    """Pages of what comes `after` are not known, since xMatters' REST API is down by then."""
    policy = {"notified_within_seconds": 300, "notify_on": ["opened", "reopened", "worsened", "grew", "resolved"]}
    relay = tenant_relay(Tenant(), policy=policy)
    relay.play(before, alerts=[{"id": "a1"}])
    relay.rest.steps = [DOWN]
    relay.play(f"{after} 10m", alerts=[{"id": "a1"}, {"id": "a2"}])
    assert f"xMatters {said}" in relay.sns.message()["Message"]["email"]


def test_message_about_an_owed_critical_tells_of_that_and_not_of_the_receipt_of_its_first_signal() -> None:
    policy = {"notified_within_seconds": 300, "notify_on": ["opened", "grew", "resolved"]}
    relay = new_relay(policy=policy, xmatters=samples.CALLBACK)
    relay.play("critical 60", alerts=[{"id": "a1"}])
    relay.session.steps = [DOWN]
    relay.play("critical 5m", alerts=[{"id": "a1"}, {"id": "a2"}])
    text = relay.sns.message()["Message"]["email"]
    assert ("owed since 2027-01-15T08:01:" in text, "accepted its signal" in text) == (True, False)


def test_message_about_a_critical_without_a_description_has_that_of_the_share_before_it() -> None:
    relay = new_relay(samples.accepted(), DOWN)
    relay.play("warning 5", description="disk is full")
    relay.play("critical 5m")
    assert '- Incident i1: "disk is full"' in relay.sns.message()["Message"]["email"]


def test_topic_is_not_told_of_a_critical_that_a_later_pause_of_its_environment_holds() -> None:
    relay = new_relay(DOWN)
    body = {"incident": {"id": "i1", "status": "critical"}, "metadata": {"environment": "staging"}}
    relay.share(json.dumps(body).encode())
    relay.change_policy(pauses=[samples.pause("keep", until=900, when={"environment": ["staging"]})])
    relay.sweep(600)
    assert subjects(relay) == []
    relay.sweep(600)
    assert subjects(relay) == ["incident i1 of channel noc"]


def test_topic_is_not_told_of_alerts_that_join_a_critical_while_its_next_signal_keeps_its_distance() -> None:
    policy = {"min_seconds_between_signals": 1800, "notify_on": ["opened", "grew", "resolved"]}
    relay = new_relay(policy=policy)
    relay.play("critical 60", alerts=[{"id": "a1"}])
    relay.session.steps = [DOWN]
    relay.play("critical", alerts=[{"id": "a1"}, {"id": "a2"}])
    relay.sweep_for(1680)
    assert subjects(relay) == []
    relay.sweep_for(480)
    assert subjects(relay) == ["incident i1 of channel noc"]


def test_topic_is_told_of_alerts_that_join_a_critical_while_each_signal_may_have_been_accepted() -> None:
    relay = new_relay(policy={"min_seconds_between_signals": 0, "notify_on": ["opened", "grew", "resolved"]})
    relay.play("critical 60", alerts=[{"id": "a1"}])
    relay.session.steps = [samples.refused(504)]
    relay.play("critical", alerts=[{"id": "a1"}, {"id": "a2"}])
    relay.sweep_for(480)
    assert subjects(relay) == ["incident i1 of channel noc"]


def test_critical_that_a_pause_holds_is_given_up_and_told_of_once_its_channel_is_removed() -> None:
    relay = new_relay()
    relay.change_policy(pauses=[samples.pause("keep", until=8 * 3600)])
    relay.play("critical")
    del relay.secrets.texts["noc"]
    change_mark(relay.credentials.table(relay.clock), "noc", "m1", relay.clock.now, revokes=True)
    relay.sweep_for(180, step=60)
    assert [job.stamps.reason for job in relay.dead_letters.jobs()] == ["channel_removed"]
    assert subjects(relay) == ["incident i1 of channel noc"]


def test_channel_whose_policy_there_is_no_time_to_read_keeps_that_of_its_last_copy() -> None:
    marks, names = HookedDynamoDb(), ("dba", "noc")
    relay = new_relay(DOWN, channels=names, policy={"fallback_after_seconds": 3600}, credentials=marks)
    for name in names:
        relay.post(name)
    marks.before["get_item", marks.calls.count("get_item")] = lambda: relay.clock.sleep(9)
    relay.sweep(600)
    assert subjects(relay) == []


class TestPhones:
    """Phones: called and texted once for all channels, after the topic, with its limits."""

    NUMBERS = ("+14255550100", "+14255550177")
    WAYS = (
        "call to phone 1 (ends in 00)",
        "text to phone 1 (ends in 00)",
        "call to phone 2 (ends in 77)",
        "text to phone 2 (ends in 77)",
    )

    def owing(self, *names: str) -> Relay:
        relay = new_relay(DOWN, channels=names, numbers=self.NUMBERS)
        for name in names:
            relay.post(name, id=f"{name}-1")
        return relay

    def line(self, relay: Relay) -> dict[str, Any]:
        [line] = [each for each in relay.recorder.lines() if "phone" in each["message"]]
        return line

    def test_phones_are_called_and_texted_once_after_the_messages_of_all_channels(self) -> None:
        names = [f"c{number:02}" for number in range(12)]
        relay = self.owing(*names)
        published: list[int] = []
        relay.messaging.before = lambda *_: published.append(len(relay.sns.published))
        assert relay.sweep(300)["notified"] == 12
        assert published == [12] * 4
        [of_call, of_text] = [text for _, number, _, text in relay.messaging.sent if number == self.NUMBERS[1]]
        told = "12 critical incidents of channel c00 and 11 more. Look at your e-mail."
        assert of_call.count(f"xMatters did not notify people of {told}") == 2
        assert of_text == ("CRITICAL c00 and 11 more: 12 critical incidents not notified by xMatters. Worst: c00-1")
        line = self.line(relay)
        assert (line["message"], line["channels"], line["count"]) == ("fallback phones called", names, 12)
        assert (line["accepted"], "failed" in line) == ([*self.WAYS], False)
        relay.sweep_for(900)
        assert len(relay.messaging.sent) == 4

    def test_phones_are_called_for_each_critical_of_which_nobody_is_notified(self) -> None:
        """Such a critical is told of once, so that a call that is left out never comes."""
        relay = new_relay(
            policy={"notified_within_seconds": 300},
            xmatters=samples.CALLBACK,
            numbers=self.NUMBERS[:1],
        )
        relay.post(id="i1", description="disk is full", alerts=[])
        relay.sweep_for(120)
        relay.post(id="i2", description="Größe", alerts=[])
        relay.sweep_for(600)
        told = [("disk is full" in text, "Größe" in text) for *_, text in relay.messaging.sent]
        assert told == [(True, False)] * 2 + [(False, True)] * 2

    def test_phones_are_called_although_a_topic_that_hangs_uses_up_the_time_for_messages(self) -> None:
        relay = self.owing("noc", "dba")

        def hang(_: object) -> None:
            relay.clock.now += 20
            raise SNS_DOWN

        relay.sns.before = hang
        relay.sweep(300)
        assert len(relay.messaging.sent) == 4

    @pytest.mark.parametrize("is_topic_down", [False, True])
    def test_phones_that_hang_leave_the_messages_to_be_repeated_after_five_minutes(self, is_topic_down: bool) -> None:
        relay = self.owing("noc")
        relay.messaging.before = lambda *_: relay.clock.sleep(6)
        relay.sns.failure = SNS_DOWN if is_topic_down else None
        assert relay.sweep(300)["notified"] == 1
        assert not relay.ledger.read(entry_key("noc", (), "noc-1")).debt.is_notified
        relay.sweep_for(240)
        assert len(relay.messaging.sent) == 4
        relay.messaging.before = lambda *_: None
        relay.sns.failure = None
        relay.sweep_for(120)
        assert (len(subjects(relay)), len(relay.messaging.sent)) == (1 if is_topic_down else 2, 8)

    def test_critical_of_which_no_way_could_tell_is_told_of_once_one_can(self) -> None:
        def refuse(*_: object) -> None:
            raise SNS_DOWN

        relay = self.owing("noc")
        relay.messaging.before, relay.sns.failure = refuse, SNS_DOWN
        relay.sweep_for(420)
        assert not relay.ledger.read(entry_key("noc", (), "noc-1")).debt.is_notified
        first = relay.recorder.lines("no fallback phone could be called about critical incidents")[0]
        assert first["failed"] == dict.fromkeys(self.WAYS, "EndpointConnectionError")
        relay.messaging.before, relay.sns.failure = lambda *_: None, None
        assert relay.sweep(60)["notified"] == 1
        assert len(subjects(relay)) == 1


class TestOfTheLastResort:
    """Test of the last resort, which `relayctl fallback test` asks the sweeper for."""

    def test_each_way_tells_another_number_and_one_that_fails_stops_no_other(self) -> None:
        relay = new_relay(numbers=("+14255550100",))

        def fail(kind: str, _: str) -> None:
            if kind == "call":
                raise EndpointConnectionError(endpoint_url="https://sms-voice.test/+14255550100")

        relay.messaging.before = fail
        found = relay.sweeper.handle({"fallback_test": {}})["ways"]
        assert {each["way"]: each["failure"] for each in found} == {
            "topic": "",
            "call to phone 1 (ends in 00)": "EndpointConnectionError",
            "text to phone 1 (ends in 00)": "",
        }
        assert "+14255550100" not in f"{found} {relay.recorder.written()}"
        numbers = {each["way"]: each["number"] for each in found}
        assert len({*numbers.values()}) == 3
        message = relay.sns.message()
        assert message["Subject"].startswith("TEST")
        said = f"The number is {numbers['topic']}."
        assert [message["Message"][each].count(said) for each in ("email", "sms")] == [1, 1]
        [(kind, *_, text)] = relay.messaging.sent
        number = numbers["text to phone 1 (ends in 00)"]
        assert (kind, text) == (
            "text",
            f"This is a test of the relay's last resort: nothing is wrong. The number is {number}.",
        )

    def test_call_says_its_number_digit_by_digit(self) -> None:
        relay = new_relay(numbers=("+14255550100",))
        _, called, _ = relay.sweeper.handle({"fallback_test": {}})["ways"]
        (*_, spoken), _ = relay.messaging.sent
        assert f"The number is {', '.join(called['number'])}." in spoken

    def test_topic_alone_is_tested_if_there_are_no_phones(self) -> None:
        found = new_relay().sweeper.handle({"fallback_test": {}})["ways"]
        assert [each["way"] for each in found] == ["topic"]

    def test_confirmed_ways_are_kept_with_their_time(self) -> None:
        relay = new_relay()
        assert last_confirmation(relay.table) is None
        relay.sweeper.handle({"fallback_test": {"confirmed": ["topic", "call to phone 1 (ends in 00)"]}})
        assert last_confirmation(relay.table) == (relay.clock.now, ("topic", "call to phone 1 (ends in 00)"))
        assert relay.sns.published == []


class TestWorkerWhileTheLedgerIsDown:
    """Ledger down: the sweeper sees no debt then, so the worker notifies the topic, at a limited rate."""

    def down(self, **changes: Any) -> Relay:
        relay = new_relay(DOWN, **changes)
        relay.dynamodb.failure = LEDGER_DOWN
        return relay

    def put(self, relay: Relay, name: str) -> None:
        """Put a job on the retry queue. The job found the ledger down just now."""
        job = samples.job(
            incident_id=name,
            body=samples.body(id=name),
            recipients=(),
            ledger_down_since=timestamp(relay.clock.now),
            received_at=timestamp(relay.clock.now),
        )
        relay.retries.queue().send(job)

    def test_worker_notifies_the_fallback_at_most_once_in_15_minutes_for_a_channel(self) -> None:
        relay = self.down(policy={"fallback_after_seconds": 60})
        self.put(relay, "i1")
        self.put(relay, "i2")
        relay.wake(60)
        assert len(subjects(relay)) == 1
        relay.wake(840)
        assert len(subjects(relay)) == 1
        relay.wake(60)
        assert len(subjects(relay)) == 2

    @pytest.mark.parametrize(("name", "mode"), [("i1", "shadow"), ("relay-canary-1", "live")])
    def test_worker_notifies_nobody_of_a_channel_in_shadow_mode_or_of_a_canary(self, name: str, mode: str) -> None:
        relay = self.down(policy={"fallback_after_seconds": 60, "mode": mode})
        self.put(relay, name)
        relay.wake(240)
        assert (subjects(relay), len(relay.retries.messages)) == ([], 1)


class Slow(FakeDynamoDb):
    """A table whose calls take 4 ms."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock

    def _called(self, name: str) -> None:
        super()._called(name)
        self.clock.now += 0.004


def test_500_channels_are_notified_within_90_seconds_of_the_time_at_which_they_are_due() -> None:
    clock, names = Clock(), [f"c{number}" for number in range(500)]
    relay = new_relay(DOWN, channels=names, clock=clock, dynamodb=Slow(clock))
    came = clock.now
    for name in names:
        relay.post(name)
        clock.now = came

    def takes(_: dict[str, Any]) -> None:
        # A read of the secret and the message take 30 ms each; ten of them run at once.
        clock.now += 0.006

    relay.sns.before = takes
    clock.now = came + 59
    while len(relay.sns.published) < 500:
        relay.sweep(60)
    assert clock.now - came < 300 + 90
