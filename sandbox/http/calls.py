"""Routes of the vendors' APIs: each request is answered, may meet a scripted fault, and is logged."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from sandbox.http import transport
from sandbox.http.answers import VendorAnswer
from sandbox.http.faults import ErrorObject, Script
from sandbox.http.schema import InvalidError, json_or_none

# Credentials that a request's query or body can hold, and that no log may hold.
_SECRETS = frozenset({"apiKey", "app_key"})


@dataclass(frozen=True)
class Call:
    """One request to a vendor's API, logged before it is answered.

    Attributes:
        index: Number of the request, from 0; never reused.
        route: A route of BigPanda or xMatters, by its name in `sandbox.http.faults`.
        environment_id, incident_id: BigPanda's ids in the path; for a release of the callback lock, the incident's id
            in the body. None without them.
        query: The last value of each parameter, without secrets.
        document: The body as parsed JSON, without secrets; None if it is not JSON.
        status: Status of the answer; None if the connection was cut before an answer.
        accepted: True if the vendor did what was asked, even if a fault hid the answer.
        fault: Kind of the scripted fault that met the request; None without a fault.
    """

    index: int
    received_at: datetime
    route: str
    environment_id: str | None
    incident_id: str | None
    query: Mapping[str, str]
    document: Any
    status: int | None
    accepted: bool
    fault: str | None

    def as_json(self) -> dict[str, Any]:
        """Return the logged request as JSON types, as the control API shows it."""
        return vars(self) | {"received_at": self.received_at.isoformat(), "query": dict(self.query)}


class CallLog[Entry]:
    """Entries for requests, in the order of arrival. Each has an index. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: list[Entry] = []
        self._next_index = 0

    def add(self, make: Callable[[int], Entry]) -> Entry:
        """Add an entry to the log, and return it; `make` builds the entry from the next index."""
        with self._lock:
            entry = make(self._next_index)
            self._entries.append(entry)
            self._next_index += 1
        return entry

    def all(self) -> list[Entry]:
        """Return every entry since the last `clear`."""
        with self._lock:
            return list(self._entries)

    def clear(self) -> None:
        """Remove all entries; the index goes on counting."""
        with self._lock:
            self._entries.clear()


@dataclass(frozen=True)
class Change:
    """A change that a request asks for.

    Attributes:
        answer: The answer to the request.
        change: Makes the change, and may return an answer to send instead. It is not called if a scripted fault
            prevents the change.
    """

    answer: VendorAnswer
    change: Callable[[], VendorAnswer | None]


# Gets a request and its JSON body; returns the answer without a fault. InvalidError stands for a 400.
type Unscripted = Callable[[web.Request, Any], VendorAnswer | Change]


class Api:
    """Serving of a vendor's routes. Safe to use from several threads.

    `script` has the scripted faults; `now` returns the time for the log; `error` makes the vendor's error object.
    `refusal` gets a route and a request, and returns the answer to a request that is refused, as for its credentials,
    or None.
    """

    def __init__(
        self,
        script: Script,
        now: Callable[[], datetime],
        error: ErrorObject,
        refusal: Callable[[str, web.Request], VendorAnswer | None],
    ) -> None:
        self._script = script
        self._now = now
        self._error = error
        self._refusal = refusal

    def handler(self, route: str, unscripted: Unscripted, log: CallLog[Call]) -> Handler:
        """Return the handler of a route, which answers requests, and adds them to `log`.

        A request that `refusal` refuses changes nothing. A scripted fault for the route may also prevent the change. It
        may replace the answer, truncate its body, delay it, or cut the connection.
        """

        async def handle(request: web.Request) -> web.Response:
            document = json_or_none(await request.read())
            found = self._refusal(route, request) or self._found(unscripted, request, document)
            change = found if isinstance(found, Change) else None
            answer = found.answer if isinstance(found, Change) else found
            fault = self._script.take(route)
            accepted = answer.status < 300 and (fault is None or fault.accept)
            if change and accepted:
                answer = change.change() or answer
            answer = fault.changed(answer, self._error) if fault else answer
            log.add(
                lambda index: Call(
                    index=index,
                    received_at=self._now(),
                    route=route,
                    environment_id=request.match_info.get("environment"),
                    incident_id=request.match_info.get("incident") or text(document, "incident_id"),
                    query=_masked(request.query),
                    document=_masked(document) if isinstance(document, dict) else document,
                    status=None if fault and fault.cuts_before_answer else answer.status,
                    accepted=accepted,
                    fault=fault.kind if fault else None,
                )
            )
            return await transport.send(answer, fault, request)

        return handle

    def _found(self, unscripted: Unscripted, request: web.Request, document: Any) -> VendorAnswer | Change:
        try:
            return unscripted(request, document)
        except InvalidError as error:
            return self._error(400, str(error))


def text(document: Any, name: str) -> str | None:
    """Return the text in the member `name` of a JSON object; None if the member is missing, blank or no text."""
    value = document.get(name) if isinstance(document, dict) else None
    return value if isinstance(value, str) and value.strip() else None


def _masked(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: "****" if name in _SECRETS else value for name, value in members.items()}
