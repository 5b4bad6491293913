"""Handler of the chore queue: confirm and end pages, write answers into BigPanda, release its callback lock."""

from typing import Any

from relay import bootstrap

worker = bootstrap.chore_worker()


@worker.telemetry.instrument
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ARG001 - Lambda's signature
    """Work the jobs off; answer the queue with the messages that must stay on it."""
    return {"batchItemFailures": [{"itemIdentifier": name} for name in worker.work(event["Records"])]}
