"""What the table knows of channels' credentials: revocations, and the last use of each credential."""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from relay.channels.token import Door
from relay.deadline import Deadline
from relay.errors import LedgerError
from relay.ledger.table import Table, Text

EPOCH_KEY = "channels/epoch"
# By then no function runs any more that read a channel before its credential was revoked.
MARK_SECONDS = 7 * 24 * 3600.0
# A use is noted once in so many seconds, by each function for each credential.
USE_SECONDS = 3600.0
# A table that failed is not asked at each share.
RETRY_SECONDS = 60.0
# The answer waits for it, once an hour.
WRITE_SECONDS = 0.3
USE_KEPT_SECONDS = 400 * 24 * 3600.0


def read_marks(table: Table) -> Mapping[str, str]:
    """Return the mark of each channel of which a credential was revoked. Raises LedgerError."""
    found = table.read(EPOCH_KEY)
    return {name: mark for name, (mark, _) in _marks(found.text).items()} if found else {}


def revoke(table: Table, channel: str, mark: str, now: float) -> None:
    """Give a channel a new mark, so that copies of it are read anew. Raises LedgerError; `now` is in epoch seconds."""

    def marked(found: Text | None) -> str:
        marks = _marks(found.text) if found else {}
        recent = {name: each for name, each in marks.items() if each[1] > now - MARK_SECONDS}
        return json.dumps(recent | {channel: (mark, now)})

    table.change(EPOCH_KEY, marked)


def _marks(text: str) -> dict[str, tuple[str, float]]:
    try:
        return {str(name): (str(mark), float(at)) for name, (mark, at) in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError):
        raise LedgerError(f"the item {EPOCH_KEY} can't be read") from None


def last_used(table: Table, channel: str, door: Door, fingerprint: str) -> float | None:
    """Return the time (epoch seconds) of a credential's last use, up to an hour too early. Raises LedgerError."""
    found = table.read(_key(channel, door, fingerprint))
    with suppress(ValueError):
        return float(found.text) if found else None
    return None


@dataclass(frozen=True)
class Uses:
    """Notes the use of credentials of one door. `clock` gives epoch seconds."""

    table: Table
    clock: Callable[[], float]
    door: Door
    # Until when a credential's use need not be noted, by its key.
    _noted: dict[str, float] = field(default_factory=dict, init=False, repr=False)

    def note(self, channel: str, fingerprint: str, deadline: Deadline) -> None:
        """Note a use, once an hour. Nothing is raised if the table does not take it."""
        key, now = _key(channel, self.door, fingerprint), self.clock()
        if self._noted.get(key, 0.0) > now:
            return
        self._noted[key] = now + RETRY_SECONDS
        with suppress(LedgerError, TimeoutError):
            write = partial(self.table.store, key, str(round(now)), lasts=USE_KEPT_SECONDS)
            deadline.run(write, part="used", at_most=WRITE_SECONDS)
            self._noted[key] = now + USE_SECONDS


def _key(channel: str, door: Door, fingerprint: str) -> str:
    return f"used/{door}/{channel}/{fingerprint}"
