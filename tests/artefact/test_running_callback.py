"""The built callback function under AWS's own runtime client, and the built worker's writes to BigPanda."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from relay.jobs.envelope import attributes_of, read_envelope
from relay.jobs.job import Job
from sandbox import local
from sandbox.bigpanda.incidents import ENVIRONMENT
from tests.artefact.runtime_api import loaded
from tests.artefact.test_running_worker import NOTHING_STAYS
from tests.artefact.world import (
    API_KEY,
    BIGPANDA_KEY,
    CALLBACKS,
    FOLLOWUPS,
    QUESTIONS,
    SHARES,
    TOKEN,
    WRITEBACKS,
    World,
    changed,
    in_base64,
    logged,
    read,
    records,
    since,
)

# The field that the answer has to name, by sample.
REFUSED = {"xmatters_callback_4_no_incident": "incident_id"}
ACKNOWLEDGED = (
    '"Jane Doe" (jdoe) acknowledged xMatters page 408005 from "Work Phone". The incident is assigned to them. '
    'Note: "Looking at the replica now" [relay {mark}]'
)


def awake(world: World) -> dict[str, Any]:
    """Take all chores off their queue; return them as the chore worker's event, without `not_before`, so due now."""
    return records(*(changed(message["Body"], not_before=None) for message in world.chores()))


def comments(world: World) -> list[str]:
    return [call.document["comment"] for call in world.box.bigpanda.comments()]


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
    announce(world)
    world.call_back(read(CALLBACKS[0]))
    [message] = world.chores()
    [record] = event["Records"]
    was, sample = (read_envelope(body) for body in (message["Body"], record["body"]))
    assert replace_time(was) == replace_time(sample)
    shown = {name: value["stringValue"] for name, value in record["messageAttributes"].items()}
    assert shown == attributes_of(sample)

    assert world.chore_worker.invoke(event) == NOTHING_STAYS
    assert comments(world) == [ACKNOWLEDGED.format(mark=sample.delivery_id[:8])]
    [assignment] = world.box.bigpanda.assignments()
    assert (assignment.incident_id, assignment.environment_id) == (sample.incident_id, ENVIRONMENT)
    assert (world.waiting(), world.chores(), world.dead_letters()) == ([], [], [])


def announce(world: World) -> None:
    """Send the share of the incident that the sample callbacks answer, so that the incident is announced."""
    assert world.share(read(SHARES[0]))["outcome"] in {"delivered", "duplicate"}
    world.waiting()
    world.chores()


def replace_time(job: Job) -> Job:
    return job._replace(received_at="")


def test_built_functions_write_a_repeated_callback_once(world: World) -> None:
    announce(world)
    first, second = world.call_back(read(CALLBACKS[0])), world.call_back(in_base64(read(CALLBACKS[0])))
    assert first["delivery_id"] == second["delivery_id"]
    event = awake(world)
    assert len(event["Records"]) == 2
    assert world.chore_worker.invoke(event) == NOTHING_STAYS
    assert len(comments(world)) == 1
    assert (world.waiting(), world.chores(), world.dead_letters()) == ([], [], [])


def test_comment_whose_answer_was_lost_is_not_written_again(world: World) -> None:
    announce(world)
    world.box.script([{"kind": "accept_then_reset", "on": "comment"}])
    world.call_back(read(CALLBACKS[0]))
    assert world.chore_worker.invoke(awake(world)) == NOTHING_STAYS
    event = awake(world)
    [record] = event["Records"]
    assert json.loads(record["body"])["stamps"]["reason"] == "unreachable"
    assert world.chore_worker.invoke(event) == NOTHING_STAYS
    assert len(comments(world)) == 1
    assert "activities" in [call.route for call in world.box.bigpanda.calls.all()]
    assert (world.waiting(), world.chores(), world.dead_letters()) == ([], [], [])


def test_callback_that_bigpanda_refused_is_written_when_its_dead_letter_comes_back(world: World) -> None:
    announce(world)
    world.box.script([{"kind": "status", "status": 404, "on": "comment"}])
    world.call_back(read(CALLBACKS[2]))
    assert world.chore_worker.invoke(awake(world)) == NOTHING_STAYS
    [message] = world.dead_letters()
    assert message["MessageAttributes"]["reason"]["StringValue"] == "refused"
    record = {"messageId": "m1", "body": message["Body"]}
    # A replay moves jobs of all kinds to the retry queue.
    assert world.worker.invoke({"Records": [record]}) == NOTHING_STAYS
    assert len(comments(world)) == 1


def test_each_worker_works_jobs_of_the_other_workers_queue(world: World) -> None:
    world.box.listening(False)
    world.share(read(SHARES[0]))
    world.box.listening(True)
    world.call_back(read(CALLBACKS[0]))
    [signal], [chore] = world.waiting(), world.chores()
    now = {"not_before": None}
    assert world.chore_worker.invoke(records(changed(signal["Body"], **now))) == NOTHING_STAYS
    assert world.worker.invoke(records(changed(chore["Body"], **now))) == NOTHING_STAYS
    assert (len(world.box.signals()), len(comments(world))) == (1, 1)


def test_built_callback_refuses_strangers_with_the_same_401(world: World) -> None:
    event = read(CALLBACKS[0])
    wrong = event | {"headers": event["headers"] | {"Authorization": "Bearer wrong"}}
    bigpandas = event | {"headers": event["headers"] | {"Authorization": f"Bearer {TOKEN}"}}
    unknown = event | {"pathParameters": {"channel": "unknown"}}
    responses = [world.callback.invoke(each) for each in (wrong, bigpandas, unknown)]
    assert [response["statusCode"] for response in responses] == [401, 401, 401]
    assert len({response["body"] for response in responses}) == 1
    assert world.chores() == []


def test_callback_is_queued_without_the_ledgers_table(world: World, tmp_path: Path) -> None:
    lost = {**world.webhook_as_deployed.variables, "RELAY_LEDGER_TABLE": "gone"}
    code = world.webhook_as_deployed.code.with_name("XMattersCallbackFunction")
    with loaded(replace(world.webhook_as_deployed, code=code, variables=lost), tmp_path / "log") as callback:
        assert callback.invoke(read(CALLBACKS[0]))["statusCode"] == 200
    assert len(world.chores()) == 1


def test_callback_is_logged_in_one_line_without_secrets(world: World) -> None:
    before = world.callback.log()
    world.box.script([{"kind": "status", "status": 401, "on": "comment"}])
    answers = [world.call_back(read(path)) for path in CALLBACKS]
    lines = [line for line in logged(since(world.callback, before)) if line.get("message") == "callback"]
    assert [line["delivery_id"] for line in lines] == [answer["delivery_id"] for answer in answers[:3]]
    assert {"channel", "incident_id", "outcome", "transition", "correlation_id"} <= lines[0].keys()
    kept = awake(world)
    world.chore_worker.invoke(kept)
    texts = [world.callback.log(), world.chore_worker.log(), json.dumps(kept), json.dumps(world.chores())]
    for secret in (local.CALLBACK_TOKEN, local.CALLBACK_PASSWORD, BIGPANDA_KEY, TOKEN, API_KEY):
        assert [secret in text for text in texts] == [False] * len(texts)


@pytest.mark.parametrize("path", [*FOLLOWUPS, *QUESTIONS], ids=lambda path: path.stem)
def test_sample_chore_that_has_nothing_to_do_ends_silently(world: World, path: Path) -> None:
    assert world.chore_worker.invoke(read(path)) == NOTHING_STAYS
    assert (world.box.attempts(), world.chores(), world.dead_letters()) == ([], [], [])
