"""The built functions under AWS's own runtime client: sample events, log lines, metrics and settings."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from relay.jobs.job import Job
from relay.jobs.queue import attributes_of, read_envelope
from sandbox.bigpanda.incidents import ENVIRONMENT
from tests.artefact import templates
from tests.artefact.builds import Build
from tests.artefact.runtime_api import FunctionError, loaded
from tests.artefact.world import (
    CALLBACKS,
    EVENTS,
    FOLLOWUPS,
    QUESTIONS,
    RECIPIENT,
    RECONCILES,
    REPLAYS,
    RETRIES,
    SHARES,
    SWEEPS,
    WRITEBACKS,
    World,
    in_base64,
    logged,
    read,
)
from tests.metrics import METRICS

# The field that the answer has to name, by sample.
REFUSED = {"bigpanda_6_no_incident": "incident.id", "xmatters_callback_4_no_incident": "incident_id"}
# A resolve of an incident that was never announced.
CLAIMED = {"bigpanda_3_resolved"}
NOTHING_STAYS: dict[str, Any] = {"batchItemFailures": []}
ACKNOWLEDGED = (
    '"Jane Doe" (jdoe) acknowledged xMatters page 408005 from "Work Phone". The incident is assigned to them. '
    'Note: "Looking at the replica now" [relay {mark}]'
)


def test_every_sample_event_belongs_to_a_function() -> None:
    kinds = [SHARES, REPLAYS, RETRIES, CALLBACKS, WRITEBACKS, FOLLOWUPS, QUESTIONS, RECONCILES, SWEEPS]
    assert all(kinds)
    assert {path for kind in kinds for path in kind} == set(EVENTS)
    assert REFUSED.keys() | CLAIMED <= {path.stem for path in EVENTS}


@pytest.mark.parametrize("encoded", [False, True], ids=["text", "base64"])
@pytest.mark.parametrize("path", SHARES, ids=lambda path: path.stem)
def test_built_webhook_answers_every_sample_share(world: World, path: Path, encoded: bool) -> None:
    event = read(path)
    response = world.webhook.invoke(in_base64(event) if encoded else event)
    assert response["headers"] == {"Content-Type": "application/json"}
    assert response["isBase64Encoded"] is False
    answer = json.loads(response["body"])
    if path.stem in REFUSED:
        assert response["statusCode"] == 400
        assert REFUSED[path.stem] in answer["detail"]
        assert world.box.attempts() == []
        return
    if path.stem in CLAIMED:
        assert (response["statusCode"], answer["outcome"], answer["reason"]) == (202, "queued", "claimed")
        assert world.box.attempts() == []
        assert (world.waiting(), len(world.chores())) == ([], 1)
        return
    assert (response["statusCode"], answer["outcome"]) == (200, "delivered")
    [signal] = world.box.signals()
    assert signal.body_bytes == event["body"].encode()
    assert (answer["request_id"], answer["incident_id"]) == (signal.request_id, signal.incident_id)
    queries = (event["multiValueQueryStringParameters"] or {}).get("recipients", [])
    assert signal.recipients == (RECIPIENT, *(name for query in queries for name in query.split(",")))
    assert signal.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("path", [*REPLAYS, *RETRIES], ids=lambda path: path.stem)
def test_every_sample_job_is_delivered_on_any_day(world: World, path: Path) -> None:
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


@pytest.mark.parametrize("encoded", [False, True], ids=["text", "base64"])
@pytest.mark.parametrize("path", CALLBACKS, ids=lambda path: path.stem)
def test_built_callback_answers_and_queues_every_sample(world: World, path: Path, encoded: bool) -> None:
    event = read(path)
    answer = world.call_back(in_base64(event) if encoded else event)
    if path.stem in REFUSED:
        assert (answer["status"], answer["error"]) == (400, "bad_request")
        assert REFUSED[path.stem] in answer["detail"]
        assert world.chores() == []
        return
    assert (answer["status"], answer["outcome"], answer["queue"]) == (200, "queued", "retry")
    [message] = world.chores()
    job = read_envelope(message["Body"])
    assert (job.kind, job.delivery_id, job.body) == ("writeback", answer["delivery_id"], event["body"].encode())
    assert message["MessageAttributes"]["kind"]["StringValue"] == "writeback"
    assert world.box.bigpanda.calls.all() == [], "BigPanda is the worker's to ask"


@pytest.mark.parametrize("path", WRITEBACKS, ids=lambda path: path.stem)
def test_every_sample_write_back_event_matches_its_callback_and_is_written(world: World, path: Path) -> None:
    event = read(path)
    # The relay writes to announced incidents alone.
    assert world.share(read(SHARES[0]))["outcome"] == "delivered"
    world.waiting()
    world.chores()
    world.call_back(read(CALLBACKS[0]))
    [message] = world.chores()
    [record] = event["Records"]
    was, sample = (read_envelope(body) for body in (message["Body"], record["body"]))
    assert _at_any_time(was) == _at_any_time(sample)
    shown = {name: value["stringValue"] for name, value in record["messageAttributes"].items()}
    assert shown == attributes_of(sample)

    assert world.chore_worker.invoke(event) == NOTHING_STAYS
    comments = [call.document["comment"] for call in world.box.bigpanda.done("comment")]
    assert comments == [ACKNOWLEDGED.format(mark=sample.delivery_id[:8])]
    [assignment] = world.box.bigpanda.done("assignment")
    assert (assignment.incident_id, assignment.environment_id) == (sample.incident_id, ENVIRONMENT)
    assert (world.waiting(), world.chores(), world.dead_letters()) == ([], [], [])


def _at_any_time(job: Job) -> Job:
    return job._replace(received_at="")


@pytest.mark.parametrize("path", [*FOLLOWUPS, *QUESTIONS], ids=lambda path: path.stem)
def test_sample_chore_that_has_nothing_to_do_ends_silently(world: World, path: Path) -> None:
    assert world.chore_worker.invoke(read(path)) == NOTHING_STAYS
    assert (world.box.attempts(), world.chores(), world.dead_letters()) == ([], [], [])


@pytest.mark.parametrize("event", [{}, {"anything": ["at", "all"]}, *map(read, (*RECONCILES, *SWEEPS))], ids=str)
def test_scheduled_functions_accept_any_event(world: World, event: dict[str, Any]) -> None:
    assert world.reconcile.invoke(event).keys() == {"runs", "channels"}
    assert world.sweeper.invoke(event) == {"owed": 0, "notified": 0, "healed": 0}


def test_metrics_have_the_namespace_and_the_dimensions_that_alarms_watch(world: World, built: Build) -> None:
    alarms = templates.stack(built.template, {"Profile": "local"}).of_type("AWS::CloudWatch::Alarm").values()
    # Alarms without dimensions watch the access log's metric, which no function writes.
    ours = [each for each in alarms if not each.get("Namespace", "AWS/").startswith("AWS/") and "Dimensions" in each]
    assert ours
    world.share(read(SHARES[0]))
    written = [line for line in logged(world.webhook.log()) if "_aws" in line]
    assert {name for line in written for name in line} & METRICS
    for line in written:
        [directive] = line["_aws"]["CloudWatchMetrics"]
        for alarm in ours:
            assert directive["Namespace"] == alarm["Namespace"]
            assert directive["Dimensions"] == [[dimension["Name"] for dimension in alarm["Dimensions"]]]
            assert {name: line[name] for name in directive["Dimensions"][0]} == {
                dimension["Name"]: dimension["Value"] for dimension in alarm["Dimensions"]
            }


def test_function_without_its_settings_names_a_missing_one(world: World, tmp_path: Path) -> None:
    bare = {name: value for name, value in world.webhook_as_deployed.variables.items() if not name.startswith("RELAY_")}
    with (
        pytest.raises(FunctionError) as caught,
        loaded(replace(world.webhook_as_deployed, variables=bare), tmp_path / "log"),
    ):
        pass
    assert caught.value.type == "KeyError"
    assert "RELAY_XMATTERS_HOSTS" in str(caught.value)
