"""Client for xMatters' triggers: request, authentication, and classification of the answer.

Other modules handle the Retry-After header of an error answer. `http.client._retry_after` reads it. Within the request,
`delivery.trigger_retries.RetryingSender._has_waited` waits for it, if there is time. On the retry queue,
`failures.wait_seconds` makes the backoff at least as long, within bounds. After a 429,
`ledger.channel_rate_limiter.RateLimiter.report` stops the whole channel for that time, within bounds. Facts and open
questions: docs/vendors.md, "The xMatters trigger".
"""

import json
import re
from typing import Literal, NamedTuple
from urllib.parse import quote, unquote_plus, urlsplit, urlunsplit

from relay.channels.channel import Channel
from relay.deadline import Deadline
from relay.failures import is_ambiguous_status, reason_for_status
from relay.http.client import HttpClient, json_object
from relay.http.session import HttpAnswer
from relay.xmatters.logins import Login, Logins

_RECIPIENTS = "recipients="


class Decision(NamedTuple):
    """Decision of the relay on which xMatters' workflow acts, together with the recipients. It holds for all attempts.

    The header `X-Relay-Decision` has it as JSON. The workflow takes nothing but texts from the body, which BigPanda, or
    whoever holds the webhook's token, wrote.

    Attributes:
        channel: Name of the channel.
        incident_id: BigPanda's id of the incident.
        environment_id: BigPanda's id of its environment; empty if unknown.
        page_key: Key of the pages that an end ends: those of the same channel, URL recipients and incident.
        is_over: True if the incident is over.
        status: BigPanda's word for the status; empty if it is none of those that BigPanda documents.
        priority: xMatters priority.
        body: Form of the body: BigPanda's, or the relay's own (`xmatters`).
    """

    channel: str
    incident_id: str
    environment_id: str
    page_key: str
    is_over: bool
    status: str
    priority: str
    body: Literal["bigpanda", "xmatters"]


class Signal(NamedTuple):
    """Request to an xMatters trigger.

    Attributes:
        body: Body of the request.
        decision: Decision on which the workflow acts.
        recipients: Names that are added to the recipients in the trigger's URL; empty to add none.
        delivery_id: Id of the delivery, the same for all attempts.
        correlation_id: Id for log searches.
        attempt: Number of the attempt, from 1.
        may_repeat: True if an earlier attempt may have paged already.
        replaces_url_recipients: True to notify only `recipients`, not those in the trigger's URL.
    """

    body: bytes
    decision: Decision
    recipients: tuple[str, ...]
    delivery_id: str
    correlation_id: str
    attempt: int = 1
    may_repeat: bool = False
    replaces_url_recipients: bool = False


class XMatters:
    """Client for xMatters' triggers, which accept signals."""

    def __init__(self, outward: HttpClient) -> None:
        self._outward = outward
        self._logins = Logins(outward)

    def send(self, channel: Channel, signal: Signal, deadline: Deadline, *, reserve: float) -> str | None:
        """Send one request for a signal. Return xMatters' request id; None if the accepting answer has none.

        The answer must come by `reserve` seconds before the deadline. Raises NoAnswer or BadAnswer if the signal was
        not accepted.
        """
        authorization: dict[str, str] = {}
        if channel.auth.type != "url":
            authorization = self._logins.headers(_login(channel), deadline, reserve=reserve)
        names = recipients_of(channel.trigger_url, signal.recipients, replaces=signal.replaces_url_recipients)
        answer = self._outward.ask(
            "POST",
            with_recipients(channel.trigger_url, names),
            signal.body,
            _headers(signal, names) | authorization,
            deadline,
            reserve=reserve,
        )
        accepted, request_id = _acceptance(answer)
        if accepted:
            return request_id
        shown = {value.partition(" ")[2] for value in authorization.values()}
        failure = self._outward.bad_answer(answer, reason_for_status(answer.status), channel.secrets() | shown)
        failure.may_have_acted = is_ambiguous_status(answer.status)
        raise failure

    def renew_token(self, channel: Channel) -> bool:
        """Forget the channel's cached OAuth token, which xMatters refused. The next request gets a new token.

        Returns True if an earlier request used the same token. Then the token may have expired, and a repeated
        request with a new token may succeed.
        """
        return self._logins.renew(_login(channel))


def _login(channel: Channel) -> Login:
    return Login(channel.auth, channel.trigger_url)


def recipients_of(url: str, recipients: tuple[str, ...], *, replaces: bool = False) -> tuple[str, ...]:
    """Return the names in a trigger URL's `recipients` parameter and these recipients, each once.

    If `replaces` is True, these recipients replace those that the URL names.
    """
    pieces = (piece for piece in urlsplit(url).query.split("&") if piece.startswith(_RECIPIENTS))
    named = (name for piece in pieces for name in piece.removeprefix(_RECIPIENTS).split(","))
    own = () if replaces else tuple(unquote_plus(name).strip() for name in named)
    return tuple(dict.fromkeys(name for name in (*own, *recipients) if name))


def with_recipients(url: str, names: tuple[str, ...]) -> str:
    """Return a trigger's URL with these names as its `recipients` parameter, in place of one that it has."""
    parts = urlsplit(url)
    kept = [piece for piece in parts.query.split("&") if piece and not piece.startswith(_RECIPIENTS)]
    if names:
        kept.append(_RECIPIENTS + ",".join(quote(name, safe="", errors="replace") for name in names))
    return urlunsplit(parts._replace(query="&".join(kept)))


def _headers(signal: Signal, names: tuple[str, ...]) -> dict[str, str]:
    decision = signal.decision._asdict() | {"recipients": names}
    headers = {
        "Content-Type": "application/json",
        # ASCII, whatever is in it, and short: all of its texts are bounded.
        "X-Relay-Decision": json.dumps(decision, separators=(",", ":")),
        "X-Relay-Delivery-Id": signal.delivery_id,
        "X-Relay-Correlation-Id": re.sub(r"[^\w.:=/+-]", "", signal.correlation_id, flags=re.ASCII),
        "X-Relay-Attempt": str(signal.attempt),
    }
    return headers | ({"X-Relay-May-Repeat": "true"} if signal.may_repeat else {})


def _acceptance(answer: HttpAnswer) -> tuple[bool, str | None]:
    """Return a pair: True if an answer accepts the signal, and xMatters' request id (None if the answer has none).

    202 is an acceptance with any body. The older URL path of a workflow's form answers 200 with an id. A 2xx other
    than 202 and without an id is no acceptance; such an answer may be a log-in page.
    """
    body = json_object(answer.body)
    found = body.get("requestId") or (body.get("id") if answer.status != 202 else None)
    request_id = str(found or answer.headers.get("x-trace", ""))[:200] or None
    return answer.status == 202 or (200 <= answer.status < 300 and bool(found)), request_id
