"""Handler of the retry queue: signals that wait for their next attempt."""

from typing import Any

from relay.entrypoints import bootstrap

worker = bootstrap.job_worker()


@worker.telemetry.instrument
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ARG001 - Lambda's signature
    """Work the messages of a batch, and report those that must stay on the queue."""
    return {"batchItemFailures": [{"itemIdentifier": name} for name in worker.work(event["Records"])]}
