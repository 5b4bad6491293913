"""Runs every few minutes: asks BigPanda for its shared incidents, and relays those whose shares never came.

Who invokes it by hand gets what it found, by channel; the event says nothing.
"""

from typing import Any

from relay import bootstrap

reconciler = bootstrap.reconcile()


@reconciler.telemetry.instrument
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ARG001 - Lambda's signature
    """Look at all channels once."""
    return reconciler.reconcile()
