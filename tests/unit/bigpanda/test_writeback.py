"""Write-back: callbacks become comments and assignments, once as far as that can be known; never lost."""

import hashlib
import json
from collections import Counter
from typing import Any

import pytest
import requests
from botocore.exceptions import EndpointConnectionError

from relay.bigpanda.client import ACTIVITIES_A_PAGE
from relay.bigpanda.rate_limit import CALLS_A_SECOND, MAX_WAITS, USERS_A_SECOND
from relay.bigpanda.writeback import LEASE_SECONDS
from relay.entrypoints.worker import JOB_SECONDS, SILENT_SECONDS
from relay.http.session import Answer
from relay.jobs.envelope import Job
from relay.ledger.entry import Entry, key
from relay.ledger.ledger import Ledger
from relay.ledger.table import Table
from tests import samples
from tests.fake_dynamodb import FakeDynamoDb
from tests.fakes import Call, Clock, FakeSecrets, FakeSession, Meddled, Relay, Step, table_down, worked
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
DONE = Answer(204, {}, b"")
NOBODY = Answer(200, {}, b'{"Resources": []}')
JANE = Answer(200, {}, b'{"Resources": [{"id": "u1", "userName": "jdoe"}]}')
EMPTY = Answer(200, {}, b"[]")


def job(number: int = 1, *, attempts: int = 0, **members: Any) -> Job:
    body = json.dumps(ANSWER | members).encode()
    return samples.job(
        kind="writeback",
        delivery_id=f"{number:032x}",
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


def room(*steps: Step, dynamodb: FakeDynamoDb | None = None, clock: Clock | None = None, **bigpanda: Any) -> Relay:
    secret = samples.secret(bigpanda={"api_key": "BPU-canary"} | bigpanda)
    return Relay(
        FakeSession(samples.accepted()),
        secrets=FakeSecrets(noc=json.dumps(secret)),
        dynamodb=dynamodb or FakeDynamoDb(),
        bigpanda=FakeSession(*steps or (DONE,)),
        clock=clock or Clock(),
    )


def put(relay: Relay, *jobs: Job) -> None:
    """Queue callbacks, of incidents that the channel announced."""
    for each in jobs:
        if not relay.session.calls:
            announce(relay, json.loads(each.body)["incident_id"])
        relay.chores.queue().send(each)


def announce(relay: Relay, incident_id: str) -> None:
    """Let the channel have announced an incident, if it knows nothing of it yet."""
    name, elsewhere = key("noc", (), incident_id), FakeDynamoDb()
    client: Any = elsewhere
    Ledger(Table(client, "ledger", relay.clock)).write(name, Entry(), Entry(announced=state(), kept=state()))
    relay.dynamodb.items.setdefault(name, elsewhere.items[name])


def asked(relay: Relay) -> list[str]:
    return [f"{call.method} {call.url.rpartition('/')[2].partition('?')[0]}" for call in relay.bigpanda.calls]


def comments(relay: Relay) -> list[str]:
    return [json.loads(call.body)["comment"] for call in relay.bigpanda.calls if call.url.endswith("/comments")]


class TestWrite:
    def test_a_comment_is_written_and_the_job_is_gone(self) -> None:
        relay = room()
        put(relay, job())
        relay.wake(0)
        [call] = relay.bigpanda.calls
        assert call.url == "https://api.bigpanda.io/resources/v2.0/environments/e1/incidents/i1/comments"
        assert comments(relay) == [f"{WORDS} [relay 00000000]"]
        assert relay.chores.messages == relay.dead_letters.messages == []
        assert relay.recorder.metrics()["job_delivered"] == 1

    def test_a_callback_that_came_twice_is_written_once(self) -> None:
        relay = room()
        put(relay, job(), job())
        relay.wake(0)
        assert len(comments(relay)) == 1
        assert relay.chores.messages == []

    def test_what_the_channel_no_longer_wants_is_let_go(self) -> None:
        relay = room(comments=["annotation"])
        put(relay, job())
        relay.wake(0)
        assert (relay.bigpanda.calls, relay.chores.messages) == ([], [])


class TestEnvironment:
    def test_where_bigpanda_shared_it_from_counts_most(self) -> None:
        relay = room(environments=["fixed", "shared-in", "e1"])
        share = {"incident": {"id": "i1", "status": "critical"}, "metadata": {"environment_id": "shared-in"}}
        relay.share(json.dumps(share).encode())
        relay.chores.messages.clear()
        put(relay, job())
        relay.wake(0)
        assert "/environments/shared-in/" in relay.bigpanda.calls[0].url

    def test_then_what_the_callback_says(self) -> None:
        relay = room(environments=["fixed", "e1"])
        put(relay, job())
        relay.wake(0)
        assert "/environments/e1/" in relay.bigpanda.calls[0].url

    def test_place_that_the_secret_does_not_name_is_no_place(self) -> None:
        relay = room(environment_id="fixed")
        share = {"incident": {"id": "i1", "status": "critical"}, "metadata": {"environment_id": "of-a-stranger"}}
        relay.share(json.dumps(share).encode())
        relay.chores.messages.clear()
        put(relay, job())
        relay.wake(0)
        assert "/environments/fixed/" in relay.bigpanda.calls[0].url

    def test_where_the_secret_names_none_the_share_does(self) -> None:
        relay = room()
        share = {"incident": {"id": "i1", "status": "critical"}, "metadata": {"environment_id": "shared-in"}}
        relay.share(json.dumps(share).encode())
        relay.chores.messages.clear()
        put(relay, job(environment_id=None))
        relay.wake(0)
        assert "/environments/shared-in/" in relay.bigpanda.calls[0].url

    def test_or_of_a_share_for_a_webhooks_own_recipients(self) -> None:
        relay = room(environments=["fixed", "shared-in"])
        relay.webhook.serve(samples.request(samples.enveloped("shared-in"), recipients=("dba",)))
        relay.chores.messages.clear()
        put(relay, job(environment_id=None))
        relay.wake(0)
        assert "/environments/shared-in/" in relay.bigpanda.calls[0].url

    def test_then_the_channels_own(self) -> None:
        relay = room(environment_id="fixed")
        put(relay, job(environment_id=None))
        relay.wake(0)
        assert "/environments/fixed/" in relay.bigpanda.calls[0].url

    def test_without_any_it_rests_until_somebody_sets_one(self) -> None:
        relay = room()
        put(relay, job(environment_id=None))
        relay.wake(0)
        [rests] = relay.dead_letters.jobs()
        assert (rests.reason, relay.bigpanda.calls) == ("refused", [])
        assert "bigpanda.environment_id" in relay.recorder.written()


class TestAssign:
    def test_who_acknowledged_has_the_incident(self) -> None:
        relay = room(JANE, DONE, assign=True)
        put(relay, job())
        relay.wake(0)
        assert asked(relay) == ["GET Users", "PUT assignment", "POST comments"]
        assert json.loads(relay.bigpanda.calls[1].body) == {"assignee": "u1"}
        assert "is assigned to them" in comments(relay)[0]

    def test_by_the_name_that_bigpanda_has_for_them(self) -> None:
        known = Answer(200, {}, b'{"Resources": [{"id": "u1", "userName": "jdoe@acme.example"}]}')
        relay = room(known, DONE, assign=True, email_domain="acme.example")
        put(relay, job())
        relay.wake(0)
        assert asked(relay) == ["GET Users", "PUT assignment", "POST comments"]
        assert json.loads(relay.bigpanda.calls[1].body) == {"assignee": "u1"}

    @pytest.mark.parametrize("response", ["Escalate", "Later"])
    def test_nobody_else_has(self, response: str) -> None:
        relay = room(assign=True)
        put(relay, job(response=response))
        relay.wake(0)
        assert asked(relay) == ["POST comments"]

    def test_whom_bigpanda_does_not_know_is_said_so(self) -> None:
        relay = room(NOBODY, DONE, assign=True)
        put(relay, job())
        relay.wake(0)
        assert "(Not assigned: BigPanda has no user of that name.)" in comments(relay)[0]

    @pytest.mark.parametrize("steps", [(samples.refused(403), DONE), (JANE, samples.refused(404), DONE)])
    def test_what_is_refused_does_not_keep_the_comment_back(self, steps: tuple[Step, ...]) -> None:
        relay = room(*steps, assign=True)
        put(relay, job())
        relay.wake(0)
        assert "(Not assigned: BigPanda answered 40" in comments(relay)[0]

    def test_what_passes_by_itself_is_tried_again(self) -> None:
        relay = room(JANE, samples.refused(429), JANE, DONE, assign=True)
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
    def test_what_was_surely_not_written_is_written_later_without_a_look(self, step: Step, reason: str) -> None:
        relay = room(step, DONE)
        put(relay, job())
        relay.wake(0)
        [waiting] = relay.chores.jobs()
        assert (waiting.reason, waiting.rounds, waiting.attempts) == (reason, 1, 1)
        relay.wake(301)
        assert asked(relay) == ["POST comments", "POST comments"]
        assert relay.chores.messages == []

    @pytest.mark.parametrize("step", [requests.ReadTimeout(), samples.refused(502), requests.ConnectionError()])
    def test_what_may_be_written_is_looked_for_first(self, step: Step) -> None:
        there = Answer(200, {}, json.dumps([{"params": {"comment": f"{WORDS} [relay 00000000]"}}]).encode())
        relay = room(step, there)
        put(relay, job())
        relay.wake(0)
        relay.wake(60)
        assert asked(relay) == ["POST comments", "GET activities"]
        assert relay.chores.messages == []

    @pytest.mark.parametrize(
        "forged",
        [
            "[relay 00000000]",
            "nothing to see here [relay 00000000]",
            f"[relay 00000000] {WORDS}",
            f"jdoe commented on xMatters page 7. Note: {WORDS} [relay 11111111]",
        ],
    )
    def test_a_mark_that_somebody_else_wrote_does_not_keep_a_comment_back(self, forged: str) -> None:
        there = Answer(200, {}, json.dumps([{"params": {"comment": forged}}]).encode())
        relay = room(requests.ReadTimeout(), there, DONE)
        put(relay, job())
        relay.wake(0)
        relay.wake(60)
        assert asked(relay) == ["POST comments", "GET activities", "POST comments"]

    def test_a_note_with_the_mark_of_another_callback_does_not_keep_its_comment_back(self) -> None:
        written: list[str] = []
        lost = iter([False, True])

        def bigpanda(call: Call) -> Answer:
            if call.method == "GET":
                return Answer(200, {}, json.dumps([{"params": {"comment": words}} for words in written]).encode())
            if next(lost, False):
                return samples.refused(502)
            written.append(json.loads(call.body)["comment"])
            return DONE

        relay = room(bigpanda)
        put(relay, job(0xABCDEF01 << 96, kind="annotation", note=f"ok. {WORDS} [relay 00000000]"), job())
        relay.wake(0)
        relay.wake(60)
        assert len(written) == 2
        assert [words.count("[relay") for words in written] == [1, 1]
        assert written[1] == f"{WORDS} [relay 00000000]"

    def test_if_it_is_not_there_it_is_written(self) -> None:
        relay = room(requests.ReadTimeout(), EMPTY, DONE)
        put(relay, job())
        relay.wake(0)
        relay.wake(60)
        assert asked(relay) == ["POST comments", "GET activities", "POST comments"]

    def test_the_doubt_stays_while_nobody_could_look(self) -> None:
        relay = room(requests.ReadTimeout(), samples.refused(429), EMPTY, DONE)
        put(relay, job())
        for seconds in (0, 60, 60):
            relay.wake(seconds)
        assert asked(relay) == ["POST comments", "GET activities", "GET activities", "POST comments"]

    def test_what_bigpanda_refuses_rests_at_once(self) -> None:
        relay = room(samples.refused(404, b"no such incident"))
        put(relay, job())
        relay.wake(0)
        [rests] = relay.dead_letters.jobs()
        assert (rests.reason, rests.http_status, rests.response_excerpt) == ("refused", 404, "no such incident")
        assert (rests.attempts, rests.kind, relay.chores.messages) == (1, "writeback", [])

    def test_what_is_refused_and_not_dead_lettered_is_offered_again(self) -> None:
        relay = room(samples.refused(404))
        relay.dead_letters.failure = EndpointConnectionError(endpoint_url="https://sqs")
        put(relay, job())
        relay.wake(0)
        assert relay.chores.delays() == [60]

    def test_what_is_too_old_rests_with_its_last_reason(self) -> None:
        relay = room(samples.refused(503))
        put(relay, job())
        relay.wake(21_601)
        [rests] = relay.dead_letters.jobs()
        assert (rests.reason, relay.bigpanda.calls) == ("expired", [])

    def test_no_secret_is_in_what_is_kept_or_logged(self) -> None:
        relay = room(samples.refused(400, b"key BPU-canary is odd"))
        put(relay, job())
        relay.wake(0)
        kept = relay.dead_letters.messages[0]["MessageBody"]
        assert "is odd" in kept
        assert "BPU-canary" not in kept + relay.recorder.written()


class TestHanging:
    """BigPanda does not answer: signals that wait for a worker must not wait for that."""

    def test_one_time_out_is_enough_for_a_while(self) -> None:
        def hangs(call: Call) -> Answer:
            relay.clock.now += call.seconds
            raise requests.ReadTimeout

        relay = room(hangs)
        put(relay, *(job(number, incident_id=f"i{number}") for number in range(1, 6)))
        began = relay.clock.now
        relay.wake(0)
        assert (len(relay.bigpanda.calls), relay.clock.now - began <= JOB_SECONDS) == (1, True)
        assert {waiting.reason for waiting in relay.chores.jobs()} == {"timeout", "circuit_open"}
        assert len(relay.chores.jobs()) == 5

    def test_then_it_is_asked_again(self) -> None:
        def hangs(call: Call) -> Answer:
            relay.clock.now += call.seconds
            raise requests.ReadTimeout

        relay = room(hangs, Answer(200, {}, b"[]"), Answer(204, {}, b""))
        put(relay, job(1), job(2, incident_id="i2"))
        relay.wake(0)
        relay.wake(SILENT_SECONDS)
        relay.wake(SILENT_SECONDS)
        assert (relay.chores.messages, len(comments(relay))) == ([], 3)

    def test_what_fails_fast_takes_nobodys_time(self) -> None:
        relay = room(requests.ConnectionError("reset"), Answer(204, {}, b""))
        put(relay, job(1), job(2, incident_id="i2"))
        relay.wake(0)
        assert len(relay.bigpanda.calls) == 2


class TestReplay:
    def test_dead_lettered_callback_that_comes_back_is_tried_however_old_it_is_and_written_once(self) -> None:
        relay = room(samples.refused(404), DONE)
        put(relay, job())
        relay.wake(0)
        [dead] = relay.dead_letters.jobs()
        put(relay, dead, dead)
        relay.wake(10 * 86_400)
        assert relay.retries.messages == []
        assert len(comments(relay)) == 2
        assert relay.recorder.metrics()["job_duplicate"] == 1


class TestMeeting:
    def test_two_workers_with_the_same_callback_write_it_once(self) -> None:
        table = Meddled()
        relay = room(dynamodb=table)
        other = relay.other()
        # The other one is quicker between this one's look and its claim.
        table.before[("update_item", 0)] = lambda: worked(other, job())
        put(relay, job())
        relay.wake(0)
        assert table.before == {}
        assert len(comments(relay)) == 1
        relay.wake(LEASE_SECONDS + 1)
        assert len(comments(relay)) == 1
        assert relay.chores.messages == []

    def test_whoever_died_at_it_may_have_written_it(self) -> None:
        def dies(_: Call) -> Answer:
            raise SystemExit

        relay = room(dies, EMPTY, DONE)
        put(relay, job())
        with pytest.raises(SystemExit):
            relay.wake(0)
        put(relay, job())
        relay.wake(0)
        [waiting] = relay.chores.jobs()
        assert (waiting.reason, asked(relay)) == ("in_flight", ["POST comments"])
        relay.wake(LEASE_SECONDS + 1)
        assert asked(relay) == ["POST comments", "GET activities", "POST comments"]


class TestLedgerDown:
    @pytest.mark.parametrize("place", [("get_item", 0), ("update_item", 0), ("update_item", 1)])
    def test_nobodys_phone_waits_so_it_waits(self, place: tuple[str, int]) -> None:
        table = Meddled()
        relay = room(EMPTY, dynamodb=table)
        table.before[place] = table_down
        put(relay, job())
        relay.wake(0)
        [waiting] = relay.chores.jobs()
        assert (waiting.reason, comments(relay)) == ("internal", [])
        relay.wake(LEASE_SECONDS + 1)
        assert len(comments(relay)) == 1

    def test_a_comment_that_could_not_be_noted_is_looked_for(self) -> None:
        table = Meddled()
        there = Answer(200, {}, json.dumps([{"comment": f"{WORDS} [relay 00000000]"}]).encode())
        relay = room(DONE, there, dynamodb=table)
        table.before[("update_item", 3)] = table_down
        put(relay, job())
        relay.wake(0)
        relay.wake(LEASE_SECONDS + 1)
        assert asked(relay) == ["POST comments", "GET activities"]
        assert relay.chores.messages == []


class TestAcknowledged:
    """Who acknowledged hears alone of what is no worse; all hear of the rest."""

    LATER = 1_800_000_001

    @pytest.fixture
    def relay(self) -> Relay:
        document = samples.secret(policy={"min_seconds_between_signals": 0})
        document["xmatters"] |= {"callback": {"token": "t"}, "recipients": ["Ops"]}
        relay = Relay(FakeSession(samples.accepted()), secrets=FakeSecrets(noc=json.dumps(document)))
        relay.share()
        relay.chores.messages.clear()
        return relay

    def rung(self, relay: Relay) -> list[str]:
        return [call.url.partition("&recipients=")[2] for call in relay.session.calls]

    def acknowledge(self, relay: Relay) -> None:
        put(relay, job())
        relay.wake(0)
        relay.chores.messages.clear()

    @pytest.mark.parametrize("status", ["warning", "ok"])
    def test_what_is_no_worse_goes_to_who_acknowledged(self, relay: Relay, status: str) -> None:
        self.acknowledge(relay)
        relay.share(status=status, changedOn=self.LATER)
        assert self.rung(relay) == ["Ops", "jdoe"]

    @pytest.mark.parametrize(("others", "rung"), [(0, ["Ops,dba", "jdoe"]), (1, ["Ops,dba", "Ops", "Ops,dba"])])
    def test_shares_for_a_webhooks_own_recipients_are_quiet_too_unless_there_are_several(
        self, others: int, rung: list[str]
    ) -> None:
        document = samples.secret(policy={"min_seconds_between_signals": 0}, bigpanda={"api_key": "k"})
        document["xmatters"] |= {"callback": {"token": "t"}, "recipients": ["Ops"]}
        relay = Relay(FakeSession(samples.accepted()), secrets=FakeSecrets(noc=json.dumps(document)))
        for recipients in [("dba",), ()][: 1 + others]:
            relay.webhook.serve(samples.request(samples.enveloped("e1"), recipients=recipients))
        relay.chores.messages.clear()
        self.acknowledge(relay)
        relay.share(status="warning", changedOn=self.LATER, recipients=("dba",))
        assert self.rung(relay) == rung

    def test_what_is_worse_or_open_again_goes_to_all(self, relay: Relay) -> None:
        self.acknowledge(relay)
        for second, status in enumerate(["warning", "critical", "ok", "critical"]):
            relay.clock.now += 20
            relay.share(status=status, changedOn=self.LATER + second)
        assert self.rung(relay) == ["Ops", "jdoe", "Ops", "Ops", "Ops"]

    def test_what_is_open_again_for_all_that_is_known_goes_to_all(self, relay: Relay) -> None:
        self.acknowledge(relay)
        relay = relay.other(requests.ReadTimeout(), samples.accepted("r3"))
        relay.share(status="ok", changedOn=self.LATER)
        relay.clock.now += 20
        relay.share(status="warning", changedOn=self.LATER + 1)
        assert self.rung(relay) == ["jdoe", "Ops"]
        assert relay.entry().acknowledged_by == ""

    def test_what_was_answered_before_the_last_signal_says_nothing_of_it(self, relay: Relay) -> None:
        relay.clock.now += 20
        relay.share(status="warning", changedOn=self.LATER)
        self.acknowledge(relay)
        assert relay.entry().acknowledged_by == ""

    def test_nor_does_a_comment_that_is_tried_again_when_the_incident_is_another_one(self) -> None:
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

    def test_an_escalation_changes_nothing(self, relay: Relay) -> None:
        put(relay, job(response="Escalate"))
        relay.wake(0)
        relay.share(status="ok", changedOn=self.LATER)
        assert self.rung(relay) == ["Ops", "Ops"]

    def test_nor_does_an_answer_to_what_is_over(self, relay: Relay) -> None:
        relay.share(status="ok", changedOn=self.LATER)
        self.acknowledge(relay)
        assert relay.entry().acknowledged_by == ""

    def test_the_channel_may_want_all_to_hear_of_all(self, relay: Relay) -> None:
        document = samples.secret(policy={"quiet_after_acknowledge": False, "min_seconds_between_signals": 0})
        document["xmatters"] |= {"callback": {"token": "t"}, "recipients": ["Ops"]}
        relay.secrets.texts["noc"] = json.dumps(document)
        relay.clock.now += 301
        self.acknowledge(relay)
        relay.share(status="ok", changedOn=self.LATER)
        assert self.rung(relay) == ["Ops", "Ops"]

    def test_another_who_writes_meanwhile_is_not_lost(self) -> None:
        table = Meddled()
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
    """BigPanda holds an incident's updates until it hears that its first share arrived."""

    def test_the_first_share_of_an_incident_releases_it_once_it_is_safe(self) -> None:
        relay = room(**HELD)
        shared(relay, status="critical")
        assert relay.bigpanda.calls == []
        relay.wake(0)
        [call] = [call for call in relay.bigpanda.calls if call.url.endswith("/outbound/callback")]
        assert json.loads(call.body) == {"event_type": "incident#new", "incident_id": "i1", "app_key": "app-canary"}
        shared(relay, status="warning", changedOn=1_800_000_001)
        relay.wake(36)
        assert len(relay.bigpanda.calls) == 1

    def test_one_that_is_over_when_it_is_first_seen_is_released_too(self) -> None:
        relay = room(**HELD)
        shared(relay, status="ok")
        relay.wake(0)
        assert len(relay.bigpanda.calls) == 1

    def test_without_the_setting_nobody_is_told(self) -> None:
        relay = room()
        shared(relay)
        relay.wake(0)
        assert relay.bigpanda.calls == []

    @pytest.mark.parametrize("status", [404, 409])
    def test_that_there_is_nothing_to_release_is_no_failure(self, status: int) -> None:
        relay = room(samples.refused(status), **HELD)
        shared(relay)
        relay.wake(0)
        assert (len(relay.bigpanda.calls), relay.dead_letters.messages) == (1, [])

    def test_what_fails_is_tried_again(self) -> None:
        relay = room(samples.refused(503), DONE, **HELD)
        shared(relay)
        relay.wake(0)
        relay.wake(60)
        assert len(relay.bigpanda.calls) == 2
        assert "app-canary" not in relay.recorder.written()


def shared(relay: Relay, **said: Any) -> None:
    assert relay.webhook.serve(samples.request(samples.body(**said))).status < 300


class TestRate:
    def test_no_more_than_five_comments_a_second(self) -> None:
        clock, moments = Clock(), list[float]()

        def noted(_: Call) -> Answer:
            moments.append(clock.now)
            return DONE

        relay = room(noted, clock=clock)
        put(relay, *(job(number, incident_id=f"i{number}") for number in range(1, 13)))
        relay.wake(0)
        seconds = Counter(map(int, moments))
        assert (len(moments), max(seconds.values())) == (12, CALLS_A_SECOND)

    def test_no_more_than_two_look_ups_of_users_a_second(self) -> None:
        clock, moments = Clock(), list[float]()

        def noted(call: Call) -> Answer:
            if call.method == "GET":
                moments.append(clock.now)
            return NOBODY

        relay = room(noted, clock=clock, assign=True)
        put(relay, *(job(number, incident_id=f"i{number}") for number in range(1, 6)))
        relay.wake(0)
        seconds = Counter(map(int, moments))
        assert (len(moments), max(seconds.values())) == (5, USERS_A_SECOND)

    def test_no_more_than_five_pages_of_activities_a_second(self) -> None:
        clock, moments = Clock(), list[float]()
        full = Answer(200, {}, json.dumps([{"comment": "x"}] * ACTIVITIES_A_PAGE).encode())

        def noted(call: Call) -> Answer:
            if call.method == "GET":
                moments.append(clock.now)
                return full
            return samples.refused(502) if len(relay.bigpanda.calls) <= 3 else DONE

        relay = room(noted, clock=clock)
        put(relay, *(job(number, incident_id=f"i{number}") for number in range(1, 4)))
        relay.wake(0)
        relay.wake(60)
        assert (len(moments), max(Counter(map(int, moments)).values())) == (9, 3)

    def test_whose_turn_does_not_come_waits_on_the_queue(self) -> None:
        relay = room()
        now = int(relay.clock.now)
        account = hashlib.sha256(b"BPU-canary").hexdigest()[:16]
        for second in range(now, now + MAX_WAITS):
            relay.table.update(f"rate/{account}/comments/{second}", add={"calls": CALLS_A_SECOND})
        put(relay, job())
        relay.wake(0)
        [waiting] = relay.chores.jobs()
        assert (waiting.reason, waiting.attempts, comments(relay)) == ("paced", 0, [])
        relay.wake(60)
        assert len(comments(relay)) == 1
