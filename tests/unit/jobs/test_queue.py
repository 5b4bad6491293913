"""Queue: a job as an SQS message, and SQS's rules, which emulators do not check."""

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from relay.failures import QueueError
from relay.jobs.queue import check_message, read_envelope
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
