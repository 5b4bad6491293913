"""The built worker under AWS's own runtime client: jobs that wake, replayed dead letters, the fallback topic."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from relay.jobs.envelope import attributes_of, read_envelope
from relay.jobs.job import timestamp
from tests.artefact.builds import Build
from tests.artefact.runtime_api import FunctionError, loaded
from tests.artefact.world import (
    REPLAYS,
    RETRIES,
    SHARES,
    SWEEPS,
    Aws,
    World,
    changed,
    in_base64,
    logged,
    read,
    records,
    since,
)

NOTHING_STAYS: dict[str, Any] = {"batchItemFailures": []}


def fresh(envelope: str, *, age: float = 60.0, **members: Any) -> str:
    """Return the envelope of a job whose share arrived `age` seconds ago."""
    return changed(envelope, received_at=timestamp(time.time() - age), **members)


def sample() -> str:
    """Return the envelope of the sample retry event."""
    body = read(RETRIES[0])["Records"][0]["body"]
    assert isinstance(body, str)
    return body


@pytest.mark.parametrize("path", REPLAYS, ids=lambda path: path.stem)
def test_every_sample_replayed_dead_letter_is_delivered_at_any_age(world: World, path: Path) -> None:
    event = read(path)
    assert world.worker.invoke(event) == NOTHING_STAYS
    jobs = [json.loads(record["body"]) for record in event["Records"]]
    assert [signal.incident_id for signal in world.box.signals()] == [job["incident_id"] for job in jobs]
    assert [signal.recipients for signal in world.box.signals()] == [tuple(job["stamps"]["recipients"]) for job in jobs]


@pytest.mark.parametrize("path", RETRIES, ids=lambda path: path.stem)
def test_every_sample_retry_event_is_delivered_on_any_day(world: World, path: Path) -> None:
    event = read(path)
    assert world.worker.invoke(event) == NOTHING_STAYS
    jobs = [read_envelope(record["body"]) for record in event["Records"]]
    signals = world.box.signals()
    assert [signal.incident_id for signal in signals] == [job.incident_id for job in jobs]
    assert [signal.body_bytes for signal in signals] == [job.body for job in jobs]
    assert [signal.recipients for signal in signals] == [job.stamps.recipients for job in jobs]
    for record, job in zip(event["Records"], jobs, strict=True):
        shown = {name: value["stringValue"] for name, value in record["messageAttributes"].items()}
        assert shown == attributes_of(job)
    assert (world.waiting(), world.dead_letters()) == ([], [])


def test_expired_job_is_dead_lettered_until_an_operator_moves_it_back(world: World) -> None:
    assert world.worker.invoke(records(fresh(sample(), age=7 * 3600))) == NOTHING_STAYS
    assert world.box.attempts() == []
    [message] = world.dead_letters()
    assert message["MessageAttributes"]["reason"]["StringValue"] == "expired"
    # As AWS's own redrive: the message unchanged, on the other queue.
    assert world.worker.invoke(records(message["Body"])) == NOTHING_STAYS
    assert len(world.box.signals()) == 1
    assert world.worker.invoke(records(message["Body"])) == NOTHING_STAYS
    assert len(world.box.signals()) == 1, "the ledger knows that it was announced"


def test_job_is_resent_as_a_copy_in_an_outage_and_delivered_after_it(world: World) -> None:
    event = read(SHARES[0])
    world.box.listening(False)
    answer = world.share(in_base64(event))
    [kept] = world.waiting()

    assert world.worker.invoke(records(kept["Body"])) == NOTHING_STAYS
    [copy] = world.waiting()
    job = json.loads(copy["Body"])
    assert copy["MessageAttributes"]["reason"]["StringValue"] == "unreachable"
    assert job["attempts"] == 4

    world.box.listening(True)
    assert world.worker.invoke(records(copy["Body"])) == NOTHING_STAYS
    [signal] = world.box.signals()
    assert signal.body_bytes == event["body"].encode()
    assert answer["delivery_id"] in signal.headers.values()
    assert (world.waiting(), world.dead_letters()) == ([], [])


def test_poison_message_stays_on_the_queue_and_blocks_no_other_job(world: World) -> None:
    before = world.worker.log()
    answer = world.worker.invoke(records("no job", fresh(sample()), "{}"))
    assert answer == {"batchItemFailures": [{"itemIdentifier": "0"}, {"itemIdentifier": "2"}]}
    assert len(world.box.signals()) == 1
    lines = logged(since(world.worker, before))
    assert [line["level"] for line in lines if line.get("message") == "unreadable job"] == ["ERROR", "ERROR"]
    assert not any("dead_lettered" in line for line in lines)


def test_poison_message_is_counted_as_dead_lettered_at_its_last_receive(world: World) -> None:
    before = world.worker.log()
    last = [each | {"attributes": {"ApproximateReceiveCount": "20"}} for each in records("no job")["Records"]]
    world.worker.invoke({"Records": last})
    [metrics] = [line for line in logged(since(world.worker, before)) if "_aws" in line]
    assert sum(metrics["dead_lettered"]) == 1


def test_replayed_job_that_is_refused_again_is_dead_lettered_and_later_delivered_once(world: World) -> None:
    world.box.script([{"kind": "status", "status": 400, "times": None}])
    world.share(read(SHARES[0]))
    [first] = world.dead_letters()
    assert world.worker.invoke(records(first["Body"])) == NOTHING_STAYS
    [again] = world.dead_letters()
    assert json.loads(again["Body"])["dead_lettered_at"] > json.loads(first["Body"])["dead_lettered_at"]
    world.box.clear()
    assert world.worker.invoke(records(first["Body"], again["Body"], again["Body"])) == NOTHING_STAYS
    assert len(world.box.signals()) == 1
    assert world.dead_letters() == []


def test_overdue_critical_notifies_the_fallback_topic_once(world: World) -> None:
    before = world.sweeper.log()
    world.box.listening(False)
    overdue = changed(read(REPLAYS[0])["Records"][0]["body"], dead_lettered_at=None)
    assert world.worker.invoke(records(fresh(overdue, age=600))) == NOTHING_STAYS
    [copy] = world.waiting()
    job = json.loads(copy["Body"])
    assert world.sweeper.invoke(read(SWEEPS[0]))["notified"] == 1
    [told] = world.notifications()
    assert told["Subject"] == f"CRITICAL, xMatters did not notify: incident {job['incident_id']} of channel demo"
    assert "docs/operate.md, FallbackAlarm" in told["Message"]
    assert world.worker.invoke(records(copy["Body"])) == NOTHING_STAYS
    assert world.sweeper.invoke({})["notified"] == 0
    assert world.notifications() == []
    assert [line for line in logged(since(world.sweeper, before)) if line.get("message") == "fallback notified"]


def test_each_job_has_one_log_line(world: World) -> None:
    before = world.worker.log()
    world.worker.invoke(records(fresh(sample())))
    world.worker.invoke(read(REPLAYS[0]))
    lines = [line for line in logged(since(world.worker, before)) if "outcome" in line]
    assert [(line["message"], line["outcome"]) for line in lines] == [("job", "delivered")] * 2
    assert {"earlier_attempts", "replays", "received_at", "delivery_id", "correlation_id"} <= lines[0].keys()


def test_worker_reports_a_malformed_event_and_goes_on(built: Build, aws: Aws, tmp_path: Path) -> None:
    with loaded(built.deployed("JobWorkerFunction", aws.endpoint_url, aws.known), tmp_path / "log") as worker:
        with pytest.raises(FunctionError) as caught:
            worker.invoke({})
        assert caught.value.type == "KeyError"
        assert 'event["Records"]' in caught.value.stack[-1]
        assert worker.invoke({"Records": []}) == NOTHING_STAYS
