"""Sources of a channel's shares: environments in the shares, and recipients in the webhooks' URLs.

Any sender with a webhook's token can write both, so an environment is only suggested to the channel's operator.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from copy import replace
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from relay.channels.channel import Channel
from relay.deadline import Clock, Deadline
from relay.failures import LedgerError
from relay.ledger.entry import legal_id
from relay.ledger.table import Table, Text, parsed

# Environments of a channel that are kept: the latest ones. Sets of recipients of an incident that are kept: the first
# ones, so that no later share can drop the true set.
MAX_SOURCES = 20
# Shortest time between two writes of the same fact.
NOTE_AGAIN_SECONDS = 24 * 3600.0
# An environment is no longer suggested if no share named it for this time.
OLD_SECONDS = 30 * 24 * 3600.0
# Wait after a failed write, so that not every share calls a failing table. Also the shortest time between two new
# environments of a channel.
SOURCES_RETRY_SECONDS = 60.0
# Bounds the memory of one function.
MAX_NOTED = 1000
# Time limit of a write.
TABLE_SECONDS = 1.0

type Recipients = tuple[str, ...]


class _Seen(NamedTuple):
    """Facts that a channel's shares show, and its secret does not contain. Stored as one table item for each channel.

    Attributes:
        environments: Time of the last share from each environment (epoch seconds), by the environment's id.
        names_recipients: True if a webhook's URL named recipients.
    """

    environments: Mapping[str, float]
    names_recipients: bool = False

    @classmethod
    def of(cls, found: Text | None) -> "_Seen":
        """Read the facts about a channel's shares from their table item; no facts if it is missing or unreadable."""

        def read(stored: Any) -> _Seen:
            environments = {str(name): float(at) for name, at in stored["environments"].items()}
            return cls(environments, bool(stored["names_recipients"]))

        return parsed(found, read, cls({}))

    def with_share(self, environment_id: str | None, recipients: Recipients, now: float) -> "_Seen":
        """Return the facts with those of a share at `now` (epoch seconds), and the latest MAX_SOURCES environments."""
        environments = dict(self.environments) | ({environment_id: now} if environment_id else {})
        latest = sorted(environments, key=lambda name: -environments[name])[:MAX_SOURCES]
        kept = {name: environments[name] for name in latest}
        return replace(self, environments=kept, names_recipients=self.names_recipients or bool(recipients))

    def text(self) -> str:
        return json.dumps({"environments": dict(self.environments), "names_recipients": self.names_recipients})


@dataclass(frozen=True)
class Sources:
    """Store of environments that shares name and the secret lacks, and of recipients that webhook URLs name.

    Of each incident the store has the sets of recipients: each set has a ledger entry of its own.
    """

    table: Table
    clock: Clock
    # Time before which a fact is not written again (epoch seconds), by channel, environment, and if the URL named any.
    _noted: dict[tuple[str, str | None, bool], float] = field(default_factory=dict, init=False, repr=False)
    # Time before which no other new environment of a channel is written (epoch seconds).
    _suggested: dict[str, float] = field(default_factory=dict, init=False, repr=False)

    def record(self, channel: Channel, environment_id: str | None, recipients: Recipients, deadline: Deadline) -> None:
        """Record a share's environment, and that the webhook's URL named recipients, for a channel with reconcile runs.

        Nothing is recorded of an environment that is None or in the channel's secret, or of empty `recipients`. Each
        fact is recorded once a day. Errors of the table are ignored.
        """
        access = channel.bigpanda
        if access is None or not access.reconcile:
            return
        unknown = None if environment_id in access.environments else environment_id
        if unknown is None and not recipients:
            return
        share, now = (channel.name, unknown, bool(recipients)), self.clock()
        if self._noted.get(share, 0.0) > now:
            return
        if unknown is not None:
            # Limits the writes of a sender that has the token and names a new environment in each share.
            if self._suggested.get(channel.name, 0.0) > now:
                return
            self._suggested[channel.name] = now + SOURCES_RETRY_SECONDS
        if len(self._noted) >= MAX_NOTED:
            self._noted.clear()
        self._noted[share] = now + SOURCES_RETRY_SECONDS

        def with_share(found: Text | None) -> str:
            return _Seen.of(found).with_share(unknown, recipients, now).text()

        if self._try_change(_key(channel.name), with_share, deadline):
            self._noted[share] = now + NOTE_AGAIN_SECONDS

    def record_recipients(self, channel: Channel, incident_id: str, recipients: Recipients, deadline: Deadline) -> bool:
        """Record the set of recipients in the webhook's URL for an incident. Return False if the table fails.

        By these sets callbacks and reconcile runs find the incident's ledger entries. An empty set is not recorded.
        """
        if not recipients or not (channel.bigpanda or channel.callback):
            return True
        key, named = _incident_key(channel.name, incident_id), tuple(sorted(set(recipients)))
        return self._try_change(key, partial(_with_set, recipients=named), deadline)

    def of_incident(self, channel: Channel, incident_id: str) -> tuple[Recipients, ...]:
        """Return each non-empty set of recipients that a webhook URL named for an incident. Raises LedgerError."""
        return tuple(_sets(self.table.read(_incident_key(channel.name, incident_id))))

    def of_incidents(self, channel: str, incident_ids: Collection[str]) -> dict[str, tuple[Recipients, ...]]:
        """Return the sets of recipients that webhook URLs named, by incident id; empty for none. Raises LedgerError."""
        keys = {incident_id: _incident_key(channel, incident_id) for incident_id in incident_ids}
        found = self.table.read_many(set(keys.values()))
        return {each: tuple(_sets(found[key])) for each, key in keys.items()}

    def naming_recipients(self, channels: Sequence[Channel]) -> set[str]:
        """Return the names of those channels for which a webhook URL ever named recipients. Raises LedgerError."""
        found = self.table.read_many([_key(channel.name) for channel in channels])
        return {channel.name for channel in channels if _Seen.of(found[_key(channel.name)]).names_recipients}

    def suggested(self, channel: Channel) -> tuple[str, ...]:
        """Return the ids of environments in shares of the last 30 days that the channel's secret lacks, latest first.

        Any sender with the webhook's token may have written them: an operator must check them. Raises LedgerError.
        """
        environments = _Seen.of(self.table.read(_key(channel.name))).environments
        known = channel.bigpanda.environments if channel.bigpanda else ()
        recent = [name for name, at in environments.items() if at > self.clock() - OLD_SECONDS and name not in known]
        return tuple(sorted(recent, key=lambda name: -environments[name]))

    def _try_change(self, key: str, change: Callable[[Text | None], str | None], deadline: Deadline) -> bool:
        """Change a table item as `Table.change` does; return False if the table fails, or there is no time left."""
        with suppress(LedgerError, TimeoutError):
            deadline.run(partial(self.table.change, key, change), part="ledger", at_most=TABLE_SECONDS)
            return True
        return False


def _sets(found: Text | None) -> list[Recipients]:
    none: list[Recipients] = []
    return parsed(found, lambda sets: [tuple(map(str, each)) for each in sets], none)


def _with_set(found: Text | None, recipients: Recipients) -> str | None:
    """Return the table item's text with one more set of recipients; None if it has that set already, or is full."""
    known = _sets(found)
    return None if recipients in known or len(known) >= MAX_SOURCES else json.dumps([*known, recipients])


def _key(channel: str) -> str:
    return f"sources/{channel}"


def _incident_key(channel: str, incident_id: str) -> str:
    return f"shared/{channel}/{legal_id(incident_id)}"
