"""Events of a timeline; the ledger's entries of incidents, and what they say."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

from relay.channels.channel import is_channel_name
from relay.failures import Reason
from relay.foreign_text import identifier, printable
from relay.health.judgement import age, next_attempt
from relay.incidents.share import State
from relay.ledger.accepted_signal import AcceptedSignal
from relay.ledger.debt import Debt
from relay.ledger.entry import Entry, entry_key, shadow_key
from relay.ledger.receipt import Receipt
from relay.ledger.sources import Sources
from relay.ledger.table import Ledger
from relayctl import moments
from relayctl.log_lines import Line
from relayctl.stack.deployed import Stack

# Sources of events.
LEDGER, LOG, DEAD_LETTERS = "ledger", "log", "dlq"
XMATTERS, BIGPANDA = "xMatters", "BigPanda"


class Event(NamedTuple):
    """One line of a timeline."""

    at: float  # Time of the event (epoch seconds). It may lie ahead, such as the next attempt.
    source: str  # The source of the event, one of the constants above
    kind: str  # Kind of the event, such as `signal`, `page` or `dead_letter`, or the message of the log line
    text: str  # The event in words; texts from BigPanda and xMatters are in quotes
    channel: str = ""  # Name of the channel; empty if the event belongs to all of the incident's channels
    request_id: str = ""  # xMatters' id of the signal; empty if the event is none

    def document(self) -> dict[str, Any]:
        """Return the event as a JSON object for programs."""
        members = {"at": moments.iso(self.at), "source": self.source, "kind": self.kind, "text": self.text}
        return members | {"channel": self.channel or None, "request_id": self.request_id or None}


class Known(NamedTuple):
    """An entry that the ledger has, and its incident."""

    channel: str
    incident_id: str
    recipients: tuple[str, ...]  # Recipients that the webhook's URL named
    entry: Entry


def stored(stack: Stack, incidents: Mapping[str, Collection[str]], *, with_shadow: bool = False) -> list[Known]:
    """Return entries of incidents (ids by channel), sorted; `with_shadow` adds shadow mode's. Raises LedgerError."""
    table = stack.bounded_table()
    sources, places = Sources(table, stack.effects.clock), dict[str, tuple[str, str, tuple[str, ...]]]()
    for channel, ids in incidents.items():
        named = sources.of_incidents(channel, ids)
        for incident in ids:
            for recipients in {(), *named.get(incident, ())}:
                name = entry_key(channel, recipients, incident)
                for each in (name, shadow_key(name)) if with_shadow else (name,):
                    places[each] = channel, incident, recipients
    # The ledger returns an empty entry for an unknown incident.
    entries = Ledger(table).read_many(places).items()
    known = [Known(*places[name], entry) for name, entry in entries if entry.sequence > 0]
    return sorted(known, key=lambda each: each[:3])


def events(entry: Entry, now: float) -> Iterator[Event]:
    """Yield the events in an entry at `now` (epoch seconds). It has no times of states before the newest state."""
    newest, debt = entry.newest, entry.debt
    if newest:
        yield Event(newest.came, LEDGER, "share", f"newest state came: {_state(newest)}")
    for signal in entry.accepted_signals:
        yield _signal(signal)
    if newest and entry.debt.is_given_up:
        text = f"dead-lettered: {_state(newest)}" + (f", {debt.reason}" if debt.reason else "")
        yield Event(debt.dead_lettered_at, LEDGER, "dead_letter", text)
    yield from _receipt(entry.receipt)
    if (attempt := next_attempt(entry, now)) is not None:
        yield Event(attempt, LEDGER, "next_attempt", "next attempt expected")


def _signal(signal: AcceptedSignal) -> Event:
    what = "signal" if signal.is_open else "signal of an end"
    whom = " for the acknowledger alone" if signal.is_for_acknowledger else ""
    if signal.pages:
        page = f"page {identifier(signal.page_number)}" if signal.page_number else f"{len(signal.pages)} page(s)"
        known = f"{page}{', over' if signal.is_over else ''}"
    else:
        known = "NO PAGE was found" if signal.is_page_missing else "no page known"
    text = f"{what}{whom} accepted, request {identifier(signal.request_id)}: {known}"
    return Event(signal.at, LEDGER, "signal", text, request_id=signal.request_id)


def _receipt(receipt: Receipt) -> Iterator[Event]:
    """Yield the events of a receipt, the most important last."""
    if receipt.notified_at:
        yield Event(receipt.notified_at, LEDGER, "receipt", "a device is known to have got the notification")
    if receipt.told_at:
        # A person's answer clears the step.
        text = f"UNHEARD ({receipt.missed or 'until then'}): the fallback topic was notified"
        yield Event(receipt.told_at, LEDGER, "receipt", text)
    if receipt.answered_at:
        who = identifier(receipt.answered_by)
        yield Event(receipt.answered_at, LEDGER, "receipt", f"{who} answered")


def _state(state: State) -> str:
    words = ["open" if state.is_open else "over"]
    return ", ".join(words + ([state.status] if state.status and state.is_open else []))


def document(entry: Entry, now: float) -> dict[str, Any]:
    """Return the present state of an incident at `now` (epoch seconds) as members of a JSON object."""
    pages = [each.page_number for each in entry.accepted_signals if each.page_number]
    return {
        "state": _state(entry.newest) if entry.newest else None,
        "announced": _state(entry.announced) if entry.announced else None,
        "owed_since": moments.iso_or_none(entry.debt.since),
        "reason": entry.debt.reason or None,
        "next_attempt_by": moments.iso_or_none(next_attempt(entry, now)),
        "is_dead_lettered": entry.debt.is_given_up,
        "acknowledged_by": entry.acknowledged_by or None,
        "page": pages[-1] if pages else None,
        "says": list(words(entry, now)),
    }


def words(entry: Entry, now: float) -> Iterator[str]:
    """Yield in words what is announced, owed or dead-lettered at `now` (epoch seconds), the most important first."""
    signals, debt = entry.accepted_signals, entry.debt
    if entry.is_unreadable:
        yield "the ledger's entry cannot be read"
        return
    yield _state(entry.newest) if entry.newest else "no state is known"
    if debt.since is not None:
        yield f"OWED for {age(now - debt.since)}{_why_owed(debt, now)}"
    elif entry.announced is not None:
        is_confirmed = not entry.announced.is_open or bool(signals and signals[-1].pages)
        yield "announced" if is_confirmed else "accepted by xMatters, no page confirmed"
    if entry.doubtful:
        yield "xMatters may have accepted a signal whose answer was lost"
    if entry.debt.is_given_up:
        yield "DEAD-LETTERED: relayctl dlq list"
    if any(each.is_page_missing and each.is_open for each in signals):
        yield "a signal made NO PAGE"
    if debt.is_notified:
        yield "the fallback topic was notified"
    known_of = [each.text for each in _receipt(entry.receipt)]
    if known_of or entry.receipt.is_open:
        yield known_of[-1] if known_of else "nobody is known to be notified yet"
    if entry.acknowledged_by:
        yield f"acknowledged by {identifier(entry.acknowledged_by)}"


def _why_owed(debt: Debt, now: float) -> str:
    if debt.reason == Reason.PAUSED and debt.paused_until > now:
        return f"; it waits for the end of a pause at {moments.moment(debt.paused_until)}"
    return f" ({debt.reason})" if debt.reason else ""


_MAX_DETAIL = 200
# Messages of log lines that are shown, by their beginning.
_SHOWN = (
    *("share", "job", "callback", "fallback notified", "the fallback topic could not be notified", "page missing"),
    *("unknown incident", "last copy"),
)
# Jobs that woke too early or had nothing to do, and callbacks for each device and each change of a page, are left out:
# the kinds, and the outcomes.
_ROUTINE, _IDLE = {"followup", "question", "delivery", "status"}, {"queued", "duplicate", "unchanged"}
# Fields that are shown with their names.
_FACTS = (
    *("queue", "recipients", "person", "answer", "end", "reason", "http_status", "detail", "attempts", "request_id"),
    *("unguarded", "unverified"),
)


def event_of(line: Line) -> Event | None:
    """Return a log line as an event, in the words of docs/operate.md, "Log lines"; None if it is not to be shown."""
    outcome, change, why = line.text("outcome"), line.text("transition"), line.text("why")
    kind = change if line.message == "callback" else line.text("kind")
    if not line.message.startswith(_SHOWN) or (kind in _ROUTINE and outcome in _IDLE):
        return None
    said = ", ".join([*(identifier(each) for each in (outcome, change) if each not in {"", kind}), *_facts(line)])
    text = printable(f"{kind} {line.message}".lstrip()) + (f": {said}" if said else "") + (f" ({why})" if why else "")
    # A line of a reconcile run names several channels in one text.
    channel = line.text("channel") if is_channel_name(line.text("channel")) else ""
    return Event(line.at, LOG, line.message.partition(":")[0], text, channel, line.text("request_id"))


def _facts(line: Line) -> Iterator[str]:
    for name in _FACTS:
        value = line.fields.get(name)
        texts = [str(each) for each in (value if isinstance(value, list) else [value]) if each]
        if texts and not (name == "attempts" and texts == ["1"]):
            yield f"{name.replace('_', ' ')} {', '.join(identifier(text, _MAX_DETAIL) for text in texts)}"
