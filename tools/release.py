"""Write a release into a folder: the stack as one zip, relayctl, SBOMs, what changed, and the checksums of all these.

Two builds of the same sources have the same bytes: entries of a zip are sorted, of one time and one mode, and the build
backend of relayctl does the same.
"""

import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

from samtranslator.yaml_helper import yaml_parse

from relay.version import VERSION

ROOT = Path(__file__).resolve().parents[1]
NAME = f"bigpanda-xmatters-relay-{VERSION}"
# Resources that outlive the stack, and that a stack made anew adopts.
KEPT = ("AWS::DynamoDB::Table", "AWS::SQS::Queue", "AWS::SNS::Topic")
# A function's or layer's code in the template that `sam build` writes: the name of a folder beside the template.
CODE = re.compile(r"^ +(?:CodeUri|ContentUri): (\w+)$", re.MULTILINE)


def write(built: Path, dist: Path) -> None:
    """Write the release into `dist`, and remove what was there; `built` is the folder that `sam build` wrote."""
    shutil.rmtree(dist, ignore_errors=True)
    dist.mkdir(parents=True)
    (dist / f"{NAME}.zip").write_bytes(_zipped({f"{NAME}/{name}": each for name, each in _stack(built).items()}))
    options = ("--no-build-isolation", "--no-create-gitignore", "--python", sys.executable, "--out-dir", str(dist))
    _run(sys.executable, "-m", "uv", "build", "--quiet", *options)
    _run("make", "--silent", "sbom", f"SBOM={dist}")
    [wheel] = dist.glob("*.whl")
    pins = (ROOT / "requirements/relayctl.txt").read_text()
    (dist / "relayctl-requirements.txt").write_text(f"{pins}./{wheel.name} --hash=sha256:{_sum(wheel)}\n")
    (dist / "CHANGES.md").write_text(_changes())
    sums = "".join(f"{_sum(path)}  {path.name}\n" for path in sorted(dist.iterdir()))
    (dist / "SHA256SUMS").write_text(sums)


def _stack(built: Path) -> dict[str, bytes]:
    """Return the files with which CloudFormation or the SAM CLI deploys the stack: template, settings, code as zips."""
    template = (built / "template.yaml").read_text()
    files = {name: (ROOT / name).read_bytes() for name in ("samconfig.toml", "LICENSE")}
    for name in CODE.findall(template):
        code = {path.relative_to(built / name).as_posix(): path for path in (built / name).rglob("*")}
        files[f"{name}.zip"] = _zipped({key: path.read_bytes() for key, path in code.items() if path.is_file()})
    return files | {"template.yaml": CODE.sub(r"\g<0>.zip", template).encode(), "adopt.json": _adoption(template)}


def _adoption(template: str) -> bytes:
    """Return the template of what outlives the stack alone: an import takes no template with more than it imports."""
    document = yaml_parse(template)
    resources = {
        name: each
        for name, each in document["Resources"].items()
        if each["Type"] in KEPT and each["DeletionPolicy"] != "Delete"
    }
    members = {name: document[name] for name in ("AWSTemplateFormatVersion", "Parameters", "Conditions")}
    return json.dumps(members | {"Resources": resources}, indent=1).encode()


def _zipped(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in sorted(files.items()):
            entry = zipfile.ZipInfo(name)
            # Lambda's user must be able to read the file.
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _changes() -> str:
    """Return the changelog's section of this version."""
    [section] = re.findall(
        rf"^## \[{re.escape(VERSION)}\].*?(?=^## \[|\Z)",
        (ROOT / "CHANGELOG.md").read_text(),
        re.MULTILINE | re.DOTALL,
    )
    return str(section)


def _sum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _run(*command: str) -> None:
    subprocess.run(command, cwd=ROOT, check=True)


if __name__ == "__main__":
    write(ROOT / ".aws-sam/build", ROOT / "dist")
