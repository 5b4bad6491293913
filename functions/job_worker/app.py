"""Works signals off that wake on the retry queue.

The replay tool invokes it, too, with {"jobs": [envelope, …]}, and gets {"results": [result, …]}, in that order.
"""

from typing import Any

from relay import bootstrap

worker = bootstrap.job_worker()


@worker.telemetry.instrument
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ARG001 - Lambda's signature
    """Work the jobs off; answer a queue with the messages that must stay on it."""
    if "jobs" in event:
        return {"results": [worker.replay(envelope) for envelope in event["jobs"]]}
    return {"batchItemFailures": [{"itemIdentifier": name} for name in worker.work(event["Records"])]}
