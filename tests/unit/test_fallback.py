import json
import re
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from hypothesis import given
from hypothesis import strategies as st

from relay.fallback import MAX_WORDS, MINUTE, Fallback, Told, Unconfirmed
from tests import samples
from tests.fakes import Clock, FakeSns, Meddled, table_down

TOPIC = "arn:aws:sns:eu-central-1:000000000000:fallback"
REFUSED = ClientError({"Error": {"Code": "AuthorizationError", "Message": "no"}}, "Publish")


@dataclass
class Desk:
    """A fallback on fakes."""

    sns: FakeSns = field(default_factory=FakeSns)
    dynamodb: Meddled = field(default_factory=Meddled)
    clock: Clock = field(default_factory=Clock)
    clients: int = 0

    def __post_init__(self) -> None:
        self.fallback = Fallback(self._client, TOPIC, self.dynamodb.table(self.clock), self.clock)

    def _client(self) -> Any:
        self.clients += 1
        return self.sns

    def tell(self, incident_id: str = "i1", **changes: Any) -> bool:
        """Whether it was told, or counted."""
        return self.fallback.tell(samples.job(incident_id=incident_id, **changes)) != Told.NOT

    def flush(self, incident_id: str = "i1") -> bool:
        return self.fallback.flush(samples.job(incident_id=incident_id))

    def told(self) -> list[str]:
        """The incidents of the messages, and how many more each speaks of."""
        return [
            "".join(re.findall(r"incident (\S+) (?:is critical|of channel)", message["Message"]))
            + "".join(f"; {more}" for more in re.findall(r"(?:And )?\d+ more critical", message["Message"]))
            for message in self.sns.published
        ]


def and_more(count: int) -> str:
    return f"; And {count} more critical"


def counted(count: int) -> str:
    return f"; {count} more critical"


DISK_FULL = samples.body(alerts=[{"id": "a1", "description": "disk full"}])


class TestWholeMessages:
    def test_owed_for_too_long(self) -> None:
        desk = Desk()
        assert desk.tell(body=DISK_FULL)
        assert desk.sns.published == [
            {
                "TopicArn": TOPIC,
                "Subject": "CRITICAL, xMatters not reached: incident i1",
                "Message": "BigPanda incident i1 is critical, and xMatters has not accepted its signal.\n"
                "It says: disk full\n"
                "Channel: noc; recipients: Network Operations\n"
                "Owed since: 2027-01-15T08:00:00.000Z; last reason: upstream\n"
                "In BigPanda: https://a.bigpanda.io/#/app/overview/all/active/incidents/i1\n"
                "Notify the recipients by other means now.\n"
                "The relay goes on trying, so the page may still come.\n"
                "What to do: docs/operate.md, FallbackAlarm.",
            }
        ]

    def test_owed_and_dead_lettered(self) -> None:
        desk = Desk()
        assert desk.fallback.tell(samples.job(reason="refused"), is_given_up=True) == Told.TOLD
        assert desk.sns.published[0]["Message"].splitlines()[-3:] == [
            "Notify the recipients by other means now.",
            "The relay has given up: the job is in the dead-letter queue (relayctl dlq list).",
            "What to do: docs/operate.md, FallbackAlarm.",
        ]

    def test_owed_and_never_failed_names_no_reason(self) -> None:
        desk = Desk()
        desk.tell(reason="in_flight")
        assert "Owed since: 2027-01-15T08:00:00.000Z" in desk.sns.published[0]["Message"].splitlines()

    def test_accepted_and_unconfirmed(self) -> None:
        desk = Desk()
        job = samples.job(body=DISK_FULL, reason="in_flight")
        assert desk.fallback.tell(job, unconfirmed=Unconfirmed(("r1", "r2"))) == Told.TOLD
        assert desk.sns.published == [
            {
                "TopicArn": TOPIC,
                "Subject": "CRITICAL, no page made: incident i1",
                "Message": "xMatters accepted the signal for the critical BigPanda incident i1, and made no page of it "
                "within three minutes.\n"
                "Perhaps nobody was notified.\n"
                "It says: disk full\n"
                "Channel: noc; recipients: Network Operations\n"
                "Received: 2027-01-15T08:00:00.000Z; xMatters' request id: r1, r2\n"
                "In BigPanda: https://a.bigpanda.io/#/app/overview/all/active/incidents/i1\n"
                "Is somebody on it? If not, notify the recipients by other means now.\n"
                "The relay does not send the signal again.\n"
                "What to do: docs/operate.md, UnconfirmedAlarm.",
            }
        ]

    def test_one_more_line_for_incidents_that_were_only_counted(self) -> None:
        desk = Desk()
        for number in range(3):
            desk.tell(f"i{number}")
        desk.clock.now += MINUTE
        desk.tell("i3")
        line = "And 2 more critical incidents that xMatters has not accepted, or made no page of."
        assert desk.sns.published[1]["Message"].splitlines()[4] == line

    def test_incidents_that_were_only_counted(self) -> None:
        desk = Desk()
        for number in range(3):
            desk.tell(f"i{number}")
        desk.clock.now += MINUTE
        desk.flush("i2")
        assert desk.sns.published[1:] == [
            {
                "TopicArn": TOPIC,
                "Subject": "CRITICAL, 2 more not brought to people by xMatters",
                "Message": "2 more critical incidents since the last message: "
                "xMatters has not accepted them, or made no page.\n"
                "One of them may be incident i2 of channel noc.\n"
                "Notify people by other means now.\n"
                "The worker's log names each incident: lines 'fallback told' and 'unconfirmed'.\n"
                "What to do: docs/operate.md, FallbackAlarm.",
            }
        ]


class TestTell:
    def test_what_comes_within_the_minute_is_counted_and_the_next_message_says_so(self) -> None:
        desk = Desk()
        assert [desk.tell(f"i{number}") for number in range(4)] == [True] * 4
        assert desk.told() == ["i0"]
        desk.clock.now += MINUTE - 1
        assert desk.tell("i4")
        assert desk.told() == ["i0"]
        desk.clock.now += 1
        assert desk.tell("i5")
        assert desk.told() == ["i0", "i5" + and_more(4)]
        desk.clock.now += MINUTE
        assert desk.tell("i6")
        assert desk.told()[2:] == ["i6"]

    def test_two_functions_have_one_minute_between_them(self) -> None:
        one = Desk()
        two = Desk(one.sns, one.dynamodb, one.clock)
        one.tell("i1")
        two.tell("i2")
        one.clock.now += MINUTE
        one.tell("i3")
        assert one.told() == ["i1", "i3" + and_more(1)]

    def test_the_client_is_not_made_before_it_is_needed(self) -> None:
        desk = Desk()
        assert desk.clients == 0
        desk.tell()
        assert desk.flush()
        desk.tell("i2")
        assert not desk.flush(), "i2 is to be told of yet"
        assert desk.clients == 1


class TestFlush:
    def test_those_that_were_only_counted_are_told_of_when_the_minute_is_over(self) -> None:
        desk = Desk()
        for number in range(4):
            desk.tell(f"i{number}")
        desk.flush("i2")
        desk.clock.now += MINUTE - 1
        desk.dynamodb.calls.clear()
        desk.flush("i2")
        assert desk.told() == ["i0"]
        assert desk.dynamodb.calls == ["get_item"]
        desk.clock.now += 1
        desk.flush("i2")
        desk.flush("i3")
        assert desk.told() == ["i0", "i2" + counted(3)]

    def test_one_that_was_counted_alone_is_not_passed_over_for_one_that_was_told(self) -> None:
        desk = Desk()
        desk.tell("i1")
        desk.tell("i2")
        desk.clock.now += MINUTE
        desk.flush("i1")
        assert desk.told() == ["i1", "i1" + counted(1)]

    def test_it_begins_a_minute_of_its_own(self) -> None:
        desk = Desk()
        desk.tell("i1")
        desk.tell("i2")
        desk.clock.now += MINUTE
        desk.flush()
        desk.tell("i3")
        assert len(desk.told()) == 2

    def test_nothing_counted_is_nothing_to_say_nor_to_write(self) -> None:
        desk = Desk()
        desk.flush()
        desk.tell()
        desk.dynamodb.calls.clear()
        desk.flush()
        desk.clock.now += MINUTE
        desk.flush()
        assert len(desk.told()) == 1
        assert desk.dynamodb.calls == ["get_item"] * 2

    def test_of_two_that_flush_at_once_one_does(self) -> None:
        desk = Desk()
        desk.tell("i1")
        desk.tell("i2")
        desk.clock.now += MINUTE
        puts = desk.dynamodb.calls.count("put_item")
        desk.dynamodb.before[("put_item", puts)] = lambda: desk.flush("i2")
        desk.flush("i1")
        assert desk.told() == ["i1", "i2" + counted(1)]

    def test_while_the_ledger_is_down_it_does_nothing(self) -> None:
        desk = Desk()
        desk.tell("i1")
        desk.tell("i2")
        desk.clock.now += MINUTE
        desk.dynamodb.failure = EndpointConnectionError(endpoint_url="https://dynamodb")
        desk.flush("i2")
        assert desk.told() == ["i1"]
        desk.dynamodb.failure = None
        desk.flush("i2")
        assert desk.told() == ["i1", "i2" + counted(1)]


@pytest.mark.parametrize("failure", [REFUSED, EndpointConnectionError(endpoint_url="https://sns")])
class TestTopicDown:
    def test_who_could_not_be_told_of_is_not_called_told(self, failure: Exception) -> None:
        desk = Desk()
        desk.sns.failure = failure
        assert not desk.tell("i1")
        desk.sns.failure = None
        desk.clock.now += MINUTE
        assert desk.tell("i1")
        assert desk.told() == ["i1"]

    def test_those_that_were_counted_stay_counted(self, failure: Exception) -> None:
        desk = Desk()
        for number in range(3):
            desk.tell(f"i{number}")
        desk.clock.now += MINUTE
        desk.sns.failure = failure
        assert not desk.tell("i3")
        assert desk.tell("i4")
        desk.sns.failure = None
        desk.clock.now += MINUTE
        assert desk.tell("i3")
        assert desk.told() == ["i0", "i3" + and_more(3)]

    def test_those_that_were_counted_meanwhile_too(self, failure: Exception) -> None:
        class Slow(FakeSns):
            """A topic that fails after others came."""

            def publish(self, **message: str) -> dict[str, str]:
                if self.failure and not meanwhile:
                    meanwhile.extend(desk.tell(incident_id) for incident_id in ("i3", "i4"))
                return super().publish(**message)

        meanwhile: list[bool] = []
        desk = Desk(Slow())
        desk.tell("i0")
        desk.tell("i1")
        desk.clock.now += MINUTE
        desk.sns.failure = failure
        assert not desk.tell("i2")
        assert meanwhile == [True, True]
        desk.sns.failure = None
        desk.clock.now += MINUTE
        desk.tell("i2")
        assert desk.told() == ["i0", "i2" + and_more(3)]

    def test_a_flush_that_fails_loses_none_of_them_either(self, failure: Exception) -> None:
        desk = Desk()
        for number in range(3):
            desk.tell(f"i{number}")
        desk.clock.now += MINUTE
        desk.sns.failure = failure
        desk.flush("i1")
        desk.sns.failure = None
        desk.clock.now += MINUTE
        desk.flush("i1")
        assert desk.told() == ["i0", "i1" + counted(2)]


class TestLedgerDown:
    def test_rather_twice_than_not_at_all(self) -> None:
        desk = Desk()
        desk.dynamodb.failure = EndpointConnectionError(endpoint_url="https://dynamodb")
        assert desk.tell("i1")
        assert desk.tell("i2")
        assert desk.told() == ["i1", "i2"]

    def test_if_it_reads_and_does_not_write_too(self) -> None:
        desk = Desk()
        desk.tell("i1")
        desk.dynamodb.before[("put_item", 1)] = table_down
        assert desk.tell("i2")
        assert desk.told() == ["i1", "i2"]

    def test_a_read_that_failed_does_not_begin_the_count_anew(self) -> None:
        desk = Desk()
        desk.tell("i1")
        desk.tell("i2")
        desk.dynamodb.before[("get_item", 2)] = table_down
        assert desk.tell("i3")
        assert desk.told() == ["i1"]
        desk.clock.now += MINUTE
        desk.tell("i4")
        assert desk.told() == ["i1", "i4" + and_more(2)]

    def test_if_others_are_always_faster_the_topic_is_told(self) -> None:
        desk = Desk()
        desk.tell("i1")
        rival = desk.dynamodb.table(desk.clock)

        def changed_again() -> None:
            found = rival.read("fallback")
            assert found
            rival.write("fallback", found.sequence, json.dumps([desk.clock.now, 1]))

        for number in range(1, 40):
            desk.dynamodb.before[("put_item", number)] = changed_again if number % 2 else lambda: None
        assert desk.tell("i2")
        assert desk.told() == ["i1", "i2"]

    def test_a_topic_that_is_down_as_well_is_said_and_nothing_breaks(self) -> None:
        desk = Desk()
        desk.dynamodb.failure = EndpointConnectionError(endpoint_url="https://dynamodb")
        desk.sns.failure = REFUSED
        assert not desk.tell("i1")


class TestSubject:
    @pytest.mark.parametrize("incident_id", ["x" * 512, "ü\n\x00\ud800✓", "\U0001f600" * 100, " "], ids=repr)
    def test_it_is_what_sns_takes_whatever_the_incident_is_called(self, incident_id: str) -> None:
        desk = Desk()
        desk.tell(incident_id)
        [message] = desk.sns.published
        assert 0 < len(message["Subject"]) < 100
        assert message["Subject"].isascii()
        assert message["Subject"].isprintable()
        assert message["Subject"].startswith("CRITICAL")

    def test_what_can_not_stand_there_is_marked(self) -> None:
        desk = Desk()
        desk.tell("é~ a\n")
        assert desk.sns.published[0]["Subject"].endswith("incident ?~ a?")


def lines(**changes: Any) -> list[str]:
    """What the topic is told of a job."""
    desk = Desk()
    desk.tell(**changes)
    return desk.sns.published[0]["Message"].splitlines()


class TestWords:
    @pytest.mark.parametrize(
        ("body", "words"),
        [
            (samples.body(alerts=[{"id": 1, "description": "first"}, {"id": 2, "description": "second"}]), "first"),
            (samples.body(alerts=[{"id": 1}], description="of the incident"), "of the incident"),
            (samples.body(alerts=[{"id": 1, "description": "of the alert"}], description="other"), "of the alert"),
            (b'{"id": "i1", "description": "bare"}', "bare"),
            (samples.body(description=7), "7"),
            (samples.body(description="x" * 9999), "x" * MAX_WORDS),
            (samples.body(description="a\x00b"), "a\ufffdb"),
        ],
        ids=lambda value: value[:40] if isinstance(value, str) else "",
    )
    def test_what_the_alerts_say_is_there_in_short(self, body: bytes, words: str) -> None:
        assert lines(body=body)[1] == f"It says: {words}"

    @pytest.mark.parametrize(
        "body",
        [
            samples.body(),
            samples.body(alerts=[]),
            samples.body(alerts={"a": 1}),
            samples.body(alerts=["a1"]),
            samples.body(alerts=[{"id": 1, "description": ""}]),
            b"no JSON",
            b"[]",
            b"",
        ],
        ids=str,
    )
    def test_where_they_say_nothing_there_is_no_such_line(self, body: bytes) -> None:
        assert lines(body=body)[1] == "Channel: noc; recipients: Network Operations"

    def test_without_recipients_it_says_so(self) -> None:
        assert lines(recipients=())[1] == "Channel: noc; recipients: -"

    def test_many_recipients_do_not_make_it_endless(self) -> None:
        desk = Desk()
        desk.tell(recipients=("x" * 200,) * 100)
        assert len(desk.sns.published[0]["Message"]) < 4096

    def test_credentials_and_what_xmatters_answered_are_not_in_it(self) -> None:
        text = "\n".join(
            lines(response_excerpt="canary-1", body=samples.body(tags=[{"name": "t", "value": "canary-2"}]))
        )
        assert "canary" not in text


class TestLink:
    @pytest.mark.parametrize(
        ("links", "expected"),
        [
            ([7, {"href": 7}, {"href": "http://a"}, {"href": "https://b"}], "https://b"),
            ([{"href": "https://b\x00c"}], "https://b\ufffdc"),
            (None, "https://a.bigpanda.io/#/app/overview/all/active/incidents/i1"),
        ],
        ids=str,
    )
    def test_it_leads_to_the_incident(self, links: Any, expected: str) -> None:
        assert lines(body=samples.body(links=links))[-4] == f"In BigPanda: {expected}"

    def test_even_where_the_body_can_not_be_read(self) -> None:
        assert lines(body=b"no JSON", incident_id="a/b\ud800")[-4].endswith("/incidents/a%2Fb%3F")


STEPS = st.lists(st.tuples(st.sampled_from(["tell", "flush", "topic"]), st.integers(0, 90)), max_size=30)


@given(STEPS)
def test_of_each_incident_the_topic_hears_once_by_name_or_by_number(steps: list[tuple[str, int]]) -> None:
    desk, told = Desk(), 0
    for number, (step, seconds) in enumerate(steps):
        desk.clock.now += seconds
        match step:
            case "tell":
                told += desk.tell(f"i{number}")
            case "flush":
                desk.flush("i0")
            case _:
                desk.sns.failure = None if desk.sns.failure else REFUSED
    desk.sns.failure = None
    desk.clock.now += MINUTE
    desk.flush("i0")
    heard = 0
    for said in desk.told():
        _, _, words = said.partition("; ")
        heard += int(words.removeprefix("And ").split()[0]) if words else 0
        heard += not words or words.startswith("And ")
    assert heard == told


@given(STEPS)
def test_the_topic_is_never_told_twice_in_a_minute(steps: list[tuple[str, int]]) -> None:
    desk, heard = Desk(), list[float]()
    for number, (step, seconds) in enumerate(steps):
        desk.clock.now += seconds
        before = len(desk.told())
        desk.tell(f"i{number}") if step == "tell" else desk.flush("i0")
        heard += [desk.clock.now] * (len(desk.told()) - before)
    assert all(later - earlier >= MINUTE for earlier, later in pairwise(heard))
