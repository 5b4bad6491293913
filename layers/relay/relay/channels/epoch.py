"""Epoch of channels: a mark for each channel of which a credential was revoked. A copy with another mark is too old.

An operator changes the mark after the secret. A door compares it, so that a revoked credential does not live as long as
the copies of its channel.
"""

from collections.abc import Callable, Mapping

from relay.errors import LedgerError

# One read in so many seconds, however many channels and requests there are.
EPOCH_SECONDS = 10.0

# Gives the marks by channel; raises LedgerError.
type MarkSource = Callable[[], Mapping[str, str]]


class Epoch:
    """The marks as they were read last. `clock` gives epoch seconds, `notice` counts and logs a read that failed.

    Attributes:
        read_at: Time of the last read that succeeded (epoch seconds); 0 if none did.
    """

    def __init__(self, source: MarkSource, clock: Callable[[], float], notice: Callable[[str, str], None]) -> None:
        self._source = source
        self._clock = clock
        self._notice = notice
        self._marks: Mapping[str, str] = {}
        self._tried_at = 0.0
        self.read_at = 0.0

    def look(self) -> None:
        """Read the marks, unless that was tried within the last ten seconds. If it fails, those read last hold."""
        now = self._clock()
        # A clock that was set back makes the difference negative.
        if 0 <= now - self._tried_at < EPOCH_SECONDS:
            return
        self._tried_at = now
        try:
            self._marks = self._source()
        except LedgerError as error:
            self._notice("epoch_unread", f"a revoked credential may pass until a channel is read again: {error}")
        else:
            self.read_at = now

    def mark(self, channel: str) -> str:
        """Return the channel's mark; empty if none of its credentials was revoked, or that is not known."""
        return self._marks.get(channel, "")
