"""The xMatters trigger: how a signal is sent, who we are to it, and what its answers mean.

Facts and what is not known of them: docs/vendors.md, "The xMatters trigger".
"""

import re
from typing import NamedTuple
from urllib.parse import quote, unquote_plus, urlsplit, urlunsplit

from relay.channels.channel import Channel
from relay.deadline import Deadline
from relay.errors import is_ambiguous_status, reason_for_status
from relay.http.client import Outward, json_object
from relay.http.session import Answer
from relay.xmatters.logins import Login, Logins


class Signal(NamedTuple):
    """Request to a trigger.

    `may_repeat` says that an earlier try may have rung already; `alone` that nobody but its recipients is to hear of
    it, whomever the trigger's URL names.
    """

    body: bytes
    recipients: tuple[str, ...]
    delivery_id: str
    correlation_id: str
    attempt: int = 1
    may_repeat: bool = False
    alone: bool = False


class XMatters:
    """Sends signals."""

    def __init__(self, outward: Outward) -> None:
        self._outward = outward
        self._logins = Logins(outward)

    def send(self, channel: Channel, signal: Signal, deadline: Deadline, *, reserve: float) -> str | None:
        """Send once; return the request id of the accepted signal, None when the acceptance names none.

        Works until `reserve` seconds before the deadline. Raises NoAnswer or BadAnswer.
        """
        authorization: dict[str, str] = {}
        if channel.auth.type != "url":
            authorization = self._logins.headers(_login(channel), deadline, reserve=reserve)
        answer = self._outward.ask(
            "POST",
            with_recipients(channel.trigger_url, signal.recipients, alone=signal.alone),
            signal.body,
            _headers(signal) | authorization,
            deadline,
            reserve=reserve,
        )
        accepted, request_id = _acceptance(answer)
        if accepted:
            return request_id
        shown = {value.partition(" ")[2] for value in authorization.values()}
        failure = self._outward.bad_answer(answer, reason_for_status(answer.status), channel.secrets() | shown)
        failure.may_have_rung = is_ambiguous_status(answer.status)
        raise failure

    def renew_token(self, channel: Channel) -> bool:
        """Forget the OAuth token that was just refused; true if it was an old one, so that a new one may do better."""
        return self._logins.renew(_login(channel))


def _login(channel: Channel) -> Login:
    return Login(channel.auth, channel.trigger_url)


def with_recipients(url: str, recipients: tuple[str, ...], *, alone: bool = False) -> str:
    """The trigger URL with the recipients it already names and these, none twice, as its `recipients` parameter.

    `alone` leaves out those that it names.
    """
    parts = urlsplit(url)
    pieces = parts.query.split("&") if parts.query else []
    kept = [piece for piece in pieces if not piece.startswith("recipients=")]
    named = [
        unquote_plus(name).strip()
        for piece in pieces
        if piece.startswith("recipients=")
        for name in piece.removeprefix("recipients=").split(",")
    ]
    names = list(dict.fromkeys(name for name in (*([] if alone else named), *recipients) if name))
    if names:
        kept.append("recipients=" + ",".join(quote(name, safe="", errors="replace") for name in names))
    return urlunsplit(parts._replace(query="&".join(kept)))


def _headers(signal: Signal) -> dict[str, str]:
    headers = {
        "Content-Type": "application/json",
        "X-Relay-Delivery-Id": signal.delivery_id,
        "X-Relay-Correlation-Id": re.sub(r"[^\w.:=/+-]", "", signal.correlation_id, flags=re.ASCII),
        "X-Relay-Attempt": str(signal.attempt),
    }
    return headers | ({"X-Relay-May-Repeat": "true"} if signal.may_repeat else {})


def _acceptance(answer: Answer) -> tuple[bool, str | None]:
    """Return if the signal was accepted, and its request id.

    202 is the trigger's acceptance, whatever comes of its body. The older form route answers 200 with an id; any other
    2xx, say a log-in page, is no acceptance.
    """
    body = json_object(answer.body)
    found = body.get("requestId") or (body.get("id") if answer.status != 202 else None)
    request_id = str(found or answer.headers.get("x-trace", ""))[:200] or None
    return answer.status == 202 or (200 <= answer.status < 300 and bool(found)), request_id
