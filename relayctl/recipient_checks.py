"""Checks of a channel's recipients in xMatters."""

from collections.abc import Sequence
from typing import Any

from relay.channels.channel import Channel
from relay.deadline import Deadline
from relay.foreign_text import printable
from relay.xmatters.directory import Directory, Kind, RecipientCheck
from relayctl import terminal
from relayctl.check_results import Check, State, failed, ok, warning
from relayctl.stack import Stack

# Seconds for all requests to xMatters: the operator waits for them.
_CHECK_SECONDS = 20.0


def of_channel(channel: Channel) -> tuple[str, ...]:
    """Return the recipients that the secret names: the channel's own and those of its routes."""
    routed = (name for route in channel.policy.routes for name in route.recipients)
    return tuple(dict.fromkeys((*channel.recipients, *routed)))


def judged(finding: RecipientCheck) -> Check:
    """Return OK if a signal to the recipient would notify a person, else WARNING or FAILED.

    A user must exist and be active. A group must also have a person on call.
    """
    what = f"recipient {finding.name}"
    match finding:
        case RecipientCheck(kind=Kind.NOTHING):
            return failed(what, "xMatters knows no user and no group of that name")
        case RecipientCheck(kind=Kind.NOT_KNOWN):
            return warning(what, f"not checked: {finding.detail}")
        case RecipientCheck(is_active=False):
            return failed(what, f"{finding.kind}, inactive")
        case RecipientCheck(is_active=None):
            return warning(what, f"{finding.kind}; {finding.detail}")
        case RecipientCheck(kind=Kind.USER):
            return ok(what, "user, active")
        case RecipientCheck(on_call=None):
            return warning(what, f"group, active; not known: {finding.detail}")
        case RecipientCheck(on_call=0):
            return warning(what, "group, active, but nobody is on call now")
    return ok(what, f"group, active, {finding.on_call} on call now")


def documents(findings: Sequence[RecipientCheck]) -> list[dict[str, Any]]:
    """Return the results of the checks as JSON objects."""
    return [
        {"name": each.name, "kind": each.kind, "is_active": each.is_active, "on_call": each.on_call}
        | judged(each).document()
        for each in findings
    ]


def warn(stack: Stack, channel: Channel) -> dict[str, Any]:
    """Check the recipients of a stored channel, warn on stderr, and return the findings as members of a JSON object.

    No exception is raised: the channel is stored, and the caller must still print the URL and header to paste.
    """
    if channel.rest is None:
        return {}
    try:
        directory = Directory(stack.effects.outward(stack.hosts.xmatters))
        with terminal.status("checking the recipients …"):
            deadline = Deadline(_CHECK_SECONDS, stack.effects.ticks)
            findings = directory.check(channel.rest, of_channel(channel), deadline)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001
        terminal.say(f"warning: the recipients were not checked: {type(error).__name__}")
        return {"recipients": []}
    if findings and all(each.kind == Kind.NOT_KNOWN for each in findings):
        terminal.say(f"warning: the recipients were not checked: {printable(findings[0].detail)}")
    else:
        for each in map(judged, findings):
            if each.state != State.OK:
                terminal.say(f"warning: {printable(each.what)}: {printable(each.detail)}")
    return {"recipients": documents(findings)}
