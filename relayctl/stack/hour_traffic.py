"""Shares and signals of the last hour, and refused requests of a day, by channel, counted from log lines.

The counts are kept by the minute, so memory does not grow with the traffic. The first reading goes back an hour, from
the newest lines on; later readings ask for new lines only.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from relay.delivery.channel_health import age
from relay.incidents.share import TEST_PREFIX
from relayctl.log_lines import JOB_WORKER, WEBHOOK, Budget, Line, LogReader

PATTERN = '{ $.message = "request refused" }'
DAY = 86_400.0
# Ends of the parts of the day that are read one by one (seconds ago), so that a budget that ends leaves out the oldest.
_PARTS = (0.0, 3600.0, 6 * 3600.0, DAY)
# Answers of FilterLogEvents in one reading.
MAX_REFUSED_ANSWERS = 30


class Refused(NamedTuple):
    """Refused requests of a channel in the last day.

    Attributes:
        number: Number of requests.
        last_at: Time of the last one (epoch seconds).
    """

    number: int
    last_at: float

    def words(self, now: float) -> str:
        """Return the number of requests and the age of the last one in words."""
        requests = "1 request" if self.number == 1 else f"{self.number} requests"
        return f"{requests} with a wrong credential refused in a day, the last {age(now - self.last_at)} ago"


def read_refused(reader: LogReader, now: float) -> Mapping[str, Refused]:
    """Return the refused requests of the day before `now` (epoch seconds), by channel.

    Raises botocore's exceptions.
    """
    budget, found = Budget(MAX_REFUSED_ANSWERS), dict[str, Refused]()
    pieces = [(now - oldest, now - newest) for newest, oldest in pairwise(_PARTS)]
    for line in reader.scan_newest_first(WEBHOOK, PATTERN, pieces, budget):
        name = line.text("channel")
        if line.message == "request refused" and line.fields.get("may_be_share") is True:
            known = found.get(name, Refused(0, 0.0))
            found[name] = Refused(known.number + 1, max(known.last_at, line.at))
    return found


HOUR = 3600.0
MINUTE = 60.0
# The first reading asks for pieces of the hour, so that a budget that ends leaves out the oldest lines.
PIECE_SECONDS = 600.0
# CloudWatch shows a line some seconds after it was written, so each reading begins this long before the last one's end.
OVERLAP_SECONDS = 60.0
# Answers of FilterLogEvents in one reading of a function's lines.
MAX_ANSWERS = 60
# Incidents that were signalled last and are remembered of a channel.
MAX_INCIDENTS = 20
PATTERNS = {WEBHOOK: '{ $.message = "share" }', JOB_WORKER: '{ ($.message = "job") && ($.outcome = "delivered") }'}


class Traffic(NamedTuple):
    """Traffic of a channel in the last hour.

    Attributes:
        shares: Number of shares.
        signals: Number of signals that xMatters accepted.
        last_share: Time of the last share, other than of a test incident (epoch seconds); None if there was none.
        last_signal: Time of the last accepted signal (epoch seconds); None if there was none.
        incidents: Ids of the incidents that were signalled last, the oldest first; MAX_INCIDENTS at most.
    """

    shares: int = 0
    signals: int = 0
    last_share: float | None = None
    last_signal: float | None = None
    incidents: tuple[str, ...] = ()


@dataclass
class _Counts:
    """Shares and signals of one channel, counted by minute (the number of the minute since the epoch)."""

    shares: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    signals: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    last_share: float = 0.0
    last_signal: float = 0.0
    # Times and ids of the last signalled incidents.
    incidents: list[tuple[float, str]] = field(default_factory=list)


class HourTraffic:
    """Counter of the traffic of all channels."""

    def __init__(self) -> None:
        self._counts: dict[str, _Counts] = defaultdict(_Counts)
        # Lines that an overlapping reading may see again, by time and delivery.
        self._seen: dict[tuple[float, str, str], None] = {}
        # End of the last reading by function (epoch seconds).
        self._read_until: dict[str, float] = {}
        self._cut: set[str] = set()

    @property
    def is_partial(self) -> bool:
        """True if there were more lines than a reading may ask for, so that the counts are too low."""
        return bool(self._cut)

    def read(self, reader: LogReader, function: str, now: float) -> None:
        """Read a function's new log lines until `now` (epoch seconds), and count the shares and signals in them.

        The first call reads the lines of the last hour. A later call reads the lines since the call before. Raises
        botocore's exceptions.
        """
        budget, until = Budget(MAX_ANSWERS), self._read_until.get(function)
        pieces = _pieces(now) if until is None else [(until - OVERLAP_SECONDS, now)]
        # Lines of the first reading are marked only if the next one may see them again.
        marked_from = now - 2 * OVERLAP_SECONDS if until is None else 0.0
        try:
            for line in reader.scan_newest_first(function, PATTERNS[function], pieces, budget):
                self.add(line, now, marked_from=marked_from)
        except Exception:
            # A repeated first reading would count lines twice, so the next one reads new lines only.
            if until is None:
                self._read_until[function] = now
                self._cut.add(function)
            raise
        if budget.is_cut:
            self._cut.add(function)
        self._read_until[function] = now
        oldest = min(self._read_until.values()) - OVERLAP_SECONDS
        self._seen = {mark: None for mark in self._seen if mark[0] >= oldest}

    def add(self, line: Line, now: float, *, marked_from: float = 0.0) -> None:
        """Count a line, unless it is counted already, or is older than an hour at `now` (epoch seconds).

        A counted line is marked if its time is `marked_from` (epoch seconds) or later. If a later reading returns a
        marked line again, the line is not counted a second time.
        """
        mark = (line.at, line.text("delivery_id"), line.message)
        if line.message not in {"share", "job"} or not line.text("channel") or line.at <= now - HOUR:
            return
        if mark in self._seen:
            return
        if line.at >= marked_from:
            self._seen[mark] = None
        counts, minute = self._counts[line.text("channel")], int(line.at // MINUTE)
        if line.message == "share":
            counts.shares[minute] += 1
            if not line.text("incident_id").startswith(TEST_PREFIX):
                counts.last_share = max(counts.last_share, line.at)
        is_signal = line.message == "share" or line.text("kind") in {"signal", ""}
        if is_signal and line.text("outcome") == "delivered":
            counts.signals[minute] += 1
            counts.last_signal = max(counts.last_signal, line.at)
            newest = sorted({(line.at, line.text("incident_id")), *counts.incidents})
            counts.incidents = newest[-MAX_INCIDENTS:]

    def of(self, channel: str, now: float) -> Traffic:
        """Return the traffic of a channel in the hour before `now` (epoch seconds), and forget older traffic."""
        if channel not in self._counts:
            return Traffic()
        counts = self._counts[channel]
        for each in (counts.shares, counts.signals):
            for minute in [minute for minute in each if (minute + 1) * MINUTE <= now - HOUR]:
                del each[minute]
        ids = dict.fromkeys(name for _, name in counts.incidents if name)
        return Traffic(
            sum(counts.shares.values()),
            sum(counts.signals.values()),
            counts.last_share or None,
            counts.last_signal or None,
            tuple(ids),
        )


def _pieces(now: float) -> list[tuple[float, float]]:
    """Split the hour before `now` into parts, which are read one by one, the newest part first.

    Return the start and the end of each part (epoch seconds).
    """
    ends = [now - number * PIECE_SECONDS for number in range(int(HOUR / PIECE_SECONDS))]
    return [(end - PIECE_SECONDS, end) for end in ends]
