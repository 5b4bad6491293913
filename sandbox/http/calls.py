"""Routes of the vendors' APIs: each request is answered, may meet a scripted fault, and is logged."""

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from aiohttp import web
from aiohttp.typedefs import Handler

from sandbox.http.answers import VendorAnswer
from sandbox.http.faults import ErrorObject, Fault, Script
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


@dataclass(frozen=True)
class Served:
    """The answer to a request, and the scripted fault that the request met.

    Attributes:
        answer: The answer to send.
        accepted: True if the vendor did what was asked, even if the fault hides the answer.
        fault: The fault; None without one.
    """

    answer: VendorAnswer
    accepted: bool
    fault: Fault | None

    @classmethod
    def of(cls, script: Script, route: str, found: VendorAnswer | Change, error: ErrorObject) -> "Served":
        """Make the change, and return the answer. A scripted fault for the route may prevent the change.

        `found` is the answer without a fault, and `error` makes the vendor's error object.
        """
        answer = found.answer if isinstance(found, Change) else found
        fault = script.take(route)
        accepted = answer.status < 300 and (fault is None or fault.accept)
        if isinstance(found, Change) and accepted:
            answer = found.change() or answer
        return cls(fault.changed(answer, error) if fault else answer, accepted, fault)

    @property
    def status(self) -> int | None:
        """Status of the answer; None if the connection is cut before an answer."""
        return None if self.fault and self.fault.cuts_before_answer else self.answer.status

    @property
    def fault_kind(self) -> str | None:
        """Kind of the fault; None without one."""
        return self.fault.kind if self.fault else None

    async def send(self, request: web.Request) -> web.Response:
        """Send the answer as the fault says: at once, late, byte by byte, or cut.

        Return the response for the web framework, which sends it, or drops it if the connection is closed by now.
        """
        fault, response = self.fault, self.answer.response()
        if fault and fault.kind == "slow":
            await asyncio.sleep(fault.seconds)
        transport = request.transport
        if fault is None or transport is None or transport.is_closing():
            return response
        if fault.cuts_before_answer:
            _reset(transport)
        elif fault.kind == "reset_body":
            await _reset_in_body(self.answer, transport)
        elif fault.kind == "drip":
            await _drip(self.answer, fault.seconds, transport)
        return response


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
            served = Served.of(self._script, route, found, self._error)
            log.add(
                lambda index: Call(
                    index=index,
                    received_at=self._now(),
                    route=route,
                    environment_id=request.match_info.get("environment"),
                    incident_id=request.match_info.get("incident") or text(document, "incident_id"),
                    query=_masked(request.query),
                    document=_masked(document) if isinstance(document, dict) else document,
                    status=served.status,
                    accepted=served.accepted,
                    fault=served.fault_kind,
                )
            )
            return await served.send(request)

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


async def _drip(answer: VendorAnswer, seconds: float, transport: asyncio.Transport) -> None:
    content, clock = answer.encoded(), asyncio.get_running_loop().time
    started = clock()
    for sent, byte in enumerate(content, start=1):
        if transport.is_closing():
            break
        transport.write(bytes([byte]))
        await asyncio.sleep(started + seconds * sent / len(content) - clock())
    transport.close()


async def _reset_in_body(answer: VendorAnswer, transport: asyncio.Transport) -> None:
    transport.write(answer.encoded()[: -max(1, len(answer.body) // 2)])
    # A reset may discard bytes that the peer's system has not handed to its program yet; this wait prevents that.
    await asyncio.sleep(0.02)
    _reset(transport)


def _reset(transport: asyncio.Transport) -> None:
    # A linger time of zero makes the close send RST instead of FIN. A closed transport has no socket any more.
    if not transport.is_closing():
        connection = cast("socket.socket", transport.get_extra_info("socket"))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
