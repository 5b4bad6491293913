"""HTTP client for vendor APIs: bound to a deadline, failures mapped to reasons, secrets redacted."""

import base64
import contextlib
import json
import re
import time
from collections.abc import Callable, Iterable, Mapping
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any

import requests

from relay.deadline import Deadline
from relay.errors import BadAnswer, NoAnswer, Reason
from relay.http.session import MAX_ANSWER_BYTES, Answer, ForbiddenUrl, Session, cause, never_sent

SHORTEST_SECONDS = 0.1
# Of an answer that is none of the good ones, this many characters are kept.
MAX_EXCERPT = 2048


class Outward:
    """Asks over one session. `clock` gives epoch seconds."""

    def __init__(self, session: Session, *, clock: Callable[[], float] = time.time) -> None:
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
    ) -> Answer:
        """Ask, and return the answer, whatever its status. Works until `reserve` seconds before the deadline.

        Raises NoAnswer, whose `may_have_rung` says that the request may have been acted on.
        """
        seconds = deadline.remaining(reserve)
        if seconds < SHORTEST_SECONDS:
            raise NoAnswer(Reason.TIMEOUT, "no time was left to ask", asked=False)
        heard: list[Answer] = []
        call = partial(self._session.call, method, url, body=body, headers=headers, seconds=seconds, heard=heard.append)
        try:
            return deadline.run(call, part="send", reserve=reserve)
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

    def bad_answer(self, answer: Answer, reason: Reason, secrets: Iterable[str]) -> BadAnswer:
        """Return the error for an answer that is none of the good ones, without any of the secrets."""
        # Most answers are good ones, and a cold start need not wait for the patterns of redaction.
        from relay.http.redaction import redact  # noqa: PLC0415

        # Redacted before it is cut: half a credential is a credential still.
        text = answer.body[:MAX_ANSWER_BYTES].decode("utf-8", "replace")
        return BadAnswer(
            reason,
            f"HTTP {answer.status}",
            http_status=answer.status,
            excerpt=redact(text, secrets)[:MAX_EXCERPT],
            retry_after=_retry_after(answer.headers.get("retry-after"), self.clock()),
        )


def basic(user: str, password: str) -> str:
    """The value of an Authorization header."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode("ascii")


def json_object(body: bytes) -> dict[str, Any]:
    """The object in a body; an empty one where there is none."""
    with contextlib.suppress(ValueError, RecursionError):
        document = json.loads(body)
        if isinstance(document, dict):
            return document
    return {}


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
