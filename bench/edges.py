"""Minimal stand-ins for xMatters and AWS on loopback, in a process of their own.

Each answers in a fraction of a millisecond, so that the relay's own time is not hidden. DynamoDB is the tests' fake,
served over HTTP. SQS discards its messages, and Secrets Manager has a secret for every channel. xMatters accepts each
signal.
"""

import asyncio
import json
import sys
import uuid
from typing import Any

from aiohttp import web
from botocore.exceptions import ClientError

from tests.fake_dynamodb import FakeDynamoDb

TOKEN = "inbound-token-of-the-bench"


class Edges:
    """Both stand-ins. Requests to AWS's JSON services have a header `x-amz-target`, those to xMatters have none."""

    def __init__(self) -> None:
        self._dynamodb = FakeDynamoDb()
        self.url = ""

    async def answer(self, request: web.BaseRequest) -> web.Response:
        """Return the answer to a request."""
        body = await request.read()
        target = request.headers.get("x-amz-target")
        if target is None:
            return web.json_response({"requestId": str(uuid.uuid4())}, status=202)
        try:
            return web.json_response(self._asked(target.partition(".")[2], json.loads(body)))
        except ClientError as error:
            return web.json_response({"__type": error.response["Error"]["Code"], "message": "no"}, status=400)

    def _asked(self, operation: str, asked: dict[str, Any]) -> Any:
        match operation:
            case "GetItem":
                return self._dynamodb.get_item(**asked)
            case "PutItem":
                return self._dynamodb.put_item(**asked)
            case "UpdateItem":
                return self._dynamodb.update_item(**asked)
            case "SendMessage":
                return {"MessageId": str(uuid.uuid4())}
            case "GetSecretValue":
                trigger = {"trigger_url": f"{self.url}/trigger?apiKey=bench", "any_trigger_path": True}
                recipients = {"auth": {"type": "url"}, "recipients": ["Network Operations"]}
                secret = {"inbound": {"token": TOKEN}, "xmatters": trigger | recipients}
                return {"SecretString": json.dumps(secret)}
        raise ClientError({"Error": {"Code": "UnknownOperationException"}}, operation)


async def main() -> None:
    """Serve until standard input ends, which also happens when the parent process dies."""
    edges, loop = Edges(), asyncio.get_running_loop()
    server = await loop.create_server(web.Server(edges.answer, access_log=None), "127.0.0.1", 0)
    edges.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    sys.stdout.write(f"{edges.url}\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
