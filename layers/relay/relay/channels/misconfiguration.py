"""Check for settings with which a signal may notify nobody, although the secret is valid. Pure code.

`relayctl` refuses such a channel. The Lambda functions count it, and still send its signals.
"""

import re
from typing import NamedTuple
from urllib.parse import urlsplit

from relay.channels.channel import Channel
from relay.incidents.share import Transition

# docs/vendors.md, "Triggers".
_TRIGGER_PATH = re.compile(
    r"/(api/integration/1/functions/[^/]+|(reapi/[^/]+|api/xm/1|api/xm/1/plans/[^/]+)/forms/[^/]+)/triggers"
)


class Problem(NamedTuple):
    """A setting that may notify nobody: the dotted key of the secret, and the complaint, without the value."""

    key: str
    detail: str

    def __str__(self) -> str:
        return f"{self.key}: {self.detail}"


def problems(channel: Channel) -> list[Problem]:
    """Return the settings of a channel with which a signal may notify nobody."""
    found = list[Problem]()
    for number, route in enumerate(channel.policy.routes):
        if not route.when:
            found.append(Problem(f"policy.routes.{number}.when", "must not be empty"))
        if not route.recipients:
            found.append(Problem(f"policy.routes.{number}.recipients", "must not be empty"))
    if not has_recipients(channel) and not any(route.recipients for route in channel.policy.routes):
        detail = "nobody would be notified: neither channel, route nor URL names any"
        found.append(Problem("xmatters.recipients", detail))
    if channel.policy.flap and channel.rest and Transition.RESOLVED not in channel.policy.notify_on:
        # Each unannounced end ends the page, and what opens again in a flap waits until it is calm.
        found.append(
            Problem("policy.flap", "needs resolved in policy.notify_on, or a critical may wait without a page")
        )
    if not channel.any_trigger_path and not _TRIGGER_PATH.fullmatch(urlsplit(channel.trigger_url).path):
        found.append(Problem("xmatters.trigger_url", "its path is not that of an xMatters trigger"))
    return found


def unprovable(channel: Channel) -> list[Problem]:
    """Return the settings with which the relay can't find a channel's pages in xMatters, and so proves no receipt."""
    found = list[Problem]()
    if channel.rest and channel.rest.auth.type == "url":
        found.append(Problem("xmatters.rest.auth", "must name a user or a key: the REST API takes no URL's key"))
    if channel.rest and urlsplit(channel.trigger_url).path.startswith("/reapi/"):
        found.append(Problem("xmatters.rest", "finds no page of a trigger of this form; make an HTTP trigger"))
    return found


def needs_url_recipients(channel: Channel) -> bool:
    """True if only the URL of BigPanda's webhook names recipients, so that a URL without names notifies nobody."""
    is_named_here = any(route.recipients for route in channel.policy.routes)
    is_named_here = is_named_here or bool(channel.recipients or channel.trigger_recipients)
    return channel.recipients_in == "url" and not is_named_here


def has_recipients(channel: Channel) -> bool:
    """True if recipients are named outside the routes: by the secret, the workflow, or a URL of a webhook."""
    return bool(channel.recipients or channel.trigger_recipients) or channel.recipients_in is not None
