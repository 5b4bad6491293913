"""Where a channel's shares come from: environments of BigPanda's, and the recipients that its webhooks' URLs name.

Nobody tells the relay which environments share with a channel, so it remembers where shares came from. A function
writes that once, and again once a day: a share costs nothing for it.
"""

import json
from collections.abc import Callable
from contextlib import suppress
from copy import replace
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from relay.channel import Channel
from relay.deadline import Deadline
from relay.errors import LedgerError
from relay.fields import MAX_ID_LENGTH
from relay.table import Table

MAX_SOURCES = 20
# What shared nothing for so long is no source any more.
KEPT_SECONDS = 30 * 24 * 3600.0
AGAIN_SECONDS = 24 * 3600.0
# A table that failed is not asked at each share.
RETRY_SECONDS = 60.0
TABLE_SECONDS = 1.0


class Source(NamedTuple):
    """An environment, and the recipients in the URL of a webhook that shared from there; `at` is when it last did."""

    environment_id: str
    recipients: tuple[str, ...]
    at: float = 0.0


@dataclass(frozen=True)
class Sources:
    """Remembers sources. `clock` gives epoch seconds."""

    table: Table
    clock: Callable[[], float]
    # Until when a channel's source need not be noted again.
    _noted: dict[tuple[str, Source], float] = field(default_factory=dict, init=False, repr=False)

    def note(
        self, channel: Channel, environment_id: str | None, recipients: tuple[str, ...], deadline: Deadline
    ) -> None:
        """Remember where a share of a channel came from, if anybody will want to know, and the table takes it."""
        environment_id = environment_id or (channel.bigpanda.environment_id if channel.bigpanda else None)
        is_wanted = channel.bigpanda is not None and channel.bigpanda.reconcile
        if not is_wanted or not environment_id or len(environment_id) > MAX_ID_LENGTH:
            return
        source = Source(environment_id, tuple(sorted(set(recipients))))
        now = self.clock()
        if self._noted.get((channel.name, source), 0.0) > now:
            return
        self._noted[channel.name, source] = now + RETRY_SECONDS
        with suppress(LedgerError, TimeoutError):
            write = partial(self._write, channel.name, source, now)
            if deadline.run(write, part="ledger", at_most=TABLE_SECONDS):
                self._noted[channel.name, source] = now + AGAIN_SECONDS

    def of(self, channel: Channel) -> tuple[Source, ...]:
        """Where a channel's shares come from, and where its own settings say that they do. Raises LedgerError."""
        found, _ = self._read(channel.name)
        known = tuple(source for source in found if source.at > self.clock() - KEPT_SECONDS)
        own = channel.bigpanda.environment_id if channel.bigpanda else None
        is_known = own is None or any(source.environment_id == own for source in known)
        return known if is_known else (*known, Source(own or "", ()))

    def _write(self, channel: str, source: Source, now: float) -> bool:
        found, sequence = self._read(channel)
        others = [each for each in found if each[:2] != source[:2]]
        newest = sorted((*others, replace(source, at=now)), key=lambda each: -each.at)[:MAX_SOURCES]
        return self.table.write(_key(channel), sequence, json.dumps(newest)) is not None

    def _read(self, channel: str) -> tuple[list[Source], int]:
        found = self.table.read(_key(channel))
        if found is None:
            return [], 0
        with suppress(ValueError, TypeError):
            return [_source(each) for each in json.loads(found.text)], found.sequence
        return [], found.sequence


def _source(members: list[Any]) -> Source:
    environment_id, recipients, at = members
    return Source(str(environment_id), tuple(map(str, recipients)), float(at))


def _key(channel: str) -> str:
    return f"sources/{channel}"
