"""The project's habits: CI, pre-commit, the Makefile, the settings of a deployment, the one place of the version."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from samtranslator.yaml_helper import yaml_parse

from relay.http.session import USER_AGENT
from relay.version import VERSION

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.mark.parametrize(("workflow", "command"), [("ci.yml", ".ci/run"), ("nightly.yml", "make --silent nightly")])
def test_workflow_runs_its_command_with_the_python_of_the_project(workflow: str, command: str) -> None:
    [job] = yaml_parse((ROOT / ".github/workflows" / workflow).read_text())["jobs"].values()
    *_, python, run = job["steps"]
    assert run == {"run": command}
    assert f">={python['with']['python-version']}" == PROJECT["project"]["requires-python"]


def test_each_action_of_a_workflow_is_pinned_by_commit() -> None:
    texts = [path.read_text() for path in (ROOT / ".github/workflows").glob("*.yml")]
    used = re.findall(r"uses: (\S+)", "".join(texts))
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


# What makes newer than 3.81, the make of macOS, know.
NEWER_MAKE = r"--output-sync|\.SHELLFLAGS|\.ONESHELL|^define .*=|^undefine|^private|\$\(file |^\w+ *(?:::|!)="


def test_makefile_keeps_to_what_the_make_of_macos_knows() -> None:
    assert re.findall(NEWER_MAKE, (ROOT / "Makefile").read_text(), re.MULTILINE) == []


@pytest.mark.parametrize("target", ["demo", "lint", "sbom", "audit", "build"])
def test_make_target_needs_no_package_of_npm(target: str) -> None:
    planned = subprocess.run(
        ["make", "--dry-run", "--always-make", target], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "pip install" in planned.stdout
    assert "npm" not in planned.stdout


def test_make_goes_on_without_the_npm_registry(tmp_path: Path) -> None:
    done = make(f"BROWSER={tmp_path}", f"{tmp_path}/.done", npm_config_registry="http://127.0.0.1:9/")
    assert (done.returncode, "the npm registry cannot be reached" in done.stderr) == (0, True), done.stderr
    assert not (tmp_path / ".done").exists()


def test_setup_with_another_python_says_which_one_is_needed(tmp_path: Path) -> None:
    old = tmp_path / "python3.11"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o700)
    done = make(f"PYTHON={old}", f"VENV={tmp_path}/v", f"{tmp_path}/v/.done")
    assert done.returncode == 2
    assert f"setup: {old} is not Python 3.13, which the functions run on" in done.stderr


def make(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["make", "--silent", *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_make_clean_removes_what_a_build_of_relayctl_left() -> None:
    planned = make("--dry-run", "clean").stdout
    assert {"build", "dist", "*.egg-info"} <= set(planned.split())


def test_deployment_without_changes_succeeds() -> None:
    settings = tomllib.loads((ROOT / "samconfig.toml").read_text())
    assert settings["default"]["deploy"]["parameters"]["fail_on_empty_changeset"] is False
    assert settings["default"]["deploy"]["parameters"]["confirm_changeset"] is True


@pytest.mark.parametrize(("ecosystem", "name"), [("pip", "*.in"), ("npm", "package.json")])
def test_dependabot_watches_each_folder_with_pins(ecosystem: str, name: str) -> None:
    updates = yaml_parse((ROOT / ".github/dependabot.yml").read_text())["updates"]
    [watched] = (each["directories"] for each in updates if each["package-ecosystem"] == ecosystem)
    found = {f"/{path.relative_to(ROOT).parent.as_posix()}" for path in ROOT.glob(f"[!.]*/**/{name}")}
    assert set(watched) - {"/"} == found
