"""The workflow scripts run on xMatters' old JavaScript engines, and the guide names their inputs and outputs."""

import re
from pathlib import Path

import pytest

from tests.workflow_scripts.node import SCRIPTS, TELL_RELAY, TRIGGER, Case, node, run

GUIDE = (SCRIPTS / "README.md").read_text()
BOTH = pytest.mark.parametrize("script", [TRIGGER, TELL_RELAY], ids=lambda path: path.name)
# Syntax that xMatters' Agent does not know, and its cloud perhaps not: a pattern and an example for each.
YOUNGER = {
    "optional chaining": (r"\?\.(?!\d)", "a?.b"),
    "a nullish default": (r"\?\?", "a ?? b"),
    "a power": (r"\*\*", "a ** 2"),
    "async": (r"\b(async|await)\b", "async function a() {}"),
    "a module": (r"\b(import|export)\b", "export var a;"),
    "require": (r"\brequire\b", "require('fs')"),
    "a class": (r"\bclass\b", "class A {}"),
    "let or const": (r"\b(let|const)\b", "let a = 1;"),
    "an arrow": (r"=>", "a => 1"),
    "a template": (r"`", "`a`"),
    "a spread": (r"\.\.\.", "f(...a)"),
    "for of": (r"\bfor\s*\([^;)]*\bof\b", "for (var a of b) {}"),
    "a trailing comma of arguments": (r",\s*\)", "f(a, )"),
    "a numeric separator or a bigint": (r"\b\d+(_\d+|n\b)", "1_000"),
    "a catch without a name": (r"\bcatch\s*\{", "try {} catch {}"),
    "a timer": (r"\bset(Timeout|Interval|Immediate)\b", "setTimeout(f, 1)"),
    "eval": (r"\b(eval|Function)\s*\(", "eval(a)"),
}


def _younger(source: str) -> list[str]:
    code = re.sub(r"/\*.*?\*/|^\s*//[^\n]*", "", source, flags=re.DOTALL | re.MULTILINE)
    return [name for name, (pattern, _) in YOUNGER.items() if re.search(pattern, code)]


@BOTH
def test_workflow_script_uses_only_old_javascript_syntax(script: Path) -> None:
    assert _younger(script.read_text()) == []


@pytest.mark.parametrize("name", YOUNGER)
def test_check_for_old_syntax_finds_each_newer_construct(name: str) -> None:
    assert _younger(f"/* async */\n  // import\nvar a;\n{YOUNGER[name][1]}") == [name]


@BOTH
def test_workflow_script_parses_in_node(script: Path) -> None:
    assert node("--check", str(script)).stderr == ""


def test_imitated_xmatters_world_has_no_globals_newer_than_es5(tmp_path: Path) -> None:
    names = ["Map", "Set", "Symbol", "Promise", "Proxy", "Reflect", "Intl", "BigInt", "globalThis"]
    names += ["require", "process", "setTimeout", "Buffer"]
    members = ["''.includes", "''.padStart", "[].find", "[].includes", "Object.assign", "Object.entries", "Array.from"]
    script = tmp_path / "asks.js"
    script.write_text(
        "".join(f"output[{name!r}] = typeof {name};" for name in (*names, *members, "[].map", "JSON.parse"))
    )
    (found,) = run(Case(script))
    assert [name for name, kind in found.output.items() if kind != "undefined"] == ["[].map", "JSON.parse"]


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


def test_links_of_the_guide_have_existing_targets() -> None:
    for link in re.findall(r"\]\(([^)]+)\)", GUIDE):
        path, _, heading = link.partition("#")
        target = SCRIPTS / path if path else SCRIPTS / "README.md"
        assert target.exists(), link
        if heading:
            headings = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
            assert heading in {re.sub(r"[^a-z0-9 -]", "", each.lower()).replace(" ", "-") for each in headings}, link
