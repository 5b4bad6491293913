"""Minimal stand-ins for both vendors and AWS on loopback, in a process of their own.

Each answers in a fraction of a millisecond, so that the relay's own time is not hidden. DynamoDB is the tests' fake,
served over HTTP. SQS discards its messages, and Secrets Manager has a secret for every channel. xMatters accepts each
POST below `/up` and answers 503 below `/down`. BigPanda accepts every write.
"""

import asyncio
import json
import sys
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from botocore.exceptions import ClientError

from tests.fake_dynamodb import FakeDynamoDb

TOKEN = "inbound-token-of-the-bench"
CALLBACK_TOKEN = "callback-token-of-the-bench"
RECIPIENT = "Network Operations"


@dataclass(frozen=True)
class Heard:
    """A received request.

    Attributes:
        target: path and query of the request line.
        headers: values by name in lower case.
        body: bytes of the body.
    """

    target: str
    headers: Mapping[str, str]
    body: bytes


type HttpAnswer = tuple[int, bytes]


class Wire(asyncio.Protocol):
    """Server side of one keep-alive connection: reads whole requests and writes answers."""

    def __init__(self, answer: Callable[[Heard], HttpAnswer]) -> None:
        self._answer = answer
        self._bytes = bytearray()
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._bytes += data
        while self._transport and (heard := self._whole()):
            status, body = self._answer(heard)
            head = f"HTTP/1.1 {status} -\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            self._transport.write(head.encode("ascii") + body)

    def _whole(self) -> Heard | None:
        """Return the next request, or None until all of it has arrived."""
        end = self._bytes.find(b"\r\n\r\n")
        if end < 0:
            return None
        first, *lines = self._bytes[:end].decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        size = end + 4 + int(headers.get("content-length", "0"))
        if len(self._bytes) < size:
            return None
        body = bytes(self._bytes[end + 4 : size])
        del self._bytes[:size]
        return Heard(first.split(" ")[1], headers, body)


class Aws:
    """Stand-in for AWS's JSON services; the `x-amz-target` header names the service and the operation."""

    def __init__(self, xmatters_url: str) -> None:
        self._xmatters_url = xmatters_url
        self._dynamodb = FakeDynamoDb()

    def answer(self, heard: Heard) -> HttpAnswer:
        """Return AWS's answer to a request."""
        service, _, operation = heard.headers["x-amz-target"].partition(".")
        asked = json.loads(heard.body)
        try:
            return 200, json.dumps(self._asked(service, operation, asked)).encode()
        except ClientError as error:
            return 400, json.dumps({"__type": error.response["Error"]["Code"], "message": "no"}).encode()

    def _asked(self, service: str, operation: str, asked: dict[str, Any]) -> Any:
        match service, operation:
            case "DynamoDB_20120810", "GetItem":
                return self._dynamodb.get_item(**asked)
            case "DynamoDB_20120810", "PutItem":
                return self._dynamodb.put_item(**asked)
            case "DynamoDB_20120810", "BatchGetItem":
                return self._dynamodb.batch_get_item(**asked)
            case "DynamoDB_20120810", "UpdateItem":
                return self._dynamodb.update_item(**asked)
            case "AmazonSQS", "SendMessage":
                return {"MessageId": str(uuid.uuid4())}
            case "secretsmanager", "GetSecretValue":
                return {"SecretString": json.dumps(self._secret(asked["SecretId"].rpartition("/")[2]))}
        raise ClientError({"Error": {"Code": "UnknownOperationException"}}, operation)

    def _secret(self, channel: str) -> dict[str, Any]:
        side = "down" if channel.startswith("down") else "up"
        url = f"{self._xmatters_url}/{side}?apiKey=bench"
        trigger = {"trigger_url": url, "auth": {"type": "url"}, "any_trigger_path": True}
        return {
            "inbound": {"token": TOKEN},
            "xmatters": trigger | {"recipients": [RECIPIENT], "callback": {"token": CALLBACK_TOKEN}},
            # An account for each channel, since BigPanda limits calls by account.
            "bigpanda": self._bigpanda(channel),
        }

    def _bigpanda(self, channel: str) -> dict[str, Any]:
        access = {"base_url": self._xmatters_url, "api_key": f"BPU-{channel}"}
        if channel.startswith("run-"):
            return access | {"environment_id": f"e{channel.split('-')[1]}"}
        # Reconcile is off: the relay stores a share's origin once a day and channel; here nearly each share would.
        return access | {"reconcile": False}


def xmatters(heard: Heard) -> HttpAnswer:
    """Return the answer of the vendors' stand-in: as BigPanda for paths of BigPanda's API, else as xMatters."""
    if "/incidents?" in heard.target:
        return 200, _incidents(heard.target)
    if heard.target.startswith("/resources/"):
        return 204, b""
    if heard.target.startswith("/up"):
        return 202, json.dumps({"requestId": str(uuid.uuid4())}).encode()
    return 503, b"{}"


@cache
def _incidents(target: str) -> bytes:
    """Return one page of BigPanda's listing of an environment's shared incidents.

    The environment's name gives the number of incidents: `e400` has 400 incidents.
    """
    parts = urlsplit(target)
    query = dict(parse_qsl(parts.query))
    total = int(parts.path.split("/")[-2].removeprefix("e")) if query["folder"] == "shared" else 0
    size = int(query["page_size"])
    places = range((int(query["page"]) - 1) * size, min(total, int(query["page"]) * size))
    items = [
        {
            "id": f"66b0f1c2a94d3e0012{place:06d}",
            "status": "Critical",
            "active": True,
            "shared": True,
            "severity": "Critical",
            "snooze": {"snoozed": False},
            "start": 1_700_000_000,
            "changed_at": 1_700_000_000,
            "updated_at": 1_700_000_000,
            "alerts": [{"alert_id": f"a94d3e0012{place:06d}{alert:04d}"} for alert in range(10)],
        }
        for place in places
    ]
    return json.dumps({"total": total, "items": items}).encode()


async def main() -> None:
    """Serve until standard input ends, which also happens when the parent process dies."""
    loop = asyncio.get_running_loop()
    outside = await loop.create_server(lambda: Wire(xmatters), "127.0.0.1", 0)
    aws = Aws(_url(outside))
    inside = await loop.create_server(lambda: Wire(aws.answer), "127.0.0.1", 0)
    sys.stdout.write(json.dumps({"aws_url": _url(inside), "xmatters_url": _url(outside)}) + "\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.read)


def _url(server: asyncio.Server) -> str:
    return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


if __name__ == "__main__":
    asyncio.run(main())
