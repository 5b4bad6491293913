"""Actions (`bigpanda.actions`): a person's verified response to a page resolves or snoozes its incident once."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from relay.failures import InvalidChannel
from relay.http.session import HttpAnswer
from tests import samples
from tests.fakes import FakeSession, Relay, Step
from tests.unit.xmatters_tenant import Tenant
from tests.unit.xmatters_tenant import new_relay as tenant_relay

ACTIONS = {
    "Resolve": {"do": "resolve"},
    "Snooze 1 h": {"do": "snooze", "minutes": 60},
    "Escalate": {"do": "comment"},
}
ACCEPTED, DONE = HttpAnswer(202, {}, b'{"status": 202, "data": {}}'), HttpAnswer(204, {}, b"")
LATER = 1_800_000_001


def secret(actions: Any = ACTIONS, **xmatters: Any) -> dict[str, Any]:
    document = samples.secret(bigpanda={"api_key": "BPU-canary", "environment_id": "e1", "actions": actions})
    document["xmatters"] |= xmatters
    return document


def new_relay(*steps: Step, opened_as: str = "critical") -> Relay:
    relay = tenant_relay(
        Tenant(),
        policy={"confirm_resolve": False},
        xmatters={"callback": {"token": samples.CALLBACK_TOKEN}, "recipients": ["Ops"]},
        access=secret()["bigpanda"] | {"reconcile": False},
        bigpanda=FakeSession(*steps or (DONE,)),
    )
    relay.share(status=opened_as)
    relay.clock.now += 5
    relay.chores.messages.clear()
    return relay


def answer(relay: Relay, response: str, person: str = "jdoe", **members: Any) -> None:
    named = {"target": person, "firstName": "Jane", "lastName": "Doe"} if person else {}
    relay.call_back("response", response, person=named, **members)


def writes(relay: Relay) -> list[tuple[str, dict[str, Any]]]:
    found = [call for call in relay.bigpanda.calls if call.method != "GET"]
    return [(f"{call.method} {call.url.partition('/resources/v2.0')[2]}", json.loads(call.body)) for call in found]


def paths(relay: Relay) -> list[str]:
    return [name.rpartition("/")[2] for name, _ in writes(relay)]


class TestActs:
    def test_resolve_ends_the_incident_in_bigpanda_in_the_persons_name(self) -> None:
        relay = new_relay(ACCEPTED)
        answer(relay, " resolve ", note="disk is full")
        relay.wake(0)
        [(path, body)] = writes(relay)
        assert path == "POST /environments/e1/incidents/i1/resolve"
        assert body["comments"].startswith('"Jane Doe" (jdoe) answered "resolve" to xMatters page ')
        assert 'Note: "disk is full" [relay ' in body["comments"]
        assert relay.chores.messages == relay.dead_letters.messages == []

    def test_snooze_counts_from_the_answer_and_ends_with_a_change(self) -> None:
        relay = new_relay()
        answer(relay, "Snooze 1 h")
        came = relay.clock.now
        relay.wake(120)
        [(path, body)] = writes(relay)
        assert path == "PUT /environments/e1/incidents/i1/snooze"
        assert (body["end_time"], body["cancel_on_incident_updates"]) == (int(came + 3600), True)
        assert "(jdoe) answered" in body["comment"]


class TestOnce:
    def test_incident_that_is_over_already_gets_a_comment_that_says_so(self) -> None:
        relay = new_relay(samples.refused(409), DONE)
        answer(relay, "Resolve")
        relay.wake(0)
        assert paths(relay) == ["resolve", "comments"]
        assert "(Not resolved: BigPanda answered 409, it is over.)" in writes(relay)[1][1]["comment"]
        assert relay.chores.messages == relay.dead_letters.messages == []

    def test_refusal_is_dead_lettered_with_its_reason(self) -> None:
        relay = new_relay(samples.refused(400, b"no"))
        answer(relay, "Snooze 1 h")
        relay.wake(0)
        [job] = relay.dead_letters.jobs()
        assert (job.stamps.reason, job.stamps.http_status, job.stamps.response_excerpt) == ("refused", 400, "no")
        [line] = [line for line in relay.recorder.lines() if line.get("kind") == "writeback"]
        assert line["detail"] == "BigPanda did not snooze the incident: HTTP 400"

    @pytest.mark.parametrize("statuses", [("ok", "critical"), ("ok",), ("warning", "critical")])
    def test_answer_to_an_earlier_signal_does_not_end_what_came_later(self, statuses: tuple[str, ...]) -> None:
        relay = new_relay(samples.refused(503), DONE)
        answer(relay, "Resolve")
        relay.wake(0)
        for second, status in enumerate(statuses):
            relay.clock.now += 1
            relay.share(status=status, changedOn=LATER + second)
        relay.wake(60)
        assert paths(relay) == ["resolve", "comments"]
        assert "(Not resolved: it changed since that page.)" in writes(relay)[1][1]["comment"]

    @pytest.mark.parametrize("is_dead_lettered", [True, False])
    @pytest.mark.parametrize("response", ["Resolve", "Snooze 1 h"])
    def test_answer_to_a_page_does_not_act_while_a_worse_state_is_owed(
        self, response: str, is_dead_lettered: bool
    ) -> None:
        relay = new_relay(DONE, opened_as="warning")
        relay.session.steps = [samples.refused(400 if is_dead_lettered else 503)]
        relay.share(changedOn=LATER)
        assert len(relay.dead_letters.messages) == is_dead_lettered
        relay.clock.now += 5
        answer(relay, response)
        relay.retries.messages.clear()
        relay.wake(0)
        assert paths(relay) == ["comments"]
        assert (
            "it got worse or opened again since that page, and nobody was told of that yet.)"
            in (writes(relay)[0][1]["comment"])
        )


@pytest.mark.parametrize(
    "forge",
    [
        lambda relay: answer(relay, "Resolve", "mallory"),
        lambda relay: answer(relay, "Resolve", event={"id": "another"}),
        lambda relay: answer(relay, "Snooze 1 h", ""),
    ],
    ids=["nobody", "no page", "no name"],
)
def test_answer_that_xmatters_does_not_confirm_is_a_comment_alone(forge: Callable[[Relay], None]) -> None:
    relay = new_relay()
    forge(relay)
    for _ in range(12):
        relay.wake(30)
    assert paths(relay) == ["comments"]
    assert writes(relay)[0][1]["comment"].startswith("Unverified")
    assert "crash" not in relay.recorder.metrics(), "it waits for xMatters to know the page"


def test_resolve_and_snooze_need_a_way_to_verify_who_answers() -> None:
    callback = {"callback": {"token": "t"}}
    with pytest.raises(InvalidChannel, match=r"bigpanda\.actions: resolve and snooze need xmatters\.rest"):
        samples.parsed(secret(**callback))
    assert samples.parsed(secret(actions={"Escalate": {"do": "comment"}}, **callback)).bigpanda
