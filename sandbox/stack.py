"""The relay's stack in a local cloud: built and deployed by the SAM CLI, just as it would be to AWS."""

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

import boto3

from relayctl.stack_outputs import read_outputs
from sandbox import processes
from sandbox.cloud import REGION, SandboxError, aws_environment, without_aws

STACK_NAME = "bigpanda-xmatters-relay"
BUILD_SECONDS = 300.0
DEPLOY_SECONDS = 180.0
LOG_LINES = 30


@dataclass(frozen=True)
class Workshop:
    """Where the SAM CLI works: in the clone `root`; `build` is kept for the next build, `state` has logs."""

    root: Path
    build: Path
    state: Path

    @property
    def template(self) -> Path:
        """The built template, which deploy takes."""
        return self.build / "built" / "template.yaml"


def build(shop: Workshop) -> None:
    """Run `sam build`; what did not change since the last one is taken from its cache.

    Raises SandboxError with the end of the log when it fails or takes too long.
    """
    shop.build.mkdir(parents=True, exist_ok=True)
    folders = ["--build-dir", str(shop.template.parent), "--cache-dir", str(shop.build / "cache")]
    _sam(
        ["build", "--cached", *folders],
        shop,
        environment={},
        seconds=BUILD_SECONDS,
        hint="Is the package index reachable? The first build downloads what requirements.txt names. "
        f"If the build cache is broken: rm -r {shop.build}",
    )


def deploy(shop: Workshop, endpoint_url: str) -> dict[str, str]:
    """Run `sam deploy --config-env local` into the cloud at `endpoint_url`; the outputs, usable from here.

    Raises SandboxError with the end of the log when it fails or takes too long.
    """
    _sam(
        [
            *("deploy", "--template-file", str(shop.template)),
            *("--stack-name", STACK_NAME, "--region", REGION, "--no-progressbar"),
        ],
        shop,
        # SAM asks the stack for news every 5 seconds unless told otherwise; this one answers at once.
        environment=aws_environment(endpoint_url) | {"SAM_CLI_POLL_DELAY": "0.2"},
        seconds=DEPLOY_SECONDS,
        hint="Mend the resource named above in template.yaml. After `make local-down` the cloud is empty.",
    )
    cloudformation = boto3.client("cloudformation", region_name=REGION, endpoint_url=endpoint_url)
    return read_outputs(cloudformation, STACK_NAME, endpoint_url)


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
    with _home(shop.state) as home, log.open("wb") as output:
        child = subprocess.Popen(
            # SAM looks for its settings beside the template, and the built one is elsewhere.
            [command, *arguments, "--config-file", shop.root / "samconfig.toml", "--config-env", "local"],
            cwd=shop.root,
            env=_environment(shop.root, home) | dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        problem = _wait(child, seconds)
    if problem:
        raise SandboxError(f"sam {arguments[0]} {problem}; the end of {log}:\n{processes.tail(log, LOG_LINES)}\n{hint}")


def _wait(child: subprocess.Popen[bytes], seconds: float) -> str | None:
    try:
        code = child.wait(seconds)
    except subprocess.TimeoutExpired:
        return f"was not done after {seconds:.0f} s"
    finally:
        # Ctrl-C reaches us alone, since it has a session of its own: nothing of it may outlive us.
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    return f"failed (exit code {code})" if code else None


@contextmanager
def _home(state: Path) -> Iterator[Path]:
    with TemporaryDirectory(prefix="sam-", dir=state, ignore_cleanup_errors=True) as name:
        # With a recent look for a newer version noted here, the SAM CLI does not go and look on the internet.
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
    # pip looks for its user's settings (an index of one's own, a proxy) at home, which is elsewhere now.
    for settings in (".config/pip/pip.conf", ".pip/pip.conf"):
        if (Path.home() / settings).exists():
            environment.setdefault("PIP_CONFIG_FILE", str(Path.home() / settings))
    return environment
