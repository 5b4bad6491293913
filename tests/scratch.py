"""Folder for thousands of files of a test: a disk may take a minute to delete them, memory takes none."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

MEMORY = Path("/dev/shm")


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder outside the clone for the length of a `with` block: in memory, if programs can run from there."""
    in_memory = MEMORY.is_dir() and not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC
    with TemporaryDirectory(dir=MEMORY if in_memory else None) as name:
        yield Path(name)
