import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from hypothesis import given
from hypothesis import strategies as st

from relay.failures.errors import QueueError
from relay.jobs.envelope import read_envelope
from relay.jobs.queue import MAX_DELAY_SECONDS, check_message
from tests import samples
from tests.fakes import FakeSqs


def test_job_is_sent_as_body_with_its_attributes() -> None:
    sqs = FakeSqs()
    job = samples.job()
    assert sqs.queue().send(job) == "m1"
    [message] = sqs.messages
    assert message["QueueUrl"] == "https://sqs.eu-central-1.amazonaws.com/000000000000/jobs"
    assert message["DelaySeconds"] == 0
    assert read_envelope(message["MessageBody"]) == job
    assert message["MessageAttributes"] == {
        "channel": {"DataType": "String", "StringValue": "noc"},
        "incident_id": {"DataType": "String", "StringValue": "i1"},
        "reason": {"DataType": "String", "StringValue": "upstream"},
        "kind": {"DataType": "String", "StringValue": "signal"},
        "schema": {"DataType": "Number", "StringValue": "1"},
    }


def test_backlog_is_the_number_of_messages_that_can_be_received() -> None:
    sqs = FakeSqs()
    sqs.visible = 201
    assert sqs.queue().backlog() == 201


@pytest.mark.parametrize(
    "failure",
    [
        ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "GetQueueAttributes"),
        EndpointConnectionError(endpoint_url="https://sqs"),
    ],
)
def test_backlog_is_none_if_sqs_fails(failure: Exception) -> None:
    class Failing(FakeSqs):
        def get_queue_attributes(self, **_: object) -> dict[str, dict[str, str]]:
            raise failure

    assert Failing().queue().backlog() is None


def test_job_is_sent_with_its_delay() -> None:
    sqs = FakeSqs()
    sqs.queue().send(samples.job(), delay_seconds=MAX_DELAY_SECONDS)
    assert sqs.delays() == [900]


# Emulators accept what AWS refuses, so `Queue` checks the message itself.
def test_message_larger_than_sqs_takes_is_refused_before_the_call() -> None:
    sqs = FakeSqs()
    with pytest.raises(QueueError, match=r"has \d+ bytes, and SQS takes 1048576"):
        sqs.queue().send(samples.job(status="x" * 1_048_576))
    assert sqs.messages == []


@pytest.mark.parametrize("character", ["\x00", "\x1b", "\x7f", "é", "\ufffe"])
def test_envelope_with_a_control_character_is_refused(character: str) -> None:
    with pytest.raises(QueueError, match="the message has characters"):
        check_message(f'{{"a": "{character}"}}', {})


@pytest.mark.parametrize("value", ["\x00", "a\x0bb", "\ufffe", ""])
def test_attribute_that_is_empty_or_has_a_control_character_is_refused(value: str) -> None:
    with pytest.raises(QueueError, match="an attribute has characters"):
        check_message("{}", {"incident_id": value})


def test_message_with_an_odd_attribute_is_refused_before_the_call() -> None:
    sqs = FakeSqs()
    with pytest.raises(QueueError, match="an attribute has characters"):
        sqs.queue().send(samples.job(kind="\x00"))
    assert sqs.messages == []


def test_attributes_count_towards_the_size_of_a_message() -> None:
    with pytest.raises(QueueError, match="bytes"):
        check_message("x" * 1_030_000, {"note": "x" * 20_000})


@given(st.text(st.characters(exclude_categories=()), min_size=1, max_size=512))
def test_job_of_any_incident_id_can_be_sent(incident_id: str) -> None:
    sqs = FakeSqs()
    sqs.queue().send(samples.job(incident_id=incident_id))
    assert sqs.jobs()[0].incident_id == incident_id


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            ClientError({"Error": {"Code": "AccessDenied", "Message": "quotes"}}, "SendMessage"),
            "SQS refused the message: AccessDenied",
        ),
        (
            EndpointConnectionError(endpoint_url="https://sqs.test"),
            "SQS could not be reached: EndpointConnectionError",
        ),
    ],
    ids=["refused", "unreachable"],
)
def test_failing_queue_raises_an_error_in_our_words(error: Exception, message: str) -> None:
    sqs = FakeSqs()
    sqs.failure = error
    with pytest.raises(QueueError) as caught:
        sqs.queue().send(samples.job())
    assert str(caught.value) == message
