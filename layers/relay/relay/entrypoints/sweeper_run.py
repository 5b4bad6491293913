"""State of the sweeper between its runs: the lease of the run that goes on, and when channels were notified last."""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from relay.ledger.table import Table

KEY = "sweeper"
# As long as the function may run.
LEASE_SECONDS = 55.0
# Nobody asks for older ones.
FORGOTTEN_SECONDS = 3600.0
# Runs that are further apart are not in a row: two of them are missing in between.
IN_A_ROW_SECONDS = 180.0


@dataclass
class Run:
    """A run of the sweeper that holds the lease.

    Attributes:
        until: the end of the lease, in epoch seconds.
        notified: by channel, when the fallback topic was notified last, in epoch seconds.
        above: by channel that was above its rate limit: the first and the last of the runs in a row that found it so,
            in epoch seconds.
        has_queue: the retry queue did not fail in this run.
        invocations: how often the run invoked the worker itself.
    """

    until: float
    notified: dict[str, float] = field(default_factory=dict)
    above: dict[str, tuple[float, float]] = field(default_factory=dict)
    has_queue: bool = True
    invocations: int = 0
    _sequence: int = 0

    @classmethod
    def begin(cls, table: Table, now: float) -> Self | None:
        """Take the lease; return None if another run holds it. Raises LedgerError."""
        found = table.read(KEY)
        before = _read(found.text) if found else {}
        if float(before.get("until", 0.0)) > now:
            return None
        notified = {name: at for name, at in before.get("notified", {}).items() if now - at < FORGOTTEN_SECONDS}
        above = {name: (began, last) for name, (began, last) in before.get("above", {}).items()}
        run = cls(now + LEASE_SECONDS, notified, above, _sequence=found.sequence if found else 0)
        return run if run._write(table) else None

    def note(self, table: Table, channels: Iterable[str], now: float) -> None:
        """Note that the fallback topic was notified of channels. Raises LedgerError."""
        self.notified.update(dict.fromkeys(channels, now))
        self._write(table)

    def above_since(self, channels: Collection[str], now: float) -> dict[str, float]:
        """Note that these channels are above their rate limits, and no others; return since when each of them is.

        The end of the run writes the note.
        """
        in_a_row = {name: began for name, (began, last) in self.above.items() if now - last <= IN_A_ROW_SECONDS}
        since = {name: in_a_row.get(name, now) for name in channels}
        self.above = {name: (began, now) for name, began in since.items()}
        return since

    def end(self, table: Table) -> None:
        """Give the lease back. Raises LedgerError."""
        self.until = 0.0
        self._write(table)

    def _write(self, table: Table) -> bool:
        members = {"until": self.until, "notified": self.notified, "above": self.above}
        sequence = table.write(KEY, self._sequence, json.dumps(members, separators=(",", ":")))
        self._sequence = sequence or self._sequence
        return sequence is not None


def _read(text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
        return found if isinstance(found, dict) else {}
    except ValueError:
        return {}
