"""Incidents of the last shares, or those that are owed, with their titles and states, for `incident list`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from rich.text import Text

from relay.delivery.channel_health import age
from relay.foreign_text import identifier, printable, quoted
from relay.incidents.share import MAX_ID_LENGTH
from relay.ledger.entry import Entry
from relay.ledger.entry_key import channel_of, incident_of, key, shadow_of
from relay.ledger.sources import Sources
from relay.ledger.table import Ledger
from relayctl import moments, terminal
from relayctl.channel.revocation import bounded_table
from relayctl.incident import timeline_ledger
from relayctl.log_lines import AHEAD_SECONDS, WEBHOOK, Budget, Line, LogReader
from relayctl.readings import Readings
from relayctl.stack.deployed import Stack
from relayctl.stack.owed import due

# Answers of FilterLogEvents that are read.
MAX_ANSWERS = 200
# Incidents that are shown, the newest.
MAX_INCIDENTS = 500
MAX_TITLE = 80
_AGE_COLUMNS = 5
_SHARES = '{ $.message = "share" }'


class Listed(NamedTuple):
    """An incident of a channel.

    Attributes:
        at: Time of its last share (epoch seconds).
        channel: Name of the channel.
        incident_id: BigPanda's id, as the log or the ledger's key has it.
        entry: Its entry in the ledger; None if there is none, or it could not be read.
        outcome: Outcome of its last share in the log; empty if the log was not read.
    """

    at: float
    channel: str
    incident_id: str
    entry: Entry | None
    outcome: str = ""

    def words(self, now: float) -> str:
        """Return the incident's state in words, then its title in quotes."""
        if self.entry is None:
            return f"the last share was {self.outcome}; the ledger has no entry of it"
        known = timeline_ledger.summary(self.channel, (), self.entry, now).words
        title = [quoted(self.entry.about.title, MAX_TITLE)] if self.entry.about.title else []
        return "; ".join([*known, *title])

    def document(self, now: float) -> dict[str, Any]:
        """Return the incident as a JSON object for programs."""
        entry = self.entry
        return {
            "incident_id": self.incident_id,
            "channel": self.channel,
            "title": entry.about.title or None if entry else None,
            "last_share_at": moments.iso(self.at),
            **(timeline_ledger.summary(self.channel, (), entry, now).details if entry else {}),
        }


@dataclass
class IncidentReader:
    """Reads the incidents of a stack. If a source fails, the others are still read.

    Attributes:
        stack: The stack.
        channel: Name of the only channel; None for all channels.
        since: Time of the oldest share to list (epoch seconds); None for any.
        readings: The results of the sources.
    """

    stack: Stack
    channel: str | None
    since: float | None
    readings: Readings = field(default_factory=Readings)

    def owed(self) -> list[Listed]:
        """Return the incidents that the ledger's index has as owed or given up, the newest share first."""
        ledger = Ledger(bounded_table(self.stack))

        rows = (self.readings.read("ledger", lambda: dict(due(ledger))) or {}).items()
        return self._newest(
            Listed(_came(entry), channel_of(name), incident_of(name), entry)
            for name, entry in rows
            if entry.debt.since is not None
        )

    def shared(self) -> list[Listed]:
        """Return the incidents whose shares the webhook logged since `since`, the newest share first."""
        lines = self.readings.read("log", self._lines) or []
        last = {(line.text("channel"), line.text("incident_id")): line for line in lines}
        newest = sorted(last, key=lambda each: -last[each].at)[:MAX_INCIDENTS]
        entries = self.readings.read("ledger", lambda: self._entries(newest)) or {}
        rows = (
            Listed(last[each].at, *each, entry, last[each].text("outcome"))
            for each in newest
            for entry in entries.get(each) or [None]
        )
        return self._newest(rows)

    def _lines(self) -> list[Line]:
        now, budget = self.stack.effects.clock(), Budget(MAX_ANSWERS)
        reader = LogReader(self.stack.logs, self.stack.name)
        lines = list(reader.scan(WEBHOOK, _SHARES, self.since or 0.0, now + AHEAD_SECONDS, budget))
        if budget.is_cut:
            self.readings.add("log", problem=budget.problem)
        return sorted((line for line in lines if line.text("incident_id")), key=lambda each: each.at)

    def _entries(self, incidents: list[tuple[str, str]]) -> Mapping[tuple[str, str], list[Entry | None]]:
        """Return the stored entries of incidents: one for each set of recipients that webhooks' URLs named."""
        table = bounded_table(self.stack)
        sources, places = Sources(table, self.stack.effects.clock), dict[str, tuple[str, str]]()
        for channel in {channel for channel, _ in incidents}:
            ids = [incident for name, incident in incidents if name == channel]
            named = sources.of_incidents(channel, ids)
            for incident in ids:
                for recipients in ((), *named.get(incident, ())):
                    name = key(channel, recipients, incident)
                    places |= {name: (channel, incident), shadow_of(name): (channel, incident)}
        found = dict[tuple[str, str], list[Entry | None]]()
        for name, entry in Ledger(table).read_many(places).items():
            if timeline_ledger.is_known(entry):
                found.setdefault(places[name], []).append(entry)
        return found

    def _newest(self, rows: Iterator[Listed]) -> list[Listed]:
        wanted = [
            each for each in rows if self.channel in {None, each.channel} and each.at >= (self.since or float("-inf"))
        ]
        return sorted(wanted, key=lambda each: (-each.at, each.channel, each.incident_id))[:MAX_INCIDENTS]


def show(found: list[Listed], now: float) -> None:
    """Print a line for each incident: the age of its last share, its channel and id, its state and its title."""
    for each in found:
        what = f"{printable(each.channel)} {identifier(each.incident_id, MAX_ID_LENGTH)}: {each.words(now)}"
        terminal.show_line(what, lead=Text(f"{age(now - each.at):>{_AGE_COLUMNS}}  "))


def _came(entry: Entry) -> float:
    return entry.newest.came if entry.newest else entry.debt.since or 0.0
