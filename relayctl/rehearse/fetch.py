"""Questions about the past to both vendors, within their rate limits."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from relay.bigpanda.client import CALLS_A_SECOND, INCIDENTS_A_PAGE, Incident
from relay.bigpanda.listing import FOLDERS, MAX_LISTING_PAGES
from relay.delivery.channel_health import age
from relay.foreign_text import url_part
from relay.incidents.share import RANKS, fields_of, nested, scalar, time_of
from relay.xmatters.directory import AUDITS_PATH, EVENTS_PATH
from relayctl import terminal
from relayctl.moments import DAY, iso
from relayctl.rehearse.history import Page, Period, Told
from relayctl.rehearse.reader import FetchError, Reader
from relayctl.terminal import progress

ACTIVITIES_A_CALL, EVENTS_A_PAGE = 100, 100
# A surge of requests once took xMatters' log-ins down (docs/vendors.md).
XMATTERS_CALLS_A_SECOND = 1
# Incidents that are read at once: with answers that take longer than the pace, one is not enough.
WORKERS = 8
# Names of properties that may have the incident's status.
_STATUS_NAMES = ("status", "incident_status", "incidentstatus", "bigpanda_status")


def list_incidents(reader: Reader, period: Period, environments: Collection[str]) -> list[Incident]:
    """Return the incidents of environments that may have been shared in the period. Raises FetchError."""
    found = dict[str, Incident]()
    with progress("listing BigPanda's incidents", "incidents", reader.effects.ticks) as show:
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
            raise FetchError(
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
        raise FetchError(f"{path}: an answer without a list of {names[-1]}; is the URL that of the vendor?")
    return found


def _days(period: Period) -> Iterator[tuple[float, float]]:
    for start in range(period.since, period.until, int(DAY)):
        yield start, min(start + DAY, period.until)


def read_incidents(reader: Reader, incidents: Sequence[Incident]) -> Iterator[Told]:
    """Yield each incident with its activities, but for those that are gone. Raises FetchError."""
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
        progress(f"reading {reader.vendor}", f"of {len(items):,}", reader.effects.ticks) as show,
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
    """Return the pages of `incidents` by the incident's id, which is in the property `wanted`, or in any other one."""
    found = defaultdict[str, dict[str, Page]](dict)
    with progress("reading xMatters' pages", "calls", reader.effects.ticks) as show:
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
    """Return the audits of pages that xMatters shows, by the page's id. Raises FetchError."""

    def read(page: str) -> Any:
        return nested(reader.get(AUDITS_PATH, {"eventId": page, "limit": 100}), "data")

    # One at a time, since a second page of them would not come sooner at this pace.
    found = zip(pages, _each(reader, read, pages, 1), strict=True)
    return {page: audits for page, audits in found if isinstance(audits, list)}
