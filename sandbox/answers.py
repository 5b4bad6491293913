"""What the vendors answer: the bytes, whatever way they then travel.

xMatters' 202, the shape of the error object and ``invalid_token`` are documented or recorded; see
docs/vendors.md, xMatters "Answers". BigPanda's error object is documented. Which message stands in an error object, and
the page of HTML, are our guesses.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from aiohttp import web

JSON = "application/json;charset=utf-8"


@dataclass(frozen=True)
class Answer:
    """One HTTP answer: status, headers, and body as it is sent."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self) -> web.Response:
        """The same for the web framework."""
        return web.Response(status=self.status, body=self.body, headers=self.headers)

    def encoded(self) -> bytes:
        """The same as bytes on the wire; the connection is closed after them."""
        lines = [f"HTTP/1.1 {self.status} {_phrase(self.status)}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        lines += [f"Content-Length: {len(self.body)}", "Connection: close", "", ""]
        return "\r\n".join(lines).encode() + self.body


def document(status: int, content: Any, headers: Mapping[str, str] | None = None) -> Answer:
    """An answer with a JSON body."""
    return Answer(
        status, json.dumps(content, separators=(",", ":")).encode(), {"Content-Type": JSON, **(headers or {})}
    )


def accepted(request_id: str) -> Answer:
    """xMatters has the signal; nobody has been notified yet."""
    return document(202, {"requestId": request_id}, {"x-trace": request_id})


def error(status: int, message: str, headers: Mapping[str, str] | None = None) -> Answer:
    """xMatters' error object."""
    return document(status, {"code": status, "reason": _phrase(status), "message": message}, headers)


def errors(status: int, message: str, headers: Mapping[str, str] | None = None) -> Answer:
    """BigPanda's error object."""
    return document(status, {"status": status, "errors": [message]}, headers)


def invalid_token() -> Answer:
    """A bearer token that is unknown, revoked or too old."""
    return document(401, {"error": "invalid_token", "error_description": "The access token is not valid"})


def page(status: int) -> Answer:
    """HTML, as from a load balancer in front of a vendor."""
    title = f"{status} {_phrase(status)}"
    html = f"<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>\n"
    return Answer(status, html.encode(), {"Content-Type": "text/html;charset=utf-8"})


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
