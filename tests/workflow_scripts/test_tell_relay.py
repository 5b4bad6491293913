"""The workflow step that calls the relay: the JSON that it posts, and its failures."""

import json
from typing import Any

from relay.incidents.callback import parse_callback
from tests.workflow_scripts.node import TELL_RELAY, Case, Run, run

TOKEN = "callback-token-canary-71d0"
PATH = "/v1/xmatters/payments"
UUID = "7d1f0a52-5a3e-4c9f-9f60-0d5d2b1c9e10"
OK = {"statusCode": 200, "body": '{"outcome": "queued"}'}
COMMON = {
    "Path": PATH,
    "Incident ID": "66b0f1c2a94d3e0012ab34cd",
    "Environment ID": "5f3c1a2b9d8e7f6a5b4c3d2e",
    "Event ID": UUID,
    "Event Number": "408005",
}
SAID = {
    "relay": 1,
    "incident_id": "66b0f1c2a94d3e0012ab34cd",
    "environment_id": "5f3c1a2b9d8e7f6a5b4c3d2e",
    "event": {"id": UUID, "number": "408005"},
}
JDOE = {"Target": "jdoe", "First Name": "Jane", "Last Name": "Doe", "Email": "jdoe@example.com"}
JANE = {"target": "jdoe", "first_name": "Jane", "last_name": "Doe", "email": "jdoe@example.com"}


def case(*answers: dict[str, Any], constants: Any = None, **inputs: Any) -> Case:
    named = {name.replace("_", " "): value for name, value in inputs.items()}
    known = {"RelayToken": TOKEN} if constants is None else constants
    return Case(TELL_RELAY, {"input": COMMON | named, "constants": known}, answers or (OK,))


def told(found: Run) -> dict[str, Any]:
    assert found.error is None
    (posted,) = found.posted
    assert isinstance(posted["body"], str)
    body: dict[str, Any] = json.loads(posted["body"])
    return body


# Inputs of each kind, the members that the script posts, and those of the callback that the relay reads in it.
KINDS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "response": (
        JDOE | {"Device": "Work Phone", "Response": "Acknowledge", "Note": "looking", "At": "14:02"},
        {"person": JANE, "device": "Work Phone", "response": "Acknowledge", "note": "looking", "at": "14:02"},
        {"target": "jdoe", "name": "Jane Doe", "text": "Acknowledge", "note": "looking"},
    ),
    "annotation": (
        {"Kind": "Annotation", "First Name": "Jane", "Last Name": "Doe", "Note": "disk replaced", "Response": "null"},
        {"person": {"first_name": "Jane", "last_name": "Doe"}, "note": "disk replaced"},
        {"name": "Jane Doe", "note": "disk replaced"},
    ),
    "status": ({"Status": "TERMINATED"}, {"status": "TERMINATED"}, {"text": "TERMINATED"}),
    "delivery": (
        {"Target": "jdoe", "Device": "Work Phone", "Delivery Status": "FAILED"},
        {"person": {"target": "jdoe"}, "device": "Work Phone", "delivery_status": "FAILED"},
        {"target": "jdoe", "device": "Work Phone", "text": "FAILED"},
    ),
    "escalation": (
        {"Group": "Network Operations", "Reason": "no response"},
        {"group": "Network Operations", "reason": "no response"},
        {"group": "Network Operations", "reason": "no response"},
    ),
    "failure": (
        {"Target": "jdoe", "Reason": "no active device"},
        {"person": {"target": "jdoe"}, "reason": "no active device"},
        {"target": "jdoe", "reason": "no active device"},
    ),
}


def test_tell_relay_script_posts_exactly_the_inputs_of_each_kind_and_the_relay_reads_them() -> None:
    runs = run(*(case(**{"Kind": kind} | inputs) for kind, (inputs, *_) in KINDS.items()))
    for (kind, (_, posted, read)), found in zip(KINDS.items(), runs, strict=True):
        assert told(found) == SAID | {"kind": kind} | posted
        assert found.posted[0]["options"] == {
            "endpoint": "Relay",
            "method": "POST",
            "path": PATH,
            "headers": {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"},
        }
        assert found.output == {"Status Code": "200"}
        callback = parse_callback(found.posted[0]["body"].encode())
        ids = {name: SAID[name] for name in ("incident_id", "environment_id")} | {"page_id": UUID}
        expected = ids | {"kind": kind, "page_number": "408005"} | read
        assert {name: getattr(callback, name) for name in expected} == expected


def test_tell_relay_script_leaves_out_empty_inputs() -> None:
    names = ("Note", "Device", "Target", "Email", "Environment ID", "Event Number", "At")
    nothings = (None, "", "  ", "null", "undefined", "${triggerOutputRESPONSE.response.comment}")
    plain = {"relay": 1, "kind": "response", "incident_id": SAID["incident_id"], "event": {"id": UUID}}
    runs = run(*(case(Kind="response", Response="Acknowledge", **dict.fromkeys(names, each)) for each in nothings))
    for nothing, found in zip(nothings, runs, strict=True):
        assert told(found) == plain | {"response": "Acknowledge"}, nothing


def test_tell_relay_script_keeps_a_note_that_contains_null() -> None:
    notes = ['null pointer in "pay" ${x} \n😀', "it is null", "Null", "${x} and ${y}"]
    assert [told(found)["note"] for found in run(*(case(Kind="annotation", Note=note) for note in notes))] == notes


def test_tell_relay_script_without_a_token_uses_the_endpoints_authentication() -> None:
    no_constants = Case(TELL_RELAY, {"input": COMMON | {"Kind": "status"}}, (OK,))
    for found in run(
        case(constants={}, Kind="status"), case(constants={"RelayToken": ""}, Kind="status"), no_constants
    ):
        assert found.error is None
        assert found.posted[0]["options"]["headers"] == {"Content-Type": "application/json"}


def test_tell_relay_script_fails_at_once_on_4xx_and_quotes_the_relays_answer() -> None:
    words = {400: "not taken", 401: "constant RelayToken", 302: "not taken"}
    words |= dict.fromkeys((403, 404), "is the input Path right")
    runs = run(*(case({"statusCode": status, "body": '{"detail": "kind"}'}, Kind="status") for status in words))
    for (status, said), found in zip(words.items(), runs, strict=True):
        assert found.error is not None
        assert said in found.error
        assert f'(status {status}) {{"detail": "kind"}}' in found.error
        assert len(found.posted) == 1
        assert found.output == {"Status Code": str(status)}


def test_tell_relay_script_retries_a_transient_failure_once() -> None:
    answers: list[dict[str, Any]] = [
        *({"statusCode": status} for status in (500, 503, 429)),
        {"throws": "timed out"},
        {},
    ]
    better = run(*(case(answer, OK, Kind="status") for answer in answers))
    assert {each.error for each in better} == {None}
    worse = run(*(case(answer, answer, OK, Kind="status") for answer in answers))
    assert {len(each.posted) for each in (*better, *worse)} == {2}
    assert all(each.posted[0] == each.posted[1] for each in better)
    for answer, found in zip(answers, worse, strict=True):
        assert f"status {answer.get('statusCode', 0)}" in (found.error or ""), answer


def test_tell_relay_script_never_reveals_its_token() -> None:
    echo = {"statusCode": 400, "body": f"you sent Bearer {TOKEN}"}
    long = {"statusCode": 400, "body": "x" * (500 - 45) + TOKEN}
    thrown = {"throws": f"cannot send Authorization: Bearer {TOKEN}"}
    cases = [case(each, each, Kind="status") for each in (OK, echo, long, thrown, {"statusCode": 503, "body": TOKEN})]
    cases += [case(Kind=TOKEN), case(Kind="status", Path=TOKEN)]
    for found in run(*cases):
        assert TOKEN[:8] not in str((found.error, found.logged, found.output))
        assert found.error is None or len(found.error) < 550


NO_KIND = "Kind must be one of response, annotation, status, delivery, escalation, failure"
NO_PATH = "Error: Relay: the input Path must be a path, as /v1/xmatters/payments"


REFUSED: list[tuple[dict[str, Any], str]] = [
    *(({"Kind": kind}, NO_KIND) for kind in ("", "responses", None, "toString")),
    *(
        ({"Path": path}, NO_PATH)
        for path in ("", "v1/xmatters/payments", "https://example.com/", "/v1/xmatters/a b", "/v1/x?token=1")
    ),
    ({"Incident_ID": "", "Event_ID": "null", "Event_Number": ""}, "map Incident ID"),
]


def test_tell_relay_script_refuses_invalid_inputs_before_sending() -> None:
    runs = run(*(case(**{"Kind": "status"} | inputs) for inputs, _ in REFUSED))
    for (inputs, says), found in zip(REFUSED, runs, strict=True):
        assert (found.posted, says in (found.error or "")) == ([], True), inputs


def test_tell_relay_script_logs_no_personal_data() -> None:
    (found,) = run(case({"statusCode": 503}, OK, Kind="response", **KINDS["response"][0]))
    assert found.logged == ["Relay: status 503, trying once more", "Relay: told, status 200"]
