"""Checks of a channel's credentials for the vendors, and of its recipients. No person is notified."""

from collections.abc import Iterator
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from relay.bigpanda.client import BigPanda
from relay.channels.channel import BigPandaAccess, Channel, Rest
from relay.channels.misconfiguration import has_recipients
from relay.deadline import Deadline
from relay.failures import Reason, SendError
from relay.foreign_text import printable
from relay.http.client import HttpClient
from relay.xmatters.directory import EVENTS_PATH, Directory, Kind, RecipientCheck, RestApi
from relayctl import terminal
from relayctl.check_results import Check, State, failed, of_failure, ok, warning
from relayctl.stack.deployed import Stack

# For all requests to the vendors of one channel.
SECONDS = 30.0


def of_channel(channel: Channel) -> tuple[str, ...]:
    """Return the recipients that the secret names: in the trigger's URL, the channel's own and those of its routes."""
    routed = (name for route in channel.policy.routes for name in route.recipients)
    return tuple(dict.fromkeys((*channel.trigger_recipients, *channel.recipients, *routed)))


def may_notify_nobody(channel: Channel) -> bool:
    """True if a critical incident may match no route, and no recipient is named outside the routes.

    A route is certain to match only if all its conditions are on `status`, and `critical` meets them. Conditions on
    other properties may fail, since a share may lack the property.
    """

    def holds(fact: str, patterns: tuple[str, ...]) -> bool:
        return fact == "status" and any(fnmatchcase("critical", pattern) for pattern in patterns)

    return not has_recipients(channel) and not any(
        route.recipients and route.when and all(holds(*condition) for condition in route.when)
        for route in channel.policy.routes
    )


def judged(finding: RecipientCheck, hindrance: str = "") -> Check:
    """Return OK if a signal would notify a person; `hindrance` is a user's absence or lack of devices."""
    what = f"recipient {finding.name}"
    if finding.detail:
        return warning(what, f"not known: {finding.detail}")
    if finding.kind == Kind.NOTHING or finding.is_active is False:
        return failed(what, finding.hindrance)
    if finding.hindrance or hindrance:
        return warning(what, finding.hindrance or f"{finding.kind}, active, but {hindrance}")
    return ok(what, f"{finding.kind}, active" + ("" if finding.on_call is None else f", {finding.on_call} on call now"))


def warn(stack: Stack, channel: Channel) -> None:
    """Check the recipients of a stored channel, and warn on stderr of those whom a signal would not notify.

    No exception is raised: the channel is stored, and the caller must still print the URL and header to paste.
    """
    try:
        with terminal.status("checking the recipients …"):
            found = list(xmatters(stack, channel, stack.deadline(SECONDS))) if channel.rest else []
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001
        found = [warning("recipients", f"not checked: {type(error).__name__}")]
    for each in found:
        if each.state != State.OK:
            terminal.say(f"warning: {printable(each.check)}: {printable(each.detail)}")


def xmatters(stack: Stack, channel: Channel, deadline: Deadline) -> Iterator[Check]:
    """Yield the results for xMatters' REST API, and for each recipient of the channel."""
    names = of_channel(channel)
    if channel.rest is None:
        off = "off: without xmatters.rest every page is unconfirmed by design, and no recipient is checked"
        yield warning(_REST, off)
        return
    directory = Directory(stack.effects.outward(stack.hosts.xmatters))
    found = rest(directory, channel.rest, deadline)
    yield found
    if found.state != State.OK:
        if names:
            yield warning("recipients", "not checked: the REST API could not be used")
        return
    checked = directory.check(channel.rest, names, deadline)
    hindered = directory.personal_hindrances(channel.rest, checked, stack.effects.clock(), deadline)
    yield from (judged(each, hindered.get(each.name, "")) for each in checked)


_BIGPANDA = "BigPanda API"
_REST = "xMatters REST API"
_TRIGGER = "xMatters trigger"


def rest(directory: Directory, access: Rest, deadline: Deadline) -> Check:
    """Check the credentials for xMatters' REST API with a request for one page, an event in the API's words."""
    try:
        directory.try_credentials(access, deadline)
    except SendError as error:
        return of_failure(_REST, error)
    return ok(_REST, f"{urlsplit(access.base_url).hostname or ''} lets the channel's user read pages")


def trigger(xmatters: HttpClient, channel: Channel, deadline: Deadline) -> Check:
    """Check the credentials for the trigger at its host's REST API, which takes the same ones: no page is made."""
    if channel.auth.type == "url":
        return warning(_TRIGGER, "not checked: only a signal can tell if the key in the URL is right")
    parts = urlsplit(channel.trigger_url)
    access = Rest(f"{parts.scheme}://{parts.netloc}", channel.auth)
    try:
        # 403 is the answer to a known user who may not read pages, which a trigger does not need.
        RestApi(xmatters).ask(access, "GET", f"{EVENTS_PATH}?limit=1", None, deadline, also={403})
    except SendError as error:
        if error.reason == Reason.CREDENTIALS:
            return failed(_TRIGGER, str(error))
        return warning(_TRIGGER, f"not checked: {error}")
    return ok(_TRIGGER, f"{parts.hostname} knows the channel's user; whether it may start the trigger is not checked")


def bigpanda(stack: Stack, access: BigPandaAccess | None, deadline: Deadline) -> Check:
    """Check the key for BigPanda's API by reading one incident of each environment of the channel."""
    if access is None:
        return warning(_BIGPANDA, "off: without bigpanda.api_key people's answers are not written to BigPanda")
    client = BigPanda(stack.effects.outward(stack.hosts.bigpanda))
    if not access.environments:
        return warning(_BIGPANDA, "not checked: bigpanda.environments names no environment to read from")
    try:
        for each in access.environments:
            client.try_credentials(access, each, deadline)
    except SendError as error:
        return of_failure(_BIGPANDA, error)
    return ok(_BIGPANDA, "the key may read the channel's environments; whether it may write is not checked")
