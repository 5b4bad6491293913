"""Template of BigPanda's webhook v2."""

import json
from pathlib import Path

from relay.incidents.share import parse_share
from relayctl.channel.bigpanda import BODY

ROOT = Path(__file__).resolve().parents[3]


def test_template_is_that_of_the_documents_without_an_event() -> None:
    template = json.loads((ROOT / "docs/bigpanda-webhook-v2.json").read_text())
    assert template == {"event": template["event"], **BODY}


def test_rendered_template_is_a_share() -> None:
    values = {"{{incident.id}}": "i1", "{{incident.status}}": "Ok", "{{incident.updated_at}}": "1800000000"}
    share = parse_share(json.dumps({name: values.get(value, "") for name, value in BODY.items()}).encode())
    assert (share.incident_id, share.status, share.updated_on) == ("i1", "ok", 1_800_000_000.0)
