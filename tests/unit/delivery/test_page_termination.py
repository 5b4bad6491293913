"""Termination of pages: the relay ends a page when its incident ends, or when a newer page replaces it."""

import json
from typing import Any

import pytest
import requests
from botocore.exceptions import EndpointConnectionError

from relay.delivery.page_followup import LOOK_FOR_SECONDS
from relay.entrypoints.chores import BRIEF_SECONDS
from relay.http.session import HttpAnswer
from relay.jobs.outcome import Outcome
from relay.ledger.entry import Entry
from relay.ledger.entry_key import key
from tests import samples
from tests.fakes import Call, FakeSecrets, FakeSession, HookedDynamoDb, Relay, worked
from tests.unit.paging_tenant import REST, Tenant, new_relay, pages
from tests.unit.states import NOW, over, state

LATER = 1_800_000_001
DOWN = samples.refused(503)


@pytest.fixture
def tenant() -> Tenant:
    return Tenant()


class TestEnd:
    def test_resolve_ends_the_pages_before_it_and_not_its_own(self, tenant: Tenant) -> None:
        relay = new_relay(tenant)
        relay.share()
        relay.wake(36)
        relay.share(status="ok", changedOn=LATER)
        relay.wake(36)
        assert tenant.ended == ["page-1"]
        assert [is_over for _, _, is_over, _ in pages(relay)] == [True, False]

    def test_resolve_ends_a_page_that_was_not_followed_yet(self, tenant: Tenant) -> None:
        relay = new_relay(tenant)
        relay.share()
        relay.share(status="ok", changedOn=LATER)
        relay.wake(36)
        assert tenant.ended == ["page-1"]
        assert relay.delays() == []

    def test_newer_page_replaces_the_older_one(self, tenant: Tenant) -> None:
        relay = new_relay(tenant)
        relay.share(status="warning")
        relay.share(status="critical", changedOn=LATER)
        relay.wake(36)
        assert tenant.ended == ["page-1"]

    def test_older_page_is_not_ended_before_the_newer_one_is_found(self, tenant: Tenant) -> None:
        relay = new_relay(tenant)
        relay.share(status="warning")
        relay.wake(36)
        tenant.after = 100
        relay.share(status="critical", changedOn=LATER)
        relay.wake(36)
        assert tenant.ended == []
        relay.drain()
        assert tenant.ended == ["page-1"]

    def test_older_page_is_not_ended_if_the_newer_one_is_over_when_it_is_found(self, tenant: Tenant) -> None:
        relay = new_relay(tenant)
        relay.share(status="warning")
        relay.share(status="critical", changedOn=LATER)
        # xMatters ended the newer page by itself, perhaps because it could notify nobody.
        tenant.ended.append("page-2")
        relay.wake(36)
        assert tenant.ended == ["page-2"]

    def test_older_page_is_not_ended_by_a_newer_one_if_replace_is_off(self, tenant: Tenant) -> None:
        relay = new_relay(tenant, policy={"replace": False})
        for second, status in enumerate(("warning", "critical", "ok")):
            relay.share(status=status, changedOn=LATER + second)
            relay.wake(36)
            assert tenant.ended == ([] if status != "ok" else ["page-1", "page-2"])

    def test_followup_of_a_resolve_ends_the_page_although_the_incident_is_open_again(self, tenant: Tenant) -> None:
        relay = new_relay(tenant, policy={"replace": False})
        for seconds, status in enumerate(("critical", "ok")):
            relay.clock.now += 20
            relay.share(status=status, changedOn=LATER + seconds)
        relay.clock.now += 20
        relay.share(status="critical", changedOn=LATER + 3)
        assert tenant.ended == []
        [of_the_resolve] = [message for message in relay.retries.messages if '"status":"ok"' in message["MessageBody"]]
        relay.retries.messages[:] = [of_the_resolve]
        relay.wake(16)
        assert tenant.ended == ["page-1"]
        assert relay.delays() == [], "the newer one's job sees to the rest"

    def test_page_of_a_reopened_incident_is_not_ended_by_the_resolve_before_it(self, tenant: Tenant) -> None:
        relay = new_relay(tenant, policy={"replace": False})
        for second, status in enumerate(("critical", "ok", "critical")):
            relay.share(status=status, changedOn=LATER + second)
        relay.wake(36)
        assert tenant.ended == ["page-1"]

    @pytest.mark.parametrize("status", [404, 409])
    def test_page_that_xmatters_says_is_over_already_counts_as_ended(self, tenant: Tenant, status: int) -> None:
        relay = new_relay(tenant)
        relay.share()
        relay.wake(36)
        relay = relay.with_rest(FakeSession(tenant.rest, tenant.rest, samples.refused(status)))
        relay.share(status="ok", changedOn=LATER)
        relay.wake(36)
        assert [is_over for _, _, is_over, _ in pages(relay)] == [True, False]
        assert relay.delays() == []

    def test_resolve_that_is_noted_late_does_not_end_a_page_that_was_raised_after_it(self, tenant: Tenant) -> None:
        relay = new_relay(tenant, policy={"replace": False})
        # The sender of the resolve was so slow to record it that another sender announced the next state meanwhile.
        entry = Entry().announcing(state(), "r1", NOW).announcing(state(40), "r3", NOW + 40)
        entry = entry.announcing(over(20), "r2", NOW + 20)
        assert relay.ledger.write(key("noc", (), "i1"), Entry(), entry)
        tenant.signals = [NOW, NOW + 20, NOW + 40]
        relay.retries.queue().send(samples.job(kind="followup", recipients=(), attempts=0))
        relay.wake(60)
        assert tenant.ended == ["page-1"]

    def test_page_that_one_of_two_concurrent_followups_found_is_not_lost(self, tenant: Tenant) -> None:
        table = HookedDynamoDb()
        relay = new_relay(tenant, dynamodb=table)
        tenant.after = LOOK_FOR_SECONDS + 1
        relay.share()
        relay.retries.messages.clear()
        other = relay.with_rest(FakeSession(tenant.rest))
        job = samples.job(kind="followup", recipients=(), attempts=0)

        def meanwhile() -> None:
            # The first follow-up has asked for the last time, and found nothing.
            relay.clock.now += 1
            worked(other, job)

        relay.clock.now += LOOK_FOR_SECONDS + 0.5
        table.before["update_item", table.calls.count("update_item")] = meanwhile
        worked(relay, job)
        assert pages(relay)[0][0] == ("page-1",)

    def test_followup_out_of_time_goes_on_at_once_if_it_made_progress(self, tenant: Tenant) -> None:
        def slow(call: Call) -> HttpAnswer:
            relay.clock.now += 2
            return tenant.rest(call)

        relay = new_relay(tenant, rest=FakeSession(slow))
        for seconds, status in enumerate(("critical", "ok", "critical", "ok")):
            relay.share(status=status, changedOn=LATER + seconds)
        worked(relay, samples.job(kind="followup", recipients=(), attempts=0))
        [again] = relay.chores.jobs()
        assert (again.stamps.reason, again.attempts, relay.chores.delays()) == ("in_flight", 0, [0])
        relay.drain()
        assert tenant.ended == ["page-1", "page-2", "page-3"]

    def test_followup_out_of_time_without_progress_waits_for_its_backoff(self, tenant: Tenant) -> None:
        def hangs(_: Call) -> HttpAnswer:
            relay.clock.now += BRIEF_SECONDS
            raise requests.ReadTimeout

        relay = new_relay(tenant, rest=FakeSession(hangs))
        relay.share()
        worked(relay, samples.job(kind="followup", recipients=(), attempts=0))
        [again] = relay.chores.jobs()
        assert (again.stamps.reason, again.attempts) == ("timeout", 1)
        assert relay.chores.delays()[0] > 0

    def test_page_that_a_person_ended_is_not_ended_again(self, tenant: Tenant) -> None:
        relay = new_relay(tenant)
        relay.share()
        tenant.ended.append("page-1")
        relay.share(status="ok", changedOn=LATER)
        relay.wake(36)
        assert tenant.ended == ["page-1"]

    def test_page_that_a_flow_made_later_is_ended_by_the_resolve(self, tenant: Tenant) -> None:
        relay = new_relay(tenant)
        relay.share()
        relay.wake(36)
        late, ended = [{"id": f"page-{number}", "eventId": str(number), "status": "ACTIVE"} for number in (1, 2)], []

        def rest(call: Call) -> HttpAnswer:
            if call.method == "POST":
                ended.append(json.loads(call.body)["id"])
            return HttpAnswer(200, {}, json.dumps({"data": late if "requestId=r1" in call.url else []}).encode())

        relay.share(status="ok", changedOn=LATER)
        relay.with_rest(FakeSession(rest)).wake(36)
        assert ended == ["page-1", "page-2"]

    def test_page_that_came_after_the_search_is_ended_by_the_resolve(self, tenant: Tenant) -> None:
        relay = new_relay(tenant)
        relay.share()
        nothing = relay.with_rest(FakeSession(HttpAnswer(200, {}, b'{"data": []}')))
        nothing.wake(36)
        nothing.wake(LOOK_FOR_SECONDS)
        assert relay.entry().accepted_signals[0].is_page_missing
        relay.share(status="ok", changedOn=LATER)
        relay.wake(36)
        assert tenant.ended == ["page-1"]

    def test_page_that_came_after_a_newer_page_had_replaced_it_is_ended_by_the_resolve(self, tenant: Tenant) -> None:
        tenant.hidden.add("r1")
        relay = new_relay(tenant)
        relay.share(status="warning")
        relay.wake(36)
        relay.wake(LOOK_FOR_SECONDS)
        relay.share(status="critical", changedOn=LATER)
        relay.wake(36)
        assert [(is_over, is_missing) for _, _, is_over, is_missing in pages(relay)] == [(False, True), (False, False)]
        tenant.hidden.clear()
        relay.share(status="ok", changedOn=LATER + 1)
        relay.wake(36)
        assert tenant.ended == ["page-1", "page-2"]

    def test_page_for_the_acknowledger_alone_does_not_end_the_page_of_all(self, tenant: Tenant) -> None:
        document = samples.secret(policy={"min_seconds_between_signals": 0})
        document["xmatters"] |= {"callback": {"token": "t"}, "rest": REST}
        secrets = FakeSecrets(noc=json.dumps(document))
        relay = Relay(FakeSession(tenant.accept), secrets=secrets, rest=FakeSession(tenant.rest))
        tenant.now = relay.clock
        relay.share()
        relay.wake(36)
        entry = relay.entry()
        relay.ledger.write(key("noc", (), "i1"), entry, entry.acknowledged("jdoe", relay.clock.now))
        relay.share(status="warning", changedOn=LATER)
        relay.wake(36)
        assert [raised.is_for_one for raised in relay.entry().accepted_signals] == [False, True]
        assert tenant.ended == []
        relay.share(status="critical", changedOn=LATER + 1)
        relay.wake(36)
        assert tenant.ended == ["page-1", "page-2"]

    def test_page_of_another_team_is_not_ended_by_a_newer_page(self, tenant: Tenant) -> None:
        routes = [{"when": {"status": "critical"}, "recipients": ["A"]}, {"when": {}, "recipients": ["B"]}]
        relay = new_relay(tenant, policy={"routes": routes})
        relay.share(status="critical")
        relay.share(status="warning", changedOn=LATER)
        relay.wake(36)
        assert tenant.ended == []
        relay.share(status="critical", changedOn=LATER + 1)
        relay.wake(36)
        assert tenant.ended == ["page-1"], "the third page notifies A again, and B not"

    @pytest.mark.parametrize(
        ("first", "second", "ended"),
        [
            (["A"], ["A", "B"], ["page-1"]),
            (["A", "B"], ["B", "A"], ["page-1"]),
            (["A", "B"], ["A"], []),
            ([], ["A"], []),
            (["A"], [], []),
            ([], [], ["page-1"]),
        ],
    )
    def test_newer_page_ends_the_older_one_only_if_it_notifies_the_same_people_or_more(
        self, tenant: Tenant, first: list[str], second: list[str], ended: list[str]
    ) -> None:
        routes = [{"when": {"status": "warning"}, "recipients": first}, {"when": {}, "recipients": second}]
        relay = new_relay(tenant, policy={"routes": routes})
        relay.share(status="warning")
        relay.share(status="critical", changedOn=LATER)
        relay.wake(36)
        assert tenant.ended == ended

    def test_fault_while_pages_are_ended_leaves_the_rest_for_later_and_ends_none_twice(self, tenant: Tenant) -> None:
        relay = new_relay(tenant, policy={"replace": False})
        for second, status in enumerate(("warning", "critical", "ok")):
            relay.share(status=status, changedOn=LATER + second)
        # Each of the three jobs meets a fault; the last one retries.
        failing = FakeSession(*[tenant.rest] * 6, DOWN, DOWN, DOWN, tenant.rest)
        relay = relay.with_rest(failing)
        relay.wake(36)
        assert tenant.ended == ["page-1"]
        relay.wake(60)
        assert tenant.ended == ["page-1", "page-2"]


SILENT: dict[str, Any] = {"notify_on": ["opened", "worsened", "reopened"], "replace": False}


class TestUnannouncedResolve:
    """Resolves that the policy does not signal: no signal is sent, but the pages end."""

    def test_unannounced_resolve_ends_the_pages(self, tenant: Tenant) -> None:
        relay = new_relay(tenant, policy=SILENT)
        relay.share()
        relay.wake(36)
        assert relay.share(status="ok", changedOn=LATER).outcome == Outcome.UNCHANGED
        relay.wake(0)
        assert (tenant.ended, len(tenant.signals), relay.retries.messages) == (["page-1"], 1, [])

    def test_unannounced_resolve_without_a_page_keeps_no_job(self, tenant: Tenant) -> None:
        relay = new_relay(tenant, policy=SILENT)
        relay.share(status="ok")
        assert relay.delays() == []

    def test_repeated_unannounced_resolve_keeps_no_job(self, tenant: Tenant) -> None:
        relay = new_relay(tenant, policy=SILENT)
        relay.share()
        relay.retries.messages.clear()
        for seconds in range(3):
            relay.share(status="ok", changedOn=LATER + seconds)
        assert [(job.kind, job.stamps.status) for job in relay.retries.jobs()] == [("signal", "ok")]

    def test_unannounced_resolve_ends_the_page_if_the_worker_is_faster_than_the_ledgers_note(
        self, tenant: Tenant
    ) -> None:
        table = HookedDynamoDb()
        relay = new_relay(tenant, policy=SILENT, dynamodb=table)
        relay.share()
        relay.wake(36)
        table.before["update_item", table.calls.count("update_item")] = lambda: relay.wake(0)
        relay.share(status="ok", changedOn=LATER)
        assert tenant.ended == ["page-1"]
        relay.wake(60)
        assert relay.delays() == []

    def test_unannounced_resolve_ends_the_page_after_a_crash_before_the_ledgers_note(self, tenant: Tenant) -> None:
        def dies() -> None:
            raise SystemExit

        table = HookedDynamoDb()
        relay = new_relay(tenant, policy=SILENT, dynamodb=table)
        relay.share()
        relay.wake(36)
        table.before["update_item", table.calls.count("update_item")] = dies
        with pytest.raises(SystemExit):
            relay.share(status="ok", changedOn=LATER)
        relay.wake(0)
        assert tenant.ended == ["page-1"]

    def test_unannounced_resolve_does_not_end_the_page_of_the_reopened_incident(self, tenant: Tenant) -> None:
        relay = new_relay(tenant, policy=SILENT)
        for seconds, status in enumerate(("critical", "ok", "critical")):
            relay.share(status=status, changedOn=LATER + seconds)
        relay.wake(36)
        assert tenant.ended == ["page-1"]
        assert [is_over for _, _, is_over, _ in pages(relay)] == [True, False]

    def test_unannounced_resolve_ends_the_page_of_a_signal_that_was_in_flight(self, tenant: Tenant) -> None:
        results: list[Outcome] = []

        def meets(call: Call) -> HttpAnswer:
            results.append(relay.share(status="ok", changedOn=LATER).outcome)
            return tenant.accept(call)

        relay = new_relay(tenant, meets, policy=SILENT)
        relay.share()
        assert results == [Outcome.UNCHANGED]
        relay.wake(36)
        assert tenant.ended == ["page-1"]

    def test_unannounced_resolve_is_unsafe_and_not_noted_if_no_queue_takes_the_job(self, tenant: Tenant) -> None:
        relay = new_relay(tenant, policy=SILENT)
        relay.share()
        relay.wake(36)
        relay.retries.failure = EndpointConnectionError(endpoint_url="https://sqs")
        result = relay.share(status="ok", changedOn=LATER)
        assert (result.outcome, bool(result.notices.last_copy)) == (Outcome.UNSAFE, True)
        relay.retries.failure = None
        assert relay.share(status="ok", changedOn=LATER).outcome == Outcome.UNCHANGED
        relay.wake(0)
        assert tenant.ended == ["page-1"]

    def test_unannounced_resolve_from_the_retry_queue_ends_the_pages(self, tenant: Tenant) -> None:
        relay = new_relay(tenant, policy=SILENT)
        relay.share()
        relay.wake(36)
        body = samples.body(status="ok", changedOn=LATER)
        waited = samples.job(recipients=(), body=body, version=(LATER, LATER), status="ok", digest=None)
        relay.retries.queue().send(waited)
        relay.wake(0)
        assert (tenant.ended, len(tenant.signals)) == (["page-1"], 1)

    def test_unannounced_resolve_keeps_no_job_without_credentials_for_the_rest_api(self) -> None:
        document = samples.secret(policy=SILENT)
        relay = Relay(FakeSession(samples.accepted()), secrets=FakeSecrets(noc=json.dumps(document)))
        relay.share()
        relay.retries.messages.clear()
        relay.share(status="ok", changedOn=LATER)
        assert relay.delays() == []
