"""The functions, loaded into this process as Lambda loads them, with a meter for their calls to AWS."""

import contextlib
import importlib.util
import io
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from botocore.client import BaseClient

from sandbox.environment import aws_environment, without_aws
from sandbox.errors import SandboxError

if TYPE_CHECKING:
    from relay.reconcile.reconciler import Reconciler

ROOT = Path(__file__).resolve().parents[1]

type Handler = Callable[[dict[str, Any], object], dict[str, Any]]


@dataclass(frozen=True)
class Edges:
    """URLs of the stand-ins' process (bench/edges.py).

    Attributes:
        aws_url: endpoint of AWS.
        xmatters_url: base URL of xMatters and BigPanda.
    """

    aws_url: str
    xmatters_url: str


@dataclass(frozen=True)
class Spent:
    """Resources of one invocation.

    Attributes:
        seconds: wall-clock time, calls to AWS included.
        cpu: seconds of CPU, calls to AWS included.
        aws_seconds: wall-clock time of the calls to AWS.
        aws_cpu: seconds of CPU of the calls to AWS.
        calls: number of calls to AWS by operation.
        log_bytes: bytes of log lines and metrics.
        log_lines: lines of log lines and metrics.
    """

    seconds: float
    cpu: float
    aws_seconds: float
    aws_cpu: float
    calls: Counter[str]
    log_bytes: int
    log_lines: int


class Meter:
    """Counter and timer of all calls to AWS, from the client's method to the parsed answer.

    Clients of every library count, and so do calls that fail.
    """

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.seconds = self.cpu = 0.0

    def clear(self) -> None:
        """Reset all counts and times to zero."""
        self.calls, self.seconds, self.cpu = Counter(), 0.0, 0.0

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Meter the calls inside a `with` block."""
        call = BaseClient._make_api_call  # type: ignore[attr-defined]

        def timed(client: BaseClient, operation: str, parameters: dict[str, Any]) -> Any:
            # A call runs in one thread from start to end, so that thread's CPU time is the call's.
            began, cpu = time.perf_counter(), time.thread_time()
            try:
                return call(client, operation, parameters)
            finally:
                self.calls[operation] += 1
                self.cpu += time.thread_time() - cpu
                self.seconds += time.perf_counter() - began

        with mock.patch.object(BaseClient, "_make_api_call", timed):
            yield


@dataclass(frozen=True)
class Context:
    """Lambda's context object, with the attributes that Powertools reads."""

    function_name: str = "bigpanda-xmatters-relay-BigPandaWebhookFunction-0123456789ab"
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = (
        "arn:aws:lambda:us-east-1:123456789012:function:bigpanda-xmatters-relay-BigPandaWebhookFunction-0123456789ab"
    )
    aws_request_id: str = "00000000-0000-4000-8000-000000000000"


@dataclass
class Log(io.TextIOBase):
    """Output stream that counts and discards log lines and metrics.

    Attributes:
        written: characters written so far.
        lines: lines written so far.
    """

    written: int = field(default=0)
    lines: int = field(default=0)

    def write(self, text: str) -> int:
        self.written += len(text)
        self.lines += text.count("\n")
        return len(text)


class Functions:
    """All functions, loaded and warm. The constructor sets their environment variables in this process."""

    def __init__(self, edges: Edges) -> None:
        self.edges = edges
        self._log = Log()
        self._meter = Meter()
        os.environ.update(_environment(edges))
        with contextlib.redirect_stdout(self._log):
            self.webhook, self.worker = _handler("bigpanda_webhook"), _handler("job_worker")
            self.callback, self.chore_worker = _handler("xmatters_callback"), _handler("chore_worker")
            self.reconciler: Reconciler = _app("reconcile").reconciler

    def invoke(self, handler: Handler, event: dict[str, Any]) -> tuple[dict[str, Any], Spent]:
        """Invoke a handler; return its answer and the resources of the invocation."""
        meter, written, lines = self._meter, self._log.written, self._log.lines
        meter.clear()
        with meter.reading(), contextlib.redirect_stdout(self._log):
            began, cpu = time.perf_counter(), time.process_time()
            answer = handler(event, Context())
            seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        written, lines = self._log.written - written, self._log.lines - lines
        return answer, Spent(seconds, cpu, meter.seconds, meter.cpu, meter.calls, written, lines)


@contextlib.contextmanager
def edges() -> Iterator[Edges]:
    """Run the process of the stand-ins for AWS and both vendors, for a `with` block.

    Raises SandboxError if the process does not start.
    """
    command = [sys.executable, "-m", "bench.edges"]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=without_aws(os.environ),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # Ctrl-C must reach only this process; the stand-ins end with their standard input.
        start_new_session=True,
    ) as process:
        assert process.stdin
        assert process.stdout
        ready = process.stdout.readline()
        if not ready:
            raise SandboxError(f"{' '.join(command)} did not start")
        try:
            yield Edges(**json.loads(ready))
        finally:
            process.stdin.close()


def _environment(edges: Edges) -> dict[str, str]:
    queue = f"{edges.aws_url}/123456789012"
    return aws_environment(edges.aws_url) | {
        "POWERTOOLS_SERVICE_NAME": "relay",
        "POWERTOOLS_METRICS_NAMESPACE": "bigpanda-xmatters-relay",
        "POWERTOOLS_LOG_LEVEL": "INFO",
        "RELAY_SECRET_PREFIX": "relay",
        "RELAY_SECRET_CACHE_SECONDS": "300",
        "RELAY_XMATTERS_HOSTS": "*.xmatters.com",
        "RELAY_BIGPANDA_HOSTS": "api.bigpanda.io",
        "RELAY_PROFILE": "local",
        "RELAY_RETRY_QUEUE_URL": f"{queue}/retries",
        "RELAY_CHORE_QUEUE_URL": f"{queue}/chores",
        "RELAY_DEAD_LETTER_QUEUE_URL": f"{queue}/dead-letters",
        "RELAY_LEDGER_TABLE": "ledger",
        "RELAY_FALLBACK_TOPIC_ARN": "arn:aws:sns:us-east-1:123456789012:fallback",
    }


def _handler(function: str) -> Handler:
    handler: Handler = _app(function).handler
    return handler


def _app(function: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"{function}_app", ROOT / "functions" / function / "app.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
