"""Reconcile runs as chains of chores: pieces, leases, interruptions and the order of signals."""

import json
from collections import Counter
from collections.abc import Sequence
from itertools import cycle
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.exceptions import EndpointConnectionError

from relay.bigpanda.listing import SILENT_SECONDS
from relay.http.session import HttpAnswer
from relay.jobs.envelope import UnreadableMessage, envelope_of, read_envelope
from relay.jobs.job import Job
from relay.reconcile.comparison import SETTLES_SECONDS
from relay.reconcile.notes import channel_key, group_name, listing_name, read_channel_notes
from relay.reconcile.piece import Piece
from relay.reconcile.queueing import MAX_DETAILS
from relay.reconcile.reconciler import (
    ENTRIES_AT_ONCE,
    NOTED_SECONDS,
    OVERLAP_SECONDS,
    PACED_SECONDS,
    PIECE_SECONDS,
    RUN_SECONDS,
    WAIT_SECONDS,
)
from tests.unit.reconcile_scene import (
    Scene,
    access_of,
    chores,
    incident,
    listings,
    make_scene,
    note_of,
    with_channels,
    work,
)


def pages(scene: Scene, number: int, *, seconds: float = 2.0, statuses: Sequence[str] = ("Critical",)) -> None:
    """Let BigPanda list `10 * number` incidents, ten in each answer, with these statuses in turn.

    Each answer takes `seconds`.
    """
    names = [f"i{each:03}" for each in range(10 * number)]
    turns = zip(names, cycle(statuses), strict=False)
    scene.has(*(incident(scene.relay.clock, name, status=status) for name, status in turns))
    scene.tenant.page_size = 10

    def slow() -> None:
        scene.relay.clock.now += seconds

    scene.tenant.before_answer = slow


def settled(scene: Scene) -> None:
    """Make a first reconcile run, which notes the differences, and wait until the next run may queue signals."""
    scene.run()
    scene.relay.clock.now += SETTLES_SECONDS


def queued(scene: Scene) -> list[str]:
    """Return the incidents of the signals on the retry queue, in order."""
    return [job.incident_id for job in scene.relay.retries.jobs()]


class TestPieces:
    def test_run_out_of_time_goes_on_with_the_next_page(self) -> None:
        scene = make_scene()
        pages(scene, 6)
        settled(scene)
        scene.relay.schedule.start()
        began, sizes, found = scene.relay.clock.now, list[float](), None
        while waiting := chores(scene):
            [job] = waiting
            found = work(scene, job)
            sizes.append(scene.relay.clock.now - began)
            began = scene.relay.clock.now
        assert found
        assert (found.compared, found.missed) == (60, 60)
        assert len(sizes) > 2
        assert max(sizes) < PIECE_SECONDS
        assert len(queued(scene)) == len(set(queued(scene))) == 60

    def test_criticals_of_all_pages_are_queued_before_anything_else(self) -> None:
        scene = make_scene()
        pages(scene, 6, statuses=("Warning", "Critical"))
        settled(scene)
        found = scene.run()
        assert (found["compared"], found["missed"]) == (60, 60)
        status = [job.stamps.status for job in scene.relay.retries.jobs()]
        assert status == ["critical"] * 30 + ["warning"] * 30

    def test_criticals_of_one_piece_are_queued_first_and_resolves_last(self) -> None:
        scene = make_scene()
        for name in ("i1", "i2"):
            scene.relay.share(id=name, status="critical", changedOn=int(scene.relay.clock.now - 900))
        scene.relay.retries.messages.clear()
        clock = scene.relay.clock
        scene.has(incident(clock, "i1", status="Ok"), incident(clock, "i3", status="Warning"), incident(clock, "i4"))
        scene.run_twice()
        assert queued(scene) == ["i4", "i3", "i1"]

    def test_next_piece_goes_on_queueing_if_the_time_of_a_piece_is_over(self) -> None:
        scene = make_scene()
        scene.has(*(incident(scene.relay.clock, f"i{number:02}") for number in range(40)))
        settled(scene)
        send = scene.relay.retries.send_message

        def slow(**message: object) -> dict[str, str]:
            scene.relay.clock.now += 0.9
            return send(**message)

        scene.relay.retries.send_message = slow  # type: ignore[method-assign]
        assert scene.run()["missed"] == 40
        assert len(queued(scene)) == len(set(queued(scene))) == 40

    def test_channels_that_a_piece_did_not_reach_are_compared_in_the_next_one(self) -> None:
        scene = make_scene()
        with_channels(scene, **{f"c{number}": {} for number in range(5)})
        scene.has(*(incident(scene.relay.clock, f"i{number}") for number in range(ENTRIES_AT_ONCE // 4)))
        settled(scene)
        batch = scene.relay.dynamodb.batch_get_item

        def slow(**request: object) -> dict[str, object]:
            scene.relay.clock.now += 1
            return batch(**request)  # type: ignore[arg-type]

        scene.relay.dynamodb.batch_get_item = slow  # type: ignore[method-assign]
        asked = listings(scene)
        assert scene.run() == {"compared": 250, "missed": 1500, "snooze_over": 0}
        assert listings(scene) - asked > 5, "there was more than one piece"
        channels = Counter(job.channel for job in scene.relay.retries.jobs())
        assert channels == dict.fromkeys(["c0", "c1", "c2", "c3", "c4", "noc"], 250)

    def test_details_are_asked_for_a_few_incidents_criticals_first(self) -> None:
        scene = make_scene()
        clock = scene.relay.clock
        warnings = [incident(clock, f"w{number}", status="Warning") for number in range(MAX_DETAILS)]
        scene.has(*warnings, *(incident(clock, f"c{number}") for number in range(MAX_DETAILS - 5)))
        settled(scene)
        assert scene.run()["missed"] == 2 * MAX_DETAILS - 5
        asked = [call.url for call in scene.relay.bigpanda.calls if "/incidents/" in call.url]
        assert len(asked) == MAX_DETAILS
        assert sum("/incidents/c" in url for url in asked) == MAX_DETAILS - 5
        plain = [json.loads(job.body)["incident"] for job in scene.relay.retries.jobs()][MAX_DETAILS:]
        assert {tuple(each["alerts"][0]) for each in plain} == {("id", "alert_id")}

    def test_run_waits_while_other_calls_use_the_rate_limit_of_bigpanda(self) -> None:
        scene = make_scene()
        scene.has(incident(scene.relay.clock))
        scene.relay.schedule.start()
        [job] = chores(scene)
        second = int(scene.relay.clock.now)
        access = access_of(scene.relay)
        for later in range(10):
            scene.relay.clock.now = second + later
            scene.relay.rate_limit.wait(access, "incidents", calls=5)
        scene.relay.clock.now = second
        assert work(scene, job) is None
        assert scene.relay.chores.delays() == [PACED_SECONDS]
        scene.relay.clock.now += PACED_SECONDS
        [again] = chores(scene)
        found = work(scene, again)
        assert found
        assert found.compared == 1
        assert "reconcile_failed" not in scene.relay.recorder.metrics()

    def test_run_that_takes_too_long_is_given_up(self) -> None:
        scene = make_scene()
        scene.has(incident(scene.relay.clock))
        scene.relay.schedule.start()
        [job] = chores(scene)
        pages(scene, 6)
        assert work(scene, job) is None
        [job] = chores(scene)
        scene.relay.clock.now += RUN_SECONDS
        found = work(scene, job)
        assert found
        assert found.failure == "the run took too long"
        assert chores(scene) == []

    def test_run_fails_if_the_chore_queue_refuses_its_next_piece(self) -> None:
        scene = make_scene()
        scene.relay.schedule.start()
        [job] = chores(scene)
        pages(scene, 6)
        scene.relay.chores.failure = EndpointConnectionError(endpoint_url="x")
        found = work(scene, job)
        assert found
        assert found.failure == "the chore queue did not take the rest of the run"
        scene.relay.chores.failure = None
        scene.relay.clock.now += WAIT_SECONDS
        assert scene.run()["compared"] == 60

    def test_listed_incident_is_relayed_although_another_folder_fails(self) -> None:
        scene = make_scene()
        scene.has(incident(scene.relay.clock, status="Warning"))
        scene.tenant.faults["folder=resolved"] = lambda _: HttpAnswer(500, {}, b"")
        found = scene.run_twice()
        assert (found["missed"], found["reason"]) == (1, "upstream")
        assert queued(scene) == ["i1"]

    def test_first_run_lists_incidents_that_ended_in_the_last_minutes(self) -> None:
        scene = make_scene(since=0)
        scene.run()
        [since] = [parse_qs(urlsplit(call.url).query)["from"] for call in scene.relay.bigpanda.calls[2:]]
        assert since == [str(int(scene.relay.clock.now - OVERLAP_SECONDS))]

    def test_channel_is_compared_from_its_first_run_on_although_that_run_failed(self) -> None:
        scene = make_scene(since=0)
        scene.tenant.faults["folder="] = lambda _: HttpAnswer(500, {}, b"")
        scene.run()
        scene.relay.clock.now += 3600
        scene.tenant.faults.clear()
        scene.has(incident(scene.relay.clock, ago=1800))
        assert scene.run_twice()["missed"] == 1

    def test_incident_whose_snooze_ended_is_not_remembered_as_snoozed(self) -> None:
        scene = make_scene()
        scene.has(incident(scene.relay.clock, snooze={"snoozed": True}))
        scene.run()
        assert list(note_of(scene).snoozed_at) == ["i1"]
        scene.relay.clock.now += 300
        scene.has(incident(scene.relay.clock))
        scene.run()
        assert note_of(scene).snoozed_at == {}


class TestLease:
    def interrupted(self, scene: Scene) -> tuple[Job, Job]:
        """Work the first piece of a run; return the chore of that piece and of the next."""
        pages(scene, 6)
        scene.relay.schedule.start()
        [first] = chores(scene)
        assert work(scene, first) is None
        [second] = chores(scene)
        return first, second

    def test_second_run_is_dropped_while_the_first_one_goes_on(self) -> None:
        scene = make_scene()
        _, second = self.interrupted(scene)
        asked = listings(scene)
        scene.relay.clock.now += WAIT_SECONDS - 30
        scene.relay.schedule.start()
        [other] = chores(scene)
        assert work(scene, other) is None
        assert (chores(scene), listings(scene)) == ([], asked)
        work(scene, second)
        assert listings(scene) > asked

    def test_piece_of_a_run_that_comes_twice_is_worked_once(self) -> None:
        scene = make_scene()
        first, second = self.interrupted(scene)
        asked = listings(scene)
        assert work(scene, first) is None
        assert listings(scene) == asked
        work(scene, second)
        asked, third = listings(scene), chores(scene)
        assert work(scene, second) is None
        assert (listings(scene), len(third)) == (asked, 1)

    def test_piece_of_a_run_is_left_to_the_worker_that_has_it(self) -> None:
        scene = make_scene()
        _, second = self.interrupted(scene)
        busy = note_of(scene)._replace(is_working=True, until=scene.relay.clock.now + PIECE_SECONDS)
        busy.write(scene.relay.table, group_name(access_of(scene.relay), "e1"))
        assert work(scene, second) is None
        assert chores(scene) == []
        scene.relay.clock.now += PIECE_SECONDS
        work(scene, second)
        assert len(chores(scene)) == 1, "its worker died"

    def test_interrupted_run_is_begun_anew(self) -> None:
        scene = make_scene()
        _, second = self.interrupted(scene)
        scene.relay.clock.now += WAIT_SECONDS
        assert scene.run()["compared"] == 60
        asked = listings(scene)
        assert work(scene, second) is None
        assert listings(scene) == asked, "the old run is over"

    def test_run_planned_before_a_newer_one_began_is_dropped(self) -> None:
        scene = make_scene()
        scene.relay.schedule.start()
        [late] = chores(scene)
        scene.relay.clock.now += 300
        scene.run()
        asked = listings(scene)
        assert work(scene, late) is None
        assert listings(scene) == asked

    def test_run_that_loses_its_lease_queues_no_next_piece(self) -> None:
        scene = make_scene()
        pages(scene, 6)
        scene.relay.schedule.start()
        [job] = chores(scene)
        earlier = scene.tenant.before_answer

        def stolen() -> None:
            earlier()
            note_of(scene)._replace(run="other").write(scene.relay.table, group_name(access_of(scene.relay), "e1"))
            scene.tenant.before_answer = earlier

        scene.tenant.before_answer = stolen
        assert work(scene, job) is None
        assert chores(scene) == []


class TestGroups:
    def test_channel_that_left_the_group_after_the_plan_relays_nothing(self) -> None:
        scene = make_scene()
        with_channels(scene, dba={})
        scene.has(incident(scene.relay.clock))
        settled(scene)
        scene.relay.schedule.start()
        [job] = chores(scene)
        secret = json.loads(str(scene.relay.secrets.texts["dba"]))
        secret["bigpanda"]["api_key"] = "BPU-of-another-tenant"
        scene.relay.secrets.texts["dba"] = json.dumps(secret)
        scene.relay.clock.now += 301
        work(scene, job)
        assert [each.channel for each in scene.relay.retries.jobs()] == ["noc"]

    def test_channel_that_changed_to_report_after_the_plan_relays_nothing(self) -> None:
        scene = make_scene()
        scene.has(incident(scene.relay.clock))
        settled(scene)
        scene.relay.schedule.start()
        [job] = chores(scene)
        secret = json.loads(str(scene.relay.secrets.texts["noc"]))
        secret["bigpanda"]["reconcile"] = "report"
        scene.relay.secrets.texts["noc"] = json.dumps(secret)
        scene.relay.clock.now += 301
        work(scene, job)
        assert queued(scene) == []

    def test_run_reads_secrets_only_of_channels_that_differ(self) -> None:
        scene = make_scene()
        with_channels(scene, **{f"c{number}": {} for number in range(5)})
        scene.relay.schedule.start()
        [job] = chores(scene)
        scene.relay.clock.now += 301
        scene.relay.secrets.reads.clear()
        work(scene, job)
        assert scene.relay.secrets.reads == ["noc"]

    def rotate(self, scene: Scene) -> None:
        """Give the channel another BigPanda key, and let the functions read it."""
        secret = json.loads(str(scene.relay.secrets.texts["noc"]))
        secret["bigpanda"]["api_key"] = "BPU-rotated"
        scene.relay.secrets.texts["noc"] = json.dumps(secret)
        scene.relay.clock.now += 301

    def test_incident_from_before_a_key_rotation_is_relayed_after_it(self) -> None:
        scene = make_scene()
        scene.has(incident(scene.relay.clock, ago=3600))
        self.rotate(scene)
        assert scene.run_twice()["missed"] == 1

    def test_resolve_from_before_a_key_rotation_is_relayed_after_it(self) -> None:
        scene = make_scene()
        scene.relay.share(status="critical", changedOn=int(scene.relay.clock.now - 3000))
        scene.relay.retries.messages.clear()
        scene.has(incident(scene.relay.clock, status="Ok", ago=1400))
        self.rotate(scene)
        assert scene.run_twice()["missed"] == 1

    def test_channel_note_is_updated_every_few_hours(self) -> None:
        scene = make_scene()
        name = channel_key(listing_name(access_of(scene.relay), "e1"), "noc")
        written = scene.relay.dynamodb.items[name]["sequence"]
        scene.run()
        assert scene.relay.dynamodb.items[name]["sequence"] == written, "not at each run"
        for _ in range(2):
            scene.relay.clock.now += NOTED_SECONDS
            last = scene.relay.clock.now
            scene.run()
        note = read_channel_notes(scene.relay.table, {"noc": name})["noc"]
        assert note.seen == last - NOTED_SECONDS

    def test_entries_that_dynamodb_leaves_unprocessed_do_not_count_as_missing(self) -> None:
        scene = make_scene()
        scene.relay.share(status="critical", changedOn=int(scene.relay.clock.now - 600))
        scene.relay.retries.messages.clear()
        scene.has(incident(scene.relay.clock, ago=600))
        settled(scene)
        scene.relay.schedule.start()
        [job] = chores(scene)
        batch, asked = scene.relay.dynamodb.batch_get_item, []

        def unprocessed(**request: object) -> dict[str, object]:
            asked.append(request)
            # The notes are there, and the entries are not answered for.
            scene.relay.dynamodb.batch_size = 100 if len(asked) == 1 else 0
            return batch(**request)  # type: ignore[arg-type]

        scene.relay.dynamodb.batch_get_item = unprocessed  # type: ignore[method-assign]
        found = work(scene, job)
        assert found
        assert found.failure == "DynamoDB did not answer for all incidents"
        assert queued(scene) == []

    def test_host_that_hangs_is_not_asked_again_for_a_while(self) -> None:
        scene = make_scene()
        with_channels(scene, dba={"reconcile_query": "a = 1"})

        def hangs() -> None:
            scene.relay.clock.now += 5

        scene.tenant.before_answer = hangs
        scene.tenant.faults["folder="] = lambda _: HttpAnswer(504, {}, b"")
        found = scene.relay.reconcile()
        assert [each.reason for each in found.values()] == ["upstream", "circuit_open"]
        assert listings(scene) == 1
        scene.relay.clock.now += SILENT_SECONDS
        scene.run()
        assert listings(scene) == 2


class TestChore:
    def test_worker_works_a_reconcile_run_and_deletes_its_message(self) -> None:
        scene = make_scene()
        scene.relay.schedule.start()
        assert scene.relay.worker.work(scene.relay.chores.records()) == []
        [line] = [line for line in scene.relay.recorder.lines() if line["message"] == "reconciled"]
        assert (line["channel"], line["environment_id"], line["compared"]) == ("noc", "e1", 0)

    @pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"environment_id": "e1", "members": [], "cursor": 1}'])
    def test_unreadable_chore_is_reported_and_its_message_stays(self, body: bytes) -> None:
        scene = make_scene()
        scene.relay.schedule.start()
        [job] = chores(scene)
        broken = job.with_body(body)
        with pytest.raises(UnreadableMessage):
            Piece.of(broken)
        assert scene.relay.worker.work([{"messageId": "m1", "body": envelope_of(broken)}]) == ["m1"]

    def test_chore_is_read_as_it_was_written(self) -> None:
        scene = make_scene()
        pages(scene, 6)
        scene.relay.schedule.start()
        [job] = chores(scene)
        work(scene, job)
        [second] = chores(scene)
        chore = Piece.of(read_envelope(envelope_of(second)))
        assert chore.cursor.piece == 1
        assert Piece.of(chore.job()) == chore

    def test_fault_of_our_own_ends_the_run_and_is_counted(self) -> None:
        scene = make_scene()

        def fails(_: object) -> HttpAnswer:
            raise KeyError("bug")

        scene.tenant.faults["folder="] = fails
        found = scene.run()
        assert found["reason"] == "internal"
        assert scene.relay.recorder.metrics()["crash"] == 1
        scene.tenant.faults.clear()
        scene.relay.clock.now += 1
        assert scene.run() == {"compared": 0, "missed": 0, "snooze_over": 0}
