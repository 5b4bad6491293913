"""Handler of the reconcile schedule: compares BigPanda's incidents with the ledger, for shares that never came.

An operator may invoke it by hand. The content of the event is ignored.
"""

from typing import Any

from relay.entrypoints import bootstrap

reconciler = bootstrap.reconcile()


@reconciler.telemetry.instrument
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ARG001 - Lambda's signature
    """Make a reconcile run, and return the numbers of compared groups and channels."""
    return reconciler.handle()
