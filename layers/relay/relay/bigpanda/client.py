"""Client for BigPanda's API: comments, assignments, resolves, snoozes, and reads of incidents.

Facts and open questions: docs/vendors.md, "BigPanda's API".
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from relay.channels.channel import BigPandaAccess
from relay.deadline import Clock, Deadline
from relay.failures import BadAnswer, Reason, SendError, reason_for_status
from relay.foreign_text import url_part
from relay.http.client import HttpClient, json_object
from relay.http.session import HttpAnswer
from relay.incidents.share import Fields, fields_of, nested, scalar
from relay.ledger.table import Table

# Limits of one endpoint: docs/vendors.md, "BigPanda's API".
CALLS_A_SECOND = 5
USERS_A_SECOND = 2
# Calls a second for all questions but the first one about a resolve. The rest is for first questions, so that a flood
# of invented incidents delays no question about a true one. Those about incidents of which people were told nothing are
# counted apart: to invent such incidents is cheap, and nobody waits for their ends.
REPEATED_CALLS_A_SECOND, UNKNOWN_CALLS_A_SECOND, REPEATED_SECONDS = 2, 1, 4
# Number of seconds of the clock in which a call looks for room before it fails.
MAX_WAITS = 4
# Time to live of a count. It is used within its own seconds only.
RATE_KEPT_SECONDS = 3600.0


@dataclass(frozen=True)
class RateLimit:
    """Rate limiter for BigPanda's API, shared by all functions. Methods raise LedgerError if the table fails."""

    table: Table
    clock: Clock
    sleep: Callable[[float], object]

    def wait(self, access: BigPandaAccess, endpoint: str, *, calls: int = 1) -> None:
        """Wait until BigPanda's rate limit for an endpoint of its API has room for `calls` calls, and count them.

        `endpoint` is a short name, such as `users`, which has a limit of its own for each API key. Raises SendError
        (PACED) if there is no room within MAX_WAITS seconds.
        """
        limit = USERS_A_SECOND if endpoint == "users" else CALLS_A_SECOND
        for _ in range(MAX_WAITS):
            second = int(self.clock())
            if self._counted(access, endpoint, second, calls) <= limit:
                return
            self.sleep(max(0.0, second + 1 - self.clock()))
        raise SendError(Reason.PACED, "BigPanda's rate limit is used up by other calls", was_sent=False)

    def take_room_to_repeat(self, access: BigPandaAccess, calls: int, *, is_known: bool) -> bool:
        """Return True if a repeated question about a resolve, which takes `calls` API calls, may be asked now.

        The calls are counted, whatever the result, toward a limit for repeated questions alone, so that first questions
        are not delayed. The limit is lower if people were told nothing of the incident (not `is_known`).
        """
        what, limit = ("repeated", REPEATED_CALLS_A_SECOND) if is_known else ("unknown", UNKNOWN_CALLS_A_SECOND)
        counted = self._counted(access, what, int(self.clock() // REPEATED_SECONDS), calls)
        return counted <= max(calls, REPEATED_SECONDS * limit)

    def _counted(self, access: BigPandaAccess, what: str, part: int, calls: int) -> float:
        account = hashlib.sha256(access.api_key.encode()).hexdigest()[:16]
        counted = self.table.update(f"rate/{account}/{what}/{part}", add={"calls": calls}, lasts=RATE_KEPT_SECONDS)
        return counted["calls"] if counted else 0

    def take_room(self, what: str, most: int) -> bool:
        """Count an event of the kind `what`. Return True for the first `most` events of each minute, else False."""
        name = f"rate/{what}/{int(self.clock() // 60)}"
        counted = self.table.update(name, add={"calls": 1}, lasts=RATE_KEPT_SECONDS)
        return counted is None or counted["calls"] <= most


# Pages of an incident's latest activities in which a comment is searched, or that are read for its history.
ACTIVITY_PAGES = 3
ACTIVITIES_A_PAGE = 20
# Largest page size that BigPanda documents.
INCIDENTS_A_PAGE = 100
# Names of members in the API, and in webhooks.
_WEBHOOK_NAMES = {"start": "startedOn", "changed_at": "changedOn", "updated_at": "updatedOn", "end": "endedOn"}


@dataclass(frozen=True)
class Incident:
    """Address of an incident in BigPanda's API: its id, and that of one of its environments."""

    environment_id: str
    id: str

    @property
    def path(self) -> str:
        return f"/resources/v2.0/environments/{url_part(self.environment_id)}/incidents/{url_part(self.id)}"


class BigPanda:
    """Client for BigPanda's API. Every method raises SendError when the request fails."""

    def __init__(self, outward: HttpClient) -> None:
        self._outward = outward

    def try_credentials(self, access: BigPandaAccess, environment_id: str, deadline: Deadline) -> None:
        """Read at most one incident of an environment, to test the key. Raises SendError if that fails.

        The error's reason is CREDENTIALS if BigPanda refuses the key. It is UPSTREAM for an answer that may be a
        proxy's: a 2xx without JSON, or a 404 without BigPanda's error text.
        """
        path = f"/resources/v2.0/environments/{url_part(environment_id)}/incidents?page_size=1"
        answer = self._asked(access, "GET", path, None, deadline)
        document = json_object(answer.body)
        if answer.is_success and (document or answer.body.lstrip()[:1] == b"["):
            return
        is_foreign = answer.status == 404 and "errors" not in document
        raise self._failure(access, answer, Reason.UPSTREAM if is_foreign else reason_for_status(answer.status))

    def comment(self, access: BigPandaAccess, incident: Incident, text: str, deadline: Deadline) -> None:
        """Write a comment on an incident. The API has no idempotency key: a repeated call writes a second comment."""
        self._request(access, "POST", f"{incident.path}/comments", {"comment": text}, deadline)

    def has_comment(
        self, access: BigPandaAccess, incident: Incident, is_it: Callable[[str], bool], deadline: Deadline
    ) -> bool:
        """True if `is_it` accepts a text in the incident's latest comments. False also for a 2xx without valid JSON."""
        found = self.activities(access, incident.id, deadline, kinds=("incident_commented",), needs_json=False)
        # The position of the comment in an activity is not documented, so all strings are searched.
        return any(map(is_it, _strings(found)))

    def activities(
        self,
        access: BigPandaAccess,
        incident_id: str,
        deadline: Deadline,
        *,
        kinds: Iterable[str] = (),
        pace: Callable[[], object] = lambda: None,
        pages: int = ACTIVITY_PAGES,
        needs_json: bool = True,
    ) -> list[dict[str, Any]]:
        """Return the incident's latest activities as JSON objects, newest first, from at most `pages` pages.

        `kinds` are BigPanda's types of activities; empty for all. `pace` is called before each request. A page that is
        not valid JSON raises SendError; without `needs_json` it counts as empty.
        """
        found: list[dict[str, Any]] = []
        types = {"types": ",".join(kinds)} if kinds else {}
        for page in range(1, pages + 1):
            pace()
            query = urlencode(types | {"page": page, "per_page": ACTIVITIES_A_PAGE})
            path = f"/resources/v2.0/incidents/{url_part(incident_id)}/activities?{query}"
            answer = self._request(access, "GET", path, None, deadline)
            if needs_json and _json(answer) is None:
                raise self._failure(access, answer, Reason.UPSTREAM)
            items = _items(answer, "items", "activities")
            found += items
            if len(items) < ACTIVITIES_A_PAGE:
                break
        return found

    def assign(self, access: BigPandaAccess, incident: Incident, user_id: str, deadline: Deadline) -> None:
        """Assign the incident to a user. The call is idempotent."""
        self._request(access, "PUT", f"{incident.path}/assignment", {"assignee": user_id}, deadline)

    def resolve(self, access: BigPandaAccess, incident: Incident, text: str, deadline: Deadline) -> None:
        """Resolve the incident, with `text` as a comment. Raises SendError, with status 409 if the incident is over."""
        self._request(access, "POST", f"{incident.path}/resolve", {"comments": text}, deadline)

    def snooze(self, access: BigPandaAccess, incident: Incident, until: int, text: str, deadline: Deadline) -> None:
        """Snooze the incident until a time (epoch seconds), or until it changes, with `text` as a comment."""
        document = {"end_time": until, "comment": text, "cancel_on_incident_updates": True}
        self._request(access, "PUT", f"{incident.path}/snooze", document, deadline)

    def user_id(self, access: BigPandaAccess, names: Iterable[str], deadline: Deadline) -> str | None:
        """Return the id of the BigPanda user whose user name or e-mail is one of `names`; None if no user matches.

        The first of the `names` that matches decides. Letter case is ignored.
        """
        wanted = list(names)
        if not wanted:
            return None
        # One request for all names, since the rate limit of this endpoint is low.
        literals = [json.dumps(name) for name in wanted]
        terms = [f"userName eq {literal} or emails.value eq {literal}" for literal in literals]
        answer = self._request(
            access, "GET", f"/scim/v2/Users?{urlencode({'filter': ' or '.join(terms)})}", None, deadline
        )
        users = [(scalar(Fields(user).first("id")), _known_as(user)) for user in _items(answer, "resources")]
        # Compared again, in case the service ignored the filter and listed all users.
        found = (identity for name in wanted for identity, known in users if identity and name.lower() in known)
        return next(found, None)

    def release(self, access: BigPandaAccess, incident_id: str, event: str, deadline: Deadline) -> None:
        """Report an incident's first share as received, so that BigPanda stops withholding the incident's updates.

        `event` is BigPanda's type of the event that caused the share. Raises nothing for a 404 or 409: no updates are
        withheld.
        """
        document = {"event_type": event, "incident_id": incident_id, "app_key": access.app_key}
        try:
            self._request(access, "POST", "/resources/v2.1/outbound/callback", document, deadline)
        except BadAnswer as error:
            if error.http_status not in {404, 409}:
                raise

    def incidents(
        self,
        access: BigPandaAccess,
        environment_id: str,
        folder: str,
        page: int,
        since: float | None,
        deadline: Deadline,
    ) -> tuple[list[dict[str, Any]], int | None]:
        """Return a page of the incidents in a folder of an environment, and the total on all pages (None if unknown).

        `folder` is BigPanda's name, such as `shared`. `page` counts from 1. Incidents are listed if they were active
        after `since` (epoch seconds); all if it is None.
        """
        query: dict[str, Any] = {"folder": folder, "sort_by": "last_change"}
        query |= {"page": page, "page_size": INCIDENTS_A_PAGE}
        query |= {"from": int(since)} if since else {}
        query |= {"query": access.reconcile_query} if access.reconcile_query else {}
        path = f"/resources/v2.0/environments/{url_part(environment_id)}/incidents?{urlencode(query)}"
        answer = self._request(access, "GET", path, None, deadline)
        document = _json(answer)
        items = nested(document, "items") if isinstance(document, dict) else document
        total = nested(document, "total") if isinstance(document, dict) else None
        total = total if isinstance(total, int) and not isinstance(total, bool) and total >= 0 else None
        if not isinstance(items, list) or (total and page == 1 and not items):
            # An unexpected answer must not count as an empty list: open incidents would seem to be over.
            raise self._failure(access, answer, Reason.UPSTREAM)
        return [item for item in items if isinstance(item, dict)], total

    def incident(self, access: BigPandaAccess, incident: Incident, deadline: Deadline) -> dict[str, Any]:
        """Return an incident as a JSON object, with the details of its alerts."""
        answer = self._request(access, "GET", f"{incident.path}?expand=alerts", None, deadline)
        document = _json(answer)
        if not isinstance(document, dict):
            raise self._failure(access, answer, Reason.UPSTREAM)
        return document

    def _request(
        self, access: BigPandaAccess, method: str, path: str, document: Mapping[str, Any] | None, deadline: Deadline
    ) -> HttpAnswer:
        answer = self._asked(access, method, path, document, deadline)
        if answer.is_success:
            return answer
        failure = self._failure(access, answer, reason_for_status(answer.status))
        # BigPanda may have acted on the request before it failed, or before a proxy answered in its place.
        failure.may_have_acted = answer.status >= 500 or answer.status < 300
        raise failure

    def _asked(
        self, access: BigPandaAccess, method: str, path: str, document: Mapping[str, Any] | None, deadline: Deadline
    ) -> HttpAnswer:
        headers = {"Authorization": f"Bearer {access.api_key}", "Content-Type": "application/json"}
        body = None if document is None else json.dumps(document).encode()
        return self._outward.ask(method, access.base_url + path, body, headers, deadline)

    def _failure(self, access: BigPandaAccess, answer: HttpAnswer, reason: Reason) -> BadAnswer:
        return self._outward.bad_answer(answer, reason, {access.api_key, access.app_key or ""})


def _known_as(user: Mapping[str, Any]) -> set[str]:
    """Return a user's name and e-mails in BigPanda's answer (SCIM), in lower case."""
    fields = Fields(user)
    emails = fields.first("emails")
    addresses = [nested(each, "value") for each in emails] if isinstance(emails, list) else []
    texts = (scalar(value) for value in (fields.first("username"), *addresses))
    return {text.strip().lower() for text in texts if text}


def as_webhook(document: Mapping[str, Any], environment_id: str) -> bytes:
    """Convert an incident of the API into a webhook's body, the only format that xMatters' workflows read."""
    fields = fields_of(document)
    alerts, active = fields.first("alerts"), fields.first("active")
    named = {new: document[old] for old, new in _WEBHOOK_NAMES.items() if old in document}
    if isinstance(active, bool):
        named["resolved"] = not active
    if isinstance(alerts, list):
        objects = (alert for alert in alerts if isinstance(alert, dict))
        named["alerts"] = [{"id": each["alert_id"], **each} if "alert_id" in each else each for each in objects]
    if status := scalar(fields.first("status")):
        named["status"] = status.lower()
    members = {"incident": {**document, **named}, "metadata": {"environment_id": environment_id}}
    return json.dumps(members).encode()


def _json(answer: HttpAnswer) -> Any:
    """Return the decoded body of an answer; None if it is not JSON, or was truncated."""
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError):
        return None


def _strings(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict() | list():
            for each in value.values() if isinstance(value, dict) else value:
                yield from _strings(each)


def _items(answer: HttpAnswer, *names: str) -> list[Any]:
    """Return the JSON objects of an answer's list: the whole answer, or its member with one of the `names`."""
    document = _json(answer)
    items = nested(document, *names) if isinstance(document, dict) else document
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
