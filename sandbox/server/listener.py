"""A web application on a loopback port that can be closed and opened again, and a guard against other sites' pages.

Any web site that a browser on this machine shows could send requests to the port. The browser names the site in `Host`
and, with each request that changes something, in `Origin`: DNS rebinding and cross-site requests are answered 403.
Programs send no `Origin`.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable

from aiohttp import web
from aiohttp.typedefs import Handler

HOST = "127.0.0.1"
OWN_HOSTS = frozenset({"127.0.0.1", "localhost"})
SAFE_METHODS = frozenset({"GET", "HEAD"})
# Largest body that a page may send; programs may send more.
MAX_PAGE_BYTES = 64 * 1024


class Listener:
    """A free port that stays reserved while the listener is closed, so that no other program answers there.

    With a TLS context, the listener speaks https.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._socket = _bound(0)
        self._application: Callable[[], web.Application] = web.Application
        self._runner: web.AppRunner | None = None
        self._tls = tls
        self._changing = asyncio.Lock()
        self.port: int = self._socket.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://{HOST}:{self.port}"

    @property
    def is_open(self) -> bool:
        """True if the listener accepts connections."""
        return self._runner is not None

    async def serve(self, application: Callable[[], web.Application]) -> None:
        """Open the port. `application` makes the web application to serve, anew each time that the port is opened."""
        self._application = application
        await self.open()

    async def open(self) -> None:
        """Accept connections; no effect if the listener is open."""
        async with self._changing:
            if self._runner is None:
                self._runner = web.AppRunner(
                    self._application(),
                    access_log=None,
                    auto_decompress=False,
                    max_line_size=65536,
                    max_field_size=65536,
                    shutdown_timeout=0.1,
                )
                await self._runner.setup()
                await web.SockSite(self._runner, self._socket, ssl_context=self._tls, backlog=1024).start()

    async def close(self) -> None:
        """Refuse connections and cut the existing ones, since an idle connection would go on working."""
        async with self._changing:
            if self._runner:
                await self._runner.cleanup()
                self._runner = None
                self._socket = _bound(self.port)

    async def stop(self) -> None:
        """Close for good, and release the port."""
        async with self._changing:
            if self._runner:
                await self._runner.cleanup()
            self._socket.close()


def _bound(port: int) -> socket.socket:
    # A socket that is bound but does not listen refuses connections and keeps the port reserved.
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind((HOST, port))
    return bound


@web.middleware
async def own_pages_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer 403 to a request for another host or from another site, and 413 if a browser sends too large a body."""
    host = request.headers.get("Host", "")
    if host.partition(":")[0].lower() not in OWN_HOSTS:
        return _refused(403, "this address is for 127.0.0.1 and localhost only")
    origin = request.headers.get("Origin")
    if request.method not in SAFE_METHODS and not _is_own(origin, host, request.headers.get("Sec-Fetch-Site")):
        return _refused(403, "requests from other sites are refused")
    if origin is not None and request.can_read_body and not _is_small(request.content_length):
        return _refused(413, f"a body of at most {MAX_PAGE_BYTES} bytes, with its length, is taken from a page")
    return await handler(request)


def _is_own(origin: str | None, host: str, site: str | None) -> bool:
    if site not in {None, "same-origin", "none"}:
        return False
    return origin is None or origin.lower() == f"http://{host.lower()}"


def _is_small(length: int | None) -> bool:
    return length is not None and length <= MAX_PAGE_BYTES


def _refused(status: int, text: str) -> web.Response:
    return web.json_response({"error": text}, status=status)
