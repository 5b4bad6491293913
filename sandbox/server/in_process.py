"""Both vendors' stand-ins inside the calling process: `running` for tests, `serving` in an event loop."""

import asyncio
import contextlib
import ipaddress
import ssl
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from sandbox.bigpanda.api import BigPanda
from sandbox.clock import utc_now
from sandbox.http.faults import Script
from sandbox.server.control import Control
from sandbox.server.listener import HOST, Listener
from sandbox.xmatters.access import TokenRequest
from sandbox.xmatters.api import XMatters
from sandbox.xmatters.signals import Signal
from sandbox.xmatters.triggers import Trigger

# Clocks of client and server are the same; an hour in the past is for a clock that is set back.
_VALID_BEFORE, _VALID_FOR = timedelta(hours=1), timedelta(days=30)


class Box:
    """A running sandbox, for use from any thread except the one of its event loop.

    Attributes:
        xmatters_url, control_url: Base URLs of the xMatters stand-in and of the control API.
        xmatters_authority: File with the certificate that a client of xMatters has to trust; None if xMatters speaks
            http.
        xmatters, bigpanda: The two stand-ins.
        faults: The scripted faults.
        vendor: The listener of xMatters' port.
        events: xMatters' events, and their REST API.
        directory: xMatters' people, groups and on-call, and their REST API.
    """

    def __init__(
        self,
        xmatters: XMatters,
        bigpanda: BigPanda,
        script: Script,
        vendor: Listener,
        control: Listener,
        xmatters_authority: Path | None = None,
    ) -> None:
        self.xmatters_authority = xmatters_authority
        self.xmatters_url = vendor.url
        self.control_url = control.url
        self.bigpanda = bigpanda
        self.events = xmatters.events
        self.directory = xmatters.directory
        self.xmatters = xmatters
        self.faults = script
        self.vendor = vendor
        self._loop = asyncio.get_running_loop()

    def declare(self, auth: object, token_seconds: int = 900) -> Trigger:
        """Make a trigger that takes these credentials, such as ``{"type": "url", "api_key": "k"}``."""
        return self.xmatters.triggers.declare(auth, token_seconds=token_seconds)

    def script(self, faults: Sequence[Mapping[str, object]]) -> None:
        """Replace the scripted faults; `sandbox.http.faults` describes the entries."""
        self.faults.rewrite(list(faults))

    def signals(self) -> list[Signal]:
        """Return the signals that xMatters accepted, in order."""
        return [each for each in self.attempts() if each.accepted]

    def attempts(self) -> list[Signal]:
        """Return every request to a trigger in order, refused and faulted requests included."""
        return self.xmatters.triggers.signals.all()

    def token_requests(self) -> list[TokenRequest]:
        """Return every request for an OAuth token, in order."""
        return list(self.xmatters.tokens.requests)

    def listening(self, wanted: bool) -> None:
        """Open or close xMatters' port; a closed port refuses connections, and open connections are cut."""
        change = self.vendor.open() if wanted else self.vendor.close()
        asyncio.run_coroutine_threadsafe(change, self._loop).result(timeout=10)

    def clear(self) -> None:
        """Forget requests, events, incidents, their sharing channel and scripted faults.

        Settings of the workflow and of how events are made go back to their defaults. Declared triggers, people,
        groups and users stay, and so do the keys that BigPanda's API takes.
        """
        self.faults.rewrite([])
        self.xmatters.clear()
        self.bigpanda.clear()


# Returns the function that adds routes to each new application of the control API.
type Joining = Callable[[Box], Callable[[web.Application], None]]


@contextlib.contextmanager
def running(
    now: Callable[[], datetime] = utc_now,
    *,
    is_https: bool = False,
    joining: Joining | None = None,
) -> Iterator[Box]:
    """Run a sandbox on free ports for the length of a `with` block, in a thread of its own.

    The parameters are those of `serving`.
    """
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        loop = runner.get_loop()
        thread = threading.Thread(target=loop.run_forever, name="sandbox", daemon=True)
        thread.start()
        stack = contextlib.AsyncExitStack()
        try:
            serves = serving(now=now, is_https=is_https, joining=joining)
            opening = stack.enter_async_context(serves)
            yield asyncio.run_coroutine_threadsafe(opening, loop).result()
        finally:
            asyncio.run_coroutine_threadsafe(stack.aclose(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()


@contextlib.asynccontextmanager
async def serving(
    now: Callable[[], datetime] = utc_now,
    *,
    is_https: bool = False,
    joining: Joining | None = None,
) -> AsyncIterator[Box]:
    """Serve both vendors and the control API on free ports for the length of the block.

    `now` returns the current time. With `is_https`, xMatters speaks https, with a certificate that is made now.
    `joining` gets the sandbox, and returns the function that adds further routes to the control API.
    """
    async with contextlib.AsyncExitStack() as stack:
        tls, authority = _https(stack) if is_https else (None, None)
        vendor, other, control = (_listener(stack, each) for each in (tls, None, None))
        script = Script()
        xmatters = XMatters(vendor.url, script, now)
        stack.callback(xmatters.close)
        bigpanda = BigPanda(other.url, script, now)
        stack.callback(bigpanda.live.stop)
        await vendor.serve(xmatters.application)
        await other.serve(bigpanda.application)
        api = Control(xmatters, bigpanda, script, vendor)
        box = Box(xmatters, bigpanda, script, vendor, control, authority)
        join = joining(box) if joining else None
        await control.serve(lambda: api.application(join))
        yield box


def _https(stack: contextlib.AsyncExitStack) -> tuple[ssl.SSLContext, Path]:
    """Make a certificate, signed by itself, for one run; return the server's context, and the certificate as a file.

    A client that trusts the file, with `REQUESTS_CA_BUNDLE` or `NODE_EXTRA_CA_CERTS`, accepts the server. The folder
    holds the private key, so it is private to the user, and removed after the run.
    """
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sandbox-https-")))
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - _VALID_BEFORE).not_valid_after(now + _VALID_FOR)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))])
    certificate = builder.add_extension(address, critical=False).sign(key, SHA256()).public_bytes(Encoding.PEM)
    trusted, served = folder / "authority.pem", folder / "server.pem"
    trusted.write_bytes(certificate)
    served.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(served)
    return context, trusted


def _listener(stack: contextlib.AsyncExitStack, tls: ssl.SSLContext | None) -> Listener:
    listener = Listener(tls)
    stack.push_async_callback(listener.stop)
    return listener
