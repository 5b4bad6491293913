"""Follow-up of accepted signals: find their pages, and terminate pages of past states.

A 202 says that xMatters accepted a signal. It does not say if the workflow made a page of it. So the follow-up job
searches for the page by the signal's request id, several times within three minutes. Then the pages of past states are
terminated (`delivery.page_termination`). If the incident's end is in doubt, BigPanda is asked first
(`delivery.resolve_confirmation`).
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from copy import replace
from dataclasses import dataclass

from relay.channels.channel import Channel, Rest
from relay.deadline import Deadline
from relay.delivery.page_termination import terminate_pages
from relay.delivery.resolve_confirmation import EndCheck, ResolveAnswer, ResolveConfirmation, is_to_ask
from relay.delivery.task import entry_key_of
from relay.failures.errors import LedgerError, SendError
from relay.failures.reasons import HANDLING, Reason
from relay.jobs.envelope import envelope_of
from relay.jobs.job import Job, timestamp
from relay.jobs.outbox import storable
from relay.jobs.outcome import Notices, Outcome, Result, Subject
from relay.ledger.accepted_signal import AcceptedSignal
from relay.ledger.entry import Entry
from relay.ledger.ledger import Ledger
from relay.ledger.row import FALLBACK_DESCRIPTION
from relay.xmatters.pages import Pages

# After this time the page of a signal counts as missing.
LOOK_FOR_SECONDS = 180.0
# Bounds of the wait between two searches.
SHORTEST_SEARCH_WAIT_SECONDS = 10.0
LONGEST_SEARCH_WAIT_SECONDS = 60.0
# The default age limit of a job, so that an outage of the REST API is bridged. Older signals without a search were sent
# before the channel had credentials for the REST API.
OLD_SIGNAL_SECONDS = 6 * 3600.0


@dataclass(frozen=True)
class Followup:
    """Follow-up of accepted signals: finds their pages, and terminates those of past states.

    Attributes:
        pages: Client for xMatters' pages.
        ledger: The entries of incidents.
        confirmation: Returns the object that asks BigPanda if an incident is over. Created at its first use.
        clock: The time in epoch seconds.
    """

    pages: Pages
    ledger: Ledger
    confirmation: Callable[[], ResolveConfirmation]
    clock: Callable[[], float]

    def follow(self, job: Job, channel: Channel, deadline: Deadline) -> Result:
        """Find the pages of an incident's signals, and terminate those of past states.

        If the incident's end is in doubt, BigPanda is asked first. The result is `duplicate` if nothing is left to do,
        and `queued` if the follow-up has to run again. It is `unsafe` with a reason if an API or the ledger failed. Its
        `without_page` holds the request ids of signals without a page; each id is reported once.
        """
        ledger = self.ledger.within(deadline)
        try:
            entry, check = ledger.read(entry_key_of(job)), EndCheck(ResolveAnswer.NOT_ASKED)
            if is_to_ask(job, entry, channel):
                entry, check = self.confirmation().ask(job, entry, channel, ledger, deadline)
        except LedgerError as error:
            return replace(_result(job, Outcome.UNSAFE), reason=Reason.INTERNAL, detail=str(error))
        result = _result(job, Outcome.DUPLICATE)
        if channel.rest:
            is_end_certain = not channel.confirms_ends or entry.end.is_confirmed
            result = self._pages_followed(
                job, entry, channel, channel.rest, ledger, deadline, is_end_certain=is_end_certain
            )
        if check.until and result.outcome == Outcome.UNSAFE and not HANDLING[result.reason or Reason.INTERNAL].is_final:
            # BigPanda is asked in time although xMatters' REST API fails.
            result = replace(result, until=check.until)
        elif check.until:
            until = min(check.until, result.until or check.until)
            result = result.waiting(Reason.IN_FLIGHT, until)
        if check.answer == ResolveAnswer.DOUBTED:
            # The question may stay open for longer than a job may get old.
            result = replace(result, job=replace(job, revival=replace(job.revival, revived_at=timestamp(self.clock()))))
        is_news = check.answer in {ResolveAnswer.REFUTED, ResolveAnswer.UNREACHABLE}
        end = str(check.answer) if is_news else None
        return replace(result, notices=replace(result.notices, end=end))

    def _pages_followed(
        self,
        job: Job,
        entry: Entry,
        channel: Channel,
        rest: Rest,
        ledger: Ledger,
        deadline: Deadline,
        *,
        is_end_certain: bool,
    ) -> Result:
        """Find the pages of an incident's signals, and terminate those of past states.

        `is_end_certain` is True if the incident's end is confirmed, or needs no confirmation.
        """
        checked: dict[str, AcceptedSignal] = {}
        failure: SendError | None = None
        try:
            for signal in self._without_known_page(entry):
                checked[signal.request_id] = self._looked_for(signal, rest, deadline)
            ended = terminate_pages(
                self.pages,
                rest,
                entry.followed(checked),
                deadline,
                replaces=channel.policy.replace,
                is_end_certain=is_end_certain,
            )
            for signal in ended:
                checked[signal.request_id] = signal
        except SendError as error:
            failure = error
        return self._noted(job, entry, checked, failure, ledger)

    def _noted(
        self, job: Job, entry: Entry, checked: dict[str, AcceptedSignal], failure: SendError | None, ledger: Ledger
    ) -> Result:
        after = entry.followed(checked)
        # Only of open incidents: a workflow may make no page of a resolve.
        without_page = tuple(
            signal.request_id for signal in checked.values() if signal.is_page_missing and signal.is_open
        )
        is_alarming, now = _is_critical_unpaged(after, checked), self.clock()

        if is_alarming:
            with suppress(LedgerError):
                described = envelope_of(storable(job))
                ledger.store(entry_key_of(job), FALLBACK_DESCRIPTION, described, lasts=OLD_SIGNAL_SECONDS)

        def change(current: Entry) -> Entry:
            followed = current.followed(checked)
            return replace(followed, debt=followed.debt.with_page_missing(now)) if is_alarming else followed

        is_noted = after == entry or _try_change(ledger, job, entry, change)
        if failure and failure.reason == Reason.TIMEOUT and after != entry and is_noted:
            # Time ran out before all pages were terminated. The job continues at once, without a backoff.
            return _result(job, Outcome.QUEUED, without_page).waiting(Reason.IN_FLIGHT, now)
        if failure:
            failed = _result(job, Outcome.UNSAFE, without_page if is_noted else ()).failed(failure)
            return replace(failed, exchange=replace(failed.exchange, may_have_acted=False))
        if not is_noted:
            return replace(_result(job, Outcome.UNSAFE), reason=Reason.INTERNAL, detail="the ledger write failed")
        waiting = list(self._without_known_page(after))
        if not waiting:
            return _result(job, Outcome.DUPLICATE, without_page)
        youngest = max(signal.at for signal in waiting)
        wait = min(max((now - youngest) / 2, SHORTEST_SEARCH_WAIT_SECONDS), LONGEST_SEARCH_WAIT_SECONDS)
        return _result(job, Outcome.QUEUED, without_page).waiting(Reason.IN_FLIGHT, now + wait)

    def _without_known_page(self, entry: Entry) -> Iterator[AcceptedSignal]:
        now = self.clock()
        for signal in entry.accepted_signals:
            if not signal.pages and not signal.is_page_missing and now - signal.at < OLD_SIGNAL_SECONDS:
                yield signal

    def _looked_for(self, signal: AcceptedSignal, rest: Rest, deadline: Deadline) -> AcceptedSignal:
        found = self.pages.of_request(rest, signal.request_id, deadline)
        if found:
            is_over = not any(page.is_active for page in found)
            return replace(signal, pages=tuple(page.id for page in found), page_number=found[0].number, is_over=is_over)
        return replace(signal, is_page_missing=self.clock() - signal.at > LOOK_FOR_SECONDS)


def _is_critical_unpaged(entry: Entry, checked: Mapping[str, AcceptedSignal]) -> bool:
    """True if this follow-up found that a critical signal of an open incident has no page.

    Then it is possible that no person was notified. `checked` has the signals that this follow-up looked at, by request
    id. A signal without a page does not count if a later signal has a page for the same recipients.
    """
    is_page_missing = any(
        signal.is_page_missing
        and signal.is_critical
        and signal.request_id in checked
        and not any(later.pages and later.reaches_all_of(signal) for later in entry.accepted_signals[index + 1 :])
        for index, signal in enumerate(entry.accepted_signals)
    )
    return is_page_missing and entry.announced is not None and entry.announced.is_open


def _try_change(ledger: Ledger, job: Job, entry: Entry, change: Callable[[Entry], Entry]) -> bool:
    try:
        ledger.change(entry_key_of(job), change, entry)
    except LedgerError:
        return False
    return True


def _result(job: Job, outcome: Outcome, without_page: tuple[str, ...] = ()) -> Result:
    subject = Subject.of_job(job, transition=job.payload.transition)
    return Result(outcome, subject, notices=Notices(without_page=without_page), job=job)
