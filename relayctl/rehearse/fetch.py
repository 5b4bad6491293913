"""Fetch: all that both vendors still know of a period, read into an `Archive` within their rate limits.

A run that was broken off goes on where it was.
"""

import json
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

import click

from relay.bigpanda.client import CALLS_A_SECOND, INCIDENTS_A_PAGE, Incident
from relay.bigpanda.listing import FOLDERS, MAX_LISTING_PAGES
from relay.delivery.channel_health import age
from relay.foreign_text import url_part
from relay.incidents.share import Fields, fields_of, nested, scalar
from relay.xmatters.directory import AUDITS_PATH, EVENTS_PATH, SUPPRESSIONS_PATH
from relayctl import terminal
from relayctl.moments import DAY, iso
from relayctl.rehearse.reader import FetchError, Reader
from relayctl.terminal import progress

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


# Kinds of documents in the archive.
LISTED, DETAILS, ACTIVITIES, EVENTS, AUDITS, SUPPRESSED = (
    *("listed", "incidents", "activities", "events", "audits", "suppressed"),
)
ACTIVITIES_A_CALL, EVENTS_A_PAGE = 100, 100
# A surge of requests once took xMatters' log-ins down (docs/vendors.md).
XMATTERS_CALLS_A_SECOND = 1
# Calls of one endpoint that may be on their way: with answers that take longer than the pace, one is not enough.
WORKERS = 4


def fetch_incidents(reader: Reader, archive: Archive) -> None:
    with progress("listing BigPanda's incidents", "pages", reader.effects.ticks) as show:
        for done, (key, path, query) in enumerate(_windows(archive), start=1):
            _list(reader, archive, key, path, query)
            show(done, "")
    found = _listed(archive)

    def details(incident: str) -> Any:
        return reader.get(Incident(found[incident], incident).path, {"expand": "alerts"}, DETAILS)

    ask: dict[str, Callable[[str], Any]] = {DETAILS: details, ACTIVITIES: partial(_activities, reader)}
    there = {kind: archive.has(kind) for kind in ask}
    missing = [[(kind, each) for each in found if each not in there[kind]] for kind in ask]
    if left := max(map(len, missing)):
        minutes = max(1, round(left * reader.seconds / 60))
        terminal.say(
            f"{len(found):,} incidents, {left:,} to read: about {minutes:,} min at BigPanda's "
            f"{CALLS_A_SECOND} calls a second. Ctrl-C stops; with --keep the same command goes on where it was."
        )
    # In turns, so that no endpoint waits for the other: the limit holds for each.
    calls = [call for turn in zip_longest(*missing) for call in turn if call]
    _fetch(reader, archive, ask, calls, WORKERS * len(ask))


def fetch_pages(reader: Reader, archive: Archive) -> None:
    known = {key: len(events) for key, events in archive.all(EVENTS)}
    incidents = _listed(archive).keys()
    with progress("reading xMatters' pages", "calls", reader.effects.ticks) as show:
        done = 0
        for start, end in _days(archive):
            times, offset, is_last = {"from": iso(start), "to": iso(end)}, 0, False
            while not is_last:
                key = f"{iso(start)}/{offset}"
                if key not in known:
                    query = times | {"embed": "properties", "limit": EVENTS_A_PAGE, "offset": offset}
                    data = nested(reader.get(EVENTS_PATH, query), "data")
                    if not isinstance(data, list):
                        raise FetchError(
                            f"xMatters: {EVENTS_PATH}: an answer without a list of events; is --xmatters-url the host "
                            "that people log in to?"
                        )
                    archive.add(EVENTS, key, [_kept_event(each, archive.about["key"], incidents) for each in data])
                    known[key] = len(data)
                    show(done := done + 1, f"{iso(start)[:10]}")
                is_last, offset = known[key] < EVENTS_A_PAGE, offset + EVENTS_A_PAGE


def fetch_answers(reader: Reader, archive: Archive, pages: Collection[str]) -> None:
    """Fetch what flood control dropped, and the audits of `pages`. Raises FetchError."""
    if not archive.has(SUPPRESSED):
        try:
            archive.add(SUPPRESSED, "times", _suppressions(reader))
        except FetchError as error:
            terminal.say(f"warning: {error.message}. What flood control dropped is not counted.")
    there = archive.has(AUDITS)
    calls = [(AUDITS, each) for each in pages if each not in there]
    if len(calls) > 30:
        terminal.say(f"{len(calls):,} calls to xMatters, one a second: about {len(calls) // 60 + 1} min.")

    def audits(page: str) -> Any:
        return nested(reader.get(AUDITS_PATH, {"eventId": page, "limit": 100}), "data")

    _fetch(reader, archive, {AUDITS: audits}, calls, 1)


def _suppressions(reader: Reader) -> list[Any]:
    """Return the times of the dropped signals as xMatters wrote them. Clients disagree where the time stands."""
    found, page = list[Any](), list[Any]()
    for offset in range(0, 1000 * EVENTS_A_PAGE, EVENTS_A_PAGE):
        before, data = page, nested(reader.get(SUPPRESSIONS_PATH, {"limit": EVENTS_A_PAGE, "offset": offset}), "data")
        listed = data if isinstance(data, list) else []
        page = [nested(each, "at") or nested(nested(each, "match"), "at") for each in listed]
        found += page
        # xMatters may repeat its first page for ever.
        if len(page) < EVENTS_A_PAGE or page == before:
            break
    return found


def _fetch(
    reader: Reader,
    archive: Archive,
    ask: Mapping[str, Callable[[str], Any]],
    calls: Sequence[tuple[str, str]],
    workers: int,
) -> None:
    def one(call: tuple[str, str]) -> None:
        kind, key = call
        if not reader.stop.is_set():
            archive.add(kind, key, ask[kind](key))

    with (
        progress(f"reading {reader.vendor}", f"of {len(calls):,}", reader.effects.ticks) as show,
        ThreadPoolExecutor(workers) as pool,
    ):
        try:
            for done, _ in enumerate(pool.map(one, calls), start=1):
                show(done, f"about {age((len(calls) - done) * reader.seconds / len(ask))} left")
        except BaseException:
            reader.stop.set()
            raise


def _windows(archive: Archive) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for environment in archive.about["environments"]:
        path = f"/resources/v2.0/environments/{url_part(environment)}/incidents"
        for folder in FOLDERS:
            query = {"folder": folder, "sort_by": "last_change", "page_size": INCIDENTS_A_PAGE}
            if folder != "resolved":
                yield f"{environment}/{folder}", path, query
                continue
            for start, end in _days(archive):
                yield f"{environment}/{folder}/{iso(start)}", path, query | {"from": int(start), "to": int(end)}


def _days(archive: Archive) -> Iterator[tuple[float, float]]:
    start, until = archive.about["since"], archive.about["until"]
    while start < until:
        yield start, min(start + DAY, until)
        start += DAY


def _list(reader: Reader, archive: Archive, key: str, path: str, query: dict[str, Any]) -> None:
    if f"{key}/end" in archive.has(LISTED):
        return
    ids = set[str]()
    for page in range(1, MAX_LISTING_PAGES + 1):
        answer = reader.get(path, query | {"page": page}, LISTED)
        if answer is None:
            raise FetchError(
                f"BigPanda: there is no environment {path.split('/')[4]}, or the key cannot see it, or it is in "
                "another region: --bigpanda-url https://eu-api.bigpanda.io"
            )
        items = nested(answer, "items") if isinstance(answer, dict) else answer
        if not isinstance(items, list):
            raise FetchError(f"BigPanda: {path}: an answer without a list of incidents")
        incidents = {identity: each for each in items if (identity := scalar(nested(each, "id")))}
        fresh = incidents.keys() - ids
        ids |= fresh
        if shared := [each for each in fresh if incidents[each].get("shared") is not False]:
            archive.add(LISTED, f"{key}/{page}", sorted(shared))
        total = nested(answer, "total")
        # BigPanda may give fewer than it was asked for, or repeat its first page for ever.
        if not fresh or (isinstance(total, int) and len(ids) >= total):
            break
    else:
        terminal.say(f"warning: {key}: BigPanda lists no more than {MAX_LISTING_PAGES * INCIDENTS_A_PAGE:,} incidents")
    archive.add(LISTED, f"{key}/end", [])


def _listed(archive: Archive) -> dict[str, str]:
    return {each: key.partition("/")[0] for key, ids in archive.all(LISTED) for each in ids}


def _activities(reader: Reader, incident_id: str) -> list[Any]:
    found: list[Any] = []
    for page in range(1, MAX_LISTING_PAGES + 1):
        path = f"/resources/v2.0/incidents/{url_part(incident_id)}/activities"
        answer = reader.get(path, {"page": page, "per_page": ACTIVITIES_A_CALL}, ACTIVITIES)
        items = nested(answer, "items", "activities") if isinstance(answer, dict) else answer or []
        if not isinstance(items, list):
            raise FetchError("BigPanda: an answer without a list of activities")
        found += items
        # BigPanda may give fewer than it was asked for.
        if not items or len(items) < 20:
            break
    return found


def _kept_event(event: Any, wanted_property: str, incidents: Collection[str]) -> dict[str, Any]:
    """Return the members of an event that a rehearsal needs: most of an event are texts that nobody reads again.

    Without the wanted property, another one may have the id of one of the `incidents`.
    """
    fields = Fields(event if isinstance(event, dict) else {})
    properties = {_bare(name): value for name, value in fields_of(fields.first("properties")).items()}
    kept = {name: fields.first(name.lower()) for name in ("id", "created", "terminated", "status", "requestId")}
    told = next((value for name, value in properties.items() if name in _STATUS_NAMES), None)
    named = properties.get(_bare(wanted_property))
    found = next((value for value in properties.values() if scalar(value) in incidents), None)
    return kept | {"incident": scalar(found if named is None else named), "told_status": told}


# Names of properties that may have the incident's status.
_STATUS_NAMES = ("status", "incident_status", "incidentstatus", "bigpanda_status")


def _bare(name: str) -> str:
    return name.partition("#")[0].strip().lower()
