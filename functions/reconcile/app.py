"""Handler of the reconcile schedule: puts a chore for each group of channels on the chore queue.

It may be invoked by hand; the event says nothing.
"""

from typing import Any

from relay import bootstrap

schedule = bootstrap.reconcile()


@schedule.telemetry.instrument
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ARG001 - Lambda's signature
    """Plan a run for each group of channels; return how many runs and channels there are."""
    return schedule.start()
