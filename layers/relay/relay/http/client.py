"""HTTP client for vendor APIs and the heartbeat: bound to a deadline, failures mapped to reasons, secrets redacted."""

import contextlib
import json
import re
import time
from collections.abc import Iterable, Mapping
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any

import requests

from relay.deadline import Clock, Deadline, seconds_left
from relay.failures import BadAnswer, Reason, SendError
from relay.http.session import MAX_ANSWER_BYTES, ForbiddenUrl, HttpAnswer, Session, cause, never_sent

# With less time left, a request is not started.
SHORTEST_SECONDS = 0.1
# Characters of an error answer that are kept for logs and jobs.
MAX_EXCERPT = 2048


class HttpClient:
    """HTTP client over one keep-alive session. `clock` gives epoch seconds."""

    def __init__(self, session: Session, *, clock: Clock = time.time) -> None:
        self._session = session
        self.clock = clock

    def ask(
        self,
        method: str,
        url: str,
        body: bytes | None,
        headers: Mapping[str, str],
        deadline: Deadline,
        *,
        reserve: float = 0.0,
    ) -> HttpAnswer:
        """Send a request, and return the answer with any status.

        The limit is `reserve` seconds before the deadline: the body is cut off then. Raises SendError if no status came
        until then, no time is left, or the URL is not allowed.
        """
        seconds = min(deadline.remaining(reserve), seconds_left())
        if seconds < SHORTEST_SECONDS:
            raise SendError(Reason.TIMEOUT, "no time was left to send the request", was_sent=False)
        call = partial(self._session.call, method, url, body=body, headers=headers, seconds=seconds)
        try:
            return deadline.run(call, part="send", at_most=seconds)
        except ForbiddenUrl as error:
            raise SendError(Reason.REFUSED, f"the URL must not be called: {error}", was_sent=False) from error
        except (TimeoutError, requests.ReadTimeout):
            raise SendError(Reason.TIMEOUT, f"no answer within {seconds:.1f} s", may_have_acted=True) from None
        except requests.RequestException as error:
            # The library's own message quotes the URL, and a trigger URL can be a credential.
            sent = not never_sent(error)
            raise SendError(Reason.UNREACHABLE, cause(error), may_have_acted=sent) from None

    def failure(self, method: str, url: str, body: bytes | None, headers: Mapping[str, str], deadline: Deadline) -> str:
        """Send a request. Return the cause of a failure, without the URL; an empty text for an answer 2xx."""
        try:
            answer = self.ask(method, url, body, headers, deadline)
        except SendError as error:
            return str(error)
        return "" if 200 <= answer.status < 300 else f"HTTP {answer.status}"

    def bad_answer(self, answer: HttpAnswer, reason: Reason, secrets: Iterable[str]) -> BadAnswer:
        """Return the exception for an error answer, with an excerpt of its body without `secrets`."""
        # Imported here, since compiling the patterns takes time that a cold start without errors can save.
        from relay.http.redaction import redact  # noqa: PLC0415

        # Redacted before it is cut: a cut could leave a part of a credential that redaction no longer recognises.
        text = answer.body[:MAX_ANSWER_BYTES].decode("utf-8", "replace")
        instead = " with a web page" if answer.status < 300 and answer.is_web_page else ""
        return BadAnswer(
            reason,
            f"HTTP {answer.status}{instead}",
            http_status=answer.status,
            excerpt=redact(text, secrets)[:MAX_EXCERPT],
            retry_after=_retry_after(answer.headers.get("retry-after"), self.clock()),
        )


def json_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in a body; an empty one if the body is not a JSON object."""
    with contextlib.suppress(ValueError, RecursionError):
        document = json.loads(body)
        if isinstance(document, dict):
            return document
    return {}


def _retry_after(value: str | None, now: float) -> float | None:
    """Return the seconds to wait from a Retry-After header (seconds or a date); None if it is missing or invalid."""
    if not value:
        return None
    with contextlib.suppress(ValueError, OverflowError):
        return (
            max(0.0, float(value))
            if re.fullmatch(r"\d{1,9}(\.\d+)?", value.strip())
            else max(0.0, parsedate_to_datetime(value).timestamp() - now)
        )
    return None
