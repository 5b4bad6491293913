"""The channels that a function knows, read from Secrets Manager as seldom as can be.

A channel is read once and used for a while; read again when a credential of it fails; served from the last good copy
while Secrets Manager fails or a new version is malformed. Guessing names costs the guesser time and us nothing.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from relay import channel
from relay.channel import Channel
from relay.errors import ChannelUnreadable, InvalidChannel, UnknownChannel
from relay.http import AllowedHosts

REFRESH_SECONDS = 10.0
UNKNOWN_SECONDS = 60.0
MAX_UNKNOWN = 1024
LOOKUPS_AT_ONCE = 20
LOOKUPS_PER_SECOND = 1.0

# Gives the secret's text for a channel's name; raises UnknownChannel or ChannelUnreadable.
type SecretSource = Callable[[str], str]
# Called with the name of a metric and a text for the log when a copy has to do in place of the secret.
type Notice = Callable[[str, str], None]


@dataclass
class _Copy:
    channel: Channel
    good_until: float
    read_at: float


class ChannelCache:
    """Channels by name. `clock` gives epoch seconds."""

    def __init__(
        self,
        source: SecretSource,
        hosts: AllowedHosts,
        *,
        seconds: float,
        clock: Callable[[], float],
        notice: Notice,
    ) -> None:
        self._source = source
        self._hosts = hosts
        self._seconds = seconds
        self._clock = clock
        self._notice = notice
        self._copies: dict[str, _Copy] = {}
        self._unknown: OrderedDict[str, float] = OrderedDict()
        self._lookups = _Allowance(LOOKUPS_AT_ONCE, LOOKUPS_PER_SECOND, clock)

    def get(self, name: str) -> Channel:
        """The channel of that name.

        Raises UnknownChannel, or ChannelUnreadable when there is no copy to fall back on and the secret can't be read,
        is malformed, or must not be asked for because too many unknown names were.
        """
        now = self._clock()
        copy = self._copies.get(name)
        if copy and now < copy.good_until:
            return copy.channel
        if copy:
            return self._read_again(name, copy)
        if now < self._unknown.get(name, 0.0):
            raise UnknownChannel(name)
        if not self._lookups.take():
            raise ChannelUnreadable("too many unknown channels were asked for; try again")
        return self._read(name)

    def refresh(self, name: str) -> Channel:
        """The channel, read anew unless it was within the last ten seconds; for when a credential of it failed."""
        copy = self._copies.get(name)
        if copy is None or self._clock() - copy.read_at < REFRESH_SECONDS:
            return self.get(name)
        return self._read_again(name, copy)

    def _read(self, name: str) -> Channel:
        try:
            found = channel.parse(name, self._source(name), self._hosts)
        except UnknownChannel:
            self._copies.pop(name, None)
            self._remember_unknown(name)
            raise
        except InvalidChannel as error:
            raise ChannelUnreadable(f"the secret of channel {name} is malformed: {error}") from error
        now = self._clock()
        self._copies[name] = _Copy(found, now + self._seconds, now)
        return found

    def _read_again(self, name: str, copy: _Copy) -> Channel:
        try:
            return self._read(name)
        except ChannelUnreadable as error:
            self._notice("stale_channel", str(error))
            # Not at every share: a secret that can't be read is slow to fail, too.
            now = self._clock()
            copy.good_until = max(copy.good_until, now + REFRESH_SECONDS)
            copy.read_at = now
            return copy.channel

    def _remember_unknown(self, name: str) -> None:
        self._unknown[name] = self._clock() + UNKNOWN_SECONDS
        self._unknown.move_to_end(name)
        while len(self._unknown) > MAX_UNKNOWN:
            self._unknown.popitem(last=False)


class _Allowance:
    """So many at once, and so many a second after that."""

    def __init__(self, burst: float, per_second: float, clock: Callable[[], float]) -> None:
        self._burst = burst
        self._per_second = per_second
        self._clock = clock
        self._left = burst
        self._counted_at = clock()

    def take(self) -> bool:
        now = self._clock()
        passed = max(0.0, now - self._counted_at)
        self._left = min(self._burst, self._left + passed * self._per_second)
        self._counted_at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
