"""Verification of callbacks: an unconfirmed one is not believed, and an early one waits for its confirmation."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from relay.bigpanda.callback_verification import CallbackVerdict, ReceivedCallback, Verdict, Verifier
from relay.channels.channel import OutboundCredentials, Rest
from relay.deadline import Deadline
from relay.failures import Reason, SendError
from relay.incidents.callback import Callback, Kind, parse_callback
from relay.ledger.accepted_signal import AcceptedSignal, hashes_of
from relay.ledger.entry import Entry
from tests.unit.states import NOW, state

REST = Rest("https://acme.xmatters.com", OutboundCredentials("basic", {"username": "u", "password": "p"}))
PAGE = "7d9a1c0e-0000-4000-8000-000000000001"
RAISED = AcceptedSignal(
    "r1", NOW, is_open=True, pages=(PAGE,), page_number="408005", recipients=hashes_of(("Ops", "jdoe"))
)
CAME = NOW + 30
LATE = CAME + 300
DEADLINE = Deadline(5.0, lambda: 0.0)


def entry(*signals: AcceptedSignal, **members: Any) -> Entry:
    known = Entry(newest=state(), announced=state(), signal_times=(NOW,), accepted_signals=signals, sequence=2)
    return known._replace(**members)


def callback(**members: Any) -> Callback:
    said = {"kind": "response", "event": {"id": PAGE}, "person": {"target": "jdoe"}, "response": "Acknowledge"}
    return parse_callback(json.dumps({"relay": 1, "incident_id": "i1", **said}).encode())._replace(**members)


def judged(
    said: Callback,
    *entries: Entry,
    rest: Rest | None = REST,
    now: float = LATE,
    came: float = CAME,
    pages_of: Callable[[str], set[str]] = lambda _: set(),
    is_person: Callable[[str], bool] = lambda _: False,
) -> CallbackVerdict:
    verifier = Verifier(lambda _, request, __: pages_of(request), lambda _, name, __: is_person(name), lambda: now)
    is_acknowledgement = said.kind == Kind.RESPONSE
    return verifier.judge(ReceivedCallback(said, is_acknowledgement, came), entries, rest, DEADLINE)


def no_answer(_: str) -> Any:
    raise SendError(Reason.TIMEOUT, "no answer", was_sent=True)


UNKNOWN, UNANNOUNCED, KNOWN = (), (Entry(newest=state(), sequence=1),), (entry(),)
PAGED = (entry(RAISED),)
UNFOLLOWED = (entry(RAISED._replace(pages=(), page_number="")),)
EARLIER = (entry(RAISED, signal_times=(NOW - 99,)),)
WITHOUT_PAGE = (entry(RAISED._replace(pages=(), page_number="", is_page_missing=True)),)
OLD, OLDER, NO_PAGE, NOBODY = (
    "it is older than the signals of the incident",
    "it is older than the page that it names",
    "it names no page of the incident",
    "xMatters does not know who it says acknowledged",
)
NUMBER = {"page_id": None, "page_number": "408005"}
NO_REST: dict[str, Any] = {"rest": None}


def in_r1(request: str) -> set[str]:
    return {PAGE} if request == "r1" else set()


def is_jane(name: str) -> bool:
    return name == "jane"


@pytest.mark.parametrize(
    ("said", "entries", "how", "verdict", "why"),
    [
        # The incident.
        ({}, (Entry(),), {}, Verdict.STRANGE, None),
        ({}, UNKNOWN, {"now": LATE - 0.1}, Verdict.EARLY, None),
        ({}, UNANNOUNCED, {}, Verdict.UNVERIFIED, None),
        ({"page_id": None, "target": "anybody"}, KNOWN, NO_REST, Verdict.VERIFIED, ""),
        ({}, KNOWN, NO_REST | {"came": NOW - 61}, Verdict.UNVERIFIED, OLD),
        # The page.
        ({}, PAGED, {}, Verdict.VERIFIED, ""),
        (NUMBER, PAGED, {}, Verdict.VERIFIED, ""),
        ({"page_id": None}, PAGED, {}, Verdict.UNVERIFIED, NO_PAGE),
        ({"page_id": PAGE.replace("1", "2")}, PAGED, {}, Verdict.UNVERIFIED, NO_PAGE),
        (NUMBER | {"page_number": "408006"}, PAGED, {}, Verdict.UNVERIFIED, NO_PAGE),
        ({"page_id": None}, PAGED, {"now": CAME}, Verdict.EARLY, None),
        ({}, UNFOLLOWED, {"now": CAME, "pages_of": in_r1}, Verdict.VERIFIED, None),
        ({}, UNFOLLOWED, {"now": CAME, "pages_of": no_answer}, Verdict.EARLY, None),
        ({}, UNFOLLOWED, {"pages_of": no_answer}, Verdict.UNVERIFIED, None),
        # A page that came after it counted as missing.
        ({}, WITHOUT_PAGE, {"pages_of": in_r1}, Verdict.VERIFIED, ""),
        # The date of the callback.
        ({"at": "2027-01-15T07:58:58Z"}, PAGED, {}, Verdict.UNVERIFIED, None),
        ({"at": "2027-01-15T07:59:05Z"}, PAGED, {}, Verdict.VERIFIED, None),
        ({"at": "Fri, 15 Jan 2027"}, PAGED, {}, Verdict.VERIFIED, None),
        # A time in the future does not make an answer later than its arrival.
        ({"at": "2027-01-15T09:00:00Z"}, EARLIER, {"came": NOW - 61}, Verdict.UNVERIFIED, OLDER),
        # The person: who was notified is not looked up, nor is who did not acknowledge.
        ({}, PAGED, {"is_person": no_answer}, Verdict.VERIFIED, None),
        ({"target": "jane"}, PAGED, {"is_person": is_jane}, Verdict.VERIFIED, None),
        ({"target": "mallory"}, PAGED, {"is_person": is_jane}, Verdict.UNVERIFIED, NOBODY),
        ({"target": None}, PAGED, {"is_person": lambda _: True}, Verdict.UNVERIFIED, NOBODY),
        ({"kind": Kind.ANNOTATION, "target": "mallory"}, PAGED, {"is_person": no_answer}, Verdict.VERIFIED, None),
    ],
)
def test_callback_is_verified_by_its_incident_its_page_and_its_person(
    said: dict[str, Any], entries: tuple[Entry, ...], how: dict[str, Any], verdict: Verdict, why: str | None
) -> None:
    found = judged(callback(**said), *entries, **how)
    assert found.verdict == verdict
    assert why is None or found.why == why
    if verdict == Verdict.VERIFIED and entries == PAGED:
        assert found.signal == RAISED
