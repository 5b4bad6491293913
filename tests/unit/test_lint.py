"""Ruff's security rules find what bandit finds, and each exception from either has a reason."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("layers/relay/relay", "functions", "relayctl", "tools")
# One fault for each kind of rule that bandit has, the preview rules of ruff among them.
FAULTS = {
    "S101": "assert given",
    "S102": "exec(given)",
    "S105": 'password = "given"',
    "S108": 'open("/tmp/given")',
    "S113": "requests.get(given)",
    "S403": "import pickle",
    "S301": "pickle.loads(given)",
    "S311": "random.random()",
    "S324": "hashlib.md5(given)",
    "S405": "import xml.etree.ElementTree",
    "S501": "requests.get(given, verify=False, timeout=1)",
    "S506": "yaml.load(given)",
    "S602": "subprocess.run(given, shell=True)",
    "S608": 'query = "SELECT a FROM b WHERE c = " + given',
    "PLE2502": 'given = "\u202e"',
}


@pytest.mark.parametrize("folder", FOLDERS)
def test_linter_finds_the_faults_that_bandit_finds(folder: str) -> None:
    names = ("hashlib", "random", "requests", "subprocess", "yaml")
    code = "\n".join([*(f"import {name}" for name in names), *FAULTS.values(), ""])
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format=json"]
    done = subprocess.run(
        [*command, "--stdin-filename", f"{folder}/sample.py", "-"],
        input=code,
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    found = {each["code"] for each in json.loads(done.stdout)}
    assert set(FAULTS) - found == set()


def test_each_exception_from_a_security_rule_has_a_reason_beside_it() -> None:
    sources = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    exceptions = [line for path in sources for line in path.read_text().splitlines() if re.search(r"noqa: S\d", line)]
    config = (ROOT / "pyproject.toml").read_text()
    files = re.findall(r'^"([^"]*)" = \[[^]]*"S(?:\d+)?".*', config, re.MULTILINE)
    # An exception from bandit's rule stands beside the one from ruff's.
    assert [
        line for path in sources for line in path.read_text().splitlines() if "nosec" in line and line not in exceptions
    ] == []
    exceptions += [line for line in config.splitlines() if any(line.startswith(f'"{file}"') for file in files)]
    assert len(exceptions) >= 5
    assert [line for line in exceptions if not re.search(r"noqa: [S0-9, ]+ - \w+|\] # \w+", line)] == []
