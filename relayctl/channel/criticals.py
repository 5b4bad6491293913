"""Check of a channel: does each critical incident notify somebody?"""

from fnmatch import fnmatchcase

from relay.channels.channel import Channel
from relay.channels.misconfiguration import has_recipients


def may_notify_nobody(channel: Channel) -> bool:
    """True if a critical incident may match no route, and no recipient is named outside the routes.

    A route is certain to match only if all its conditions are on `status`, and `critical` meets them. Conditions on
    other properties may fail, since a share may lack the property.
    """
    return not has_recipients(channel) and not any(
        route.recipients and route.when and all(_holds(*condition) for condition in route.when)
        for route in channel.policy.routes
    )


def _holds(fact: str, patterns: tuple[str, ...]) -> bool:
    return fact == "status" and any(fnmatchcase("critical", pattern) for pattern in patterns)
