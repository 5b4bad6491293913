"""relayctl run against the local cloud, and against no other."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from relayctl.channel.secret_document import is_credential
from sandbox.cloud.stack import STACK_NAME
from sandbox.environment import aws_environment, without_aws
from sandbox.errors import SandboxError

VERB_SECONDS = 120.0


def run(endpoint_url: str, arguments: Sequence[str], *, columns: int = 80) -> str:
    """Run `relayctl` with `arguments` on the cloud at `endpoint_url`; return what it wrote to stdout.

    Raises SandboxError if relayctl fails or takes too long; the message of a failure holds everything that it printed.
    """
    environment = without_aws(os.environ) | aws_environment(endpoint_url) | {"COLUMNS": str(columns)}
    return invoke(environment, STACK_NAME, arguments, seconds=VERB_SECONDS).rstrip()


def invoke(
    environment: Mapping[str, str],
    stack: str,
    arguments: Sequence[str],
    codes: Sequence[int] = (0,),
    seconds: float | None = None,
) -> str:
    """Run `relayctl` on a stack; return what it wrote to stdout.

    Raises SandboxError at an exit code that is not in `codes`, or after `seconds`.
    """
    name = f"relayctl {' '.join(arguments[:2])}"
    try:
        done = subprocess.run(
            [sys.executable, "-m", "relayctl", *arguments],
            env={**environment, "RELAY_STACK": stack, "PYTHONIOENCODING": "utf-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise SandboxError(f"{name} took longer than {error.timeout:.0f} s") from error
    if done.returncode not in codes:
        raise SandboxError(f"{name} failed (exit code {done.returncode}):\n{(done.stderr + done.stdout).rstrip()}")
    return done.stdout


def set_channel(
    run: Callable[[Sequence[str]], str], name: str, trigger_url: str, settings: Sequence[str], *options: str
) -> str:
    """Make or change a channel with `relayctl channel set`; `options` are its further arguments. Return its output.

    `run` runs relayctl. Credentials in `settings` (KEY=VALUE) reach it in files that only this user can read.
    """
    with TemporaryDirectory() as folder:
        given = ["--trigger-url", f"@{_file(Path(folder) / 'trigger_url', trigger_url)}"]
        for setting in settings:
            key, _, value = setting.partition("=")
            is_secret = is_credential(key, value)
            given += ["--set", f"{key}=@{_file(Path(folder) / key, value)}" if is_secret else setting]
        return run(["channel", "set", name, *given, *options])


def _file(path: Path, text: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(text, "utf-8")
    return path
