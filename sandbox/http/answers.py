"""Answers of both vendors, as bytes.

xMatters' 202, the shape of its error object and ``invalid_token`` are documented or recorded: docs/vendors.md, xMatters
"Answers". BigPanda's error object is documented. The messages in error objects, the HTML page, and 405 for a
method that a path does not take, are guesses.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

JSON = "application/json;charset=utf-8"


@dataclass(frozen=True)
class VendorAnswer:
    """One HTTP answer: status, body bytes, headers."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self) -> web.Response:
        """Return the answer as a response of the web framework."""
        return web.Response(status=self.status, body=self.body, headers=self.headers)

    def encoded(self) -> bytes:
        """Return the answer as the bytes of an HTTP/1.1 response that closes the connection."""
        lines = [f"HTTP/1.1 {self.status} {_phrase(self.status)}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        lines += [f"Content-Length: {len(self.body)}", "Connection: close", "", ""]
        return "\r\n".join(lines).encode() + self.body


def document(status: int, content: Any, headers: Mapping[str, str] | None = None) -> VendorAnswer:
    """Return an answer with a JSON body."""
    return VendorAnswer(
        status, json.dumps(content, separators=(",", ":")).encode(), {"Content-Type": JSON, **(headers or {})}
    )


def accepted(request_id: str) -> VendorAnswer:
    """Return xMatters' 202: the signal is accepted, and no person has been notified yet."""
    return document(202, {"requestId": request_id}, {"x-trace": request_id})


def xmatters_error(status: int, message: str, headers: Mapping[str, str] | None = None) -> VendorAnswer:
    """Return an answer with xMatters' error object."""
    return document(status, {"code": status, "reason": _phrase(status), "message": message}, headers)


def bigpanda_error(status: int, message: str, headers: Mapping[str, str] | None = None) -> VendorAnswer:
    """Return an answer with BigPanda's error object."""
    return document(status, {"status": status, "errors": [message]}, headers)


def unknown_routes_with(error: Callable[[int, str], VendorAnswer]) -> Middleware:
    """Return middleware that answers an unknown path, or a method that a path does not take, with a vendor's error."""

    @web.middleware
    async def answered(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPNotFound:
            return error(404, f"There is nothing at {request.path}").response()
        except web.HTTPMethodNotAllowed as refusal:
            answer = error(405, f"{request.path} takes {' and '.join(sorted(refusal.allowed_methods))}").response()
            answer.headers["Allow"] = refusal.headers["Allow"]
            return answer

    return answered


def invalid_token() -> VendorAnswer:
    """Return xMatters' answer to a bearer token that is unknown, revoked or expired."""
    return document(401, {"error": "invalid_token", "error_description": "The access token is not valid"})


def page(status: int) -> VendorAnswer:
    """Return an HTML page, as from a load balancer in front of a vendor."""
    title = f"{status} {_phrase(status)}"
    html = f"<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>\n"
    return VendorAnswer(status, html.encode(), {"Content-Type": "text/html;charset=utf-8"})


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
