"""MiniStack behind a guard against web pages: the program that `sandbox.cloud.emulator` starts.

MiniStack answers every origin, takes a known access key without a signature, and runs code as the user. Without the
guard, any page in a browser of this machine could run code here, also by a simple POST, which no preflight precedes.

It runs by its path, without this project on Python's path: the functions' processes would inherit the path.
"""

import re
from collections.abc import Awaitable, Callable
from typing import Any

from ministack import app as emulator

type Scope = dict[str, Any]
type Send = Callable[[dict[str, Any]], Awaitable[None]]

# A page of a name that leads to this machine (DNS rebinding) names itself in `Host`.
_OWN_HOST = re.compile(rb"(?:127\.0\.0\.1|(?:[a-z0-9-]+\.)*localhost)(?::\d+)?", re.IGNORECASE)
_serve = emulator.app


def is_from_a_page(headers: list[tuple[bytes, bytes]]) -> bool:
    """Return True if a browser sent a request for a page, or if it is not for this machine.

    A browser sends `Origin` with each request that changes something, and `Sec-Fetch-Site` with every other one. AWS
    clients and the relay's callers send neither. An address that somebody typed has the site `none`.
    """
    found: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        found.setdefault(name.lower(), []).append(value)
    [host, *others] = found.get(b"host", [b""])
    is_own = not others and _OWN_HOST.fullmatch(host) is not None
    return not is_own or b"origin" in found or any(each != b"none" for each in found.get(b"sec-fetch-site", []))


async def app(scope: Scope, receive: Any, send: Send) -> None:
    """Serve a request, or refuse it if a page sent it. Nothing here needs a websocket."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    if scope["type"] != "http" or not is_from_a_page(scope["headers"]):
        await _serve(scope, receive, send)
        return
    await send({"type": "http.response.start", "status": 403, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"requests of web pages are refused\n"})


if __name__ == "__main__":
    emulator.app = app
    emulator.main()
