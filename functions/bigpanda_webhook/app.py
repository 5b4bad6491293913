"""Handler of POST /bigpanda/{channel}: shares from BigPanda."""

from typing import Any

from relay import bootstrap
from relay.channels.api_gateway import Request

webhook = bootstrap.webhook()


@webhook.telemetry.instrument
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ARG001 - Lambda's signature
    """Answer a proxy event of API Gateway."""
    return webhook.serve(Request.from_event(event)).to_response()
