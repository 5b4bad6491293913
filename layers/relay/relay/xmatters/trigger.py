"""Client for xMatters' triggers: request, authentication, classification of the answer, and in-request retries.

Facts and open questions: docs/vendors.md, "The xMatters trigger".
"""

import json
import re
from collections.abc import Callable
from copy import replace
from urllib.parse import urlsplit, urlunsplit

from relay.channels.cache import READ_SECONDS, ChannelCache
from relay.channels.channel import Channel
from relay.deadline import Deadline
from relay.failures import (
    GONE,
    HANDLING,
    MAX_ATTEMPTS,
    ChannelError,
    Reason,
    SendError,
    is_ambiguous_status,
    reason_for_status,
)
from relay.foreign_text import url_part
from relay.http.client import HttpClient, json_object
from relay.http.session import HttpAnswer
from relay.jobs.result import SendResult
from relay.xmatters.authorization import Login, Logins
from relay.xmatters.signal import Signal

_RECIPIENTS = "recipients="


# Upper bound of the first wait between two inline attempts; it doubles with each attempt.
FIRST_WAIT_SECONDS = 0.5
# With less time left, no further attempt is made.
SHORTEST_ATTEMPT_SECONDS = 0.5


class XMatters:
    """Client for xMatters' triggers, which accept signals: in-request retries, bounded by the caller's deadline.

    A retry waits for the answer's Retry-After, or else for a short random backoff. It is not made if the time left is
    too short for that. Refused credentials are renewed once, for one attempt more. `random` returns a number from 0 to
    1.
    """

    def __init__(
        self,
        outward: HttpClient,
        channels: ChannelCache,
        sleep: Callable[[float], object],
        random: Callable[[], float],
    ) -> None:
        self._outward = outward
        self._logins = Logins(outward)
        self._channels = channels
        self._sleep = sleep
        self._random = random

    def send(
        self,
        channel: Channel,
        signal: Signal,
        deadline: Deadline,
        *,
        reserve: float = 0.0,
        max_attempts: int = MAX_ATTEMPTS,
        repeats_if_ambiguous: bool = False,
    ) -> SendResult:
        """Send one signal with at most `max_attempts` attempts, and none within `reserve` seconds of the deadline.

        No attempt follows an ambiguous failure (xMatters may have accepted the signal). `repeats_if_ambiguous` permits
        one, except after a time-out. Failures are in the result: nothing is raised.
        """
        sent, attempts_left, is_renewed = SendResult(attempts=0), max_attempts, False
        while True:
            attempts_left -= 1
            try:
                request_id = self.attempt(channel, signal, deadline, reserve=reserve)
                return SendResult(sent.attempts + 1, sent.maybe_accepted + 1, request_id)
            except SendError as error:
                failure = error
            except Exception as error:  # noqa: BLE001 - after an unexpected exception the share must still be queued
                failure = SendError(Reason.INTERNAL, type(error).__name__, may_have_acted=True)
                failure.__cause__ = error
            sent = _with_failure(sent, failure)
            is_repeated = repeats_if_ambiguous and sent.maybe_accepted == 1 and failure.may_have_acted
            if sent.maybe_accepted > 0 and not is_repeated:
                return sent
            seconds_left = deadline.remaining(reserve)
            # Before the limit: a job has one attempt only, and would send the same old credentials at each wake.
            if failure.reason == Reason.CREDENTIALS and not is_renewed:
                has_token = failure.was_sent and failure.http_status not in GONE
                renewed = self._renewed(channel, seconds_left, has_token=has_token)
                if renewed is None:
                    return sent
                channel, is_renewed, attempts_left = renewed, True, attempts_left + 1
            elif attempts_left <= 0 or not self._has_waited(failure, sent, seconds_left):
                return sent
            signal = replace(
                signal,
                attempt=signal.attempt + failure.was_sent,
                may_repeat=signal.may_repeat or failure.may_have_acted,
            )

    def _has_waited(self, failure: SendError, sent: SendResult, seconds_left: float) -> bool:
        """Wait before the next attempt. Return False, without a wait, if there is no next attempt."""
        wait = failure.retry_after
        if wait is None:
            # Full jitter: senders that failed together must not retry together.
            wait = self._random() * FIRST_WAIT_SECONDS * 2 ** max(0, sent.attempts - 1)
        if not HANDLING[failure.reason].retries_inline or wait + SHORTEST_ATTEMPT_SECONDS > seconds_left:
            return False
        self._sleep(wait)
        return True

    def _renewed(self, channel: Channel, seconds_left: float, *, has_token: bool) -> Channel | None:
        """Return the channel with a new OAuth token or a changed secret; None if neither is available in time.

        `has_token` is False if xMatters refused not a token, but the password for it, or the URL. Returns None, too, if
        the new secret may name other recipients: the next attempt from the queue chooses the recipients anew.
        """
        is_token_renewed = has_token and self._logins.renew(_login(channel))
        same = channel if is_token_renewed else None
        # After a refused token, too: the password may have been rotated as well. But a read of the secret must not use
        # up the time that is reserved for the queue.
        if seconds_left < READ_SECONDS + SHORTEST_ATTEMPT_SECONDS:
            return same
        try:
            found = self._channels.refresh(channel.name)
        except ChannelError:
            return same
        if _named_by(found) != _named_by(channel):
            return None
        changed = (found.trigger_url, found.auth) != (channel.trigger_url, channel.auth)
        return found if changed else same

    def attempt(self, channel: Channel, signal: Signal, deadline: Deadline, *, reserve: float) -> str | None:
        """Send one request for a signal. Return xMatters' request id; None if the accepting answer has none.

        `reserve` seconds of the deadline have to be left afterwards. Raises SendError if the signal was not accepted.
        """
        url, headers, login = with_recipients(channel.trigger_url, signal.recipients), _headers(signal), _login(channel)
        authorization = self._logins.headers(login, deadline, reserve=reserve)
        answer = self._outward.ask("POST", url, signal.body, headers | authorization, deadline, reserve=reserve)
        accepted, request_id = _acceptance(answer)
        if accepted:
            return request_id
        shown = {value.partition(" ")[2] for value in authorization.values()}
        is_page = answer.status < 300 and answer.is_web_page
        failure = self._outward.bad_answer(answer, _reason(answer), channel.secrets() | shown)
        failure.may_have_acted = is_page or is_ambiguous_status(answer.status)
        raise failure


def _reason(answer: HttpAnswer) -> Reason:
    if answer.status in GONE:
        # The trigger was made anew: the secret may have its new URL.
        return Reason.CREDENTIALS
    return Reason.REFUSED if answer.is_success else reason_for_status(answer.status)


def _with_failure(sent: SendResult, failure: SendError) -> SendResult:
    """Return the result with one more failed attempt. If no request was sent in time, an earlier failure stays."""
    says_less = sent.failure is not None and failure.reason == Reason.TIMEOUT and not failure.was_sent
    return SendResult(
        attempts=sent.attempts + failure.was_sent,
        maybe_accepted=sent.maybe_accepted + failure.may_have_acted,
        failure=sent.failure if says_less else failure,
    )


def _named_by(channel: Channel) -> tuple[object, ...]:
    """Return the settings of a channel that name the recipients of a signal."""
    return channel.recipients, channel.trigger_recipients, channel.policy.routes


def _login(channel: Channel) -> Login:
    return Login(channel.auth, channel.trigger_url)


def with_recipients(url: str, names: tuple[str, ...]) -> str:
    """Return a trigger's URL with `names` as its only `recipients` parameter; without names, with none."""
    parts = urlsplit(url)
    kept = [piece for piece in parts.query.split("&") if piece and not piece.startswith(_RECIPIENTS)]
    if names:
        kept.append(_RECIPIENTS + ",".join(map(url_part, names)))
    return urlunsplit(parts._replace(query="&".join(kept)))


def _headers(signal: Signal) -> dict[str, str]:
    decision = signal.decision._asdict() | {"recipients": signal.recipients}
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
    """Return True if an answer accepts the signal, and xMatters' request id (None if the answer has none).

    202 is an acceptance with any body. The older URL path of a workflow's form answers 200 with an id. Another 2xx
    without an id may be a log-in page.
    """
    body = json_object(answer.body)
    found = body.get("requestId") or (body.get("id") if answer.status != 202 else None)
    request_id = str(found or answer.headers.get("x-trace", ""))[:200] or None
    return answer.status == 202 or (200 <= answer.status < 300 and bool(found)), request_id
