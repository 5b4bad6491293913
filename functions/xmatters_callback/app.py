"""Handler of POST /xmatters/{channel}: callbacks from xMatters."""

from typing import Any

from relay.channels.authentication import Request
from relay.entrypoints import bootstrap

webhook = bootstrap.xmatters_callback()


@webhook.telemetry.instrument
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ARG001 - Lambda's signature
    """Answer a proxy event of API Gateway."""
    return webhook.serve(Request.from_event(event)).to_response()
