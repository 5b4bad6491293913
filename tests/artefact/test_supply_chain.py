"""A release's SBOMs, checksums and changes."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from relay.version import VERSION

ROOT = Path(__file__).resolve().parents[2]
SBOMS = {"lambda": "layers/dependencies/requirements.txt", "relayctl": "requirements/relayctl.txt"}
type Pins = dict[tuple[str, str], set[str]]


def pinned(text: str) -> Pins:
    """Return the hashes of each package and version that a file pins."""
    blocks = re.split(r"\n(?=\S)", text.strip())
    heads = [re.match(r"([A-Za-z0-9._-]+)==([^\s;]+)", block) for block in blocks]
    return {
        (head[1], head[2]): set(re.findall(r"sha256:([0-9a-f]{64})", block))
        for head, block in zip(heads, blocks, strict=True)
        if head
    }


def listed(sbom: dict[str, Any]) -> Pins:
    return {
        (component["name"], component["version"]): {
            digest["content"]
            for reference in component["externalReferences"]
            for digest in reference["hashes"]
            if digest["alg"] == "SHA-256"
        }
        for component in sbom["components"]
    }


@pytest.mark.parametrize("name", SBOMS)
def test_sbom_is_of_this_version_and_lists_each_pinned_package_with_its_url_and_hashes(dist: Path, name: str) -> None:
    sbom = json.loads((dist / f"{name}.cdx.json").read_text())
    subject = sbom["metadata"]["component"]
    assert (sbom["bomFormat"], subject["name"]) == ("CycloneDX", "bigpanda-xmatters-relay")
    assert subject["version"] == VERSION
    expected = pinned((ROOT / SBOMS[name]).read_text())
    assert all(expected.values())
    assert listed(sbom) == expected
    urls = {component["purl"].partition("?")[0] for component in sbom["components"]}
    assert urls == {f"pkg:pypi/{package}@{version}" for package, version in expected}


def test_checksums_are_those_of_all_other_files(dist: Path) -> None:
    sums = dict(line.split("  ")[::-1] for line in (dist / "SHA256SUMS").read_text().splitlines())
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in dist.iterdir()}
    assert sums == {name: each for name, each in files.items() if name != "SHA256SUMS"}


def test_changes_are_the_changelogs_section_of_this_version(dist: Path) -> None:
    changes = (dist / "CHANGES.md").read_text()
    assert changes.startswith(f"## [{VERSION}]")
    assert changes.count("\n## ") == 0
    assert changes in (ROOT / "CHANGELOG.md").read_text()
