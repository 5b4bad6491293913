"""Reading of a shadow report's sources: the channel's secret, the webhook's log, and xMatters' pages.

If a source fails, `Report.readings` has its error, and the others are still read.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from relay.channels.channel import Channel, Rest
from relay.channels.parsing import parse_channel
from relay.failures.errors import InvalidChannel
from relayctl import moments
from relayctl.aws_errors import guarded
from relayctl.channel.store import ChannelStore
from relayctl.incident.timeline import LOG, XMATTERS, Reading
from relayctl.log_lines import WEBHOOK, Budget, LogReader
from relayctl.progress import progress
from relayctl.report.shadow_counts import NO_INCIDENT, PageCounts, ShadowCounts, Span
from relayctl.stack.deployed import Stack

# The log is read in pieces of time, the newest first, so that a budget that ends leaves out the oldest lines.
MAX_PIECES = 28
SHORTEST_PIECE_SECONDS = 3600.0
# Answers of FilterLogEvents that one report reads.
MAX_ANSWERS = 2000
# CloudWatch's times may be some seconds ahead of the operator's clock.
AHEAD_SECONDS = 60.0
# Incidents that xMatters is asked about, the newest, one request each; and the time for all of them.
MAX_ASKED = 200
VENDOR_SECONDS = 180.0
_DAY = 86_400.0


class MissingChannelError(Exception):
    """The stack has no channel of this name."""


class IncidentPages(NamedTuple):
    """Number of an incident's pages in xMatters, to compare with the signals that the channel would have sent.

    Attributes:
        incident_id: BigPanda's id of the incident.
        signals: Number of signals, without those that announce the incident's end.
        ends: Number of signals that announce the incident's end.
        pages: Number of pages.
    """

    incident_id: str
    signals: int
    ends: int
    pages: int


class Comparison(NamedTuple):
    """Pages that xMatters really made in the reported time, to compare with the signals of the shadow mode.

    Attributes:
        key: Text property of the pages that holds the incident's id.
        all_pages: Number of all pages, by any sender, that the channel's user of the REST API may see.
        incidents: The incidents whose pages were counted, the newest first.
        not_asked: Number of incidents whose pages were not counted.
    """

    key: str
    all_pages: int
    incidents: tuple[IncidentPages, ...] = ()
    not_asked: int = 0


class Report(NamedTuple):
    """Report of what a channel would have done, from all sources.

    Attributes:
        name: Name of the channel.
        channel: The channel; None if its secret was not read, or is not valid.
        since: Start of the reported time (epoch seconds).
        until: End of the reported time (epoch seconds).
        complete_from: Time from which on all log lines were read (epoch seconds); None if no part of the log was read
            in full.
        counts: Counts of the channel's shares.
        pages: xMatters' pages; None if they were not counted.
        readings: The results of all sources.
    """

    name: str
    channel: Channel | None
    since: float
    until: float
    complete_from: float | None
    counts: ShadowCounts
    pages: Comparison | None
    readings: tuple[Reading, ...]

    @property
    def has_failures(self) -> bool:
        """True if a source failed, so that the report may lack something."""
        return any(each.is_failure for each in self.readings)


@dataclass
class ShadowReader:
    """Reads the sources of one report.

    Attributes:
        stack: The stack.
        name: Name of the channel.
        since: Start of the reported time (epoch seconds).
        most: Maximum number of signals to list; the newest are listed.
        key: Text property that has the incident's id in pages.
    """

    stack: Stack
    name: str
    since: float
    most: int
    key: str
    _readings: list[Reading] = field(default_factory=list)

    def read(self) -> Report:
        """Read all sources, and return the report. Raises StackMissingError or MissingChannelError."""
        now = self.stack.effects.clock()
        channel, counts = self._channel(), ShadowCounts(self.most)
        complete_from = self._log(counts, now)
        pages = self._pages(channel, counts, now) if channel and counts.shares else None
        return Report(self.name, channel, self.since, now, complete_from, counts, pages, tuple(self._readings))

    def _channel(self) -> Channel | None:
        # First: it raises an error if there is no such stack, or the stack is not a relay.
        store, source = ChannelStore(self.stack), f"secret of channel {self.name}"
        if (texts := self._guarded(source, lambda: [store.text(self.name)])) is None:
            return None
        [text] = texts
        if text is None:
            raise MissingChannelError(f"there is no channel {self.name}")
        try:
            return parse_channel(self.name, text, self.stack.hosts)
        except InvalidChannel as error:
            self._readings.append(Reading.failed(source, error))
            return None

    def _log(self, counts: ShadowCounts, now: float) -> float | None:
        """Count the shares in the webhook's log.

        Return the time from which on all lines were read (epoch seconds); None if no part of the log was read in full.
        """
        reader, budget = LogReader(self.stack.logs, self.stack.name), Budget(MAX_ANSWERS)
        source, kept_from = f"{LOG} {WEBHOOK}", self._kept_from(now)
        # `channel` has no character with a meaning in a pattern.
        pattern = f'{{ ($.message = "share") && ($.channel = "{self.name}") }}'
        pieces = _pieces(max(self.since, kept_from), now)
        complete: list[float] = []

        def read(show: Callable[[int, str], None]) -> bool:
            for done, (start, end) in enumerate(pieces):
                if budget.left <= 0:
                    budget.is_cut = True
                for line in () if budget.is_cut else reader.scan(WEBHOOK, pattern, start, end, budget):
                    if line.message == "share" and line.text("channel") == self.name:
                        counts.add(line)
                        show(done, f"{counts.shares:,} shares")
                if budget.is_cut:
                    break
                complete.append(start)
                show(done + 1, f"{counts.shares:,} shares")
            return True

        with progress("reading the webhook's log, by parts", len(pieces), self.stack.effects.ticks) as show:
            was_read = self._guarded(source, lambda: read(show))
        if was_read:
            notes = _log_notes(self.since, kept_from, complete[-1] if complete else now, is_cut=budget.is_cut)
            self._readings.append(Reading(source, counts.shares, "; ".join(notes) or None, is_failure=budget.is_cut))
        return complete[-1] if complete else None

    def _kept_from(self, now: float) -> float:
        """Return the time before which the log has no lines (epoch seconds); 0 if that is not known."""
        days = self.stack.parameters.get("LogRetentionDays", "")
        return now - int(days) * _DAY if days.isascii() and days.isdigit() else 0.0

    def _pages(self, channel: Channel, counts: ShadowCounts, now: float) -> Comparison | None:
        source = f"{XMATTERS} {channel.name}"
        if channel.rest is None:
            problem = "not asked: the channel has no xmatters.rest, so its pages are not compared"
            self._readings.append(Reading(source, problem=problem))
            return None
        found = _PageLookup(self.stack, channel.rest, self.key, Span(self.since, now + AHEAD_SECONDS))
        self._guarded(source, lambda: found.read(counts))
        if found.problem:
            self._readings.append(Reading(source, problem=found.problem))
        return found.result

    def _guarded[T](self, source: str, read: Callable[[], T]) -> T | None:
        """Return the result of reading a source; if it fails, note the reason in the readings, and return None."""
        return guarded(read, lambda error: self._readings.append(Reading.failed(source, error)))


@dataclass
class _PageLookup:
    """Lookup of the incidents' pages in xMatters. If a request fails, `result` has the counts until then.

    Attributes:
        stack: The stack.
        rest: The channel's access to xMatters' REST API.
        key: Text property that has the incident's id in pages.
        span: Time in which the pages were made.
        problem: Reason why pages were not counted, or not for all incidents; None if there is none.
    """

    stack: Stack
    rest: Rest
    key: str
    span: Span
    problem: str | None = None
    # Number of all pages in the span.
    _all_pages: int | None = None
    _found: list[IncidentPages] = field(default_factory=list)
    # Number of incidents of the shares.
    _known: int = 0

    def read(self, counts: ShadowCounts) -> None:
        """Ask xMatters for the pages of the newest incidents of `counts`, and count them. Raises SendError."""
        deadline = self.stack.deadline(VENDOR_SECONDS)
        pages = PageCounts(self.stack.effects.outward(self.stack.hosts.xmatters))
        self._known = len(counts.incidents)
        newest = sorted(counts.incidents.items(), key=lambda each: -each[1].last)[:MAX_ASKED]
        self._all_pages = total = pages.in_span(self.rest, self.span, deadline)
        if total and pages.of_incident(self.rest, self.key, NO_INCIDENT, self.span, deadline):
            self.problem = "its pages cannot be matched with incidents: it does not filter by the property"
            return
        title = "asking xMatters for the pages of each incident"
        with progress(title, len(newest), self.stack.effects.ticks) as show:
            for done, (incident_id, count) in enumerate(newest, 1):
                # Without any page, there is nothing to ask for.
                found = total and pages.of_incident(self.rest, self.key, incident_id, self.span, deadline)
                self._found.append(IncidentPages(incident_id, count.signals - count.ends, count.ends, found))
                show(done, "")
        if self._known > len(newest):
            self.problem = f"only the newest {len(newest)} of {self._known} incidents were looked up"

    @property
    def result(self) -> Comparison | None:
        """The numbers of pages that were read from xMatters so far; None if the first request failed."""
        if self._all_pages is None:
            return None
        return Comparison(self.key, self._all_pages, tuple(self._found), self._known - len(self._found))


def _pieces(since: float, until: float) -> list[tuple[float, float]]:
    """Return the time from `since` to `until` as spans that are read one by one, the newest first.

    A span is its start and end (epoch seconds). The first span ends AHEAD_SECONDS after `until`.
    """

    def cut() -> Iterator[tuple[float, float]]:
        length = max(SHORTEST_PIECE_SECONDS, (until - since) / MAX_PIECES)
        end = until
        while end > since:
            start = max(since, end - length)
            yield start, end + AHEAD_SECONDS if end == until else end
            end = start

    return list(cut())


def _log_notes(since: float, kept_from: float, complete_from: float, *, is_cut: bool) -> Iterator[str]:
    if since < kept_from:
        yield f"it keeps lines from {moments.moment(kept_from)} on (LogRetentionDays); older shares are not counted"
    if is_cut:
        yield (
            f"too many lines: those before {moments.moment(complete_from)} were not all read, so all numbers are too "
            "low; give a later --since"
        )
