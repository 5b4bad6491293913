"""Revocations and last uses of channels' credentials, stored in the ledger's table."""

import json
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from relay.channels.cache import settings_mark_name
from relay.channels.token import EndpointName
from relay.deadline import Clock, Deadline
from relay.failures import LedgerError
from relay.ledger.table import Table, Text

MARKS_KEY = "channels/marks"
# Lifetime of a mark. After it no function still has a copy of the channel from before the revocation.
MARK_SECONDS = 7 * 24 * 3600.0
# Shortest time between two records of one credential's use by one function.
USE_SECONDS = 3600.0
# Wait after a failed write, so that not every share calls a failing table.
USES_RETRY_SECONDS = 60.0
# Time limit of the write, since the answer to the request waits for it.
WRITE_SECONDS = 0.3
# Lifetime of a recorded use.
USE_KEPT_SECONDS = 400 * 24 * 3600.0


def read_marks(table: Table) -> Mapping[str, str]:
    """Return the change marks of all channels: random texts by the mark's name. Raises LedgerError.

    A function that sees a new mark reads the channel's secret again. A revoked credential changes the mark with the
    channel's name; a new mode or pause, the mark with the name `settings_mark_name(channel)`.
    """
    found = table.read(MARKS_KEY)
    return {name: mark for name, (mark, _) in _marks(found.text).items()} if found else {}


def change_mark(table: Table, channel: str, mark: str, now: float, *, revokes: bool) -> None:
    """Store a new mark for a channel, so that functions read its secret again soon. Raises LedgerError.

    `mark` is a text that was not used before; `now` is in epoch seconds. If a credential was revoked (`revokes`), no
    function uses an older copy of the secret then. Otherwise a function uses its copy while the secret can't be read.
    """
    changed = {channel if revokes else settings_mark_name(channel): (mark, now)}

    def marked(found: Text | None) -> str:
        marks = _marks(found.text) if found else {}
        return json.dumps({name: each for name, each in marks.items() if each[1] > now - MARK_SECONDS} | changed)

    table.change(MARKS_KEY, marked)


def _marks(text: str) -> dict[str, tuple[str, float]]:
    try:
        return {str(name): (str(mark), float(at)) for name, (mark, at) in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError):
        raise LedgerError(f"the item {MARKS_KEY} can't be read") from None


def last_used(table: Table, channel: str, endpoint: EndpointName, fingerprint: str) -> float | None:
    """Return when a credential was used last (epoch seconds); None if unknown. Raises LedgerError.

    `fingerprint` is one of `Channel.fingerprints`. The time is at most an hour behind.
    """
    return _time(table.read(use_key(channel, endpoint, fingerprint)))


def newest_use(table: Table, keys: Collection[str]) -> float | None:
    """Return when any of these credentials was used last (epoch seconds); None for never. Raises LedgerError.

    `keys` are made by `use_key`. The time is at most an hour behind.
    """
    times = map(_time, table.read_many(keys).values())
    return max((at for at in times if at is not None), default=None)


def use_key(channel: str, endpoint: EndpointName, fingerprint: str) -> str:
    return f"used/{endpoint}/{channel}/{fingerprint}"


def _time(found: Text | None) -> float | None:
    with suppress(ValueError):
        return float(found.text) if found else None
    return None


@dataclass(frozen=True)
class Uses:
    """Recorder of the times at which credentials were used at the relay's endpoints."""

    table: Table
    clock: Clock
    # Time before which a credential's use is not recorded again (epoch seconds), by its key.
    _noted: dict[str, float] = field(default_factory=dict, init=False, repr=False)

    def record(self, key: str, deadline: Deadline) -> None:
        """Record a credential's use now, at most once an hour. Errors of the table are ignored.

        `key` is made by `use_key`. `deadline` limits the time of the write.
        """
        now = self.clock()
        if self._noted.get(key, 0.0) > now:
            return
        self._noted[key] = now + USES_RETRY_SECONDS
        with suppress(LedgerError, TimeoutError):
            write = partial(self.table.store, key, str(round(now)), lasts=USE_KEPT_SECONDS)
            deadline.run(write, part="used", at_most=WRITE_SECONDS)
            self._noted[key] = now + USE_SECONDS
