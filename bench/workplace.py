"""Shared resources of the benchmarks, each made on first use: loaded functions, the build, the usual stack."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bench import throughput, traffic
from bench.cost import Invocation
from bench.functions import ROOT, Functions, edges
from bench.traffic import Counted
from bench.warm import USUAL_ALERTS, Warm, measure
from tests.artefact.builds import Build
from tests.kept_build import kept_build

REQUIREMENTS = ROOT / "bench" / "requirements-usual.txt"
INSTALL_SECONDS = 300.0


@dataclass(frozen=True)
class Usual:
    """Two installations of the *usual stack*: common packages with which the relay's cold start is compared.

    In each folder the packages are below `python`, as in a Lambda layer.

    Attributes:
        compiled: folder with bytecode.
        sources: folder as pip leaves it, without bytecode.
    """

    compiled: Path
    sources: Path


class Workplace:
    """The folder `.cache/bench` of the clone, and the resources in it."""

    def __init__(self, started: ExitStack, *, quick: bool) -> None:
        self.folder = ROOT / ".cache" / "bench"
        self._started = started
        self._quick = quick

    def rounds(self, usual: int) -> int:
        """Return the number of rounds: `usual`, or a tenth of that if the run is quick."""
        return max(5, usual // 10) if self._quick else usual

    @cached_property
    def functions(self) -> Functions:
        """The functions, loaded into this process."""
        return Functions(self._started.enter_context(edges()))

    @cached_property
    def warm(self) -> Warm:
        """Measurements of the warm webhook."""
        return measure(self.functions, self.rounds(300), USUAL_ALERTS)

    @cached_property
    def owed_share(self) -> tuple[Counted, Invocation, Invocation]:
        """Counted calls of an owed share, and measured runs of the webhook and the worker."""
        _, wakes = throughput.measure(self.functions, self.rounds(60))
        return traffic.counted(), Invocation.of(self.warm.kinds["delivered"].spent), Invocation.of(wakes.spent)

    @cached_property
    def build(self) -> Build:
        """The output of `sam build`. Raises SandboxError."""
        return Build(kept_build().template.parent)

    @cached_property
    def usual(self) -> Usual | None:
        """Folders with the *usual stack*: common packages with which the relay's cold start is compared.

        They are installed on first use. None if the packages cannot be installed.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        found, stamp = Usual(self.folder / "usual", self.folder / "usual-sources"), self.folder / "usual.txt"
        if stamp.exists() and stamp.read_bytes() == REQUIREMENTS.read_bytes():
            return found
        stamp.unlink(missing_ok=True)
        if not _installed(found, self.folder / "usual.log"):
            return None
        # Written last, so that an interrupted installation is repeated.
        stamp.write_bytes(REQUIREMENTS.read_bytes())
        return found


def _installed(usual: Usual, log: Path) -> bool:
    for folder in (usual.compiled, usual.sources):
        shutil.rmtree(folder, ignore_errors=True)
    pip = ["-m", "pip", "--disable-pip-version-check", "install", "--no-compile", "--no-deps", "--require-hashes"]
    what = ["--only-binary=:all:", "--target", str(usual.sources / "python"), "--requirement", str(REQUIREMENTS)]
    if not _succeeds([*pip, *what], log):
        return False
    shutil.copytree(usual.sources, usual.compiled)
    return _succeeds(["-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", str(usual.compiled)], log)


def _succeeds(arguments: Sequence[str], log: Path) -> bool:
    command = [sys.executable, *arguments]
    # Keep pip's downloads inside the clone.
    environment = os.environ | {"PIP_CACHE_DIR": str(ROOT / ".cache" / "pip")}
    with log.open("ab") as output:
        try:
            subprocess.run(
                command, check=True, timeout=INSTALL_SECONDS, env=environment, stdout=output, stderr=subprocess.STDOUT
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            return False
    return True


@contextmanager
def opened(*, quick: bool) -> Iterator[Workplace]:
    """Open a workplace for a `with` block, and stop its processes at the end."""
    with ExitStack() as started:
        yield Workplace(started, quick=quick)
