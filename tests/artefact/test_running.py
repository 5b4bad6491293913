"""The built functions under AWS's own runtime client: sample events, log lines, metrics and settings."""

import base64
import json
from collections.abc import Mapping
from typing import Any

import pytest

from relay.jobs.queue import attributes_of, read_envelope
from sandbox.bigpanda.incidents import ENVIRONMENT
from tests.artefact import templates
from tests.artefact.builds import ROOT, Build
from tests.artefact.world import RECIPIENT, World
from tests.metrics import METRICS

EVENTS = {path.stem: dict(json.loads(path.read_text())) for path in sorted((ROOT / "events").glob("*.json"))}
# The field that the answer has to name, by sample.
REFUSED = {"bigpanda_6_no_incident": "incident.id", "xmatters_callback_4_no_incident": "incident_id"}
# A resolve of an incident that was never announced.
CLAIMED = {"bigpanda_3_resolved"}
ACKNOWLEDGED = (
    '"Jane Doe" (jdoe) acknowledged xMatters page 408005 from "Work Phone". The incident is assigned to them. '
    'Note: "Looking at the replica now" [relay {mark}]'
)


def samples(*beginnings: str) -> list[str]:
    return [name for name in EVENTS if name.startswith(beginnings)]


SHARES, CALLBACKS, SIGNALS = samples("bigpanda_"), samples("xmatters_callback_"), samples("job_worker_")
WRITEBACKS, CHORES = samples("chore_worker_writeback"), samples("chore_worker_followup", "chore_worker_question")
SCHEDULED = samples("reconcile", "sweeper")
REQUESTS = [
    *(("BigPandaWebhook", name) for name in SHARES),
    *(("XMattersCallback", name) for name in CALLBACKS),
]


def shown(record: Mapping[str, Any]) -> dict[str, str]:
    """Return the attributes of a message as SQS hands it to a function."""
    return {name: value["stringValue"] for name, value in record["messageAttributes"].items()}


def test_every_sample_event_belongs_to_a_function() -> None:
    kinds = [SHARES, CALLBACKS, SIGNALS, WRITEBACKS, CHORES, SCHEDULED]
    assert all(kinds)
    assert {name for kind in kinds for name in kind} == set(EVENTS)
    assert REFUSED.keys() | CLAIMED <= EVENTS.keys()


@pytest.mark.parametrize(("function", "name"), REQUESTS)
def test_built_endpoint_answers_every_sample_request(world: World, function: str, name: str) -> None:
    event = EVENTS[name]
    content = event["body"].encode()
    # API Gateway sends every body in base64, since all media types are binary.
    answer = world.post(function, event | {"body": base64.b64encode(content).decode(), "isBase64Encoded": True})
    if name in REFUSED:
        assert (answer["status"], REFUSED[name] in answer["detail"], world.queued()) == (400, True, [0, 0, 0])
    elif name in CLAIMED:
        assert (answer["status"], answer["outcome"], answer["reason"]) == (202, "queued", "claimed")
        assert (world.box.attempts(), world.queued()) == ([], [0, 1, 0])
    elif name in CALLBACKS:
        assert (answer["status"], answer["outcome"], answer["queue"]) == (200, "queued", "retry")
        [message] = world.taken_off("ChoreQueue")
        job = read_envelope(message["Body"])
        assert (job.kind, job.delivery_id, job.body) == ("writeback", answer["delivery_id"], content)
    else:
        assert (answer["status"], answer["outcome"]) == (200, "delivered")
        [signal] = world.box.signals()
        assert (signal.body_bytes, signal.headers["Content-Type"]) == (content, "application/json")
        assert (answer["request_id"], answer["incident_id"]) == (signal.request_id, signal.incident_id)
        queries = (event["multiValueQueryStringParameters"] or {}).get("recipients", [])
        assert signal.recipients == (RECIPIENT, *(each for query in queries for each in query.split(",")))


@pytest.mark.parametrize("name", SIGNALS)
def test_every_sample_job_is_delivered_on_any_day(world: World, name: str) -> None:
    assert world.invoke("JobWorker", EVENTS[name]) == {"batchItemFailures": []}
    records = EVENTS[name]["Records"]
    jobs = [read_envelope(record["body"]) for record in records]
    signals = world.box.signals()
    assert [(signal.incident_id, signal.body_bytes, signal.recipients) for signal in signals] == [
        (job.incident_id, job.body, job.stamps.recipients) for job in jobs
    ]
    assert list(map(shown, records)) == list(map(attributes_of, jobs))


@pytest.mark.parametrize("name", WRITEBACKS)
def test_every_sample_write_back_event_matches_its_callback_and_is_written(world: World, name: str) -> None:
    # The relay writes to announced incidents alone.
    assert world.post("BigPandaWebhook", EVENTS[SHARES[0]])["outcome"] == "delivered"
    world.queued()
    world.post("XMattersCallback", EVENTS[CALLBACKS[0]])
    [message] = world.taken_off("ChoreQueue")
    [record] = EVENTS[name]["Records"]
    was, sample = (read_envelope(body)._replace(received_at="") for body in (message["Body"], record["body"]))
    assert was == sample
    assert shown(record) == attributes_of(sample)

    assert world.invoke("ChoreWorker", EVENTS[name]) == {"batchItemFailures": []}
    comments = [call.document["comment"] for call in world.box.bigpanda.done("comment")]
    assert comments == [ACKNOWLEDGED.format(mark=sample.delivery_id[:8])]
    [assignment] = world.box.bigpanda.done("assignment")
    assert (assignment.incident_id, assignment.environment_id) == (sample.incident_id, ENVIRONMENT)
    assert world.queued() == [0, 0, 0]


@pytest.mark.parametrize("name", CHORES)
def test_sample_chore_that_has_nothing_to_do_ends_silently(world: World, name: str) -> None:
    assert world.invoke("ChoreWorker", EVENTS[name]) == {"batchItemFailures": []}
    assert (world.box.attempts(), world.queued()) == ([], [0, 0, 0])


@pytest.mark.parametrize("event", [{}, {"anything": ["at", "all"]}, *map(EVENTS.get, SCHEDULED)], ids=str)
def test_scheduled_functions_accept_any_event(world: World, event: dict[str, Any]) -> None:
    assert world.invoke("Reconcile", event).keys() == {"runs", "channels"}
    assert world.invoke("Sweeper", event) == {"owed": 0, "notified": 0, "healed": 0}


def test_metrics_have_the_namespace_and_the_dimensions_that_alarms_watch(world: World, built: Build) -> None:
    alarms = templates.stack(built.template, {"Profile": "local"}).of_type("AWS::CloudWatch::Alarm").values()
    # Alarms without dimensions watch the access log's metric, which no function writes.
    ours = [each for each in alarms if not each.get("Namespace", "AWS/").startswith("AWS/") and "Dimensions" in each]
    assert ours
    world.post("BigPandaWebhook", EVENTS[SHARES[0]])
    lines = map(json.loads, world.functions["BigPandaWebhook"].log().splitlines())
    written = [line for line in lines if "_aws" in line]
    assert {name for line in written for name in line} & METRICS
    for line in written:
        [directive] = line["_aws"]["CloudWatchMetrics"]
        for alarm in ours:
            dimensions = {dimension["Name"]: dimension["Value"] for dimension in alarm["Dimensions"]}
            assert (directive["Namespace"], directive["Dimensions"]) == (alarm["Namespace"], [[*dimensions]])
            assert {name: line[name] for name in dimensions} == dimensions
