"""Follow-up of accepted signals: find their pages, and terminate pages of past states.

A 202 does not say if the workflow made a page of the signal. So the follow-up job searches for the page by the signal's
request id, several times within three minutes. Then it terminates the pages of past states: those that ended, or that a
newer page replaces. Shortly before a step of a critical's receipt is late, it asks xMatters and BigPanda who was
notified and who answered.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from copy import replace
from dataclasses import dataclass, field

from relay.channels.channel import Channel, Rest
from relay.deadline import Clock, Deadline
from relay.delivery.task import entry_key_of
from relay.failures import HANDLING, BadAnswer, LedgerError, Reason, SendError, wait_seconds
from relay.jobs.job import MILLISECOND, Job, seconds_of, timestamp
from relay.jobs.queue import stored_envelope
from relay.jobs.result import Notices, Outcome, Result
from relay.ledger.accepted_signal import AcceptedSignal
from relay.ledger.debt import FALLBACK_DESCRIPTION
from relay.ledger.entry import LEASE_SECONDS, Entry
from relay.ledger.receipt import ASKED_BEFORE_SECONDS
from relay.ledger.receipt_prover import ReceiptProver
from relay.ledger.table import Ledger
from relay.xmatters.directory import Pages

# Statuses that are not about a page: the credential is refused, or the rate limit is reached.
OF_ALL_PAGES = frozenset({401, 429})
# Signals whose pages xMatters may refuse to end in a run. After one more, the run asks it nothing else.
MAX_REFUSED = 2


def terminated(
    pages: Pages, rest: Rest, entry: Entry, signal: AcceptedSignal, deadline: Deadline
) -> AcceptedSignal | None:
    """Terminate all pages of a signal whose state is past. Return the signal with its pages, marked as over.

    None if no page is found, and people may still need one: the incident did not end after the signal, or a state is
    owed. Raises SendError. If xMatters refuses to end one page, the others are terminated first, except after a 401 or
    429.
    """
    # Searched again: the workflow may have made a page later, or a second one.
    found = pages.of_request(rest, signal.request_id, deadline)
    ids = tuple(dict.fromkeys((*signal.pages, *(page.id for page in found))))
    if not ids and (signal.at >= entry.end.at or entry.debt.is_owed):
        return None
    ended = {*(page.id for page in found if not page.is_active), *(signal.pages if signal.is_over else ())}
    refused: BadAnswer | None = None
    for page in ids:
        try:
            if page not in ended:
                pages.terminate(rest, page, deadline)
        except BadAnswer as error:
            if error.http_status in OF_ALL_PAGES:
                raise
            refused = refused if refused and not _is_final(refused) else error
    if refused:
        raise refused
    return replace(signal, pages=ids, is_over=True)


def signals_to_terminate(entry: Entry, *, replaces: bool, young_since: float) -> Iterator[AcceptedSignal]:
    """Yield the signals whose pages must be terminated: known pages, or pages that were searched in vain.

    The incident ended after such a signal; with `replaces`, a newer page for the same recipients is a reason, too. If
    the incident is open again, the pages stay until people are told of that. A signal whose known pages are over is
    left out if it was sent before `young_since` (epoch seconds). Only the workflow of a younger one may make further
    pages.
    """
    for index, signal in enumerate(entry.accepted_signals):
        # The page of a resolve replaces no other page, since the resolve may be forged.
        newer_ones = [
            newer for newer in entry.accepted_signals[index + 1 :] if newer.is_open and _takes_over(newer, signal)
        ]
        is_resolved = signal.is_open and signal.at < entry.end.at
        is_replaced = replaces and bool(newer_ones)
        is_due = not signal.is_over or (signal.at > young_since and not signal.is_page_missing)
        # A page that was not found in time is searched for as long as further pages are, or if the incident ends.
        is_replaced = is_replaced and not (signal.is_page_missing and signal.at <= young_since)
        has_to_end = is_replaced or (is_resolved and not entry.opens_again)
        if (signal.pages or signal.is_page_missing) and is_due and has_to_end:
            yield signal


def _takes_over(newer: AcceptedSignal, older: AcceptedSignal) -> bool:
    """True if the newer signal has an active page for all recipients of the older signal."""
    # A page that is over when it is found may have reached no recipient.
    return bool(newer.pages) and not newer.is_over and newer.reaches_all_of(older)


# Bounds of the wait between two searches.
SHORTEST_SEARCH_WAIT_SECONDS = 10.0
LONGEST_SEARCH_WAIT_SECONDS = 60.0
# Wait before a question about people that a vendor left without an answer is asked again: twice, before it is late.
QUESTION_AGAIN_SECONDS = 15.0
# A follow-up whose question waits for the end of a pause runs again so often: less than ASKED_BEFORE_SECONDS.
PAUSED_AGAIN_SECONDS = 30.0
# So long the pages of an end are kept for an incident that opened again, and whose new state is still owed.
LONGEST_KEPT_SECONDS = 12 * 3600.0
# A follow-up may begin before the end of its incident is written; it is written so long after its share came.
END_WRITTEN_SECONDS = 30.0
# The last search for further pages may come so late.
LAST_SEARCH_SECONDS = 300.0
# The default age limit of a job, so that an outage of the REST API is bridged. Older signals without a search were sent
# before the channel had credentials for the REST API.
OLD_SIGNAL_SECONDS = 6 * 3600.0


@dataclass
class _Run:
    """A run of a follow-up job, with what it found so far, also if a later request fails.

    Attributes:
        entry: The incident's entry, as the run read or last wrote it.
        checked: Signals whose pages the run searched or terminated, by request id.
        refused: Error answers about pages, by their signal's request id: the pages of other signals end all the same.
    """

    job: Job
    entry: Entry
    channel: Channel
    deadline: Deadline
    checked: dict[str, AcceptedSignal] = field(default_factory=dict)
    refused: dict[str, BadAnswer] = field(default_factory=dict)

    @property
    def followed(self) -> Entry:
        """The incident's entry, with what this run of the follow-up found so far about the pages of the signals."""
        return self.entry.followed(self.checked)


@dataclass(frozen=True)
class Followup:
    """Follow-up of accepted signals: finds their pages, ends outdated ones, and asks who heard of a critical."""

    pages: Pages
    ledger: Ledger
    prover: ReceiptProver
    clock: Clock

    def follow(self, job: Job, channel: Channel, deadline: Deadline) -> Result:
        """Find the pages of an incident's signals, terminate outdated ones, and ask who heard of its critical.

        | outcome | case |
        | --- | --- |
        | `duplicate` | nothing is left to do |
        | `queued` | the follow-up has to run again |
        | `unsafe` | an API or the ledger failed |

        The notice `without_page` has the request ids of signals of which no page was found in time; each is reported
        once.
        """
        if channel.rest is None and not channel.asks_about_answers:
            return _result(job, Outcome.DUPLICATE)
        try:
            entry = self.ledger.read(entry_key_of(job))
            return self._followed(job, entry, channel, deadline)
        except LedgerError as error:
            return Result.unsafe(job, Reason.INTERNAL, str(error))

    def _followed(self, job: Job, entry: Entry, channel: Channel, deadline: Deadline) -> Result:
        run, is_suppressed = _Run(job, entry, channel, deadline), False
        failure: SendError | None = None
        # A question before the search would be used up without the page that a device got.
        searches = channel.rest is not None and any(
            each.is_critical and each.at >= entry.receipt.since for each in self._without_known_page(entry)
        )
        try:
            # What is most urgent comes first, since an API that is slow leaves no time for the rest.
            if channel.rest:
                self._terminate(run, channel.rest, entry, math.inf)
            if not searches:
                self._ask(run)
            if channel.rest:
                self._follow_pages(run, channel.rest)
                if lost := _unpaged_criticals(run.followed, run.checked):
                    is_suppressed = self.pages.were_suppressed(channel.rest, min(lost), deadline)
                self._ask(run)
        except SendError as error:
            failure = error
            if searches and _asked_again_at(run, error, self.clock()) is None:
                with suppress(SendError):
                    self._ask(run)
        return self._noted(run, failure, is_suppressed=is_suppressed)

    def _ask(self, run: _Run) -> None:
        """Ask the vendors about a critical if it is time, and put the answer into the run's entry. Raises SendError."""
        after, channel = run.followed, run.channel
        question_at = _question_at(after, channel)
        if question_at is not None and self.clock() >= question_at:
            pages, key = after.pages_to_ask_about(), entry_key_of(run.job)
            run.entry = self.prover.ask(key, run.entry, channel, pages, run.deadline, is_early=False)

    def _follow_pages(self, run: _Run, rest: Rest) -> None:
        """Search for the unknown pages of signals, and terminate the pages of past states. Raises SendError."""
        page_within = run.channel.policy.page_within_seconds
        for signal in self._without_known_page(run.entry):
            run.checked[signal.request_id] = self._looked_for(signal, rest, page_within, run.deadline)
        self._terminate(run, rest, run.followed, self.clock() - page_within - LAST_SEARCH_SECONDS)

    def _terminate(self, run: _Run, rest: Rest, entry: Entry, young_since: float) -> None:
        """Terminate the pages of past states (see `signals_to_terminate`), unless this run did it. Raises SendError."""
        for signal in signals_to_terminate(entry, replaces=run.channel.policy.replace, young_since=young_since):
            name = signal.request_id
            is_done = name in run.refused or (name in run.checked and run.checked[name].is_over)
            try:
                if not is_done and (ended := terminated(self.pages, rest, entry, signal, run.deadline)):
                    run.checked[name] = ended
            except BadAnswer as error:
                run.refused[name] = error
                if error.http_status in OF_ALL_PAGES or len(run.refused) > MAX_REFUSED:
                    raise

    def _noted(self, run: _Run, failure: SendError | None, *, is_suppressed: bool) -> Result:
        job, entry, channel, checked, after = run.job, run.entry, run.channel, run.checked, run.followed
        # Those that an earlier run reported are searched again once the incident is over.
        reported = {signal.request_id for signal in entry.accepted_signals if signal.is_page_missing}
        # Only of open incidents: a workflow may make no page of a resolve.
        without_page = tuple(
            signal.request_id
            for signal in checked.values()
            if signal.is_page_missing and signal.is_open and signal.request_id not in reported
        )
        lost, now = _unpaged_criticals(after, checked), self.clock()
        if lost:
            with suppress(LedgerError):
                described = stored_envelope(job)
                self.ledger.store(entry_key_of(job), FALLBACK_DESCRIPTION, described, lasts=OLD_SIGNAL_SECONDS)

        def change(current: Entry) -> Entry:
            followed = current.followed(checked)
            for at in lost:
                followed = followed.page_missing(at, is_suppressed=is_suppressed)
            return followed

        is_noted = after == entry or _try_change(self.ledger, job, entry, change)
        # The follow-up of a newer signal follows all signals of the incident, also if this one failed: while an API is
        # slow, each of them would ask it the same again and again.
        came = seconds_of(job.received_at)
        is_older = after.announced is not None and after.announced.came > came + MILLISECOND
        # The record of an older signal may come late, once the newer one's follow-up is done.
        own = next((each for each in after.accepted_signals if each.at >= came), None)
        is_unknown = own is not None and not own.pages and not own.is_page_missing
        if is_older and not ((failure or run.refused) and is_unknown):
            return _result(job, Outcome.DUPLICATE, without_page if is_noted else ())
        if failure and failure.reason == Reason.TIMEOUT and after != entry and is_noted:
            # Time ran out before all pages were terminated. The job continues at once, without a backoff.
            return _result(job, Outcome.QUEUED, without_page).waiting(Reason.IN_FLIGHT, now)
        if failure:
            return _failed(run, failure, without_page if is_noted else (), now)
        if not is_noted:
            # Without a record xMatters is asked the same again, so not at each retry of the backoff.
            failed = Result.unsafe(job, Reason.INTERNAL, "the ledger write failed")
            return replace(failed, until=now + LONGEST_SEARCH_WAIT_SECONDS)
        again, worst = self._again(run, after, now), min(run.refused.values(), key=_is_final, default=None)
        # Before it is given up, xMatters is asked about people.
        if worst and (again is None or not _is_final(worst)):
            failed = _result(job, Outcome.UNSAFE, without_page).failed(worst)
            failed = replace(failed, exchange=replace(failed.exchange, may_have_acted=False))
            wait = wait_seconds(worst.reason, now - job.age_counts_from, worst.retry_after, 1.0)
            return failed if again is None else replace(failed, until=min(again, now + wait))
        if again is None:
            return _result(job, Outcome.DUPLICATE, without_page)
        # What xMatters refused to end is tried no sooner.
        again = again if worst else _unpaused(again, after, channel, now)
        # Its age counts anew, since a receipt may be awaited for a day.
        later = job._replace(revived_at=timestamp(again))
        return _result(later, Outcome.QUEUED, without_page).waiting(Reason.IN_FLIGHT, again)

    def _again(self, run: _Run, entry: Entry, now: float) -> float | None:
        """Return when the follow-up runs again: to search for pages, or to ask about people; None if it is done."""
        times, channel, came = list[float](), run.channel, seconds_of(run.job.received_at)
        rest = channel.rest
        if waiting := [signal.at for signal in self._without_known_page(entry)] if rest else []:
            wait = (now - max(waiting)) / 2
            times.append(now + min(max(wait, SHORTEST_SEARCH_WAIT_SECONDS), LONGEST_SEARCH_WAIT_SECONDS))
        elif rest:
            # Further pages of a signal whose pages are over are searched once its workflow makes no more.
            since = now - channel.policy.page_within_seconds
            ended = signals_to_terminate(entry, replaces=channel.policy.replace, young_since=since)
            times += [each.at - since + now for each in ended if each.is_over]
            # By the follow-up of the last end, and not of an earlier one, or of an update since.
            age = now - entry.end.at
            is_of_end = entry.end.at - LEASE_SECONDS < came <= entry.end.at + MILLISECOND
            if entry.opens_again and is_of_end and age < LONGEST_KEPT_SECONDS:
                times.append(now + max(LONGEST_SEARCH_WAIT_SECONDS, age / 10))
            # The function that queued this follow-up may still be about to write the end.
            if (entry.newest is None or entry.newest.came < came - MILLISECOND) and now < came + END_WRITTEN_SECONDS:
                times.append(now)
        if (question_at := _question_at(entry, channel)) is not None:
            times.append(question_at)
        return max(min(times), now + SHORTEST_SEARCH_WAIT_SECONDS) if times else None

    def _without_known_page(self, entry: Entry) -> Iterator[AcceptedSignal]:
        """Yield the signals whose pages are searched, the newest first: an API may be too slow to search for all."""
        now = self.clock()
        for signal in reversed(entry.accepted_signals):
            if not signal.pages and not signal.is_page_missing and now - signal.at < OLD_SIGNAL_SECONDS:
                yield signal

    def _looked_for(self, signal: AcceptedSignal, rest: Rest, page_within: float, deadline: Deadline) -> AcceptedSignal:
        found = self.pages.of_request(rest, signal.request_id, deadline)
        if found:
            is_over = not any(page.is_active for page in found)
            return replace(signal, pages=tuple(page.id for page in found), page_number=found[0].number, is_over=is_over)
        return replace(signal, is_page_missing=self.clock() - signal.at > page_within)


def _is_final(error: SendError) -> bool:
    return HANDLING[error.reason].is_final


def _question_at(entry: Entry, channel: Channel) -> float | None:
    """Return when xMatters or BigPanda is asked about a critical (epoch seconds); None if there is nothing to ask."""
    can_ask = channel.asks_about_answers or entry.pages_to_ask_about()
    return entry.receipt.question_at(channel.policy) if can_ask else None


def _unpaused(again: float, entry: Entry, channel: Channel, now: float) -> float:
    """Return an earlier time than `again` if a pause delays the question: it may end early, or never begin."""
    if _question_at(entry, channel) is None:
        return again
    unpaused = entry.receipt.question_at(replace(channel.policy, pauses=())) or 0.0
    return min(again, max(unpaused, now + PAUSED_AGAIN_SECONDS))


def _failed(run: _Run, failure: SendError, without_page: tuple[str, ...], now: float) -> Result:
    """Return the result of a run that failed. It is not given up before the vendors were asked about people."""
    asks_at = _asked_again_at(run, failure, now)
    if asks_at is not None and _is_final(failure):
        later = run.job._replace(revived_at=timestamp(asks_at))
        return _result(later, Outcome.QUEUED, without_page).waiting(Reason.IN_FLIGHT, asks_at)
    failed = _result(run.job, Outcome.UNSAFE, without_page).failed(failure)
    return replace(failed, exchange=replace(failed.exchange, may_have_acted=False), until=asks_at)


def _asked_again_at(run: _Run, failure: SendError, now: float) -> float | None:
    """Return when a failed run is followed by the next one, so that its question is asked in time (epoch seconds).

    None for the usual backoff: no question is left, the next run would be too late, or the vendor named a time itself.
    """
    question_at, again = run.followed.receipt.question_at(run.channel.policy), now + QUESTION_AGAIN_SECONDS
    if question_at is None or failure.retry_after:
        return None
    # After the usual backoff the step could be late, and the fallback topic would be notified for nothing.
    if question_at > now:
        wait = wait_seconds(failure.reason, now - run.job.age_counts_from, None, 0.5)
        return max(min(question_at, now + wait), again)
    return again if again < question_at + ASKED_BEFORE_SECONDS else None


def _unpaged_criticals(entry: Entry, checked: Mapping[str, AcceptedSignal]) -> list[float]:
    """Return the times of an open incident's critical signals for which this follow-up found no page in time."""
    if entry.announced is None or not entry.announced.is_open:
        return []
    return [
        signal.at
        for index, signal in enumerate(entry.accepted_signals)
        if signal.is_page_missing
        and signal.is_critical
        and signal.at >= entry.end.at
        and signal.request_id in checked
        and not any(later.pages and later.reaches_all_of(signal) for later in entry.accepted_signals[index + 1 :])
    ]


def _try_change(ledger: Ledger, job: Job, entry: Entry, change: Callable[[Entry], Entry]) -> bool:
    try:
        ledger.change(entry_key_of(job), change, entry)
    except LedgerError:
        return False
    return True


def _result(job: Job, outcome: Outcome, without_page: tuple[str, ...] = ()) -> Result:
    return replace(Result.of_job(job, outcome), notices=Notices(without_page=without_page))
