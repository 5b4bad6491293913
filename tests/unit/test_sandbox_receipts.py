"""The receipt on the sandbox's web page, read from entries that the real relay wrote."""

import json
from typing import Any

import pytest

from relay.ledger.entry_key import key
from sandbox.page import relay_view
from tests.fakes import Relay
from tests.unit.paging_tenant import Tenant, new_relay

BOTH = {"notified_within_seconds": 300, "answered_within_seconds": 900}


def described(relay: Relay) -> dict[str, Any]:
    """Return the receipt of the incident `i1` as the web page shows it."""
    return relay_view.receipt(json.loads(relay.dynamodb.items[key("noc", (), "i1")]["text"]["S"]))


def states(relay: Relay) -> list[str]:
    return [each["state"] for each in described(relay)["steps"]]


def test_answered_step_names_the_person() -> None:
    tenant = Tenant()
    tenant.audits["page-1"] = ["DELIVERED", "Acknowledge"]
    relay = new_relay(tenant, policy=BOTH)
    relay.play("critical")
    relay.sweep_for(420, step=30)
    assert states(relay) == ["done"] * 4
    assert described(relay)["steps"][3]["by"] == "jdoe"
    assert described(relay)["steps"][3]["at"].endswith("Z")


@pytest.mark.parametrize(
    ("makes_pages", "audits", "wanted", "unheard"),
    [
        (False, [], ["done", "missed", "open", "open"], "no page was made"),
        (True, ["FAILED"], ["done", "done", "missed", "open"], "nobody was notified"),
        (True, ["DELIVERED", "Escalate"], ["done", "done", "done", "missed"], "nobody answered"),
    ],
)
def test_missed_step_is_shown_with_the_time_at_which_the_fallback_topic_was_notified(
    makes_pages: bool, audits: list[str], wanted: list[str], unheard: str
) -> None:
    tenant = Tenant()
    tenant.makes_pages, tenant.audits["page-1"] = makes_pages, audits
    relay = new_relay(tenant, policy=BOTH)
    relay.play("critical")
    relay.sweep_for(1200, step=30)
    found = described(relay)
    assert (states(relay), found["unheard"]) == (wanted, unheard)
    assert found["told_at"] is not None
