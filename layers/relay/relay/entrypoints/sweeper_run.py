"""State of the sweeper between its runs: the lease of the run that goes on, and when channels were notified last."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from relay.ledger.table import Table

KEY = "sweeper"
# As long as the function may run.
LEASE_SECONDS = 55.0
# Nobody asks for older ones.
FORGOTTEN_SECONDS = 3600.0


@dataclass
class Run:
    """A run of the sweeper that holds the lease.

    Attributes:
        until: the end of the lease, in epoch seconds.
        notified: by channel, when the fallback topic was notified last, in epoch seconds.
        has_queue: the retry queue did not fail in this run.
        invocations: how often the run invoked the worker itself.
    """

    until: float
    notified: dict[str, float] = field(default_factory=dict)
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
        run = cls(now + LEASE_SECONDS, notified, _sequence=found.sequence if found else 0)
        return run if run._write(table) else None

    def note(self, table: Table, channels: Iterable[str], now: float) -> None:
        """Note that the fallback topic was notified of channels. Raises LedgerError."""
        self.notified.update(dict.fromkeys(channels, now))
        self._write(table)

    def end(self, table: Table) -> None:
        """Give the lease back. Raises LedgerError."""
        self.until = 0.0
        self._write(table)

    def _write(self, table: Table) -> bool:
        members = {"until": self.until, "notified": self.notified}
        sequence = table.write(KEY, self._sequence, json.dumps(members, separators=(",", ":")))
        self._sequence = sequence or self._sequence
        return sequence is not None


def _read(text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
        return found if isinstance(found, dict) else {}
    except ValueError:
        return {}
