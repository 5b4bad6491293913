"""Judge of receipts: the fallback topic is told of each critical that nobody hears, once, in time, and of no other."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from tests.simulation.oracle import surely_newer
from tests.simulation.phones import Page
from tests.simulation.played import ALONE, Played
from tests.simulation.services import NO_ANSWER, NO_DEVICE, NO_PAGE, Notice, tells_of_unheard
from tests.simulation.settings import Facts, Pause
from tests.simulation.story import BOSS, NOC
from tests.simulation.truth import INCIDENT

# From a deadline to the message about it: a run of the sweeper that is late by a minute, and its work.
TOLD_SECONDS = 150.0
# Runs that are left out.
UNSTEADY_SECONDS = 700.0
# From a callback's answer, or a delivery, to its record.
RECORDED_SECONDS = 90.0
# From a signal, or the time from which its page is found, to the follow-up that finds the page.
FOLLOWED_SECONDS = 60.0
# A callback about a page's end waits so long for the follow-up that finds the page.
AWAITED_SECONDS = 300.0
# From a message to the fallback topic to the signal to BOSS: a late run of the sweeper, and a worker.
CALLED_SECONDS = 180.0
# xMatters is asked so long before the deadline.
ASKED_SECONDS = 45.0
# From a question that xMatters did not answer to the time by which it is surely asked again.
ASKED_AGAIN_SECONDS = 35.0
MOST_QUESTIONS = 3
UNREAD_SECONDS = 300.0


class Span(NamedTuple):
    """A time in which an incident is announced as critical, and people have to hear of it. Times are epoch seconds.

    Attributes:
        began: start of the first signal.
        ends: arrival of a state that is better; infinity for none.
        answered_at: time of the first answer that is no escalation; infinity for none.
    """

    began: float
    ends: float
    pages: Sequence[Page] = ()
    answered_at: float = math.inf


@dataclass
class Unheard(Played):
    """Judge of the receipts of the first channel's criticals, in a finished schedule."""

    def problems(self) -> Iterator[str]:
        """Yield a problem for each critical that was not told, or told wrongly, and for too many questions."""
        if not self.story.receipts:
            return
        for incident in sorted({state.incident for state in self.states.values() if state.channel == NOC}):
            spans = list(self._spans(incident))
            named = [
                (notice, line)
                for notice in self.sns.told
                for name, line in INCIDENT.findall(notice.text)
                if name == incident.partition("@")[0]
            ]
            told = [(notice, line) for notice, line in named if tells_of_unheard(line)]
            # A message that the critical is owed again tells people, too.
            times = [notice.at for notice, _ in named]
            # After a pause a critical may be awaited since before it.
            for span in spans[: 1 if self._pauses() else None]:
                # In trouble the relay may not know of the end between two criticals, or before the first.
                first = self.rings_of(incident)[0].began
                since = first if self._is_troubled() else span.began
                pages = self._pages(incident, since, span.ends)
                known = span._replace(answered_at=self._answered_at(incident, since, pages))
                yield from self._untold(incident, known, [at for at in times if at > since])
            for notice, line in told:
                yield from self._wrong(incident, spans, notice, line)
            if not self._is_troubled():
                yield from self._repeated(incident, spans, told)
            yield from self._called(incident, spans, [notice for notice, _ in named], [notice for notice, _ in told])
        # A question that fails, or whose answer comes too late, is not counted by the relay, and asked again.
        fails = bool(self.spells("rest"))
        most = [page for page, count in self.phones.questions.items() if count > MOST_QUESTIONS and not fails]
        if most:
            yield f"xMatters was asked more than {MOST_QUESTIONS} times about {most}"

    def _spans(self, incident: str) -> Iterator[Span]:
        states = {state.number: state for state in self.states_of(incident)}
        rings = [ring for ring in self.rings_of(incident) if ring.share in states]
        # Who snoozed it knows of it.
        others = [each for each in states.values() if each.status != "critical" or each.is_snoozed]
        ends = -math.inf
        for ring in rings:
            told = states[ring.share]
            # A late copy of an older state ends nothing.
            better = [at for other in others if not surely_newer(told, other) for at in other.arrivals]
            # A queued critical may ring after a better state came that the ledger could not take.
            is_past = any(min(told.arrivals, default=0.0) < at < ring.began for at in better)
            # Who acknowledged knows of it: nobody is awaited.
            is_alone = ring.recipients in ALONE
            if told.status == "critical" and ring.began > ends and not is_past and not is_alone:
                ends = min((at for at in better if at > ring.began), default=math.inf)
                pages = self._pages(incident, ring.began, ends)
                yield Span(ring.began, ends, pages, self._answered_at(incident, ring.began, pages))

    def _pages(self, incident: str, since: float, ends: float) -> list[Page]:
        pages = (page for page in self.phones.pages if page.ring.incident == incident)
        return [page for page in pages if since <= page.ring.began <= ends]

    def _answered_at(self, incident: str, since: float, pages: Sequence[Page]) -> float:
        """Return the time of the first answer; with access to the REST API it must be to one of these pages."""
        of_pages = (answer for page in pages for answer in page.answers)
        own = incident.partition("@")[0]
        of_incident = ((at, text) for at, said, text in self.phones.answers if said == own)
        answers = of_pages if self.story.has_rest else of_incident
        times = [at for at, text in answers if text != "Escalate" and at > since]
        # BigPanda's times are whole seconds.
        times += [at for at, name in self.console.remarks if name == own and int(at) >= int(since)]
        return min(times, default=math.inf)

    def _is_troubled(self) -> bool:
        return bool(self.weather.spells or self.weather.skips_runs)

    def _steps(self) -> Iterator[tuple[str, float]]:
        for words, key in ((NO_DEVICE, "notified_within_seconds"), (NO_ANSWER, "answered_within_seconds")):
            if self.story.receipts.get(key):
                yield words, self.story.receipts[key]

    def _untold(self, incident: str, span: Span, told: Sequence[float]) -> Iterator[str]:
        for words, within in self._steps():
            deadline = min(span.began + within, self._given_up_at(incident, span) + RECORDED_SECONDS)
            ends = [self.world.began + spell.ends for spell in self.weather.spells]
            most = UNSTEADY_SECONDS if self._is_troubled() else TOLD_SECONDS
            # In a pause nobody is told.
            pauses = [pause.until for pause in self._pauses() if pause.since < max([deadline, *ends]) + most]
            by = max([deadline, *ends, *pauses]) + most
            proven = self._first_proof(incident, span) if words == NO_DEVICE else span.answered_at
            is_unheard = min(proven, span.answered_at) > by and span.ends > by
            if is_unheard and not any(at <= by for at in told):
                yield f"unheard: {incident} since {self.moment(span.began)}, and nobody was told by {self.moment(by)}"

    def _pauses(self) -> list[Pause]:
        line = self.story.timelines.get(NOC)
        return line[0].pauses_of(Facts()) if line else []

    def _given_up_at(self, incident: str, span: Span) -> float:
        """Return when the relay knows that nobody is left to notify (epoch seconds); infinity for never.

        It knows what the only page of the incident's only signal is about, and whom it was for, once a follow-up has
        found that page. The end of a page that is not found for AWAITED_SECONDS counts for nothing.
        """
        rings = self.rings_of(incident)
        if len(span.pages) != 1 or len(rings) != 1 or len(rings[0].recipients) != 1:
            return math.inf
        [page] = span.pages
        found_at = max(page.found_from, page.ring.began) + FOLLOWED_SECONDS
        return max(page.given_up_at, found_at) if found_at < page.given_up_at + AWAITED_SECONDS else math.inf

    def _first_proof(self, incident: str, span: Span) -> float:
        """Return the earliest time at which the relay may know of a delivery (epoch seconds).

        Without the REST API it cannot tell the pages of an incident apart.
        """
        if self.story.has_rest:
            # Who escalates a page had it on a device.
            escalated = (at for page in span.pages for at, _ in page.answers if at > span.began)
            return min((*(page.delivered_at for page in span.pages), *escalated), default=math.inf)
        pages = (page for page in self.phones.pages if page.ring.incident == incident)
        called_back = (min(page.called_back_at, page.doubtful_since) for page in pages)
        return min((at for at in called_back if at > span.began), default=math.inf)

    def _wrong(self, incident: str, spans: Sequence[Span], notice: Notice, line: str) -> Iterator[str]:
        at, moment = notice.at, self.moment(notice.at)
        span = next((span for span in reversed(spans) if span.began < at), None)
        if span is None:
            # A critical that rings after a better state came, which no function could take, begins no span.
            if not any(ring.at < at for ring in self.rings_of(incident)):
                yield f"unheard: {incident} is told of at {moment}, and xMatters had accepted nothing"
            return
        # A pause may hold the better state until the incident is critical again: then it is awaited since before.
        is_held = bool(self._pauses())
        is_better = at > span.ends + RECORDED_SECONDS and NO_PAGE not in line and not is_held
        # With the REST API, an answer without a callback is found by a question shortly before the step's time.
        seen_by = span.began + self.story.receipts.get("answered_within_seconds", 0.0) - 2 * ASKED_SECONDS
        # Once xMatters has said that nobody is left, no further question is due.
        seen_by = min([seen_by, *(page.given_up_at for page in span.pages)])
        is_seen = not self.story.has_rest or (NO_ANSWER in line and span.answered_at < seen_by)
        is_answered = at > span.answered_at + RECORDED_SECONDS and is_seen
        if not self._is_troubled() and (is_better or is_answered):
            yield f"unheard: {incident} is told of at {moment}, and it was {'better' if is_better else 'answered'}"
        # In trouble the relay may not know of the end between two criticals.
        began = spans[0].began if self._is_troubled() or is_held else span.began
        # Of a device that is not awaited, only a callback tells.
        unawaited = [] if self.story.receipts.get("notified_within_seconds") else [(NO_DEVICE, math.inf)]
        for words, within in [*self._steps(), *unawaited]:
            is_given_up = any(
                self._is_dead_end(page, at) for page in self.phones.pages if page.ring.incident == incident
            )
            # A function that can't read the secret tells after the time that is usual.
            is_unread = any(self.world.began + each.begins < at for each in self.spells("secrets"))
            is_early = at < began + (min(within, UNREAD_SECONDS) if is_unread else within) - 1
            if words in line and is_early and not is_given_up:
                yield f"unheard: {incident} is told of at {moment}, before its time"
            is_awaited = words == NO_DEVICE and within < math.inf
            if words in line and is_awaited and self._is_surely_proven(span, min(span.began + within, at)):
                yield f"unheard: {incident} is told of at {moment}, and a device had got it"

    def _is_dead_end(self, page: Page, at: float) -> bool:
        """Return True if a callback before `at` says that nobody is left; of two pages, the end of one does not.

        A page that comes later is not known then.
        """
        pages = [each for each in self.phones.pages if each.ring == page.ring and each.found_from <= page.found_from]
        if len(page.ring.recipients) > 1 and not page.tells_of_its_end(has_rest=self.story.has_rest):
            # xMatters called back about one of them.
            return False
        known_at = min(page.given_up_at, page.doubtful_since)
        return known_at < at and (len(pages) == 1 or not page.tells_of_its_end(has_rest=self.story.has_rest))

    def _is_surely_proven(self, span: Span, deadline: float) -> bool:
        # A question that xMatters did not answer is asked again.
        over = deadline - self.world.began - ASKED_AGAIN_SECONDS
        lasting = [
            each for each in self.weather.spells if (each.service, each.fault) != ("rest", "503") or each.ends > over
        ]
        if lasting or self.weather.skips_runs:
            return False
        if not self.story.has_rest:
            return any(page.called_back_at < deadline - RECORDED_SECONDS for page in span.pages)
        # The first and the newest page are asked about.
        asked = [page for page in span.pages if page.found_from < deadline - 2 * ASKED_SECONDS]
        return bool(asked) and all(page.delivered_at < deadline - 2 * ASKED_SECONDS for page in asked)

    def _repeated(self, incident: str, spans: Sequence[Span], told: Sequence[tuple[Notice, str]]) -> Iterator[str]:
        rings = [ring.began for ring in self.rings_of(incident)]
        for span, later in pairwise([*spans, Span(math.inf, math.inf)]):
            times: list[float] = []
            for notice, line in told:
                # A later signal without a page is news.
                is_news = NO_PAGE in line and bool(times) and any(times[-1] < began < notice.at for began in rings)
                if span.began < notice.at < later.began and not is_news:
                    times.append(notice.at)
            if len(times) > 1:
                yield f"unheard: {incident} is told of {len(times)} times since {self.moment(span.began)}"

    def _called(
        self, incident: str, spans: Sequence[Span], named: Sequence[Notice], told: Sequence[Notice]
    ) -> Iterator[str]:
        """Check that BOSS is called once after the fallback topic was told of a critical, and never otherwise.

        `named` are the messages that name the incident, and `told` those that tell of a step.
        """
        calls = [call for call in self.phones.calls if call.incident == incident]
        for call in calls:
            span = next((span for span in reversed(spans) if span.began < call.began), None)
            first = min((notice.began for notice in named if span and notice.at > span.began), default=math.inf)
            if span is None or call.began < first:
                yield f"unheard: {BOSS} is called for {incident} at {self.moment(call.began)}, before the topic"
            # An answer to a page that a follow-up cannot find in time is not verified.
            elif any(page.is_slow for page in span.pages):
                continue
            elif not self._is_troubled() and call.began > min(span.ends, span.answered_at) + RECORDED_SECONDS:
                yield f"unheard: {BOSS} is called for {incident} at {self.moment(call.began)}, and it was heard"
        if self._is_troubled() or "unanswered_recipients" not in self.policies[NOC]:
            return
        for span in spans:
            times = [call.began for call in calls if span.began < call.began <= span.ends]
            first = min((notice.at for notice in told if span.began < notice.at < span.ends), default=math.inf)
            is_due = first + CALLED_SECONDS < min(span.ends, span.answered_at, self.world.now)
            if len(times) > 1 or (is_due and not any(at < first + CALLED_SECONDS for at in times)):
                yield f"unheard: {BOSS} is called {len(times)} times for {incident} since {self.moment(span.began)}"
