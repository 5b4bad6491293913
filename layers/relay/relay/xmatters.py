"""The xMatters trigger: how a signal is sent, who we are to it, and what its answers mean.

Facts and what is not known of them: docs/vendors.md, "The xMatters trigger".
"""

import base64
import contextlib
import json
import math
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, TypeIs
from urllib.parse import quote, unquote_plus, urlencode, urlsplit, urlunsplit

import requests

from relay.channel import Auth, Channel
from relay.deadline import Deadline
from relay.errors import BadAnswer, NoAnswer, Reason, SendError, reason_for_status
from relay.http import Answer, ForbiddenUrl, Session, cause, never_sent, redact
from relay.message import MAX_EXCERPT

TOKEN_PATH = "/api/xm/1/oauth2/token"  # noqa: S105 - a path
# A token this close to its end may be over by the time it arrives.
TOKEN_MARGIN_SECONDS = 30.0
SHORTEST_SECONDS = 0.1


@dataclass(frozen=True)
class Signal:
    """What is sent to a trigger. `may_repeat` says that an earlier try may have rung already."""

    body: bytes
    recipients: tuple[str, ...]
    delivery_id: str
    correlation_id: str
    attempt: int = 1
    may_repeat: bool = False


@dataclass
class _Token:
    value: str
    good_until: float
    uses: int = 0


class XMatters:
    """Sends signals over one session. `clock` gives epoch seconds."""

    def __init__(self, session: Session, *, clock: Callable[[], float] = time.time) -> None:
        self._session = session
        self._clock = clock
        self._tokens: dict[tuple[str, str, str], _Token] = {}

    def send(self, channel: Channel, signal: Signal, deadline: Deadline, *, reserve: float) -> str | None:
        """Send once; return the request id of the accepted signal, None when the acceptance names none.

        Works until `reserve` seconds before the deadline. Raises NoAnswer or BadAnswer.
        """
        authorization = self._authorization(channel, deadline, reserve)
        answer = self._post(
            with_recipients(channel.trigger_url, signal.recipients),
            signal.body,
            _headers(signal) | authorization,
            deadline,
            reserve,
        )
        accepted, request_id = _acceptance(answer)
        if accepted:
            return request_id
        raise self._bad_answer(answer, channel, reason_for_status(answer.status), authorization)

    def renew_token(self, channel: Channel) -> bool:
        """Forget the OAuth token that was just refused; true if it was an old one, so that a new one may do better."""
        token = self._tokens.pop(_token_key(channel), None) if channel.auth.type == "oauth" else None
        return token is not None and token.uses > 1

    def _authorization(self, channel: Channel, deadline: Deadline, reserve: float) -> dict[str, str]:
        members = channel.auth.members
        match channel.auth.type:
            case "basic":
                return {"Authorization": _basic(members["username"], members["password"])}
            case "api_key":
                return {"Authorization": _basic(members["key"], members["secret"])}
            case "oauth":
                return {"Authorization": f"Bearer {self._token(channel, deadline, reserve)}"}
            case _:
                return {}

    def _token(self, channel: Channel, deadline: Deadline, reserve: float) -> str:
        key = _token_key(channel)
        token = self._tokens.get(key)
        if token is None or self._clock() >= token.good_until:
            token = self._tokens[key] = self._fetch_token(channel, deadline, reserve)
        token.uses += 1
        return token.value

    def _fetch_token(self, channel: Channel, deadline: Deadline, reserve: float) -> _Token:
        form = urlencode({"grant_type": "password", **_grant(channel.auth)}).encode()
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        try:
            answer = self._post(_token_url(channel), form, kind, deadline, reserve)
        except NoAnswer as error:
            # Nothing was sent to the trigger: a late token is no ring that may have been.
            late = error.reason == Reason.TIMEOUT and error.may_have_rung
            reason = Reason.UNREACHABLE if late else error.reason
            raise NoAnswer(reason, f"token: {error.detail}", asked=False) from error
        token = _json_object(answer.body)
        value, seconds = token.get("access_token"), _seconds(token.get("expires_in"))
        if answer.status == 200 and _fits_header(value):
            return _Token(value, self._clock() + seconds - TOKEN_MARGIN_SECONDS)
        # 400 is how OAuth says that user, password or client are wrong.
        reason = Reason.CREDENTIALS if answer.status == 400 else reason_for_status(answer.status)
        failure = self._bad_answer(answer, channel, reason, {})
        failure.asked = False
        raise failure

    def _post(self, url: str, body: bytes, headers: Mapping[str, str], deadline: Deadline, reserve: float) -> Answer:
        seconds = deadline.remaining(reserve)
        if seconds < SHORTEST_SECONDS:
            raise NoAnswer(Reason.TIMEOUT, "no time was left to ask", asked=False)
        heard: list[Answer] = []
        post = partial(self._session.post, url, body=body, headers=headers, seconds=seconds, heard=heard.append)
        try:
            return deadline.run(post, part="send", reserve=reserve)
        except ForbiddenUrl as error:
            raise NoAnswer(Reason.REFUSED, f"the URL must not be called: {error}", asked=False) from error
        except (TimeoutError, requests.ReadTimeout):
            if heard:
                return heard[0]
            raise NoAnswer(Reason.TIMEOUT, f"no answer within {seconds:.1f} s", may_have_rung=True) from None
        except requests.RequestException as error:
            # The library's message has the URL in it, and the URL may be a credential.
            sent = not never_sent(error)
            raise NoAnswer(Reason.UNREACHABLE, cause(error), may_have_rung=sent) from None

    def _bad_answer(
        self, answer: Answer, channel: Channel, reason: Reason, authorization: Mapping[str, str]
    ) -> SendError:
        shown = {value.partition(" ")[2] for value in authorization.values()}
        # Redacted before it is cut: half a credential is a credential still.
        text = answer.body.decode("utf-8", "replace")
        return BadAnswer(
            reason,
            f"HTTP {answer.status}",
            http_status=answer.status,
            excerpt=redact(text, channel.secrets() | shown)[:MAX_EXCERPT],
            retry_after=_retry_after(answer.headers.get("retry-after"), self._clock()),
        )


def with_recipients(url: str, recipients: tuple[str, ...]) -> str:
    """The trigger URL with the recipients it already names and these, none twice, as its `recipients` parameter."""
    parts = urlsplit(url)
    pieces = parts.query.split("&") if parts.query else []
    kept = [piece for piece in pieces if not piece.startswith("recipients=")]
    named = [
        unquote_plus(name).strip()
        for piece in pieces
        if piece.startswith("recipients=")
        for name in piece.removeprefix("recipients=").split(",")
    ]
    names = list(dict.fromkeys(name for name in (*named, *recipients) if name))
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


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode("ascii")


def _fits_header(value: Any) -> TypeIs[str]:
    return isinstance(value, str) and value.isascii() and value.isprintable() and value != ""


def _token_url(channel: Channel) -> str:
    parts = urlsplit(channel.trigger_url)
    return urlunsplit((parts.scheme, parts.netloc, TOKEN_PATH, "", ""))


def _token_key(channel: Channel) -> tuple[str, str, str]:
    return (_token_url(channel), channel.auth.members["client_id"], channel.auth.members["username"])


def _grant(auth: Auth) -> dict[str, str]:
    return {name: auth.members[name] for name in ("client_id", "username", "password")}


def _acceptance(answer: Answer) -> tuple[bool, str | None]:
    """Whether the signal was accepted, and its request id.

    202 is the trigger's acceptance, whatever comes of its body. The older form route answers 200 with an id; any other
    2xx, say a log-in page, is no acceptance.
    """
    body = _json_object(answer.body)
    found = body.get("requestId") or (body.get("id") if answer.status != 202 else None)
    request_id = str(found or answer.headers.get("x-trace", ""))[:200] or None
    return answer.status == 202 or (200 <= answer.status < 300 and bool(found)), request_id


def _json_object(body: bytes) -> dict[str, Any]:
    with contextlib.suppress(ValueError, RecursionError):
        document = json.loads(body)
        if isinstance(document, dict):
            return document
    return {}


def _seconds(value: Any) -> float:
    """The lifetime of a token; one that says nothing sensible of it is used once."""
    with contextlib.suppress(TypeError, ValueError, OverflowError):
        seconds = float(value)
        return seconds if math.isfinite(seconds) else 0.0
    return 0.0


def _retry_after(value: str | None, now: float) -> float | None:
    """Seconds to wait: the header holds seconds or a date."""
    if not value:
        return None
    with contextlib.suppress(ValueError, OverflowError):
        return (
            max(0.0, float(value))
            if re.fullmatch(r"\d{1,9}(\.\d+)?", value.strip())
            else max(0.0, parsedate_to_datetime(value).timestamp() - now)
        )
    return None
