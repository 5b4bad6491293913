"""Delivery of a share: an owed state is kept, claimed, sent and recorded; any other sends no signal."""

import json
import random
from typing import TYPE_CHECKING, Any

import pytest
import requests

from relay.delivery.debts import FIRST_WAKE_SECONDS, OVERDUE_SECONDS
from relay.failures.reasons import Reason
from relay.http.session import HttpAnswer
from relay.jobs.envelope import read_envelope
from relay.jobs.job import Flag
from relay.jobs.outcome import Outcome
from relay.ledger.accepted_signal import AcceptedSignal
from relay.ledger.entry import LEASE_SECONDS
from relay.ledger.entry_key import key
from relay.ledger.row import Row
from tests import samples
from tests.fakes import Call, FakeSecrets, HookedDynamoDb, new_relay, table_down

if TYPE_CHECKING:
    from relay.jobs.job import Job

DOWN = samples.refused(503, b"<h1>Service Unavailable</h1>")
LATER = 1_800_000_001
# A read, the gate, a claim and a record: no row and no stored job.
DELIVERED = ["get_item", "update_item", "update_item", "update_item"]


def noise(size: int) -> str:
    return random.Random(size).randbytes(size // 2).hex()


def huge() -> bytes:
    return samples.body(alerts=[{"id": f"a{number}", "text": noise(10_000 + 2 * number)} for number in range(300)])


class TestDelivered:
    def test_accepted_share_is_delivered(self) -> None:
        relay = new_relay()
        result = relay.share()
        assert (result.outcome, result.exchange.request_id, result.exchange.attempts) == (Outcome.DELIVERED, "r7", 1)
        assert (result.subject.channel, result.subject.incident_id, result.reason) == ("noc", "i1", None)
        assert (result.subject.transition, result.subject.why) == (
            "opened",
            "nothing of this open incident was announced",
        )
        assert (result.queue, result.notices.unguarded) == (None, None)
        assert relay.dead_letters.messages == []

    def test_delivered_share_takes_one_read_two_writes_and_one_rate_limit_call(self) -> None:
        relay = new_relay()
        relay.share()
        assert relay.dynamodb.calls == DELIVERED
        assert len(relay.retries.messages) == 1

    def test_share_that_is_delivered_at_once_leaves_no_row_and_no_stored_job(self) -> None:
        relay = new_relay()
        for number, status in enumerate(("critical", "warning", "critical", "ok")):
            relay.share(status=status, changedOn=LATER + number)
        assert relay.dynamodb.indexed() == []
        assert [name for name in relay.dynamodb.items if name.startswith("job/")] == []
        assert relay.dynamodb.calls == DELIVERED * 4

    def test_announced_state_is_recorded_in_the_ledger(self) -> None:
        relay = new_relay()
        relay.share()
        entry = relay.entry()
        assert entry.announced
        assert entry.announced.is_same(entry.newest)
        assert (entry.announced.version, entry.announced.is_critical) == ((1_800_000_000, 1_800_000_000), True)
        assert (entry.lease, entry.debt.since, entry.is_given_up) == (None, None, False)
        assert entry.signal_times == (relay.clock.now,)
        assert entry.accepted_signals == (AcceptedSignal("r7", relay.clock.now, is_open=True, is_critical=True),)

    def test_job_is_on_the_retry_queue_before_the_signal_is_sent_and_sleeps_past_the_lease(self) -> None:
        on_queue: list[Job] = []

        def accept(call: Call) -> HttpAnswer:
            on_queue.extend(relay.retries.jobs())
            return samples.accepted()

        relay = new_relay(accept)
        relay.share(recipients=("jdoe",))
        assert on_queue == [
            samples.job(
                kind="signal",
                channel="noc",
                incident_id="i1",
                version=(1_800_000_000, 1_800_000_000),
                transition="opened",
                status="critical",
                recipients=("jdoe",),
                body=samples.body(),
                received_at="2027-01-15T08:00:00.000Z",
                first_failed_at=None,
                last_failed_at=None,
                attempts=0,
                reason="in_flight",
                http_status=None,
                response_excerpt="",
                correlation_id="c1",
                digest=samples.share().digest,
                url_recipients=("jdoe",),
                plan=1,
            )
        ]
        assert relay.retries.delays() == [FIRST_WAKE_SECONDS]
        assert FIRST_WAKE_SECONDS > LEASE_SECONDS

    def test_share_is_claimed_before_it_is_sent(self) -> None:
        leases: list[float] = []

        def accept(call: Call) -> HttpAnswer:
            entry = relay.entry()
            assert entry.lease
            assert entry.newest
            assert [job.plan for job in relay.retries.jobs()] == [entry.debt.plan]
            leases.append(entry.lease.until - relay.clock.now)
            return samples.accepted()

        relay = new_relay(accept)
        assert relay.share().outcome == Outcome.DELIVERED
        assert leases == [LEASE_SECONDS]

    def test_job_of_a_delivered_share_is_deleted_when_it_wakes(self) -> None:
        relay = new_relay()
        relay.share()
        relay.wake()
        assert (relay.retries.messages, relay.dead_letters.messages) == ([], [])
        assert len(relay.session.calls) == 1
        assert relay.recorder.lines() == []

    def test_recipients_are_the_channels_and_then_the_urls_without_repetition(self) -> None:
        document = samples.secret()
        document["xmatters"]["recipients"] = ["Net Ops", "jdoe"]
        relay = new_relay(secrets=FakeSecrets(noc=json.dumps(document)))
        relay.share(recipients=("jdoe", "night shift"))
        assert relay.session.calls[0].url.endswith("&recipients=Net%20Ops,jdoe,night%20shift")

    def test_body_too_large_for_a_queue_is_sent_whole_and_kept_without_alert_details(self) -> None:
        relay = new_relay()
        body = huge()
        assert len(body) > 3_000_000
        assert relay.share(body).outcome == Outcome.DELIVERED
        assert relay.session.calls[0].body == body
        [job] = relay.retries.jobs()
        assert Flag.BODY_REDUCED in job.flags
        kept = json.loads(job.body)["incident"]
        assert (kept["id"], len(kept["alerts"])) == ("i1", 300)
        assert kept["relay_note"] == "cut to fit: alerts are here by id and status alone"

    def test_job_with_a_reduced_body_is_a_duplicate_of_its_announced_share(self) -> None:
        relay = new_relay()
        relay.share(huge())
        relay.wake()
        assert (len(relay.session.calls), relay.retries.messages) == (1, [])

    def test_share_with_a_giant_status_is_kept_on_the_retry_queue(self) -> None:
        relay = new_relay(DOWN)
        assert relay.share(status=noise(3_000_000)).queue == "retry"
        assert relay.entry().debt.job


class TestTitle:
    @pytest.mark.parametrize(
        ("answer", "policy", "mode"),
        [
            (samples.accepted(), {}, "incident"),
            (samples.refused(503), {}, "incident"),
            (samples.accepted(), {"notify_on": ["resolved"]}, "incident"),
            (samples.accepted(), {"mode": "shadow"}, "shadow"),
        ],
        ids=["announced", "owed", "not announced by the policy", "shadow mode"],
    )
    def test_entry_has_the_incidents_title_for_operators(self, answer: Any, policy: dict[str, Any], mode: str) -> None:
        relay = new_relay(answer, policy=policy)
        relay.share(description="Disk full on db-1")
        relay.share(changedOn=1_800_000_001)
        name = key("noc", (), "i1").replace("incident/", f"{mode}/", 1)
        assert relay.ledger.read(name).about.title == "Disk full on db-1", "a share without a title keeps the known one"


class TestRow:
    """Row and stored job of a state that is owed after its inline attempts."""

    def test_failed_share_stores_its_job_before_its_row(self) -> None:
        table = HookedDynamoDb()
        relay = new_relay(DOWN, dynamodb=table)
        # Calls before the job is stored: a read, the gate, and the claim.
        table.before["put_item", 0] = lambda: relay.dynamodb.indexed() == [] or pytest.fail("the row came first")
        result = relay.share()
        assert table.calls == ["get_item", "update_item", "update_item", "put_item", "update_item", "update_item"]
        assert relay.entry().debt.row == Row(
            relay.clock.now + FIRST_WAKE_SECONDS + OVERDUE_SECONDS,
            result.job.stored_name if result.job else "",
            is_critical=True,
        )
        assert [item["pk"]["S"] for item in table.indexed()] == [key("noc", (), "i1")]
        stored = read_envelope(
            relay.ledger.stored(key("noc", (), "i1"), result.job.stored_name if result.job else "") or ""
        )
        [waiting] = relay.retries.jobs()
        # The stored job knows the failure, which came after the message was queued.
        assert (stored.stored_name, stored.body, stored.plan) == (waiting.stored_name, waiting.body, waiting.plan)
        assert (waiting.attempts, stored.attempts) == (0, 3)

    def test_share_that_waits_stores_its_job_before_its_row(self) -> None:
        table = HookedDynamoDb()
        relay = new_relay(dynamodb=table, policy={"min_seconds_between_signals": 60})
        relay.share(status="warning")
        table.calls.clear()
        result = relay.share(status="unknown", changedOn=LATER)
        assert table.calls == ["get_item", "put_item", "update_item"]
        assert relay.entry().debt.row == Row(
            (result.until or 0) + OVERDUE_SECONDS, result.job.stored_name if result.job else ""
        )
        stored = read_envelope(
            relay.ledger.stored(key("noc", (), "i1"), result.job.stored_name if result.job else "") or ""
        )
        assert (stored.not_before, stored.stamps.status) == (None, "unknown")

    def test_share_is_sent_after_a_crash_between_stored_job_and_row(self) -> None:
        def stops() -> None:
            raise SystemExit

        table = HookedDynamoDb()
        relay = new_relay(DOWN, DOWN, DOWN, samples.accepted(), dynamodb=table)
        # The claim is the second write of an item that is there, and the record with the row is the third.
        table.before["update_item", 2] = stops
        with pytest.raises(SystemExit):
            relay.share()
        assert relay.dynamodb.indexed() == []
        relay.wake(FIRST_WAKE_SECONDS)
        assert (len(relay.session.calls), relay.retries.messages) == (4, [])

    def test_job_that_cannot_be_stored_is_kept_by_its_message_alone(self) -> None:
        table = HookedDynamoDb()
        relay = new_relay(DOWN, DOWN, DOWN, samples.accepted(), dynamodb=table)
        table.before["put_item", 0] = table_down
        result = relay.share()
        assert (result.outcome, result.queue, relay.entry().debt.row) == (Outcome.QUEUED, "retry", None)
        assert relay.entry().debt.reason == "upstream"
        relay.wake(FIRST_WAKE_SECONDS)
        assert len(relay.session.calls) == 4

    def test_newer_share_that_takes_over_a_debt_stores_its_job_before_its_claim(self) -> None:
        def dies(_: Call) -> HttpAnswer:
            raise SystemExit

        table = HookedDynamoDb()
        relay = new_relay(DOWN, DOWN, DOWN, dies, dynamodb=table)
        relay.share(status="warning")
        table.calls.clear()
        with pytest.raises(SystemExit):
            relay.share(changedOn=LATER)
        assert table.calls == ["get_item", "update_item", "put_item", "update_item"]
        entry = relay.entry()
        stored = read_envelope(relay.ledger.stored(key("noc", (), "i1"), entry.debt.job) or "")
        assert stored.stamps.status == "critical"
        assert entry.debt.due == relay.clock.now + LEASE_SECONDS + OVERDUE_SECONDS
        [item] = table.indexed()
        assert item["due"]["S"].startswith("critical#")

    def test_newer_share_is_sent_although_its_job_cannot_be_stored(self) -> None:
        table = HookedDynamoDb()
        relay = new_relay(DOWN, DOWN, DOWN, samples.accepted(), dynamodb=table)
        relay.share(status="warning")
        table.before["put_item", table.calls.count("put_item")] = table_down
        assert relay.share(changedOn=LATER).outcome == Outcome.DELIVERED
        assert relay.dynamodb.indexed() == []

    def test_next_attempt_of_a_state_does_not_store_its_job_again(self) -> None:
        relay = new_relay(DOWN)
        relay.share()
        for _ in range(3):
            relay.dynamodb.calls.clear()
            relay.wake(60)
            assert "put_item" not in relay.dynamodb.calls
            assert relay.entry().debt.due == relay.clock.now + relay.retries.delays()[0] + OVERDUE_SECONDS

    def test_announced_state_leaves_the_index_by_the_write_that_records_it(self) -> None:
        relay = new_relay(DOWN, DOWN, DOWN, samples.accepted())
        relay.share()
        relay.dynamodb.calls.clear()
        relay.wake(FIRST_WAKE_SECONDS)
        # A read, the gate, the claim, the record, and the circuit that closes again.
        assert relay.dynamodb.calls == ["get_item", *["update_item"] * 4]
        assert relay.dynamodb.indexed() == []

    def test_share_too_large_for_an_item_is_stored_without_alert_details_and_sent(self) -> None:
        relay = new_relay(DOWN, DOWN, DOWN, samples.accepted())
        alerts = [{"id": f"a{number}", "text": noise(60_000 + 2 * number)} for number in range(20)]
        result = relay.share(alerts=alerts)
        [kept] = relay.retries.jobs()
        assert Flag.BODY_REDUCED not in kept.flags, "the message holds it whole"
        stored = read_envelope(
            relay.ledger.stored(key("noc", (), "i1"), result.job.stored_name if result.job else "") or ""
        )
        assert Flag.BODY_REDUCED in stored.flags
        relay.retries.messages.clear()
        assert relay.sweep(300)["healed"] == 1
        relay.wake(0)
        rang = json.loads(relay.session.calls[-1].body)["incident"]
        assert (rang["id"], len(rang["alerts"])) == ("i1", 20)
        assert relay.entry().debt.row is None


class TestNotOwed:
    def test_repeated_share_is_a_duplicate_after_one_read(self) -> None:
        relay = new_relay()
        first = relay.share()
        relay.dynamodb.calls.clear()
        again = relay.share()
        assert (again.outcome, again.subject.delivery_id) == (Outcome.DUPLICATE, first.subject.delivery_id)
        assert relay.dynamodb.calls == ["get_item"]
        assert (len(relay.session.calls), len(relay.retries.messages)) == (1, 1)

    def test_repeated_share_is_a_duplicate_of_one_on_the_retry_queue(self) -> None:
        relay = new_relay(DOWN)
        assert relay.share().outcome == Outcome.QUEUED
        asked = len(relay.session.calls)
        assert relay.share().outcome == Outcome.DUPLICATE
        assert (len(relay.session.calls), len(relay.retries.messages)) == (asked, 1)

    def test_share_older_than_the_announced_state_is_superseded_after_one_read(self) -> None:
        relay = new_relay()
        relay.share()
        relay.dynamodb.calls.clear()
        assert relay.share(changedOn=LATER - 2, status="warning").outcome == Outcome.SUPERSEDED
        assert relay.dynamodb.calls == ["get_item"]
        assert (len(relay.session.calls), len(relay.retries.messages)) == (1, 1)

    def test_unchanged_share_is_noted_by_one_write(self) -> None:
        relay = new_relay()
        relay.share()
        relay.dynamodb.calls.clear()
        touched = relay.share(changedOn=LATER, comments=["on it"])
        assert (touched.outcome, touched.subject.transition) == (Outcome.UNCHANGED, "touched")
        assert relay.dynamodb.calls == ["get_item", "update_item"]
        assert (len(relay.session.calls), len(relay.retries.messages)) == (1, 1)
        newest, announced = relay.entry().newest, relay.entry().announced
        assert newest
        assert announced
        assert (newest.version, announced.version) == ((LATER, LATER), (LATER - 1, LATER - 1))

    def test_share_older_than_an_unchanged_one_is_superseded(self) -> None:
        relay = new_relay()
        relay.share(status="ok", changedOn=LATER)
        assert relay.share(changedOn=LATER - 1).outcome == Outcome.SUPERSEDED
        assert relay.session.calls == []

    def test_transition_that_the_policy_does_not_name_is_not_signalled(self) -> None:
        relay = new_relay(policy={"preset": "oncall"})
        relay.share()
        eased = relay.share(status="warning", changedOn=LATER)
        assert (eased.outcome, eased.subject.transition) == (Outcome.UNCHANGED, "eased")
        assert len(relay.session.calls) == 1

    def test_critical_after_an_unsignalled_easing_is_signalled(self) -> None:
        relay = new_relay(policy={"preset": "oncall"})
        relay.share()
        relay.share(status="warning", changedOn=LATER)
        assert relay.share(status="critical", changedOn=LATER + 1).subject.transition == "worsened"
        assert len(relay.session.calls) == 2

    def test_other_url_recipients_get_signals_of_their_own(self) -> None:
        relay = new_relay()
        for recipients in ((), ("jdoe",), ("jdoe", "ops"), ("ops", "jdoe")):
            relay.share(recipients=recipients)
        assert len(relay.session.calls) == 3

    def test_route_replaces_the_recipients_of_the_channel(self) -> None:
        routes = [{"when": {"tag.team": "storage"}, "recipients": ["Storage On-Call"], "priority": "HIGH"}]
        relay = new_relay(policy={"routes": routes})
        tags = [{"name": "team", "value": "Storage"}]
        relay.share(id="i1", alerts=[{"id": "a1", "tags": tags}], recipients=("jdoe",))
        relay.share(id="i2")
        urls = [call.url.partition("&")[2] for call in relay.session.calls]
        assert urls == ["recipients=Storage%20On-Call,jdoe", ""]
        job, _ = relay.retries.jobs()
        assert (job.stamps.recipients, job.url_recipients) == (("Storage On-Call", "jdoe"), ("jdoe",))
        decision = json.loads(relay.session.calls[0].headers["X-Relay-Decision"])
        assert decision["priority"] == "HIGH"

    def test_resolve_finds_its_incident_although_another_route_matches(self) -> None:
        routes = [{"when": {"status": "critical"}, "recipients": ["a"]}, {"when": {}, "recipients": ["b"]}]
        relay = new_relay(policy={"routes": routes})
        relay.share(severity="critical")
        assert relay.share(status="ok", severity="critical", changedOn=LATER).subject.transition == "resolved"
        relay.share(status="warning", severity="warning", changedOn=LATER + 1)
        assert [call.url.rpartition("=")[2] for call in relay.session.calls] == ["a", "a", "b"]

    def test_channel_with_the_relays_own_body_sends_it_and_keeps_bigpandas(self) -> None:
        relay = new_relay(policy={"body": "xmatters", "properties": {"team": "payments"}})
        relay.share(alerts=[{"id": "a1", "status": "critical", "description": "lag"}])
        document = json.loads(relay.session.calls[0].body)
        assert (document["priority"], document["properties"]["subject"]) == ("HIGH", "CRITICAL lag")
        assert (document["properties"]["incident_id"], document["properties"]["team"]) == ("i1", "payments")
        # The job keeps BigPanda's body, so that a replay makes its own from the channel's settings of then.
        assert json.loads(relay.retries.jobs()[0].body)["incident"]["id"] == "i1"

    def test_incident_stays_the_same_after_the_channel_changes_its_recipients(self) -> None:
        relay = new_relay()
        relay.share()
        document = samples.secret(policy={"min_seconds_between_signals": 0})
        document["xmatters"]["recipients"] = ["somebody new"]
        relay.secrets.texts["noc"] = json.dumps(document)
        relay.clock.now += 301
        resolved = relay.share(changedOn=LATER, status="ok")
        assert (resolved.outcome, resolved.subject.transition) == (Outcome.DELIVERED, "resolved")
        assert relay.session.calls[-1].url.endswith("&recipients=somebody%20new")

    def test_timestamp_of_next_year_does_not_mute_the_incident(self) -> None:
        relay = new_relay()
        relay.share(status="warning", updatedOn=1_800_000_000 + 365 * 24 * 3600)
        assert relay.share(status="critical", changedOn=LATER).outcome == Outcome.DELIVERED


class TestOwedAgainstAnnounced:
    def test_incident_that_opens_and_resolves_within_an_outage_is_not_signalled(self) -> None:
        relay = new_relay(DOWN, DOWN, DOWN, samples.accepted())
        assert relay.share().outcome == Outcome.QUEUED
        assert relay.share(status="ok", changedOn=LATER).outcome == Outcome.UNCHANGED
        relay.wake()
        assert (len(relay.session.calls), relay.retries.messages) == (3, [])
        assert relay.entry().debt.since is None

    def test_comment_does_not_swallow_an_owed_page(self) -> None:
        relay = new_relay(DOWN, DOWN, DOWN, samples.accepted())
        relay.share()
        commented = relay.share(changedOn=LATER, comments=["on it"])
        assert (commented.outcome, commented.subject.transition) == (Outcome.DELIVERED, "opened")
        relay.wake()
        assert (len(relay.session.calls), relay.retries.messages) == (4, [])

    def test_resolve_is_owed_after_a_timeout(self) -> None:
        relay = new_relay(requests.ReadTimeout("late"), samples.accepted())
        assert relay.share().reason == Reason.TIMEOUT
        resolved = relay.share(status="ok", changedOn=LATER)
        assert (resolved.outcome, resolved.subject.transition) == (Outcome.DELIVERED, "resolved")

    def test_each_transition_is_signalled(self) -> None:
        relay = new_relay()
        story = [("warning", "opened"), ("critical", "worsened"), ("warning", "eased"), ("ok", "resolved")]
        for number, (status, transition) in enumerate([*story, ("critical", "reopened")]):
            relay.clock.now += 20
            result = relay.share(status=status, changedOn=LATER + number)
            assert (result.outcome, result.subject.transition) == (Outcome.DELIVERED, transition)
        assert len(relay.session.calls) == 5

    def test_share_without_timestamps_is_newer_than_an_earlier_one_of_a_function_whose_clock_is_ahead(self) -> None:
        relay = new_relay()
        relay.clock.now += 2
        relay.share(status="warning", changedOn=None)
        # The next share comes to a function whose clock is two seconds behind the first one's.
        relay.clock.now -= 1.5
        worse = relay.share(status="critical", changedOn=None)
        assert (worse.outcome, worse.subject.transition) == (Outcome.DELIVERED, "worsened")
        relay.clock.now += 0.5
        resolved = relay.share(status="ok", changedOn=None)
        assert (resolved.outcome, resolved.subject.transition) == (Outcome.DELIVERED, "resolved")


class TestDeliveryId:
    def test_delivery_id_is_the_same_over_attempts(self) -> None:
        relay = new_relay(DOWN, DOWN, DOWN, samples.accepted())
        result = relay.share()
        relay.wake()
        assert {call.headers["X-Relay-Delivery-Id"] for call in relay.session.calls} == {result.subject.delivery_id}
        assert len(relay.session.calls) == 4
