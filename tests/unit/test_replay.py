import json
from collections import Counter
from collections.abc import Callable, Mapping
from copy import replace
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.message import MAX_EXCERPT, Job, timestamp
from relay.outcome import Outcome
from relay.replay import Filter, Replay, Replayed, WorkerError, in_order
from tests.fakes import Clock
from tests.samples import job
from tests.unit.relayctl_fakes import FakeQueue, held

DELIVERED = {"outcome": "delivered", "request_id": "r1", "attempts": 1}
FAILED = {
    "outcome": "unsafe",
    "reason": "rate_limited",
    "attempts": 2,
    "http_status": 429,
    "response_excerpt": "slow down",
    "detail": "xMatters answered 429",
}

type Step = Mapping[str, Any] | WorkerError | Callable[[Job], Mapping[str, Any]]


@dataclass
class Bench:
    """A replay on a fake queue, with a worker that answers one step after the other; the last goes on for ever."""

    steps: list[Step] = field(default_factory=lambda: [DELIVERED])
    rate: float = 1000.0
    seconds_each: float = 0.0
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.queue = FakeQueue(self.clock)
        self.letters = self.queue.letters()
        self.asked: list[Job] = []
        self.slept: list[float] = []

    def run(self, stopping: Callable[[], bool] = lambda: False) -> list[Replayed]:
        """Scan, replay all, let go."""
        with self.letters.holding():
            found = list(self.letters.scan())
            return list(self.replay().run(found, stopping))

    def replay(self) -> Replay:
        return Replay(self.letters, self.queue.queue(), self.invoke, self.clock, self.sleep, self.rate)

    def invoke(self, envelope: str) -> Mapping[str, Any]:
        asked = Job.from_json(envelope)
        self.asked.append(asked)
        self.clock.now += self.seconds_each
        step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
        if isinstance(step, WorkerError):
            raise step
        return step(asked) if callable(step) else step

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.clock.now += seconds


def jobs(count: int, **changes: Any) -> list[Job]:
    """Jobs of as many incidents, a second apart."""
    return [
        job(delivery_id=f"d{n}", incident_id=f"i{n}", received_at=timestamp(1_790_000_000 + n), **changes)
        for n in range(count)
    ]


def bodies(some: list[Job]) -> list[str]:
    return [each.to_json() for each in some]


class TestDelivered:
    def test_its_message_is_deleted_after_the_worker_said_so_and_not_before(self) -> None:
        on_queue_meanwhile: list[int] = []

        def looks(_: Job) -> Mapping[str, Any]:
            on_queue_meanwhile.append(len(bench.queue.messages))
            return DELIVERED

        bench = Bench([looks])
        bench.queue.put(job().to_json())
        (done,) = bench.run()
        assert on_queue_meanwhile == [1]
        assert bench.queue.messages == {}
        assert (done.outcome, done.request_id, done.note) == (Outcome.DELIVERED, "r1", None)

    def test_the_worker_gets_the_very_job(self) -> None:
        bench = Bench()
        bench.queue.put(job(body=b"\x00\xff not JSON").to_json())
        bench.run()
        assert bench.asked == [job(body=b"\x00\xff not JSON")]

    def test_a_message_that_cannot_be_deleted_stays_and_is_said(self) -> None:
        bench = Bench()
        bench.queue.put(job().to_json())
        bench.queue.refusing = {"delete"}
        (done,) = bench.run()
        assert done.outcome == Outcome.DELIVERED
        assert done.note
        assert "still on the queue" in done.note
        assert bench.queue.jobs() == [job()]


class TestNotSent:
    @pytest.mark.parametrize("outcome", [Outcome.DUPLICATE, Outcome.SUPERSEDED, Outcome.UNCHANGED])
    def test_what_is_not_owed_any_more_leaves_the_queue(self, outcome: Outcome) -> None:
        bench = Bench([{"outcome": outcome.value}])
        bench.queue.put(job().to_json())
        (done,) = bench.run()
        assert bench.queue.messages == {}
        assert done == Replayed(job(), outcome)
        assert not done.is_failure

    def test_what_waits_on_the_retry_queue_leaves_it_too_and_says_what_it_waits_for(self) -> None:
        bench = Bench([{"outcome": "queued", "queue": "retry", "reason": "paced"}])
        bench.queue.put(job().to_json())
        (done,) = bench.run()
        assert bench.queue.messages == {}
        assert done == Replayed(job(reason="paced"), Outcome.QUEUED, queue="retry")
        assert not done.is_failure

    @pytest.mark.parametrize(
        "result", [{"outcome": "queued"}, {"outcome": "queued", "queue": "dead_letter"}, {"outcome": "kept"}, {}]
    )
    def test_what_is_on_no_queue_that_we_know_of_stays_on_ours(self, result: Mapping[str, Any]) -> None:
        bench = Bench([result])
        bench.queue.put(job().to_json())
        (done,) = bench.run()
        assert [each.incident_id for each in bench.queue.jobs()] == ["i1"]
        assert done.is_failure

    def test_one_that_cannot_be_deleted_is_there_twice_and_said(self) -> None:
        bench = Bench([{"outcome": "queued", "queue": "retry", "reason": "in_flight"}])
        bench.queue.put(job().to_json())
        bench.queue.refusing = {"delete"}
        (done,) = bench.run()
        assert bench.queue.jobs() == [job()]
        assert done.note == "queued, but it could not be deleted (ClientError): it is still on the queue"
        assert done.is_failure


class TestFailedAgain:
    def test_it_is_put_back_with_its_new_reason_and_counts_before_the_old_message_goes(self) -> None:
        bench = Bench([FAILED])
        (old,) = bench.queue.put(job(attempts=3, replays=1).to_json())
        (done,) = bench.run()
        (new,) = bench.queue.messages
        assert bench.queue.done == [f"send {new}", f"delete {old}"]
        kept = replace(
            job(),
            attempts=5,
            reason="rate_limited",
            http_status=429,
            response_excerpt="slow down",
            last_failed_at=timestamp(bench.clock()),
            dead_lettered_at=timestamp(bench.clock()),
            replays=2,
        )
        assert bench.queue.jobs() == [kept]
        assert done == Replayed(kept, Outcome.QUEUED, queue="dead_letter", note="xMatters answered 429")
        assert done.is_failure

    def test_one_that_never_failed_before_failed_now(self) -> None:
        bench = Bench([FAILED])
        bench.queue.put(job(first_failed_at=None, last_failed_at=None).to_json())
        bench.run()
        (kept,) = bench.queue.jobs()
        assert kept.first_failed_at == kept.last_failed_at == timestamp(bench.clock())

    def test_it_is_tried_once_in_a_replay(self) -> None:
        bench = Bench([FAILED])
        bench.queue.put(*bodies(jobs(3)))
        bench.run()
        assert [each.incident_id for each in bench.asked] == ["i0", "i1", "i2"]

    def test_when_the_queue_does_not_take_it_back_the_old_message_stays(self) -> None:
        bench = Bench([FAILED])
        bench.queue.put(job().to_json())
        bench.queue.refusing = {"send"}
        (done,) = bench.run()
        assert bench.queue.done == []
        assert bench.queue.jobs() == [job()]
        assert done.outcome == Outcome.QUEUED
        assert done.note
        assert "its old message stays" in done.note

    def test_when_the_old_message_cannot_be_deleted_it_is_there_twice_rather_than_not_at_all(self) -> None:
        bench = Bench([FAILED])
        bench.queue.put(job().to_json())
        bench.queue.refusing = {"delete"}
        (done,) = bench.run()
        assert [each.replays for each in bench.queue.jobs()] == [0, 1]
        assert done.note
        assert "its old message stays" in done.note

    def test_a_bare_result_is_a_fault_of_ours_and_a_long_excerpt_is_cut(self) -> None:
        bench = Bench([{"outcome": "unsafe", "http_status": "429", "response_excerpt": "x" * 9999}])
        bench.queue.put(job().to_json())
        bench.run()
        (kept,) = bench.queue.jobs()
        assert (kept.reason, kept.http_status, kept.attempts) == ("internal", None, 3)
        assert kept.response_excerpt == "x" * MAX_EXCERPT


class TestWorkerError:
    def test_it_leaves_the_message_as_it_was_and_visible(self) -> None:
        bench = Bench([WorkerError("the worker failed: Runtime.ExitError; its log says more")])
        bench.queue.put(job().to_json())
        (done,) = bench.run()
        assert done == Replayed(job(), Outcome.UNSAFE, note="the worker failed: Runtime.ExitError; its log says more")
        assert bench.queue.done == []
        assert [json.loads(each.body) for each in bench.queue.visible()] == [json.loads(job().to_json())]

    def test_the_others_are_tried_all_the_same(self) -> None:
        bench = Bench([WorkerError("?"), DELIVERED])
        bench.queue.put(*bodies(jobs(3)))
        assert [each.outcome for each in bench.run()] == [Outcome.UNSAFE, Outcome.DELIVERED, Outcome.DELIVERED]
        assert [each.delivery_id for each in bench.queue.jobs()] == ["d0"]


class TestStopping:
    def test_it_stops_between_jobs_and_the_rest_is_visible_at_once(self) -> None:
        bench = Bench()
        bench.queue.put(*bodies(jobs(25)))
        done = bench.run(lambda: len(bench.asked) == 2)
        assert [each.outcome for each in done] == [Outcome.DELIVERED, Outcome.DELIVERED]
        assert len(bench.queue.visible()) == len(bench.queue.messages) == 23

    def test_it_does_not_wait_for_the_next_turn_to_stop(self) -> None:
        bench = Bench(rate=0.01)
        bench.queue.put(*bodies(jobs(2)))
        assert len(bench.run(lambda: len(bench.asked) == 1)) == 1
        assert bench.slept == []

    def test_a_stop_while_it_waits_is_heeded_before_the_next_job(self) -> None:
        bench = Bench(rate=1)
        bench.queue.put(*bodies(jobs(2)))
        assert len(bench.run(lambda: bool(bench.slept))) == 1

    def test_whatever_breaks_it_the_rest_is_visible_at_once(self) -> None:
        def interrupted(_: Job) -> Mapping[str, Any]:
            raise KeyboardInterrupt

        bench = Bench([DELIVERED, interrupted])
        bench.queue.put(*bodies(jobs(25)))
        with pytest.raises(KeyboardInterrupt):
            bench.run()
        assert len(bench.queue.visible()) == len(bench.queue.messages) == 24

    def test_what_broke_it_is_told_even_if_the_rest_cannot_be_let_go(self) -> None:
        def interrupted(_: Job) -> Mapping[str, Any]:
            bench.queue.refusing = {"change"}
            raise KeyboardInterrupt

        bench = Bench([interrupted])
        bench.queue.put(*bodies(jobs(2)))
        with pytest.raises(KeyboardInterrupt):
            bench.run()


class TestHolds:
    def test_a_message_that_somebody_else_took_meanwhile_is_left_alone(self) -> None:
        bench = Bench()
        bench.queue.put(*bodies(jobs(2)))
        with bench.letters.holding():
            found = list(bench.letters.scan())
            bench.clock.now += 121
            other = bench.queue.letters()
            theirs = list(other.scan())
            assert list(bench.replay().run(found, lambda: False)) == []
            assert all(other.is_held(each) for each in theirs)
        assert bench.asked == []
        assert bench.queue.visible() == []

    def test_while_one_holds_another_sees_nothing(self) -> None:
        bench = Bench()
        bench.queue.put(*bodies(jobs(12)))
        with bench.letters.holding():
            assert len(list(bench.letters.scan())) == 12
            assert list(bench.queue.letters().scan()) == []
        assert len(list(bench.queue.letters().scan())) == 12

    def test_holds_last_through_a_replay_of_many_minutes(self) -> None:
        bench = Bench(seconds_each=20, rate=50)
        bench.queue.put(*bodies(jobs(40)))
        assert len(bench.run()) == 40
        assert bench.queue.messages == {}

    def test_holds_last_at_the_slowest_rate_after_a_long_scan(self) -> None:
        bench = Bench(rate=0.01)
        bench.queue.put(*bodies(jobs(5)))
        with bench.letters.holding():
            found = list(bench.letters.scan())
            bench.clock.now += 40
            assert len(list(bench.replay().run(found, lambda: False))) == 5
        assert sum(bench.slept) == pytest.approx(400)

    def test_single_failures_inside_a_batch_that_succeeds_end_those_holds(self) -> None:
        bench = Bench()
        ids = bench.queue.put(*bodies(jobs(3)))
        with bench.letters.holding():
            found = list(bench.letters.scan())
            bench.queue.stubborn = {ids[1]}
            bench.clock.now += 60
            done = list(bench.replay().run(found, lambda: False))
        assert [each.job.incident_id for each in done] == ["i0", "i2"]
        assert list(bench.queue.messages) == [ids[1]]

    def test_holds_that_cannot_be_renewed_are_used_up_and_no_longer(self) -> None:
        bench = Bench(seconds_each=20, rate=50)
        bench.queue.put(*bodies(jobs(10)))
        with bench.letters.holding():
            found = list(bench.letters.scan())
            bench.queue.refusing = {"change"}
            done = list(bench.replay().run(found, lambda: False))
            bench.queue.refusing = set()
        # At 0, 20, 40, 60 and 80 seconds there is time for another before the hold of 120 seconds ends.
        assert len(done) == 5
        assert len(bench.queue.messages) == 5

    def test_a_machine_that_slept_finds_its_holds_gone_and_takes_none_back(self) -> None:
        def sleeps(_: Job) -> Mapping[str, Any]:
            bench.clock.now += 3600
            raise WorkerError("the worker's answer did not arrive")

        bench = Bench([sleeps])
        bench.queue.put(*bodies(jobs(2)))
        assert [each.outcome for each in bench.run()] == [Outcome.UNSAFE]
        assert bench.queue.changes == 0
        assert len(bench.queue.visible()) == 2

    def test_a_message_seen_again_is_replayed_once_with_its_newest_receipt(self) -> None:
        bench = Bench()
        (name,) = bench.queue.put(job().to_json())
        with bench.letters.holding():
            scan = bench.letters.scan()
            first = next(scan)
            bench.queue.messages[name].visible_at = 0
            assert list(scan) == []
            assert [each.outcome for each in bench.replay().run([first], lambda: False)] == [Outcome.DELIVERED]
        assert bench.queue.messages == {}

    def test_a_hold_that_was_lost_and_found_during_the_scan_counts_once(self) -> None:
        bench = Bench()
        (name,) = bench.queue.put(job().to_json())
        with bench.letters.holding():
            scan = bench.letters.scan()
            found = [next(scan)]
            bench.clock.now += 50
            bench.queue.stubborn = {name}
            bench.letters.renew()
            bench.queue.stubborn = set()
            bench.queue.messages[name].visible_at = 0
            found += list(scan)
            assert len(found) == 2
            assert len(list(bench.replay().run(found, lambda: False))) == 1
        assert len(bench.asked) == 1

    def test_what_is_let_go_is_visible_to_others_and_not_replayed(self) -> None:
        bench = Bench()
        bench.queue.put(*bodies(jobs(12)))
        with bench.letters.holding():
            found = list(bench.letters.scan())
            bench.letters.let_go(found[:11])
            assert len(bench.queue.visible()) == 11
            assert [each.job.incident_id for each in bench.replay().run(found, lambda: False)] == ["i11"]


class TestUnreadable:
    @pytest.mark.parametrize("body", ["", "no JSON", "[]", '{"schema": 2}', '{"schema": 1}', "\ud800"])
    def test_it_is_never_handed_over_and_never_deleted(self, body: str) -> None:
        bench = Bench()
        bench.queue.put(body, job().to_json())
        assert len(bench.run()) == 1
        assert [each.body for each in bench.queue.visible()] == [body]


class TestPace:
    def test_it_waits_for_what_is_left_of_each_turn(self) -> None:
        bench = Bench(rate=2, seconds_each=0.1)
        bench.queue.put(*bodies(jobs(3)))
        bench.run()
        assert bench.slept == pytest.approx([0.4, 0.4])

    def test_it_does_not_wait_after_a_slow_job(self) -> None:
        bench = Bench(rate=2, seconds_each=3)
        bench.queue.put(*bodies(jobs(3)))
        bench.run()
        assert bench.slept == []

    def test_a_clock_that_is_set_back_does_not_hold_it_up(self) -> None:
        bench = Bench(rate=2, seconds_each=-10)
        bench.queue.put(*bodies(jobs(2)))
        bench.run()
        assert bench.slept == pytest.approx([0.5])


class TestInOrder:
    def test_oldest_first_whatever_the_queue_gave_first(self) -> None:
        one, two, three = (held(each) for each in jobs(3))
        assert [found for found, _ in in_order([three, one, two])] == [one, two, three]

    def test_an_incidents_states_are_in_their_own_order_even_if_one_overtook_the_other(self) -> None:
        opened = job(version=(100.0, 100.0), received_at=timestamp(1_790_000_005))
        resolved = job(version=(200.0, 200.0), received_at=timestamp(1_790_000_003))
        other = job(incident_id="i2", version=(50.0, 50.0), received_at=timestamp(1_790_000_004))
        ordered = [each for _, each in in_order([held(opened), held(resolved), held(other)])]
        assert ordered == [opened, other, resolved]

    def test_without_versions_arrival_decides(self) -> None:
        first, second = (
            job(version=None, status=status, received_at=timestamp(1_790_000_000 + n))
            for n, status in enumerate(("critical", "resolved"))
        )
        assert [each for _, each in in_order([held(second), held(first)])] == [first, second]

    def test_incidents_of_the_same_name_in_two_channels_are_two(self) -> None:
        late = job(channel="a", version=(1.0, 1.0), received_at=timestamp(1_790_000_009))
        early = job(channel="b", version=(2.0, 2.0), received_at=timestamp(1_790_000_001))
        assert [each for _, each in in_order([held(late), held(early)])] == [early, late]

    def test_what_is_no_job_is_left_out(self) -> None:
        assert in_order([held(None, problem="no envelope")]) == []


class TestFilter:
    @pytest.mark.parametrize(
        ("wanted", "matches"),
        [
            (Filter(), True),
            (Filter(channel="noc"), True),
            (Filter(channel="NOC"), False),
            (Filter(incident="i1"), True),
            (Filter(incident="i"), False),
            (Filter(reason="upstream"), True),
            (Filter(reason="timeout"), False),
            (Filter(since=1_800_000_000.0), True),
            (Filter(since=1_800_000_000.001), False),
            (Filter("noc", "i1", "upstream", 0.0), True),
            (Filter("noc", "i1", "timeout", 0.0), False),
        ],
    )
    def test_all_that_is_asked_for_must_hold(self, wanted: Filter, matches: bool) -> None:
        assert wanted.matches(job(received_at="2027-01-15T08:00:00.000Z")) is matches


@given(
    st.lists(
        st.sampled_from(["delivered", "unchanged", "waiting", "failed", "silent", "no send", "no delete"]), max_size=30
    )
)
def test_nothing_is_lost_whatever_fails(fates: list[str]) -> None:
    def worker(asked: Job) -> Mapping[str, Any]:
        fate = fates[int(asked.incident_id[1:])]
        bench.queue.refusing = {fate.removeprefix("no ")} if fate.startswith("no ") else set()
        if fate == "silent":
            raise WorkerError("?")
        return fine.get(fate, FAILED)

    fine: dict[str, Mapping[str, Any]] = {
        "delivered": DELIVERED,
        "unchanged": {"outcome": "unchanged"},
        "waiting": {"outcome": "queued", "queue": "retry", "reason": "paced"},
    }
    bench = Bench([worker])
    bench.queue.put(*bodies(jobs(len(fates))))
    done = bench.run()
    bench.queue.refusing = set()
    assert len(done) == len(fates)
    left = dict.fromkeys(fine, 0) | {"no delete": 2}
    expected = Counter({f"i{n}": left.get(fate, 1) for n, fate in enumerate(fates)})
    assert Counter(each.incident_id for each in bench.queue.jobs()) == +expected
    assert len(bench.queue.visible()) == len(bench.queue.messages)
