"""The webhook, loaded into this process as Lambda loads it, with a meter for its calls to AWS."""

import contextlib
import io
import os
import runpy
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from botocore.client import BaseClient

from bench.bodies import CONTEXT
from sandbox.environment import aws_environment, without_aws
from sandbox.errors import SandboxError

ROOT = Path(__file__).resolve().parents[1]


@dataclass
class Spent:
    """Resources of one invocation.

    Attributes:
        seconds: wall-clock time, calls to AWS included.
        cpu: seconds of CPU, calls to AWS included.
        aws_seconds: wall-clock time of the calls to AWS.
        aws_cpu: seconds of CPU of the calls to AWS.
        calls: number of calls to AWS by operation.
    """

    seconds: float = 0.0
    cpu: float = 0.0
    aws_seconds: float = 0.0
    aws_cpu: float = 0.0
    calls: Counter[str] = field(default_factory=Counter)

    @contextlib.contextmanager
    def metering(self) -> Iterator[None]:
        """Add what is spent inside a `with` block.

        A call to AWS lasts from the client's method to the parsed answer. Clients of every library count, and so do
        calls that fail.
        """
        call = BaseClient._make_api_call  # type: ignore[attr-defined]

        def timed(client: BaseClient, operation: str, parameters: dict[str, Any]) -> Any:
            # A call runs in one thread from start to end, so that thread's CPU time is the call's.
            began, cpu = time.perf_counter(), time.thread_time()
            try:
                return call(client, operation, parameters)
            finally:
                self.calls[operation] += 1
                self.aws_cpu += time.thread_time() - cpu
                self.aws_seconds += time.perf_counter() - began

        with mock.patch.object(BaseClient, "_make_api_call", timed):
            began, cpu = time.perf_counter(), time.process_time()
            yield
            self.seconds += time.perf_counter() - began
            self.cpu += time.process_time() - cpu


class Webhook:
    """The webhook's function. The constructor loads it, with environment variables that lead to the stand-ins' URL."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._log = io.StringIO()
        os.environ.update(_environment(url))
        with contextlib.redirect_stdout(self._log):
            app = runpy.run_path(str(ROOT / "functions/bigpanda_webhook/app.py"))
        self._handler: Callable[[dict[str, Any], object], dict[str, Any]] = app["handler"]

    def invoke(self, event: dict[str, Any]) -> tuple[dict[str, Any], Spent]:
        """Invoke the handler; return its answer and the resources of the invocation."""
        spent = Spent()
        with contextlib.redirect_stdout(self._log), spent.metering():
            answer = self._handler(event, CONTEXT)
        return answer, spent


@contextlib.contextmanager
def loaded_webhook() -> Iterator[Webhook]:
    """Load the webhook, and run the process of the stand-ins, for a `with` block.

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
        url = process.stdout.readline().strip()
        if not url:
            raise SandboxError(f"{' '.join(command)} did not start")
        try:
            yield Webhook(url)
        finally:
            process.stdin.close()


def _environment(url: str) -> dict[str, str]:
    queue = f"{url}/123456789012"
    return aws_environment(url) | {
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
