"""The stack of a release: its template, its artefacts and their files."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from sandbox.environment import aws_environment
from tests.artefact import templates
from tests.artefact.runtime_api import Deployed

ROOT = Path(__file__).parents[2]
SOURCES = ("functions", "layers", "relayctl", "requirements", "tools")
SETTINGS = ("CHANGELOG.md", "LICENSE", "Makefile", "README.md", "pyproject.toml", "samconfig.toml", "template.yaml")
FUNCTIONS = (
    "BigPandaWebhookFunction",
    "XMattersCallbackFunction",
    "JobWorkerFunction",
    "ChoreWorkerFunction",
    "ReconcileFunction",
    "SweeperFunction",
)
FUNCTION, LAYER = "AWS::Serverless::Function", "AWS::Serverless::LayerVersion"
LONG_AGO = 1_000_000_000
NOWHERE = "http://127.0.0.1:1"
KNOWN = {
    "RetryQueue": f"{NOWHERE}/123456789012/retries",
    "ChoreQueue": f"{NOWHERE}/123456789012/chores",
    "DeadLetterQueue": f"{NOWHERE}/123456789012/dead-letters",
    "LedgerTable": "ledger",
    "JobWorkerFunction": "job-worker",
    "Api": "a1b2c3",
    "FallbackTopic": "arn:aws:sns:us-east-1:123456789012:fallback",
}
# Lambda's folders for a function and its layers.
TASK, OPT = "/var/task", "/opt"


@dataclass(frozen=True)
class Build:
    """A finished build, as `sam build` leaves it."""

    folder: Path

    @property
    def template(self) -> Path:
        return self.folder / "template.yaml"

    def places(self) -> dict[str, str]:
        """Return the folder in which Lambda unpacks each function and layer, by the name of the artefact."""
        resources = templates.read(self.template)["Resources"]
        kinds = {FUNCTION: TASK, LAYER: OPT}
        return {name: kinds[each["Type"]] for name, each in resources.items() if each["Type"] in kinds}

    def files(self, artefact: str) -> dict[str, Path]:
        """Return an artefact's files by their paths below Lambda's folder, with slashes."""
        root = self.folder / artefact
        return {path.relative_to(root).as_posix(): path for path in sorted(root.rglob("*")) if not path.is_dir()}

    def isolated(self, function: str) -> Deployed:
        """Return a function as deployed; no server listens at its AWS endpoint, since an import calls no service."""
        return self.deployed(function, NOWHERE, KNOWN)

    def deployed(self, function: str, endpoint_url: str, known: Mapping[str, str]) -> Deployed:
        """Return a function as in a local deployment, with AWS at `endpoint_url`.

        `known` maps each resource's logical id to the value of a Ref to the resource. An environment variable without a
        value fails the test.
        """
        stack = templates.stack(self.template, {"Profile": "local"}, known)
        properties = stack.of_type("AWS::Lambda::Function")[function]
        variables: dict[str, str] = properties["Environment"]["Variables"]
        unknown = [name for name, value in variables.items() if "${" in value]
        if unknown:
            pytest.fail(f"{function} has variables that no test has a value for: {', '.join(unknown)}")
        layers = stack.of_type("AWS::Lambda::LayerVersion")
        return Deployed(
            code=self.folder / function,
            layers=tuple(self.folder / layers[ref.strip("${}")]["LayerName"] for ref in properties["Layers"]),
            handler=properties["Handler"],
            timeout=properties["Timeout"],
            variables=aws_environment(endpoint_url) | variables,
        )


def unpacked(dist: Path, folder: Path) -> Build:
    """Unpack the stack of a release into a folder: its zip, and each artefact as Lambda unpacks it."""
    [stack] = dist.glob("*.zip")
    shutil.unpack_archive(stack, folder)
    for artefact in (folder / stack.stem).glob("*.zip"):
        shutil.unpack_archive(artefact, artefact.with_suffix(""))
    return Build(folder / stack.stem)


def release_elsewhere(root: Path) -> Path:
    """Make the release of the same sources as on another machine; return its folder.

    The new folder `root` is another clone, with other file times, a strict umask and stray bytecode.
    """
    _copy_sources(root)
    command = ["make", "--silent", "release"]
    done = subprocess.run(command, cwd=root, umask=0o077, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(done.stderr + done.stdout, pytrace=False)
    return root / "dist"


def _copy_sources(root: Path) -> None:
    root.mkdir()
    for name in SOURCES:
        shutil.copytree(ROOT / name, root / name)
    for name in (*SETTINGS, ".gitignore"):
        shutil.copy(ROOT / name, root / name)
    for module in list(root.rglob("*.py")):
        leftovers = module.parent / "__pycache__"
        leftovers.mkdir(exist_ok=True)
        for python in ("cpython-312", "cpython-313"):
            (leftovers / f"{module.stem}.{python}.pyc").write_bytes(b"left over")
    for path in root.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
        os.utime(path, (LONG_AGO, LONG_AGO))
    for name in (".venv", ".venv-sam", ".venv-lambda", ".venv-audit"):
        (root / name).symlink_to(ROOT / name)
    (root / ".cache").mkdir()
    (root / ".cache" / "pip").symlink_to(ROOT / ".cache" / "pip")
