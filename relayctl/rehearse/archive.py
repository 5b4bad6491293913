"""Database of what was fetched from the vendors. A run that was broken off goes on where it was."""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import click

FILE, ABOUT, PERIOD = "fetched.sqlite", "about", ("since", "until")
# Without waits for the disk: a run that is killed loses nothing, only a machine that is.
_OPEN = """PRAGMA synchronous = OFF;
CREATE TABLE IF NOT EXISTS documents (kind, key, document, PRIMARY KEY (kind, key))"""


class Archive:
    """Fetched documents by kind and key, in a folder that only the operator can read. Threads may share it."""

    def __init__(self, folder: Path, about: Mapping[str, Any]) -> None:
        """Open or make the folder. `about` says what is fetched: a folder about something else raises UsageError."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder, self._place = folder, folder / FILE
        if not self._place.exists() and any(folder.iterdir()):
            raise click.UsageError(f"--keep: {folder} has other files; name a new folder")
        self._place.touch(mode=0o600)
        wanted = json.loads(json.dumps(about))
        if not self.has(ABOUT):
            self.add(ABOUT, ABOUT, wanted)
        self.about: dict[str, Any] = dict(self.all(ABOUT))[ABOUT]
        # A run that goes on keeps its first period.
        different = [name for name, value in wanted.items() if name not in PERIOD and self.about.get(name) != value]
        if different:
            raise click.UsageError(
                f"--keep: {folder} was fetched with another {', '.join(different)}; name a new folder, or type the "
                "first command again"
            )

    def has(self, kind: str) -> set[str]:
        with self._database() as database:
            return {key for (key,) in database.execute("SELECT key FROM documents WHERE kind = ?", (kind,))}

    def all(self, kind: str) -> Iterator[tuple[str, Any]]:
        """Yield each document of a kind with its key, in the order in which they were added."""
        with self._database() as database:
            query = "SELECT key, document FROM documents WHERE kind = ? ORDER BY rowid"
            for key, text in database.execute(query, (kind,)):
                yield key, json.loads(text)

    def add(self, kind: str, key: str, document: Any) -> None:
        with self._database() as database:
            database.execute("INSERT OR REPLACE INTO documents VALUES (?, ?, ?)", (kind, key, json.dumps(document)))

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self._place, autocommit=True)) as database:
                database.executescript(_OPEN)
                yield database
        except sqlite3.Error as error:
            raise click.ClickException(f"--keep: {self._place}: {error}") from error
