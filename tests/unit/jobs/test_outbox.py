import random
import time
from copy import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from relay.deadline import Deadline, limited
from relay.delivery.task import Task, new_job
from relay.failures.reasons import Reason
from relay.incidents.share import Share, parse_share
from relay.jobs.envelope import envelope_of, fits, read_envelope
from relay.jobs.job import Flag, Job
from relay.jobs.outbox import (
    MAX_LOGGED_CHARACTERS,
    MAX_STORED_BYTES,
    SURELY_FITS_BYTES,
    SURELY_STORED_BYTES,
    Outbox,
    fitting,
    last_copy,
    storable,
)
from relay.jobs.queue import MAX_DELAY_SECONDS, MAX_MESSAGE_BYTES
from tests import samples
from tests.fake_dynamodb import FakeDynamoDb
from tests.fakes import Clock, FakeSqs


def delivery_id(channel: str, recipients: tuple[str, ...], share: Share) -> str:
    """Return the delivery id of a share that just came."""
    known = replace(samples.parsed(samples.secret()), name=channel)
    return new_job(known, share, b"{}", recipients, "c1", 1_800_000_000.0).delivery_id


class Desk:
    """An outbox on fake queues."""

    def __init__(self) -> None:
        self.clock, self.retries, self.chores, self.dead_letters = Clock(), FakeSqs(), FakeSqs(), FakeSqs()
        self.outbox = Outbox(
            retries=self.retries.queue(),
            chores=self.chores.queue(),
            dead_letters=self.dead_letters.queue(),
            clock=self.clock,
            run=limited(lambda _: Deadline(1, self.clock), 1, "enqueue"),
        )

    def enqueue(self, job: Job, until: float) -> bool:
        """Put a job on its queue, where it is invisible for `until` seconds."""
        return self.outbox.enqueue(job, until=self.clock() + until)

    def dead_letter(self, job: Job) -> Job | None:
        return self.outbox.dead_letter(job)


class TestKeep:
    def test_kept_signal_waits_unchanged_on_the_retry_queue(self) -> None:
        desk = Desk()
        assert desk.enqueue(samples.job(), 30)
        assert desk.retries.jobs() == [samples.job()]
        assert desk.dead_letters.jobs() == []

    @pytest.mark.parametrize("kind", ["followup", "writeback", "release"])
    def test_kept_chore_waits_on_the_chore_queue(self, kind: str) -> None:
        desk = Desk()
        assert desk.enqueue(samples.job(kind=kind), 30)
        assert (desk.chores.jobs(), desk.retries.jobs()) == ([samples.job(kind=kind)], [])
        assert desk.chores.delays() == [30]

    @pytest.mark.parametrize(
        ("until", "delay"),
        [(30, 30), (0, 0), (-500, 0), (0.001, 1), (29.2, 30), (900, 900), (901, MAX_DELAY_SECONDS), (1e6, 900)],
    )
    def test_delay_is_rounded_up_to_seconds_and_cut_to_the_limit_of_sqs(self, until: float, delay: int) -> None:
        desk = Desk()
        desk.enqueue(samples.job(), until)
        assert desk.retries.delays() == [delay]

    @pytest.mark.parametrize(
        "failure",
        [
            ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "SendMessage"),
            EndpointConnectionError(endpoint_url="https://sqs"),
            TimeoutError(),
        ],
        ids=lambda failure: type(failure).__name__,
    )
    def test_keep_and_dead_letter_report_a_failing_queue_without_raising(self, failure: Exception) -> None:
        desk = Desk()
        desk.retries.failure = desk.dead_letters.failure = failure
        assert not desk.enqueue(samples.job(), 30)
        assert not desk.dead_letter(samples.job())

    def test_job_that_sqs_would_refuse_does_not_count_as_kept(self) -> None:
        desk = Desk()
        assert not desk.enqueue(samples.job(response_excerpt="x" * MAX_MESSAGE_BYTES), 30)

    def test_queue_gets_its_minimum_time_after_the_deadline(self) -> None:
        class Slow(FakeSqs):
            def send_message(self, **message: Any) -> dict[str, str]:
                time.sleep(0.05)
                return super().send_message(**message)

        desk = Desk()
        desk.outbox = replace(desk.outbox, retries=Slow().queue())
        assert desk.enqueue(samples.job(), 30)

    def test_programming_error_is_raised_as_it_is(self) -> None:
        desk = Desk()
        desk.retries.failure = ZeroDivisionError()
        with pytest.raises(ZeroDivisionError):
            desk.enqueue(samples.job(), 30)


class TestDeadLetter:
    def test_dead_lettered_job_is_on_the_dead_letter_queue_with_the_time(self) -> None:
        desk = Desk()
        marked = desk.dead_letter(samples.job())
        assert desk.dead_letters.jobs() == [marked]
        assert desk.dead_letters.jobs() == [samples.job(dead_lettered_at="2027-01-15T08:00:00.000Z")]
        assert desk.dead_letters.delays() == [0]
        assert desk.retries.jobs() == []

    def test_mark_is_later_than_the_revival_although_the_clock_is_slow(self) -> None:
        desk = Desk()
        desk.dead_letter(samples.job(revived_at="2027-01-15T08:00:01.500Z"))
        assert desk.dead_letters.jobs()[0].dead_lettered_at == "2027-01-15T08:00:01.501Z"

    def test_dead_lettered_job_has_the_time_of_the_last_dead_lettering(self) -> None:
        desk = Desk()
        desk.clock.now += 1.5
        desk.dead_letter(samples.job(dead_lettered_at="2026-01-01T00:00:00.000Z"))
        assert desk.dead_letters.jobs()[0].dead_lettered_at == "2027-01-15T08:00:01.500Z"


# Hexadecimal digits, which compress to half their size at best.
NOISE = random.Random(7).randbytes(900_000).hex()


def large(**changes: Any) -> Job:
    """Return a job that is too large for a queue."""
    members = {"alerts": [{"id": "a1", "status": "critical", "description": "x"}], "noise": NOISE}
    return samples.job(body=samples.body(**members), **changes)


class TestFitting:
    def test_small_job_is_sent_unchanged(self) -> None:
        job = samples.job()
        assert fitting(job) is job

    def test_large_body_that_compresses_well_is_sent_unchanged(self) -> None:
        job = samples.job(body=samples.body(filler="x" * 3_000_000))
        assert len(job.body) > SURELY_FITS_BYTES
        assert fitting(job) is job

    def test_job_too_large_for_a_queue_is_sent_without_alert_details_and_says_so(self) -> None:
        job = large()
        assert not fits(envelope_of(job))
        reduced = fitting(job)
        assert fits(envelope_of(reduced))
        assert reduced == job.with_body(reduced.body, is_reduced=True)
        read = parse_share(reduced.body)
        assert (read.incident_id, read.status, read.version) == ("i1", "critical", job.version)
        assert [alert.id for alert in read.alerts] == ["a1"]
        assert "relay_note" in read.document["incident"]

    def test_reduced_job_is_kept_and_dead_lettered(self) -> None:
        desk = Desk()
        assert desk.enqueue(large(), 30)
        assert desk.dead_letter(large())
        assert [Flag.BODY_REDUCED in job.flags for job in (*desk.retries.jobs(), *desk.dead_letters.jobs())] == [
            True,
            True,
        ]

    def test_job_below_the_safe_size_always_fits_a_queue(self) -> None:
        worst = random.Random(7).randbytes(SURELY_FITS_BYTES)
        assert fits(
            envelope_of(samples.job(body=worst, recipients=("x" * 200,) * 200, response_excerpt="\u2713" * 2048))
        )

    def test_job_whose_body_is_no_share_is_left_unchanged(self) -> None:
        job = samples.job(body=random.Random(7).randbytes(900_000))
        assert fitting(job) is job


class TestStorable:
    """Stored jobs: a job is one item of DynamoDB, whose limit is below that of a queue."""

    def test_small_job_is_stored_unchanged(self) -> None:
        job = samples.job()
        assert storable(job) is job

    def test_large_body_that_compresses_well_is_stored_unchanged(self) -> None:
        job = samples.job(body=samples.body(filler="x" * 3_000_000))
        assert len(job.body) > SURELY_STORED_BYTES
        assert storable(job) is job

    def test_job_too_large_for_an_item_is_stored_without_alert_details(self) -> None:
        alerts = [{"id": "a1", "status": "critical", "description": NOISE[:700_000]}]
        job = samples.job(body=samples.body(alerts=alerts))
        assert fitting(job) is job
        assert len(envelope_of(job)) > MAX_STORED_BYTES
        stored = storable(job)
        assert stored == job.with_body(stored.body, is_reduced=True)
        assert [alert.id for alert in parse_share(stored.body).alerts] == ["a1"]

    @pytest.mark.parametrize("size", [SURELY_STORED_BYTES, SURELY_STORED_BYTES + 1, 290_000, 900_000])
    def test_stored_job_fits_an_item(self, size: int) -> None:
        body = samples.body(noise=random.Random(7).randbytes(size).decode("latin-1"))
        job = samples.job(body=body[: size - 2] + b'"}' if len(body) < size else body)
        FakeDynamoDb().table(Clock()).store("job/" + "x" * 1100, envelope_of(storable(job)), lasts=60)

    def test_job_below_the_safe_size_always_fits_an_item(self) -> None:
        worst = random.Random(7).randbytes(SURELY_STORED_BYTES)
        job = samples.job(body=worst, recipients=("x" * 200,) * 200, response_excerpt="\u2713" * 1024)
        FakeDynamoDb().table(Clock()).store("job/" + "x" * 1100, envelope_of(storable(job)), lasts=60)


class TestLastCopy:
    def test_last_copy_is_the_envelope_of_the_job(self) -> None:
        assert read_envelope(last_copy(samples.job())) == samples.job()

    def test_last_copy_too_long_for_a_log_line_is_reduced_and_stays_valid(self) -> None:
        copy = last_copy(samples.job(body=samples.body(noise=NOISE[:400_000])))
        assert len(copy) <= MAX_LOGGED_CHARACTERS
        assert Flag.BODY_REDUCED in read_envelope(copy).flags

    def test_last_copy_that_fits_a_log_line_is_whole(self) -> None:
        job = samples.job(body=samples.body(noise=NOISE[:200_000]))
        assert MAX_LOGGED_CHARACTERS / 4 < len(last_copy(job)) <= MAX_LOGGED_CHARACTERS
        assert read_envelope(last_copy(job)) == job


class TestNewJob:
    def test_new_job_has_its_share_and_no_failure(self) -> None:
        share = samples.share(status="warning")
        channel = replace(samples.parsed(), recipients=("a",))
        assert new_job(channel, share, b"{}", ("b", "a"), "c1", 1_800_000_000.25) == samples.job(
            kind="signal",
            channel="noc",
            incident_id="i1",
            version=(1_800_000_000, 1_800_000_000),
            transition=None,
            status="warning",
            recipients=(),
            body=b"{}",
            received_at="2027-01-15T08:00:00.250Z",
            first_failed_at=None,
            last_failed_at=None,
            attempts=0,
            reason=Reason.IN_FLIGHT,
            http_status=None,
            response_excerpt="",
            correlation_id="c1",
            digest=share.digest,
            url_recipients=("b", "a"),
        )

    def test_new_job_beyond_the_work_for_routes_goes_to_the_channel_and_every_possible_route(self) -> None:
        values = [f"{n:02000}" for n in range(100)]
        share = samples.share(alerts=[{"id": n, "tags": {"team": values}} for n in range(20)])
        routes = [{"when": {"tag.team": ["*x" + "y" * 190] * 40}, "recipients": [f"r{n}"]} for n in range(30)]
        channel = replace(samples.parsed(samples.secret(policy={"routes": routes})), recipients=("own",))
        job = new_job(channel, share, b"{}", ("url",), "c1", 1_800_000_000.0)
        task = Task.of_share(channel, share, job, "owner", Deadline(8, Clock()))
        assert (task.routes_undecided, task.recipients[0], task.recipients[-2:]) == (True, "own", ("r29", "url"))
        assert task.job.stamps.recipients == task.recipients

    @pytest.mark.parametrize(
        ("ahead", "counts"), [(-60, True), (0, True), (5, True), (5.1, False), (120, False), (7200, False)]
    )
    def test_stamp_counts_if_it_is_at_most_five_seconds_ahead_of_arrival(self, ahead: float, counts: bool) -> None:
        came = 1_800_000_000
        share = samples.share(changedOn=came + ahead, updatedOn=came + ahead)
        job = new_job(samples.parsed(), share, b"{}", (), "c1", came)
        assert job.version == (share.version if counts else None)

    def test_new_job_is_read_back_from_its_envelope(self) -> None:
        job = new_job(samples.parsed(), samples.share(id="\ud800\x00", changedOn=None), b"\x00\xff", ("ü",), "c1", 0.0)
        assert read_envelope(envelope_of(job)) == job

    def test_delivery_id_differs_by_channel_recipients_incident_version_and_state(self) -> None:
        names = [
            delivery_id("noc", ("a",), samples.share()),
            delivery_id("ops", ("a",), samples.share()),
            delivery_id("noc", ("b",), samples.share()),
            delivery_id("noc", ("a", "b"), samples.share()),
            delivery_id("noc", ("a",), samples.share(id="i2")),
            delivery_id("noc", ("a",), samples.share(changedOn=5)),
            delivery_id("noc", ("a",), samples.share(changedOn=None)),
            delivery_id("noc", ("a",), samples.share(flapping=True)),
        ]
        assert len(set(names)) == len(names)
        assert all(len(name) == 32 and set(name) <= set("0123456789abcdef") for name in names)

    def test_delivery_id_of_a_repeated_share_is_the_same(self) -> None:
        first, again = samples.share(alerts=["x", "y"]), samples.share(alerts=["y", "x"], comments=["new"])
        assert delivery_id("noc", ("a",), first) == delivery_id("noc", ("a",), again)
