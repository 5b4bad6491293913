"""Figures of a rehearsal: the pages that people got, and those that the relay would have sent. Pure code.

A page that people got may belong to several classes:

| class | a page … |
| --- | --- |
| repeat | of a state that changes nothing that the policy `parity` announces |
| stale | of an open incident, made after the incident's end |
| late | made more than a minute after its share |
| unanswered | of a critical, that nobody answered |
| to nobody | of a critical, that no device got |

Besides, shares of which xMatters made no page are counted, and those of them that its flood control dropped.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from relay.incidents.share import PRESETS, State, compare
from relayctl import moments
from relayctl.rehearse.history import History, Moment, Page, Past
from relayctl.rehearse.replay import Rehearsal
from relayctl.report.figures import Spread

LATE_SECONDS = 60.0
NOISIEST = 10
CLASSES = ("repeat", "stale", "late", "unanswered", "to_nobody")
_PARITY = PRESETS["parity"]
_MINUTE, _HOUR = 60, 3600


class Got(NamedTuple):
    """A page that people got."""

    page: Page
    status: str  # Status of the incident that it told, or that is inferred
    history: History
    classes: frozenset[str]
    answered_after: float | None  # Seconds until the first answer; None without one


def pages_got(histories: Iterable[History]) -> Iterator[Got]:
    """Yield all pages that people got, incident by incident, oldest first."""
    for history in histories:
        told = _state(history.earlier[-1]) if history.earlier else None
        for page, moment in history.pages:
            classes = frozenset(_classes(history, page, moment, told))
            told = _state(moment)
            answered = None if page.answered_at is None else page.answered_at - page.at
            yield Got(page, page.status or moment.status, history, classes, answered)


def _classes(history: History, page: Page, moment: Moment, told: State | None) -> Iterator[str]:
    status = page.status or moment.status
    if compare(told, _state(moment)).transition not in _PARITY:
        yield "repeat"
    if status != "ok" and not history.is_open(page.at):
        yield "stale"
    if page.at - moment.at > LATE_SECONDS:
        yield "late"
    if _is_proven_critical(page, status):
        if page.answered_at is None:
            yield "unanswered"
        if not page.is_notified:
            yield "to_nobody"


def _is_proven_critical(page: Page, status: str) -> bool:
    return status == "critical" and page.is_notified is not None


def _state(moment: Moment) -> State:
    return State.of(moment.share, moment.at)


def with_assumed_pages(past: Past) -> Past:
    """Return the past with a page for each share, at once: what the direct integration makes, if nobody knows more."""

    def paged(history: History) -> History:
        made = tuple(
            moment._replace(page=Page(f"assumed-{place}", moment.at, moment.status))
            for place, moment in enumerate(history.moments)
        )
        return history._replace(moments=made)

    return past._replace(histories=tuple(map(paged, past.histories)))


def figures(past: Past, rehearsals: Mapping[str, Rehearsal], *, are_assumed: bool) -> dict[str, Any]:
    """Return all figures as a JSON object. `are_assumed` is True if the pages are those of `with_assumed_pages`."""
    shares = [moment for history in past.histories for moment in history.moments]
    got = list(pages_got(past.histories))
    answers = Spread.of(each.answered_after for each in got if each.answered_after is not None)
    classes = Counter(each for page in got for each in page.classes)
    without = [moment for moment in shares if moment.page is None]
    return {
        "incidents": len(past.histories),
        "shares": len(shares),
        "inferred_states": sum(moment.is_inferred for moment in shares),
        "targets": past.targets,
        "logs_updates": past.logs_updates,
        "other_pages": past.others,
        "direct": {
            "are_assumed": are_assumed,
            "pages": len(got),
            # Of which xMatters says who got them.
            "criticals": sum(_is_proven_critical(each.page, each.status) for each in got),
            **{name: classes[name] for name in CLASSES},
            "clean": sum(not each.classes for each in got),
            "without_page": len(without),
            "dropped_by_flood_control": past.dropped,
            "to_answer": answers.document() if answers else None,
            "most_in_a_minute": _most_in_a_minute(each.page.at for each in got),
            "by_hour": _by_hour([each.page.at for each in got]),
        },
        "relay": {name: _rehearsed(done) for name, done in rehearsals.items()},
        "noisiest": [_noisiest(history, rehearsals) for history in _noisy(past, got)],
    }


def _rehearsed(done: Rehearsal) -> dict[str, Any]:
    spread = Spread.of(each.after for each in done.rings)
    return {
        "pages": len(done.rings),
        "critical": sum(each.status == "critical" for each in done.rings),
        "by_transition": dict(Counter(str(each.transition) for each in done.rings).most_common()),
        "not_rung": dict(sorted(done.quiet.items())),
        "given_up": len(done.dead),
        "after_share": spread.document() if spread else None,
        "most_in_a_minute": _most_in_a_minute(each.at for each in done.rings),
        "by_hour": _by_hour([each.at for each in done.rings]),
    }


def _noisy(past: Past, got: Sequence[Got]) -> list[History]:
    counted = Counter(each.history.incident_id for each in got)
    ordered = sorted(
        past.histories, key=lambda each: (-counted[each.incident_id], -len(each.moments), each.incident_id)
    )
    return ordered[:NOISIEST]


def _noisiest(history: History, rehearsals: Mapping[str, Rehearsal]) -> dict[str, Any]:
    return {
        "incident_id": history.incident_id,
        "title": history.title,
        "shares": len(history.moments),
        "direct": [
            {"at": moments.iso(each.page.at), "status": each.page.status, "classes": sorted(each.classes)}
            for each in pages_got([history])
        ],
        "relay": {
            name: [
                {"at": moments.iso(ring.at), "status": ring.status, "transition": str(ring.transition)}
                for ring in done.rings
                if ring.incident_id == history.incident_id
            ]
            for name, done in rehearsals.items()
        },
    }


def _most_in_a_minute(times: Iterable[float]) -> int:
    return max(Counter(int(at // _MINUTE) for at in times).values(), default=0)


def _by_hour(times: Sequence[float]) -> list[list[int]]:
    table = [[0] * 24 for _ in range(7)]
    for at in times:
        moment = datetime.fromtimestamp(at, UTC)
        table[moment.weekday()][moment.hour] += 1
    return table
