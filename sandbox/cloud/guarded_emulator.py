"""MiniStack behind a guard against web pages, with phones: the program that `sandbox.cloud.emulator` starts.

MiniStack answers every origin, takes a known access key without a signature, and runs code as the user. Without the
guard, any page in a browser of this machine could run code here, also by a simple POST, which no preflight precedes.

MiniStack lacks AWS End User Messaging. A stand-in checks the caller's IAM policies, and keeps the calls and texts for
``GET /_sandbox/messages``, oldest first.

It runs by its path, without this project on Python's path: the functions' processes would inherit the path.
"""

import json
import re
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from ministack import app as emulator

type Scope = dict[str, Any]
type Send = Callable[[dict[str, Any]], Awaitable[None]]

# A page of a name that leads to this machine (DNS rebinding) names itself in `Host`.
_OWN_HOST = re.compile(rb"(?:127\.0\.0\.1|(?:[a-z0-9-]+\.)*localhost)(?::\d+)?", re.IGNORECASE)
_serve = emulator.app
_TARGET = "PinpointSMSVoiceV2."
_KINDS = {"SendVoiceMessage": "call", "SendTextMessage": "text"}
# A new account, in which the phone of samconfig.toml is verified.
_READS: dict[str, Any] = {
    "DescribeAccountAttributes": {"AccountAttributes": [{"Name": "ACCOUNT_TIER", "Value": "SANDBOX"}]},
    "DescribeSpendLimits": {"SpendLimits": [{"Name": "TEXT_MESSAGE_MONTHLY_SPEND_LIMIT", "EnforcedLimit": 1}]},
    "DescribeVerifiedDestinationNumbers": {
        "VerifiedDestinationNumbers": [{"DestinationPhoneNumber": "+14255550100", "Status": "VERIFIED"}]
    },
}
_messages: list[dict[str, str]] = []


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
    if scope["type"] != "http":
        await _serve(scope, receive, send)
        return
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    operation = headers.get("x-amz-target", "").removeprefix(_TARGET)
    if is_from_a_page(scope["headers"]):
        await _answer(send, 403, b"requests of web pages are refused\n", "text/plain")
    elif scope["path"] == "/_sandbox/messages":
        await _answer(send, 200, json.dumps(_messages).encode())
    elif operation in _KINDS | _READS and headers["x-amz-target"].startswith(_TARGET):
        status, body = _messaging(operation, headers, json.loads(await _read(receive) or b"{}"))
        await _answer(send, status, body)
    else:
        await _serve(scope, receive, send)


def _messaging(operation: str, headers: dict[str, str], asked: dict[str, str]) -> tuple[int, bytes]:
    """Return status and body of End User Messaging's answer; a call or text is kept."""
    key = emulator.extract_access_key_id(headers, {})
    emulator.set_request_account_id(emulator._request_account_scope(key))
    identity = asked.get("OriginationIdentity", "*")
    denied = emulator._enforce_data_plane(
        "sms-voice", f"sms-voice:{operation}", headers, {}, str(uuid.uuid4()), resource_arn=identity
    )
    if denied:
        return denied[0], denied[2]
    if operation in _READS:
        return 200, json.dumps(_READS[operation]).encode()
    at = datetime.now(UTC).isoformat()
    kept = {"at": at, "kind": _KINDS[operation], "to": asked["DestinationPhoneNumber"], "text": asked["MessageBody"]}
    _messages.append(kept)
    return 200, json.dumps({"MessageId": str(uuid.uuid4())}).encode()


async def _read(receive: Callable[[], Awaitable[dict[str, Any]]]) -> bytes:
    body, has_more = b"", True
    while has_more:
        event = await receive()
        body, has_more = body + event.get("body", b""), event.get("more_body", False)
    return body


async def _answer(send: Send, status: int, body: bytes, kind: str = "application/x-amz-json-1.0") -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind.encode())]})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    emulator.app = app
    emulator.main()
