"""relayctl shadow: what a channel in shadow mode would have done."""

import json
from dataclasses import dataclass, field
from typing import Any

import click

from relay.channels.channel import Channel, Rest
from relayctl import moments, terminal
from relayctl.channel_names import NAME
from relayctl.log_lines import AHEAD_SECONDS, WEBHOOK, Budget, LogReader
from relayctl.moments import SINCE
from relayctl.progress import progress
from relayctl.readings import Readings
from relayctl.report import shadow_views
from relayctl.report.shadow_counts import IncidentCount, PageCounts, ShadowCounts
from relayctl.stack.deployed import Stack, on_stack

# The report begins this long ago, unless --since says otherwise.
DEFAULT_SECONDS = 7 * 24 * 3600.0
# Signals that are listed, unless --limit says otherwise.
DEFAULT_LIMIT = 50
MAX_LIMIT = 10_000
# Name of a text property in the forms of xMatters' own examples and of this relay's workflow.
DEFAULT_PROPERTY = "incident_id"
# Answers of FilterLogEvents that one report reads.
MAX_ANSWERS = 2000
# Incidents that xMatters is asked about, the newest, one request each; and the time for all of them.
MAX_ASKED = 200
VENDOR_SECONDS = 180.0
# An id that no incident has. If pages are found for it, xMatters does not filter by the property.
NO_INCIDENT = "relayctl-no-such-incident"
_DAY = 86_400.0


@click.group(short_help="Report what a channel in shadow mode would have sent.")
def shadow() -> None:
    """Shadow mode: a channel decides and records, and sends nothing."""


def _property(_: click.Context, __: click.Parameter, value: str) -> str:
    if not value.strip() or not value.isprintable() or set(value) & set(",#"):
        raise click.BadParameter("use the name of one text property, without a comma and a language")
    return value.strip()


@shadow.command()
@NAME
@click.option(
    "--since", type=SINCE, metavar="AGE|TIME", help="Shares since: 90m, 12h, 7d or a time. 7 days if left out."
)
@click.option(
    "--limit",
    type=click.IntRange(0, MAX_LIMIT),
    default=DEFAULT_LIMIT,
    show_default=True,
    help="List so many signals, the newest.",
)
@click.option(
    "--property",
    "key",
    metavar="NAME",
    default=DEFAULT_PROPERTY,
    show_default=True,
    callback=_property,
    help="Text property with BigPanda's incident id in the form that pages now.",
)
@on_stack
def report(stack: Stack, name: str, since: float | None, limit: int, key: str, as_json: bool) -> None:
    """Report what a channel in shadow mode would have sent, and what not.

    From the webhook's log, the report has each signal that would have been sent: time, incident, transition, status,
    recipients. It has totals, the shares that would not have rung and why, and the minute with the most signals.

    With xmatters.rest, the pages that xMatters made of the same incidents in that time are counted, whoever sent
    them. relayctl finds the pages of an incident by a text property of xMatters' form; --property is its name. For
    BigPanda's own integration, that name is not documented.

    Waits for rate limits are not reproduced. Times are local. A source that is missing or fails is named on stderr.

    Exit codes: 0 shown, 1 a source failed, 2 usage, 3 no such channel or no share, 130 interrupted.

    \b
    Example:
      relayctl shadow report payments
      relayctl shadow report payments --since 24h --limit 500
      relayctl shadow report payments --property bigpanda_id --json
    """
    reader = _Reader(stack, name, stack.effects.clock() - DEFAULT_SECONDS if since is None else since)
    found = reader.read(limit, key)
    if as_json:
        click.echo(json.dumps(found))
    else:
        if found["shares"]:
            shadow_views.show(found, reader.channel)
        for note in reader.readings.notes():
            terminal.say(note)
    if not found["shares"]:
        if reader.readings.has_failures:
            raise click.ClickException("no share was found, but not all sources could be read")
        terminal.nothing(f"no share of channel {name} came since {moments.moment(reader.since)}")
    if reader.readings.has_failures:
        click.get_current_context().exit(1)


@dataclass
class _Reader:
    """Reads the sources of one report: the channel's secret, the webhook's log, and xMatters' pages.

    Attributes:
        stack: The stack.
        name: Name of the channel.
        since: Start of the reported time (epoch seconds).
        channel: The channel; None if its secret was not read, or is not valid.
        readings: The results of all sources.
    """

    stack: Stack
    name: str
    since: float
    channel: Channel | None = None
    readings: Readings = field(default_factory=Readings)

    def read(self, limit: int, key: str) -> dict[str, Any]:
        """Read all sources, and return the report as a JSON object, with `limit` signals.

        `key` is the text property that has the incident's id in pages. Exit with code 3 if there is no such channel.
        Raises StackMissingError.
        """
        now, counts, budget = self.stack.effects.clock(), ShadowCounts(limit), Budget(MAX_ANSWERS)
        # First: it raises an error if there is no such stack, or the stack is not a relay.
        self.channel = self.readings.channel(
            self.stack,
            self.name,
            f"secret of channel {self.name}",
            missing=lambda: terminal.nothing(f"there is no channel {self.name}"),
        )
        self._log(counts, budget, now)
        pages = self._pages(self.channel, counts, key, now) if self.channel and counts.shares else None
        policy = self.channel.policy if self.channel else None
        return {
            "channel": self.name,
            "mode": policy.mode if policy else None,
            "max_per_minute": policy.max_per_minute if policy else None,
            "since": moments.iso(self.since),
            "until": moments.iso(now),
            "complete_from": moments.iso_or_none(budget.complete_from),
            **counts.document(),
            "xmatters": pages,
            "sources": self.readings.documents(),
        }

    def _log(self, counts: ShadowCounts, budget: Budget, now: float) -> None:
        """Count the shares in the webhook's log."""
        source, kept_from = f"log {WEBHOOK}", self._kept_from(now)
        # `channel` has no character with a meaning in a pattern.
        pattern = f'{{ ($.message = "share") && ($.channel = "{self.name}") }}'
        start, reader = max(self.since, kept_from), LogReader(self.stack.logs, self.stack.name)

        def read() -> bool:
            with progress("reading the webhook's log", "shares", self.stack.effects.ticks) as show:
                for line in reader.scan(WEBHOOK, pattern, start, now + AHEAD_SECONDS, budget):
                    if line.message == "share" and line.text("channel") == self.name:
                        counts.add(line)
                        show(counts.shares, "")
            return True

        if self.readings.read(source, read):
            kept = (
                f"it keeps lines from {moments.moment(kept_from)} on (LogRetentionDays); older shares are not counted"
            )
            cut = f"{budget.problem}, so all numbers are too low; give a later --since" if budget.is_cut else ""
            notes = [kept if self.since < kept_from else "", cut]
            problem = "; ".join(filter(None, notes)) or None
            self.readings.add(source, counts.shares, problem, is_failure=budget.is_cut)

    def _kept_from(self, now: float) -> float:
        """Return the time before which the log has no lines (epoch seconds); 0 if that is not known."""
        days = self.stack.parameters.get("LogRetentionDays", "")
        return now - int(days) * _DAY if days.isascii() and days.isdigit() else 0.0

    def _pages(self, channel: Channel, counts: ShadowCounts, key: str, now: float) -> dict[str, Any] | None:
        """Return xMatters' pages as a JSON object; None if they were not counted.

        If a request for an incident's pages fails, the object has the counts until then.
        """
        source = f"xMatters {channel.name}"
        if (rest := channel.rest) is None:
            problem = "not asked: the channel has no xmatters.rest, so its pages are not compared"
            self.readings.add(source, problem=problem)
            return None
        found = dict[str, Any]()
        self.readings.read(source, lambda: self._count_pages(source, rest, counts, key, now, found))
        return found or None

    def _count_pages(
        self, source: str, rest: Rest, counts: ShadowCounts, key: str, now: float, found: dict[str, Any]
    ) -> None:
        """Count all pages, then those of the newest incidents, and put them into `found`. Raises SendError."""
        outward = self.stack.effects.outward(self.stack.hosts.xmatters)
        pages = PageCounts(outward, rest, self.since, now + AHEAD_SECONDS)
        deadline, known = self.stack.deadline(VENDOR_SECONDS), counts.incidents
        newest = sorted(known.items(), key=lambda each: -each[1].last)[:MAX_ASKED]
        total = pages.count(deadline)
        found |= {"property": key, "pages_of_all_senders": total, "is_matched": not total, "incidents": []}
        found["incidents_not_asked"] = len(known)
        if total and pages.count(deadline, key, NO_INCIDENT):
            problem = "its pages cannot be matched with incidents: it does not filter by the property"
            self.readings.add(source, problem=problem)
            return
        title = "asking xMatters for the pages of each incident"
        with progress(title, f"of {len(newest)}", self.stack.effects.ticks) as show:
            for done, (incident_id, count) in enumerate(newest, 1):
                # Without any page, there is nothing to ask for.
                number = total and pages.count(deadline, key, incident_id)
                found["incidents"].append(_incident(incident_id, count, number))
                found["is_matched"] = found["is_matched"] or number > 0
                found["incidents_not_asked"] = len(known) - done
                show(done, "")
        if len(known) > len(newest):
            problem = f"only the newest {len(newest)} of {len(known)} incidents were looked up"
            self.readings.add(source, problem=problem)


def _incident(incident_id: str, count: IncidentCount, pages: int) -> dict[str, Any]:
    return {"incident_id": incident_id, "signals": count.signals, "ends": count.ends, "pages": pages}
