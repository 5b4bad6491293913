"""Delivery of a share: kept, claimed, sent and recorded, or owed, also while the table or a queue fails."""

from typing import Any

import pytest
import requests
from botocore.exceptions import ClientError, ReadTimeoutError

from relay.delivery.task import recorded_state
from relay.failures import QueueError
from relay.ledger.accepted_signal import AcceptedSignal
from tests import samples
from tests.fakes import TABLE_DOWN, Relay, Step, hooked, new_relay, once, secrets_of, table_down, worked
from tests.unit.states import state

LATER = 1_800_000_001
# A read, the gate, a claim and a record: no row and no stored job.
DELIVERED = ["get_item", "update_item", "update_item", "update_item"]


def test_accepted_share_is_delivered_and_recorded_by_one_read_two_writes_and_one_rate_limit_call() -> None:
    relay = new_relay(policy={"flap": {"transitions": 9, "minutes": 60}})
    result, entry = relay.share(), relay.entry()
    assert (result.outcome, result.exchange.request_id, result.exchange.attempts) == ("delivered", "r7", 1)
    assert (result.subject.channel, result.subject.incident_id, result.subject.is_first) == ("noc", "i1", True)
    assert result.subject.why == "nothing of this open incident was announced"
    assert (result.queue, result.reason, result.notices.unguarded) == (None, None, None)
    assert (relay.dynamodb.calls[:4], len(relay.retries.messages), relay.dead_letters.messages) == (DELIVERED, 1, [])
    assert entry.announced
    assert (entry.announced.version, entry.announced.is_same(entry.newest)) == ((1_800_000_000,) * 2, True)
    assert (entry.lease, entry.debt.since, entry.debt.is_given_up) == (None, None, False)
    assert entry.accepted_signals == (AcceptedSignal("r7", relay.clock.now, is_open=True, is_critical=True),)


def test_log_line_of_a_share_in_shadow_mode_names_the_recipients_of_the_signal_that_was_not_sent() -> None:
    relay = new_relay(policy={"mode": "shadow"})
    relay.webhook.serve(samples.request(recipients=("jdoe",)))
    [line] = relay.recorder.lines()
    assert (line["outcome"], line["transition"], line["status"]) == ("shadowed", "opened", "critical")
    assert "jdoe" in line["recipients"]


def test_share_that_only_shadow_mode_saw_rings_if_it_comes_again_once_the_channel_is_live() -> None:
    relay = new_relay(policy={"mode": "shadow"})
    assert relay.share().outcome == "shadowed"
    relay.change_policy()
    assert [relay.share().outcome for _ in range(2)] == ["delivered", "duplicate"]


def test_state_that_would_wait_for_the_end_of_a_pause_is_a_signal_of_shadow_mode() -> None:
    relay = new_relay(policy={"mode": "shadow", "pauses": [samples.pause("keep")]})
    assert relay.play("critical comment") == ["shadowed opened", "unchanged touched"]


def test_state_that_would_wait_until_a_flapping_incident_is_calm_is_no_signal_of_shadow_mode() -> None:
    relay = new_relay(policy={"mode": "shadow", "flap": {"transitions": 2, "minutes": 60}})
    assert [each.split()[0] for each in relay.play("warning ok warning ok")] == ["shadowed"] * 3 + ["unchanged"]


# ---- Shares with bad timestamps --------------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [6, 3599])
def test_resolve_with_a_stamp_in_the_future_does_not_hide_the_next_critical(ahead: float) -> None:
    relay = new_relay()
    relay.share()
    stamp = relay.clock.now + ahead
    relay.share(status="ok", active=False, resolved=True, changedOn=stamp, updatedOn=stamp)
    relay.clock.now += 10
    assert relay.share(changedOn=LATER + 9, updatedOn=LATER + 9).subject.transition == "reopened"


@pytest.mark.parametrize("quiet", [{"mode": "shadow"}, {"pauses": [samples.pause("drop")]}], ids=["shadow", "drop"])
@pytest.mark.parametrize("meanwhile", ["ok critical", "warning critical"])
def test_critical_that_is_as_bad_again_in_a_quiet_time_rings_at_its_next_share(
    quiet: dict[str, Any], meanwhile: str
) -> None:
    """Its page may have ended with the better state, of which nobody was told."""
    relay = new_relay(policy={"preset": "oncall"})
    relay.play("critical")
    relay.change_policy(preset="oncall", **quiet)
    relay.play(meanwhile)
    relay.change_policy(preset="oncall")
    assert relay.play("comment") == [f"delivered {'reopened' if 'ok' in meanwhile else 'worsened'}"]
    assert relay.play("comment") == ["unchanged touched"]


def test_title_of_an_incident_stays_if_a_later_share_has_none() -> None:
    relay = new_relay()
    relay.play("critical", description="disk full")
    relay.play("comment")
    assert relay.entry().about.title == "disk full"


def test_share_without_timestamps_rings_although_its_functions_clock_is_behind_that_of_the_one_before_it() -> None:
    relay = new_relay()
    relay.share(status="warning", changedOn=None)
    relay.clock.now -= 0.4
    assert relay.share(status="critical", changedOn=None).subject.transition == "worsened"


# ---- One failed call of the table ------------------------------------------------------------------------------------

# Calls of the table for a share, with the number of earlier calls of that operation.
CALLS = {"read": ("get_item", 0), "gate": ("update_item", 0), "claim": ("update_item", 1), "record": ("update_item", 2)}
UNGUARDED = "DynamoDB refused: InternalServerError"


def down(*steps: Step, **changes: Any) -> Relay:
    """Return a relay whose table fails at every call."""
    relay = new_relay(*steps, **changes)
    relay.dynamodb.failure = TABLE_DOWN
    return relay


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


def test_critical_that_may_have_rung_without_the_ledger_does_not_ring_at_once_with_each_share() -> None:
    relay = new_relay(samples.refused(502))
    relay.dynamodb.failure = TABLE_DOWN
    relay.play("critical")
    sent = len(relay.session.calls)
    assert (relay.play("comment comment"), len(relay.session.calls)) == (["queued internal"] * 2, sent)


def test_state_that_is_not_critical_waits_if_the_rate_limiter_fails() -> None:
    relay, table = hooked()
    table.before[CALLS["gate"]] = table_down
    assert (relay.play("warning"), relay.session.calls, relay.retries.delays()) == (["queued internal"], [], [30])


def test_critical_that_comes_back_after_an_ease_rings_at_once_while_the_table_is_down() -> None:
    relay = down()
    relay.play("critical 30 warning 30 critical")
    assert relay.statuses() == "critical critical"


def test_state_whose_attempt_failed_forgets_that_the_table_was_down_before() -> None:
    relay = down(DOWN)
    relay.play("warning")
    relay.dynamodb.failure = None
    relay.wake(30)
    assert [(job.stamps.reason, job.ledger_down_since) for job in relay.retries.jobs()] == [("upstream", None)]


def test_critical_that_xmatters_did_not_take_while_the_table_is_down_does_not_keep_the_next_one_waiting() -> None:
    relay = down(DOWN, DOWN, DOWN, samples.accepted())
    assert relay.play("critical critical") == ["queued upstream", "delivered"]


def test_state_whose_signal_without_the_table_failed_stays_on_its_queue_if_that_refuses_its_next_message() -> None:
    relay = down(DOWN)
    relay.play("warning 30 30 30")
    [job] = relay.retries.jobs()
    relay.retries.failure = NO
    relay.clock.now += 60
    assert (worked(relay, job), relay.dead_letters.messages) == (["m1"], [])


@pytest.mark.parametrize("failures", [0, 3])
def test_nobody_is_told_of_a_critical_that_rang_while_the_table_is_down(failures: int) -> None:
    relay = down(*[samples.refused(503)] * failures, samples.accepted())
    relay.play("critical 400")
    relay.wake(1200)
    assert (len(relay.session.calls), relay.sns.published) == (failures + 1, [])


def test_people_are_told_of_a_critical_that_xmatters_refused_while_the_table_was_down() -> None:
    relay = down(samples.refused(400))
    relay.share()
    relay.wake(60)
    relay.dynamodb.failure = None
    relay.sweep_for(240)
    assert (relay.entry().debt.is_given_up, len(relay.dead_letters.messages)) == (True, 1)
    [told] = relay.sns.published
    assert told["Subject"] == "CRITICAL, xMatters did not notify: incident i1 of channel noc"


def test_replayed_job_waits_for_the_table_since_only_the_entry_says_if_it_is_still_owed() -> None:
    relay = new_relay(samples.refused(400), samples.accepted())
    relay.share()
    [job] = relay.dead_letters.jobs()
    sent = len(relay.session.calls)
    relay.retries.messages.clear()
    relay.dynamodb.failure = TABLE_DOWN
    worked(relay, job)
    relay.wake(600)
    assert len(relay.session.calls) == sent
    relay.dynamodb.failure = None
    relay.wake(60)
    assert relay.entry().announced


def test_critical_is_sent_if_other_senders_keep_changing_its_entry_and_no_queue_takes_it() -> None:
    relay = new_relay()
    relay.retries.failure, update = NO, relay.dynamodb.update_item

    def conflicts(**request: Any) -> Any:
        if request["Key"]["pk"]["S"].startswith("incident/"):
            raise ClientError({"Error": {"Code": "ConditionalCheckFailedException"}}, "UpdateItem")
        return update(**request)

    relay.dynamodb.update_item = conflicts  # type: ignore[method-assign]
    assert relay.play("critical") == ["delivered opened"]


# ---- The table is down -----------------------------------------------------------------------------------------------

# Events (see `Relay.play`) while the table is down, what becomes of each share, and the statuses of the signals.
OUTAGES: dict[str, tuple[str, list[str], str]] = {
    "critical": ("critical 30 30 30 30 30", ["delivered"], "critical"),
    "warning waits two minutes": ("warning 30 30 30 29", ["queued internal"], ""),
    "warning is sent then": ("warning 30 30 30 30", ["queued internal"], "warning"),
    "second critical waits, though an older warning wakes": (
        "warning critical 30 critical",
        ["queued internal", "delivered", "queued internal"],
        "critical",
    ),
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


def test_second_critical_waits_for_the_record_of_the_first_that_rang_while_the_table_was_down() -> None:
    relay = down()
    relay.play("critical critical")
    first, second = relay.retries.jobs()
    relay.dynamodb.failure = None
    worked(relay, second)
    worked(relay, first)
    relay.play("60")
    assert relay.statuses() == "critical"


@pytest.mark.parametrize("is_table_down", [True, False])
def test_claimed_resolve_is_unsafe_and_not_sent_if_no_queue_takes_it_or_the_question(is_table_down: bool) -> None:
    relay = new_relay(secrets=secrets_of(bigpanda={"api_key": "BPU-1", "environment_id": "e"}))
    relay.dynamodb.failure = TABLE_DOWN if is_table_down else None
    relay.retries.failure = relay.chores.failure = NO
    result = relay.share(status="ok")
    assert (result.outcome, relay.session.calls) == ("unsafe", [])


def test_signal_without_the_table_is_noted_by_one_message_that_waits_as_long_as_the_table_is_down() -> None:
    relay = down()
    relay.play("critical 30 30 30")
    assert [job.accepted is not None for job in relay.retries.jobs()] == [True]
    assert relay.retries.delays() == [9]


@pytest.mark.parametrize(
    ("until", "is_read", "delay"), [(3601, True, 120), (31, True, 30), (3601, False, 30), (11, False, 10)]
)
def test_state_in_a_pause_wakes_at_its_end_or_within_two_minutes_if_the_table_does_not_take_its_row(
    until: float, is_read: bool, delay: int
) -> None:
    """The pause may end early, and no sweeper would wake the state then."""
    relay = new_relay(policy={"pauses": [samples.pause("keep", until=until)]})
    relay.dynamodb.refuses_writes, relay.dynamodb.failure = True, None if is_read else TABLE_DOWN
    assert (relay.play("critical"), relay.retries.delays()) == (["queued paused"], [delay])


DOWN, REFUSED = samples.refused(503), samples.refused(400, b"no such property")
LATE = requests.ReadTimeout("late")
NO = QueueError("SQS refused the message: AccessDenied")


# What takes nothing, the answer of xMatters, and the place that keeps the share: None if it is unsafe.
PLACES: list[tuple[set[str], Step, str | None]] = [
    (set(), DOWN, "retry"),
    ({"retries"}, DOWN, "ledger"),
    ({"retries", "table"}, DOWN, "dead_letter"),
    ({"retries", "row"}, DOWN, "dead_letter"),
    ({"retries", "table", "dead_letters"}, DOWN, None),
    ({"retries", "store", "dead_letters"}, DOWN, None),
    ({"retries", "table", "dead_letters"}, LATE, None),
    ({"retries"}, REFUSED, "dead_letter"),
    ({"retries", "dead_letters"}, REFUSED, "ledger"),
    ({"retries", "table", "dead_letters"}, REFUSED, None),
    ({"retries", "store", "dead_letters"}, REFUSED, None),
]


@pytest.mark.parametrize(("broken", "answer", "place"), PLACES)
def test_share_that_is_not_accepted_is_kept_where_something_takes_it_or_is_unsafe(
    broken: set[str], answer: Step, place: str | None
) -> None:
    relay, table = hooked(answer)
    relay.retries.failure = NO if "retries" in broken else None
    relay.dead_letters.failure = NO if "dead_letters" in broken else None
    table.refuses_writes = "table" in broken
    if "row" in broken:
        # The writes of the table: the gate, the claim, and the record with the row.
        table.before_next(table_down, after=2)
    if "store" in broken:
        table.before["put_item", 0] = table_down
    result = relay.share(status="warning", changedOn=LATER)
    assert (result.outcome, result.queue) == ("queued" if place else "unsafe", place)
    assert relay.entry().debt.is_given_up == (place == "dead_letter" and not broken & {"table", "row"})
    if place is None:
        copy = result.job
        assert copy
        assert (copy.body, copy.stamps.attempts) == (relay.session.calls[0].body, len(relay.session.calls))
        assert (copy.stamps.reason, (result.detail or "")[-18:]) == (result.reason, "; no queue took it")
    again, older = (relay.share(status="warning", changedOn=each) for each in (LATER, LATER - 1))
    if "row" not in broken:
        is_known = (again.outcome, older.outcome) == ("duplicate", "superseded")
        assert is_known == (not broken & {"table", "store"}), (
            "no share is a duplicate of an unsafe one, or superseded by it"
        )
    relay.retries.failure = relay.dead_letters.failure = None
    table.refuses_writes = False
    relay.close_circuits()
    relay.sweep_for(300, 20)
    is_dead = answer is REFUSED and "table" not in broken
    assert bool([job for job in relay.dead_letters.jobs() if job.stamps.reason == "refused"]) == is_dead


def test_people_are_told_of_a_refused_critical_although_its_first_message_and_the_record_of_its_end_failed() -> None:
    relay, table = hooked(REFUSED)
    relay.retries.before = once(table_down)
    # The claim is the second write of the table's items, the gate's being the first.
    table.before["update_item", 2] = table_down
    relay.share()
    assert relay.entry().debt.is_given_up is False
    relay.sweep_for(300, 30)
    assert relay.entry().debt.is_given_up
    assert [each["Subject"] for each in relay.sns.published] == [
        "CRITICAL, xMatters did not notify: incident i1 of channel noc"
    ]


def test_error_of_our_own_code_during_a_signal_is_logged_and_the_state_is_tried_again() -> None:
    relay = new_relay(ZeroDivisionError(), samples.accepted())
    assert relay.webhook.serve(samples.request()).document["outcome"] == "queued"
    [line] = relay.recorder.lines("crash")
    assert (line["error"], relay.recorder.metrics()["crash"]) == ("ZeroDivisionError", 1)
    relay.wake(60)
    assert relay.entry().announced


def test_state_of_a_message_has_the_hash_that_the_message_recorded() -> None:
    assert recorded_state(samples.job(digest="0" * 64), state()).digest == "0" * 64


def test_each_next_message_of_a_state_that_fails_has_a_higher_number() -> None:
    relay = new_relay(DOWN)
    relay.share(status="critical")
    plans = []
    for _ in range(3):
        plans += [job.plan for job in relay.retries.jobs()]
        relay.close_circuits()
        relay.wake(60)
    assert len(plans) == len(set(plans)) == 3
    assert plans == sorted(plans)


ROUTES = [{"when": {"tag.team": "dba"}, "recipients": ["DBA"]}, {"when": {"status": "*"}, "recipients": ["NOC"]}]
LATE_TAGS = {"routes": ROUTES, "reroute_within_seconds": 300}
ALERT = {"id": "a1", "status": "critical"}
TAGGED = ALERT | {"tags": [{"name": "team", "value": "dba"}]}


def test_late_tag_that_waits_counts_from_its_first_share() -> None:
    """Further shares of the same state come while it waits, and after the time in which late tags count."""
    relay = new_relay(policy=LATE_TAGS)
    relay.share(alerts=[ALERT])
    relay.session.steps = [samples.refused(503)]
    for seconds, stamp in ((200, 1), (200, 2)):
        relay.clock.now += seconds
        relay.share(alerts=[TAGGED], changedOn=1_800_000_000 + stamp)
    relay.close_circuits()
    relay.session.steps = [samples.accepted("r2")]
    relay.wake(60)
    assert [each.is_for("DBA") for each in relay.entry().accepted_signals] == [False, True]


def test_late_tag_counts_from_the_last_signal_of_its_incident() -> None:
    relay = new_relay(*map(samples.accepted, ("r1", "r2", "r3")), policy=LATE_TAGS)
    for seconds, status, alert in ((0, "warning", ALERT), (1200, "critical", ALERT), (60, "critical", TAGGED)):
        relay.clock.now += seconds
        relay.share(status=status, alerts=[alert], changedOn=int(relay.clock.now))
    assert [each.is_for("DBA") for each in relay.entry().accepted_signals] == [False, False, True]
