"""Handler of the reconcile schedule: puts a chore for each group of channels on the chore queue.

An operator may invoke it by hand. The content of the event is ignored.
"""

from typing import Any

from relay.entrypoints import bootstrap

schedule = bootstrap.reconcile()


@schedule.telemetry.instrument
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ARG001 - Lambda's signature
    """Queue a run for each group of channels, and return the numbers of runs and channels."""
    return schedule.start()
