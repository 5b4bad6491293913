"""Reconcile runs as a whole: time, the lease, the order of signals and of listings, and groups of channels."""

import json
import math
from collections import Counter
from collections.abc import Sequence
from itertools import cycle
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from relay.failures import ChannelUnreadable, SendError
from relay.http.session import HttpAnswer
from relay.reconcile.findings import LEASE_KEY, LeaseLost, RunLease
from relay.reconcile.history import ChannelHistory, Difference, History
from tests.fakes import Call, dies, once, slow
from tests.unit.reconcile_scene import (
    Scene,
    access_of,
    answer,
    history_of,
    incident,
    listings,
    make_scene,
    with_channels,
)

FUNCTION_SECONDS = 900


def pages(scene: Scene, number: int, *, seconds: float = 2.0, statuses: Sequence[str] = ("Critical",)) -> None:
    """Let BigPanda list `10 * number` incidents, ten in each answer, with these statuses in turn.

    Each answer takes `seconds`.
    """
    names = [f"i{each:03}" for each in range(10 * number)]
    turns = zip(names, cycle(statuses), strict=False)
    scene.has(*(incident(scene.relay.clock, name, status=status) for name, status in turns))
    scene.tenant.page_size = 10
    scene.delay(seconds)


def settled(scene: Scene) -> None:
    """Make a first reconcile run, which notes the differences, and wait until the next run may queue signals."""
    scene.run()
    scene.relay.clock.now += 90


def queued(scene: Scene) -> list[str]:
    return [job.incident_id for job in scene.relay.retries.jobs()]


def queries(scene: Scene) -> list[str]:
    """Return the queries of the listings that BigPanda was asked for, in order, each once in a row."""
    asked = [parse_qs(urlsplit(call.url).query) for call in scene.relay.bigpanda.calls if "folder=" in call.url]
    found = [query.get("query", [""])[0] for query in asked]
    return [each for number, each in enumerate(found) if number == 0 or found[number - 1] != each]


def with_queries(scene: Scene, number: int) -> None:
    """Add channels that each have a listing of their own."""
    with_channels(scene, **{f"c{each}": {"reconcile_query": f"q = {each}"} for each in range(number)})


def changed(scene: Scene, channel: str, **access: Any) -> None:
    scene.relay.edit_secret(lambda document: document["bigpanda"].update(access), channel)
    scene.relay.clock.now += 301


class TestOrder:
    def test_criticals_of_all_listings_are_queued_before_anything_else(self, scene: Scene) -> None:
        with_queries(scene, 4)
        scene.has(incident(scene.relay.clock, "w", status="Warning"), incident(scene.relay.clock, "c"))
        # The first run of a new listing leaves alone what changed before.
        scene.run()
        scene.shared(id="w", status="unknown")
        scene.relay.retries.messages.clear()
        scene.has(incident(scene.relay.clock, "w", status="Warning", ago=0), incident(scene.relay.clock, "c", ago=0))
        scene.run_twice()
        assert queued(scene) == ["c"] * 5 + ["w"] * 5

    def test_details_are_asked_for_a_few_incidents_criticals_first(self, scene: Scene) -> None:
        clock = scene.relay.clock
        warnings = [incident(clock, f"w{number}", status="Warning") for number in range(20)]
        scene.has(*warnings, *(incident(clock, f"c{number}") for number in range(20 - 5)))
        settled(scene)
        assert scene.run()["missed"] == 2 * 20 - 5
        asked = [call.url for call in scene.relay.bigpanda.calls if "/e1/incidents/" in call.url]
        assert len(asked) == 20
        assert sum("/incidents/c" in url for url in asked) == 20 - 5
        plain = [json.loads(job.body)["incident"] for job in scene.relay.retries.jobs()][20:]
        assert {tuple(each["alerts"][0]) for each in plain} == {("id", "alert_id")}


class TestTime:
    def test_run_out_of_time_ends_within_the_functions_time_and_the_next_run_takes_up_the_rest(self) -> None:
        scene = make_scene()
        pages(scene, 3, seconds=1.0, statuses=("Warning", "Critical"))
        settled(scene)
        send = scene.relay.retries.send_message

        def slowly(**message: object) -> dict[str, str]:
            scene.relay.clock.now += 40
            return send(**message)

        scene.relay.retries.send_message = slowly  # type: ignore[method-assign]
        began = scene.relay.clock.now
        found = scene.run()
        assert scene.relay.clock.now - began < FUNCTION_SECONDS
        assert (found["compared"], found["failure"]) == (30, "the run took too long")
        assert found["missed"] == len(queued(scene)) < 30
        first = [job.stamps.status for job in scene.relay.retries.jobs()]
        assert first[:15] == ["critical"] * 15
        scene.relay.retries.send_message = send  # type: ignore[method-assign]
        assert scene.run()["missed"] == 30 - len(first)
        assert len(queued(scene)) == len(set(queued(scene))) == 30

    def test_worse_state_of_a_known_incident_is_queued_although_there_is_no_time_for_the_next_page(self) -> None:
        scene = make_scene()
        scene.shared(id="i000", status="warning")
        scene.relay.retries.messages.clear()
        pages(scene, 3)
        settled(scene)
        scene.delay(300.0)
        assert scene.run()["failure"] == "the run took too long"
        assert queued(scene) == ["i000"]
        asked = [call.url for call in scene.relay.bigpanda.calls if "/incidents/i000" in call.url]
        assert asked == [], "with less than 300 s left, no details are asked for"

    def test_next_run_begins_after_the_listing_that_took_all_the_time(self, scene: Scene) -> None:
        with_queries(scene, 4)
        scene.run()
        order = queries(scene)
        assert len(order) == 5
        scene.relay.bigpanda.calls.clear()
        scene.delay(810 / 5)
        scene.run()
        began = queries(scene)
        assert began == order[:2]
        assert scene.relay.recorder.metrics()["reconcile_failed"] == 2, "a listing that is not whole, and three others"
        assert [line["detail"] for line in scene.relay.recorder.lines("reconcile_failed")] == [
            "there was no time for 3 of 5 listings"
        ]
        scene.relay.bigpanda.calls.clear()
        scene.delay(0.0)
        scene.run()
        assert queries(scene) == order[2:] + order[:2]


class TestFailures:
    def test_entries_that_dynamodb_leaves_unprocessed_do_not_count_as_missing(self, scene: Scene) -> None:
        scene.relay.share(status="critical", changedOn=int(scene.relay.clock.now - 600))
        scene.relay.retries.messages.clear()
        scene.has(incident(scene.relay.clock, ago=600))
        settled(scene)
        scene.relay.dynamodb.batch_size = 0
        scene.relay.reconcile()
        assert scene.relay.recorder.metrics()["reconcile_failed"] == 1
        assert queued(scene) == []

    def test_host_that_hangs_is_not_asked_again_for_a_while(self, scene: Scene) -> None:
        with_channels(scene, dba={"reconcile_query": "a = 1"})
        scene.delay(5)
        scene.tenant.faults["folder="] = lambda _: HttpAnswer(504, {}, b"")
        found = scene.relay.reconcile()
        assert sorted(each["reason"] for each in found.values()) == ["circuit_open", "upstream"]
        assert listings(scene) == 1
        scene.relay.clock.now += 30
        scene.run()
        assert listings(scene) == 2

    def test_fault_of_our_own_fails_the_listing_and_not_the_others(self, scene: Scene) -> None:
        with_channels(scene, dba={"reconcile_query": "a = 1"})

        def fails(call: Call) -> HttpAnswer:
            if "query=" not in call.url:
                raise KeyError("bug")
            return HttpAnswer(200, {}, b'{"items": [], "total": 0}')

        scene.tenant.faults["folder="] = fails
        found = scene.relay.reconcile()
        assert (found["noc"]["reason"], found["dba"].get("reason")) == ("internal", None)
        assert scene.relay.recorder.metrics()["crash"] == 1
        scene.tenant.faults.clear()
        scene.relay.clock.now += 1
        assert scene.run() == {"compared": 0, "missed": 0, "snooze_over": 0}

    def test_listing_goes_on_once_other_calls_leave_room_in_bigpandas_rate_limit(self, scene: Scene) -> None:
        limit, began = scene.relay.reconciler.lister.rate_limit, scene.relay.clock.now
        for _ in range(3):
            with pytest.raises(SendError, match="rate limit"):
                limit.wait(access_of(scene.relay), "incidents", calls=99)
        scene.relay.clock.now = began
        assert "failure" not in scene.run()
        assert scene.relay.clock.now - began == 12

    def test_other_channels_key_is_not_tried_after_a_failure_that_is_not_about_the_key(self, scene: Scene) -> None:
        with_channels(scene, dba={"api_key": "BPU-other"})
        scene.tenant.faults["folder="] = lambda _: HttpAnswer(503, {}, b"")
        scene.run()
        assert listings(scene) == 1


class TestLease:
    def test_run_does_nothing_while_another_one_works(self, scene: Scene) -> None:
        scene.has(incident(scene.relay.clock))
        lease = RunLease.take(scene.relay.table, scene.relay.clock)
        assert lease
        assert scene.relay.reconciler.run() == []
        assert listings(scene) == 0
        lease.release()
        assert scene.relay.reconciler.handle() == {"runs": 1, "channels": 1}
        assert scene.run()["compared"] == 1

    def test_lease_is_renewed_during_a_long_run(self, scene: Scene) -> None:
        pages(scene, 20, seconds=9.0)
        others: list[RunLease | None] = []

        def meanwhile() -> None:
            scene.relay.clock.now += 9.0
            others.append(RunLease.take(scene.relay.table, scene.relay.clock))

        scene.tenant.before_answer = meanwhile
        began = scene.relay.clock.now
        assert scene.run()["compared"] == 200
        assert scene.relay.clock.now - began > 2 * 90
        assert set(others) == {None}
        scene.run()
        assert sum("/activities" in call.url for call in scene.relay.bigpanda.calls) > 90 / 9
        assert set(others) == {None}, "also while BigPanda is asked with whom it shared the incidents"

    def test_run_that_loses_its_lease_stops(self, scene: Scene) -> None:
        pages(scene, 6, seconds=20)
        settled(scene)
        asked = listings(scene)

        def stolen() -> None:
            scene.relay.clock.now += 20
            scene.relay.table.update(LEASE_KEY, put={"until": scene.relay.clock.now + 90, "taken_at": 7.0})

        scene.tenant.before_answer = stolen
        assert scene.run() == {}
        assert listings(scene) == asked + 1
        assert queued(scene) == []
        assert scene.relay.recorder.metrics()["reconcile_failed"] == 1
        assert scene.relay.table.attributes(LEASE_KEY)["taken_at"] == 7.0

    def test_run_that_loses_its_lease_after_its_report_is_followed_by_no_second_report(self, scene: Scene) -> None:
        scene.shared(id="w", status="unknown")
        scene.has(incident(scene.relay.clock), incident(scene.relay.clock, "w", status="Warning"))
        scene.tenant.targets = {"i1": []}
        settled(scene)

        def lost(_: Call) -> HttpAnswer:
            raise LeaseLost("another reconcile run took over")

        scene.tenant.faults["/incidents/w"] = lost
        scene.run()
        scene.tenant.faults.clear()
        scene.relay.clock.now += 300
        scene.run()
        assert len(scene.relay.sns.published) == 1


def refuse(scene: Scene, key: str) -> None:
    def answered(call: Call) -> HttpAnswer:
        return HttpAnswer(401, {}, b"") if key in str(call.headers) else scene.tenant(call)

    scene.relay.bigpanda.steps[:] = [answered]


class TestChannelsOfAListing:
    @pytest.mark.parametrize("change", [{"environment_id": "e2"}, {"reconcile": "report"}], ids=str)
    def test_channel_that_left_the_listing_or_changed_to_report_during_the_run_relays_nothing(
        self, scene: Scene, change: dict[str, str]
    ) -> None:
        with_channels(scene, dba={})
        scene.has(incident(scene.relay.clock))
        settled(scene)

        scene.tenant.before_answer = once(lambda: changed(scene, "dba", **change))
        scene.run()
        assert [each.channel for each in scene.relay.retries.jobs()] == ["noc"]

    @pytest.mark.parametrize("why", ["its key is refused", "its secret is malformed", "both are good"])
    def test_incident_that_a_channel_with_another_key_knows_is_not_reported(self, why: str) -> None:
        scene = make_scene(reconcile="report")
        with_channels(scene, dba={"api_key": "BPU-other"})
        scene.relay.share(status="critical", changedOn=int(scene.relay.clock.now - 300))
        scene.has(incident(scene.relay.clock))
        if why == "its key is refused":
            refuse(scene, "BPU-canary")
        elif why == "its secret is malformed":
            scene.relay.secrets.texts["noc"] = "{}"
        # A function that has no copy of the secret.
        relay = scene.relay.other()
        for _ in range(4):
            relay.clock.now += 300
            assert {each["unknown"] for each in relay.reconcile().values()} == {0}
        assert relay.sns.published == []

    def test_refused_key_is_reported_and_another_channels_key_is_used_for_all(self, scene: Scene) -> None:
        with_channels(scene, dba={"api_key": "BPU-other"})
        scene.has(incident(scene.relay.clock))
        refuse(scene, "BPU-canary")
        settled(scene)
        assert scene.run()["missed"] == 2
        channels = history_of(scene).channels
        assert channels["noc"].seen == channels["dba"].seen == scene.relay.clock.now
        assert scene.relay.recorder.metrics()["reconcile_failed"] > 0


class TestListing:
    @pytest.mark.parametrize("has_total", [True, False])
    def test_run_reads_all_pages_of_a_folder(self, scene: Scene, has_total: bool) -> None:
        scene.tenant.page_size, scene.tenant.has_total = 40, has_total
        scene.has(*(incident(scene.relay.clock, f"i{number}") for number in range(90)))
        assert scene.run_twice()["missed"] == 90

    def test_run_ends_if_bigpanda_repeats_the_same_page(self, scene: Scene) -> None:
        scene.has(*(incident(scene.relay.clock, f"i{number}") for number in range(3)))
        everything = answer({"items": scene.tenant.incidents, "total": 500})
        scene.tenant.faults["folder=shared"] = lambda _: everything
        assert scene.run()["compared"] == 3
        assert sum("folder=shared" in call.url for call in scene.relay.bigpanda.calls) == 2

    def test_run_that_cannot_read_all_pages_is_counted_as_failed(self, scene: Scene) -> None:
        scene.tenant.page_size = 1
        scene.has(*(incident(scene.relay.clock, f"i{number}") for number in range(101)))
        assert scene.run()["compared"] == 100
        assert scene.relay.recorder.metrics()["reconcile_failed"] == 1

    @pytest.mark.parametrize("said", [{"total": 3, "items": []}, {"total": 0, "items": {}}], ids=str)
    def test_failed_listing_is_not_taken_for_an_empty_one_and_is_repeated(
        self, said: dict[str, Any], scene: Scene
    ) -> None:
        scene.shared()
        scene.has(incident(scene.relay.clock, status="Ok"), incident(scene.relay.clock, "i2"))
        scene.tenant.faults["folder="] = lambda _: answer(said)
        before = history_of(scene).channels["noc"].seen
        found = scene.run_twice()
        assert (found["missed"], bool(found["failure"])) == (0, True)
        assert history_of(scene).channels["noc"].seen == before
        assert scene.relay.recorder.metrics()["reconcile_failed"] == 2
        scene.tenant.faults.clear()
        scene.relay.clock.now += 300
        assert scene.run_twice()["missed"] == 2

    def test_items_that_are_no_incidents_keep_no_other_from_being_relayed(self, scene: Scene) -> None:
        scene.has(incident(scene.relay.clock), incident(scene.relay.clock, "i2"))
        odd: list[Any] = [7, None, {}, {"id": None}, {"id": ""}]
        odd += [{"id": "i9", "snooze": "x", "alerts": "x", "status": 4}]
        items = [*odd, *scene.tenant.incidents]
        scene.tenant.faults["folder=shared"] = lambda _: answer({"items": items, "total": len(items)})
        assert scene.run_twice()["missed"] == 3
        assert "incidents can't be read" in scene.relay.recorder.lines("reconcile_failed")[0]["detail"]

    def test_unreadable_channel_does_not_keep_others_from_being_compared(self, scene: Scene) -> None:
        scene.has(incident(scene.relay.clock))
        scene.relay.secrets.texts = {"broken": ChannelUnreadable("no"), "odd": "{}", **scene.relay.secrets.texts}
        assert scene.run()["compared"] == 1
        assert scene.relay.recorder.metrics()["reconcile_failed"] == 2


def test_listing_that_hangs_does_not_keep_those_behind_it_from_their_turn() -> None:
    places = [f"e{number}" for number in range(5)]
    scene = make_scene(environment_id=None, environments=places)
    [hanging, *_] = scene.run() and [line["environment_id"] for line in scene.relay.recorder.lines("reconciled")]
    scene.tenant.faults[f"/environments/{hanging}/"] = slow(scene.relay.clock, math.inf, dies)
    scene.tenant.faults["/environments/"] = lambda _: answer({"items": [], "total": 0})
    before = len(scene.relay.recorder.lines("reconciled"))
    for _ in range(6):
        scene.relay.clock.now += 300
        scene.run()
    lines = scene.relay.recorder.lines("reconciled")[before:]
    whole = Counter(line["environment_id"] for line in lines if "failure" not in line)
    assert min(whole[place] for place in places if place != hanging) >= 4


def test_history_of_many_channels_forgets_nothing_that_they_share(scene: Scene) -> None:
    changes = {f"i{number:04}": Difference("13", 1_800_000_000.0 + number) for number in range(400)}
    channels = {f"c{number}": ChannelHistory(0.0, 1_800_000_000.0, dict(changes)) for number in range(40)}
    History(channels).write(scene.relay.table, "wide")
    assert History.read(scene.relay.table, "wide").channels == channels
