"""Queue: a job and its envelope as an SQS message, and SQS's rules, which emulators do not check."""

import base64
import json
import zlib
from copy import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from hypothesis import given
from hypothesis import strategies as st

from relay.failures import QueueError
from relay.incidents.share import Share, State
from relay.jobs.job import Acceptance, new_job, seconds_of, timestamp
from relay.jobs.queue import (
    UnreadableMessage,
    attributes_of,
    check_message,
    envelope_of,
    followup_job,
    legal_text,
    read_envelope,
)
from tests import samples
from tests.fakes import FakeSqs

DENIED = ClientError({"Error": {"Code": "AccessDenied", "Message": "quotes"}}, "SendMessage")
UNREACHABLE = EndpointConnectionError(endpoint_url="https://sqs.test")


def test_job_is_sent_as_body_with_its_attributes_and_delay() -> None:
    sqs, job = FakeSqs(), samples.job()
    sqs.queue().send(job, delay_seconds=900)
    [message] = sqs.messages
    assert message["QueueUrl"] == "https://sqs.eu-central-1.amazonaws.com/000000000000/jobs"
    assert (message["DelaySeconds"], read_envelope(message["MessageBody"])) == (900, job)
    assert message["MessageAttributes"] == {
        "channel": {"DataType": "String", "StringValue": "noc"},
        "incident_id": {"DataType": "String", "StringValue": "i1"},
        "reason": {"DataType": "String", "StringValue": "upstream"},
        "kind": {"DataType": "String", "StringValue": "signal"},
        "schema": {"DataType": "Number", "StringValue": "1"},
    }


@pytest.mark.parametrize(("failure", "visible"), [(None, 201), (DENIED, None), (UNREACHABLE, None)])
def test_backlog_is_the_number_of_messages_that_can_be_received(failure: Exception | None, visible: int | None) -> None:
    class Queue(FakeSqs):
        def get_queue_attributes(self, **asked: object) -> dict[str, dict[str, str]]:
            if failure:
                raise failure
            return super().get_queue_attributes(**asked)

    sqs = Queue()
    sqs.visible = 201
    assert sqs.queue().backlog() == visible


@pytest.mark.parametrize(
    ("envelope", "attribute", "why"),
    [
        *((f'{{"a": "{character}"}}', "x", "the message has characters") for character in "\x00\x1b\x7fé\ufffe"),
        *(("{}", value, "an attribute has characters") for value in ("\x00", "a\x0bb", "\ufffe", "")),
        ("x" * 1_030_000, "x" * 20_000, "has 1050010 bytes, and SQS takes 1048576"),
        ("x" * 1_045_000, "x", "has 1045011 bytes, and SQS takes 1048576"),
    ],
    ids=ascii,
)
def test_message_that_sqs_would_refuse_is_refused(envelope: str, attribute: str, why: str) -> None:
    with pytest.raises(QueueError, match=why):
        check_message(envelope, {"note": attribute})


@pytest.mark.parametrize("members", [{"status": "x" * 1_048_576}, {"kind": "\x00"}], ids=["large", "odd"])
def test_message_that_sqs_would_refuse_is_not_sent(members: dict[str, str]) -> None:
    sqs = FakeSqs()
    with pytest.raises(QueueError):
        sqs.queue().send(samples.job(**members))
    assert sqs.messages == []


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (DENIED, "SQS refused the message: AccessDenied"),
        (UNREACHABLE, "SQS could not be reached: EndpointConnectionError"),
    ],
)
def test_failing_queue_raises_an_error_in_our_words(error: Exception, message: str) -> None:
    sqs = FakeSqs()
    sqs.failure = error
    with pytest.raises(QueueError) as caught:
        sqs.queue().send(samples.job())
    assert str(caught.value) == message


TEXT = st.text(st.characters(exclude_categories=()), max_size=40)
MOMENT = st.none() | st.floats(0, 1e10).map(timestamp)
MEBIBYTE = 1024 * 1024
MEMBERS = json.loads(envelope_of(samples.job()))
# Members that every job needs; all others have a default.
FIRST = {"schema", "kind", "channel", "url_recipients", "incident_id", "received_at", "body"}


@given(
    incident_id=TEXT,
    status=st.none() | TEXT,
    version=st.none() | st.tuples(*[st.floats(0, 1e11)] * 2),
    recipients=st.lists(TEXT, max_size=4).map(tuple),
    body=st.binary(max_size=200),
    response_excerpt=TEXT,
    attempts=st.integers(0, 99),
    plan=st.integers(0, 999),
    bell=st.booleans(),
    first_failed_at=MOMENT,
    not_before=MOMENT,
    dead_lettered_at=MOMENT,
    revived_at=MOMENT,
    ledger_down_since=MOMENT,
    accepted=st.none() | st.builds(Acceptance, st.floats(0, 1e11), st.none() | TEXT),
    digest=st.none() | st.just("0" * 64),
    http_status=st.none() | st.integers(100, 599),
)
def test_job_is_read_as_it_was_written_and_is_printable_ascii(**changes: Any) -> None:
    job = samples.job(**changes)
    envelope = envelope_of(job)
    assert read_envelope(envelope) == job
    assert envelope.isascii()
    assert envelope.isprintable()
    assert all(legal_text(value) == value for value in attributes_of(job).values())


@pytest.mark.parametrize(
    ("text", "why"),
    [
        *((text, "not an envelope") for text in ["", "{", "[]", "null", '"x"', "{}", "[" * 100_000]),
        ('{"schema": 2}', "its schema is 2, and this version reads 1"),
        *((json.dumps({name: MEMBERS[name] for name in MEMBERS if name != gone}), gone) for gone in sorted(FIRST)),
    ],
)
def test_text_that_is_no_envelope_is_refused(text: str, why: str) -> None:
    with pytest.raises(UnreadableMessage, match=why):
        read_envelope(text)


def test_envelope_of_an_older_version_without_newer_members_is_read() -> None:
    job = read_envelope(json.dumps({name: MEMBERS[name] for name in FIRST}))
    assert (job.incident_id, job.plan, job.revived_at) == ("i1", 0, None)


def packed(body: bytes) -> str:
    return base64.b64encode(body).decode()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("body", "not base64!"),
        ("body", packed(b"not zlib")),
        ("body", packed(zlib.compress(b"cut off")[:-4])),
        ("body", packed(zlib.compress(b" " * (4 * MEBIBYTE + 1)))),
        ("body", None),
        ("channel", "No Channel"),
        *(("version", value) for value in ([1], ["a", "b"], 7, {"a": 1, "b": 2})),
        *(("accepted", value) for value in ([1], ["a", "b"], 7, {"at": 1})),
        *(("url_recipients", value) for value in (None, 7, "Ops")),
        ("flags", 7),
        *(("stamps", stamps) for stamps in (7, {"reason": 7}, {"recipients": 7}, {"first_failed_at": "yesterday"})),
        *(
            ("stamps", stamps)
            for stamps in ({"last_failed_at": "yesterday"}, {"replays": "3"}, {"attempts": "3"}, {"status": 7})
        ),
        ("incident_id", 7),
        ("plan", "3"),
        *(("received_at", value) for value in ("yesterday", None)),
        ("not_before", 1_800_000_000),
        *((name, "yesterday") for name in ("not_before", "dead_lettered_at", "revived_at", "ledger_down_since")),
    ],
)
def test_envelope_with_an_invalid_member_is_refused(name: str, value: Any) -> None:
    with pytest.raises(UnreadableMessage):
        read_envelope(json.dumps(MEMBERS | {name: value}))


@given(TEXT)
def test_characters_that_sqs_refuses_are_replaced_and_others_stay(text: str) -> None:
    legal = legal_text(text)
    assert legal
    for character in legal:
        code = ord(character)
        assert code in {0x9, 0xA, 0xD} or 0x20 <= code <= 0xD7FF or 0xE000 <= code <= 0xFFFD or code > 0xFFFF
    assert legal_text(legal) == legal


def test_envelope_fits_up_to_a_limit_that_leaves_room_for_attributes() -> None:
    most = MEBIBYTE - 8 * 1024
    check_message("x" * most, {})
    with pytest.raises(QueueError):
        check_message("x" * (most + 1), {})
    job = samples.job(channel="c" * 48, incident_id="\U0010ffff" * 512)
    attributes = sum(len((name + value + "String").encode()) for name, value in attributes_of(job).items())
    assert attributes + most <= MEBIBYTE


EARLY, LATE = "2027-01-15T08:00:00.000Z", "2027-01-15T08:00:00.009Z"


@pytest.mark.parametrize(("revived_at", "is_revived"), [(None, False), (EARLY, False), (LATE, True)])
def test_job_is_revived_if_it_woke_after_it_was_dead_lettered(revived_at: str | None, is_revived: bool) -> None:
    assert samples.job(dead_lettered_at=EARLY, revived_at=revived_at).is_revived == is_revived


def test_revived_job_starts_anew_later_than_its_dead_lettering_on_a_slow_clock() -> None:
    waits = {"not_before": EARLY, "ledger_down_since": EARLY, "waits_for_ledger": True, "bell": True}
    revived = samples.job(dead_lettered_at=LATE, **waits).revived(seconds_of(EARLY))
    assert (revived.revived_at, revived.stamps.replays) == ("2027-01-15T08:00:00.010Z", 1)
    assert (revived.not_before, revived.ledger_down_since, revived.flags) == (None, None, frozenset())
    assert revived.age_counts_from == seconds_of("2027-01-15T08:00:00.010Z")


def test_age_of_a_follow_up_counts_from_its_signal_and_not_from_the_wait_before() -> None:
    waited = samples.job(revived_at=EARLY, dead_lettered_at=EARLY)
    followup = followup_job(waited, seconds_of(LATE) + 9)
    assert (followup.age_counts_from, followup.dead_lettered_at) == (seconds_of(LATE) + 9, None)


CAME = 1_800_000_000.0


def delivery_id(share: Share, channel: str = "noc", recipients: tuple[str, ...] = ("a",), *, came: float = CAME) -> str:
    return new_job(
        replace(samples.parsed(), name=channel), share, State.of(share, came), b"{}", recipients, "c1"
    ).delivery_id


def test_delivery_id_differs_by_channel_recipients_incident_version_and_state() -> None:
    others: list[dict[str, Any]] = [{"id": "i2"}, {"changedOn": 5}, {"changedOn": None}, {"flapping": True}]
    ids = [
        *(delivery_id(samples.share(**members)) for members in [{}, *others]),
        delivery_id(samples.share(), channel="ops"),
        *(delivery_id(samples.share(), recipients=each) for each in [("b",), ("a", "b")]),
    ]
    assert len(set(ids)) == 8
    # Without timestamps, an incident may come back to the same state.
    again = samples.share(changedOn=None, updatedOn=None)
    assert len({delivery_id(again), delivery_id(again, came=CAME + 60), delivery_id(samples.share())}) == 3
    assert delivery_id(samples.share()) == delivery_id(samples.share(), came=CAME + 60)
    assert all(len(each) == 32 and set(each) <= set("0123456789abcdef") for each in ids)
