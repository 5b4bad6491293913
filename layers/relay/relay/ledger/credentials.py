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

    A function that sees a new mark reads the channel's secret again. A channel has up to two marks, and none if nothing
    changed recently:

    | name of the mark | changes with |
    | --- | --- |
    | the channel's name | a revoked credential |
    | `settings_mark_name(channel)` | the mode, or a pause |
    """
    found = table.read(MARKS_KEY)
    return {name: mark for name, (mark, _) in _marks(found.text).items()} if found else {}


def change_mark(table: Table, channel: str, mark: str, now: float, *, revokes: bool) -> None:
    """Store a new mark for a channel, so that functions read its secret again soon. Raises LedgerError.

    `mark` is any text that was not used before, and `now` is in epoch seconds. `revokes` is True if a credential was
    revoked: no function then uses a copy of the secret that it cached before. False is for any other change, such as of
    a pause: a function may use its copy as long as the secret can't be read.
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
    """Return the recorded time of a credential's last use (epoch seconds), at most an hour behind; None if unknown.

    `fingerprint` is a hash of the credential, one of `Channel.fingerprints`. Raises LedgerError.
    """
    return _time(table.read(use_key(channel, endpoint, fingerprint)))


def newest_use(table: Table, keys: Collection[str]) -> float | None:
    """Return the recorded time of the last use of any of these credentials (epoch seconds); None if there is none.

    `keys` are the credentials' table keys, made by `use_key`. The time is at most an hour behind. Raises LedgerError.
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
        """Record that a credential was used now, at most once an hour. `key` is its table key, made by `use_key`.

        Errors of the table are ignored. `deadline` limits the time of the write.
        """
        now = self.clock()
        if self._noted.get(key, 0.0) > now:
            return
        self._noted[key] = now + USES_RETRY_SECONDS
        with suppress(LedgerError, TimeoutError):
            write = partial(self.table.store, key, str(round(now)), lasts=USE_KEPT_SECONDS)
            deadline.run(write, part="used", at_most=WRITE_SECONDS)
            self._noted[key] = now + USE_SECONDS
