"""A state that the sandbox's web page shows: one evening with two incidents.

The members have the shapes that the stand-ins and the relay's view return.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

EVENING = datetime(2030, 1, 15, 18, 0, 0, tzinfo=UTC)
LAG, LATENCY, DISK = "66b0f1c2a94d3e0012ab34cd", "66b0f1c2a94d3e0012ab34ce", "66b0f1c2a94d3e0012ab34cf"
HOSTILE = '<img src=x onerror="document.title=1"> & "quotes"'


def at(seconds: float) -> str:
    """Return the time `seconds` after the start of the evening, in ISO 8601."""
    return (EVENING + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


def epoch(seconds: float) -> int:
    """Return the time `seconds` after the start of the evening, in epoch seconds."""
    return int((EVENING + timedelta(seconds=seconds)).timestamp())


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


def evening() -> dict[str, Any]:
    return {
        "bigpanda": _bigpanda(),
        "relay": _relay(),
        "xmatters": _xmatters(),
        "faults": {"xmatters": "normal", "denied": []},
    }


def incident(ident: str, title: str, status: str, opened: int, can: list[str], **others: Any) -> dict[str, Any]:
    """Return an incident as the BigPanda stand-in describes it to the page; `others` replace members."""
    return {
        "id": ident,
        "title": title,
        "status": status,
        "is_open": status != "ok",
        "snoozed_until": None,
        "is_flapping": False,
        "is_shared": True,
        "alerts": [{"id": f"{ident}-a1", "status": status, "description": "Replica lag is 340 s (limit 30 s)"}],
        "assignee": None,
        "opened_at": epoch(opened),
        "changed_at": epoch(opened + 30),
        "can": can,
        "log": [],
    } | others


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


def notification(number: int, person: str, device: str, kind: str, state: str, **others: Any) -> dict[str, Any]:
    """Return a notification as the xMatters stand-in describes it to the page; `others` replace members."""
    return {
        "id": number,
        "page": "1001",
        "incident_id": LAG,
        "person": person,
        "device": device,
        "kind": kind,
        "at": at(number),
        "text": "CRITICAL: Replica lag on pay-db-1\nReplica lag is 340 s (limit 30 s)\nTeam payments",
        "state": state,
        "answer": None,
        "group": "database-oncall",
        "responses": ["Acknowledge", "Escalate"] if state == "ringing" else [],
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


def _bigpanda() -> dict[str, Any]:
    lag_log = [
        {"at": at(0), "kind": "change", "text": "Opened as critical with 1 alert."},
        {"at": at(0.2), "kind": "share", "text": "Shared with the relay by AutoShare."},
    ]
    return {
        "environment_id": "5f3c1a2b9d8e7f6a5b4c3d2e",
        "incidents": [
            incident(
                LAG,
                "Replica lag on pay-db-1",
                "critical",
                0,
                ["ease", "gain_alert", "snooze", "flap", "resolve"],
                log=lag_log,
            ),
            incident(
                LATENCY,
                f"Checkout latency {HOSTILE}",
                "warning",
                60,
                ["worsen", "ease", "gain_alert", "unsnooze", "resolve"],
                snoozed_until=epoch(3600),
                assignee="Jo Park",
            ),
            incident(DISK, "Disk is full on log-3", "ok", -300, ["reopen"]),
        ],
        "webhooks": [
            {"at": at(61), "incident_id": LATENCY, "status": None, "outcome": None, "document": None, "attempt": 1}
        ],
        "is_silent": False,
        "is_elsewhere": False,
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


def _xmatters() -> dict[str, Any]:
    page_log = [
        {"at": at(1), "text": "Created with priority HIGH for database-oncall."},
        {"at": at(2), "text": "Kim Lee is rung first, as the first active member of database-oncall."},
    ]
    return {
        "clock": {"now": at(120), "ahead_seconds": 0},
        "people": [
            {
                "name": "kim",
                "full_name": "Kim Lee",
                "status": "ACTIVE",
                "devices": [
                    {"name": "Work Email", "kind": "EMAIL", "delay_seconds": 0},
                    {"name": "Mobile", "kind": "VOICE", "delay_seconds": 0},
                    {"name": "Text", "kind": "TEXT_PHONE", "delay_seconds": 120},
                ],
            },
            {
                "name": "jo",
                "full_name": "Jo Park",
                "status": "ACTIVE",
                "devices": [{"name": "Phone app", "kind": "APPLE_PUSH", "delay_seconds": 0}],
            },
        ],
        "groups": [
            {
                "name": "database-oncall",
                "members": [{"name": "kim", "after_seconds": 0}, {"name": "jo", "after_seconds": 300}],
            }
        ],
        "pages": [
            {
                "id": "0b0f1c2a-0000-4000-8000-000000000001",
                "number": "1001",
                "request_id": "0b0f1c2a-0000-4000-8000-000000000002",
                "incident_id": LAG,
                "status": "ACTIVE",
                "priority": "HIGH",
                "subject": "CRITICAL: Replica lag on pay-db-1",
                "details": [["Team", "payments"]],
                "created": at(1),
                "terminated": None,
                "ended_because": None,
                "recipients": ["database-oncall"],
                "log": page_log,
            }
        ],
        "notifications": [
            notification(1, "kim", "Work Email", "EMAIL", "over"),
            notification(2, "kim", "Mobile", "VOICE", "ringing"),
            notification(3, "jo", "Phone app", "APPLE_PUSH", "answered", answer="Acknowledge", group=None),
        ],
        "callbacks": [
            {"at": at(4), "page": "1001", "kind": "response", "status": 200, "text": "The relay took the response."}
        ],
    }
