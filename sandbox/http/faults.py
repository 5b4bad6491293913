"""Scripted faults: for each route, what goes wrong with its next requests.

A script is a list of entries. The next request to a route meets the first entry for that route:

===================  ===========================  ====================================================  =====
kind                 keys                         effect                                                done
===================  ===========================  ====================================================  =====
status               status, retry_after?         that status with the vendor's error object            no
html                 status                       that status with a page of HTML                       no
redirect             location, status? (302)      a redirect                                            no
slow                 seconds, accept? (true)      the answer is sent after that time                    accept
drip                 seconds, accept? (true)      the answer is sent byte by byte over that time        accept
reset                                             the connection is reset before any answer             no
accept_then_reset                                 the same, but the vendor does what was asked          yes
accept_then_status   status                       like status, but the vendor does what was asked       yes
reset_body                                        a reset in the middle of the answer's body            yes
truncated_json                                    a complete answer whose JSON is cut short             yes
===================  ===========================  ====================================================  =====

``times`` is the number of requests in a row (default 1; null: until cleared). ``on`` is one of `ROUTES`, by default
"trigger".

``done`` tells whether the vendor does what was asked. With "yes" it does so exactly as without the fault: wrong
credentials stay refused. With ``accept`` false, a slow or dripping answer is a 504.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from sandbox.http.answers import VendorAnswer, page
from sandbox.http.schema import InvalidError, by_kind, compiled

_HEADER = {"type": "string", "pattern": "^[\\x20-\\x7e]+$"}
_STATUS = {"type": "integer", "minimum": 200, "maximum": 599}
_SECONDS = {"type": "number", "minimum": 0, "maximum": 3600}
_ACCEPT = {"type": "boolean", "default": True}
_REDIRECT = {"type": "integer", "minimum": 300, "maximum": 399, "default": 302}

# Per kind: the required keys, and the optional keys.
KINDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "status": ({"status": _STATUS}, {"retry_after": _HEADER}),
    "html": ({"status": _STATUS}, {}),
    "redirect": ({"location": _HEADER}, {"status": _REDIRECT}),
    "slow": ({"seconds": _SECONDS}, {"accept": _ACCEPT}),
    "drip": ({"seconds": _SECONDS}, {"accept": _ACCEPT}),
    "reset": ({}, {}),
    "accept_then_reset": ({}, {"accept": {"const": True, "default": True}}),
    "accept_then_status": ({"status": _STATUS}, {"accept": {"const": True, "default": True}}),
    "reset_body": ({}, {"accept": {"const": True, "default": True}}),
    "truncated_json": ({}, {"accept": {"const": True, "default": True}}),
}
ROUTES = [
    # Of xMatters. "events" lists events, "one_event" reads one, and "event" changes the status of one; "annotations"
    # lists them, and "annotation" adds one.
    *("trigger", "token", "events", "event", "one_event", "annotations", "annotation", "audits", "suppressions"),
    *("person", "people", "devices", "group", "groups", "on_call", "absences"),
    # Of BigPanda; "incidents" are those of an environment.
    *("incidents", "incident", "comment", "assignment", "resolve", "snooze", "activities", "users", "release"),
]
_EVERY_KIND = {
    "kind": {"type": "string"},
    "on": {"enum": ROUTES, "default": "trigger"},
    "times": {"type": ["integer", "null"], "minimum": 1, "default": 1},
}
_CHECK = by_kind("kind", {kind: compiled(must, _EVERY_KIND | may) for kind, (must, may) in KINDS.items()})


class ErrorObject(Protocol):
    """Function that makes a vendor's error answer: `xmatters_error` or `bigpanda_error` of `sandbox.http.answers`."""

    def __call__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> VendorAnswer: ...


@dataclass(frozen=True)
class Fault:
    """One entry of a script.

    Attributes:
        kind: One of `KINDS`.
        on: One of `ROUTES`.
        times: Number of requests that still meet the fault; None: until the script is replaced.
        status: Status to answer; None: the status of the answer without the fault.
        retry_after: Value of the Retry-After header; None: no such header.
        location: Target of a redirect; None for the other kinds.
        seconds: Duration of a slow or dripping answer.
        accept: True if the vendor does what was asked, although the client gets another answer, a late one or none.
    """

    kind: str
    on: str
    times: int | None
    status: int | None = None
    retry_after: str | None = None
    location: str | None = None
    seconds: float = 0
    accept: bool = False

    @property
    def cuts_before_answer(self) -> bool:
        """True if the connection is cut before the first byte of an answer."""
        return self.kind in ("reset", "accept_then_reset")

    def changed(self, unscripted: VendorAnswer, error: ErrorObject) -> VendorAnswer:
        """Return the answer to send with this fault; `unscripted` is the answer that is sent without it."""
        status = self.status or unscripted.status
        match self.kind:
            case "status" | "accept_then_status":
                retry_after = {"Retry-After": self.retry_after} if self.retry_after else {}
                return error(status, "This answer was scripted in the sandbox", retry_after)
            case "html":
                return page(status)
            case "redirect":
                return VendorAnswer(status, headers={"Location": self.location or ""})
            case "truncated_json":
                return replace(unscripted, body=unscripted.body[: len(unscripted.body) // 2])
            case "slow" | "drip" if not self.accept:
                return error(504, "This answer was scripted in the sandbox")
        return unscripted

    def as_json(self) -> dict[str, Any]:
        """Return the fault as an entry of a script of faults, as JSON; ``times`` is the number of requests left."""
        must, may = KINDS[self.kind]
        values = {key: getattr(self, key) for key in (*_EVERY_KIND, *must, *may)}
        return {key: value for key, value in values.items() if value is not None or key == "times"}


class Script:
    """List of the faults that later requests will still meet. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def rewrite(self, entries: object) -> None:
        """Replace the whole list of scripted faults, also those that no request has met yet.

        Raises InvalidError if an entry is invalid; the message names the entry and the key, and nothing has changed.
        """
        faults = parse(entries)
        with self._lock:
            self._faults = faults

    def take(self, route: str) -> Fault | None:
        """Return the fault that the next request to this route meets, and count it as met; None without a fault."""
        with self._lock:
            place = next((n for n, fault in enumerate(self._faults) if fault.on == route), None)
            if place is None:
                return None
            fault = self._faults[place]
            if fault.times is not None:
                left = replace(fault, times=fault.times - 1)
                self._faults[place : place + 1] = [left] if left.times else []
            return fault

    def left(self) -> list[Fault]:
        """Return the faults that are still to be met, in order."""
        with self._lock:
            return list(self._faults)


def parse(entries: object) -> list[Fault]:
    """Return the faults of a script, given as a list of JSON objects. Raises InvalidError if an entry is invalid."""
    if not isinstance(entries, list):
        raise InvalidError("faults must be a list")
    return [Fault(**_CHECK(entry, f"faults[{place}]")) for place, entry in enumerate(entries)]
