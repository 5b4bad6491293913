"""A table that fails at any single call, or for long: no page is lost, and what was sent without it is recorded."""

from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from relay.failures import QueueError, Reason
from relay.jobs.job import Flag, Job, timestamp
from relay.ledger.channel_rate_limiter import Gate
from relay.ledger.entry_key import key
from tests import samples
from tests.fake_dynamodb import FakeDynamoDb, Item
from tests.fakes import TABLE_DOWN, Relay, Step, hooked, new_relay, table_down

OK, DOWN, LOST = samples.accepted(), samples.refused(503), samples.refused(504)
LONG_AGO = "2027-01-01T00:00:00.000Z"
LATER = 1_800_000_001
NO = QueueError("SQS refused the message: AccessDenied")
# Calls of the table for a share, with the number of earlier calls of that operation.
CALLS = {"read": ("get_item", 0), "gate": ("update_item", 0), "claim": ("update_item", 1), "record": ("update_item", 2)}
UNGUARDED = "DynamoDB refused: InternalServerError"


def down(*steps: Step, **changes: Any) -> Relay:
    """Return a relay whose table fails at every call."""
    relay = new_relay(*steps, **changes)
    relay.dynamodb.failure = TABLE_DOWN
    return relay


def flagged(relay: Relay, flag: Flag) -> list[bool]:
    """Return, for each job of the retry queue, if it has the flag."""
    return [flag in job.flags for job in relay.retries.jobs()]


def accepted(relay: Relay) -> list[bool]:
    """Return, for each job of the retry queue, if it is only to record an accepted signal."""
    return [job.accepted is not None for job in relay.retries.jobs()]


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


@pytest.mark.parametrize("call", ["read", "claim", "record"])
def test_share_that_fails_is_on_the_retry_queue_once_although_the_ledger_failed(call: str) -> None:
    relay, table = hooked(DOWN, DOWN, DOWN, OK)
    table.before[CALLS[call]] = table_down
    result = relay.share()
    assert (result.outcome, result.queue, result.reason) == ("queued", "retry", "upstream")
    assert bool(result.notices.unguarded) == (call != "record")
    assert (table.before, len(relay.retries.messages)) == ({}, 1)
    relay.wake(36)
    assert (len(relay.session.calls), relay.retries.messages) == (4, [])


@pytest.mark.parametrize("number", [0, 1], ids=["channel", "recipients"])
@pytest.mark.parametrize("answer", [OK, DOWN])
def test_critical_is_sent_under_its_lease_if_a_rate_limit_cannot_be_read(number: int, answer: Step) -> None:
    relay, table = hooked(answer, policy={"max_per_minute_per_recipients": 9})
    table.before["update_item", number] = table_down
    result, is_sent = relay.share(), answer is OK
    assert bool(result.notices.unguarded) == is_sent
    assert (relay.entry().debt.attempts, len(relay.entry().signal_times)) == ((0, 1) if is_sent else (3, 0))
    # The channel's own gate has its slot back.
    gate = relay.dynamodb.items.get("gate/noc", {})
    numbers = {name: float(value["N"]) for name, value in gate.items() if "N" in value}
    assert Gate.of(numbers).counted(relay.clock.now) == 0


@pytest.mark.parametrize("call", ["read", "gate", "claim"])
def test_warning_waits_on_the_queue_and_gives_its_slot_back(call: str) -> None:
    relay, table = hooked(policy={"max_per_minute": 1})
    table.before[CALLS[call]] = table_down
    result = relay.share(status="warning")
    assert (result.outcome, result.queue, result.reason, relay.session.calls) == ("queued", "retry", "internal", [])
    assert (bool(relay.entry().debt.row), table.before) == (call == "gate", {})
    assert relay.share(id="i2").outcome == "delivered"
    relay.wake(30)
    assert relay.stored_job().ledger_down_since is None, "a stored job waits anew for the ledger"
    relay.wake(60)
    assert relay.statuses() == "critical warning"


def test_unchanged_state_is_noted_later_if_the_ledger_fails() -> None:
    relay, table = hooked(DOWN, DOWN, DOWN, OK)
    relay.share()
    table.before_next(table_down)
    over = relay.share(changedOn=LATER, status="ok")
    assert (over.outcome, over.reason, over.queue, over.notices.unguarded) == ("queued", "internal", "retry", UNGUARDED)
    assert relay.retries.delays() == [36, 5]
    opened = relay.retries.messages.pop(0)
    relay.wake(5)
    relay.retries.messages.append(opened)
    relay.wake(25)
    assert (len(relay.session.calls), relay.retries.messages) == (3, [])


def test_share_waits_for_its_spacing_although_the_wait_cannot_be_recorded() -> None:
    relay, table = hooked(policy={"min_seconds_between_signals": 15})
    relay.play("critical")
    table.before_next(table_down)
    assert (relay.play("warning"), table.before) == (["queued paced"], {})
    relay.wake(14)
    assert (relay.statuses(), relay.retries.messages) == ("critical warning", [])


def test_unreadable_entry_is_begun_anew_and_counted() -> None:
    relay = new_relay()
    relay.share()
    relay.dynamodb.items[key("noc", (), "i1")]["text"] = {"S": "{"}
    resolved = relay.share(changedOn=LATER, status="ok")
    assert (resolved.outcome, resolved.subject.transition) == ("delivered", "resolved")
    assert resolved.notices.unguarded == "the entry was unreadable, and was replaced by a new one"
    assert relay.share(changedOn=LATER, status="ok").outcome == "duplicate"


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


def test_signal_that_was_sent_without_the_ledger_is_recorded_by_a_job_after_five_seconds() -> None:
    relay = down()
    assert relay.share().notices.unguarded == UNGUARDED
    assert (accepted(relay), relay.retries.delays()) == ([True], [5])
    relay.dynamodb.failure = None
    relay.wake(5)
    assert (relay.retries.messages, relay.entry().announced is None, relay.statuses()) == ([], False, "critical")


def test_incidents_are_sent_without_the_ledger_apart_from_each_other() -> None:
    relay = down()
    assert [relay.share(id=each).outcome for each in ("i1", "i2")] == ["delivered", "delivered"]


def test_critical_rings_once_for_each_function_that_takes_it_in_two_minutes_without_the_ledger() -> None:
    # Functions share no memory but the ledger (docs/decisions.md, D-ledger-down).
    relay = down()
    functions = [relay, *(relay.other(OK) for _ in range(7))]
    for number in range(24):
        functions[number % 8].share(changedOn=LATER + number)
        relay.clock.now += 2
    relay.wake(60)
    assert [len(each.session.calls) for each in functions] == [1] * 8


def test_warning_is_sent_without_the_ledger_if_no_queue_takes_it() -> None:
    relay = down()
    relay.retries.failure = NO
    assert relay.play("warning") == ["delivered"]


@pytest.mark.parametrize("breaks_at", ["claim", "record"])
def test_page_is_sent_at_most_twice_and_marked_as_repeat_while_the_table_takes_no_writes(breaks_at: str) -> None:
    relay, table = hooked()

    def breaks() -> None:
        table.refuses_writes = True
        table_down()

    table.before[CALLS[breaks_at]] = breaks
    assert relay.play("critical")[0].startswith("delivered")
    assert accepted(relay) == [False, True]
    for _ in range(20):
        relay.wake(30)
    assert relay.repeats() == [None, "true"]


def test_dead_lettered_critical_is_owed_for_the_fallback_although_no_queue_kept_it_before() -> None:
    relay = new_relay(OK, samples.refused(400))
    relay.play("warning")
    relay.retries.failure = NO
    relay.play("critical")
    relay.retries.failure = None
    assert (len(relay.dead_letters.messages), relay.entry().debt.since is None) == (1, False)
    relay.sweep_for(720)
    assert len(relay.sns.published) == 1


def test_job_of_an_ambiguous_attempt_says_may_repeat_and_the_next_critical_waits_for_the_ledger() -> None:
    relay = down(LOST, LOST, OK)
    relay.play("critical")
    relay.play("critical")
    assert flagged(relay, Flag.MAY_HAVE_PAGED) == [True, False]
    assert flagged(relay, Flag.WAITS_FOR_LEDGER) == [False, True]
    relay.dynamodb.failure = None
    relay.drain()
    assert relay.repeats()[-1] == "true"


def test_job_that_waited_for_the_ledger_waits_for_it_anew_after_the_ledger_was_back() -> None:
    relay = down(LOST, LOST, DOWN)
    relay.play("critical critical")
    relay.dynamodb.failure = None
    relay.wake(40)
    assert not any(flagged(relay, Flag.WAITS_FOR_LEDGER))


@pytest.mark.parametrize(("is_back", "wakes"), [(False, 2), (True, 5)], ids=["in a row", "with one write in between"])
def test_job_is_sent_after_two_minutes_of_failed_writes_in_a_row_although_reads_work(is_back: bool, wakes: int) -> None:
    relay = new_relay(*[DOWN] * (4 if is_back else 3), OK)
    relay.share()
    relay.dynamodb.refuses_writes = True
    for _ in range(3):
        relay.wake(30)
    if is_back:
        relay.dynamodb.refuses_writes = False
        relay.wake(30)
        relay.dynamodb.refuses_writes = True
    sent = len(relay.session.calls)
    for number in range(1, wakes + 1):
        relay.wake(30)
        assert len(relay.session.calls) == sent + (number == wakes)


@pytest.mark.parametrize("is_sent", [True, False], ids=["sent critical", "comment"])
def test_job_that_cannot_be_noted_for_hours_backs_off_and_ends(is_sent: bool) -> None:
    relay = new_relay()
    if not is_sent:
        relay.share()
    relay.dynamodb.refuses_writes = True
    relay.share(changedOn=LATER)
    assert accepted(relay)[-1] == is_sent
    relay.retries.messages = relay.retries.messages[-1:]
    wakes = 0
    while relay.retries.messages and wakes < 1000:
        relay.wake(relay.retries.delays()[0])
        wakes += 1
    assert (wakes < 200, len(relay.session.calls)) == (True, 1)
    # A sent signal that was never recorded is dead-lettered, and a replay can record it.
    assert [letter.accepted is not None for letter in relay.dead_letters.jobs()] == [True] * is_sent


# ---- The rate limiter's table is down --------------------------------------------------------------------------------


class GateDown(FakeDynamoDb):
    """A table that throttles the gates' items, and no other item."""

    def update_item(self, **asked: Any) -> Item:
        if asked["Key"]["pk"]["S"].startswith("gate/"):
            table_down()
        return super().update_item(**asked)


def test_job_waits_two_minutes_for_the_gate_and_is_then_sent_guarded_by_the_ledger() -> None:
    relay = new_relay(samples.refused(500), OK, dynamodb=GateDown())
    relay.play("warning 30 30 30")
    assert (relay.session.calls, len(relay.retries.messages), bool(relay.entry().debt.row)) == ([], 1, True)
    relay.wake(30)
    entry = relay.entry()
    assert (entry.debt.attempts, len(entry.doubtful), len(entry.signal_times)) == (1, 1, 1)
    relay.drain()
    assert relay.repeats() == [None, "true"]


def test_critical_from_the_retry_queue_waits_for_the_gate_too() -> None:
    relay = new_relay(dynamodb=GateDown())
    assert (relay.resume(samples.job()).reason, relay.session.calls) == ("internal", [])


def test_long_outage_of_xmatters_without_the_gate_leaves_one_message_and_no_dead_letter() -> None:
    relay = new_relay(DOWN, dynamodb=GateDown())
    relay.share()
    for _ in range(40):
        relay.wake(30)
        relay.sweep(0)
        assert len(relay.retries.messages) <= 2
    assert relay.dead_letters.messages == []
    assert relay.entry().debt.attempts == len(relay.session.calls)


# ---- Jobs while the table is down ------------------------------------------------------------------------------------


def waiting_job(relay: Relay, since: float | None, age: float = 3600, **members: Any) -> Job:
    """Return a job that came `age` seconds ago, and has met a failing ledger for `since` seconds."""
    down_since = None if since is None else timestamp(relay.clock.now - since)
    return samples.job(received_at=timestamp(relay.clock.now - age), ledger_down_since=down_since, **members)


@pytest.mark.parametrize(("since", "is_sent"), [(None, False), (119, False), (120, True)])
def test_job_waits_two_minutes_for_the_ledger_however_old_it_is(since: float | None, is_sent: bool) -> None:
    relay = down()
    job = waiting_job(relay, since)
    result = relay.resume(job)
    assert (result.outcome, len(relay.session.calls)) == (("delivered", 1) if is_sent else ("queued", 0))
    assert result.notices.unguarded == UNGUARDED
    if not is_sent:
        assert (result.reason, result.queue, result.until) == ("internal", "retry", relay.clock.now + 30)
        assert result.job
        assert result.job.ledger_down_since == (job.ledger_down_since or timestamp(relay.clock.now))


def test_job_starts_its_wait_anew_after_the_ledger_was_back() -> None:
    relay = new_relay(DOWN)
    result = relay.resume(waiting_job(relay, 120))
    assert result.job
    assert (result.reason, result.job.ledger_down_since) == ("upstream", None)


@pytest.mark.parametrize(
    ("age", "members", "given_up"),
    [
        (3600, {"revived_at": "2027-01-15T07:50:00.000Z"}, None),
        (86_400, {}, None),
        (60, {}, Reason.CHANNEL_REMOVED),
        (60, {"waits_for_ledger": True}, None),
    ],
    ids=["revived", "too old", "channel removed", "critical that was held back"],
)
def test_job_that_must_not_be_sent_without_the_ledger_waits_for_it(
    age: float, members: dict[str, Any], given_up: Reason | None
) -> None:
    relay = down()
    result = relay.resume(waiting_job(relay, 3600, age, **members), given_up)
    assert (result.outcome, result.queue, relay.session.calls) == ("queued", "retry", [])
    assert result.until == relay.clock.now + 30


def test_message_of_a_job_that_waits_for_the_ledger_stays_if_no_queue_takes_the_next_one() -> None:
    relay = down()
    relay.retries.failure = NO
    result = relay.resume(waiting_job(relay, None))
    assert (result.outcome, result.notices.last_copy, relay.session.calls) == ("unsafe", None, [])


def test_message_of_a_state_that_cannot_be_noted_stays_if_no_queue_takes_the_next_one() -> None:
    relay = new_relay()
    relay.share()
    relay.dynamodb.refuses_writes, relay.retries.failure = True, NO
    comment = {"body": samples.body(comments=["on it"]), "version": (LATER, LATER), "digest": "another"}
    result = relay.resume(samples.job(recipients=(), ledger_down_since=LONG_AGO, **comment))
    assert (result.outcome, result.reason, relay.statuses()) == ("unsafe", "internal", "critical")
