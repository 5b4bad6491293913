"""Questions about the past to both vendors: only GET, within their rate limits, and none that was answered before."""

import dbm.sqlite3
import json
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from click import ClickException

from relay.bigpanda.client import CALLS_A_SECOND, INCIDENTS_A_PAGE, Incident
from relay.bigpanda.listing import FOLDERS, MAX_LISTING_PAGES
from relay.deadline import Deadline
from relay.failures import Reason, SendError
from relay.foreign_text import url_part
from relay.health.judgement import age
from relay.http.client import HttpClient
from relay.http.session import HttpAnswer
from relay.incidents.share import RANKS, fields_of, nested, scalar, time_of
from relay.xmatters.directory import AUDITS_PATH, EVENTS_PATH
from relayctl import terminal
from relayctl.moments import DAY, iso
from relayctl.rehearse.history import Page, Period, Told
from relayctl.stack.deployed import Effects

FILE = "fetched.sqlite"
# Time limit of one call, and how often it is tried.
CALL_SECONDS, TRIES = 30.0, 6
# Waits after a failure without Retry-After: each twice as long as the one before.
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 1.0, 600.0
# The vendor's seconds and ours do not begin together, so the pace stays below the limit by this part.
MARGIN = 0.015
# Longest part of a wait, after which a stop is noticed.
SLICE_SECONDS = 1.0
_REFUSED = {
    401: "refuses the credentials",
    403: "the user of the credentials has no right to read this; give the role the right to view it",
}


def kept(folder: Path, url: str, ask: Callable[[], Any]) -> Any:
    """Return a vendor's answer to a URL: the one kept in the folder, or that of `ask`, which is kept for later runs.

    Only the operator can read the folder. Threads may share it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with dbm.sqlite3.open(folder / FILE, "c", 0o600) as file:
        text = file.get(url.encode())
    if text is None:
        text = json.dumps(ask()).encode()
        with dbm.sqlite3.open(folder / FILE, "c", 0o600) as file:
            file[url] = text
    return json.loads(text)


@dataclass
class Reader:
    """Reader of one vendor's API. All threads together keep to the vendor's pace."""

    vendor: str  # Name of the vendor
    outward: HttpClient  # Client for the vendor's hosts
    base_url: str  # URL without a slash at the end
    headers: Mapping[str, str] = field(repr=False)  # Headers with the credentials
    seconds: float  # Seconds from one call of an endpoint to the next, by the vendor's limit
    effects: Effects  # Clocks of the run
    folder: Path  # Place of what was read before, and is now
    stop: threading.Event = field(default_factory=threading.Event)  # Ends all waits, by a ClickException
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)
    # The earliest time of the next call, by endpoint (seconds of the monotonic clock).
    _next: dict[str, float] = field(default_factory=dict, init=False, repr=False)

    def get(self, path: str, query: Mapping[str, Any], endpoint: str = "") -> Any:
        """Return the JSON document at a path, from the folder or from the vendor; None for 404 and 410.

        Calls with the same `endpoint` share one pace. Raises ClickException.
        """
        url = f"{self.base_url}{path}?{urlencode(query)}"
        return kept(self.folder, url, lambda: self._asked(url, path, endpoint))

    def _asked(self, url: str, path: str, endpoint: str) -> Any:
        wait, problem = FIRST_WAIT_SECONDS, ""
        for _ in range(TRIES):
            self._take_turn(endpoint)
            if self.stop.is_set():
                raise ClickException("stopped")
            told = None
            try:
                deadline = Deadline(CALL_SECONDS, self.effects.ticks)
                answer = self.outward.ask("GET", url, None, self.headers, deadline)
            except SendError as error:
                problem = str(error)
            else:
                if 200 <= answer.status < 300 and (document := _json(answer)) is not None:
                    return document
                if answer.status in {404, 410}:
                    return None
                problem = self._judged(answer, path)
                told = self.outward.bad_answer(answer, Reason.UPSTREAM, ()).retry_after
            self._sleep(min(told or wait, LONGEST_WAIT_SECONDS))
            wait *= 2
        raise ClickException(
            f"{self.vendor}: {problem}, {TRIES} times; with --keep, the same command goes on here later"
        )

    def _take_turn(self, endpoint: str) -> None:
        with self._lock:
            now = self.effects.ticks()
            at = max(self._next.get(endpoint, now), now)
            self._next[endpoint] = at + self.seconds
        self._sleep(at - now)

    def _sleep(self, seconds: float) -> None:
        until = self.effects.ticks() + seconds
        while (left := until - self.effects.ticks()) > 0 and not self.stop.is_set():
            self.effects.sleep(min(left, SLICE_SECONDS))

    def _judged(self, answer: HttpAnswer, path: str) -> str:
        if answer.status == 429:
            return "too many requests (HTTP 429); does another program use the same key?"
        if answer.status >= 500:
            return f"HTTP {answer.status}"
        if 200 <= answer.status < 300:
            return "an answer that is no JSON, maybe a proxy's"
        said = _REFUSED.get(answer.status, "refuses the request")
        raise ClickException(f"{self.vendor}: HTTP {answer.status} for {path}: {said}")


def _json(answer: HttpAnswer) -> Any:
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError):
        return None


ACTIVITIES_A_CALL, EVENTS_A_PAGE = 100, 100
# A surge of requests once took xMatters' log-ins down (docs/vendors.md).
XMATTERS_CALLS_A_SECOND = 1
# Incidents that are read at once: with answers that take longer than the pace, one is not enough.
WORKERS = 8
# Names of properties that may have the incident's status.
_STATUS_NAMES = ("status", "incident_status", "incidentstatus", "bigpanda_status")


def list_incidents(reader: Reader, period: Period, environments: Collection[str]) -> list[Incident]:
    """Return the incidents of `environments` that may have been shared in the period. Raises ClickException."""
    found = dict[str, Incident]()
    with terminal.progress("listing BigPanda's incidents", "incidents", reader.effects.ticks) as show:
        for environment in environments:
            for folder in FOLDERS:
                query = {"folder": folder, "sort_by": "last_change", "page_size": INCIDENTS_A_PAGE}
                days = [{"from": int(start), "to": int(end)} for start, end in _days(period)]
                for times in days if folder == "resolved" else [dict[str, int]()]:
                    for each in _listed(reader, environment, query | times):
                        found[each] = Incident(environment, each)
                        show(len(found), "")
    return list(found.values())


def _listed(reader: Reader, environment: str, query: Mapping[str, Any]) -> Iterator[str]:
    path, known = f"/resources/v2.0/environments/{url_part(environment)}/incidents", set[str]()
    for page in range(1, MAX_LISTING_PAGES + 1):
        answer = reader.get(path, {**query, "page": page}, "incidents")
        if answer is None:
            raise ClickException(
                f"BigPanda: there is no environment {environment}, or the key cannot see it, or it is in another "
                "region: --bigpanda-url https://eu-api.bigpanda.io"
            )
        listed = {name: each for each in _list(answer, path, "items") if (name := scalar(nested(each, "id")))}
        fresh, total = listed.keys() - known, nested(answer, "total")
        known |= fresh
        yield from (name for name in listed if name in fresh and nested(listed[name], "shared") is not False)
        # BigPanda may give fewer than it was asked for, or repeat its first page for ever.
        if not fresh or (isinstance(total, int) and len(known) >= total):
            return
    terminal.say(f"warning: BigPanda lists no more than {MAX_LISTING_PAGES * INCIDENTS_A_PAGE:,} incidents of {query}")


def _list(answer: Any, path: str, *names: str) -> list[Any]:
    found = nested(answer, *names) if isinstance(answer, dict) else answer
    if not isinstance(found, list):
        raise ClickException(f"{path}: an answer without a list of {names[-1]}; is the URL that of the vendor?")
    return found


def _days(period: Period) -> Iterator[tuple[float, float]]:
    for start in range(period.since, period.until, int(DAY)):
        yield start, min(start + DAY, period.until)


def read_incidents(reader: Reader, incidents: Sequence[Incident]) -> Iterator[Told]:
    """Yield each incident with its activities, without those that BigPanda no longer has. Raises ClickException."""
    minutes = max(1, round(len(incidents) * reader.seconds / 60))
    terminal.say(
        f"{len(incidents):,} incidents: about {minutes:,} min at BigPanda's {CALLS_A_SECOND} calls a second, less what "
        "was read before. Ctrl-C stops; with --keep the same command goes on where it was."
    )
    for told in _each(reader, partial(_told, reader), incidents, WORKERS):
        if isinstance(told.document, dict):
            yield told


def _told(reader: Reader, incident: Incident) -> Told:
    document = reader.get(incident.path, {"expand": "alerts"}, "details")
    path, found = f"/resources/v2.0/incidents/{url_part(incident.id)}/activities", list[Any]()
    for page in range(1, MAX_LISTING_PAGES + 1):
        answer = reader.get(path, {"page": page, "per_page": ACTIVITIES_A_CALL}, "activities")
        items = _list(answer or [], path, "items", "activities")
        found += items
        # BigPanda may give fewer than it was asked for.
        if len(items) < 20:
            break
    return Told(incident.id, document, found)


def _each[T, R](reader: Reader, read: Callable[[T], R], items: Sequence[T], workers: int) -> Iterator[R]:
    with (
        terminal.progress(f"reading {reader.vendor}", f"of {len(items):,}", reader.effects.ticks) as show,
        ThreadPoolExecutor(workers) as pool,
    ):
        try:
            for done, found in enumerate(pool.map(read, items), start=1):
                show(done, f"at most {age((len(items) - done) * reader.seconds)} left")
                yield found
        except BaseException:
            reader.stop.set()
            raise


def read_pages(reader: Reader, period: Period, wanted: str, incidents: Collection[str]) -> dict[str, list[Page]]:
    """Return a period's pages by incident id: that in the property `wanted`, or one of `incidents` in another one."""
    found = defaultdict[str, dict[str, Page]](dict)
    with terminal.progress("reading xMatters' pages", "calls", reader.effects.ticks) as show:
        calls = 0
        for start, end in _days(period):
            offset, is_last = 0, False
            while not is_last:
                query = {"from": iso(start), "to": iso(end), "embed": "properties"}
                answer = reader.get(EVENTS_PATH, query | {"limit": EVENTS_A_PAGE, "offset": offset})
                events = _list(answer, EVENTS_PATH, "data")
                for event in map(fields_of, events):
                    texts = fields_of(event.first("properties")).items()
                    properties = {_bare(name): text for name, value in texts if (text := scalar(value))}
                    at, name = time_of(event.first("created")), scalar(event.first("id"))
                    known = (text for text in properties.values() if text in incidents)
                    of = properties.get(_bare(wanted)) or next(known, None)
                    if at is not None and of and name:
                        told = next((properties[each] for each in _STATUS_NAMES if each in properties), "")
                        status = told.strip().lower()
                        found[of][name] = Page(name, at, status if status in RANKS else None)
                show(calls := calls + 1, iso(start)[:10])
                is_last, offset = len(events) < EVENTS_A_PAGE, offset + EVENTS_A_PAGE
    return {incident: sorted(pages.values(), key=lambda page: page.at) for incident, pages in found.items()}


def _bare(name: str) -> str:
    return name.partition("#")[0].strip().lower()


def read_audits(reader: Reader, pages: Sequence[str]) -> dict[str, list[Any]]:
    """Return the audits (xMatters' records) of the pages that xMatters shows, by page id. Raises ClickException."""

    def read(page: str) -> Any:
        return nested(reader.get(AUDITS_PATH, {"eventId": page, "limit": 100}), "data")

    # One at a time, since a second page of them would not come sooner at this pace.
    found = zip(pages, _each(reader, read, pages, 1), strict=True)
    return {page: audits for page, audits in found if isinstance(audits, list)}
