"""The workflow scripts run on xMatters' old JavaScript engines, and the guide names their inputs and outputs."""

import re
from pathlib import Path

import pytest

from tests.workflow_scripts.node import SCRIPTS, TELL_RELAY, TRIGGER, Case, node, run

GUIDE = (SCRIPTS / "README.md").read_text()
BOTH = pytest.mark.parametrize("script", [TRIGGER, TELL_RELAY], ids=lambda path: path.name)
# Parses a script with Node's own parser: xMatters' Agent knows nothing younger, its cloud perhaps neither.
PARSE = """
    const { parse } = require("internal/deps/acorn/acorn/dist/acorn");
    parse(require("fs").readFileSync(0, "utf8"), { ecmaVersion: 5 });
"""


@BOTH
def test_workflow_script_is_ecmascript_5_and_uses_no_module_timer_or_eval(script: Path) -> None:
    for source, code in ((script.read_text(), 0), ("let x = 1;", 1)):
        assert node("--expose-internals", "--eval", PARSE, given=source).returncode == code, source
    plain = re.sub(r"/\*.*?\*/|^\s*//[^\n]*", "", script.read_text(), flags=re.DOTALL | re.MULTILINE)
    assert re.findall(r"\b(?:require|set(?:Timeout|Interval|Immediate)|(?:eval|Function)\s*\()", plain) == []


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
