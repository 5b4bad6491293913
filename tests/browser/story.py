"""A state that the sandbox's web page shows: one evening with three incidents.

The vendors' parts are those of the stand-ins. The relay's part has the members that its view returns.
"""

import copy
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from multidict import CIMultiDict, CIMultiDictProxy

from sandbox.bigpanda.api import BigPanda
from sandbox.http.faults import Script
from sandbox.xmatters.api import XMatters
from sandbox.xmatters.signals import Signal

EVENING = datetime(2030, 1, 15, 18, 0, 0, tzinfo=UTC)
HOSTILE = '<img src=x onerror="document.title=1"> & "quotes"'
NOWHERE = "http://127.0.0.1:1"
TENANT: dict[str, Any] = {
    "people": [
        {
            "name": "kim",
            "full_name": "Kim Lee",
            "devices": [
                {"name": "Work Email", "kind": "EMAIL"},
                {"name": "Mobile", "kind": "VOICE"},
                {"name": "Text", "kind": "TEXT_PHONE", "delay_seconds": 120},
            ],
        },
        {"name": "jo", "full_name": "Jo Park", "devices": [{"name": "Phone app", "kind": "APPLE_PUSH"}]},
    ],
    "groups": [{"name": "database-oncall", "members": [{"name": "kim"}, {"name": "jo", "after_seconds": 300}]}],
}


def moment(seconds: float) -> datetime:
    """Return the time `seconds` after the start of the evening."""
    return EVENING + timedelta(seconds=seconds)


def at(seconds: float) -> str:
    """Return the time `seconds` after the start of the evening, in ISO 8601."""
    return moment(seconds).isoformat().replace("+00:00", "Z")


def _bigpanda() -> dict[str, Any]:
    """Return BigPanda's part: a critical, a snoozed warning, and an incident that is over."""
    now = [EVENING]
    vendor = BigPanda(NOWHERE, Script(), lambda: now[0])
    for seconds, title, status, action in (
        (-300, "Disk is full on log-3", "critical", "resolve"),
        (-60, f"Checkout latency {HOSTILE}", "warning", "snooze"),
        (0, "Replica lag on pay-db-1", "critical", None),
    ):
        now[0] = moment(seconds)
        ident = vendor.live.open({"title": title, "status": status})["id"]
        if action:
            vendor.live.act(ident, action)
    vendor.live.stop()
    return vendor.story()


def _xmatters() -> dict[str, Any]:
    """Return xMatters' part: a page that rings Kim's devices, and one that Jo acknowledged."""
    vendor = XMatters(NOWHERE, Script(), lambda: moment(1))
    vendor.people.declare(TENANT)
    headers = CIMultiDictProxy(CIMultiDict[str]())
    for ident, title, recipient in (
        (LAG, "Replica lag on pay-db-1", "database-oncall"),
        (LATENCY, "Checkout latency", "jo"),
    ):
        body = json.dumps({"incident": {"id": ident, "status": "critical", "title": title}}).encode()
        signal = Signal(0, moment(1), "f1", f"r-{ident}", (recipient,), "url", headers, body, 202, True, None)
        vendor.workflow.take(signal)
    vendor.notifier.answer(vendor.story()["notifications"][-1]["id"], "Acknowledge", None)
    vendor.close()
    return vendor.story()


_BIGPANDA = _bigpanda()
LAG, LATENCY, DISK = (each["id"] for each in _BIGPANDA["incidents"])
_XMATTERS = _xmatters()


def evening() -> dict[str, Any]:
    return {
        "bigpanda": copy.deepcopy(_BIGPANDA),
        "relay": _relay(),
        "xmatters": copy.deepcopy(_XMATTERS),
        "faults": {"xmatters": "normal", "denied": []},
    }


def empty() -> dict[str, Any]:
    """Return the state before anything happened: people, and no incident."""
    state = evening()
    state["bigpanda"] |= {"incidents": [], "webhooks": []}
    state["relay"] |= {
        "shares": [],
        "owed": [],
        "dead_letters": [],
        "dead_letters_total": 0,
        "receipts": [],
        "calls": [],
    }
    state["xmatters"] |= {"pages": [], "notifications": [], "callbacks": []}
    return state


def share(ident: str, seconds: float, outcome: str, why: str, **others: Any) -> dict[str, Any]:
    """Return a share as the relay's view lists it; `others` replace members."""
    return {
        "at": at(seconds),
        "kind": "share",
        "incident_id": ident,
        "channel": "demo",
        "outcome": outcome,
        "transition": "opened",
        "reason": None,
        "why": why,
        "delivery_id": f"d{seconds}",
    } | others


def receipt(ident: str, unheard: str = "", **states: str) -> dict[str, Any]:
    """Return the receipt of a critical as the relay's view lists it; `states` are those of its steps, in order."""
    steps = [
        {"name": name, "state": state, "at": at(place) if state == "done" else None, "by": ""}
        for place, (name, state) in enumerate(states.items())
    ]
    return {
        "incident_id": ident,
        "channel": "demo",
        "steps": steps,
        "unheard": unheard,
        "told_at": at(60) if unheard else None,
    }


def _relay() -> dict[str, Any]:
    soon = datetime.now(UTC) + timedelta(seconds=45)
    return {
        "is_there": True,
        "shares": [
            share(
                LATENCY,
                62,
                "queued",
                "Owed: xMatters could not be reached; the relay tries again by itself.",
                reason="unreachable",
            ),
            share(
                LAG,
                30,
                "unchanged",
                "No signal: alerts joined since it was announced, and this channel does not signal a new alert.",
                transition="grew",
            ),
            share(LAG, 0.4, "delivered", "Sent to xMatters: nothing of this open incident was announced."),
            share(
                DISK,
                -100,
                "dead_lettered",
                "Dead-lettered: xMatters refused the signal (HTTP 404), and an operator has to replay it.",
                transition="resolved",
            ),
        ],
        "owed": [
            {
                "incident_id": LATENCY,
                "channel": "demo",
                "transition": "opened",
                "is_critical": False,
                "since": at(61),
                "next_attempt": soon.isoformat(),
                "reason": "xMatters could not be reached",
            }
        ],
        "dead_letters": [
            {
                "id": "m1",
                "kind": "signal",
                "incident_id": DISK,
                "channel": "demo",
                "status": "critical",
                "reason": "xMatters refused the signal (HTTP 404)",
                "since": at(-100),
            }
        ],
        "dead_letters_total": 1,
        "receipts": [
            receipt(LAG, signal="done", page="done", notified="done", answered="awaited"),
            receipt(
                DISK,
                unheard="nobody was notified",
                signal="done",
                page="done",
                notified="missed",
                answered="open",
            ),
        ],
        "calls": [
            {"at": at(61), "kind": "text", "to": "+14255550100", "text": f"CRITICAL demo: {HOSTILE}"},
            {"at": at(60), "kind": "call", "to": "+14255550100", "text": "Critical. Look at your e-mail."},
        ],
        "problem": None,
    }
