"""Handler of the chore queue: follow-ups, questions, write-backs and releases."""

from typing import Any

from relay.entrypoints import bootstrap

worker = bootstrap.chore_worker()


@worker.telemetry.instrument
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ARG001 - Lambda's signature
    """Work the messages of a batch, and report those that must stay on the queue."""
    return {"batchItemFailures": [{"itemIdentifier": name} for name in worker.work(event["Records"])]}
