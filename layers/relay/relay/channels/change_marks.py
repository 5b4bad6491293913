"""Change marks of channels: they end cached copies of a channel whose secret was changed.

`relayctl` changes the secret, and then a mark of the channel in DynamoDB: one mark for a revoked credential, another
one for a changed mode or pause. Before a function works with a cached copy, it compares the marks with those of the
copy, and reads the secret again if they differ. Only a revocation makes an older copy invalid.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from relay.failures.errors import LedgerError

# Shortest time between two reads of the marks. One read serves all channels and requests.
MARKS_SECONDS = 10.0

# Returns the marks by name (a channel's, or `settings_name` of it); raises LedgerError.
type MarkSource = Callable[[], Mapping[str, str]]


def settings_name(channel: str) -> str:
    """Return the name of the mark for changes of a channel's mode and pauses.

    This name is never a valid channel name, so it differs from the names of all revocation marks.
    """
    return f"{channel}/settings"


class Marks(NamedTuple):
    """Change marks of one channel: random texts, compared for equality only. Empty for none.

    Attributes:
        revocation: Changes when a credential is revoked.
        settings: Changes when the mode or a pause changes.
    """

    revocation: str = ""
    settings: str = ""


NO_MARKS = Marks()


class ChangeMarks:
    """The change marks of all channels, from the last successful read of the ledger's table.

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

    def current_marks(self, channel: str) -> Marks:
        """Return a channel's two change marks. They are read from the ledger's table at most every ten seconds.

        If the read fails, the result has the marks of the last successful read.
        """
        now = self._clock()
        # A clock that was set back makes the difference negative.
        if not 0 <= now - self._tried_at < MARKS_SECONDS:
            self._read(now)
        return self.known_marks(channel)

    def known_marks(self, channel: str) -> Marks:
        """Return a channel's two change marks as of the last successful read of the ledger's table, without a read."""
        return Marks(self._marks.get(channel, ""), self._marks.get(settings_name(channel), ""))

    def _read(self, now: float) -> None:
        self._tried_at = now
        try:
            self._marks = self._source()
        except LedgerError as error:
            self._notice("marks_unread", f"a revoked credential may pass until a channel is read again: {error}")
        else:
            self.read_at = now
