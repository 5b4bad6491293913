"""relayctl run against the local cloud, and against no other."""

import os
import subprocess
import sys
from collections.abc import Sequence
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
    environment = without_aws(os.environ) | aws_environment(endpoint_url)
    name = f"relayctl {' '.join(arguments[:2])}"
    try:
        done = subprocess.run(
            [sys.executable, "-m", "relayctl", *arguments],
            env=environment | {"RELAY_STACK": STACK_NAME, "COLUMNS": str(columns), "PYTHONIOENCODING": "utf-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=VERB_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise SandboxError(f"{name} took longer than {error.timeout:.0f} s") from error
    if done.returncode:
        raise SandboxError(f"{name} failed (exit code {done.returncode}):\n{(done.stderr + done.stdout).rstrip()}")
    return done.stdout.rstrip()


def set_channel(
    endpoint_url: str, name: str, trigger_url: str, settings: Sequence[str], options: Sequence[str] = ()
) -> None:
    """Make or change a channel with `relayctl channel set`; `options` are its further arguments.

    Credentials in `settings` (KEY=VALUE) reach relayctl in files that only this user can read.
    """
    with TemporaryDirectory() as folder:
        given = ["--trigger-url", f"@{_file(Path(folder) / 'trigger_url', trigger_url)}"]
        for setting in settings:
            key, _, value = setting.partition("=")
            is_secret = is_credential(key, value)
            given += ["--set", f"{key}=@{_file(Path(folder) / key, value)}" if is_secret else setting]
        run(endpoint_url, ["channel", "set", name, *given, *options])


def _file(path: Path, text: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(text, "utf-8")
    return path
