"""Files of pinned packages: complete, consistent, and free of the settings of any machine."""

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

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
RELAYCTL = ROOT / "requirements/relayctl.txt"
FILES = [*ROOT.glob("requirements/*.txt"), *ROOT.glob("layers/*/requirements.txt")]


def pins(path: Path) -> dict[str, str]:
    """Return the version of each package that a file pins."""
    found = (re.match(r"([A-Za-z0-9._-]+)==([^\s;]+)", line) for line in path.read_text().splitlines())
    return {canonicalize_name(each[1]): each[2] for each in found if each}


def asked_for() -> list[Requirement]:
    """Return the requirements of relayctl, to build it from this repository and to run it."""
    return [Requirement(each) for each in (*PROJECT["project"]["dependencies"], *PROJECT["build-system"]["requires"])]


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


def test_pins_of_relayctl_match_pyproject() -> None:
    pinned = pins(RELAYCTL)
    for each in asked_for():
        version = pinned.get(canonicalize_name(each.name))
        assert version is not None, f"{each.name} is not pinned; run 'make lock'"
        assert each.specifier.contains(version), f"{each}: {version}; run 'make lock'"


def test_pins_of_relayctl_include_what_its_packages_need() -> None:
    needed = set(closure(asked_for()))
    assert needed >= {"botocore", "certifi", "urllib3"}
    assert needed == set(pins(RELAYCTL))


def test_build_pins_are_those_of_pyproject() -> None:
    assert (ROOT / "requirements/build.in").read_text().split() == PROJECT["build-system"]["requires"]


def test_relayctl_is_installed_with_the_versions_of_its_tests() -> None:
    tested = pins(ROOT / "requirements/dev.txt")
    assert {name: version for name, version in pins(RELAYCTL).items() if tested.get(name) != version} == {}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_package_is_pinned_with_a_hash_and_without_a_registry_or_a_path(path: Path) -> None:
    text = path.read_text()
    blocks = [block for block in re.split(r"\n(?=\S)", text.strip()) if block]
    assert len(blocks) == len(pins(path)) > 0
    assert [block.splitlines()[0] for block in blocks if not re.search(r"--hash=sha256:[0-9a-f]{64}", block)] == []
    assert re.findall(r"://|--(?:extra-)?index-url|--find-links|--trusted-host|^#|\s/\w", text, re.MULTILINE) == []


def test_npm_packages_are_pinned_with_a_hash_and_without_a_registry() -> None:
    folder = ROOT / "requirements/xmtoolbox"
    asked = json.loads((folder / "package.json").read_text())["dependencies"]
    packages = json.loads((folder / "package-lock.json").read_text())["packages"]
    assert packages.pop("")["dependencies"] == asked
    assert {name.removeprefix("node_modules/"): each["version"] for name, each in packages.items()} == asked
    assert [name for name, each in packages.items() if not each["integrity"].startswith("sha512-")] == []
    assert [name for name, each in packages.items() if "resolved" in each] == []


def test_audit_looks_up_every_file_of_pins_and_fails_for_an_unknown_package() -> None:
    planned = subprocess.run(["make", "--dry-run", "audit"], cwd=ROOT, capture_output=True, text=True, check=True)
    [(names, command)] = re.findall(r"for file in ([^;]+); do (.+?) \|\|", planned.stdout.replace("\\\n", ""))
    assert {ROOT / name for name in names.split()} == set(FILES)
    assert "pip-audit --strict " in command
