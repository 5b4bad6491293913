"""The trigger's script: the workflow's outputs for the relay's requests, malformed ones included."""

import itertools
import json
from typing import Any

from relay.incidents.share import State, parse_share
from tests.workflow_scripts.node import ROOT, TRIGGER, Case, run

ID = "66b0f1c2a94d3e0012ab34cd"
ENVIRONMENT = "5f3c1a2b9d8e7f6a5b4c3d2e"
CONSOLE = "https://a.bigpanda.io/#/app/overview/all/active/incidents/"
TEXTS = 2000
NAMES = (
    "subject description incident_id environment_id status severity priority recipients source_systems host check link "
    "alerts_total alerts_active is_over channel page_key delivery_id attempt may_repeat"
)
NOTHING = dict.fromkeys(NAMES.split(), "")
BARE = NOTHING | {"subject": "BigPanda incident", "priority": "MEDIUM", "is_over": "false", "may_repeat": "false"}


def request(body: Any, *, recipients: Any = None, headers: dict[str, Any] | None = None) -> Case:
    text = body if isinstance(body, str) else json.dumps(body)
    parameters = {} if recipients is None else {"recipients": recipients}
    return Case(TRIGGER, {"request": {"body": text, "headers": headers or {}, "parameters": parameters}})


def outputs(*cases: Case) -> list[dict[str, Any]]:
    runs = run(*cases)
    for each in runs:
        assert each.error is None
        assert {name: type(value) for name, value in each.output.items()} == dict.fromkeys(NOTHING, str)
    return [each.output for each in runs]


def output(body: Any, **about: Any) -> dict[str, Any]:
    return outputs(request(body, **about))[0]


def alert(number: int, status: str = "critical", **members: Any) -> dict[str, Any]:
    return {
        "id": f"a{number}",
        "status": status,
        "primary_property": "host",
        "secondary_property": "check",
        "source_system": "nagios.east",
        "description": f"what {number}",
        "tags": [{"name": "host", "value": f"h{number}"}, {"name": "check", "value": f"c{number}"}],
    } | members


def sample(name: str) -> Case:
    event = json.loads((ROOT / "events" / name).read_text())
    return request(event["body"], recipients="Network Operations,jdoe", headers={"X-Relay-Delivery-Id": "d1"})


SENT = {"recipients": "Network Operations,jdoe", "delivery_id": "d1"}
FROM_A_DATABASE = (
    BARE
    | SENT
    | {
        "incident_id": ID,
        "environment_id": ENVIRONMENT,
        "severity": "critical",
        "source_systems": "nagios.nagios_east",
        "host": "pay-db-1",
        "check": "replication",
        "link": CONSOLE + ID,
        "page_key": f"bigpanda {ID}",
    }
)
SAMPLES = {
    "bigpanda_1_critical.json": FROM_A_DATABASE
    | {
        "subject": "CRITICAL pay-db-1 replication: Replica lag is 340 s (limit 30 s)",
        "description": "CRITICAL pay-db-1 replication: Replica lag is 340 s (limit 30 s)\n"
        "WARNING pay-api-3 latency: p99 latency is 2.4 s (limit 1 s)",
        "status": "critical",
        "priority": "HIGH",
        "alerts_total": "2",
        "alerts_active": "2",
    },
    "bigpanda_3_resolved.json": FROM_A_DATABASE
    | {
        "subject": "RESOLVED pay-db-1 replication: Replica lag is 2 s",
        "description": "OK pay-db-1 replication: Replica lag is 2 s\n"
        "OK pay-api-3 latency: p99 latency is 0.3 s\nOK pay-api-4 latency: p99 latency is 0.3 s",
        "status": "ok",
        "priority": "LOW",
        "alerts_total": "3",
        "alerts_active": "0",
        "is_over": "true",
    },
}


def test_trigger_script_gives_the_expected_outputs_for_each_sample() -> None:
    for (name, expected), found in zip(SAMPLES.items(), outputs(*map(sample, SAMPLES)), strict=True):
        assert found == expected, name


def test_trigger_script_reads_camel_and_snake_case_wrapped_or_bare_alike() -> None:
    camels = alert(1, primaryProperty="site", sourceSystem="x", primary_property=None, source_system=None)
    camel = {"id": "i1", "status": "critical", "active": True, "environmentId": "e1", "alerts": [camels]}
    snakes = alert(1, source_system="x")
    snake = {"id": "i1", "status": "Critical", "active": "true", "environment_id": "e1", "alerts": [snakes]}
    first, *others = outputs(*map(request, (camel, snake, {"incident": camel}, {"Incident": snake, "metadata": {}})))
    assert (first["host"], first["source_systems"], first["environment_id"]) == ("h1", "x", "e1")
    assert others == [first] * 3


def test_trigger_script_reads_incident_id_and_state_as_the_relay_does() -> None:
    said = (None, True, False, "true", "False", 1, 0, "odd")
    statuses = (None, "critical", "OK", " ok ", "Warning", "unknown", "strange")
    ids = (
        {"id": "i1"},
        {"id": " ", "incident_id": "i2"},
        {"incidentId": 17},
        {"incident_id": "i 3"},
        {"Id": None, "id": "i4", "ID": "i5"},
    )
    bodies = []
    for number, (active, resolved, status) in enumerate(itertools.product(said, said, statuses)):
        state = {"active": active, "resolved": resolved, "status": status} | ids[number % len(ids)]
        bodies.append({"incident": state} if number % 3 else state)
    for body, found in zip(bodies, outputs(*map(request, bodies)), strict=True):
        share = parse_share(json.dumps(body).encode())
        expected = (share.incident_id, share.status or "", "false" if State.of(share, 0.0).is_open else "true")
        assert (found["incident_id"], found["status"], found["is_over"]) == expected, body


def test_trigger_script_takes_the_subject_from_the_worst_alert() -> None:
    alerts = [alert(1, "warning"), alert(2, "ok"), alert(3, "critical"), alert(4, "critical"), alert(5, "odd")]
    found = output({"id": "i1", "status": "critical", "alerts": alerts})
    assert found["subject"] == "CRITICAL h3 c3: what 3"
    said = [line.split()[0] for line in found["description"].split("\n")]
    assert said == ["CRITICAL", "CRITICAL", "WARNING", "ODD", "OK"]
    assert found["alerts_active"] == "4"


def test_description_of_300_alerts_fits_and_counts_those_left_out() -> None:
    alerts = [alert(number, description=f"disk {number} " + "x" * 2048) for number in range(300)]
    found = output({"id": "i1", "status": "critical", "alerts": alerts})
    lines = found["description"].split("\n")
    assert len(found["description"]) <= TEXTS
    assert all(len(line) <= 400 for line in lines)
    assert len(lines) > 3
    assert lines[-1] == f"and {300 - (len(lines) - 1)} more"
    assert (found["alerts_total"], found["alerts_active"], found["source_systems"]) == ("300", "300", "nagios.east")


def test_long_outputs_are_cut_to_a_propertys_length_between_whole_characters_and_names() -> None:
    long = "😀" * 5000
    body = {
        "incident": {"id": long, "status": long, "severity": long, "subject": long, "description": long, "link": long},
        "metadata": {"environment_id": long},
    }
    many = [alert(number, source_system=f"system {number} " + "s" * 100) for number in range(300)]
    headers = {"X-Relay-Delivery-Id": long, "X-Relay-Attempt": long}
    groups = [f"group {number:04} " + "n" * 190 for number in range(200)]
    whole, listed, odd = outputs(
        request(body, headers=headers),
        request({"id": "i1", "alerts": many}, recipients=",".join(groups)),
        request({"id": "i1", "subject": "x" + long}),
    )
    recipients = listed.pop("recipients")
    for found in (whole, listed, odd):
        assert {name: len(text) for name, text in found.items() if len(text) > TEXTS} == {}
    assert all(each["subject"].endswith("😀…") for each in (whole, odd))
    assert len(recipients) <= 20_000
    names = recipients.split(",")
    assert (names, len(names) > 90) == (groups[: len(names)], True)


def test_trigger_script_joins_recipients_with_commas_without_duplicates() -> None:
    given = ("Network Operations", " a,b , a,,c", None, ["a,b", "jdoe|Work Phone"])
    found = outputs(*(request({"id": "i1"}, recipients=each) for each in given))
    joined = ["Network Operations", "a,b,c", "", "a,b,jdoe|Work Phone"]
    assert [each["recipients"] for each in found] == joined


def test_trigger_script_reads_headers_in_any_case() -> None:
    headers = {"X-Relay-Delivery-Id": "d1", "X-Relay-Attempt": "2", "X-Relay-May-Repeat": "true"}
    spellings = ({spelled(name): value for name, value in headers.items()} for spelled in (str, str.lower, str.upper))
    for found in outputs(*(request({"id": "i1"}, headers=each) for each in spellings)):
        assert (found["delivery_id"], found["attempt"], found["may_repeat"]) == ("d1", "2", "true")


OWN_TEXTS = {
    "severity": "critical",
    "subject": "Payments are slow",
    "description": "one\ntwo",
    "source_systems": "nagios.east, zabbix",
    "host": "h1",
    "check": "c1",
    "link": "https://a.bigpanda.io/#/x",
    "alerts_total": "3",
    "alerts_active": "2",
}
DECISION = {
    "channel": "noc",
    "incident_id": "i1",
    "environment_id": "e1",
    "page_key": "k1",
    "is_over": False,
    "status": "warning",
    "priority": "LOW",
    "body": "xmatters",
    "recipients": ["jdoe", "Storage"],
}


def test_trigger_script_shows_the_texts_of_the_relays_own_body() -> None:
    own = {"recipients": [{"id": "asmith"}], "priority": "HIGH", "properties": OWN_TEXTS | {"incident_id": "i2"}}
    headers = {"X-Relay-Decision": json.dumps(DECISION)}
    decided = {name: value for name, value in DECISION.items() if name != "body"}
    expected = NOTHING | OWN_TEXTS | decided | {"recipients": "jdoe,Storage", "is_over": "false", "may_repeat": "false"}
    assert output(own, recipients="jdoe,Storage", headers=headers) == expected
    spelt_otherwise = {"Properties": {"details": "why"}}
    assert output(spelt_otherwise, headers=headers)["description"] == "why"


ODD_BODIES = (
    "",
    "not JSON",
    "null",
    "[[1]]",
    "{}",
    '{"incident": null}',
    '{"incident": "i1", "metadata": 3, "alerts": {}}',
    "[" * 100_000,
    '{"incident": {"id": {}, "status": [], "alerts": [null, 1, "a", [], {}], "links": [null, 1, {"href": 5}]}}',
    '{"alerts": [{"tags": [null, 3, {"name": 4}, {"value": 1}], "primary_property": "__proto__", "status": 1e999}]}',
    '{"__proto__": {"id": "x"}, "constructor": 1, "toString": 2, "active": "constructor"}',
    '{"properties": {"alerts": 3, "subject": {"a": 1}}, "recipients": {"id": "x"}, "priority": {}}',
    '{"alerts": [{"tags": {"host": {"a": 1}}}]}',
)


def test_trigger_script_never_throws_on_malformed_bodies() -> None:
    for body, found in zip(ODD_BODIES, outputs(*map(request, ODD_BODIES)), strict=True):
        assert found["subject"] == "BigPanda incident", body
        assert (found["incident_id"], found["link"], found["status"]) == ("", "", ""), body
        assert found["is_over"] == "false", body


def test_trigger_script_reads_the_rest_of_a_request_with_an_unreadable_part() -> None:
    broken = "Object.defineProperty(request, '{}', {{get: function () {{ throw new Error('secret'); }}}});"
    given = request({"id": "i1", "status": "critical"}, recipients="jdoe", headers={"X-Relay-Delivery-Id": "d1"})
    no_headers, no_parameters, no_body = (
        Case(TRIGGER, given.globals, before=broken.format(name)) for name in ("headers", "parameters", "body")
    )
    runs = run(no_headers, no_parameters, no_body, Case(TRIGGER))
    assert [each.error for each in runs] == [None] * 4
    assert [each.output["incident_id"] for each in runs] == ["i1", "i1", "", ""]
    assert [each.output["recipients"] for each in runs] == ["jdoe", "", "jdoe", ""]
    assert [each.output["delivery_id"] for each in runs] == ["", "d1", "d1", ""]
    assert runs[3].output == BARE | {"may_repeat": ""}
    assert "secret" not in str([each.logged for each in runs])


def test_trigger_script_neutralises_control_characters_and_placeholders() -> None:
    hostile = 'a\x00b\x1b[31m "quoted" </b> ${constants.RelayToken} \r\n second \u0085\tline'
    found = output({"id": "i1", "status": "critical", "alerts": [alert(1, description=hostile)]})
    assert found["subject"] == 'CRITICAL h1 c1: a b [31m "quoted" </b> $ {constants.RelayToken} second line'
    assert "\n" not in found["description"]
    assert output({"id": "i1", "description": hostile})["description"].count("\n") == 1


def test_trigger_script_takes_the_first_link_that_is_bigpandas() -> None:
    made, taken, half = outputs(
        request({"id": "i1/?", "links": [{"href": "javascript:alert(1)"}]}),
        request({"id": "i1", "links": [{"href": "javascript:alert(1)"}, {"href": "https://a.bigpanda.io/#/1"}]}),
        request('{"id": "i\\ud800", "status": "critical"}'),
    )
    assert (made["link"], taken["link"]) == (CONSOLE + "i1%2F%3F", "https://a.bigpanda.io/#/1")
    assert (half["link"], half["priority"]) == ("", "HIGH")


def test_trigger_script_logs_nothing_of_the_body() -> None:
    (found,) = run(request("not JSON: canary"))
    assert found.logged == ["relay: the body is not JSON"]


def test_trigger_script_handles_a_million_blanks_in_time() -> None:
    blanks = f"a{' ' * 1_000_000}b"
    found = output({"id": "i1", "subject": "x", "description": blanks, "host": blanks}, recipients=blanks)
    assert (found["subject"], found["host"], found["recipients"]) == ("a b: x", "a b", "")
