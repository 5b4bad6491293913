"""Hourly probe of the credentials for the vendors' REST APIs: one harmless GET each, which notifies no person.

The credential for xMatters' trigger is not probed, since only a signal can test it. If xMatters refuses that
credential, the signal's debt has the reason `credentials`.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from relay.channels.channel import ApiKind, BigPandaAccess, Channel, Rest
from relay.deadline import Deadline
from relay.failures import ChannelError, LedgerError, Reason, SendError, UnknownChannel
from relay.http.client import SHORTEST_SECONDS
from relay.ledger.table import Table, parsed

if TYPE_CHECKING:
    from relay.bigpanda.listing import Lister
    from relay.sweeper.run import Tools
    from relay.xmatters.directory import Directory


PROBES_KEY = "channels/probes"
# Older results are not used: the probes have stopped.
PROBES_KEPT_SECONDS = 24 * 3600.0
_KINDS: tuple[ApiKind, ...] = ("rest", "bigpanda")


class Probe(NamedTuple):
    """Result of the last probe of a channel's credentials.

    Attributes:
        at: Time of the probe (epoch seconds); 0 for none yet.
        refused: Fingerprint (keyed hash) of each credential that the vendor refused, by its API.
    """

    at: float = 0.0
    refused: Mapping[ApiKind, str] = {}

    def refused_among(self, current: Mapping[ApiKind, str]) -> tuple[ApiKind, ...]:
        """Return the APIs whose refused credential is still in use. `current` has the fingerprints in use."""
        return tuple(kind for kind, fingerprint in self.refused.items() if current.get(kind) == fingerprint)


@dataclass
class Probes:
    """Results of the last probes, by channel. `listed_at`: when all channels were listed last (epoch seconds), or 0."""

    listed_at: float = 0.0
    channels: dict[str, Probe] = field(default_factory=dict)


def read_probes(table: Table, now: float) -> Probes:
    """Return the results of the last probes. Raises LedgerError.

    Malformed results, and those older than PROBES_KEPT_SECONDS, are left out: their channels are probed again.
    """

    def read(document: Any) -> Probes:
        channels = {name: _probe(*members) for name, members in document["channels"].items()}
        fresh = {name: probe if now - probe.at < PROBES_KEPT_SECONDS else Probe() for name, probe in channels.items()}
        return Probes(float(document["listed_at"]), fresh)

    return parsed(table.read(PROBES_KEY), read, Probes())


def store_probes(table: Table, probes: Probes) -> None:
    channels = {
        name: (round(at), refused) if refused else (round(at),) for name, (at, refused) in probes.channels.items()
    }
    document = {"listed_at": round(probes.listed_at), "channels": channels}
    table.store(PROBES_KEY, json.dumps(document, separators=(",", ":")), lasts=PROBES_KEPT_SECONDS)


def _probe(at: float, refused: Mapping[str, str] | None = None) -> Probe:
    return Probe(float(at), {kind: str(refused[kind]) for kind in _KINDS if refused and kind in refused})


PROBE_SECONDS = 3600.0
# A refused credential is probed again sooner: the vendor may have allowed it again, or refused it by mistake.
REFUSED_AGAIN_SECONDS = 600.0
# Channels that a run probes. So 600 channels have their turn within the hour, and BigPanda's limit of 5 requests a
# second for a key has room for other calls.
MAX_PROBED = 10
# Channels that are probed at all: their results are one item of the table, which takes 400 KB.
MAX_CHANNELS = 1000
# Time limit of one request. Two rounds of parallel requests fit into a run's time for probes.
CALL_SECONDS = 2.5
# Time between two lists of the channels, and time until the next list after a failed one.
LIST_AGAIN_SECONDS = 3600.0
LIST_FAILED_SECONDS = 300.0


@dataclass(frozen=True)
class CredentialProbe:
    """Probes the channels' credentials for the REST APIs of xMatters and BigPanda.

    A channel is due an hour after its last probe; ten minutes after it if the vendor refused a credential; and at once
    if a refused credential was changed. Channels in shadow mode and paused channels are probed as well.
    """

    tools: "Tools"
    directory: "Callable[[], Directory]"
    lister: "Callable[[], Lister]"

    def refused(self) -> dict[str, tuple[ApiKind, ...]]:
        """Return, by channel, the APIs that refused its credential in their last clear answer.

        Empty if the results can't be read.
        """
        try:
            probes = read_probes(self.tools.table, self.tools.clock())
        except LedgerError:
            return {}
        refused = {name: each for name, each in probes.channels.items() if each.refused}
        # A credential that was changed since is not known to be accepted until a run has tested it.
        return {name: tuple(each.refused) for name, each in refused.items() if self._in_use(name, each) is not None}

    def run(self, deadline: Deadline) -> tuple[list[str], list[str], bool]:
        """Probe the credentials of the channels that are due, the longest unprobed first. Raises LedgerError.

        Returns three things: the names of all channels, the names of those that were due, and True if this run listed
        all channels anew.
        """
        probes = read_probes(self.tools.table, self.tools.clock())
        is_changed = self._list(probes, deadline)
        is_listed = is_changed and probes.listed_at + LIST_FAILED_SECONDS > self.tools.clock()
        due = self._due(probes)
        if due:
            self._probe(probes, due, deadline)
        if due or is_changed:
            store_probes(self.tools.table, probes)
        return list(probes.channels), due, is_listed

    def _list(self, probes: Probes, deadline: Deadline) -> bool:
        """List all channels again if that is due. Return True if it was due, so that `probes` has to be stored."""
        now = self.tools.clock()
        if now - probes.listed_at < LIST_AGAIN_SECONDS:
            return False
        names = self.tools.all_names(deadline)
        if names is None:
            probes.listed_at = now - LIST_AGAIN_SECONDS + LIST_FAILED_SECONDS
            return True
        probes.listed_at = now
        probes.channels = {name: probes.channels.get(name, Probe()) for name in sorted(names)[:MAX_CHANNELS]}
        return True

    def _due(self, probes: Probes) -> list[str]:
        now, known = self.tools.clock(), probes.channels
        due = [name for name, each in known.items() if self._is_due(name, each, now)]
        return sorted(due, key=lambda name: known[name].at)[:MAX_PROBED]

    def _is_due(self, name: str, probe: Probe, now: float) -> bool:
        again = REFUSED_AGAIN_SECONDS if probe.refused else PROBE_SECONDS
        return now - probe.at >= again or len(self._in_use(name, probe) or ()) < len(probe.refused)

    def _in_use(self, name: str, probe: Probe) -> tuple[ApiKind, ...] | None:
        """Return the APIs whose refused credential is still in use; None if the channel was removed."""
        if not probe.refused:
            return ()
        try:
            return probe.refused_among(self.tools.channels.get(name).api_fingerprints())
        except UnknownChannel:
            return None
        except ChannelError:
            # For a channel that can't be read, the known results stay.
            return tuple(probe.refused)

    def _probe(self, probes: Probes, due: Sequence[str], deadline: Deadline) -> None:
        now = self.tools.clock()
        channels = dict(zip(due, self.tools.at_once([partial(self._channel, name) for name in due]), strict=True))
        # Channels often share a key, which is probed once for all of them.
        accesses = [access for each in channels.values() if each for access in each.probed_apis().values()]
        logins = {access.login: access for access in accesses}
        asked = self.tools.at_once([partial(self._is_refused, access, deadline) for access in logins.values()])
        answers = dict(zip(logins, asked, strict=True))
        for name, channel in channels.items():
            known = probes.channels[name]
            if channel is None:
                # The next list drops it if it was removed.
                probes.channels[name] = known._replace(at=now)
                continue
            found = {kind: answers[access.login] for kind, access in channel.probed_apis().items()}
            probes.channels[name] = Probe(now, _refused(channel, found, known))
            if True in found.values():
                # The copy may be older than the credential: the next run compares the new one with the refused one.
                with suppress(ChannelError):
                    self.tools.channels.refresh(name)

    def _channel(self, name: str) -> Channel | None:
        try:
            return self.tools.channels.get(name)
        except ChannelError:
            return None
        except Exception as error:  # noqa: BLE001 - a fault in one channel must not stop the others
            self.tools.telemetry.crashed(error)
            return None

    def _is_refused(self, access: Rest | BigPandaAccess, deadline: Deadline) -> bool | None:
        """Return True if the vendor refuses the credential; None if that is unknown, such as after a time-out."""
        if deadline.remaining() < SHORTEST_SECONDS:
            return None
        try:
            if isinstance(access, Rest):
                self.directory().try_credentials(access, self._brief(deadline))
            else:
                lister = self.lister()
                lister.rate_limit.wait(access, "incidents")
                lister.bigpanda.try_credentials(access, access.environments[0], self._brief(deadline))
        except SendError as error:
            return True if error.reason == Reason.CREDENTIALS else None
        except LedgerError:
            return None
        except Exception as error:  # noqa: BLE001 - a fault in one probe must not stop the others
            self.tools.telemetry.crashed(error)
            return None
        return False

    def _brief(self, deadline: Deadline) -> Deadline:
        return self.tools.deadlines(min(CALL_SECONDS, deadline.remaining()))


def _refused(channel: Channel, found: Mapping[ApiKind, bool | None], known: Probe) -> dict[ApiKind, str]:
    """Return the fingerprints of the channel's refused credentials, by kind.

    If this probe did not tell (None in `found`), what the last probe (`known`) found refused stays.
    """
    prints = channel.api_fingerprints()
    refused = {kind: prints[kind] for kind, is_refused in found.items() if is_refused}
    untold = (kind for kind in known.refused if found.get(kind, False) is None)
    return {kind: known.refused[kind] for kind in untold} | refused
