"""Write-back: callbacks become comments and assignments; none is lost, and a comment is repeated only in doubt."""

import json
from typing import Any

import pytest
import requests

from relay.bigpanda.comment import tag_of
from relay.http.session import HttpAnswer
from relay.jobs.job import Job
from tests import samples
from tests.fakes import FakeSession, Relay, Step, dies
from tests.fakes import new_relay as plain_relay
from tests.unit import xmatters_tenant
from tests.unit.xmatters_tenant import Tenant

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
DOWN, LOG_IN = samples.refused(503), HttpAnswer(200, {}, b"<html></html>")
USERS = HttpAnswer(200, {}, b'{"Resources": [{"id": "u1", "userName": "jdoe"}]}')


def job(*, attempts: int = 0, **members: Any) -> Job:
    body = json.dumps(ANSWER | members).encode()
    return samples.job(
        kind="writeback",
        digest="1" * 32,
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


def new_relay(*steps: Step, **access: Any) -> Relay:
    access = {"api_key": "BPU-canary"} | access
    return plain_relay(access=access, bigpanda=FakeSession(*steps or (DONE,)))


def put(relay: Relay, *jobs: Job) -> None:
    """Put callbacks on the chore queue. Record their incidents as announced, if the relay sent no signal before."""
    for each in jobs:
        if not relay.session.calls:
            relay.announce(json.loads(each.body)["incident_id"])
        relay.chores.queue().send(each)


def asked(relay: Relay) -> list[str]:
    return [f"{call.method} {call.url.rpartition('/')[2].partition('?')[0]}" for call in relay.bigpanda.calls]


def comments(relay: Relay) -> list[str]:
    return [json.loads(call.body)["comment"] for call in relay.bigpanda.calls if call.url.endswith("/comments")]


def acted(*steps: Step, waits: tuple[float, ...] = (0,), **bigpanda: Any) -> Relay:
    """Return a relay after its workers had one callback; BigPanda answered with these steps."""
    relay = new_relay(*steps, **bigpanda)
    put(relay, job())
    for seconds in waits:
        relay.wake(seconds)
    return relay


def activities(*texts: str) -> HttpAnswer:
    return HttpAnswer(200, {}, json.dumps([{"params": {"comment": text}} for text in texts]).encode())


# `named` has the environments of the share and of the callback; None if it names none.
@pytest.mark.parametrize(
    ("access", "named", "found"),
    [
        ({"environments": ["fixed", "of-share", "e1"]}, ("of-share", "e1"), "of-share"),
        ({"environments": ["fixed", "e1"]}, (None, "e1"), "e1"),
        ({"environment_id": "fixed"}, ("of-a-stranger", "e1"), "fixed"),
        ({}, ("of-share", None), "of-share"),
        ({"environment_id": "fixed"}, (None, None), "fixed"),
        ({}, (None, None), None),
    ],
)
@pytest.mark.parametrize("recipients", [(), ("dba",)])
def test_comment_goes_to_the_environment_of_share_or_callback_that_the_secret_names(
    access: dict[str, Any], named: tuple[str | None, str | None], found: str | None, recipients: tuple[str, ...]
) -> None:
    relay = new_relay(**access)
    if named[0]:
        relay.webhook.serve(samples.request(samples.enveloped(named[0]), recipients=recipients))
        relay.chores.messages.clear()
    put(relay, job(environment_id=named[1]))
    relay.wake(0)
    assert [call.url.partition("/environments/")[2].partition("/")[0] for call in relay.bigpanda.calls] == (
        [found] if found else []
    )
    assert [dead.stamps.reason for dead in relay.dead_letters.jobs()] == ([] if found else ["refused"])
    assert ("bigpanda.environment_id" in relay.recorder.written()) is (found is None)


class TestFailing:
    POST, READ = "POST comments", "GET activities"

    @pytest.mark.parametrize(
        "there",
        [
            "",
            TAG,
            f"nothing to see here {TAG}",
            f"{TAG} {WORDS}",
            f"jdoe commented on xMatters page 7. Note: {WORDS} [relay 11111111]",
        ],
    )
    def test_comment_is_written_again_if_it_is_not_there_or_another_one_forges_its_mark(self, there: str) -> None:
        relay = acted(requests.ReadTimeout(), activities(there), DONE, waits=(0, 60))
        assert asked(relay) == [self.POST, self.READ, self.POST]

    def test_comment_in_doubt_stays_in_doubt_while_bigpanda_refuses_the_search_for_it(self) -> None:
        there = activities(f"{WORDS} {TAG}")
        relay = acted(requests.ReadTimeout(), samples.refused(429), there, DONE, waits=(0, 60, 120))
        assert asked(relay) == [self.POST, self.READ, self.READ]


def test_answer_that_the_ledger_kept_from_its_verification_waits_for_the_record_of_its_signal() -> None:
    relay = new_relay()
    relay.chores.queue().send(samples.changed(job(), reason="internal"))
    relay.clock.now += 400
    relay.wake(0)
    assert relay.chores.delays() == [60]
    relay.announce("i1")
    relay.wake(60)
    assert [text.partition(" [")[0] for text in comments(relay)] == [WORDS]


def test_comment_is_looked_for_if_a_worker_died_after_it_had_written_it() -> None:
    relay = new_relay(dies, activities(f"{WORDS} {TAG}"), DONE)
    put(relay, job())
    with pytest.raises(SystemExit):
        relay.wake(0)
    relay.chores.queue().send(job())
    relay.wake(120)
    assert asked(relay) == ["POST comments", "GET activities"]


HELD: dict[str, Any] = {"callbacks": True, "app_key": "app-canary"}


def test_first_share_of_an_incident_releases_it_in_bigpanda() -> None:
    relay = new_relay(**HELD)
    assert relay.post().status < 300
    assert relay.bigpanda.calls == []
    relay.wake(0)
    [call] = [call for call in relay.bigpanda.calls if call.url.endswith("/outbound/callback")]
    assert json.loads(call.body) == {"event_type": "incident#new", "incident_id": "i1", "app_key": "app-canary"}
    assert relay.post(status="warning", changedOn=1_800_000_001).status < 300
    relay.wake(36)
    assert len(relay.bigpanda.calls) == 1


@pytest.mark.parametrize("access", [{}, {"bigpanda": {"api_key": "BPU-canary"}}])
def test_share_is_not_released_if_the_channel_holds_no_updates_any_more(access: dict[str, Any]) -> None:
    relay = new_relay(**HELD)
    relay.post()
    relay.edit_secret(lambda document: (document.pop("bigpanda"), document.update(access)))
    relay.clock.now += 301
    relay.wake(0)
    assert (relay.bigpanda.calls, relay.recorder.metrics().get("crash")) == ([], None)


def test_nothing_is_released_for_a_channel_from_which_bigpanda_withholds_nothing() -> None:
    relay = new_relay()
    assert relay.post().status < 300
    assert relay.chores.messages == []


def test_first_share_releases_its_incident_although_its_signal_has_to_wait() -> None:
    relay = new_relay(**HELD)
    relay.session.steps = [samples.refused(429)]
    assert relay.post().status == 202
    relay.wake(0)
    assert [call.url.rpartition("/")[2] for call in relay.bigpanda.calls] == ["callback"]


@pytest.mark.parametrize(
    ("user_name", "access"),
    [("jdoe", {}), ("jdoe@acme.example", {"email_domain": "acme.example"})],
    ids=["user name", "e-mail address"],
)
def test_incident_is_assigned_to_the_acknowledger(user_name: str, access: dict[str, Any]) -> None:
    users = json.dumps({"Resources": [{"id": "u1", "userName": user_name}]}).encode()
    relay = acted(HttpAnswer(200, {}, users), DONE, assign=True, **access)
    assert asked(relay) == ["GET Users", "PUT assignment", "POST comments"]
    assert json.loads(relay.bigpanda.calls[1].body) == {"assignee": "u1"}
    assert "is assigned to them" in comments(relay)[0]


@pytest.mark.parametrize("listed", ["", '{"id": "u2", "userName": "another"}'], ids=["nobody", "another user"])
def test_incident_is_not_assigned_to_a_user_whom_bigpanda_does_not_know(listed: str) -> None:
    relay = acted(HttpAnswer(200, {}, f'{{"Resources": [{listed}]}}'.encode()), DONE, assign=True)
    assert asked(relay) == ["GET Users", "POST comments"]
    assert "(Not assigned: BigPanda has no user of that name.)" in comments(relay)[0]


@pytest.mark.parametrize(
    ("steps", "times", "says"),
    [
        pytest.param(
            (USERS, DONE, samples.refused(429), DONE), 1, "was assigned to them", id="only its comment failed"
        ),
        pytest.param((USERS, DOWN, activities(), USERS, DONE), 2, "is assigned to them", id="its assignment failed"),
        pytest.param((USERS, LOG_IN, activities(), USERS, DONE), 2, "is assigned to them", id="a proxy took it"),
    ],
)
def test_incident_is_assigned_again_only_if_its_assignment_failed(
    steps: tuple[Step, ...], times: int, says: str
) -> None:
    relay = acted(*steps, assign=True)
    relay.drain()
    assert asked(relay).count("PUT assignment") == times
    assert says in comments(relay)[-1]


def test_incident_is_not_assigned_to_the_acknowledger_of_a_page_from_before_its_end() -> None:
    relay = xmatters_tenant.new_relay(
        Tenant(),
        policy={"confirm_resolve": False},
        xmatters=samples.CALLBACK,
        access={"api_key": "BPU-canary", "environment_id": "e1", "assign": True},
        bigpanda=FakeSession(USERS, DONE),
    )
    relay.play("critical 60 ok 60 critical 60 response:Acknowledge@page-1 60")
    assert "(Not assigned: it ended since that page.)" in comments(relay)[-1]


@pytest.mark.parametrize(("is_quiet", "rung"), [(True, "jdoe"), (False, "Ops")])
def test_end_of_an_acknowledged_incident_goes_to_its_owner_alone_if_the_policy_is_quiet(
    is_quiet: bool, rung: str
) -> None:
    relay = plain_relay(
        Tenant().accept,
        policy={"quiet_after_acknowledge": is_quiet},
        xmatters=samples.CALLBACK | {"recipients": ["Ops"]},
    )
    relay.play("critical 5 response:Acknowledge 0 ok")
    assert relay.statuses() == "critical ok"
    assert relay.session.calls[-1].url.endswith(rung)


def test_answer_outlives_an_outage_of_bigpanda_that_is_longer_than_a_signal_may_live() -> None:
    relay = new_relay(lambda _: samples.refused(503) if relay.clock.now < ends else DONE)
    relay.change_policy(max_age_seconds=1800)
    ends = relay.clock.now + 2400
    put(relay, job())
    relay.wake(3600)
    assert (relay.dead_letters.messages, relay.chores.messages, comments(relay)[-1][:4]) == ([], [], "jdoe")
