"""Questions about ends: BigPanda is asked before a resolve is believed, so a forged one silences no critical."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import requests

from relay.http.session import HttpAnswer
from tests import samples
from tests.fakes import Call, FakeSession, Relay
from tests.unit.xmatters_tenant import Tenant, new_relay

OPENED = 1_800_000_000
ACCESS: dict[str, Any] = {"api_key": "BPU-1", "environment_id": "e1"}
# Ten minutes without an answer, the resolve is believed.
BELIEVED = 600
RESOLVED = "critical 120 ok"


def incident(status: str) -> HttpAnswer:
    """Return BigPanda's answer; its timestamps say that the incident did not change since its opening."""
    said = {"id": "i1", "status": status, "active": status != "ok", "changed_at": OPENED, "updated_at": OPENED}
    return HttpAnswer(200, {}, json.dumps(said).encode())


def asking(tenant: Tenant, **changes: Any) -> Relay:
    """Return a relay, and BigPanda, whose API shows the incident as open."""
    return new_relay(tenant, access=ACCESS, bigpanda=FakeSession(incident("critical")), **changes)


def forge(relay: Relay, seconds: int) -> None:
    """Forge a resolve each second, with timestamps 4 s ahead."""
    for second in range(seconds):
        stamp = int(relay.clock.now) + 4
        relay.share(status="ok", changedOn=stamp, updatedOn=stamp)
        relay.wake(1)
        if second % 60 == 59:
            relay.sweep(0)


def test_bigpanda_is_asked_after_3_15_and_60_seconds(tenant: Tenant) -> None:
    relay = asking(tenant)
    relay.play(RESOLVED)
    came, asked = relay.clock.now, []
    for _ in range(80):
        before = len(relay.bigpanda.calls)
        relay.wake(1)
        asked += [relay.clock.now - came] * (len(relay.bigpanda.calls) - before)
    assert [round(each) for each in asked] == pytest.approx([3, 15, 60], abs=1.1)
    assert relay.bigpanda.calls[0].url.endswith("/v2.0/environments/e1/incidents/i1?expand=alerts")


def test_resolve_that_comes_again_is_asked_about_soon_although_its_claim_began_long_before(tenant: Tenant) -> None:
    relay = asking(tenant)
    relay.play(RESOLVED)
    relay.bigpanda.steps = [samples.refused(503)]
    relay.play("110 ok 20")
    asked = len(relay.bigpanda.calls)
    relay.wake(60)
    assert len(relay.bigpanda.calls) > asked


def test_owed_critical_waits_for_the_answer_once_and_for_a_minute_at_most(tenant: Tenant) -> None:
    relay = asking(tenant)
    relay.session.steps = [samples.refused(503)]
    relay.play("critical ok 0")
    sent = [len(relay.session.calls)]
    relay.wake(54)
    sent.append(len(relay.session.calls))
    relay.bigpanda.steps = [samples.refused(503)]
    relay.wake(24)
    sent.append(len(relay.session.calls))
    forge(relay, 90)
    assert sent[0] == sent[1], "the critical waits"
    assert sent[1] < sent[2], "BigPanda has not answered, so the critical is sent"
    assert sent[2] < len(relay.session.calls), "further resolves do not make it wait again"


@pytest.mark.parametrize(
    "says",
    [
        requests.ConnectTimeout(),
        *map(samples.refused, (401, 404, 503)),
        HttpAnswer(200, {}, b"[]"),
        HttpAnswer(200, {}, b'{"id": "i2", "status": "critical", "active": true}'),
    ],
    ids=["silent", "401", "404", "503", "odd", "about another incident"],
)
def test_resolve_is_believed_and_counted_if_bigpanda_does_not_answer_for_ten_minutes(
    says: HttpAnswer | Exception, tenant: Tenant
) -> None:
    relay = asking(tenant)
    relay.play(RESOLVED)
    relay.bigpanda.steps = [says]
    relay.wake(BELIEVED - 12)
    assert (relay.statuses(), tenant.ended) == ("critical", [])
    relay.wake(240)
    assert (relay.statuses(), tenant.ended) == ("critical ok", ["page-1"])
    assert relay.recorder.metrics()["doubtful_resolve"] == 1


@pytest.mark.parametrize("is_open_again", [True, False])
def test_resolve_is_called_forged_only_if_no_later_share_says_that_the_incident_is_open(
    tenant: Tenant, is_open_again: bool
) -> None:
    relay = asking(tenant)
    relay.play(f"{RESOLVED} critical" if is_open_again else RESOLVED)
    relay.wake(150)
    assert relay.recorder.metrics().get("doubtful_resolve", 0) == (0 if is_open_again else 1)


def test_critical_after_a_resolve_does_not_wait_because_an_owed_state_before_it_waited(tenant: Tenant) -> None:
    relay = asking(tenant)
    relay.session.steps = [*[samples.refused(503)] * 3, samples.accepted()]
    relay.play("warning ok 0")
    assert relay.play("critical") == ["delivered opened"]


def test_copy_of_a_resolve_that_bigpanda_refuted_is_not_asked_about_again(tenant: Tenant) -> None:
    relay = asking(tenant)
    relay.play("critical ok")
    body = samples.body(status="ok", changedOn=int(relay.clock.now))
    relay.wake(180)
    assert not relay.entry().end.is_claimed
    asked = len(relay.bigpanda.calls)
    result = relay.share(body)
    assert (result.outcome, len(relay.bigpanda.calls)) == ("superseded", asked)


def test_resolve_without_timestamps_is_asked_about_although_bigpanda_refuted_an_earlier_one(tenant: Tenant) -> None:
    relay = asking(tenant)
    relay.play("critical")
    assert relay.share(status="ok", changedOn=None).reason == "claimed"
    relay.wake(180)
    assert not relay.entry().end.is_claimed
    assert relay.share(status="ok", changedOn=None).reason == "claimed"


def test_question_that_bigpandas_rate_limit_delays_is_no_silence(tenant: Tenant) -> None:
    relay = asking(tenant)
    relay.play(RESOLVED)
    relay.bigpanda.steps = [samples.refused(503)]
    relay.wake(BELIEVED - 60)
    relay.bigpanda.steps = [samples.refused(429)]
    relay.wake(600)
    # What BigPanda left unanswered before counts no more.
    relay.bigpanda.steps = [samples.refused(503)]
    relay.wake(BELIEVED - 330)
    assert (relay.statuses(), tenant.ended) == ("critical", [])


@pytest.mark.parametrize(
    ("changed_at", "is_believed"), [(None, True), (OPENED + 9, True), (OPENED + 1, True), (OPENED - 9, False)]
)
def test_end_from_before_the_newest_share_is_not_believed_in_the_first_minute(
    changed_at: int | None, is_believed: bool, tenant: Tenant
) -> None:
    relay = asking(tenant)
    relay.play("critical 6 ok")
    said = {"id": "i1", "status": "ok", "active": False, "changed_at": changed_at}
    relay.bigpanda.steps = [HttpAnswer(200, {}, json.dumps(said).encode())]
    relay.wake(12)
    assert tenant.ended == (["page-1"] if is_believed else [])


def test_end_with_an_impossible_time_is_not_believed_if_an_open_state_came_after_the_resolve(tenant: Tenant) -> None:
    relay = asking(tenant)
    relay.play("critical 6 ok 1 warning")
    said = {"id": "i1", "status": "ok", "active": False, "changed_at": OPENED + 7200}
    relay.bigpanda.steps = [HttpAnswer(200, {}, json.dumps(said).encode())]
    relay.wake(12)
    assert (len(relay.bigpanda.calls), tenant.ended) == (1, [])


def test_nothing_that_a_claimed_resolve_says_of_the_incident_is_kept(tenant: Tenant) -> None:
    relay = asking(tenant)
    relay.play("critical 120")
    before = relay.entry().about
    assert relay.play("ok", description="forged", environments=["elsewhere"]) == ["queued claimed"]
    assert relay.entry().about == before


def test_end_that_bigpanda_confirms_meets_a_pause_that_began_after_the_last_share_by_its_own_tags(
    tenant: Tenant,
) -> None:
    relay = asking(tenant)
    tags = [{"id": "a1", "status": "critical", "tags": [{"name": "team", "value": "web"}]}]
    relay.share(status="critical", alerts=tags)
    relay.wake(60)
    until = relay.clock.now + 7200
    pause = {"since": samples.moment(relay.clock.now), "until": samples.moment(until), "then": "keep"}
    relay.change_policy(pauses=[pause | {"when": {"tag.team": "web"}}])
    relay.clock.now += 60
    relay.bigpanda.steps = [incident("ok")]
    relay.share(status="ok", active=False, alerts=tags)
    relay.wake(120)
    assert (relay.statuses(), relay.entry().debt.reason) == ("critical", "paused")


@pytest.mark.parametrize(("begins", "statuses"), [(5, "critical ok"), (-5, "critical")])
def test_pause_leaves_out_an_end_that_is_confirmed_in_it_only_if_the_resolve_came_in_it(
    begins: int, statuses: str, tenant: Tenant
) -> None:
    relay = asking(tenant, policy={"pauses": [samples.pause("drop", since=122 + begins, until=300)]})
    relay.play("critical 120")
    relay.bigpanda.steps = [incident("critical"), incident("ok")]
    relay.play("ok")
    relay.play("5m")
    assert (relay.statuses(), relay.entry().is_over) == (statuses, True)


def remove_key(document: dict[str, Any]) -> None:
    document["policy"]["confirm_resolve"] = False
    del document["bigpanda"]


# A change of the channel's secret after the resolve, and the statuses of the signals.
SWITCHED: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "no question": (lambda document: document["policy"].update(confirm_resolve=False), "critical ok"),
    "no key": (remove_key, "critical ok"),
    "shadow mode": (lambda document: document["policy"].update(mode="shadow"), "critical"),
}


@pytest.mark.parametrize("name", SWITCHED)
def test_claimed_resolve_ends_if_the_channel_no_longer_asks(name: str, tenant: Tenant) -> None:
    change, statuses = SWITCHED[name]
    relay = asking(tenant)
    relay.play(RESOLVED)
    relay.edit_secret(change)
    relay.clock.now += 301
    relay.wake(120)
    assert (relay.statuses(), relay.entry().is_over) == (statuses, True)
    assert relay.dead_letters.messages == []
    assert tenant.ended == ["page-1"] * (statuses == "critical ok")


def test_questions_keep_the_bigpanda_key_out_of_jobs_and_logs(tenant: Tenant) -> None:
    relay = asking(tenant)
    relay.play(RESOLVED)
    relay.bigpanda.steps = [samples.refused(403, b"key BPU-1 is odd")]
    relay.wake(700)
    kept = [each["MessageBody"] for each in (*relay.chores.messages, *relay.dead_letters.messages)]
    assert "BPU-1" not in "".join(kept) + relay.recorder.written()


def test_later_questions_about_invented_incidents_take_no_room_of_one_about_a_true_end(tenant: Tenant) -> None:
    relay = asking(tenant)
    relay.play("critical 47")
    for number in range(20):
        relay.share(id=f"invented-{number}", status="ok", changedOn=int(relay.clock.now))
    # BigPanda's API lags behind its webhook at the first question.
    relay.share(status="ok", changedOn=int(relay.clock.now))
    relay.wake(6)
    relay.bigpanda.steps = [incident("ok")]
    relay.wake(12)
    assert tenant.ended == ["page-1"]


def test_end_is_asked_about_again_if_an_open_state_came_later_by_the_clock_of_another_function(tenant: Tenant) -> None:
    relay = asking(tenant)
    began = relay.clock.now
    for status, at in (("warning", 0.0), ("ok", 60.0), ("critical", 66.0), ("ok", 66.1)):
        relay.clock.now = began + at
        relay.share(status=status, changedOn=None, updatedOn=None)
    relay.clock.now = began + 61
    relay.bigpanda.steps = [HttpAnswer(200, {}, b'{"id": "i1", "status": "ok", "active": false}')]
    relay.wake(27)
    assert relay.entry().is_over


def test_incident_is_not_over_if_it_got_worse_while_bigpanda_was_asked_by_a_function_with_a_clock_behind(
    tenant: Tenant,
) -> None:
    relay = asking(tenant)
    relay.play("warning 120 ok")

    def worsens(_: Call) -> HttpAnswer:
        relay.bigpanda.steps = [incident("critical")]
        relay.clock.now -= 2
        relay.play("critical")
        relay.clock.now += 1
        return incident("ok")

    relay.bigpanda.steps = [worsens]
    relay.wake(30)
    assert (relay.statuses(), relay.entry().is_over) == ("warning critical", False)
