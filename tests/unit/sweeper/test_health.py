"""Sweeper: it tells people by name which channel is sick, and when it is well again."""

import json
from copy import replace
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from relay.failures import ChannelUnreadable, Reason, SendError
from relay.health.announcement import ChannelState, Told
from relay.health.judgement import ShareWatch
from relay.http.session import HttpAnswer
from relay.ledger.credentials import change_mark
from relay.ledger.rate_limit_and_circuit import gate_of
from relay.sweeper.canary import Canary
from relay.sweeper.credential_probe import PROBES_KEY
from relay.sweeper.run import SweeperRun
from tests import samples
from tests.fakes import FakeSecrets, FakeSession, FakeSns, HookedDynamoDb, Relay, Step, new_relay, table_down
from tests.unit.xmatters_tenant import REST

ALARM = "arn:aws:sns:eu-central-1:000000000000:alarm"
NOTICE = "arn:aws:sns:eu-central-1:000000000000:notice"
DOWN = samples.refused(503, b"down")


def watched(*steps: Step, **changes: Any) -> Relay:
    """Return a relay with both topics about channels' health: one for alarms, one for notices."""
    return new_relay(*steps, **{"alarm_topic_arn": ALARM, "notice_topic_arn": NOTICE} | changes)


def texts(sns: FakeSns) -> list[str]:
    return [json.loads(each["Message"])["email"] for each in sns.published if each["TopicArn"] in {ALARM, NOTICE}]


def open_circuit(relay: Relay, channel: str) -> None:
    relay.table.update(gate_of(channel), put={"open_until": relay.clock.now + 100_000, "failures": 5})


def test_many_channels_that_get_sick_in_one_run_are_told_with_one_message() -> None:
    names = [f"c{number}" for number in range(5)]
    relay = watched(DOWN, channels=names)
    for name in names:
        relay.post(name, id=name, status="critical" if name == "c1" else "warning")
        open_circuit(relay, name)
    relay.sweep_for(300)
    assert relay.sns.told() == [
        ("alarm", "5 channels are sick: 1 critical, 4 other incidents wait"),
        ("fallback", "CRITICAL, xMatters did not notify: incident c1 of channel c1"),
    ]
    assert all(f"- {name}: since " in texts(relay.sns)[0] for name in names)


def test_removed_channel_is_sick_until_its_states_are_given_up() -> None:
    relay = watched(DOWN)
    relay.share()
    del relay.secrets.texts["noc"]
    change_mark(relay.credentials.table(relay.clock), "noc", "m1", relay.clock.now, revokes=True)
    relay.dead_letters.failure = EndpointConnectionError(endpoint_url="x")
    relay.sweep_for(900)
    relay.dead_letters.failure = None
    relay.sweep_for(900)
    told = [subject for topic, subject in relay.sns.told() if topic != "fallback"]
    assert told == ["Channel noc is sick: 1 critical, 0 other incidents wait", "Channel noc is well again"]


def judged(relay: Relay, **members: Any) -> SweeperRun:
    """Let the watch judge all channels in a run that did not see all debts; return the run."""
    run = SweeperRun(0.0, is_whole=False, **members)
    assert relay.sweeper.health
    relay.sweeper.health.judge(run, {}, relay.deadline(8), paused=())
    return run


def test_run_that_does_not_see_all_debts_finds_sick_channels_and_judges_none_well() -> None:
    run = judged(watched(), canaries={"noc": Canary(failure="no page")}, health={"dba": ChannelState(sick_runs=1)})
    assert {name: (each.sick_runs, each.well_runs) for name, each in run.health.items()} == {
        "dba": (1, 0),
        "noc": (1, 0),
    }


def test_last_share_of_each_of_a_thousand_channels_is_read_before_one_counts_as_silent() -> None:
    relay = watched(policy={"expect_share_every": EVERY})
    relay.post()
    others = {f"c{number}": ShareWatch(EVERY, relay.clock.now) for number in range(999)}
    assert judged(relay, expected=others | {"noc": ShareWatch(EVERY, 0.0)}).health == {}


def test_of_too_many_sick_channels_those_are_watched_of_which_people_were_told_last() -> None:
    relay, told = watched(), Told.NOTICE
    run = judged(relay, health={f"c{at}": ChannelState(sick_runs=9, told=told, told_at=at) for at in range(301)})
    assert (len(run.health), "c0" in run.health, relay.recorder.metrics()["health_failed"]) == (300, False, 1)


def test_topic_that_fails_is_called_once_in_a_run() -> None:
    relay, calls = watched(DOWN, channels=("noc", "dba")), list[object]()
    relay.sns.before, relay.sns.failure = calls.append, RuntimeError()
    for name in ("noc", "dba"):
        relay.post(name, status="warning")
        open_circuit(relay, name)
    relay.sweep_for(120)
    assert (len(calls), relay.recorder.metrics()["health_failed"]) == (1, 1)


def test_fault_in_a_channel_is_logged_by_each_part_that_meets_it_and_stops_no_other_channel() -> None:
    relay = watched(DOWN, channels=("noc", "odd"))
    relay.post("odd")
    relay.secrets.texts["odd"] = RuntimeError()
    relay.post(status="warning")
    relay.clock.now += 900
    assert replace(relay).sweep()["owed"] == 2
    met = {each["frames"][0].rpartition(" ")[2] for each in relay.recorder.lines("crash")}
    assert met == {"_read_policy", "_channel", "_read"}


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
        relay.sweep_for(120)
        assert (switch.beats, "heartbeat_failed" in relay.recorder.metrics()) == ([2.0, 2.0], False)

    def test_run_that_used_up_its_time_sends_no_heartbeat_and_counts_that(self) -> None:
        switch = Switch()
        relay = new_relay(DOWN, heartbeat=switch)
        relay.post()
        relay.sns.before = lambda _: relay.clock.sleep(53)
        relay.sweep(300)
        assert (switch.beats, relay.recorder.metrics()["heartbeat_failed"]) == ([], 1)

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


NOW = 1_800_000_000.0
SICK: dict[str, Any] = {"reasons": ["its circuit is open"]}
URGENT = SICK | {"is_urgent": True}
WELL: dict[str, Any] = {}
PAUSED: dict[str, Any] = {"paused": True}


class Watch:
    """A channel that is judged each minute, and whose messages are all accepted."""

    def __init__(self) -> None:
        self.state, self.now = ChannelState(), NOW
        self.messages: list[tuple[int, str]] = []
        self.runs = 0

    def run(self, *findings: dict[str, Any], seconds: float = 60.0) -> None:
        for found in findings:
            self.now += seconds
            self.runs += 1
            self.state = self.state.judged(self.now, **found) if found != PAUSED else self.state.unjudged(self.now)
            if self.state.is_to_tell_sick(self.now):
                told = Told.ALARM if self.state.is_urgent else Told.NOTICE
                self.state = self.state.told_sick(told, self.now)
                self.messages.append((self.runs, told))
            elif self.state.is_to_tell_well(self.now):
                self.state = self.state.told_well(self.now)
                self.messages.append((self.runs, "well"))


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.mark.parametrize(
    ("findings", "messages"),
    [
        pytest.param([SICK], [], id="one run"),
        pytest.param([SICK] * 4, [(2, "notice")], id="second run"),
        pytest.param([SICK, WELL] * 60, [], id="single runs"),
        pytest.param([SICK] * 2 + [WELL] * 60, [(2, "notice"), (17, "well")], id="not before fifteen minutes"),
        pytest.param([SICK] * 30 + [WELL] * 5, [(2, "notice"), (35, "well")], id="after five runs"),
        pytest.param([SICK] * 2 + ([WELL] * 4 + [SICK]) * 30, [(2, "notice")], id="well for four runs"),
        pytest.param([SICK] * 2 + [URGENT] * 60, [(2, "notice"), (17, "alarm")], id="gets urgent"),
        pytest.param([URGENT] * 2 + [SICK] * 30 + [URGENT] * 30, [(2, "alarm")], id="urgent already"),
        pytest.param([SICK] * 2 + [URGENT] * 5 + [PAUSED] * 60, [(2, "notice")], id="gets urgent, and is paused"),
        pytest.param([SICK] * 2 + [PAUSED] * 60 + [WELL] * 5, [(2, "notice"), (67, "well")], id="well after a pause"),
    ],
)
def test_people_are_told_when_a_channel_gets_sick_urgent_or_well(
    watch: Watch, findings: list[dict[str, Any]], messages: list[tuple[int, str]]
) -> None:
    watch.run(*findings)
    assert watch.messages == messages


def test_sickness_that_nobody_was_told_of_does_not_count_for_the_next_one(watch: Watch) -> None:
    watch.run(SICK, WELL, SICK, SICK)
    assert watch.state.since == NOW + 180


HOUR = 3600.0
EVERY = 4 * HOUR


def test_paused_channel_is_not_told_well_by_a_sweeper_that_read_it_before_the_pause() -> None:
    relay = watched(DOWN, policy={"fallback_after_seconds": 86_400})
    relay.post()
    relay.sweep_for(960)
    # Another function reads the changed channel: its cache is not the sweeper's.
    webhook = relay.other(DOWN)
    webhook.change_policy(fallback_after_seconds=86_400, pauses=[samples.pause("keep", 900, 2 * HOUR)])
    webhook.post(status="ok", active=False, changedOn=int(relay.clock.now))
    webhook.wake(120)
    for _ in range(30):
        relay.sweep(60)
    assert "well" not in str(relay.sns.told())


def test_sick_channel_that_is_paused_is_told_well_again_only_after_the_pause() -> None:
    relay = watched(DOWN)
    relay.post()
    relay.sweep_for(600)
    relay.change_policy(pauses=[samples.pause("keep", 600, 2 * HOUR)])
    relay.sweep_for(HOUR)
    told = str(relay.sns.told())
    assert ("is sick" in told, "well" in told) == (True, False)
    relay.session.steps = [samples.accepted()]
    relay.sweep_for(2 * HOUR)
    assert relay.sns.told()[-1] == ("notice", "Channel noc is well again")


@pytest.mark.parametrize(("shares", "is_table_down"), [(1, False), (0, False), (0, True)])
def test_channel_without_a_share_for_too_long_wakes_people(shares: int, is_table_down: bool) -> None:
    relay = watched(policy={"expect_share_every": EVERY})
    for _ in range(shares):
        relay.post(status="ok")
    relay.credentials.failure = EndpointConnectionError(endpoint_url="x") if is_table_down else None
    relay.sweep(60)
    relay.credentials.failure = None
    relay.sweep_for(4 * HOUR - 60)
    assert relay.sns.told() == []
    relay.sweep_for(180)
    assert relay.sns.told() == [("alarm", "Channel noc is sick: 0 critical, 0 other incidents wait")]
    assert "no share came for 4h, and one is expected every 4h" in texts(relay.sns)[0]


def test_channel_is_not_silent_while_shares_come_although_its_token_was_rotated_since() -> None:
    relay = watched(policy={"expect_share_every": EVERY})
    for _ in range(3):
        relay.post(status="ok")
        relay.sweep_for(2.5 * HOUR)
    relay.edit_secret(lambda document: document["inbound"].update(token="another-token-1f0a"))
    relay.sweep_for(1.4 * HOUR)
    assert (relay.sns.told(), relay.recorder.metrics().get("crash")) == ([], None)


def test_silent_channel_does_not_count_as_well_while_a_new_process_cannot_read_its_secret() -> None:
    relay = watched(policy={"expect_share_every": EVERY})
    relay.post(status="ok")
    relay.sweep_for(5 * HOUR)
    unreadable = FakeSecrets(noc=ChannelUnreadable("Secrets Manager refused to read the secret"))
    new = replace(relay, secrets=unreadable)
    new.sweep_for(1 * HOUR)
    assert [kind for kind, _ in relay.sns.told()] == ["alarm"]


def test_channels_that_cannot_be_listed_are_listed_again_five_minutes_later() -> None:
    relay = watched(policy={"expect_share_every": EVERY})
    assert relay.sweeper.health
    probe = relay.sweeper.health.probe
    asked: list[float] = []

    def names() -> list[str]:
        asked.append(relay.clock.now)
        raise ChannelUnreadable("Secrets Manager refused to list the channels")

    health = replace(relay.sweeper.health, probe=replace(probe, tools=replace(probe.tools, names=names)))
    relay.sweeper = replace(relay.sweeper, health=health)
    relay.sweep_for(660)
    assert len(asked) == 3
    assert relay.recorder.metrics()["health_failed"] == 3
    assert [line["message"] for line in relay.recorder.lines()].count("swept") == 11


LISTED = HttpAnswer(200, {}, b'{"data": []}')
PAGE = HttpAnswer(200, {}, b'{"items": [], "total": 0}')
BIGPANDA: dict[str, Any] = {"api_key": "bigpanda-key-77e2", "environments": ["e1"]}


def probing(*, rest: Step = LISTED, bigpanda: Step = PAGE, **changes: Any) -> Relay:
    """Return a relay whose channel has access to both APIs, which answer so."""
    access = {"xmatters": {"rest": REST}, "access": BIGPANDA}
    return watched(rest=FakeSession(rest), bigpanda=FakeSession(bigpanda), **access | changes)


def calls(relay: Relay) -> tuple[int, int]:
    return len(relay.rest.calls), len(relay.bigpanda.calls)


class TestRequests:
    def test_each_api_is_asked_once_an_hour_with_a_get_and_no_trigger_is_called(self) -> None:
        relay = probing()
        relay.sweep_for(3 * HOUR)
        assert calls(relay) == (3, 3)
        assert {call.method for call in [*relay.rest.calls, *relay.bigpanda.calls]} == {"GET"}
        assert relay.rest.calls[0].url == "https://acme.xmatters.com/api/xm/1/events?limit=1"
        assert relay.bigpanda.calls[0].url.endswith("/resources/v2.0/environments/e1/incidents?page_size=1")
        assert relay.session.calls == []
        assert relay.sns.told() == []

    def test_run_probes_a_bounded_number_of_channels_and_each_has_its_turn(self) -> None:
        names = [f"channel{number:02}" for number in range(3 * 10)]
        relay = probing(channels=names)
        for name in names:
            relay.secrets.texts[name] = str(relay.secrets.texts[name]).replace("rest-pw", f"rest-pw-{name}")
        for expected in (10, 20, 30, 30):
            relay.sweep_for(60)
            assert len(relay.rest.calls) == expected
        assert len({call.headers["Authorization"] for call in relay.rest.calls}) == 30


class TestRefused:
    @pytest.mark.parametrize("status", [401, 403])
    @pytest.mark.parametrize(
        ("api", "why"),
        [
            ("rest", "xMatters refuses xmatters.rest (type: relayctl channel rotate noc rest)"),
            ("bigpanda", "BigPanda refuses bigpanda.api_key (type: relayctl channel rotate noc bigpanda)"),
        ],
    )
    def test_refused_credential_makes_the_channel_sick_and_wakes_nobody(self, api: str, why: str, status: int) -> None:
        answer = samples.refused(status, b'{"errors": ["no"]}')
        relay = probing(rest=answer) if api == "rest" else probing(bigpanda=answer)
        relay.sweep_for(5 * HOUR)
        assert relay.sns.told() == [("notice", "Channel noc is sick: 0 critical, 0 other incidents wait")]
        assert f"Why: {why}." in texts(relay.sns)[0]
        [kept] = [item["text"]["S"] for name, item in relay.dynamodb.items.items() if name == PROBES_KEY]
        assert [*json.loads(kept)["channels"]["noc"][1]] == [api]
        assert not [each for each in ("rest-pw", BIGPANDA["api_key"]) if each in kept]

    def test_credential_that_the_vendor_takes_again_unchanged_makes_the_channel_well_within_ten_minutes(self) -> None:
        relay = probing(rest=samples.refused(403))
        relay.sweep_for(HOUR / 2)
        relay.rest.steps = [LISTED]
        relay.sweep_for(HOUR / 3)
        assert [text.partition(":")[0] for _, text in relay.sns.told()] == [
            "Channel noc is sick",
            "Channel noc is well again",
        ]

    def test_refused_credential_is_no_less_refused_while_the_secret_cannot_be_read(self) -> None:
        relay = probing(rest=samples.refused(401))
        relay.sweep_for(HOUR)
        unreadable = FakeSecrets(noc=ChannelUnreadable("Secrets Manager refused to read the secret"))
        replace(relay, secrets=unreadable).sweep_for(2 * HOUR)
        relay.sweep_for(180)
        assert [text for _, text in relay.sns.told()] == ["Channel noc is sick: 0 critical, 0 other incidents wait"]

    @pytest.mark.parametrize(
        "answer",
        [
            *(samples.refused(429), DOWN, samples.refused(404), HttpAnswer(200, {}, b"<html>log in</html>")),
            *(SendError(Reason.TIMEOUT, "no answer"), SendError(Reason.UNREACHABLE, "cut")),
        ],
    )
    def test_other_answers_change_nothing(self, answer: Step) -> None:
        relay = probing(rest=answer, bigpanda=answer)
        relay.sweep_for(2 * HOUR)
        assert relay.sns.told() == []
        assert calls(relay) == (2, 2)
        relay.rest.steps, relay.bigpanda.steps = [samples.refused(401)], [samples.refused(401)]
        relay.sweep_for(HOUR)
        assert len(relay.sns.told()) == 1
        relay.rest.steps, relay.bigpanda.steps = [answer], [answer]
        relay.sweep_for(3 * HOUR)
        assert len(relay.sns.told()) == 1, "still sick"
        relay.edit_secret(lambda document: document["xmatters"]["rest"]["auth"].update(password="another-pw"))
        relay.edit_secret(lambda document: document["bigpanda"].update(api_key="another-key-9d01"))
        relay.sweep_for(HOUR)
        assert len(relay.sns.told()) == 1, "the new credentials are not known to be accepted"
        relay.rest.steps, relay.bigpanda.steps = [LISTED], [HttpAnswer(200, {}, b"[]")]
        relay.sweep_for(2 * HOUR)
        assert relay.sns.told()[1:] == [("notice", "Channel noc is well again")]
