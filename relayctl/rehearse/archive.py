"""Folder of what was fetched: one file of JSON lines for each kind. A run that was broken off goes on where it was."""

import json
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

ABOUT, PERIOD = "about.json", ("since", "until")


class Archive:
    """Fetched records of both vendors, in a folder that only the operator can read. Safe to use from several threads.

    Attributes:
        folder: The folder.
    """

    def __init__(self, folder: Path, about: Mapping[str, Any]) -> None:
        """Open or make the folder. `about` says what is fetched: a folder about something else raises UsageError."""
        self.folder = folder
        self._lock = threading.Lock()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        known, wanted = folder / ABOUT, json.loads(json.dumps(about))
        if not known.exists():
            if any(folder.iterdir()):
                raise click.UsageError(f"--keep: {folder} has other files; name a new folder")
            self._write(known, json.dumps(wanted) + "\n")
        try:
            self.about: dict[str, Any] = json.loads(known.read_text("utf-8"))
        except ValueError:
            raise click.UsageError(f"--keep: {known} is not whole; name a new folder") from None
        # A run that goes on keeps its first period.
        different = [name for name, value in wanted.items() if name not in PERIOD and self.about.get(name) != value]
        if different:
            raise click.UsageError(
                f"--keep: {folder} was fetched with another {', '.join(different)}; name a new folder, or type the "
                "first command again"
            )
        self._mend()

    def has(self, kind: str) -> set[str]:
        return {key for key, _ in self.all(kind)}

    def all(self, kind: str) -> Iterator[tuple[str, Any]]:
        """Yield each document of a kind with its key, in the order in which they were added."""
        place = self._place(kind)
        if not place.exists():
            return
        with place.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                yield _entry(line, f"line {number} of {place}")

    def add(self, kind: str, key: str, document: Any) -> None:
        line = json.dumps([key, document]) + "\n"
        with self._lock:
            try:
                self._write(self._place(kind), line, "a")
            except OSError:
                # A part of the line may be there, and another thread may write yet.
                self._mend()
                raise

    def _place(self, kind: str) -> Path:
        return self.folder / f"{kind}.jsonl"

    def _mend(self) -> None:
        """Cut off a part of a line at the end of a file, which a run left that was killed."""
        for place in self.folder.glob("*.jsonl"):
            content = place.read_bytes()
            whole = content.rfind(b"\n") + 1
            if whole < len(content):
                os.truncate(place, whole)

    def _write(self, place: Path, text: str, mode: str = "w") -> None:
        with open(place, mode, encoding="utf-8", opener=_private) as file:
            file.write(text)


def _entry(line: str, where: str) -> tuple[str, Any]:
    try:
        key, document = json.loads(line)
    except (ValueError, TypeError):
        raise click.UsageError(
            f"--keep: {where} is damaged, by a full disk or two runs at once; name a new folder"
        ) from None
    return key, document


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
