"""Guard of the control API against other sites' pages: DNS rebinding and cross-site requests are answered 403.

The API listens on loopback. Any web site that a browser on this machine shows could therefore send requests to the API.
The browser names the site in `Host` and, with each request that changes something, in `Origin`. Programs send no
`Origin`.
"""

from aiohttp import web
from aiohttp.typedefs import Handler

OWN_HOSTS = frozenset({"127.0.0.1", "localhost"})
SAFE_METHODS = frozenset({"GET", "HEAD"})
# Largest body that a page may send; programs may send more.
MAX_PAGE_BYTES = 64 * 1024


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
