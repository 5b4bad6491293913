"""Write-back: callbacks become comments and assignments; none is lost, and a comment is repeated only in doubt."""

import hashlib
import json
from collections import Counter
from typing import Any

import pytest
import requests
from botocore.exceptions import EndpointConnectionError

from relay.bigpanda.comment import tag_of
from relay.http.session import HttpAnswer
from relay.jobs.job import Job
from relay.ledger.entry import Entry
from relay.ledger.entry_key import key
from relay.ledger.ledger import Ledger
from relay.ledger.table import Table
from tests import samples
from tests.fake_dynamodb import FakeDynamoDb
from tests.fakes import Call, Clock, FakeSecrets, FakeSession, HookedDynamoDb, Relay, Step, table_down, worked
from tests.unit.states import state

ANSWER = {
    "relay": 1,
    "kind": "response",
    "incident_id": "i1",
    "environment_id": "e1",
    "event": {"number": "408005"},
    "person": {"target": "jdoe"},
    "response": "Acknowledge",
}
WORDS = "jdoe acknowledged xMatters page 408005."
DONE = HttpAnswer(204, {}, b"")
NOBODY = HttpAnswer(200, {}, b'{"Resources": []}')
JANE = HttpAnswer(200, {}, b'{"Resources": [{"id": "u1", "userName": "jdoe"}]}')
EMPTY = HttpAnswer(200, {}, b"[]")


def job(number: int = 1, *, attempts: int = 0, **members: Any) -> Job:
    body = json.dumps(ANSWER | members).encode()
    return samples.job(
        kind="writeback",
        digest=f"{number:032x}",
        body=body,
        status=None,
        recipients=(),
        version=None,
        first_failed_at=None,
        last_failed_at=None,
        attempts=attempts,
        reason="in_flight",
        http_status=None,
        response_excerpt="",
    )


# The mark of the comment about the first job.
TAG = tag_of(job().delivery_id)


def new_relay(*steps: Step, dynamodb: FakeDynamoDb | None = None, clock: Clock | None = None, **bigpanda: Any) -> Relay:
    secret = samples.secret(bigpanda={"api_key": "BPU-canary"} | bigpanda)
    return Relay(
        FakeSession(samples.accepted()),
        secrets=FakeSecrets(noc=json.dumps(secret)),
        dynamodb=dynamodb or FakeDynamoDb(),
        bigpanda=FakeSession(*steps or (DONE,)),
        clock=clock or Clock(),
    )


def put(relay: Relay, *jobs: Job) -> None:
    """Put callbacks on the chore queue. Record their incidents as announced, if the relay sent no signal before."""
    for each in jobs:
        if not relay.session.calls:
            announce(relay, json.loads(each.body)["incident_id"])
        relay.chores.queue().send(each)


def announce(relay: Relay, incident_id: str) -> None:
    """Record an incident as announced in the channel's ledger, unless the ledger has an entry of the incident."""
    name, elsewhere = key("noc", (), incident_id), FakeDynamoDb()
    client: Any = elsewhere
    Ledger(Table(client, "ledger", relay.clock)).write(name, Entry(), Entry(newest=state(), announced=state()))
    relay.dynamodb.items.setdefault(name, elsewhere.items[name])


def asked(relay: Relay) -> list[str]:
    return [f"{call.method} {call.url.rpartition('/')[2].partition('?')[0]}" for call in relay.bigpanda.calls]


def comments(relay: Relay) -> list[str]:
    return [json.loads(call.body)["comment"] for call in relay.bigpanda.calls if call.url.endswith("/comments")]


class TestWrite:
    def test_callback_becomes_a_comment_and_its_job_is_deleted(self) -> None:
        relay = new_relay()
        put(relay, job())
        relay.wake(0)
        [call] = relay.bigpanda.calls
        assert call.url == "https://api.bigpanda.io/resources/v2.0/environments/e1/incidents/i1/comments"
        assert comments(relay) == [f"{WORDS} {TAG}"]
        assert relay.chores.messages == relay.dead_letters.messages == []
        assert relay.recorder.outcomes() == ["delivered"]

    def test_callback_that_came_twice_becomes_one_comment(self) -> None:
        relay = new_relay()
        put(relay, job(), job())
        relay.wake(0)
        assert len(comments(relay)) == 1
        assert relay.chores.messages == []

    def test_callback_of_a_kind_that_the_channel_no_longer_comments_is_dropped(self) -> None:
        relay = new_relay(comments=["annotation"])
        put(relay, job())
        relay.wake(0)
        assert (relay.bigpanda.calls, relay.chores.messages) == ([], [])


class TestEnvironment:
    def test_comment_goes_to_the_environment_of_the_share(self) -> None:
        relay = new_relay(environments=["fixed", "shared-in", "e1"])
        share = {"incident": {"id": "i1", "status": "critical"}, "metadata": {"environment_id": "shared-in"}}
        relay.share(json.dumps(share).encode())
        relay.chores.messages.clear()
        put(relay, job())
        relay.wake(0)
        assert "/environments/shared-in/" in relay.bigpanda.calls[0].url

    def test_comment_goes_to_the_environment_of_the_callback_if_no_share_named_one(self) -> None:
        relay = new_relay(environments=["fixed", "e1"])
        put(relay, job())
        relay.wake(0)
        assert "/environments/e1/" in relay.bigpanda.calls[0].url

    def test_environment_of_a_share_is_ignored_if_the_secret_does_not_name_it(self) -> None:
        relay = new_relay(environment_id="fixed")
        share = {"incident": {"id": "i1", "status": "critical"}, "metadata": {"environment_id": "of-a-stranger"}}
        relay.share(json.dumps(share).encode())
        relay.chores.messages.clear()
        put(relay, job())
        relay.wake(0)
        assert "/environments/fixed/" in relay.bigpanda.calls[0].url

    def test_comment_goes_to_the_environment_of_the_share_if_the_secret_names_none(self) -> None:
        relay = new_relay()
        share = {"incident": {"id": "i1", "status": "critical"}, "metadata": {"environment_id": "shared-in"}}
        relay.share(json.dumps(share).encode())
        relay.chores.messages.clear()
        put(relay, job(environment_id=None))
        relay.wake(0)
        assert "/environments/shared-in/" in relay.bigpanda.calls[0].url

    def test_comment_goes_to_the_environment_of_a_share_with_url_recipients(self) -> None:
        relay = new_relay(environments=["fixed", "shared-in"])
        relay.webhook.serve(samples.request(samples.enveloped("shared-in"), recipients=("dba",)))
        relay.chores.messages.clear()
        put(relay, job(environment_id=None))
        relay.wake(0)
        assert "/environments/shared-in/" in relay.bigpanda.calls[0].url

    def test_comment_goes_to_the_channels_environment_if_share_and_callback_name_none(self) -> None:
        relay = new_relay(environment_id="fixed")
        put(relay, job(environment_id=None))
        relay.wake(0)
        assert "/environments/fixed/" in relay.bigpanda.calls[0].url

    def test_callback_without_any_environment_is_dead_lettered(self) -> None:
        relay = new_relay()
        put(relay, job(environment_id=None))
        relay.wake(0)
        [dead] = relay.dead_letters.jobs()
        assert (dead.stamps.reason, relay.bigpanda.calls) == ("refused", [])
        assert "bigpanda.environment_id" in relay.recorder.written()


class TestAssign:
    def test_incident_is_assigned_to_the_acknowledger(self) -> None:
        relay = new_relay(JANE, DONE, assign=True)
        put(relay, job())
        relay.wake(0)
        assert asked(relay) == ["GET Users", "PUT assignment", "POST comments"]
        assert json.loads(relay.bigpanda.calls[1].body) == {"assignee": "u1"}
        assert "is assigned to them" in comments(relay)[0]

    def test_incident_is_assigned_to_the_acknowledger_by_e_mail_address(self) -> None:
        known = HttpAnswer(200, {}, b'{"Resources": [{"id": "u1", "userName": "jdoe@acme.example"}]}')
        relay = new_relay(known, DONE, assign=True, email_domain="acme.example")
        put(relay, job())
        relay.wake(0)
        assert asked(relay) == ["GET Users", "PUT assignment", "POST comments"]
        assert json.loads(relay.bigpanda.calls[1].body) == {"assignee": "u1"}

    @pytest.mark.parametrize("response", ["Escalate", "Later"])
    def test_answer_that_is_no_acknowledgement_assigns_nobody(self, response: str) -> None:
        relay = new_relay(assign=True)
        put(relay, job(response=response))
        relay.wake(0)
        assert asked(relay) == ["POST comments"]

    def test_comment_says_that_bigpanda_does_not_know_the_acknowledger(self) -> None:
        relay = new_relay(NOBODY, DONE, assign=True)
        put(relay, job())
        relay.wake(0)
        assert "(Not assigned: BigPanda has no user of that name.)" in comments(relay)[0]

    @pytest.mark.parametrize("steps", [(samples.refused(403), DONE), (JANE, samples.refused(404), DONE)])
    def test_comment_is_written_although_the_assignment_is_refused(self, steps: tuple[Step, ...]) -> None:
        relay = new_relay(*steps, assign=True)
        put(relay, job())
        relay.wake(0)
        assert "(Not assigned: BigPanda answered 40" in comments(relay)[0]

    def test_assignment_that_was_rate_limited_is_retried_before_the_comment(self) -> None:
        relay = new_relay(JANE, samples.refused(429), JANE, DONE, assign=True)
        put(relay, job())
        relay.wake(0)
        assert comments(relay) == []
        relay.wake(60)
        assert "is assigned to them" in comments(relay)[0]


class TestFailing:
    @pytest.mark.parametrize(
        ("step", "reason"),
        [
            (samples.refused(429), "rate_limited"),
            (requests.ConnectTimeout(), "unreachable"),
            (samples.refused(401), "credentials"),
        ],
    )
    def test_comment_that_was_surely_not_written_is_retried_without_reading_activities(
        self, step: Step, reason: str
    ) -> None:
        relay = new_relay(step, DONE)
        put(relay, job())
        relay.wake(0)
        [waiting] = relay.chores.jobs()
        assert (waiting.stamps.reason, waiting.attempts, waiting.attempts) == (reason, 1, 1)
        relay.wake(301)
        assert asked(relay) == ["POST comments", "POST comments"]
        assert relay.chores.messages == []

    @pytest.mark.parametrize("step", [requests.ReadTimeout(), samples.refused(502), requests.ConnectionError()])
    def test_comment_that_may_be_written_is_looked_for_before_a_retry(self, step: Step) -> None:
        there = HttpAnswer(200, {}, json.dumps([{"params": {"comment": f"{WORDS} {TAG}"}}]).encode())
        relay = new_relay(step, there)
        put(relay, job())
        relay.wake(0)
        relay.wake(60)
        assert asked(relay) == ["POST comments", "GET activities"]
        assert relay.chores.messages == []

    @pytest.mark.parametrize(
        "forged",
        [
            TAG,
            f"nothing to see here {TAG}",
            f"{TAG} {WORDS}",
            f"jdoe commented on xMatters page 7. Note: {WORDS} [relay 11111111]",
        ],
    )
    def test_forged_mark_in_another_comment_does_not_suppress_the_retry(self, forged: str) -> None:
        there = HttpAnswer(200, {}, json.dumps([{"params": {"comment": forged}}]).encode())
        relay = new_relay(requests.ReadTimeout(), there, DONE)
        put(relay, job())
        relay.wake(0)
        relay.wake(60)
        assert asked(relay) == ["POST comments", "GET activities", "POST comments"]

    def test_note_with_the_mark_of_another_callback_does_not_suppress_its_comment(self) -> None:
        written: list[str] = []
        lost = iter([False, True])

        def bigpanda(call: Call) -> HttpAnswer:
            if call.method == "GET":
                return HttpAnswer(200, {}, json.dumps([{"params": {"comment": words}} for words in written]).encode())
            if next(lost, False):
                return samples.refused(502)
            written.append(json.loads(call.body)["comment"])
            return DONE

        relay = new_relay(bigpanda)
        put(relay, job(0xABCDEF01 << 96, kind="annotation", note=f"ok. {WORDS} {TAG}"), job())
        relay.wake(0)
        relay.wake(60)
        assert len(written) == 2
        assert [words.count("[relay") for words in written] == [1, 1]
        assert written[1] == f"{WORDS} {TAG}"

    def test_comment_that_is_not_found_is_written_again(self) -> None:
        relay = new_relay(requests.ReadTimeout(), EMPTY, DONE)
        put(relay, job())
        relay.wake(0)
        relay.wake(60)
        assert asked(relay) == ["POST comments", "GET activities", "POST comments"]

    def test_doubt_about_a_comment_stays_until_the_activities_are_read(self) -> None:
        relay = new_relay(requests.ReadTimeout(), samples.refused(429), EMPTY, DONE)
        put(relay, job())
        for seconds in (0, 60, 240):
            relay.wake(seconds)
        assert asked(relay) == ["POST comments", "GET activities", "GET activities", "POST comments"]

    def test_callback_that_bigpanda_refuses_is_dead_lettered_at_once(self) -> None:
        relay = new_relay(samples.refused(404, b"no such incident"))
        put(relay, job())
        relay.wake(0)
        [dead] = relay.dead_letters.jobs()
        assert (dead.stamps.reason, dead.stamps.http_status, dead.stamps.response_excerpt) == (
            "refused",
            404,
            "no such incident",
        )
        assert (dead.attempts, dead.kind, relay.chores.messages) == (1, "writeback", [])

    def test_refused_callback_waits_if_the_dead_letter_queue_fails(self) -> None:
        relay = new_relay(samples.refused(404))
        relay.dead_letters.failure = EndpointConnectionError(endpoint_url="https://sqs")
        put(relay, job())
        relay.wake(0)
        assert relay.chores.delays() == [60]

    def test_callback_past_its_age_is_dead_lettered_as_expired(self) -> None:
        relay = new_relay(samples.refused(503))
        put(relay, job())
        relay.wake(21_601)
        [dead] = relay.dead_letters.jobs()
        assert (dead.stamps.reason, relay.bigpanda.calls) == ("expired", [])

    def test_bigpanda_key_is_not_in_the_dead_letter_or_log_of_a_callback(self) -> None:
        relay = new_relay(samples.refused(400, b"key BPU-canary is odd"))
        put(relay, job())
        relay.wake(0)
        kept = relay.dead_letters.messages[0]["MessageBody"]
        assert "is odd" in kept
        assert "BPU-canary" not in kept + relay.recorder.written()


class TestHanging:
    """BigPanda does not answer: a worker must not wait for it again and again."""

    def test_timeout_of_bigpanda_holds_the_other_callbacks_back_for_a_while(self) -> None:
        def hangs(call: Call) -> HttpAnswer:
            relay.clock.now += call.seconds
            raise requests.ReadTimeout

        relay = new_relay(hangs)
        put(relay, *(job(number, incident_id=f"i{number}") for number in range(1, 6)))
        began = relay.clock.now
        relay.wake(0)
        assert (len(relay.bigpanda.calls), relay.clock.now - began <= 15) == (1, True)
        assert {waiting.stamps.reason for waiting in relay.chores.jobs()} == {"timeout", "circuit_open"}
        assert len(relay.chores.jobs()) == 5

    def test_bigpanda_is_asked_again_after_its_silence(self) -> None:
        def hangs(call: Call) -> HttpAnswer:
            relay.clock.now += call.seconds
            raise requests.ReadTimeout

        relay = new_relay(hangs, HttpAnswer(200, {}, b"[]"), HttpAnswer(204, {}, b""))
        put(relay, job(1), job(2, incident_id="i2"))
        relay.wake(0)
        relay.wake(30)
        relay.wake(30)
        assert (relay.chores.messages, len(comments(relay))) == ([], 3)

    def test_fast_failure_of_bigpanda_holds_no_other_callback_back(self) -> None:
        relay = new_relay(requests.ConnectionError("reset"), HttpAnswer(204, {}, b""))
        put(relay, job(1), job(2, incident_id="i2"))
        relay.wake(0)
        assert len(relay.bigpanda.calls) == 2


class TestReplay:
    def test_replayed_callback_is_written_once_however_old_it_is(self) -> None:
        relay = new_relay(samples.refused(404), DONE)
        put(relay, job())
        relay.wake(0)
        [dead] = relay.dead_letters.jobs()
        put(relay, dead, dead)
        relay.wake(10 * 86_400)
        assert relay.retries.messages == []
        assert len(comments(relay)) == 2
        assert relay.recorder.outcomes().count("duplicate") == 1


class TestConcurrentWorkers:
    def test_callback_that_two_workers_have_is_written_once(self) -> None:
        table = HookedDynamoDb()
        relay = new_relay(dynamodb=table)
        other = relay.other()
        # The other worker writes the comment between this one's read and its claim.
        table.before[("update_item", 0)] = lambda: worked(other, job())
        put(relay, job())
        relay.wake(0)
        assert table.before == {}
        assert len(comments(relay)) == 1
        relay.wake(60 + 1)
        assert len(comments(relay)) == 1
        assert relay.chores.messages == []

    def test_callback_of_a_crashed_worker_is_looked_for_before_a_retry(self) -> None:
        def dies(_: Call) -> HttpAnswer:
            raise SystemExit

        relay = new_relay(dies, EMPTY, DONE)
        put(relay, job())
        with pytest.raises(SystemExit):
            relay.wake(0)
        put(relay, job())
        relay.wake(0)
        [waiting] = relay.chores.jobs()
        assert (waiting.stamps.reason, asked(relay)) == ("in_flight", ["POST comments"])
        relay.wake(60 + 1)
        assert asked(relay) == ["POST comments", "GET activities", "POST comments"]


class TestLedgerDown:
    @pytest.mark.parametrize("place", [("get_item", 0), ("update_item", 0), ("update_item", 1)])
    def test_callback_waits_while_the_ledger_is_down(self, place: tuple[str, int]) -> None:
        table = HookedDynamoDb()
        relay = new_relay(EMPTY, dynamodb=table)
        table.before[place] = table_down
        put(relay, job())
        relay.wake(0)
        [waiting] = relay.chores.jobs()
        assert (waiting.stamps.reason, comments(relay)) == ("internal", [])
        relay.wake(60 + 1)
        assert len(comments(relay)) == 1

    def test_comment_that_could_not_be_recorded_is_looked_for(self) -> None:
        table = HookedDynamoDb()
        there = HttpAnswer(200, {}, json.dumps([{"comment": f"{WORDS} {TAG}"}]).encode())
        relay = new_relay(DONE, there, dynamodb=table)
        table.before[("update_item", 3)] = table_down
        put(relay, job())
        relay.wake(0)
        relay.wake(60 + 1)
        assert asked(relay) == ["POST comments", "GET activities"]
        assert relay.chores.messages == []


DROPPED = {"since": "2027-01-15T08:00:01Z", "until": "2027-01-15T08:30:00Z", "then": "drop"}


class TestAcknowledged:
    """Acknowledged incidents: a worsened or reopened state is signalled to all recipients.

    Any other state is signalled to the acknowledger alone.
    """

    LATER = 1_800_000_001

    @pytest.fixture
    def relay(self) -> Relay:
        document = samples.secret(policy={"min_seconds_between_signals": 0})
        document["xmatters"] |= {"callback": {"token": "t"}, "recipients": ["Ops"]}
        relay = Relay(FakeSession(samples.accepted()), secrets=FakeSecrets(noc=json.dumps(document)))
        relay.share()
        relay.chores.messages.clear()
        return relay

    def recipients_signalled(self, relay: Relay) -> list[str]:
        return [call.url.partition("&recipients=")[2] for call in relay.session.calls]

    def acknowledge(self, relay: Relay) -> None:
        put(relay, job())
        relay.wake(0)
        relay.chores.messages.clear()

    @pytest.mark.parametrize("status", ["warning", "ok"])
    def test_signal_that_is_no_worse_goes_to_the_acknowledger_alone(self, relay: Relay, status: str) -> None:
        self.acknowledge(relay)
        relay.share(status=status, changedOn=self.LATER)
        assert self.recipients_signalled(relay) == ["Ops", "jdoe"]

    @pytest.mark.parametrize(("others", "signalled"), [(0, ["Ops,dba", "jdoe"]), (1, ["Ops,dba", "Ops", "Ops,dba"])])
    def test_shares_with_url_recipients_go_to_the_acknowledger_alone_if_they_are_the_only_ones(
        self, others: int, signalled: list[str]
    ) -> None:
        document = samples.secret(policy={"min_seconds_between_signals": 0}, bigpanda={"api_key": "k"})
        document["xmatters"] |= {"callback": {"token": "t"}, "recipients": ["Ops"]}
        relay = Relay(FakeSession(samples.accepted()), secrets=FakeSecrets(noc=json.dumps(document)))
        for recipients in [("dba",), ()][: 1 + others]:
            relay.webhook.serve(samples.request(samples.enveloped("e1"), recipients=recipients))
        relay.chores.messages.clear()
        self.acknowledge(relay)
        relay.share(status="warning", changedOn=self.LATER, recipients=("dba",))
        assert self.recipients_signalled(relay) == signalled

    def test_worsened_or_reopened_incident_is_signalled_to_all(self, relay: Relay) -> None:
        self.acknowledge(relay)
        for second, status in enumerate(["warning", "critical", "ok", "critical"]):
            relay.clock.now += 20
            relay.share(status=status, changedOn=self.LATER + second)
        assert self.recipients_signalled(relay) == ["Ops", "jdoe", "Ops", "Ops", "Ops"]

    @pytest.mark.parametrize(
        ("policy", "statuses"),
        [
            # `resolved` is not announced.
            ({"notify_on": ["opened", "reopened", "eased"]}, ["ok", "critical", "warning"]),
            # A pause leaves out the end and the reopening.
            ({"pauses": [DROPPED]}, ["ok", "critical", "warning"]),
            # A better state that is not announced, and the same state again.
            ({"notify_on": ["worsened", "grew"]}, ["warning", "critical", "critical"]),
        ],
    )
    def test_acknowledgement_ends_with_an_incident_that_is_open_again(
        self, relay: Relay, policy: dict[str, Any], statuses: list[str]
    ) -> None:
        self.acknowledge(relay)
        document = json.loads(str(relay.secrets.texts["noc"]))
        document["policy"] |= policy
        relay.secrets.texts["noc"] = json.dumps(document)
        relay.clock.now += 301
        for second, status in enumerate(statuses):
            relay.clock.now += 1900 * (second == 2)
            relay.share(status=status, changedOn=self.LATER + second, alerts=[f"a{second}"])
        assert set(self.recipients_signalled(relay)) == {"Ops"}
        assert len(relay.session.calls) > 1

    def test_incident_that_may_have_been_reopened_is_signalled_to_all(self, relay: Relay) -> None:
        self.acknowledge(relay)
        relay = relay.other(requests.ReadTimeout(), samples.accepted("r3"))
        relay.share(status="ok", changedOn=self.LATER)
        relay.clock.now += 20
        relay.share(status="warning", changedOn=self.LATER + 1)
        assert self.recipients_signalled(relay) == ["jdoe", "Ops"]
        assert relay.entry().acknowledged_by == ""

    def test_acknowledgement_older_than_the_last_signal_does_not_count(self, relay: Relay) -> None:
        relay.clock.now += 20
        relay.share(status="warning", changedOn=self.LATER)
        self.acknowledge(relay)
        assert relay.entry().acknowledged_by == ""

    def test_retried_comment_does_not_acknowledge_a_reopened_incident(self) -> None:
        document = samples.secret(policy={"min_seconds_between_signals": 0}, bigpanda={"api_key": "k"})
        document["xmatters"] |= {"callback": {"token": "t"}, "recipients": ["Ops"]}
        relay = Relay(
            FakeSession(samples.accepted("r1"), samples.accepted("r2"), samples.accepted("r3")),
            secrets=FakeSecrets(noc=json.dumps(document)),
            bigpanda=FakeSession(samples.refused(503), DONE),
        )
        relay.share()
        self.acknowledge_and_keep(relay)
        assert relay.entry().acknowledged_by == "jdoe"
        for second, status in enumerate(["ok", "critical"]):
            relay.clock.now += 20
            relay.share(status=status, changedOn=self.LATER + second)
        assert relay.entry().acknowledged_by == ""
        relay.wake(60)
        assert len(comments(relay)) == 2
        assert relay.entry().acknowledged_by == ""

    def acknowledge_and_keep(self, relay: Relay) -> None:
        relay.chores.messages.clear()
        put(relay, job())
        relay.wake(0)

    def test_escalation_does_not_count_as_acknowledgement(self, relay: Relay) -> None:
        put(relay, job(response="Escalate"))
        relay.wake(0)
        relay.share(status="ok", changedOn=self.LATER)
        assert self.recipients_signalled(relay) == ["Ops", "Ops"]

    def test_acknowledgement_of_a_resolved_incident_does_not_count(self, relay: Relay) -> None:
        relay.share(status="ok", changedOn=self.LATER)
        self.acknowledge(relay)
        assert relay.entry().acknowledged_by == ""

    def test_quiet_after_acknowledge_false_signals_all_recipients(self, relay: Relay) -> None:
        document = samples.secret(policy={"quiet_after_acknowledge": False, "min_seconds_between_signals": 0})
        document["xmatters"] |= {"callback": {"token": "t"}, "recipients": ["Ops"]}
        relay.secrets.texts["noc"] = json.dumps(document)
        relay.clock.now += 301
        self.acknowledge(relay)
        relay.share(status="ok", changedOn=self.LATER)
        assert self.recipients_signalled(relay) == ["Ops", "Ops"]

    def test_acknowledgement_is_recorded_although_another_write_came_between(self) -> None:
        table = HookedDynamoDb()
        document = samples.secret()
        document["xmatters"] |= {"callback": {"token": "t"}}
        relay = Relay(FakeSession(samples.accepted()), secrets=FakeSecrets(noc=json.dumps(document)), dynamodb=table)
        relay.share()
        other = relay.other(samples.accepted("r2"))
        table.before["update_item", table.calls.count("update_item")] = lambda: other.share(
            alerts=["a9"], updatedOn=self.LATER
        )
        relay.chores.messages.clear()
        self.acknowledge(relay)
        assert table.before == {}
        assert relay.entry().acknowledged_by == "jdoe"


HELD: dict[str, Any] = {"callbacks": True, "app_key": "app-canary"}


class TestRelease:
    """Release: BigPanda holds an incident's updates until the relay confirms the incident's first share."""

    def test_first_share_of_an_incident_releases_it_in_bigpanda(self) -> None:
        relay = new_relay(**HELD)
        shared(relay, status="critical")
        assert relay.bigpanda.calls == []
        relay.wake(0)
        [call] = [call for call in relay.bigpanda.calls if call.url.endswith("/outbound/callback")]
        assert json.loads(call.body) == {"event_type": "incident#new", "incident_id": "i1", "app_key": "app-canary"}
        shared(relay, status="warning", changedOn=1_800_000_001)
        relay.wake(36)
        assert len(relay.bigpanda.calls) == 1

    def test_first_share_that_is_resolved_releases_its_incident(self) -> None:
        relay = new_relay(**HELD)
        shared(relay, status="ok")
        relay.wake(0)
        assert len(relay.bigpanda.calls) == 1

    def test_incident_is_not_released_without_the_setting(self) -> None:
        relay = new_relay()
        shared(relay)
        relay.wake(0)
        assert relay.bigpanda.calls == []

    @pytest.mark.parametrize("status", [404, 409])
    def test_release_that_bigpanda_does_not_need_is_no_failure(self, status: int) -> None:
        relay = new_relay(samples.refused(status), **HELD)
        shared(relay)
        relay.wake(0)
        assert (len(relay.bigpanda.calls), relay.dead_letters.messages) == (1, [])

    def test_failed_release_is_retried(self) -> None:
        relay = new_relay(samples.refused(503), DONE, **HELD)
        shared(relay)
        relay.wake(0)
        relay.wake(60)
        assert len(relay.bigpanda.calls) == 2
        assert "app-canary" not in relay.recorder.written()


def shared(relay: Relay, **said: Any) -> None:
    assert relay.webhook.serve(samples.request(samples.body(**said))).status < 300


class TestRate:
    def test_worker_writes_five_comments_a_second_at_most(self) -> None:
        clock, moments = Clock(), list[float]()

        def noted(_: Call) -> HttpAnswer:
            moments.append(clock.now)
            return DONE

        relay = new_relay(noted, clock=clock)
        put(relay, *(job(number, incident_id=f"i{number}") for number in range(1, 13)))
        relay.wake(0)
        seconds = Counter(map(int, moments))
        assert (len(moments), max(seconds.values())) == (12, 5)

    def test_worker_looks_up_two_users_a_second_at_most(self) -> None:
        clock, moments = Clock(), list[float]()

        def noted(call: Call) -> HttpAnswer:
            if call.method == "GET":
                moments.append(clock.now)
            return NOBODY

        relay = new_relay(noted, clock=clock, assign=True)
        put(relay, *(job(number, incident_id=f"i{number}") for number in range(1, 6)))
        relay.wake(0)
        seconds = Counter(map(int, moments))
        assert (len(moments), max(seconds.values())) == (5, 2)

    def test_worker_reads_five_pages_of_activities_a_second_at_most(self) -> None:
        clock, moments = Clock(), list[float]()
        full = HttpAnswer(200, {}, json.dumps([{"comment": "x"}] * 20).encode())

        def noted(call: Call) -> HttpAnswer:
            if call.method == "GET":
                moments.append(clock.now)
                return full
            return samples.refused(502) if len(relay.bigpanda.calls) <= 3 else DONE

        relay = new_relay(noted, clock=clock)
        put(relay, *(job(number, incident_id=f"i{number}") for number in range(1, 4)))
        relay.wake(0)
        relay.wake(60)
        assert (len(moments), max(Counter(map(int, moments)).values())) == (9, 3)

    def test_callback_without_a_rate_limit_slot_waits_on_the_queue(self) -> None:
        relay = new_relay()
        now = int(relay.clock.now)
        account = hashlib.sha256(b"BPU-canary").hexdigest()[:16]
        for second in range(now, now + 4):
            relay.table.update(f"rate/{account}/comments/{second}", add={"calls": 5})
        put(relay, job())
        relay.wake(0)
        [waiting] = relay.chores.jobs()
        assert (waiting.stamps.reason, waiting.attempts, comments(relay)) == ("paced", 0, [])
        relay.wake(60)
        assert len(comments(relay)) == 1
