"""Settings of BigPanda's webhook v2."""

import json
from pathlib import Path

from relay.incidents.share import parse_share
from relayctl.channel.bigpanda import BODY, DOCUMENTED, GUESS, V1_FACTS, V2_FACTS, curl, integration

ROOT = Path(__file__).resolve().parents[3]


def test_template_is_that_of_the_documents_without_an_event() -> None:
    template = json.loads((ROOT / "docs/bigpanda-webhook-v2.json").read_text())
    assert template == {"event": template["event"], **BODY}


def test_rendered_template_is_a_share() -> None:
    values = {"{{incident.id}}": "i1", "{{incident.status}}": "Ok", "{{incident.updated_at}}": "1800000000"}
    share = parse_share(json.dumps({name: values.get(value, "") for name, value in BODY.items()}).encode())
    assert (share.incident_id, share.status, share.updated_on) == ("i1", "ok", 1_800_000_000.0)


def test_body_of_the_call_has_only_documented_members() -> None:
    body = integration("payments", "https://relay.example/x", "Bearer t", expects_callbacks=True)
    assert body.keys() == {"name", "parent_system_id", "workflow_config"}
    assert body["workflow_config"]["config"] == {"base_url": "https://relay.example/x", "expects_callbacks": True}
    (event,) = body["workflow_config"]["events"]
    assert event.keys() <= {"enabled", "body", "headers", "path", "authorization", "method"}


def test_api_key_is_no_argument_of_the_command() -> None:
    command = "\n".join(curl("https://eu-api.bigpanda.io"))
    assert "https://eu-api.bigpanda.io/resources/v2.1/integrations" in command
    assert "-H @" in command
    assert "Bearer" not in command


def test_each_fact_has_a_grade() -> None:
    assert {each.grade for each in (*V1_FACTS, *V2_FACTS)} == {DOCUMENTED, GUESS}
