"""HTTP requests from API Gateway, and replies to them."""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

from relay.failures import BadRequest

MAX_BODY_BYTES = 4 * 1024 * 1024


class Request(NamedTuple):
    """A request from API Gateway.

    Attributes:
        channel: Name of the channel in the path.
        headers: Headers; names in lower case.
        recipients: Names in the URL's `recipients` parameters, each once.
        body: Body as API Gateway passed it on.
        is_base64: True if the body is encoded in base64.
        id: API Gateway's id of the request.
        source: IP address of the client; empty if unknown.
    """

    channel: str
    headers: Mapping[str, str]
    recipients: tuple[str, ...]
    body: str
    is_base64: bool
    id: str
    source: str = ""

    @classmethod
    def from_event(cls, event: Mapping[str, Any]) -> Self:
        """Read a proxy event of a REST API. Missing parts give empty values, never an exception."""
        queries = event.get("multiValueQueryStringParameters") or {}
        context = event.get("requestContext") or {}
        single = (event.get("queryStringParameters") or {}).get("recipients")
        return cls(
            channel=str((event.get("pathParameters") or {}).get("channel", "")),
            headers={str(name).lower(): str(value) for name, value in (event.get("headers") or {}).items()},
            recipients=_recipients(queries.get("recipients") or ([single] if single else [])),
            body=str(event.get("body") or ""),
            is_base64=bool(event.get("isBase64Encoded")),
            id=str(context.get("requestId", "")),
            source=str((context.get("identity") or {}).get("sourceIp") or ""),
        )


def _recipients(values: list[str]) -> tuple[str, ...]:
    names = (name.strip() for value in values for name in value.split(","))
    return tuple(dict.fromkeys(name for name in names if name))


class Reply(NamedTuple):
    """An answer to a request: HTTP status and JSON document."""

    status: int
    document: Mapping[str, Any]

    def to_response(self) -> dict[str, Any]:
        """Return the reply in the format of a Lambda proxy integration."""
        return {
            "statusCode": self.status,
            "headers": {"Content-Type": "application/json"},
            "body": json.dumps(self.document),
            "isBase64Encoded": False,
        }


def read_body(request: Request, limit: int = MAX_BODY_BYTES) -> bytes:
    """Return the body's bytes. Raises BadRequest: 413 above `limit` bytes, 415 if the content type is not JSON."""
    encoded = limit * 4 // 3 + 4 if request.is_base64 else limit
    if len(request.body) > encoded:
        raise _too_large(limit)
    try:
        body = base64.b64decode(request.body, validate=True) if request.is_base64 else request.body.encode()
    except (binascii.Error, ValueError):
        raise BadRequest("body", "is marked as base64, and is not") from None
    if len(body) > limit:
        raise _too_large(limit)
    if not _is_json_type(request.headers.get("content-type", "")):
        raise BadRequest(
            "content-type", "must be application/json, or missing", status=415, error="unsupported_media_type"
        )
    return body


def _too_large(limit: int) -> BadRequest:
    return BadRequest("body", f"has more than {limit} bytes", status=413, error="too_large")


def _is_json_type(value: str) -> bool:
    kind = value.partition(";")[0].strip().lower()
    return kind in {"", "application/json", "text/json"} or (kind.startswith("application/") and kind.endswith("+json"))
