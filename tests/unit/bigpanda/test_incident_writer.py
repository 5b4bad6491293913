"""Actions (`bigpanda.actions`): a person's verified response to a page resolves or snoozes its incident once."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from relay.http.session import HttpAnswer
from relay.ledger.entry import entry_key
from tests import samples
from tests.fakes import Call, FakeSession, Relay, Step
from tests.unit.xmatters_tenant import Tenant
from tests.unit.xmatters_tenant import new_relay as tenant_relay

ACTIONS = {
    "Resolve": {"do": "resolve"},
    "Snooze": {"do": "snooze", "minutes": 60},
    "Escalate": {"do": "comment"},
}
ACCEPTED, DONE = HttpAnswer(202, {}, b'{"status": 202, "data": {}}'), HttpAnswer(204, {}, b"")


def new_relay(*steps: Step, triggers: Sequence[Step] = ()) -> Relay:
    return tenant_relay(
        Tenant(),
        *triggers,
        policy={"confirm_resolve": False},
        xmatters=samples.CALLBACK | {"recipients": ["Ops"]},
        access={"api_key": "BPU-canary", "environment_id": "e1", "actions": ACTIONS, "reconcile": False},
        bigpanda=FakeSession(*steps or (DONE,)),
    )


def writes(relay: Relay) -> list[tuple[str, dict[str, Any]]]:
    found = [call for call in relay.bigpanda.calls if call.method != "GET"]
    return [(f"{call.method} {call.url.partition('/resources/v2.0')[2]}", json.loads(call.body)) for call in found]


def paths(relay: Relay) -> list[str]:
    return [name.rpartition("/")[2] for name, _ in writes(relay)]


JANE = {"target": "jdoe", "firstName": "Jane", "lastName": "Doe"}


def test_resolve_ends_the_incident_in_bigpanda_in_the_persons_name() -> None:
    relay = new_relay(ACCEPTED)
    relay.play("critical 5")
    relay.call_back("response", " resolve ", person=JANE, note="disk is full")
    relay.wake(0)
    [(path, body)] = writes(relay)
    assert path == "POST /environments/e1/incidents/i1/resolve"
    assert body["comments"].startswith('"Jane Doe" (jdoe) answered "resolve" to xMatters page ')
    assert 'Note: "disk is full" [relay ' in body["comments"]
    assert relay.chores.messages == relay.dead_letters.messages == []


@pytest.mark.parametrize("comments", [["response"], ["status"]], ids=["commented", "no comments of answers"])
def test_snooze_counts_from_the_answer_and_ends_with_a_change(comments: list[str]) -> None:
    relay = new_relay()
    relay.edit_secret(lambda document: document["bigpanda"].update(comments=comments))
    relay.play("critical 5 response:Snooze")
    came = relay.clock.now
    relay.wake(120)
    [(path, body)] = writes(relay)
    assert path == "PUT /environments/e1/incidents/i1/snooze"
    assert (body["end_time"], body["cancel_on_incident_updates"]) == (int(came + 3600), True)
    assert "jdoe answered" in body["comment"]


def test_refusal_is_dead_lettered_with_its_reason() -> None:
    relay = new_relay(samples.refused(400, b"no"))
    relay.play("critical 5 response:Snooze 0")
    [job] = relay.dead_letters.jobs()
    assert (job.stamps.reason, job.stamps.http_status, job.stamps.response_excerpt) == ("refused", 400, "no")
    [line] = [line for line in relay.recorder.lines() if line.get("kind") == "writeback"]
    assert line["detail"] == "BigPanda did not snooze the incident: HTTP 400"


def test_answer_to_an_incident_that_is_over_and_that_bigpanda_forgot_is_not_dead_lettered() -> None:
    relay = new_relay(samples.refused(404))
    for status in ("critical", "ok"):
        relay.clock.now += 1
        relay.post(recipients=("dba",), status=status, changedOn=int(relay.clock.now))
        relay.wake(15)
    relay.play("response:Resolve 5m")
    assert (writes(relay) != [], relay.chores.messages, relay.dead_letters.messages) == (True, [], [])


ONE = samples.accepted("r1")
CHANGED = "(Not resolved: it changed since that page.)"
WORSE = "it got worse or opened again since that page, and nobody was told of that yet.)"
# Answers of triggers and of BigPanda, events (see `Relay.play`), requests to BigPanda, and words of the comment.
ONLY_COMMENTS: dict[str, tuple[list[Step], list[Step], str, list[str], str]] = {
    "over already": (
        [],
        [samples.refused(409), DONE],
        "critical 5 response:Resolve 0",
        ["resolve", "comments"],
        "(BigPanda answered 409: it is over.)",
    ),
    # An answer to an earlier signal does not end what came later.
    **{
        f"then {later}": (
            [],
            [samples.refused(503), DONE],
            f"critical 5 response:Resolve 0 {later} 60",
            ["resolve", "comments"],
            CHANGED,
        )
        for later in ("ok critical", "ok", "warning critical")
    },
    "ended, and BigPanda is down for longer": (
        [],
        [samples.refused(503), DONE, samples.refused(503), DONE],
        "critical 5 response:Resolve 0 ok 60 6m",
        ["resolve", "comments", "comments"],
        CHANGED,
    ),
    # A worse state is owed, or was given up.
    **{
        f"{response}, worse state, answered {status}": (
            [ONE, *[samples.refused(status)] * 9],
            [DONE],
            f"warning critical 5 response:{response} 0",
            ["comments"],
            WORSE,
        )
        for response in ("Resolve", "Snooze")
        for status in (400, 503)
    },
    # Open again before its end was announced.
    "ended and open again": (
        [ONE, *[samples.refused(503)] * 20],
        [DONE],
        "critical 36 ok 36 36 critical response:Resolve 0",
        ["comments"],
        WORSE,
    ),
    "xMatters knows no such person": ([], [DONE], "critical 5 response:Resolve=mallory 6m", ["comments"], "Unverified"),
    "xMatters knows no such page": ([], [DONE], "critical 5 response:Resolve@another 6m", ["comments"], "Unverified"),
}


@pytest.mark.parametrize("name", ONLY_COMMENTS)
def test_answer_that_cannot_act_is_a_comment_alone(name: str) -> None:
    triggers, steps, events, asked, said = ONLY_COMMENTS[name]
    relay = new_relay(*steps, triggers=triggers)
    relay.play(events)
    assert paths(relay) == asked
    assert said in writes(relay)[-1][1]["comment"]
    assert [job for job in relay.chores.jobs() if job.kind == "writeback"] == []


@pytest.mark.parametrize(("wanted", "written"), [("response", ["comments"]), ("status", [])])
def test_answer_that_xmatters_does_not_confirm_is_a_comment_alone(wanted: str, written: list[str]) -> None:
    relay = new_relay()
    relay.edit_secret(lambda document: document["bigpanda"].update(comments=[wanted]))
    relay.play("critical 5")
    relay.call_back("response", "Snooze", person={})
    relay.play("6m")
    assert paths(relay) == written
    assert all(body["comment"].startswith("Unverified") for _, body in writes(relay))
    assert "crash" not in relay.recorder.metrics(), "it waits for xMatters to know the page"


def test_xmatters_is_asked_ever_more_rarely_about_an_answer_that_it_confirmed_until_a_replay() -> None:
    relay = new_relay(samples.refused(503))
    relay.play("critical 40 response:Resolve 0")
    relay.rest.steps, waits = [samples.refused(503)], []
    for _ in range(7):
        relay.wake(min(relay.delays()))
        waits += relay.delays()
    assert waits == [30, 60, 120, 240, 480, 900, 900]
    [job] = relay.chores.jobs()
    relay.chores.messages.clear()
    relay.chores.queue().send(job.revived(relay.clock.now))
    relay.wake(0)
    assert relay.delays() == [15]


# ---- Several people answer -------------------------------------------------------------------------------------------


def assigning(tenant: Tenant | None = None, *, down_for: float = 0.0) -> Relay:
    """Return a relay that assigns incidents to `jane` and `ed`, and whose BigPanda is down at first."""

    def answer(call: Call) -> HttpAnswer:
        if relay.clock.now < began + down_for:
            return samples.refused(503)
        if "/scim/" not in call.url:
            return HttpAnswer(200, {}, b"[]")
        name = "jane" if "jane" in call.url else "ed"
        return HttpAnswer(200, {}, json.dumps({"Resources": [{"id": f"U-{name}", "userName": name}]}).encode())

    tenant = tenant or Tenant()
    tenant.status |= {"jane": "ACTIVE", "ed": "ACTIVE"}
    relay = tenant_relay(
        tenant,
        policy={"confirm_resolve": False},
        xmatters=samples.CALLBACK | {"recipients": ["Ops"]},
        access={"api_key": "BPU-canary", "environment_id": "e1", "assign": True, "reconcile": False},
        bigpanda=FakeSession(answer),
    )
    began = relay.clock.now
    return relay


def assigned(relay: Relay) -> list[str]:
    return [body["assignee"] for path, body in writes(relay) if path.endswith("/assignment")]


def test_acknowledgement_that_is_retried_does_not_replace_a_later_one() -> None:
    relay = assigning(down_for=34)
    relay.play("critical 15 15 response:Acknowledge@page-1=jane 0 5 response:Acknowledge@page-1=ed 0 6m")
    assert (relay.entry().acknowledged_by, assigned(relay)) == ("ed", ["U-ed"])
    last = writes(relay)[-1][1]["comment"]
    assert last.startswith("jane acknowledged xMatters page page-1. (Not assigned: somebody acknowledged it later.)")


def test_acknowledgement_of_an_earlier_page_does_not_take_the_reopened_incident_from_its_assignee() -> None:
    relay = assigning(down_for=760)
    relay.play("critical 40 response:Acknowledge@page-1=jane 0 10m ok 40 critical 40")
    relay.call_back("response", "Acknowledge", page=relay.entry().accepted_signals[-1].pages[0], person="ed")
    relay.play("60m")
    assert (relay.entry().acknowledged_by, assigned(relay)) == ("ed", ["U-ed"])


def test_person_whom_a_page_still_rings_takes_over_although_a_signal_went_to_the_acknowledger_alone() -> None:
    relay = assigning()
    relay.play("critical 15 15 response:Acknowledge@page-1=jane 1 warning 15 15 response:Acknowledge@page-1=ed 1")
    assert (relay.entry().acknowledged_by, assigned(relay)) == ("ed", ["U-jane", "U-ed"])


def test_acknowledgement_counts_for_the_entry_whose_page_it_names() -> None:
    relay = assigning()
    for recipient, status in (("a", "critical"), ("b", "critical"), ("b", "ok")):
        relay.clock.now += 1
        relay.post(recipients=(recipient,), status=status, changedOn=int(relay.clock.now))
        relay.wake(15)
    relay.play("response:Acknowledge@page-2=ed 0 6m")
    assert [relay.ledger.read(entry_key("noc", (name,), "i1")).acknowledged_by for name in "ab"] == ["", ""]


def test_acknowledged_test_page_is_not_looked_for_in_bigpanda() -> None:
    relay = assigning()
    relay.share(samples.body(id="relayctl-test-1", status="critical"))
    relay.wake(15)
    relay.call_back("response", "Acknowledge", page="page-1", person="jane", incident_id="relayctl-test-1")
    relay.play("6m")
    assert (writes(relay), relay.dead_letters.messages) == ([], [])


def test_answer_to_a_page_that_the_workflow_made_later_is_verified(tenant: Tenant) -> None:
    relay = assigning(tenant)
    relay.play("critical 15 15")
    tenant.further_pages = [{"id": "page-1b", "eventId": "9", "status": "ACTIVE"}]
    relay.play("response:Acknowledge@page-1b=jane 0 30")
    assert assigned(relay) == ["U-jane"]
