"""Phones of the last resort: their ways, what they are told, and failures that name no number."""

import math
from copy import replace

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from hypothesis import given
from hypothesis import strategies as st

from relay.deadline import seconds_left
from relay.delivery.fallback import Fallback, OverdueDebt
from tests.fakes import FakeMessaging, FakeSns, phones

NUMBERS = ("+14255550100", "+4915112345678")
DEBT = OverdueDebt("i1", 1_800_000_000.0, description="disk full")


def fallback(client: FakeMessaging) -> Fallback:
    return Fallback(FakeSns, "arn:topic", phones(client, NUMBERS[0]))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (ClientError({"Error": {"Code": "ThrottlingException", "Message": NUMBERS[0]}}, "Send"), "ThrottlingException"),
        (ReadTimeoutError(endpoint_url=f"https://sms-voice.test/{NUMBERS[0]}"), "ReadTimeoutError"),
    ],
    ids=["refused", "no answer"],
)
def test_phone_that_fails_is_reported_without_its_number_and_the_others_are_reached(
    failure: Exception, said: str
) -> None:
    client = FakeMessaging()

    def fail(_: str, number: str) -> None:
        if number == NUMBERS[0]:
            raise failure

    client.before = fail
    to_all = phones(client, *NUMBERS, text="")
    assert to_all
    failures = to_all.send(lambda _: "words")
    assert failures == {"call to phone 1 (ends in 00)": said, "call to phone 2 (ends in 78)": ""}
    assert [number for _, number, *_ in client.sent] == [NUMBERS[1]]
    assert not any(number in f"{to_all!r} {failures}" for number in NUMBERS)


def test_call_is_repeated_only_if_the_service_failed_it_within_seconds() -> None:
    client, left = FakeMessaging(), list[float]()
    client.before = lambda *_: left.append(seconds_left())
    to_all = phones(client, *NUMBERS)
    assert to_all
    to_all.send(lambda _: "words")
    # The SDK repeats nothing once this time is over, and a call without an answer takes longer.
    assert [each for each in left if each > 5] == []
    assert seconds_left() == math.inf


@given(st.text() | st.sampled_from(["x" * 5000, "\n\x00", "\U0001f600" * 500]))
def test_words_of_an_incident_neither_lengthen_a_call_nor_break_a_text(hostile: str) -> None:
    client = FakeMessaging()
    fallback(client).call(["c" * 48], [replace(DEBT, incident_id=hostile, description=hostile)], 100_000)
    (*_, spoken), (*_, written) = client.sent
    assert (len(spoken) < 500, spoken.isprintable()) == (True, True)
    assert (len(written) <= 140, written.isascii(), written.isprintable()) == (True, True, True)
