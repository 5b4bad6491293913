"""Checks of the credentials with which the relay calls the vendors for a channel. No person is notified."""

from urllib.parse import urlsplit

from relay.bigpanda.client import BigPanda
from relay.channels.channel import BigPandaAccess, Channel, Rest
from relay.deadline import Deadline
from relay.failures.errors import BadAnswer, SendError
from relay.failures.reasons import Reason
from relay.http.client import HttpClient
from relay.xmatters.directory import Directory
from relay.xmatters.rest import EVENTS_PATH, RestApi
from relayctl.check_results import Check, State, failed, of_failure, ok, warning

_BIGPANDA = "BigPanda API"
_REST = "xMatters REST API"
_TRIGGER = "xMatters trigger"
_MAY_READ = "the key may read the channel's environments; whether it may write is not checked"


def rest(directory: Directory, access: Rest, deadline: Deadline) -> Check:
    """Check the credentials for xMatters' REST API with a request for one page, an event in the API's words."""
    try:
        directory.try_credentials(access, deadline)
    except SendError as error:
        return of_failure(_REST, error)
    return ok(_REST, f"{urlsplit(access.base_url).hostname or ''} lets the channel's user read pages")


def trigger(xmatters: HttpClient, channel: Channel, deadline: Deadline) -> Check:
    """Check the credentials for the trigger with a request to its host's REST API, which takes the same credentials.

    Unlike a request to the trigger, this request makes no page. If the credential is a key in the trigger's URL, the
    result is WARNING: only a signal could check the key.
    """
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


def bigpanda(client: HttpClient, access: BigPandaAccess | None, deadline: Deadline) -> Check:
    """Check the key for BigPanda's API by reading one incident of each environment of the channel."""
    if access is None:
        return warning(_BIGPANDA, "off: without bigpanda.api_key people's answers are not written to BigPanda")
    if not access.environments:
        return warning(_BIGPANDA, "not checked: bigpanda.environments names no environment to read from")
    found = (_environment(client, access, each, deadline) for each in access.environments)
    return next((each for each in found if each.state != State.OK), ok(_BIGPANDA, _MAY_READ))


def _environment(client: HttpClient, access: BigPandaAccess, environment_id: str, deadline: Deadline) -> Check:
    try:
        BigPanda(client).try_credentials(access, environment_id, deadline)
    except SendError as error:
        if isinstance(error, BadAnswer) and error.reason == Reason.UPSTREAM and _is_not_bigpandas(error.http_status):
            return warning(_BIGPANDA, f"not known: HTTP {error.http_status} with an answer that is not BigPanda's")
        return of_failure(_BIGPANDA, error)
    return ok(_BIGPANDA, _MAY_READ)


def _is_not_bigpandas(status: int | None) -> bool:
    """True if a bad answer with this HTTP status came from another server than BigPanda, such as a proxy."""
    return status == 404 or (status is not None and status < 300)
