"""The sandbox: the sentences and receipts on its web page, and its scripts."""

import json
from itertools import product
from typing import Any

import pytest

from relay.failures import Reason
from relay.jobs.job import JobKind
from relay.jobs.result import Outcome
from relay.ledger.entry import entry_key
from sandbox.bigpanda.life import ACTIONS
from sandbox.demo.script import SCRIPTS
from sandbox.page import relay_view, sentences
from tests.fakes import Relay
from tests.unit.xmatters_tenant import Tenant, new_relay

OPENED = "nothing of this open incident was announced"


def line(**fields: Any) -> dict[str, Any]:
    return {"message": "share", "outcome": "delivered", "transition": "opened", "why": OPENED} | fields


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"message": "job"}, f"Sent to xMatters after a retry: {OPENED}."),
        (
            {"why": None, "transition": None, "unguarded": "DynamoDB refused: AccessDeniedException"},
            "Sent to xMatters: the ledger did not answer, and a page too many is better than none.",
        ),
        (
            {"outcome": "unchanged", "transition": "grew", "why": "alerts joined since it was announced"},
            "No signal: alerts joined since it was announced, and this channel does not signal a new alert.",
        ),
        (
            {"outcome": "shadowed"},
            "No signal: its channel is in shadow mode, which sends nothing; live, it would be signalled, since "
            f"{OPENED}.",
        ),
    ],
)
def test_log_line_is_told_in_one_sentence(fields: dict[str, Any], wanted: str) -> None:
    assert sentences.why(line(**fields)) == wanted


def test_each_outcome_is_a_sentence_without_gaps() -> None:
    for outcome, message, kind in product(Outcome, ("share", "job", "callback"), JobKind):
        said = sentences.why({"message": message, "outcome": str(outcome), "kind": str(kind)})
        assert said.endswith("."), said
        assert [gap for gap in (": .", ": ;", ": ,", "  ", "None") if gap in said] == [], said


def test_each_reason_of_the_relay_has_words() -> None:
    assert set(sentences.REASONS) == set(map(str, Reason))


BOTH = {"notified_within_seconds": 300, "answered_within_seconds": 900}


def described(relay: Relay) -> dict[str, Any]:
    return relay_view.receipt(json.loads(relay.dynamodb.items[entry_key("noc", (), "i1")]["text"]["S"]))


def states(relay: Relay) -> list[str]:
    return [each["state"] for each in described(relay)["steps"]]


@pytest.mark.parametrize(
    ("makes_pages", "audits", "wanted", "unheard"),
    [
        (True, ["DELIVERED", "Acknowledge"], ["done"] * 4, ""),
        (False, [], ["done", "missed", "open", "open"], "no page was made"),
        (True, ["FAILED"], ["done", "done", "missed", "open"], "nobody was notified"),
        (True, ["DELIVERED", "Escalate"], ["done", "done", "done", "missed"], "nobody answered"),
    ],
)
def test_receipt_names_the_answerer_or_the_missed_step_and_when_the_fallback_topic_was_notified(
    makes_pages: bool, audits: list[str], wanted: list[str], unheard: str
) -> None:
    tenant = Tenant()
    tenant.makes_pages, tenant.audits["page-1"] = makes_pages, audits
    relay = new_relay(tenant, policy=BOTH)
    relay.play("critical")
    relay.sweep_for(1200, step=30)
    found = described(relay)
    assert (states(relay), found["unheard"]) == (wanted, unheard)
    assert bool(found["told_at"]) is bool(unheard)
    answered = found["steps"][3]
    assert [answered["by"], answered["at"][-1:]] == ["jdoe", "Z"] if not unheard else not answered.get("by")


@pytest.mark.parametrize("name", SCRIPTS)
def test_script_is_in_the_order_of_its_times_and_opens_each_incident_before_it_is_changed(name: str) -> None:
    steps = SCRIPTS[name]
    assert [step.at for step in steps] == sorted(step.at for step in steps)
    opened: set[str] = set()
    for step in steps:
        if step.act == "open":
            assert step.incident not in opened
            opened.add(step.incident)
        assert step.incident in {*opened, ""}
        assert bool(step.incident) == (step.act in {*ACTIONS, "open", "acknowledge", "escalate"})
