"""Client for xMatters' REST API with a channel's credentials, used by `relay.xmatters.pages` and `.directory`.

Facts and open questions: docs/vendors.md, "The REST API".
"""

import json
from collections.abc import Callable, Collection, Mapping
from typing import Any

from relay.channels.channel import Rest
from relay.deadline import Deadline
from relay.failures.reasons import Reason, reason_for_status
from relay.http.client import HttpClient, json_object
from relay.http.session import HttpAnswer
from relay.xmatters.logins import Login, Logins

EVENTS_PATH = "/api/xm/1/events"


class RestApi:
    """Client for xMatters' REST API. If an old OAuth token was refused, a request is repeated with a new one."""

    def __init__(self, outward: HttpClient) -> None:
        self._outward = outward
        self._logins = Logins(outward)

    def ask(
        self,
        rest: Rest,
        method: str,
        path: str,
        document: Mapping[str, Any] | None,
        deadline: Deadline,
        *,
        says: Callable[[HttpAnswer], object] = lambda _: True,
        also: Collection[int] = (),
    ) -> HttpAnswer:
        """Send a request, and return its answer if the status is 2xx or one of `also`.

        `rest` has the credentials. `path` begins with a slash; its special characters are quoted already. `document` is
        the JSON body; None for no body. `says` is called with a 2xx answer; if it returns None, the answer is refused
        with BadAnswer and the reason UPSTREAM. Raises NoAnswer or BadAnswer.
        """
        login = Login(rest.auth, rest.base_url)
        body = None if document is None else json.dumps(document).encode()
        while True:
            shown = self._logins.headers(login, deadline)
            headers = {"Content-Type": "application/json"} | shown
            answer = self._outward.ask(method, rest.base_url + path, body, headers, deadline)
            is_accepted = 200 <= answer.status < 300
            if answer.status in also or (is_accepted and says(answer) is not None):
                return answer
            reason = Reason.UPSTREAM if is_accepted else reason_for_status(answer.status)
            if reason == Reason.CREDENTIALS and self._logins.renew(login):
                continue
            secrets = {value.partition(" ")[2] for value in shown.values()} | set(rest.auth.members.values())
            raise self._outward.bad_answer(answer, reason, secrets)


def listed(answer: HttpAnswer) -> list[Any] | None:
    """Return the items of a list in xMatters' answer; None if the answer has no list, or was truncated."""
    found = json_object(answer.body).get("data")
    return found if isinstance(found, list) else None
