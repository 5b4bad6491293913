"""Follow-up of signals: their pages are found or reported missing, and those of past states end."""

import json
import math
from types import SimpleNamespace
from typing import Any

import pytest
import requests

from relay.delivery.page_followup import terminated
from relay.failures import BadAnswer, QueueError, reason_for_status
from relay.http.session import HttpAnswer
from relay.jobs.job import timestamp
from relay.jobs.queue import release_job
from relay.ledger.accepted_signal import AcceptedSignal
from relay.ledger.entry import Entry
from relay.ledger.table import stored_row
from tests import samples
from tests.fake_dynamodb import FakeDynamoDb
from tests.fakes import HIDDEN_WHILE_WORKED, TABLE_DOWN, Call, FakeSession, Relay, Step, dies, slow, table_down, worked
from tests.unit.xmatters_tenant import Tenant, listed, new_relay, pages

DOWN = samples.refused(503)
# After so long, the page of a signal counts as missing.
MISSING = 180
FLAP: dict[str, Any] = {"flap": {"transitions": 3, "minutes": 5}}


def followup(**members: Any) -> Any:
    return samples.job(kind="followup", recipients=(), attempts=0, **members)


def found(relay: Relay) -> list[tuple[str, ...]]:
    return [ids for ids, _, _, _ in pages(relay)]


# ---- Pages are found -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "ids", "number"),
    [
        ([{"id": "page-9", "requestId": "another"}, {"id": "page-1", "requestId": "R1"}], ("page-1",), "1"),
        ([{"id": "page-1", "status": "TERMINATED"}, {"id": "page-2"}], ("page-1", "page-2"), "1"),
        (
            [{"id": "x" * 101}, {"id": None}, *({"id": f"p{n}", "status": None} for n in range(1000))],
            tuple(f"p{n}" for n in range(10)),
            "7" * 100,
        ),
    ],
    ids=["page of another request", "one of two has ended", "more than the ledger keeps"],
)
def test_pages_are_those_of_the_request_cut_to_what_the_ledger_keeps_and_one_of_them_is_active(
    tenant: Tenant, data: list[dict[str, Any]], ids: tuple[str, ...], number: str
) -> None:
    said: list[Any] = [{"eventId": "7" * 9000 if number != "1" else "1", "status": "ACTIVE", **each} for each in data]
    relay = new_relay(tenant, rest=FakeSession(HttpAnswer(200, {}, json.dumps({"data": said}).encode())))
    relay.play("critical 36")
    assert pages(relay)[0] == (ids, number, False, False)


def test_worker_of_signals_leaves_the_followup_to_the_chore_queue(tenant: Tenant) -> None:
    relay = new_relay(tenant, DOWN, DOWN, DOWN)
    relay.share()
    relay.clock.now += 36
    assert relay.worker.work(relay.retries.records()) == []
    [job] = relay.chores.jobs()
    assert (job.kind, job.incident_id, relay.chores.delays()) == ("followup", "i1", [10])
    assert relay.rest.calls == [], "an API that hangs must not take the time of signals"
    relay.wake(10)
    assert (found(relay), relay.delays()) == ([("page-1",)], [])


# ---- Pages are missing -----------------------------------------------------------------------------------------------


def test_critical_without_a_page_is_logged_and_notified_by_the_sweeper(tenant: Tenant) -> None:
    tenant.makes_pages = False
    relay = new_relay(tenant)
    relay.share(description="disk full")
    began = relay.clock.now
    relay.drain()
    assert MISSING < relay.clock.now - began < MISSING + 90
    assert relay.recorder.metrics()["page_missing"] == 1
    assert (relay.sns.published, relay.entry().receipt.missed) == ([], "page_missing")
    [line] = [line for line in relay.recorder.lines() if line["message"].startswith("page missing")]
    assert (line["request_id"], pages(relay)[0][3]) == ("r1", True)
    relay.sweep_for(600)
    [message] = relay.sns.published
    assert message["Subject"] == "CRITICAL, xMatters did not notify: incident i1 of channel noc"
    assert "xMatters accepted its signal (request id r1) and made no page of it" in message["Message"]
    assert 'Incident i1: \\"disk full\\"' in message["Message"], "the follow-up's job has the words"
    assert "in_flight" not in message["Message"]
    # The fallback topic was notified, so nothing is left to do.
    assert (relay.entry().receipt.is_open, stored_row(relay.entry())) == (False, None)
    assert len(relay.session.calls) == 1
    relay.play("ok 36 5m")
    assert (pages(relay)[0][2], pages(relay)[1][3]) == (True, True)
    assert relay.recorder.metrics()["page_missing"] == 1, "reported once, and not of the resolve"


def test_topic_reads_of_the_critical_without_a_page_although_a_milder_state_is_owed_since(tenant: Tenant) -> None:
    tenant.makes_pages = False
    relay = new_relay(tenant, policy={"notify_on": ["opened", "eased"], "min_seconds_between_signals": 0})
    relay.play("critical 5", alerts=[{"id": "a1", "status": "critical", "description": "disk full"}])
    relay.session.steps = [samples.refused(503)]
    relay.play("warning 15m", alerts=[{"id": "a1", "status": "warning", "description": "disk nearly full"}])
    [message] = relay.sns.published
    assert 'Incident i1: \\"disk full\\"' in message["Message"]


@pytest.mark.parametrize(
    ("at", "missed"),
    [
        ("2027-01-15T08:00:30.000Z", "page_suppressed"),
        ("2027-01-15T08:58:30.000+0100", "page_missing"),
        ("2027-01-15T08:00:30.000", "page_missing"),
        ("never", "page_missing"),
    ],
)
def test_missing_page_of_the_minute_in_which_flood_control_suppressed_pages_says_so(
    at: str, missed: str, tenant: Tenant
) -> None:
    tenant.makes_pages = False
    tenant.suppressed = ["2026-01-01T00:00:00.000Z", at]
    relay = new_relay(tenant)
    relay.play("critical drain")
    assert (relay.entry().receipt.missed, tenant.paths.count("event-suppressions")) == (missed, 1)
    relay.sweep_for(600)
    [message] = relay.sns.published
    assert ("flood control suppressed pages then; raise its limits" in message["Message"]) == (
        missed == "page_suppressed"
    )


def test_time_of_a_suppressed_page_may_be_beside_the_pages_name(tenant: Tenant) -> None:
    tenant.makes_pages = False
    tenant.replies["event-suppressions"] = listed({"match": {"id": "e2"}, "at": "2027-01-15T08:00:30.000Z"})
    relay = new_relay(tenant)
    relay.play("critical drain")
    assert relay.entry().receipt.missed == "page_suppressed"


def test_fallback_is_not_notified_of_a_missing_page_after_an_end_that_is_not_announced(tenant: Tenant) -> None:
    relay = new_relay(tenant, policy={"notify_on": ["opened", "reopened"]})
    tenant.hidden = {"r1"}
    relay.play("critical 36 ok drain 3m")
    assert (relay.recorder.metrics()["page_missing"], relay.sns.published) == (1, [])


@pytest.mark.parametrize(
    ("later", "missed"), [(["Ops"], "page_missing"), (["Ops", "Dba"], ""), (["Ops", "Dba", "Boss"], "")]
)
def test_critical_without_a_page_is_told_of_unless_a_later_page_is_for_all_its_recipients(
    later: list[str], missed: str, tenant: Tenant
) -> None:
    tenant.hidden = {"r1"}
    routes = [
        {"when": {"status": "critical"}, "recipients": ["Ops", "Dba"]},
        {"when": {"status": "*"}, "recipients": later},
    ]
    relay = new_relay(
        tenant, policy={"routes": routes, "notify_on": ["opened", "eased"], "min_seconds_between_signals": 0}
    )
    relay.play("critical 15 warning 5m")
    assert (relay.statuses(), relay.entry().receipt.missed) == ("critical warning", missed)


# ---- The follow-up fails ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (DOWN, "upstream"),
        (samples.refused(401), "credentials"),
        (requests.ReadTimeout(), "timeout"),
        *((HttpAnswer(200, {}, content), "upstream") for content in (b"<html>rest-pw", b'{"data": {}}', b"[]")),
    ],
)
def test_failed_followup_is_retried_later_and_does_not_count_as_no_page(
    tenant: Tenant, step: Step, reason: str
) -> None:
    relay = new_relay(tenant, rest=FakeSession(step))
    relay.play(f"critical {MISSING + 36}")
    [waiting] = relay.chores.jobs()
    assert (waiting.kind, waiting.stamps.reason) == ("followup", reason)
    assert waiting.flags == set()
    assert (pages(relay)[0][3], "rest-pw" in repr(waiting) + relay.recorder.written()) == (False, False)
    relay.rest.steps = [tenant.rest]
    relay.wake(301)
    assert (found(relay), len(relay.session.calls)) == ([("page-1",)], 1)


def test_api_that_hung_is_not_called_again_for_half_a_minute(tenant: Tenant) -> None:
    relay = new_relay(tenant, access={"api_key": "BPU-1", "callbacks": True, "app_key": "a" * 24})
    relay.play("critical")
    relay.rest.steps = [slow(relay.clock, math.inf, dies)]
    calls = []
    for seconds in (0, 29, 2):
        relay.clock.now += seconds
        worked(relay, followup())
        calls.append(len(relay.rest.calls))
    assert calls[0] == calls[1] < calls[2]
    worked(relay, release_job(samples.job(), "incident#new"))
    assert len(relay.bigpanda.calls) == 1, "the other vendor's API is called"


def test_followup_out_of_time_goes_on_at_once_if_it_made_progress(tenant: Tenant) -> None:
    def takes_long(call: Call) -> HttpAnswer:
        relay.clock.now += 2
        return tenant.rest(call)

    relay = new_relay(tenant, rest=FakeSession(takes_long))
    relay.play("critical ok critical ok")
    relay.chores.messages.clear()
    worked(relay, followup(received_at=timestamp(relay.clock.now)))
    [again] = relay.chores.jobs()
    assert (again.stamps.reason, again.stamps.attempts, relay.chores.delays()) == ("in_flight", 0, [0])
    relay.drain()
    assert sorted(tenant.ended) == ["page-1", "page-2", "page-3"]


def test_followup_of_an_older_signal_that_failed_is_tried_again_only_if_its_page_is_unknown(tenant: Tenant) -> None:
    """The follow-up of the newest signal is for all signals, but it may be done before an older one is recorded."""
    relay = new_relay(tenant)
    relay.play("critical 40")
    tenant.replies["events"] = DOWN
    relay.play("ok critical ok")
    relay.chores.messages.clear()
    worked(relay, followup())
    assert relay.chores.messages == []
    for seconds_ago, waiting in ((1, 1), (0, 2)):
        worked(relay, followup(received_at=timestamp(relay.clock.now - seconds_ago)))
        assert len(relay.chores.messages) == waiting


# ---- Pages end -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 403, 500])
def test_page_that_xmatters_does_not_end_keeps_others_from_no_end_and_people_from_no_question(
    status: int, tenant: Tenant
) -> None:
    def refuse_first(call: Call) -> HttpAnswer:
        is_first = call.method == "POST" and json.loads(call.body)["id"] == "page-1"
        return HttpAnswer(status, {}, b"{}") if is_first else tenant.rest(call)

    tenant.audits["page-2"] = ["DELIVERED", "Acknowledge"]
    policy = {"notified_within_seconds": 300, "answered_within_seconds": 900}
    relay = new_relay(tenant, policy=policy, rest=FakeSession(refuse_first))
    relay.play("warning 40 critical 40 30m")
    assert (relay.entry().receipt.answered_by, relay.sns.published) == ("jdoe", [])
    relay.play("ok 15")
    assert tenant.ended == ["page-2"]


@pytest.mark.parametrize("is_paused", [False, True])
@pytest.mark.parametrize(("status", "most"), [(403, 13), (503, 5), (400, 2)])
def test_page_that_xmatters_does_not_end_is_tried_as_seldom_as_it_asks_although_a_receipt_is_awaited(
    status: int, most: int, is_paused: bool, tenant: Tenant
) -> None:
    refusals: list[Call] = []

    def refuse(call: Call) -> HttpAnswer:
        if call.method != "POST":
            return tenant.rest(call)
        refusals.append(call)
        return HttpAnswer(status, {"retry-after": "900"}, b"{}")

    tenant.audits["page-2"] = ["DELIVERED"]
    policy = {"notified_within_seconds": 300, "answered_within_seconds": 8 * 3600}
    relay = new_relay(tenant, policy=policy, rest=FakeSession(refuse))
    relay.play("warning 40 critical 40")
    if is_paused:
        relay.change_policy(**policy, pauses=[samples.pause("keep", 0, 7200)])
    relay.play("60m")
    assert 1 <= len(refusals) <= most
    assert ("credentials_refused" in relay.recorder.metrics()) == (status == 403)


@pytest.mark.parametrize("status", [401, 429])
def test_run_asks_for_no_further_page_once_xmatters_refuses_the_credential_or_asks_for_a_pause(
    status: int, tenant: Tenant
) -> None:
    relay = new_relay(tenant, policy={"replace": False})
    relay.play("critical 40 warning 40")
    asked, relay.rest.steps = len(relay.rest.calls), [samples.refused(status)]
    relay.play("ok 10")
    assert (len(relay.rest.calls) - asked, relay.chores.jobs()[0].stamps.http_status) == (1, status)


def test_page_with_a_passing_failure_ends_although_xmatters_does_not_end_another(tenant: Tenant) -> None:
    answers = {"page-1": [400, 400, 400], "page-2": [503]}

    def refuse(call: Call) -> HttpAnswer:
        left = answers.get(json.loads(call.body)["id"], []) if call.method == "POST" else []
        return HttpAnswer(left.pop(0), {}, b"{}") if left else tenant.rest(call)

    relay = new_relay(tenant, policy={"replace": False}, rest=FakeSession(refuse))
    relay.play("warning 15 15 critical 15 15 ok 15 15 30m")
    assert "page-2" in tenant.ended


@pytest.mark.parametrize("status", [503, 404, 200], ids=["503", "404 of a proxy", "log-in page of a proxy"])
def test_page_whose_end_failed_ends_soon_although_an_answer_is_awaited_for_hours(tenant: Tenant, status: int) -> None:
    failed = HttpAnswer(status, {}, b"\n<html></html>")

    def refuse(call: Call) -> HttpAnswer:
        return failed if call.method == "POST" and relay.clock.now < 1_800_000_600 else tenant.rest(call)

    tenant.audits["page-2"] = ["DELIVERED"]
    policy = {"notified_within_seconds": 300, "answered_within_seconds": 8 * 3600}
    relay = new_relay(tenant, policy=policy, rest=FakeSession(refuse))
    relay.play("warning 15 15 critical 15 20m")
    assert tenant.ended == ["page-1"]


@pytest.mark.parametrize("statuses", [(503, 400), (400, 503)])
def test_end_of_a_signal_with_two_pages_is_tried_again_if_one_failed_in_passing(statuses: tuple[int, int]) -> None:
    left = list(statuses)

    def terminate(*_: object) -> None:
        status = left.pop(0)
        raise BadAnswer(reason_for_status(status), "refused", http_status=status)

    pages: Any = SimpleNamespace(of_request=lambda *_: [], terminate=terminate)
    nothing: Any = None
    signal = AcceptedSignal("r1", 1.0, is_open=True, pages=("a", "b"))
    with pytest.raises(BadAnswer) as caught:
        terminated(pages, nothing, Entry(), signal, nothing)
    assert (caught.value.http_status, left) == (503, [])


@pytest.mark.parametrize(
    ("policy", "steps", "events", "ended", "again"),
    [
        ({"pauses": [samples.pause("keep", 30)]}, (), "critical 36 ok 36", ["page-1"], "queued paused"),
        ({}, (samples.accepted("r1"), *[DOWN] * 20), "critical 36 ok 36 36 36", ["page-1"], "queued upstream"),
        (
            {"flap": {"transitions": 2, "minutes": 60}},
            (),
            "critical 36 ok 36 critical 36 ok 36",
            ["page-1", "page-2"],
            "unchanged touched",
        ),
        (
            FLAP,
            (samples.accepted("r1"), *[DOWN] * 60),
            "critical 36 ok critical ok 10m",
            ["page-1"],
            "queued circuit_open",
        ),
    ],
    ids=["paused", "xMatters is down", "it flaps", "it is calm again"],
)
def test_page_ends_before_its_resolve_is_announced_unless_the_incident_flaps(
    policy: dict[str, Any], steps: tuple[Step, ...], events: str, ended: list[str], again: str, tenant: Tenant
) -> None:
    """The last page of the flapping incident is `page-3`. An incident whose page ended rings again if it opens."""
    relay = new_relay(tenant, *steps, policy=policy)
    relay.play(events)
    assert (tenant.ended, relay.play("critical")) == (ended, [again])


def test_page_ends_seconds_after_its_resolve_is_announced_although_the_resolves_message_wakes_later(
    tenant: Tenant,
) -> None:
    relay = new_relay(tenant)
    assert relay.play("critical 40 ok 6") == ["delivered opened", "delivered resolved"]
    assert tenant.ended == ["page-1"]


def test_updates_of_an_incident_that_is_over_queue_no_followup_of_their_own(tenant: Tenant) -> None:
    """Comments in BigPanda on a resolved incident add nothing to the requests that the resolve causes."""
    relay = new_relay(tenant)
    relay.play("critical 36 ok")
    queued = len(relay.chores.messages)
    assert relay.play("comment comment") == ["unchanged touched"] * 2
    assert (len(relay.chores.messages), tenant.ended) == (queued, [])
    relay.play("6")
    assert tenant.ended == ["page-1"]


def test_page_of_an_incident_that_opens_again_stays_until_the_new_signal_is_accepted(tenant: Tenant) -> None:
    relay = new_relay(tenant, tenant.accept, tenant.accept, *[DOWN] * 30)
    relay.play("critical 36 ok 2 critical 4m")
    assert tenant.ended == []
    relay.session.steps = [tenant.accept]
    relay.close_circuits()
    relay.play("3m")
    assert tenant.ended == ["page-1", "page-2"]


def test_page_ends_although_the_critical_that_opened_its_incident_again_is_never_announced(tenant: Tenant) -> None:
    relay = new_relay(tenant, tenant.accept, tenant.accept, *[DOWN] * 60, policy={"max_age_seconds": 100})
    relay.play("critical 36 ok 2 critical 60")
    assert tenant.ended == []
    relay.play("4m")
    assert (tenant.ended, len(relay.dead_letters.messages)) == (["page-1"], 1)


def test_critical_that_opens_again_before_its_end_is_announced_is_told_of_after_its_own_time(tenant: Tenant) -> None:
    """Neither the time since which the resolve is owed counts, nor that nobody answered the page that was ended."""
    relay = new_relay(tenant, samples.accepted("r1"), *[DOWN] * 90, policy={"answered_within_seconds": 900})
    relay.play("critical 36 ok 36 20m critical 4m")
    assert (tenant.ended, relay.sns.published) == (["page-1"], [])
    relay.play("2m")
    [told] = relay.sns.published
    assert "owed since 2027-01-15T08:21:" in told["Message"]


def test_resolve_that_waits_does_not_end_the_page_of_a_newer_state_that_is_being_sent(tenant: Tenant) -> None:
    """The queue refuses the newer state's message, so that the ledger knows of it by its lease alone."""
    relay = new_relay(tenant, tenant.accept, *[DOWN] * 4)
    relay.play("critical 36 ok 36")

    def accept(call: Call) -> HttpAnswer:
        relay.session.steps, relay.retries.failure = [tenant.accept], None
        worked(relay, *relay.retries.jobs())
        return tenant.accept(call)

    relay.clock.now += 30
    relay.close_circuits()
    relay.session.steps, relay.retries.failure = [accept], TABLE_DOWN
    assert relay.play("critical 36 60") == ["delivered reopened"]
    assert tenant.ended == ["page-1"]


class LosesAnswers(FakeDynamoDb):
    """A DynamoDB client that loses the answer to the next write of the incident's entry, if `loses_next` is set."""

    loses_next = False

    def update_item(self, **request: Any) -> dict[str, Any]:
        answer = super().update_item(**request)
        if self.loses_next and request["Key"]["pk"]["S"].startswith("incident/"):
            self.loses_next = False
            table_down()
        return answer


def test_page_of_a_resolve_that_waits_ends_although_the_answer_to_the_ledgers_write_was_lost(tenant: Tenant) -> None:
    table = LosesAnswers()
    relay = new_relay(tenant, policy={"pauses": [samples.pause("keep", 30)]}, dynamodb=table)
    relay.play("critical 36")
    table.loses_next = True
    assert (relay.play("ok 36"), table.loses_next) == (["queued paused"], False)
    assert tenant.ended == ["page-1"]


@pytest.mark.parametrize(("failures", "delay"), [(0, 36), (3, 60)], ids=["its share's own", "one for this alone"])
def test_followup_that_no_queue_takes_is_queued_by_a_later_message_of_its_signal(
    failures: int, delay: int, tenant: Tenant
) -> None:
    relay = new_relay(tenant, *[DOWN] * failures)
    relay.chores.failure = QueueError("SQS refused the message: AccessDenied")
    relay.play("critical 36")
    assert relay.retries.delays() == [delay]
    relay.chores.failure = None
    relay.play(f"{HIDDEN_WHILE_WORKED} 10")
    assert found(relay) == [("page-1",)]


def test_missing_page_is_described_by_its_own_critical_and_not_by_one_that_was_dead_lettered_before() -> None:
    tenant = Tenant()
    relay = new_relay(tenant)
    relay.session.steps = [samples.refused(400)]
    relay.play("critical 10 2m", alerts=[{"id": "a1", "status": "critical", "description": "disk full"}])
    assert len(relay.dead_letters.messages) == 1
    relay.play("ok 60m")
    relay.sns.published.clear()
    tenant.makes_pages, relay.session.steps = False, [tenant.accept]
    relay.play("critical 20m", alerts=[{"id": "a2", "status": "critical", "description": "payment is down"}])
    [message] = relay.sns.published
    assert ("payment is down" in message["Message"], "disk full" in message["Message"]) == (True, False)
