"""The relay's stack in the local cloud: built and deployed by the SAM CLI, as for AWS."""

import hashlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from relayctl.stack.deployed import describe, outputs_in
from sandbox import processes
from sandbox.cloud.deployment import client
from sandbox.environment import REGION, aws_environment, without_aws
from sandbox.errors import SandboxError

STACK_NAME = "bigpanda-xmatters-relay"
BUILD_SECONDS = 300.0
DEPLOY_SECONDS = 180.0
LOG_LINES = 30
# Folders and files whose content a build or a deployment depends on.
SOURCES = ("functions", "layers")
SETTINGS = ("samconfig.toml", "template.yaml", "requirements/sam.txt")


@dataclass(frozen=True)
class Workshop:
    """Folders of the SAM CLI.

    Attributes:
        root: The clone of the project.
        build: Build results and cache, kept for the next build.
        state: Logs, and a temporary home folder for each command.
    """

    root: Path
    build: Path
    state: Path

    @property
    def template(self) -> Path:
        """The built template, which `deploy` deploys."""
        return self.build / "built" / "template.yaml"

    @property
    def fingerprint_file(self) -> Path:
        """Path of the file that holds the fingerprint of the last complete build; `fingerprint` computes it."""
        return self.build / "fingerprint"

    def fingerprint(self) -> str:
        """Return a text that changes with each file that a build or a deployment reads."""
        found = [path for folder in SOURCES for path in (self.root / folder).rglob("*") if _is_source(path)]
        digest = hashlib.sha256()
        for path in sorted([*found, *(self.root / name for name in SETTINGS)]):
            if path.is_file():
                content = path.read_bytes()
                digest.update(f"{path.relative_to(self.root)} {len(content)}\0".encode() + content)
        return digest.hexdigest()


def build(shop: Workshop) -> None:
    """Run `sam build`, unless nothing changed since the last one; unchanged parts come from its cache.

    Raises SandboxError if the build fails or takes too long; the message holds the end of its log.
    """
    shop.build.mkdir(parents=True, exist_ok=True)
    fingerprint = shop.fingerprint()
    if shop.template.exists() and _text(shop.fingerprint_file) == fingerprint:
        return
    # An interrupted build must not count as one of the old sources.
    shop.fingerprint_file.unlink(missing_ok=True)
    folders = ["--build-dir", str(shop.template.parent), "--cache-dir", str(shop.build / "cache")]
    _sam(
        ["build", "--cached", *folders],
        shop,
        environment={},
        seconds=BUILD_SECONDS,
        hint="Is the package index reachable? The first build downloads what requirements.txt lists. "
        f"If the build cache is broken: rm -r {shop.build}",
    )
    processes.write_atomically(shop.fingerprint_file, fingerprint)


def deploy(shop: Workshop, endpoint_url: str) -> dict[str, str]:
    """Run `sam deploy --config-env local` into the cloud at `endpoint_url`; return the outputs, with local URLs.

    Raises SandboxError if the deployment fails or takes too long; the message holds the end of its log.
    """
    _sam(
        [
            *("deploy", "--template-file", str(shop.template)),
            *("--stack-name", STACK_NAME, "--region", REGION, "--no-progressbar"),
        ],
        shop,
        # By default the SAM CLI polls the stack every 5 seconds, and the emulator is done much sooner.
        environment=aws_environment(endpoint_url) | {"SAM_CLI_POLL_DELAY": "0.2"},
        seconds=DEPLOY_SECONDS,
        hint="Fix the resource named above in template.yaml. `make local-down` removes the whole cloud.",
    )
    return outputs(endpoint_url)


def outputs(endpoint_url: str) -> dict[str, str]:
    """Return the outputs of the deployed stack, with local URLs."""
    return outputs_in(describe(client(endpoint_url, "cloudformation"), STACK_NAME), endpoint_url)


def _is_source(path: Path) -> bool:
    return path.suffix != ".pyc" and path.is_file()


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _sam(
    arguments: Sequence[str],
    shop: Workshop,
    *,
    environment: Mapping[str, str],
    seconds: float,
    hint: str,
) -> None:
    command = shop.root / ".venv-sam" / "bin" / "sam"
    if not command.exists():
        raise SandboxError(f"the SAM CLI is not at {command}; `make setup` installs it")
    shop.state.mkdir(parents=True, exist_ok=True)
    log = shop.state / f"sam-{arguments[0]}.log"
    # The SAM CLI looks for its settings beside the template, and the built template is in another folder.
    whole = [str(command), *arguments, "--config-file", str(shop.root / "samconfig.toml"), "--config-env", "local"]
    with _home(shop.state) as home, log.open("wb") as output:
        environment = _environment(shop.root, home) | dict(environment)
        with _child(whole, shop.root, environment, output) as child:
            problem = _wait(child, seconds)
    if problem:
        raise SandboxError(f"sam {arguments[0]} {problem}; the end of {log}:\n{processes.tail(log, LOG_LINES)}\n{hint}")


@contextmanager
def _child(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], output: IO[bytes]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command in a session of its own for a `with` block, and kill it at the end if it still runs."""
    child: subprocess.Popen[bytes] | None = None
    interrupts = {signal.SIGINT, signal.SIGTERM}
    try:
        # An interrupt while the process starts would leave it behind, so it is held back until the process is known.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, interrupts)
        try:
            child = subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        yield child
    finally:
        # Ctrl-C does not reach the child, which has a session of its own; without a kill it would outlive this command.
        if child is not None and child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def _wait(child: subprocess.Popen[bytes], seconds: float) -> str | None:
    try:
        code = child.wait(seconds)
    except subprocess.TimeoutExpired:
        return f"took longer than {seconds:.0f} s"
    return f"failed (exit code {code})" if code else None


@contextmanager
def _home(state: Path) -> Iterator[Path]:
    with TemporaryDirectory(prefix="sam-", dir=state, ignore_cleanup_errors=True) as name:
        # A recent version check in this file keeps the SAM CLI from asking the internet for a newer version.
        settings = Path(name) / ".aws-sam" / "metadata.json"
        settings.parent.mkdir()
        settings.write_text(json.dumps({"telemetryEnabled": False, "lastVersionCheck": time.time()}))
        yield Path(name)


def _environment(root: Path, home: Path) -> dict[str, str]:
    environment = without_aws(os.environ) | {
        "PATH": f"{root / '.venv' / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "HOME": str(home),
        "TMPDIR": str(home),
        "SAM_CLI_TELEMETRY": "0",
        "PIP_CACHE_DIR": str(root / ".cache" / "pip"),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    # pip reads its user's settings, such as an index or a proxy, from HOME, which is replaced above.
    for settings in (".config/pip/pip.conf", ".pip/pip.conf"):
        if (Path.home() / settings).exists():
            environment.setdefault("PIP_CONFIG_FILE", str(Path.home() / settings))
    return environment
