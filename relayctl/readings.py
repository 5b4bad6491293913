"""Results of reading the sources of a report. A source that fails is named, and the others are still read."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from relay.failures import InvalidChannel, LedgerError, SendError
from relay.foreign_text import printable
from relayctl.aws_errors import aws_failure


class Reading(NamedTuple):
    """Result of reading one source.

    Attributes:
        source: Name of the source, with its channel if it is one channel's.
        found: Number of events from the source.
        problem: The reason why the source was not read, or only in part; None if it was read.
        is_failure: True if the source failed; False if it was read, or the channel does not use it.
    """

    source: str
    found: int = 0
    problem: str | None = None
    is_failure: bool = False


@dataclass
class Readings:
    """Results of all sources of one report.

    Attributes:
        found: The results, in the order of the reading.
    """

    found: list[Reading] = field(default_factory=list)

    def add(self, source: str, found: int = 0, problem: str | None = None, *, is_failure: bool = False) -> None:
        """Add the result of a source."""
        self.found.append(Reading(source, found, problem, is_failure))

    def reading(self, source: str) -> "_Source":
        """Return a context that notes the failure of a source that it reads, or a secret that is not valid."""
        return _Source(self, source)

    def read[T](self, source: str, read: Callable[[], T]) -> T | None:
        """Return the result of reading a source; None if it fails, which is noted."""
        with self.reading(source):
            return read()
        return None

    @property
    def has_failures(self) -> bool:
        """True if a source failed, so that the report may lack something."""
        return any(each.is_failure for each in self.found)

    @property
    def problems(self) -> list[str]:
        """The sources that failed or were not read wholly, each once, in words."""
        return list(dict.fromkeys(f"{each.source}: {each.problem}" for each in self.found if each.problem))

    def notes(self) -> Iterator[str]:
        """Yield a line for each source that is missing, failed, or was not read wholly."""
        for each in self.found:
            if each.problem:
                yield printable(f"{'FAILED: ' if each.is_failure else ''}{each.source}: {each.problem}")

    def documents(self) -> list[dict[str, Any]]:
        """Return the results as JSON objects."""
        return [each._asdict() for each in self.found]


class _Source(NamedTuple):
    """Context in which a source is read. The code after it goes on if the source fails."""

    readings: Readings
    name: str

    def __enter__(self) -> None:
        """Begin to read."""

    def __exit__(self, _: object, error: BaseException | None, __: object) -> bool:
        match error:
            case InvalidChannel() | LedgerError() | SendError():
                status = error.http_status if isinstance(error, SendError) else None
                problem = f"{error} (HTTP {status})" if status else str(error)
            case ClientError() | BotoCoreError():
                problem = aws_failure(error) or type(error).__name__
            case _:
                return False
        self.readings.add(self.name, problem=problem, is_failure=True)
        return True
