"""What a stand-in was asked, in the order it came."""

import threading
from collections.abc import Callable


class Log[Entry]:
    """Entries that each know their index. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: list[Entry] = []
        self._next_index = 0

    def add(self, make: Callable[[int], Entry]) -> Entry:
        """Keep the entry that `make` builds from its index, and return it."""
        with self._lock:
            entry = make(self._next_index)
            self._entries.append(entry)
            self._next_index += 1
        return entry

    def all(self) -> list[Entry]:
        """Every entry since the last `clear`."""
        with self._lock:
            return list(self._entries)

    def clear(self) -> None:
        """Forget the entries; the index goes on counting."""
        with self._lock:
            self._entries.clear()
