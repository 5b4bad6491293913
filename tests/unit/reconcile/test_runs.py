"""Reconcile runs as chains of chores: pieces, leases, interruptions and the order of signals."""

import json
from collections import Counter
from collections.abc import Sequence
from copy import replace
from itertools import cycle
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.exceptions import EndpointConnectionError

from relay.bigpanda.listing import SILENT_SECONDS
from relay.http.session import Answer
from relay.jobs.envelope import Job, UnreadableMessage
from relay.reconcile.chore import Chore
from relay.reconcile.comparison import SETTLES_SECONDS
from relay.reconcile.notes import channel_key, group_name, place_name, read_channel_notes
from relay.reconcile.reconciler import (
    ENTRIES_AT_ONCE,
    MAX_DETAILS,
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
    note_of,
    scene,
    with_channels,
    work,
)


def pages(this: Scene, number: int, *, seconds: float = 2.0, statuses: Sequence[str] = ("Critical",)) -> None:
    """Let BigPanda have so many pages of ten incidents, with these statuses in turn; each answer takes `seconds`."""
    names = [f"i{each:03}" for each in range(10 * number)]
    turns = zip(names, cycle(statuses), strict=False)
    this.has(*(incident(this.relay.clock, name, status=status) for name, status in turns))
    this.tenant.page_size = 10

    def slow() -> None:
        this.relay.clock.now += seconds

    this.tenant.before_answer = slow


def settled(this: Scene) -> None:
    """Make a first run that notes the differences, so that the next one queues them."""
    this.run()
    this.relay.clock.now += SETTLES_SECONDS


def queued(this: Scene) -> list[str]:
    """Return the incidents of the signals on the retry queue, in order."""
    return [job.incident_id for job in this.relay.retries.jobs()]


class TestPieces:
    def test_run_out_of_time_goes_on_with_the_next_page(self) -> None:
        this = scene()
        pages(this, 6)
        settled(this)
        this.relay.schedule.start()
        began, sizes, found = this.relay.clock.now, list[float](), None
        while waiting := chores(this):
            [job] = waiting
            found = work(this, job)
            sizes.append(this.relay.clock.now - began)
            began = this.relay.clock.now
        assert found
        assert (found.compared, found.missed) == (60, 60)
        assert len(sizes) > 2
        assert max(sizes) < PIECE_SECONDS
        assert len(queued(this)) == len(set(queued(this))) == 60

    def test_criticals_of_all_pages_are_queued_before_anything_else(self) -> None:
        this = scene()
        pages(this, 6, statuses=("Warning", "Critical"))
        settled(this)
        found = this.run()
        assert (found["compared"], found["missed"]) == (60, 60)
        status = [job.status for job in this.relay.retries.jobs()]
        assert status == ["critical"] * 30 + ["warning"] * 30

    def test_criticals_of_one_piece_are_queued_first_and_resolves_last(self) -> None:
        this = scene()
        for name in ("i1", "i2"):
            this.relay.share(id=name, status="critical", changedOn=int(this.relay.clock.now - 900))
        this.relay.retries.messages.clear()
        clock = this.relay.clock
        this.has(incident(clock, "i1", status="Ok"), incident(clock, "i3", status="Warning"), incident(clock, "i4"))
        this.run_twice()
        assert queued(this) == ["i4", "i3", "i1"]

    def test_next_piece_goes_on_queueing_if_the_time_of_a_piece_is_over(self) -> None:
        this = scene()
        this.has(*(incident(this.relay.clock, f"i{number:02}") for number in range(40)))
        settled(this)
        send = this.relay.retries.send_message

        def slow(**message: object) -> dict[str, str]:
            this.relay.clock.now += 0.9
            return send(**message)

        this.relay.retries.send_message = slow  # type: ignore[method-assign]
        assert this.run()["missed"] == 40
        assert len(queued(this)) == len(set(queued(this))) == 40

    def test_channels_that_a_piece_did_not_reach_are_compared_in_the_next_one(self) -> None:
        this = scene()
        with_channels(this, **{f"c{number}": {} for number in range(5)})
        this.has(*(incident(this.relay.clock, f"i{number}") for number in range(ENTRIES_AT_ONCE // 4)))
        settled(this)
        batch = this.relay.dynamodb.batch_get_item

        def slow(**request: object) -> dict[str, object]:
            this.relay.clock.now += 1
            return batch(**request)  # type: ignore[arg-type]

        this.relay.dynamodb.batch_get_item = slow  # type: ignore[method-assign]
        asked = listings(this)
        assert this.run() == {"compared": 250, "missed": 1500, "woken": 0}
        assert listings(this) - asked > 5, "there was more than one piece"
        channels = Counter(job.channel for job in this.relay.retries.jobs())
        assert channels == dict.fromkeys(["c0", "c1", "c2", "c3", "c4", "noc"], 250)

    def test_details_are_asked_for_a_few_incidents_criticals_first(self) -> None:
        this = scene()
        clock = this.relay.clock
        warnings = [incident(clock, f"w{number}", status="Warning") for number in range(MAX_DETAILS)]
        this.has(*warnings, *(incident(clock, f"c{number}") for number in range(MAX_DETAILS - 5)))
        settled(this)
        assert this.run()["missed"] == 2 * MAX_DETAILS - 5
        asked = [call.url for call in this.relay.bigpanda.calls if "/incidents/" in call.url]
        assert len(asked) == MAX_DETAILS
        assert sum("/incidents/c" in url for url in asked) == MAX_DETAILS - 5
        plain = [json.loads(job.body)["incident"] for job in this.relay.retries.jobs()][MAX_DETAILS:]
        assert {tuple(each["alerts"][0]) for each in plain} == {("id", "alert_id")}

    def test_run_waits_while_other_calls_use_the_rate_limit_of_bigpanda(self) -> None:
        this = scene()
        this.has(incident(this.relay.clock))
        this.relay.schedule.start()
        [job] = chores(this)
        second = int(this.relay.clock.now)
        access = access_of(this.relay)
        for later in range(10):
            this.relay.clock.now = second + later
            this.relay.rate_limit.wait(access, "incidents", calls=5)
        this.relay.clock.now = second
        assert work(this, job) is None
        assert this.relay.chores.delays() == [PACED_SECONDS]
        this.relay.clock.now += PACED_SECONDS
        [again] = chores(this)
        found = work(this, again)
        assert found
        assert found.compared == 1
        assert "reconcile_failed" not in this.relay.recorder.metrics()

    def test_run_that_takes_too_long_is_given_up(self) -> None:
        this = scene()
        this.has(incident(this.relay.clock))
        this.relay.schedule.start()
        [job] = chores(this)
        pages(this, 6)
        assert work(this, job) is None
        [job] = chores(this)
        this.relay.clock.now += RUN_SECONDS
        found = work(this, job)
        assert found
        assert found.failure == "the run took too long"
        assert chores(this) == []

    def test_run_fails_if_the_chore_queue_refuses_its_next_piece(self) -> None:
        this = scene()
        this.relay.schedule.start()
        [job] = chores(this)
        pages(this, 6)
        this.relay.chores.failure = EndpointConnectionError(endpoint_url="x")
        found = work(this, job)
        assert found
        assert found.failure == "the chore queue did not take the rest of the run"
        this.relay.chores.failure = None
        this.relay.clock.now += WAIT_SECONDS
        assert this.run()["compared"] == 60

    def test_listed_incident_is_relayed_although_another_folder_fails(self) -> None:
        this = scene()
        this.has(incident(this.relay.clock, status="Warning"))
        this.tenant.faults["folder=resolved"] = lambda _: Answer(500, {}, b"")
        found = this.run_twice()
        assert (found["missed"], found["reason"]) == (1, "upstream")
        assert queued(this) == ["i1"]

    def test_first_run_lists_incidents_that_ended_in_the_last_minutes(self) -> None:
        this = scene(since=0)
        this.run()
        [since] = [parse_qs(urlsplit(call.url).query)["from"] for call in this.relay.bigpanda.calls[2:]]
        assert since == [str(int(this.relay.clock.now - OVERLAP_SECONDS))]

    def test_channel_is_compared_from_its_first_run_on_although_that_run_failed(self) -> None:
        this = scene(since=0)
        this.tenant.faults["folder="] = lambda _: Answer(500, {}, b"")
        this.run()
        this.relay.clock.now += 3600
        this.tenant.faults.clear()
        this.has(incident(this.relay.clock, ago=1800))
        assert this.run_twice()["missed"] == 1

    def test_incident_whose_snooze_ended_is_not_remembered_as_snoozed(self) -> None:
        this = scene()
        this.has(incident(this.relay.clock, snooze={"snoozed": True}))
        this.run()
        assert list(note_of(this).asleep) == ["i1"]
        this.relay.clock.now += 300
        this.has(incident(this.relay.clock))
        this.run()
        assert note_of(this).asleep == {}


class TestLease:
    def interrupted(self, this: Scene) -> tuple[Job, Job]:
        """Work the first piece of a run; return the chore of that piece and of the next."""
        pages(this, 6)
        this.relay.schedule.start()
        [first] = chores(this)
        assert work(this, first) is None
        [second] = chores(this)
        return first, second

    def test_second_run_is_dropped_while_the_first_one_goes_on(self) -> None:
        this = scene()
        _, second = self.interrupted(this)
        asked = listings(this)
        this.relay.clock.now += WAIT_SECONDS - 30
        this.relay.schedule.start()
        [other] = chores(this)
        assert work(this, other) is None
        assert (chores(this), listings(this)) == ([], asked)
        work(this, second)
        assert listings(this) > asked

    def test_piece_of_a_run_that_comes_twice_is_worked_once(self) -> None:
        this = scene()
        first, second = self.interrupted(this)
        asked = listings(this)
        assert work(this, first) is None
        assert listings(this) == asked
        work(this, second)
        asked, third = listings(this), chores(this)
        assert work(this, second) is None
        assert (listings(this), len(third)) == (asked, 1)

    def test_piece_of_a_run_is_left_to_the_worker_that_has_it(self) -> None:
        this = scene()
        _, second = self.interrupted(this)
        busy = note_of(this)._replace(is_working=True, until=this.relay.clock.now + PIECE_SECONDS)
        busy.write(this.relay.table, group_name(access_of(this.relay), "e1"))
        assert work(this, second) is None
        assert chores(this) == []
        this.relay.clock.now += PIECE_SECONDS
        work(this, second)
        assert len(chores(this)) == 1, "its worker died"

    def test_interrupted_run_is_begun_anew(self) -> None:
        this = scene()
        _, second = self.interrupted(this)
        this.relay.clock.now += WAIT_SECONDS
        assert this.run()["compared"] == 60
        asked = listings(this)
        assert work(this, second) is None
        assert listings(this) == asked, "the old run is over"

    def test_run_planned_before_a_newer_one_began_is_dropped(self) -> None:
        this = scene()
        this.relay.schedule.start()
        [late] = chores(this)
        this.relay.clock.now += 300
        this.run()
        asked = listings(this)
        assert work(this, late) is None
        assert listings(this) == asked

    def test_run_that_loses_its_lease_queues_no_next_piece(self) -> None:
        this = scene()
        pages(this, 6)
        this.relay.schedule.start()
        [job] = chores(this)
        earlier = this.tenant.before_answer

        def stolen() -> None:
            earlier()
            note_of(this)._replace(run="other").write(this.relay.table, group_name(access_of(this.relay), "e1"))
            this.tenant.before_answer = earlier

        this.tenant.before_answer = stolen
        assert work(this, job) is None
        assert chores(this) == []


class TestGroups:
    def test_channel_that_left_the_group_after_the_plan_relays_nothing(self) -> None:
        this = scene()
        with_channels(this, dba={})
        this.has(incident(this.relay.clock))
        settled(this)
        this.relay.schedule.start()
        [job] = chores(this)
        secret = json.loads(str(this.relay.secrets.texts["dba"]))
        secret["bigpanda"]["api_key"] = "BPU-of-another-tenant"
        this.relay.secrets.texts["dba"] = json.dumps(secret)
        this.relay.clock.now += 301
        work(this, job)
        assert [each.channel for each in this.relay.retries.jobs()] == ["noc"]

    def test_channel_that_changed_to_report_after_the_plan_relays_nothing(self) -> None:
        this = scene()
        this.has(incident(this.relay.clock))
        settled(this)
        this.relay.schedule.start()
        [job] = chores(this)
        secret = json.loads(str(this.relay.secrets.texts["noc"]))
        secret["bigpanda"]["reconcile"] = "report"
        this.relay.secrets.texts["noc"] = json.dumps(secret)
        this.relay.clock.now += 301
        work(this, job)
        assert queued(this) == []

    def test_run_reads_secrets_only_of_channels_that_differ(self) -> None:
        this = scene()
        with_channels(this, **{f"c{number}": {} for number in range(5)})
        this.relay.schedule.start()
        [job] = chores(this)
        this.relay.clock.now += 301
        this.relay.secrets.reads.clear()
        work(this, job)
        assert this.relay.secrets.reads == ["noc"]

    def rotate(self, this: Scene) -> None:
        """Give the channel another BigPanda key, and let the functions read it."""
        secret = json.loads(str(this.relay.secrets.texts["noc"]))
        secret["bigpanda"]["api_key"] = "BPU-rotated"
        this.relay.secrets.texts["noc"] = json.dumps(secret)
        this.relay.clock.now += 301

    def test_incident_from_before_a_key_rotation_is_relayed_after_it(self) -> None:
        this = scene()
        this.has(incident(this.relay.clock, ago=3600))
        self.rotate(this)
        assert this.run_twice()["missed"] == 1

    def test_resolve_from_before_a_key_rotation_is_relayed_after_it(self) -> None:
        this = scene()
        this.relay.share(status="critical", changedOn=int(this.relay.clock.now - 3000))
        this.relay.retries.messages.clear()
        this.has(incident(this.relay.clock, status="Ok", ago=1400))
        self.rotate(this)
        assert this.run_twice()["missed"] == 1

    def test_channel_note_is_updated_every_few_hours(self) -> None:
        this = scene()
        name = channel_key(place_name(access_of(this.relay), "e1"), "noc")
        written = this.relay.dynamodb.items[name]["sequence"]
        this.run()
        assert this.relay.dynamodb.items[name]["sequence"] == written, "not at each run"
        for _ in range(2):
            this.relay.clock.now += NOTED_SECONDS
            last = this.relay.clock.now
            this.run()
        note = read_channel_notes(this.relay.table, {"noc": name})["noc"]
        assert note.seen == last - NOTED_SECONDS

    def test_entries_that_dynamodb_leaves_unprocessed_do_not_count_as_missing(self) -> None:
        this = scene()
        this.relay.share(status="critical", changedOn=int(this.relay.clock.now - 600))
        this.relay.retries.messages.clear()
        this.has(incident(this.relay.clock, ago=600))
        settled(this)
        this.relay.schedule.start()
        [job] = chores(this)
        batch, asked = this.relay.dynamodb.batch_get_item, []

        def unprocessed(**request: object) -> dict[str, object]:
            asked.append(request)
            # The notes are there, and the entries are not answered for.
            this.relay.dynamodb.batch_size = 100 if len(asked) == 1 else 0
            return batch(**request)  # type: ignore[arg-type]

        this.relay.dynamodb.batch_get_item = unprocessed  # type: ignore[method-assign]
        found = work(this, job)
        assert found
        assert found.failure == "DynamoDB did not answer for all incidents"
        assert queued(this) == []

    def test_host_that_hangs_is_not_asked_again_for_a_while(self) -> None:
        this = scene()
        with_channels(this, dba={"reconcile_query": "a = 1"})

        def hangs() -> None:
            this.relay.clock.now += 5

        this.tenant.before_answer = hangs
        this.tenant.faults["folder="] = lambda _: Answer(504, {}, b"")
        found = this.relay.reconcile()
        assert [each.reason for each in found.values()] == ["upstream", "circuit_open"]
        assert listings(this) == 1
        this.relay.clock.now += SILENT_SECONDS
        this.run()
        assert listings(this) == 2


class TestChore:
    def test_worker_works_a_reconcile_run_and_deletes_its_message(self) -> None:
        this = scene()
        this.relay.schedule.start()
        assert this.relay.worker.work(this.relay.chores.records()) == []
        [line] = [line for line in this.relay.recorder.lines() if line["message"] == "reconciled"]
        assert (line["channel"], line["environment_id"], line["compared"]) == ("noc", "e1", 0)

    @pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"environment_id": "e1", "members": [], "cursor": 1}'])
    def test_unreadable_chore_is_reported_and_its_message_stays(self, body: bytes) -> None:
        this = scene()
        this.relay.schedule.start()
        [job] = chores(this)
        broken = replace(job, body=body)
        with pytest.raises(UnreadableMessage):
            Chore.of(broken)
        assert this.relay.worker.work([{"messageId": "m1", "body": broken.to_json()}]) == ["m1"]

    def test_chore_is_read_as_it_was_written(self) -> None:
        this = scene()
        pages(this, 6)
        this.relay.schedule.start()
        [job] = chores(this)
        work(this, job)
        [second] = chores(this)
        chore = Chore.of(Job.from_json(second.to_json()))
        assert chore.cursor.piece == 1
        assert Chore.of(chore.job()) == chore

    def test_fault_of_our_own_ends_the_run_and_is_counted(self) -> None:
        this = scene()

        def fails(_: object) -> Answer:
            raise KeyError("bug")

        this.tenant.faults["folder="] = fails
        found = this.run()
        assert found["reason"] == "internal"
        assert this.relay.recorder.metrics()["crash"] == 1
        this.tenant.faults.clear()
        this.relay.clock.now += 1
        assert this.run() == {"compared": 0, "missed": 0, "woken": 0}
