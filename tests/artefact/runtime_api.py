"""Lambda for one function: a process in which AWS's own runtime client (awslambdaric) runs the handler.

As in Lambda, the interpreter has only the runtime client and boto3 installed. Instead of HTTP, the client gets
invocations and gives results as lines of JSON.
"""

import json
import os
import select
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# `make old-sdk` names another environment.
PYTHON = Path(__file__).parents[2] / os.environ.get("LAMBDA_VENV", ".venv-lambda") / "bin" / "python"
# Lambda allows ten seconds; a busy machine may need more.
INIT_SECONDS = 30.0
# Runs the handler that its argument names. Results have a stream of their own; what the handler prints goes to the log.
_RUNTIME = """
import json, os, sys, uuid
from awslambdaric import bootstrap
from awslambdaric.lambda_runtime_client import BaseLambdaRuntimeClient, InvocationRequest

results = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)

class Client(BaseLambdaRuntimeClient):
    is_loaded = False

    def __init__(self):
        pass

    def say(self, kind, document=None):
        print(json.dumps([kind, document]), file=results)

    def wait_next_invocation(self):
        if not self.is_loaded:
            self.say("loaded")
        self.is_loaded = True
        line = sys.stdin.readline() or sys.exit()
        deadline, event = json.loads(line)
        about = dict.fromkeys(("client_context", "cognito_identity", "tenant_id", "invocation_id"))
        return InvocationRequest(
            invoke_id=str(uuid.uuid4()),
            x_amzn_trace_id="Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=0",
            invoked_function_arn="arn:aws:lambda:us-east-1:123456789012:function:function",
            deadline_time_in_ms=deadline,
            content_type="application/json",
            event_body=json.dumps(event).encode(),
            **about,
        )

    def post_invocation_result(self, invoke_id, result, *_):
        self.say("result", json.loads(result))

    def post_invocation_error(self, invoke_id, error, *_):
        self.say("error", json.loads(error))

    def post_init_error(self, error):
        self.say("error", error)

bootstrap.run(sys.argv[1], Client())
"""


class FunctionError(Exception):
    """The function could not be loaded, or its handler raised."""


class FunctionStopped(Exception):
    """The process ended without an answer, or was killed at its timeout."""


@dataclass(frozen=True)
class Deployed:
    """A function as its template describes it.

    Attributes:
        timeout: seconds of one invocation.
    """

    code: Path
    layers: tuple[Path, ...]
    handler: str
    timeout: float
    variables: Mapping[str, str]

    def environment(self) -> dict[str, str]:
        """Return the process's environment: Lambda's variables, then the function's own."""
        return {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LANG": "en_US.UTF-8",
            "TZ": ":UTC",
            "PYTHONPATH": ":".join(str(layer / "python") for layer in self.layers),
            # Lambda's folders are read-only.
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONNOUSERSITE": "1",
            "LAMBDA_TASK_ROOT": str(self.code),
            "_HANDLER": self.handler,
            "AWS_EXECUTION_ENV": "AWS_Lambda_python3.13",
            "AWS_LAMBDA_FUNCTION_NAME": "function",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/function",
            "AWS_LAMBDA_LOG_STREAM_NAME": "2026/01/01/[$LATEST]0",
            **self.variables,
        }

    def run(self, script: str) -> str:
        """Run a script in the function's environment; return its output."""
        command = [str(PYTHON), "-c", script]
        done = subprocess.run(
            command, cwd=self.code, env=self.environment(), capture_output=True, text=True, timeout=60, check=False
        )
        if done.returncode:
            raise FunctionStopped(done.stderr)
        return done.stdout


class Function:
    """A loaded function, for one invocation at a time."""

    def __init__(self, deployed: Deployed, process: subprocess.Popen[str], log: Path) -> None:
        self._deployed = deployed
        self._process = process
        self._log = log
        self._hear(INIT_SECONDS)

    def invoke(self, event: Any) -> Any:
        """Return the handler's answer. Raises FunctionError if the handler raises, FunctionStopped at its timeout."""
        assert self._process.stdin
        deadline = int((time.time() + self._deployed.timeout) * 1000)
        self._process.stdin.write(json.dumps([deadline, event]) + "\n")
        self._process.stdin.flush()
        return self._hear(self._deployed.timeout)

    def log(self) -> str:
        return self._log.read_text()

    def _hear(self, seconds: float) -> Any:
        """Return the next result of the runtime client. Raises FunctionError if it is an error."""
        assert self._process.stdout
        if not select.select([self._process.stdout], [], [], seconds)[0]:
            raise FunctionStopped(f"Task timed out after {seconds:.2f} seconds\n{self.log()}")
        line = self._process.stdout.readline()
        if not line:
            raise FunctionStopped(f"Runtime exited\n{self.log()}")
        kind, document = json.loads(line)
        if kind == "error":
            raise FunctionError(document["errorMessage"])
        return document


@contextmanager
def loaded(deployed: Deployed, log: Path) -> Iterator[Function]:
    """Load the function in a process of its own, which writes to `log`, for a `with` block.

    Raises FunctionError if it cannot be loaded.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            [PYTHON, "-c", _RUNTIME, deployed.handler],
            cwd=deployed.code,
            env=deployed.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
        )
        with process:
            try:
                yield Function(deployed, process, log)
            finally:
                process.kill()
