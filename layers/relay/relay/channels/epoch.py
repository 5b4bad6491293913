"""Revocation marks of channels ("the epoch"): they end cached copies of a channel whose credential was revoked.

`relayctl channel revoke` changes the secret, and then the channel's mark in DynamoDB. Before a function admits a
request, it compares the mark with that of its cached copy, and reads the secret again if they differ.
"""

from collections.abc import Callable, Mapping

from relay.errors import LedgerError

# Shortest time between two reads of the marks. One read serves all channels and requests.
EPOCH_SECONDS = 10.0

# Returns the marks by channel; raises LedgerError.
type MarkSource = Callable[[], Mapping[str, str]]


class Epoch:
    """The revocation marks of all channels, from the last successful read of the ledger's table.

    `clock` gives epoch seconds. `notice` counts and logs failed reads.

    Attributes:
        read_at: Time of the last successful read (epoch seconds); 0 if there was none.
    """

    def __init__(self, source: MarkSource, clock: Callable[[], float], notice: Callable[[str, str], None]) -> None:
        self._source = source
        self._clock = clock
        self._notice = notice
        self._marks: Mapping[str, str] = {}
        self._tried_at = 0.0
        self.read_at = 0.0

    def current_mark(self, channel: str) -> str:
        """Return the channel's revocation mark, from a read that was attempted at most ten seconds ago.

        The mark is empty if no revocation of the channel is known. A failed read keeps the earlier marks.
        """
        now = self._clock()
        # A clock that was set back makes the difference negative.
        if not 0 <= now - self._tried_at < EPOCH_SECONDS:
            self._read(now)
        return self._marks.get(channel, "")

    def known_mark(self, channel: str) -> str:
        """Return the channel's revocation mark from the last read; empty if no revocation of the channel is known."""
        return self._marks.get(channel, "")

    def _read(self, now: float) -> None:
        self._tried_at = now
        try:
            self._marks = self._source()
        except LedgerError as error:
            self._notice("epoch_unread", f"a revoked credential may pass until a channel is read again: {error}")
        else:
            self.read_at = now
