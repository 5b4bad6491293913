"""The workflow scripts run on xMatters' old JavaScript engines, and the guide names their inputs and outputs."""

import re
from pathlib import Path

import pytest

from tests.workflow_scripts.node import SCRIPTS, TELL_RELAY, TRIGGER, Case, run

GUIDE = (SCRIPTS / "README.md").read_text()
BOTH = pytest.mark.parametrize("script", [TRIGGER, TELL_RELAY], ids=lambda path: path.name)
# Syntax that xMatters' Agent does not know, and its cloud perhaps not.
YOUNGER = {
    "optional chaining": r"\?\.(?!\d)",
    "a nullish default": r"\?\?",
    "a power": r"\*\*",
    "async": r"\b(async|await)\b",
    "a module": r"\b(import|export)\b",
    "require": r"\brequire\b",
    "a class": r"\bclass\b",
    "let or const": r"\b(let|const)\b",
    "an arrow": r"=>",
    "a template": r"`",
    "a spread": r"\.\.\.",
    "for of": r"\bfor\s*\([^;)]*\bof\b",
    "a trailing comma of arguments": r",\s*\)",
    "a numeric separator or a bigint": r"\b\d+(_\d+|n\b)",
    "a catch without a name": r"\bcatch\s*\{",
    "a timer": r"\bset(Timeout|Interval|Immediate)\b",
    "eval": r"\b(eval|Function)\s*\(",
}


def _younger(source: str) -> list[str]:
    code = re.sub(r"/\*.*?\*/|^\s*//[^\n]*", "", source, flags=re.DOTALL | re.MULTILINE)
    return [name for name, pattern in YOUNGER.items() if re.search(pattern, code)]


@BOTH
def test_workflow_script_uses_only_old_javascript_syntax(script: Path) -> None:
    assert _younger(script.read_text()) == []


def test_guide_names_each_output_and_property_of_the_trigger_script() -> None:
    outputs = set(run(Case(TRIGGER))[0].output)
    listed = re.search(r"add the fifteen properties by their names, and these five: (.+?)\.\n", GUIDE, re.DOTALL)
    assert listed is not None
    texts = re.search(r"with the maximum length 2,000, fifteen times and spelt so: (.+?)\.\n", GUIDE, re.DOTALL)
    assert texts is not None
    properties = set(re.findall(r"`(\w+)`", texts[1]))
    others = set(re.findall(r"`(\w+)`", listed[1]))
    assert len(properties) == 15
    assert others == {"priority", "recipients", "is_over", "attempt", "may_repeat"}
    assert properties | others == outputs
    assert len(outputs) == 20
    assert "PROPERTY_LIMIT = 2000;" in TRIGGER.read_text()


def test_guide_names_each_input_and_kind_of_the_tell_relay_script() -> None:
    read = set(re.findall(r"read\('([\w ]+)'\)", TELL_RELAY.read_text()))
    listed = re.search(r"\*Inputs\*: add (.+?)\. Only", GUIDE, re.DOTALL)
    assert listed is not None
    assert {" ".join(name.split()) for name in re.findall(r"`([^`]+)`", listed[1])} == read
    kinds = re.search(r"var KINDS = \[(.+)\];", TELL_RELAY.read_text())
    assert kinds is not None
    mapped = set(re.findall(r"^\| [\w ]+ \| `(\w+)` \|", GUIDE, re.MULTILINE))
    assert mapped == {*re.findall(r"'(\w+)'", kinds[1]), "failure"}
