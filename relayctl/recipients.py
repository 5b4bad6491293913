"""A channel's recipients, and what xMatters says of them."""

from collections.abc import Sequence
from typing import Any

from relay.channels.channel import Channel
from relay.xmatters.directory import Finding, Kind
from relayctl.checks import Check, failed, ok, warning


def of_channel(channel: Channel) -> tuple[str, ...]:
    """Everybody whom the channel may ring: its own recipients, and those of its routes."""
    routed = (name for route in channel.policy.routes for name in route.recipients)
    return tuple(dict.fromkeys((*channel.recipients, *routed)))


def judged(finding: Finding) -> Check:
    """Whether a signal to that recipient would ring anybody: it must exist, be active, and have somebody on call."""
    what = f"recipient {finding.name}"
    match finding:
        case Finding(kind=Kind.NOTHING):
            return failed(what, "xMatters knows no user and no group of that name")
        case Finding(kind=Kind.NOT_KNOWN):
            return warning(what, f"not checked: {finding.detail}")
        case Finding(is_active=False):
            return failed(what, f"{finding.kind}, inactive")
        case Finding(is_active=None):
            return warning(what, f"{finding.kind}; {finding.detail}")
        case Finding(kind=Kind.USER):
            return ok(what, "user, active")
        case Finding(on_call=None):
            return warning(what, f"group, active; not known: {finding.detail}")
        case Finding(on_call=0):
            return warning(what, "group, active, but nobody is on call now")
    return ok(what, f"group, active, {finding.on_call} on call now")


def documents(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """The same for programs."""
    return [
        {"name": each.name, "kind": each.kind, "is_active": each.is_active, "on_call": each.on_call}
        | judged(each).document()
        for each in findings
    ]
