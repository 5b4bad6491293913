"""Decisions of the library about a past, in simulated time, and the figures and report of a rehearsal. Pure code.

xMatters takes every signal at once, and nobody answers. Waits for rate limits are not reproduced. docs/rehearse.md
defines the classes of pages. A page may belong to several.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import replace
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from relay.channels.channel import Channel
from relay.delivery.delivery import planned_row
from relay.delivery.rules import DeadLetter, Send, Settle, step
from relay.delivery.task import Task
from relay.foreign_text import printable
from relay.incidents.share import PRESETS, State, compare
from relay.ledger.debt import Wait
from relay.ledger.entry import LEASE_SECONDS, Entry, Lease
from relayctl.rehearse.history import History, Moment, Page, Past, is_open
from relayctl.report.explain import task_of
from relayctl.report.report import most_in_a_minute, spread, spread_words
from relayctl.settings.settings_file import encode, settings_of


class Ring(NamedTuple):
    """A signal that the relay would have sent."""

    at: float  # When (epoch seconds)
    incident_id: str
    status: str | None
    after: float  # Seconds since the share


@dataclass
class Rehearsal:
    """Decisions that the relay would have made about past shares of one channel, in simulated time: nothing is sent."""

    channel: Channel
    now: float = 0.0  # The simulated time (epoch seconds)
    rings: list[Ring] = field(default_factory=list)  # Its signals, oldest first
    quiet: Counter[str] = field(default_factory=Counter)  # Shares that would not have rung, by the library's outcome
    _entries: dict[str, Entry] = field(default_factory=dict, init=False)
    # When the task that waits for an incident wakes (epoch seconds), and the task, by the entry's key.
    _waiting: dict[str, tuple[float, Task]] = field(default_factory=dict, init=False)

    def share(self, moment: Moment) -> None:
        """Decide about a past share at its own time, after the states whose wait ended before it."""
        self.wake_until(moment.at)
        self.now = max(self.now, moment.at)
        self._attend(task_of(self.channel, moment.share, moment.body, (), self.now))

    def wake_until(self, until: float) -> None:
        """Decide about each waiting state whose wait ends by `until` (epoch seconds), at the end of its wait."""
        while self._waiting:
            name = min(self._waiting, key=lambda each: self._waiting[each][0])
            at, task = self._waiting[name]
            if at > until:
                return
            del self._waiting[name]
            self.now = max(self.now, at)
            job = task.job.planned(self._entries[name].debt.plan)
            self._attend(replace(task, job=job, is_from_webhook=False))

    def _attend(self, task: Task) -> None:
        task, entry, action = step(task, self._entries.get(task.entry_key, Entry()), self.now)
        match action:
            case Send():
                self._send(task, entry, action)
            case Settle():
                self.quiet[action.outcome] += task.is_from_webhook
                self._entries[task.entry_key] = action.note or entry
            case DeadLetter():
                self.quiet[action.reason] += 1
                dead = entry.dead_lettering(task.state, self.now, action.reason, plan=entry.debt.plan + 1)
                self._entries[task.entry_key] = dead
            case Wait():
                until = task.wake_at(action.until, self.now)
                row = planned_row(task, until, self.now)
                self._entries[task.entry_key] = entry.owing_by_row(task.state, row, task.job.plan)
                self._waiting[task.entry_key] = (until, task)

    def _send(self, task: Task, entry: Entry, send: Send) -> None:
        lease = Lease("rehearsal", self.now + LEASE_SECONDS, entry.next_start(self.now), task.state)
        claimed = entry.leased(lease, 1, task.job.plan)
        audience, request_id = task.audience(send.only), f"rehearsed-{len(self.rings)}"
        self._entries[task.entry_key] = claimed.accepted(lease, request_id, 1, until=self.now, audience=audience)
        self._waiting.pop(task.entry_key, None)
        after = max(0.0, self.now - task.state.came)
        self.rings.append(Ring(self.now, task.job.incident_id, task.state.status, after))


def rehearse(histories: Sequence[History], channel: Channel) -> Rehearsal:
    """Return the decisions that the relay would have made about all shares, with the settings of `channel`."""
    run = Rehearsal(channel)
    shares = (moment for history in histories for moment in history.moments)
    for moment in sorted(shares, key=lambda each: each.at):
        run.share(moment)
    run.wake_until(float("inf"))
    return run


LATE_SECONDS = 60.0
NOISIEST = 10


class Got(NamedTuple):
    """A page that people got, and the classes of docs/rehearse.md to which it belongs."""

    page: Page
    status: str  # Status of the incident that it told, or that is inferred
    history: History
    classes: frozenset[str]


def pages_got(histories: Iterable[History]) -> Iterator[Got]:
    """Yield all pages that people got, incident by incident, oldest first."""
    for history in histories:
        told: State | None = None
        for page, moment in history.pages:
            classes = frozenset(_classes(history, page, moment, told))
            told = _state(moment)
            yield Got(page, page.status or moment.status, history, classes)


def _classes(history: History, page: Page, moment: Moment, told: State | None) -> Iterator[str]:
    status = page.status or moment.status
    if compare(told, _state(moment)).transition not in PRESETS["parity"]:
        yield "repeat"
    if status != "ok" and not is_open(history.spells, page.at):
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


def figures(past: Past, rehearsals: Mapping[str, Rehearsal], *, are_assumed: bool) -> dict[str, Any]:
    """Return all figures of a report as a JSON object. `are_assumed`: each share is taken to have made a page."""
    shares = [moment for history in past.histories for moment in history.moments]
    got = list(pages_got(past.histories))
    classes = Counter(each for page in got for each in page.classes)
    without = [moment for moment in shares if moment.page is None]
    return {
        "incidents": len(past.histories),
        "shares": len(shares),
        "inferred_states": sum(moment.is_inferred for moment in shares),
        "targets": past.targets,
        "direct": {
            "are_assumed": are_assumed,
            "pages": len(got),
            # Of which xMatters says who got them.
            "criticals": sum(_is_proven_critical(each.page, each.status) for each in got),
            **{name: classes[name] for name in CLASSES},
            "clean": sum(not each.classes for each in got),
            "without_page": len(without),
            "to_answer": spread(page.answered_at - page.at for page, *_ in got if page.answered_at is not None),
            "most_in_a_minute": most_in_a_minute(each.page.at for each in got),
        },
        "relay": {
            name: {
                "pages": len(done.rings),
                "critical": sum(each.status == "critical" for each in done.rings),
                "not_rung": dict(sorted(done.quiet.items())),
                "most_in_a_minute": most_in_a_minute(each.at for each in done.rings),
            }
            for name, done in rehearsals.items()
        },
        "noisiest": list(_noisiest(past, got, rehearsals)),
    }


def _noisiest(past: Past, got: Sequence[Got], rehearsals: Mapping[str, Rehearsal]) -> Iterator[dict[str, Any]]:
    counts = Counter(each.history.incident_id for each in got)
    rung = {name: Counter(ring.incident_id for ring in done.rings) for name, done in rehearsals.items()}
    ordered = sorted(past.histories, key=lambda each: (-counts[each.incident_id], -len(each.moments), each.incident_id))
    for each in ordered[:NOISIEST]:
        yield {
            "incident_id": each.incident_id,
            "title": each.title,
            "shares": len(each.moments),
            "pages": counts[each.incident_id],
            "relay": {name: found[each.incident_id] for name, found in rung.items()},
        }


# With at least this part of pages fewer, the settings to install with have the rule for flaps.
_WORTH_IT = 0.05
CLASSES = {
    "repeat": ("repeats", "of a state that people knew"),
    "stale": ("stale", "of an open incident, after its end"),
    "late": ("late", "more than a minute after the share"),
    "unanswered": ("unanswered", "of criticals, answered by nobody"),
    "to_nobody": ("to nobody", "of criticals, on no device"),
}
# These are a part of the pages of criticals, the others of all pages.
_OF_CRITICALS = ("unanswered", "to_nobody")


def rows(found: Mapping[str, Any]) -> Iterator[tuple[str, str, bool]]:
    """Yield the lines of a report: label, text, and True if it is bad news."""
    direct = found["direct"]
    yield "BigPanda shared", f"{found['shares']:,} times, {found['incidents']:,} incidents", False
    pages = direct["pages"]
    whose = "assumed: one for each share, at once" if direct["are_assumed"] else "that xMatters made"
    yield "people got", f"{pages:,} pages, {whose}; at most {direct['most_in_a_minute']} a minute", False
    for name, (label, what) in CLASSES.items():
        if direct["are_assumed"] and name != "repeat":
            continue
        whole = direct["criticals"] if name in _OF_CRITICALS else pages
        yield label, f"{direct[name]:,} pages ({_part(direct[name], whole)}) {what}", direct[name] > 0
    if not direct["are_assumed"]:
        yield "without a page", f"{direct['without_page']:,} shares", direct["without_page"] > 0
    if direct["to_answer"]:
        yield "answered after", spread_words(direct["to_answer"]), False
    for name, done in found["relay"].items():
        fewer = f"{_part(pages - done['pages'], pages)} fewer" if done["pages"] <= pages else "more"
        text = f"{done['pages']:,} pages ({fewer}), {done['critical']:,} critical"
        yield f"relay, {name}", f"{text}; at most {done['most_in_a_minute']} a minute", False
    inferred = f"the state at {found['inferred_states']:,} shares, from alerts: no page told it"
    yield "inferred", inferred, False
    for place, each in enumerate(found["noisiest"]):
        counts = ", ".join(map(str, each["relay"].values()))
        title = printable(each["title"] or each["incident_id"], 30)
        yield "" if place else "noisiest", f"{each['pages']:>3} pages, relay {counts}: {title}", False


def settings_to_install(found: Mapping[str, Any], policies: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a settings file in shadow mode: policy `parity`, or `flap` if with it clearly fewer pages ring."""
    relay = found["relay"]
    spared = relay["parity"]["pages"] - relay["flap"]["pages"]
    policy = policies["flap" if spared > _WORTH_IT * relay["parity"]["pages"] else "parity"]
    said = "# Shadow mode decides and sends nothing: with mode live, it rings."
    return f"{said}\n{encode(settings_of({**policy, 'mode': 'shadow'}))}"


def _part(some: int, whole: int) -> str:
    return f"{some / max(whole, 1):.1%}"


def show(console: Console, found: Mapping[str, Any], settings: str) -> None:
    """Print the report of the figures, with the settings to install with."""
    table = Table.grid(padding=(0, 1))
    for label, text, is_bad in rows(found):
        table.add_row(f"  {label}", printable(text), style="red" if is_bad else None)
    console.print(f"Rehearsal, {found['since'][:10]} to {found['until'][:10]}")
    console.print(table)
    console.print(
        "Settings for channels/NAME.yaml; add xmatters.recipients, then relayctl channel apply channels installs them"
    )
    console.print(settings.rstrip(), soft_wrap=True)
