"""The project's habits: CI, pre-commit, the Makefile, the settings of a deployment, the one place of the version."""

import json
import re
import subprocess
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from samtranslator.yaml_helper import yaml_parse

from relay.version import VERSION

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_each_action_of_a_workflow_is_pinned_by_commit() -> None:
    texts = [path.read_text() for path in (ROOT / ".github/workflows").glob("*.yml")]
    used = re.findall(r"uses: (\S+)", "".join(texts))
    assert used
    assert [each for each in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", each)] == []


def test_only_the_job_that_drafts_a_release_may_write_and_it_runs_no_code_of_the_repository() -> None:
    workflows = [yaml_parse(path.read_text()) for path in (ROOT / ".github/workflows").glob("*.yml")]
    assert [each["permissions"] for each in workflows] == [{"contents": "read"}] * 3
    [(name, job)] = [(name, job) for each in workflows for name, job in each["jobs"].items() if "permissions" in job]
    used = [step["uses"].partition("@")[0] for step in job["steps"] if "uses" in step]
    assert (name, used) == ("draft", ["actions/download-artifact", "actions/attest-build-provenance"])


def test_changelog_has_a_heading_for_the_version() -> None:
    heading = rf"^## \[{re.escape(VERSION)}\] - (?:unreleased|\d{{4}}-\d{{2}}-\d{{2}})$"
    assert re.search(heading, (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


@pytest.mark.parametrize("target", ["demo", "lint", "sbom", "audit", "build", "release"])
def test_make_target_needs_no_package_of_npm(target: str) -> None:
    planned = subprocess.run(
        ["make", "--dry-run", "--always-make", target], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "pip install" in planned.stdout
    assert "npm" not in planned.stdout


RELAYCTL = ROOT / "requirements/relayctl.txt"
FILES = [*ROOT.glob("requirements/*.txt"), *ROOT.glob("layers/*/requirements.txt")]


def pins(path: Path) -> dict[str, str]:
    found = (re.match(r"([A-Za-z0-9._-]+)==([^\s;]+)", line) for line in path.read_text().splitlines())
    return {canonicalize_name(each[1]): each[2] for each in found if each}


def asked_for() -> list[Requirement]:
    return [Requirement(each) for each in PROJECT["project"]["dependencies"]]


def closure(requirements: list[Requirement], seen: set[str] | None = None) -> Iterator[str]:
    """Yield the names of these packages and of all that they need in turn, as they are installed here."""
    known = set[str]() if seen is None else seen
    for each in requirements:
        name = canonicalize_name(each.name)
        if name in known or not (each.marker is None or each.marker.evaluate({"extra": ""})):
            continue
        known.add(name)
        yield name
        yield from closure([Requirement(text) for text in metadata.requires(name) or ()], known)


def test_pins_of_relayctl_match_pyproject_and_its_tests_and_include_what_its_packages_need() -> None:
    pinned = pins(RELAYCTL)
    for each in asked_for():
        version = pinned.get(canonicalize_name(each.name))
        assert version is not None, f"{each.name} is not pinned; run 'make lock'"
        assert each.specifier.contains(version), f"{each}: {version}; run 'make lock'"
    needed = set(closure(asked_for()))
    assert needed >= {"botocore", "certifi", "urllib3"}
    assert needed == pinned.keys()
    assert pinned.items() <= pins(ROOT / "requirements/dev.txt").items()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_package_is_pinned_with_a_hash_and_without_a_registry_or_a_path(path: Path) -> None:
    text = path.read_text()
    blocks = [block for block in re.split(r"\n(?=\S)", text.strip()) if block]
    assert len(blocks) == len(pins(path)) > 0
    assert [block.splitlines()[0] for block in blocks if not re.search(r"--hash=sha256:[0-9a-f]{64}", block)] == []
    assert re.findall(r"://|--(?:extra-)?index-url|--find-links|--trusted-host|^#|\s/\w", text, re.MULTILINE) == []


def test_npm_packages_are_pinned_with_a_hash_and_without_a_registry() -> None:
    folder = ROOT / "requirements/browser"
    asked = json.loads((folder / "package.json").read_text())["dependencies"]
    packages = json.loads((folder / "package-lock.json").read_text())["packages"]
    assert packages.pop("")["dependencies"] == asked
    assert {name: packages[f"node_modules/{name}"]["version"] for name in asked} == asked
    assert [name for name, each in packages.items() if not each["integrity"].startswith("sha512-")] == []
    assert [name for name, each in packages.items() if "resolved" in each] == []
