"""Events and standing of an incident from its ledger entry. Pure code."""

from collections.abc import Iterator, Mapping
from copy import replace
from typing import Any

from relay.delivery.debts import OVERDUE_SECONDS
from relay.foreign_text import identifier
from relay.incidents.transition import State
from relay.ledger.entry import Entry, Raised
from relayctl import moments
from relayctl.timeline import LEDGER, Event, Standing


def known_since(entry: Entry) -> bool:
    """True if the ledger knows the incident: the entry is written."""
    return entry.sequence > 0


def next_attempt(entry: Entry) -> float | None:
    """Return the latest time of the next attempt (epoch seconds); None if no attempt waits.

    The ledger has the reserved slot of a signal that waits for the rate limit. Otherwise the sweeper's time in the row
    is later than the message's by a constant.
    """
    if not entry.row_job or entry.dead_lettered is not None:
        return None
    return entry.slot.at if entry.slot else entry.row_due - OVERDUE_SECONDS


def events(channel: str, entry: Entry) -> Iterator[Event]:
    """Yield the events that an entry remembers. An entry has the times of the newest states only."""
    yield from (replace(each, channel=channel) for each in _events(entry))


def standing(channel: str, recipients: tuple[str, ...], entry: Entry, now: float) -> Standing:
    """Return where the incident stands at `now` (epoch seconds)."""
    details = _details(entry, now)
    return Standing(channel, recipients, tuple(_words(entry, details)), details)


def _events(entry: Entry) -> Iterator[Event]:
    kept, announced, dead = entry.kept, entry.announced, entry.dead_lettered
    if kept:
        yield _event(kept.came, "share", f"newest state came: {_state(kept)}", status=kept.status)
    if announced and not announced.is_of_same_share(kept):
        yield _event(announced.came, "share", f"announced state came: {_state(announced)}", status=announced.status)
    for raised in entry.raised:
        yield _signal(raised)
    if entry.owed_since is not None:
        yield _event(entry.owed_since, "debt", "the first state that is still owed came", reason=entry.reason)
    if dead:
        text = f"dead-lettered: {_state(dead)}" + (f", {entry.reason}" if entry.reason else "")
        yield _event(entry.dead_lettered_at, "dead_letter", text, reason=entry.reason)
    if entry.revived_at:
        yield _event(entry.revived_at, "replay", "replayed: the dead-lettered state is owed again")
    if entry.over_at and not (kept and kept.is_open):
        sure = "" if not entry.is_end_in_doubt else "; the end is not confirmed by BigPanda yet"
        yield _event(entry.over_at, "end", f"over{sure}")
    if entry.refuted_since:
        yield _event(entry.refuted_since, "end", "BigPanda answered that the incident is open after all")
    attempt = next_attempt(entry)
    if attempt is not None:
        yield _event(attempt, "next_attempt", "next attempt, at the latest", reason=entry.reason)


def _signal(raised: Raised) -> Event:
    what = "signal" if raised.is_open else "signal of an end"
    whom = " for the acknowledger alone" if raised.is_for_one else ""
    if raised.pages:
        page = f"page {identifier(raised.number)}" if raised.number else f"{len(raised.pages)} page(s)"
        known = f"{page}{', over' if raised.is_over else ''}"
    else:
        known = "NO PAGE was found" if raised.is_lost else "no page known"
    text = f"{what}{whom} accepted, request {identifier(raised.request_id)}: {known}"
    details: dict[str, Any] = {"request_id": raised.request_id, "pages": list(raised.pages), "page": raised.number}
    return Event(raised.at, LEDGER, "signal", text, details=details | {"is_lost": raised.is_lost or None})


def _event(at: float, kind: str, text: str, **details: Any) -> Event:
    return Event(at, LEDGER, kind, text, details=details)


def _state(state: State) -> str:
    words = ["open" if state.is_open else "over"]
    return ", ".join(words + ([state.status] if state.status and state.is_open else []))


def _details(entry: Entry, now: float) -> dict[str, Any]:
    attempt = next_attempt(entry)
    pages = [each.number for each in entry.raised if each.number]
    return {
        "state": _state(entry.kept) if entry.kept else None,
        "announced": _state(entry.announced) if entry.announced else None,
        "is_owed": entry.owed_since is not None,
        "is_critical": bool(entry.kept and entry.kept.is_critical),
        "owed_since": moments.iso_or_none(entry.owed_since),
        "owed_seconds": None if entry.owed_since is None else max(0, round(now - entry.owed_since)),
        "reason": entry.reason or None,
        "next_attempt_by": moments.iso_or_none(attempt),
        "is_dead_lettered": entry.dead_lettered is not None,
        "fallback_notified": entry.is_notified,
        "acknowledged_by": entry.acknowledged_by or None,
        "unconfirmed": entry.unconfirmed or any(each.is_lost and each.is_open for each in entry.raised),
        "page": pages[-1] if pages else None,
        "is_unreadable": entry.is_unreadable,
    }


def _words(entry: Entry, details: Mapping[str, Any]) -> Iterator[str]:
    if entry.is_unreadable:
        yield "the ledger's entry cannot be read"
        return
    yield details["state"] or "no state is known"
    if entry.owed_since is not None:
        why = f" ({entry.reason})" if entry.reason else ""
        yield f"OWED for {moments.age(details['owed_seconds'])}{why}"
    elif entry.announced is not None:
        yield "announced"
    if entry.doubtful:
        yield "xMatters may have accepted a signal whose answer was lost"
    if details["is_dead_lettered"]:
        yield "DEAD-LETTERED: relayctl dlq list"
    if details["unconfirmed"]:
        yield "a signal made NO PAGE"
    if entry.is_notified:
        yield "the fallback topic was notified"
    if entry.acknowledged_by:
        yield f"acknowledged by {identifier(entry.acknowledged_by)}"
