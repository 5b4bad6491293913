"""Works jobs off.

The replay tool invokes it with {"jobs": [envelope, …]} and gets {"results": [result, …]}, in that order.
"""

from typing import Any

from relay import bootstrap

worker = bootstrap.job_worker()


@worker.telemetry.instrument
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ARG001 - Lambda's signature
    """Work the jobs off, one after the other."""
    return {"results": [worker.replay(envelope) for envelope in event["jobs"]]}
