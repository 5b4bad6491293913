"""Results of the probes (tests) of channels' credentials for the vendors' APIs: one item of the ledger's table."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from relay.channels.channel import ApiKind
from relay.ledger.table import Table

PROBES_KEY = "channels/probes"
# Older results are not used: the probes have stopped.
PROBES_KEPT_SECONDS = 24 * 3600.0
_KINDS: tuple[ApiKind, ...] = ("rest", "bigpanda")


class Probe(NamedTuple):
    """Result of the last probe of a channel's credentials.

    Attributes:
        at: Time of the probe (epoch seconds); 0 for none yet.
        refused: Fingerprint (keyed hash) of each credential that the vendor refused, by its API: `rest` (xMatters') or
            `bigpanda`.
    """

    at: float = 0.0
    refused: Mapping[ApiKind, str] = {}

    def refused_among(self, current: Mapping[ApiKind, str]) -> tuple[ApiKind, ...]:
        """Return the APIs whose credentials were refused and did not change since.

        `current` has the fingerprints of the channel's credentials now, by API.
        """
        return tuple(kind for kind, fingerprint in self.refused.items() if current.get(kind) == fingerprint)


@dataclass
class Probes:
    """Results of the last probes.

    Attributes:
        listed_at: Time at which the names of all channels were listed last (epoch seconds); 0 for never.
        channels: The results by channel's name.
    """

    listed_at: float = 0.0
    channels: dict[str, Probe] = field(default_factory=dict)


def read_probes(table: Table, now: float) -> Probes:
    """Return the results of the last probes at `now` (epoch seconds). Raises LedgerError.

    An item that can't be read, or is too old, gives no results: the channels are probed again.
    """
    found = table.read(PROBES_KEY)
    with suppress(ValueError, TypeError, AttributeError, KeyError):
        document = json.loads(found.text) if found else {}
        channels = {name: _probe(*members) for name, members in document["channels"].items()}
        fresh = {name: probe if now - probe.at < PROBES_KEPT_SECONDS else Probe() for name, probe in channels.items()}
        return Probes(float(document["listed_at"]), fresh)
    return Probes()


def store_probes(table: Table, probes: Probes) -> None:
    """Store the results of probes. Raises LedgerError."""
    channels = {
        name: (round(at), refused) if refused else (round(at),) for name, (at, refused) in probes.channels.items()
    }
    document = {"listed_at": round(probes.listed_at), "channels": channels}
    table.store(PROBES_KEY, json.dumps(document, separators=(",", ":")), lasts=PROBES_KEPT_SECONDS)


def _probe(at: float, refused: Mapping[str, str] | None = None) -> Probe:
    return Probe(float(at), {kind: str(refused[kind]) for kind in _KINDS if refused and kind in refused})
