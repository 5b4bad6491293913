"""Canary: an invented incident is shared by the stack's own URL, and followed until a device rang and its page ended.

The relay is the real one, over fakes of xMatters and AWS; the sweeper's share reaches the relay's own webhook.
"""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from relay.channels.authentication import Request
from relay.deadline import Deadline
from relay.http.session import HttpAnswer
from relay.ledger.credentials import change_mark
from relay.sweeper.canary import MAX_CANARIES, Canary
from relay.sweeper.run import SweeperRun
from tests import samples
from tests.fakes import Call, FakeSession
from tests.unit.xmatters_tenant import Tenant, new_relay

NOTICE = "arn:aws:sns:eu-central-1:000000000000:notices"
HOUR = 3600.0


class World:
    """A relay with a canary, and the tenant of xMatters that it rings.

    Attributes:
        tenant: The tenant. Its pages notify a device, unless `is_deaf`.
        is_deaf: True if xMatters makes pages, and notifies nobody.
        refusal: The failure of the posts to the webhook; empty if they arrive.
        posts: The header and the incident of each post.
    """

    def __init__(self, policy: Mapping[str, Any] | None = None, *, topic: str = NOTICE) -> None:
        self.tenant, self.is_deaf, self.refusal = Tenant(), False, ""
        self.posts: list[tuple[str, dict[str, Any]]] = []
        self.relay = new_relay(
            self.tenant,
            policy={"canary": True, "notified_within_seconds": 300, **(policy or {})},
            xmatters={"recipients": ["jdoe"]},
            rest=FakeSession(self._rest),
            numbers=("+14255550100",),
            notice_topic_arn=topic,
            own_webhook=self._post,
        )

    def _rest(self, call: Call) -> HttpAnswer:
        if not self.is_deaf:
            self.tenant.audits = {f"page-{number}": ["DELIVERED"] for number in range(1, 1000)}
        return self.tenant.rest(call)

    def _post(self, channel: str, headers: Mapping[str, str], body: bytes, _: Deadline) -> str:
        self.posts.append((headers["Authorization"], json.loads(body)["incident"]))
        if self.refusal:
            return self.refusal
        lower = {name.lower(): value for name, value in headers.items()}
        reply = self.relay.webhook.serve(Request(channel, lower, (), body.decode(), is_base64=False, id="r1"))
        return "" if reply.status < 300 else f"HTTP {reply.status}"

    def goes_on(self, seconds: float) -> None:
        end = self.relay.clock.now + seconds
        while self.relay.clock.now < end:
            self.relay.sweep_for(min(900, end - self.relay.clock.now), step=30)
            self.relay.recorder.written()

    @property
    def shared(self) -> list[str]:
        return [incident["status"] for _, incident in self.posts]


@pytest.fixture
def world() -> World:
    return World()


def test_canary_is_shared_notified_resolved_and_its_page_ends(world: World) -> None:
    world.goes_on(900)
    assert world.shared == ["critical", "ok"]
    assert world.posts[0][0] == f"Bearer {samples.TOKEN}"
    ids = {incident["id"] for _, incident in world.posts}
    assert len(ids) == 1
    assert ids.pop().startswith("relay-canary-")
    assert world.tenant.ended == ["page-1"]
    first, second = world.relay.recorder.lines("canary")
    # xMatters is asked 45 s before the limit, and the sweeper looks at each half minute.
    assert (first["accepted_seconds"], first["notified_seconds"], second["ended_seconds"]) == (0, 255, 30)
    assert (world.relay.sns.told(), world.relay.messaging.sent) == ([], [])
    assert world.relay.recorder.metrics()["canary_notified_seconds"] == first["notified_seconds"]


def test_outage_in_which_xmatters_notifies_nobody_is_told_within_the_hour_once_and_its_end_once(world: World) -> None:
    world.goes_on(HOUR)
    world.is_deaf, world.tenant.audits = True, {}
    world.goes_on(HOUR)
    assert world.relay.sns.told() == [("notices", "Channel noc is sick: 0 critical, 0 other incidents wait")]
    assert "its canary failed: nobody notified" in world.relay.sns.published[0]["Message"]
    assert world.relay.recorder.metrics()["critical_waits"] == 1
    world.goes_on(3 * HOUR)
    assert len(world.relay.sns.told()) == 1
    assert world.relay.recorder.metrics()["critical_waits"] == 1
    assert len(world.relay.recorder.lines("canary failed")) >= 3
    world.is_deaf = False
    world.goes_on(3 * HOUR)
    assert world.relay.sns.told()[1:] == [("notices", "Channel noc is well again")]


@pytest.mark.parametrize(
    ("is_down", "detail"), [(False, "page missing"), (True, "xMatters accepted no signal (")], ids=["no page", "down"]
)
def test_failed_canary_is_resolved_and_leaves_nothing_owed_and_rings_no_phone_and_no_fallback_topic(
    is_down: bool, detail: str
) -> None:
    world = World(policy={"fallback_after_seconds": 60, "page_within_seconds": 60})
    world.tenant.makes_pages = False
    if is_down:
        world.relay.session.steps = [samples.refused(503)]
    world.goes_on(1800)
    assert world.shared == ["critical", "ok"]
    [failed] = world.relay.recorder.lines("canary failed")
    assert failed["detail"].startswith(detail)
    assert {topic for topic, _ in world.relay.sns.told()} == {"notices"}
    assert world.relay.messaging.sent == []
    assert [name for name in world.relay.dynamodb.items if "due" in world.relay.dynamodb.items[name]] == []


def test_post_that_the_webhook_refuses_for_minutes_is_a_failure(world: World) -> None:
    world.refusal = "HTTP 403"
    world.goes_on(240)
    assert world.relay.recorder.lines("canary failed") == []
    world.goes_on(240)
    [failed] = world.relay.recorder.lines("canary failed")
    assert failed["detail"] == "the webhook did not take its share: HTTP 403"
    assert {incident["id"] for _, incident in world.posts} == {world.posts[0][1]["id"]}
    world.goes_on(2700)
    assert len({incident["id"] for _, incident in world.posts}) == 2, "the next one begins in time all the same"


@pytest.mark.parametrize(("seconds", "gap", "failures"), [(600, 0, 1), (60, HOUR, 0)])
def test_resolve_is_sent_until_the_webhook_takes_it(world: World, seconds: float, gap: float, failures: int) -> None:
    """In the `gap` the sweeper does not run."""
    world.goes_on(270)
    world.refusal = "HTTP 503"
    world.goes_on(seconds)
    world.relay.clock.now += gap
    world.refusal = ""
    world.goes_on(120)
    assert (world.tenant.ended, len(world.relay.recorder.lines("canary failed"))) == (["page-1"], failures)


def test_incident_that_nobody_followed_for_an_hour_is_resolved_before_the_next_one_begins(world: World) -> None:
    world.goes_on(30)
    world.relay.clock.now += HOUR
    world.goes_on(300)
    (_, first), (_, end), (_, following), *_ = world.posts
    assert world.shared[:3] == ["critical", "ok", "critical"]
    assert first["id"] == end["id"] != following["id"]


def test_page_that_does_not_end_within_five_minutes_is_a_failure(world: World) -> None:
    [read] = world.relay.rest.steps
    assert callable(read)
    world.relay.rest.steps = [lambda call: samples.refused(503) if call.method == "POST" else read(call)]
    world.goes_on(540)
    assert world.relay.recorder.lines("canary failed") == []
    world.goes_on(120)
    [failed] = world.relay.recorder.lines("canary failed")
    assert failed["detail"] == "its page did not end"


def test_forged_resolve_does_not_hide_that_nobody_is_notified(world: World) -> None:
    world.is_deaf = True
    world.goes_on(60)
    world.relay.post(id=world.posts[0][1]["id"], status="ok", changedOn=int(world.relay.clock.now))
    world.goes_on(1800)
    [failed] = world.relay.recorder.lines("canary failed")
    assert failed["detail"] == "no device got its notification"


@pytest.mark.parametrize(
    ("change", "posted"),
    [
        ({"policy": {"canary": True, "pauses": [samples.pause("drop", until=9000)]}}, []),
        ({"policy": {"canary": True, "mode": "shadow"}}, []),
        ({"inbound": {"token": "another-token-1f0a"}}, ["Bearer another-token-1f0a"]),
    ],
    ids=["paused", "shadow", "revoked token"],
)
def test_canary_heeds_a_change_of_its_channel_although_the_sweeper_has_cached_it(
    world: World, change: dict[str, Any], posted: list[str]
) -> None:
    relay = world.relay
    world.goes_on(2970)
    relay.channels.for_work("noc")
    world.posts.clear()
    relay.edit_secret(lambda document: document.update(change))
    change_mark(relay.credentials.table(relay.clock), "noc", "m1", relay.clock.now, revokes=False)
    relay.sweep(60)
    assert [header for header, _ in world.posts] == posted


def test_pause_during_a_canary_ends_it_without_a_failure() -> None:
    world = World(policy={"pauses": [samples.pause("keep", since=90, until=2 * HOUR)]})
    world.is_deaf = True
    world.goes_on(HOUR)
    assert world.shared == ["critical", "ok"]
    assert (world.relay.recorder.lines("canary failed"), world.relay.sns.told()) == ([], [])


@pytest.mark.parametrize("is_removed", [True, False])
def test_channel_that_is_removed_or_marked_no_more_runs_no_further_canary_and_is_well(is_removed: bool) -> None:
    world = World()
    world.is_deaf = True
    world.goes_on(900)
    assert len(world.relay.sns.told()) == 1
    count = len(world.posts)
    if is_removed:
        world.relay.secrets.texts.clear()
    else:
        world.relay.change_policy()
    world.goes_on(3 * HOUR)
    assert len(world.posts) == count
    assert world.relay.sns.told()[1:] == [("notices", "Channel noc is well again")]


def test_shares_of_a_canary_are_not_counted_as_shares(world: World) -> None:
    world.goes_on(900)
    assert "share" not in world.relay.recorder.metrics()
    world.relay.webhook.serve(samples.request())
    assert world.relay.recorder.metrics()["share"] == 1


@pytest.mark.parametrize(("is_marked", "topic"), [(False, NOTICE), (True, "")])
def test_no_canary_runs_without_a_mark_or_a_topic(is_marked: bool, topic: str) -> None:
    world = World(policy={"canary": is_marked}, topic=topic)
    world.goes_on(2 * HOUR)
    assert world.posts == []


def test_five_canaries_run_at_most(world: World) -> None:
    for number in range(9):
        world.relay.secrets.texts[f"other{number}"] = world.relay.secrets.texts["noc"]
    world.goes_on(900)
    assert len({incident["id"] for _, incident in world.posts}) == 1, "all begin in the same second"
    assert world.shared == ["critical"] * MAX_CANARIES + ["ok"] * MAX_CANARIES


def test_last_resort_hears_of_a_critical_of_people_in_the_channel_of_a_canary(world: World) -> None:
    world.relay.session.steps = [samples.refused(503)]
    world.relay.webhook.serve(samples.request())
    world.goes_on(900)
    assert [subject for topic, subject in world.relay.sns.told() if topic == "fallback"] == [
        "CRITICAL, xMatters did not notify: incident i1 of channel noc"
    ]


def test_run_that_lost_its_lease_shares_nothing(world: World) -> None:
    run = SweeperRun.begin(world.relay.table, world.relay.clock.now)
    assert run
    run.canaries["noc"] = Canary()
    other = SweeperRun.begin(world.relay.table, world.relay.clock.now + 60)
    assert other
    health = world.relay.sweeper.health
    assert health
    assert health.canaries
    health.canaries.run(run, world.relay.deadline(9))
    assert world.posts == []
