"""A table that fails at any single call, or for long: no page is lost, and what was sent without it is recorded."""

from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from relay.failures import QueueError
from tests import samples
from tests.fakes import TABLE_DOWN, Relay, Step, hooked, new_relay, secrets_of

# Calls of the table for a share, with the number of earlier calls of that operation.
CALLS = {"read": ("get_item", 0), "gate": ("update_item", 0), "claim": ("update_item", 1), "record": ("update_item", 2)}
UNGUARDED = "DynamoDB refused: InternalServerError"


def down(*steps: Step, **changes: Any) -> Relay:
    """Return a relay whose table fails at every call."""
    relay = new_relay(*steps, **changes)
    relay.dynamodb.failure = TABLE_DOWN
    return relay


# ---- One failed call -------------------------------------------------------------------------------------------------

THROTTLED = ClientError({"Error": {"Code": "ThrottlingException", "Message": "canary"}}, "UpdateItem")
HANGS = ReadTimeoutError(endpoint_url="https://dynamodb.test")


@pytest.mark.parametrize(
    ("call", "error", "why"),
    [
        ("read", TABLE_DOWN, UNGUARDED),
        ("read", HANGS, "DynamoDB could not be reached: ReadTimeoutError"),
        ("gate", TABLE_DOWN, "the rate limiter could not be read"),
        ("claim", THROTTLED, "DynamoDB refused: ThrottlingException"),
        ("record", THROTTLED, "the sent signal could not be recorded"),
    ],
)
def test_critical_is_sent_once_and_counted_as_unguarded_and_its_resolve_is_owed(
    call: str, error: Exception, why: str
) -> None:
    def fails() -> None:
        raise error

    relay, table = hooked()
    table.before[CALLS[call]] = fails
    answer = relay.webhook.serve(samples.request())
    assert (answer.status, answer.document["outcome"]) == (200, "delivered")
    assert relay.recorder.metrics() == {"share": 1, "unguarded": 1}
    [line] = relay.recorder.lines()
    assert (line["unguarded"], relay.statuses(), relay.entry().lease) == (why, "critical", None)
    assert (table.before, len(relay.entry().signal_times)) == ({}, int(call in {"gate", "record"}))
    relay.wake(5)
    assert relay.play("ok") == ["delivered resolved"]


def test_people_are_told_of_a_critical_that_xmatters_refused_while_the_table_was_down() -> None:
    relay = down(samples.refused(400))
    relay.share()
    relay.wake(60)
    relay.dynamodb.failure = None
    for _ in range(4):
        relay.sweep(60)
        relay.wake(0)
    assert (relay.entry().is_given_up, len(relay.dead_letters.messages)) == (True, 1)
    [told] = relay.sns.published
    assert told["Subject"] == "CRITICAL, xMatters did not notify: incident i1 of channel noc"


# ---- The table is down -----------------------------------------------------------------------------------------------

# Events (see `Relay.play`) while the table is down, what becomes of each share, and the statuses of the signals.
OUTAGES: dict[str, tuple[str, list[str], str]] = {
    "critical": ("critical 30 30 30 30 30", ["delivered"], "critical"),
    "warning waits two minutes": ("warning 30 30 30 29", ["queued internal"], ""),
    "warning is sent then": ("warning 30 30 30 30", ["queued internal"], "warning"),
    "second critical waits": ("critical critical 300 300", ["delivered", "queued internal"], "critical"),
    "critical after two minutes": ("critical 121 critical", ["delivered", "delivered"], "critical critical"),
    "critical again": (
        "critical ok critical",
        ["delivered", "queued internal", "delivered"],
        "critical critical",
    ),
    "end is sent after two minutes": (
        "critical ok 30 30 30 30 30",
        ["delivered", "queued internal"],
        "critical ok",
    ),
}


@pytest.mark.parametrize("name", OUTAGES)
def test_criticals_are_sent_and_other_states_wait_while_the_table_is_down(name: str) -> None:
    events, became, statuses = OUTAGES[name]
    relay = down()
    assert (relay.play(events), relay.statuses()) == (became, statuses)
    relay.dynamodb.failure = None
    relay.drain()
    assert relay.entry().announced


def test_claimed_resolve_that_neither_the_table_nor_a_queue_takes_is_unsafe_and_not_sent() -> None:
    relay = down(secrets=secrets_of(bigpanda={"api_key": "BPU-1", "environment_id": "e"}))
    relay.retries.failure = QueueError("SQS refused the message: AccessDenied")
    result = relay.share(status="ok")
    assert (result.outcome, bool(result.notices.last_copy), relay.session.calls) == ("unsafe", True, [])


def test_signal_without_the_table_is_noted_by_one_message_that_waits_as_long_as_the_table_is_down() -> None:
    relay = down()
    relay.play("critical 30 30 30")
    assert [job.accepted is not None for job in relay.retries.jobs()] == [True]
