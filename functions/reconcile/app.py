"""Handler of the reconcile schedule: compares BigPanda's incidents with the ledger, for shares that never came.

An operator may invoke it by hand. The content of the event is ignored.
"""

from typing import Any

from relay.entrypoints import bootstrap

reconciler = bootstrap.reconcile()


@reconciler.telemetry.instrument
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ARG001 - Lambda's signature
    """Make a reconcile run, and return the numbers of compared groups and channels.

    A run that failed in part ends with an error, which ReconcileAlarm watches.
    """
    ran = reconciler.run()
    if reconciler.telemetry.has_counted("reconcile_failed"):
        raise RuntimeError("the run is not complete: see its lines `reconciled` and `reconcile_failed`")
    return {"runs": len(ran), "channels": len({name for each in ran for name in each.channels})}
