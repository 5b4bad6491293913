"""The library over real sockets: moto in this process as AWS, servers on loopback as the vendors."""

import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from relay.channels.cache import Secrets
from relay.deadline import Deadline
from relay.entrypoints.bootstrap import MOST_BIGPANDA_BYTES, watchdog
from relay.entrypoints.wiring import Effects, Resources, Vendors, Wiring
from relay.http.session import Session, VendorHosts
from relay.jobs.job import Job
from relay.jobs.outcome import Result
from relay.jobs.queue import envelope_of
from relay.ledger.table import Table
from tests import samples
from tests.fakes import Recorder, one_by_one
from tests.integration.account import Aws

HOSTS = VendorHosts.of(("*.xmatters.com",), ("*.bigpanda.io",), loopback=True)
LOOPBACK = HOSTS.xmatters


class Live:
    """The relay, wired as in Lambda, without waits between attempts, on a clock that a test can move.

    Attributes:
        recorder: log lines and metrics.
        ahead: seconds by which a test has moved the clock forward.
    """

    def __init__(self, account: Aws) -> None:
        self._account, self.recorder, self.ahead = account, Recorder(), 0.0
        wiring = self._wiring()
        self._channels, self._delivery = wiring.channels, wiring.delivery
        self.webhook, self.callbacks, self.worker = wiring.webhook, wiring.callbacks, wiring.worker

    def _wiring(self) -> Wiring:
        account = self._account
        secrets = Secrets(account.secrets, "relay", ticks=time.monotonic)
        table = Table(account.dynamodb, account.table, self.clock)
        resources = Resources(
            table=table,
            credentials=table,
            retries=account.retries.queue(),
            chores=account.chores.queue(),
            dead_letters=account.dead_letters.queue(),
            read_secret=secrets.read,
            secret_names=secrets.names,
            sns=lambda: account.sns,
            topic_arn=account.topic_arn,
            alarm_topic_arn="",
            notice_topic_arn="",
            invoke=lambda _: False,
        )
        effects = Effects(
            clock=self.clock,
            random=lambda: 0.0,
            sleep=time.sleep,
            deadlines=deadline,
            owner=lambda: uuid.uuid4().hex,
            at_once=one_by_one,
            watch=watchdog,
        )
        session = Session(LOOPBACK, clock=self.clock)
        bigpanda = Session(HOSTS.bigpanda, clock=self.clock, most=MOST_BIGPANDA_BYTES)
        vendors = Vendors(HOSTS, lambda: session, lambda: session, lambda: bigpanda)
        return Wiring(resources, vendors, effects, self.recorder.telemetry, cache_seconds=300)

    def clock(self) -> float:
        return time.time() + self.ahead

    def share(self, seconds: float = 7.0) -> Result:
        """Relay a share to the channel `noc` within so many seconds, two of which are reserved for the queue."""
        channel, limit = self._channels.get("noc"), deadline(seconds)
        return self._delivery.relay(
            channel, samples.share(), samples.body(), recipients=(), correlation_id="c1", deadline=limit
        )

    def wake(self, seconds: float) -> None:
        """Move the clock forward and work all jobs: first those on the retry queue, then the chores."""
        self.ahead += seconds
        for mailbox in (self._account.retries, self._account.chores):
            for each in mailbox.messages():
                assert self.worker.work([{"messageId": each["MessageId"], "body": each["Body"]}]) == []

    def revive(self, job: Job) -> None:
        """Work a job as if an operator had moved its message to the retry queue."""
        assert self.worker.work([{"messageId": "m1", "body": envelope_of(job)}]) == []


def deadline(seconds: float) -> Deadline:
    """Return a deadline on the machine's monotonic clock, which no test moves."""
    return Deadline(seconds, time.monotonic)


@dataclass
class Received:
    """A received request.

    Attributes:
        target: path and query of the request line.
        headers: values by name in lower case.
        body: bytes of the body.
        method: HTTP method.
    """

    target: str
    headers: Mapping[str, str]
    body: bytes
    method: str = "POST"


# Returns status, headers and body for a request.
type Script = Callable[[Received], tuple[int, Mapping[str, str], bytes]]


class Site(ThreadingHTTPServer):
    """A plain keep-alive HTTP server on loopback that answers by script and counts connections."""

    daemon_threads = True

    def __init__(self, script: Script) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script = script
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.connections = 0
        self.received: list[Received] = []

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print a fault of the script, but no connection that a client broke off when its time was over."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Headers and body in one segment: in two, Nagle's algorithm costs 40 ms an answer.
    wbufsize = -1
    server: Site

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        headers = {name.lower(): value for name, value in self.headers.items()}
        received = Received(self.path, headers, body, self.command)
        self.server.received.append(received)
        status, more, content = self.server.script(received)
        self.send_response_only(status)
        for name, value in {"Content-Length": str(len(content)), **more}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


@contextmanager
def site(script: Script) -> Iterator[Site]:
    """Run a site for a `with` block."""
    with Site(script) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
