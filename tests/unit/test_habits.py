"""The project's habits: CI runs `.ci/run`, pre-commit runs the checks of `make lint`, the version has one place."""

import re
import tomllib
from pathlib import Path

from samtranslator.yaml_helper import yaml_parse

from relay.http.session import USER_AGENT
from relay.version import VERSION

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_workflow_runs_the_ci_script_with_the_python_of_the_project() -> None:
    [job] = yaml_parse((ROOT / ".github/workflows/ci.yml").read_text())["jobs"].values()
    *_, python, run = job["steps"]
    assert run == {"run": ".ci/run"}
    assert f">={python['with']['python-version']}" == PROJECT["project"]["requires-python"]


def test_each_action_of_a_workflow_is_pinned_by_commit() -> None:
    used = re.findall(r"uses: (\S+)", (ROOT / ".github/workflows/ci.yml").read_text())
    assert used
    assert [each for each in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", each)] == []


def test_pre_commit_runs_each_check_of_make_lint() -> None:
    recipe = (ROOT / "Makefile").read_text().partition("\nlint: ")[2].partition("\n\n")[0]
    checks = set(re.findall(r"\b(ruff format|ruff check|mypy|lint-imports|cfn-lint|bandit|checkov)\b", recipe))
    hooks = yaml_parse((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    entries = " ".join(hook["entry"] for hook in hooks)
    assert len(checks) == 7
    assert [check for check in checks if check not in entries] == []


def test_version_is_defined_in_one_place() -> None:
    assert "version" not in PROJECT["project"]
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "relay.version.VERSION"}
    assert USER_AGENT.endswith(f"/{VERSION}")


def test_changelog_has_a_heading_for_the_version() -> None:
    released = VERSION.partition(".dev")[0]
    heading = rf"^## \[{re.escape(released)}\] - (?:unreleased|\d{{4}}-\d{{2}}-\d{{2}})$"
    assert re.search(heading, (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
