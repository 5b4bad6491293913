"""Probe of credentials: once an hour each channel's credentials for the vendors' APIs are tried, without a page."""

import json
from collections.abc import Callable
from copy import replace
from typing import Any

import pytest

from relay.failures.errors import ChannelUnreadable, NoAnswer
from relay.failures.reasons import Reason
from relay.http.client import basic
from relay.http.session import HttpAnswer
from relay.sweeper.credential_probe import PROBES_KEY, read_probes
from tests import samples
from tests.fakes import Call, FakeSecrets, FakeSession, Relay, Step, new_relay
from tests.unit.sweeper.test_sweeper_health import ALARM, DOWN, NOTICE, runs, texts, told

HOUR = 60
PAUSE = {"since": "2027-01-14T00:00:00+00:00", "until": "2027-01-20T00:00:00+00:00", "then": "keep"}
LISTED = HttpAnswer(200, {}, b'{"data": []}')
PAGE = HttpAnswer(200, {}, b'{"items": [], "total": 0}')
REST = {"base_url": "https://acme.xmatters.com", "auth": samples.BASIC}
BIGPANDA = {"api_key": "bigpanda-key-77e2", "environments": ["e1"]}


def document(*, rest: dict[str, Any] | None = REST, bigpanda: dict[str, Any] | None = BIGPANDA, **members: Any) -> str:
    found = samples.secret(**members)
    if rest:
        found["xmatters"] |= {"rest": rest}
    return json.dumps(found | ({"bigpanda": bigpanda} if bigpanda else {}))


def probing(*, rest: Step = LISTED, bigpanda: Step = PAGE, **changes: Any) -> Relay:
    """Return a relay with both health topics, whose channel has access to both APIs. They answer as the test says."""
    parts: dict[str, Any] = {"alarm_topic_arn": ALARM, "notice_topic_arn": NOTICE}
    parts |= {"rest": FakeSession(rest), "bigpanda": FakeSession(bigpanda)}
    return new_relay(**parts | {"secrets": FakeSecrets(noc=document())} | changes)


def calls(relay: Relay) -> tuple[int, int]:
    """Return the number of calls of xMatters' REST API and of BigPanda's API."""
    return len(relay.rest.calls), len(relay.bigpanda.calls)


class TestRequests:
    def test_each_api_is_asked_once_an_hour_with_a_get_and_no_trigger_is_called(self) -> None:
        relay = probing()
        runs(relay, 3 * HOUR)
        assert calls(relay) == (3, 3)
        assert {call.method for call in [*relay.rest.calls, *relay.bigpanda.calls]} == {"GET"}
        assert relay.rest.calls[0].url == "https://acme.xmatters.com/api/xm/1/events?limit=1"
        assert relay.bigpanda.calls[0].url.endswith("/resources/v2.0/environments/e1/incidents?page_size=1")
        assert relay.session.calls == []
        assert told(relay.sns) == []

    def test_run_probes_a_bounded_number_of_channels_and_each_has_its_turn(self) -> None:
        names = [f"channel{number:02}" for number in range(3 * 10)]
        logins = {name: {**samples.BASIC, "username": name} for name in names}
        secrets = FakeSecrets(**{each: document(rest=REST | {"auth": logins[each]}) for each in names})
        relay = probing(secrets=secrets)
        for expected in (10, 20, 30, 30):
            runs(relay)
            assert len(relay.rest.calls) == expected
        assert len({call.headers["Authorization"] for call in relay.rest.calls}) == 30

    def test_key_that_channels_share_is_probed_once_for_all(self) -> None:
        relay = probing(secrets=FakeSecrets(a=document(), b=document(), c=document()), bigpanda=samples.refused(401))
        runs(relay, 3)
        assert calls(relay) == (1, 1)
        assert {each[1].split()[1] for each in told(relay.sns)} == {"a", "b", "c"}

    @pytest.mark.parametrize("bigpanda", [None, {"api_key": "bigpanda-key-77e2"}])
    def test_channel_without_a_credential_that_can_be_probed_causes_no_request(self, bigpanda: Any) -> None:
        relay = probing(secrets=FakeSecrets(noc=document(rest=None, bigpanda=bigpanda)))
        runs(relay, 2 * HOUR)
        assert calls(relay) == (0, 0)

    def test_run_without_time_probes_nothing(self) -> None:
        relay = probing()
        relay.session.steps = [DOWN]
        relay.share()
        publish = relay.sns.publish

        def slow(**message: Any) -> dict[str, str]:
            relay.clock.now += 52
            return publish(**message)

        relay.sns.publish = slow  # type: ignore[method-assign]
        runs(relay, 1, 700)
        assert len(relay.sns.published) == 1, "the fallback topic was notified"
        assert calls(relay) == (0, 0)


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
        answer = samples.refused(status)
        relay = probing(rest=answer) if api == "rest" else probing(bigpanda=answer)
        runs(relay, 5 * HOUR)
        assert told(relay.sns) == [("notice", "Channel noc is sick: 0 critical, 0 other incidents wait")]
        assert f"Why: {why}." in texts(relay.sns)[0]

    @pytest.mark.parametrize(
        "answer",
        [
            *(samples.refused(429), DOWN, samples.refused(404), HttpAnswer(200, {}, b"<html>log in</html>")),
            *(NoAnswer(Reason.TIMEOUT, "no answer"), NoAnswer(Reason.UNREACHABLE, "cut")),
        ],
    )
    def test_other_answers_change_nothing(self, answer: Step) -> None:
        relay = probing(rest=answer, bigpanda=answer)
        runs(relay, 2 * HOUR)
        assert told(relay.sns) == []
        assert calls(relay) == (2, 2)
        relay.rest.steps, relay.bigpanda.steps = [samples.refused(401)], [samples.refused(401)]
        runs(relay, HOUR)
        assert len(told(relay.sns)) == 1
        relay.rest.steps, relay.bigpanda.steps = [answer], [answer]
        runs(relay, 3 * HOUR)
        assert len(told(relay.sns)) == 1, "still sick"

    def test_rotated_credential_is_probed_without_a_wait_for_the_hour(self) -> None:
        relay = probing(rest=_by_user("new"))
        runs(relay, 10)
        assert calls(relay) == (1, 1)
        relay.secrets.texts["noc"] = document(rest=REST | {"auth": {**samples.BASIC, "username": "new"}})
        runs(relay, 20)
        assert len(relay.rest.calls) == 2
        assert [subject for _, subject in told(relay.sns)][1:] == ["Channel noc is well again"]

    @pytest.mark.parametrize("change", ["credential", "channel"])
    def test_removed_credential_or_channel_is_not_sick(self, change: str) -> None:
        relay = probing(rest=samples.refused(401))
        runs(relay, 30)
        if change == "credential":
            relay.secrets.texts["noc"] = document(rest=None)
        else:
            del relay.secrets.texts["noc"]
        runs(relay, 3 * HOUR)
        assert [subject for _, subject in told(relay.sns)][1:] == ["Channel noc is well again"]
        assert len(relay.rest.calls) == 1
        if change == "channel":
            assert read_probes(relay.table, relay.clock.now).channels == {}

    def test_secret_that_cannot_be_read_does_not_make_the_channel_well(self) -> None:
        relay = probing(rest=samples.refused(401))
        runs(relay, 30)
        again = relay.other()
        again.secrets.texts["noc"] = ChannelUnreadable("no")
        runs(again, 2 * HOUR)
        assert len(told(relay.sns)) == 1

    def test_refusal_of_an_old_copy_tells_nobody(self) -> None:
        relay = probing(rest=_by_user("new"))
        relay.channels.get("noc")
        relay.secrets.texts["noc"] = document(rest=REST | {"auth": {**samples.BASIC, "username": "new"}})
        runs(relay, 2 * HOUR)
        assert told(relay.sns) == []


class TestRecord:
    def test_item_has_no_credential(self) -> None:
        relay = probing(rest=samples.refused(401), bigpanda=samples.refused(401))
        runs(relay)
        [text] = [item["text"]["S"] for name, item in relay.dynamodb.items.items() if name == PROBES_KEY]
        assert set(json.loads(text)["channels"]["noc"][1]) == {"rest", "bigpanda"}
        assert samples.BASIC["password"] not in text
        assert BIGPANDA["api_key"] not in text

    @pytest.mark.parametrize("text", ["", "[]", '{"channels": 1}', '{"listed_at": 0, "channels": {"noc": "no"}}'])
    def test_item_that_cannot_be_read_is_written_anew(self, text: str) -> None:
        relay = probing()
        relay.table.store(PROBES_KEY, text, lasts=3600)
        runs(relay)
        assert calls(relay) == (1, 1)

    def test_failed_list_is_repeated_after_five_minutes(self) -> None:
        relay = probing()
        asked: list[float] = []

        def names() -> list[str]:
            asked.append(relay.clock.now)
            raise ChannelUnreadable("Secrets Manager refused to list the channels")

        assert relay.sweeper.health
        probe = replace(relay.sweeper.health.probe, names=names)
        relay.sweeper = replace(relay.sweeper, health=replace(relay.sweeper.health, probe=probe))
        runs(relay, 11)
        assert len(asked) == 3
        assert relay.recorder.metrics()["health_failed"] == 3


def _by_user(name: str) -> Callable[[Call], HttpAnswer]:
    """Return a function that answers requests of one user name with a success, and all others with 401."""
    header = basic(name, samples.BASIC["password"])
    return lambda call: LISTED if call.headers["Authorization"] == header else samples.refused(401)
