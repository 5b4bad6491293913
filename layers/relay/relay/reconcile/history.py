"""Listings that a reconcile run compares, and their history: what earlier runs saw, one item in the ledger's table."""

import base64
import hashlib
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

from relay.channels.cache import ChannelCache
from relay.channels.channel import BigPandaAccess, Channel
from relay.channels.misconfiguration import needs_url_recipients
from relay.deadline import Deadline
from relay.failures import ChannelError, LedgerError, UnknownChannel
from relay.incidents.share import RANKS
from relay.ledger.sources import Sources
from relay.ledger.table import Table, parsed

if TYPE_CHECKING:
    from relay.telemetry import Telemetry


class Member(NamedTuple):
    """A channel that a run compares, as the run read it at its start.

    `names_recipients` is True if shares came by a webhook URL of the channel that names recipients.
    """

    channel: Channel
    names_recipients: bool = False

    @property
    def name(self) -> str:
        return self.channel.name

    @property
    def signals(self) -> bool:
        """True if the channel signals incidents of which no share came; False if it only reports them.

        A channel that needs the recipients in the webhook's URL only reports: without a share, they are unknown.
        """
        return is_ringing(self.channel) and not needs_url_recipients(self.channel)


class Listing(NamedTuple):
    """One list of BigPanda's incidents, and the channels to compare with it.

    `unread` has the names of the channels whose secret could not be read: they may be shared the same incidents, so
    an incident that no channel of `members` knows may be theirs.
    """

    name: str
    environment_id: str
    members: tuple[Member, ...]
    unread: tuple[str, ...] = ()

    @property
    def number(self) -> int:
        """Number by which a run orders the listings (see `RunLease.start`)."""
        return int(self.name[:8], 16)

    @property
    def accesses(self) -> list[BigPandaAccess]:
        """The members' access to BigPanda, one for each API key. Any of them can ask for the listing."""
        found = [each.channel.bigpanda for each in self.members if each.channel.bigpanda]
        return list({each.api_key: each for each in found}.values())

    def has(self, channel: Channel) -> bool:
        """True if the channel, as its secret is now, has to be compared with this listing."""
        access = channel.bigpanda
        if access is None or not channel.is_reconciled or self.environment_id not in access.environments:
            return False
        return listing_name(access, self.environment_id) == self.name


@dataclass(frozen=True)
class Planner:
    """Reads the channels, and groups those that have the same listing of BigPanda's incidents."""

    names: Callable[[], Iterable[str]]
    channels: ChannelCache
    sources: Sources
    telemetry: "Telemetry"

    def listings(self, deadline: Deadline) -> list[Listing]:
        """Return the listings to compare. Channels with the same URL, query and environment share one.

        A channel whose secret can't be read is left out, and counted as a failure. Raises LedgerError, and ChannelError
        if the channels can't be listed.
        """
        unread = list[str]()
        channels = list(self._channels(deadline, unread))
        named = self.sources.naming_recipients(channels)
        listings: dict[tuple[str, str], list[Member]] = {}
        for channel in channels:
            access, member = channel.bigpanda, Member(channel, channel.name in named)
            if access is None:
                continue
            for environment_id in access.environments:
                listings.setdefault((listing_name(access, environment_id), environment_id), []).append(member)
        return [Listing(*names, tuple(members), tuple(unread)) for names, members in listings.items()]

    def _channels(self, deadline: Deadline, unread: list[str]) -> Iterator[Channel]:
        """Yield the channels with reconcile runs, and add the names of those that can't be read to `unread`."""
        for name in list(self.names()):
            if not deadline.remaining():
                raise LedgerError("there was no time to read all channels")
            try:
                channel = self.channels.get(name)
            except UnknownChannel:
                # Removed: Secrets Manager may still list it for five minutes (API Reference, "ListSecrets").
                continue
            except ChannelError as error:
                notice_unread(self.telemetry, name, error)
                unread.append(name)
                continue
            except Exception as error:  # noqa: BLE001 - a fault in one channel must not stop the others
                self.telemetry.crashed(error)
                unread.append(name)
                continue
            if channel.is_reconciled:
                yield channel


def notice_unread(telemetry: "Telemetry", name: str, error: ChannelError) -> None:
    """Count and log that a reconcile run leaves out a channel whose secret can't be read."""
    telemetry.notice("reconcile_failed", f"channel {name}: {type(error).__name__}")


def is_ringing(channel: Channel) -> bool:
    return channel.bigpanda is not None and channel.bigpanda.reconcile == "ring"


def listing_name(access: BigPandaAccess, environment_id: str) -> str:
    """Return the short name of a listing of BigPanda's incidents: a hash of base URL, query and environment."""
    named = json.dumps([access.base_url, access.reconcile_query, environment_id])
    return hashlib.sha256(named.encode()).hexdigest()[:16]


# Incidents that a history remembers of each kind, and the length of their names.
MAX_REMEMBERED, MAX_NAME_LENGTH = 2000, 48
# A DynamoDB item may have 400 KB. A longer history remembers fewer incidents.
MAX_CHARACTERS = 380_000
# If no run compared a channel's listing for this time, the comparison starts anew.
FORGOTTEN_SECONDS = 24 * 3600.0
# Time after which an incident of others is judged again: it may have been shared with the channel meanwhile.
OTHERS_SECONDS = 3600.0
_NONE: Mapping[str, float] = {}
_CRITICAL = f"1{RANKS['critical']}"


class Difference(NamedTuple):
    """A difference between BigPanda's state of an incident and the ledger, or an incident that no channel knows.

    Attributes:
        summary: BigPanda's state in short (`Seen.summary`).
        since: Time at which a run saw the difference first (epoch seconds).
        queued: Time at which a job for the incident was queued, or the incident was reported (epoch seconds); 0 if
            neither has happened yet.
    """

    summary: str
    since: float
    queued: float = 0.0


@dataclass
class ChannelHistory:
    """History of a channel's comparisons with a listing. Times are in epoch seconds.

    Attributes:
        since: Start of the comparisons. Unknown incidents that last changed before it are ignored.
        seen: Start of the last complete run, or of the first run.
        differing: Incidents whose state differs from the channel's ledger, by their short names.
        others: Time at which a run found that an unknown incident is not this channel's, by the incident's short name.
    """

    since: float
    seen: float
    differing: dict[str, Difference] = field(default_factory=dict)
    others: dict[str, float] = field(default_factory=dict)


@dataclass
class History:
    """Memory of the earlier runs with the same listing of BigPanda's incidents. Times are in epoch seconds.

    Attributes:
        snoozed_at: Time at which an incident was last seen snoozed, by the incident's `short_name`.
        unknown: Open incidents that no channel knows, by their `short_name`.
        sequence: Version of the stored history, for optimistic locking; 0 if none is stored.
    """

    channels: dict[str, ChannelHistory] = field(default_factory=dict)
    snoozed_at: dict[str, float] = field(default_factory=dict)
    unknown: dict[str, Difference] = field(default_factory=dict)
    sequence: int = 0

    @classmethod
    def read(cls, table: Table, listing: str) -> "History":
        """Read the history of a listing; an empty one if there is none, or it is unreadable. Raises LedgerError."""
        found = table.read(_key(listing))
        sequence = found.sequence if found else 0

        def read(said: Any) -> History:
            channels = {
                name: ChannelHistory(float(since), float(seen), _differences(differing), _times(*others))
                for name, (since, seen, differing, *others) in said["channels"].items()
            }
            return cls(channels, _times(said["snoozed_at"]), _differences(said["unknown"]), sequence)

        return parsed(found, lambda said: read(_unpacked(said)), cls(sequence=sequence))

    def write(self, table: Table, listing: str) -> None:
        """Write the history of a listing. Raises LedgerError, also if another run changed it meanwhile."""
        most = MAX_REMEMBERED
        while len(text := _packed(self._text(most))) > MAX_CHARACTERS and most:
            most //= 2
        written = table.write(_key(listing), self.sequence, text)
        if written is None:
            raise LedgerError("another run changed the history of the listing")
        self.sequence = written

    def begin(self, names: Iterable[str], now: float) -> None:
        """Forget what is too old at `now` (epoch seconds), and begin the history of each channel that has none."""
        self.channels = {name: each for name, each in self.channels.items() if now - each.seen < FORGOTTEN_SECONDS}
        for each in self.channels.values():
            each.differing = _recent(each.differing, now)
            each.others = {name: at for name, at in each.others.items() if now - at < OTHERS_SECONDS}
        self.unknown = _recent(self.unknown, now)
        for name in names:
            self.channels.setdefault(name, ChannelHistory(now, now))

    def _text(self, most: int) -> str:
        channels = {
            name: (each.since, each.seen, _kept(each.differing, most), _latest(each.others, most))
            for name, each in self.channels.items()
        }
        said = {
            "channels": channels,
            "snoozed_at": _latest(self.snoozed_at, most),
            "unknown": _kept(self.unknown, most),
        }
        return json.dumps(said, separators=(",", ":"))


def _packed(text: str) -> str:
    """Return a document that fits into an item: compressed if it is too long."""
    if len(text) <= MAX_CHARACTERS:
        return text
    return json.dumps({"packed": base64.b64encode(zlib.compress(text.encode(), 9)).decode()})


def _unpacked(said: Any) -> Any:
    """Return the decoded document, unpacked if `_packed` compressed it. Raises ValueError if it is damaged."""
    if "packed" not in said:
        return said
    try:
        return json.loads(zlib.decompress(base64.b64decode(said["packed"])))
    except zlib.error as error:
        raise ValueError(str(error)) from None


# Cached, since a run asks for the name of each listed incident several times.
@lru_cache(maxsize=1024)
def short_name(name: str) -> str:
    """Return an incident's short name: its id, or a hash if the id is long or has unusual characters."""
    is_plain = re.fullmatch(r"[\w.:-]*", name, re.ASCII) and len(name) <= MAX_NAME_LENGTH
    return name if is_plain else sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:MAX_NAME_LENGTH]


def _key(listing: str) -> str:
    return f"reconcile/{listing}"


def _differences(members: Any) -> dict[str, Difference]:
    return {
        name: Difference(str(summary), float(since), float(queued))
        for name, (summary, since, queued) in members.items()
    }


def _times(members: Mapping[str, Any] = _NONE) -> dict[str, float]:
    return {name: float(at) for name, at in members.items()}


def _latest(times: dict[str, float], most: int) -> dict[str, float]:
    return dict(sorted(times.items(), key=lambda each: -each[1])[:most])


def _recent(differences: dict[str, Difference], now: float) -> dict[str, Difference]:
    return {name: each for name, each in differences.items() if now - each.since < FORGOTTEN_SECONDS}


def _kept(differences: dict[str, Difference], most: int) -> dict[str, Difference]:
    """Return at most so many differences: open criticals first, then the newest."""

    def place(named: tuple[str, Difference]) -> tuple[bool, float]:
        return named[1].summary != _CRITICAL, -max(named[1].since, named[1].queued)

    return dict(sorted(differences.items(), key=place)[:most])
