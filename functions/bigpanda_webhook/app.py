"""Handler of POST /bigpanda/{channel}: shares from BigPanda."""

from typing import Any

from relay.channels.authentication import Request
from relay.entrypoints import bootstrap

webhook = bootstrap.webhook()


@webhook.telemetry.instrument
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ARG001 - Lambda's signature
    """Answer a proxy event of API Gateway."""
    return webhook.serve(Request.from_event(event)).to_response()
