"""The library over real sockets to servers on loopback."""

import contextlib
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from relay.deadline import Deadline
from relay.http.session import VendorHosts

HOSTS = VendorHosts.of(("*.xmatters.com",), ("*.bigpanda.io",), loopback=True)
LOOPBACK = HOSTS.xmatters


def deadline(seconds: float) -> Deadline:
    """Return a deadline on the machine's monotonic clock, which no test moves."""
    return Deadline(seconds, time.monotonic)


@dataclass
class Received:
    """A received request.

    Attributes:
        target: path and query of the request line.
        headers: values by name in lower case.
    """

    target: str
    headers: Mapping[str, str]
    body: bytes
    method: str = "POST"


# A host that hangs for longer than this answers after all, and the test fails.
STUCK_SECONDS = 30.0
ACCEPTED = b'HTTP/1.1 202 Accepted\r\nContent-Length: 19\r\n\r\n{"requestId": "r1"}'
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

    do_GET = do_POST = do_PUT = _serve  # noqa: N815 - names that http.server calls

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


@contextmanager
def _serving[Server: socketserver.BaseServer](server: Server) -> Iterator[Server]:
    """Run a server for a `with` block."""
    with server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def site(script: Script) -> AbstractContextManager[Site]:
    """Run a site for a `with` block."""
    return _serving(Site(script))


class Host(socketserver.ThreadingTCPServer):
    """A server that sends the beginning of an answer at once, and then byte for byte until the end of the test.

    Attributes:
        requests: number of requests that it read.
    """

    daemon_threads = True
    request_queue_size = 50

    def __init__(self, at_once: bytes, trickle: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Trickling)
        self.at_once, self.trickle = at_once, trickle
        self.over = threading.Event()
        self.requests = 0
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class _Trickling(socketserver.BaseRequestHandler):
    server: Host

    def handle(self) -> None:
        if not self.request.recv(65536):
            return
        self.server.requests += 1
        # The client ends the connection at its deadline.
        with contextlib.suppress(OSError):
            self.request.sendall(self.server.at_once)
            for _ in range(int(STUCK_SECONDS / 0.05)):
                if self.server.over.wait(0.05):
                    return
                self.request.sendall(self.server.trickle)
            self.request.sendall(ACCEPTED)


@contextmanager
def host(at_once: bytes = b"", trickle: bytes = b"") -> Iterator[Host]:
    """Run a host for a `with` block: a silent one, if it is given no bytes to send."""
    with _serving(Host(at_once, trickle)) as server:
        try:
            yield server
        finally:
            server.over.set()
