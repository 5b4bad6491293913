"""The built webhook under AWS's own runtime client: sample shares, queued jobs and log lines."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from relay.jobs.envelope import read_envelope
from relay.telemetry.metrics import METRICS
from tests.artefact import templates
from tests.artefact.builds import Build
from tests.artefact.runtime_api import FunctionError, loaded
from tests.artefact.world import (
    API_KEY,
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
    TOKEN,
    WRITEBACKS,
    World,
    in_base64,
    logged,
    read,
    since,
)

# The field that the answer has to name, by sample.
REFUSED = {"bigpanda_6_no_incident": "incident.id"}
# A resolve of an incident that was never announced.
CLAIMED = {"bigpanda_3_resolved"}


def test_every_sample_event_belongs_to_a_function() -> None:
    assert SHARES
    assert REPLAYS
    assert RETRIES
    assert CALLBACKS
    assert WRITEBACKS
    assert FOLLOWUPS
    assert QUESTIONS
    assert RECONCILES
    assert SWEEPS
    jobs = {*REPLAYS, *RETRIES, *WRITEBACKS, *FOLLOWUPS, *QUESTIONS}
    assert {*SHARES, *CALLBACKS, *jobs, *RECONCILES, *SWEEPS} == set(EVENTS)
    assert REFUSED.keys() | CLAIMED <= {path.stem for path in SHARES}


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


def test_samples_of_one_incident_are_announced_once_and_in_order(world: World) -> None:
    opened, grown, resolved = map(read, SHARES[:3])
    assert world.share(opened)["transition"] == "opened"
    assert world.share(opened)["outcome"] == "duplicate"
    assert world.share(grown)["outcome"] == "unchanged"
    resolve = world.share(resolved)
    assert (resolve["transition"], resolve["reason"]) == ("resolved", "claimed")
    assert world.share(grown)["outcome"] == "duplicate"
    assert [signal.body_bytes for signal in world.box.signals()] == [opened["body"].encode()]


def test_share_is_on_the_retry_queue_before_it_is_sent(world: World) -> None:
    event = read(SHARES[0])
    world.box.listening(False)
    answer = world.share(in_base64(event))
    assert answer["status"] == 202
    assert (answer["outcome"], answer["reason"], answer["queue"]) == ("queued", "unreachable", "retry")
    [message] = world.waiting()
    attributes = {name: value["StringValue"] for name, value in message["MessageAttributes"].items()}
    assert attributes == {
        "channel": "demo",
        "incident_id": answer["incident_id"],
        "reason": "in_flight",
        "kind": "signal",
        "schema": "1",
    }
    assert read_envelope(message["Body"]).delivery_id == answer["delivery_id"]


def test_share_that_xmatters_refuses_is_dead_lettered(world: World) -> None:
    world.box.script([{"kind": "status", "status": 400, "times": None}])
    answer = world.share(read(SHARES[0]))
    assert answer["status"] == 202
    assert (answer["outcome"], answer["reason"], answer["queue"]) == ("queued", "refused", "dead_letter")
    [message] = world.dead_letters()
    assert message["MessageAttributes"]["reason"]["StringValue"] == "refused"
    assert json.loads(message["Body"])["stamps"]["http_status"] == 400


def test_unusual_json_reaches_xmatters_byte_for_byte(world: World) -> None:
    body = (
        '\r\n { "incident" : {"id":"é-\\u00e9","id":"x 1", "note": "\\ud83d\\ude00 \U0001f600\\/" , "n": 1.50e+01}}\t'
    )
    assert world.share(in_base64(read(SHARES[0]) | {"body": body}))["status"] == 200
    [signal] = world.box.signals()
    assert signal.body_bytes == body.encode()


def test_built_webhook_refuses_strangers_with_the_same_401(world: World) -> None:
    event = read(SHARES[0])
    wrong = event | {"headers": event["headers"] | {"Authorization": "Bearer wrong"}}
    unknown = event | {"pathParameters": {"channel": "unknown"}}
    nobody = event | {"headers": {}}
    responses = [world.webhook.invoke(each) for each in (wrong, unknown, nobody)]
    assert [response["statusCode"] for response in responses] == [401, 401, 401]
    assert len({response["body"] for response in responses}) == 1
    assert world.box.attempts() == []


def test_every_log_line_is_json_and_each_share_has_one(world: World) -> None:
    before = world.webhook.log()
    event = read(SHARES[0])
    answer = world.share(event)
    lines = logged(since(world.webhook, before))
    [share] = [line for line in lines if line.get("message") == "share"]
    wanted = {"channel", "incident_id", "outcome", "transition", "why", "attempts", "milliseconds", "correlation_id"}
    assert wanted <= share.keys()
    assert share["delivery_id"] == answer["delivery_id"]
    assert share["correlation_id"] == event["requestContext"]["requestId"]


def test_no_secret_is_in_the_functions_logs_or_on_the_queues(world: World) -> None:
    world.box.script([{"kind": "status", "status": 401, "times": 9}, {"kind": "status", "status": 400, "times": None}])
    answers = [world.share(read(path)) for path in (SHARES[0], *SHARES[3:5])]
    assert {answer["outcome"] for answer in answers} == {"queued"}
    waiting = world.waiting()
    for message in waiting:
        world.worker.invoke({"Records": [{"messageId": "m1", "body": message["Body"]}]})
    kept = [message["Body"] for message in (*waiting, *world.waiting(), *world.dead_letters())]
    assert len(kept) >= 3
    for text in (world.webhook.log(), world.worker.log(), *kept):
        assert TOKEN not in text
        assert API_KEY not in text


def test_metrics_have_the_namespace_and_the_dimensions_that_alarms_watch(world: World, built: Build) -> None:
    alarms = templates.stack(built.template, {"Profile": "local"}).of_type("AWS::CloudWatch::Alarm").values()
    # Alarms without dimensions watch the access log's metric, which no function writes.
    ours = [each for each in alarms if not each.get("Namespace", "AWS/").startswith("AWS/") and "Dimensions" in each]
    assert ours
    written = [line for line in logged(world.webhook.log()) if "_aws" in line]
    assert {name for line in written for name in line} & set(METRICS)
    for line in written:
        [directive] = line["_aws"]["CloudWatchMetrics"]
        for alarm in ours:
            assert directive["Namespace"] == alarm["Namespace"]
            assert directive["Dimensions"] == [[dimension["Name"] for dimension in alarm["Dimensions"]]]
            assert {name: line[name] for name in directive["Dimensions"][0]} == {
                dimension["Name"]: dimension["Value"] for dimension in alarm["Dimensions"]
            }


def test_function_without_its_settings_names_the_missing_ones(world: World, tmp_path: Path) -> None:
    bare = {name: value for name, value in world.webhook_as_deployed.variables.items() if not name.startswith("RELAY_")}
    with (
        pytest.raises(FunctionError) as caught,
        loaded(replace(world.webhook_as_deployed, variables=bare), tmp_path / "log"),
    ):
        pass
    assert caught.value.type == "ConfigError"
    for name in ("SECRET_PREFIX", "RETRY_QUEUE_URL", "CHORE_QUEUE_URL", "DEAD_LETTER_QUEUE_URL", "LEDGER_TABLE"):
        assert f"RELAY_{name}: must be set" in str(caught.value)
    assert "RELAY_XMATTERS_HOSTS: must name" in str(caught.value)


def test_share_without_a_ledger_table_is_sent_and_counted_as_unguarded(world: World, tmp_path: Path) -> None:
    lost = {**world.webhook_as_deployed.variables, "RELAY_LEDGER_TABLE": "gone"}
    with loaded(replace(world.webhook_as_deployed, variables=lost), tmp_path / "log") as webhook:
        answer = json.loads(webhook.invoke(read(SHARES[0]))["body"])
        counted = [sum(line["unguarded"]) for line in logged(webhook.log()) if "_aws" in line and "unguarded" in line]
    assert answer["outcome"] == "delivered"
    assert len(world.box.signals()) == 1
    assert counted == [1]
