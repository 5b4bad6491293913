"""Lambda for one function: the Runtime API on loopback, called by AWS's own runtime client (awslambdaric).

As in Lambda, the interpreter has only the runtime client and boto3 installed. The routes follow "Using the Lambda
runtime API" in AWS's Lambda developer guide, version 2018-06-01.
"""

import contextlib
import json
import os
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, Queue
from typing import Any

# `make old-sdk` names another environment.
PYTHON = Path(__file__).parents[2] / os.environ.get("LAMBDA_VENV", ".venv-lambda") / "bin" / "python"
ROUTES = "/2018-06-01/runtime"
# Lambda allows ten seconds; a busy machine may need more.
INIT_SECONDS = 30.0


class FunctionError(Exception):
    """The function could not be loaded, or its handler raised; `type` and `stack` are those that Lambda reports."""

    def __init__(self, report: Mapping[str, Any]) -> None:
        super().__init__(report["errorMessage"])
        self.type: str = report["errorType"]
        self.stack: list[str] = report["stackTrace"]


class FunctionStopped(Exception):
    """The process ended without an answer, or was killed at its timeout."""


@dataclass(frozen=True)
class Deployed:
    """A function as its template describes it.

    Attributes:
        code: folder of the function.
        layers: folders of its layers, in order.
        handler: module and name of the handler.
        timeout: seconds of one invocation.
        variables: environment variables.
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


@dataclass(frozen=True)
class _Said:
    """A call of the function's process to the Runtime API.

    Attributes:
        what: kind of call: a request for work, an answer, an error, or the end.
        request_id: the invocation; empty if the call belongs to none.
        body: body of the answer or the error.
    """

    what: str
    request_id: str = ""
    body: bytes = b""


@dataclass(frozen=True)
class _Invocation:
    payload: bytes
    deadline: float
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def headers(self) -> dict[str, str]:
        return {
            "Content-Type": "application/json",
            "Lambda-Runtime-Aws-Request-Id": self.request_id,
            "Lambda-Runtime-Deadline-Ms": str(int(self.deadline * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:us-east-1:123456789012:function:function",
            "Lambda-Runtime-Trace-Id": "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=0",
        }


class Function:
    """A loaded function, for one invocation at a time; `init_seconds` is the duration of its load."""

    def __init__(self, deployed: Deployed, api: "_Api", process: subprocess.Popen[bytes], log: Path) -> None:
        self._deployed = deployed
        self._api = api
        self._process = process
        self._log = log
        self.init_seconds = 0.0

    def invoke(self, event: Any) -> Any:
        """Return the handler's answer. Raises FunctionError if the handler raises, FunctionStopped at its timeout."""
        invocation = _Invocation(json.dumps(event).encode(), time.time() + self._deployed.timeout)
        self._api.work.put(invocation)
        said = self._hear(self._deployed.timeout)
        assert said.request_id == invocation.request_id, "the answer is to another invocation"
        if said.what == "error":
            raise FunctionError(json.loads(said.body))
        return json.loads(said.body)

    def log(self) -> str:
        return self._log.read_text()

    def load(self) -> None:
        """Wait until the function asks for its first invocation. Raises FunctionError if it cannot be loaded."""
        started = time.perf_counter()
        said = self._hear(INIT_SECONDS, first=True)
        self.init_seconds = time.perf_counter() - started
        if said.what == "error":
            raise FunctionError(json.loads(said.body))

    def _hear(self, seconds: float, *, first: bool = False) -> _Said:
        end = time.monotonic() + seconds
        while True:
            try:
                said = self._api.said.get(timeout=max(0.0, end - time.monotonic()))
            except Empty:
                self._process.kill()
                raise FunctionStopped(f"Task timed out after {seconds:.2f} seconds\n{self.log()}") from None
            if said.what == "end":
                raise FunctionStopped(f"Runtime exited with status {self._process.returncode}\n{self.log()}")
            if said.what != "next" or first:
                return said


@contextlib.contextmanager
def loaded(deployed: Deployed, log: Path) -> Iterator[Function]:
    """Run the function in a process of its own, which writes to `log`, for a `with` block. Raises as Function.load."""
    with _serving() as api, log.open("wb") as output:
        process = subprocess.Popen(
            [PYTHON, "-m", "awslambdaric", deployed.handler],
            cwd=deployed.code,
            env=deployed.environment() | {"AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{api.server_port}"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        watch = threading.Thread(target=api.watch, args=(process,))
        watch.start()
        try:
            function = Function(deployed, api, process, log)
            function.load()
            yield function
        finally:
            process.kill()
            watch.join()


class _Api(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Routes)
        self.work: Queue[_Invocation | None] = Queue()
        self.said: Queue[_Said] = Queue()

    def watch(self, process: subprocess.Popen[bytes]) -> None:
        process.wait()
        self.said.put(_Said("end"))
        self.work.put(None)

    def handle_error(self, *_: Any) -> None:
        """Ignore broken connections, which a killed process leaves."""


class _Routes(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body in one write: two writes on a keep-alive connection wait for each other (Nagle's algorithm).
    wbufsize = -1
    server: _Api

    def do_GET(self) -> None:
        if self.path != f"{ROUTES}/invocation/next":
            self._answer(404)
            return
        self.server.said.put(_Said("next"))
        invocation = self.server.work.get()
        if invocation is None:
            self.close_connection = True
            return
        self._answer(200, invocation.headers(), invocation.payload)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        match self.path.removeprefix(ROUTES).split("/"):
            case ["", "invocation", request_id, "response" | "error" as what]:
                said = _Said(what, request_id, body)
            case ["", "init", "error"]:
                said = _Said("error", body=body)
            case _:
                self._answer(404)
                return
        self._answer(202, {"Content-Type": "application/json"}, b'{"status": "OK"}')
        self.server.said.put(said)

    def _answer(self, status: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


@contextlib.contextmanager
def _serving() -> Iterator[_Api]:
    with _Api() as api:
        thread = threading.Thread(target=api.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield api
        finally:
            api.shutdown()
            thread.join()
