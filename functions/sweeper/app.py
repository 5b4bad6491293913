"""Handler of the sweeper, which a schedule invokes every minute, and `relayctl fallback test`.

An operator who invokes it by hand gets the counts of the run.
"""

from typing import Any

from relay.entrypoints import bootstrap

sweeper = bootstrap.sweeper()


@sweeper.tools.telemetry.instrument
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ARG001 - Lambda's signature
    """Run the sweeper once, or test the last resort."""
    return sweeper.handle(event)
