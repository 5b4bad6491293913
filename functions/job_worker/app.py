"""Handler of the job worker: signals that wake on the retry queue."""

from typing import Any

from relay import bootstrap

worker = bootstrap.job_worker()


@worker.telemetry.instrument
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ARG001 - Lambda's signature
    """Work the jobs off; answer the queue with the messages that must stay on it."""
    return {"batchItemFailures": [{"itemIdentifier": name} for name in worker.work(event["Records"])]}
