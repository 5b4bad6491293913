"""What goes wrong, as scripted: which call meets which fault, and what the caller then gets to see.

A script is a list of entries, each met by the next call of its route, in order:

===================  ===========================  ====================================================  =====
kind                 keys                         what happens                                          done
===================  ===========================  ====================================================  =====
status               status, retry_after?         that status with the vendor's error object            no
html                 status                       that status with a page of HTML                       no
redirect             location, status? (302)      a redirect                                            no
slow                 seconds, accept? (true)      the answer comes that late                            accept
drip                 seconds, accept? (true)      the answer comes byte by byte, taking that long       accept
reset                                             the connection is reset before any answer             no
accept_then_reset                                 the same, but the vendor took the call                yes
reset_body                                        reset in the middle of the answer's body              yes
truncated_json                                    a whole answer whose JSON is cut                      yes
===================  ===========================  ====================================================  =====

``times`` says how many calls in a row (default 1; null: until cleared) and ``on`` which route: xMatters' "trigger" (the
default), "token", "events" (they are asked for), "event" (its status is changed), "person", "group" or "on_call" (which
are looked up), BigPanda's "incidents" (of an environment), "incident", "comment", "assignment", "activities", "users"
or "release". Where the last column is yes, it counts just as it would without the fault: wrong credentials stay
refused. With ``accept`` false, a slow answer is a 504 in the end.
"""

import functools
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from sandbox.answers import Answer, page
from sandbox.schema import InvalidError, compiled, one_of

_HEADER = {"type": "string", "pattern": "^[\\x20-\\x7e]+$"}
_STATUS = {"type": "integer", "minimum": 200, "maximum": 599}
_SECONDS = {"type": "number", "minimum": 0, "maximum": 3600}
_ACCEPT = {"type": "boolean", "default": True}
_REDIRECT = {"type": "integer", "minimum": 300, "maximum": 399, "default": 302}

# Per kind: the keys it must have, and those it may have.
KINDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "status": ({"status": _STATUS}, {"retry_after": _HEADER}),
    "html": ({"status": _STATUS}, {}),
    "redirect": ({"location": _HEADER}, {"status": _REDIRECT}),
    "slow": ({"seconds": _SECONDS}, {"accept": _ACCEPT}),
    "drip": ({"seconds": _SECONDS}, {"accept": _ACCEPT}),
    "reset": ({}, {}),
    "accept_then_reset": ({}, {"accept": {"const": True, "default": True}}),
    "reset_body": ({}, {"accept": {"const": True, "default": True}}),
    "truncated_json": ({}, {"accept": {"const": True, "default": True}}),
}
ROUTES = [
    *("trigger", "token", "events", "event", "person", "group", "on_call"),
    *("incidents", "incident", "comment", "assignment", "activities", "users", "release"),
]
_EVERY_KIND = {
    "kind": {"type": "string"},
    "on": {"enum": ROUTES, "default": "trigger"},
    "times": {"type": ["integer", "null"], "minimum": 1, "default": 1},
}


class ErrorObject(Protocol):
    """What a vendor answers when it refuses."""

    def __call__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> Answer: ...


@dataclass(frozen=True)
class Fault:
    """One entry of a script. `accept`: whether the vendor takes the call all the same."""

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
        """Whether the caller sees no byte of an answer."""
        return self.kind in ("reset", "accept_then_reset")

    def changed(self, honest: Answer, error: ErrorObject) -> Answer:
        """What is answered in place of the honest answer; `error` makes the vendor's error object."""
        status = self.status or honest.status
        match self.kind:
            case "status":
                retry_after = {"Retry-After": self.retry_after} if self.retry_after else {}
                return error(status, "This answer was scripted in the sandbox", retry_after)
            case "html":
                return page(status)
            case "redirect":
                return Answer(status, headers={"Location": self.location or ""})
            case "truncated_json":
                return replace(honest, body=honest.body[: len(honest.body) // 2])
            case "slow" | "drip" if not self.accept:
                return error(504, "This answer was scripted in the sandbox")
        return honest

    def as_json(self) -> dict[str, Any]:
        """The entry as it could be scripted again, with the calls it has left."""
        must, may = KINDS[self.kind]
        values = {key: getattr(self, key) for key in (*_EVERY_KIND, *must, *may)}
        return {key: value for key, value in values.items() if value is not None or key == "times"}


class Script:
    """The faults still to come. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def rewrite(self, entries: object) -> None:
        """Script these faults, in place of what was left of the last script.

        Raises
        ------
        InvalidError
            When an entry can't be used; the message names it and the key, and nothing has changed.
        """
        faults = parse(entries)
        with self._lock:
            self._faults = faults

    def take(self, route: str) -> Fault | None:
        """The fault that the next call of this route meets, counted as met."""
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
        """The faults still to come, in order."""
        with self._lock:
            return list(self._faults)


def parse(entries: object) -> list[Fault]:
    """A script as faults; see `Script.rewrite`."""
    if not isinstance(entries, list):
        raise InvalidError("faults must be a list")
    return [_fault(entry, f"faults[{place}]") for place, entry in enumerate(entries)]


def _fault(entry: object, name: str) -> Fault:
    kind = one_of(entry, "kind", list(KINDS), name)
    return Fault(**_checker(kind)(entry, name))


@functools.cache
def _checker(kind: str) -> Callable[[object, str], dict[str, Any]]:
    must, may = KINDS[kind]
    return compiled(must, _EVERY_KIND | may)
