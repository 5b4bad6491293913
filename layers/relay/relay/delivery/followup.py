"""Follow-up of accepted signals: confirm that a page came, and end pages that must end.

A 202 says that xMatters took a signal; its flow may make a page of it, or none, and says nothing of that. So the job
that was kept before the signal looks for the page by the signal's request id, a few times within three minutes. And
pages of ours end when their incident does, or when a newer one takes their place: ours alone, by request id, never by
guess.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from copy import replace
from dataclasses import dataclass

from relay.channels.channel import Channel, Rest
from relay.deadline import Deadline
from relay.delivery.confirmation import Answer, Confirmation, Confirmed
from relay.delivery.task import entry_of
from relay.errors import LedgerError, Reason, SendError
from relay.jobs.envelope import Job
from relay.jobs.outbox import storable
from relay.jobs.outcome import Outcome, Result
from relay.ledger.entry import Entry, Raised
from relay.ledger.ledger import Ledger
from relay.ledger.row import WORDS
from relay.xmatters.pages import Pages

LOOK_FOR_SECONDS = 180.0
SHORTEST_WAIT_SECONDS = 10.0
LONGEST_WAIT_SECONDS = 60.0
# As long as a job lives, so that an outage of the REST API is outlived. A signal that nobody asked about for longer was
# sent before the channel had credentials to ask with.
FORGOTTEN_SECONDS = 6 * 3600.0


@dataclass(frozen=True)
class Followup:
    """Follows signals. `confirmation` gives what asks BigPanda about ends, `clock` epoch seconds."""

    pages: Pages
    ledger: Ledger
    confirmation: Callable[[], Confirmation]
    clock: Callable[[], float]

    def follow(self, job: Job, channel: Channel, deadline: Deadline) -> Result:
        """Confirm that a job's incident is over, if it is said to be; find its pages; end those that have to end.

        `duplicate` when nothing is left to be done; `queued` when it is too early to tell; `unsafe`, with a reason,
        when xMatters does not say. `unconfirmed` has the request ids of signals that no page came of, each once.
        """
        ledger = self.ledger.within(deadline)
        try:
            entry, confirmed = self._confirmed(job, ledger.read(entry_of(job)), channel, ledger, deadline)
        except LedgerError as error:
            return replace(_result(job, Outcome.UNSAFE), reason=Reason.INTERNAL, detail=str(error))
        result = _result(job, Outcome.DUPLICATE)
        if channel.rest:
            is_sure = not channel.confirms_ends or entry.over_at <= entry.confirmed_at
            result = self._pages_followed(job, entry, channel, channel.rest, ledger, deadline, ends=is_sure)
        if confirmed.until and result.outcome != Outcome.UNSAFE:
            until = min(confirmed.until, result.until or confirmed.until)
            result = replace(result, outcome=Outcome.QUEUED, reason=Reason.IN_FLIGHT, queue="retry", until=until)
        is_news = confirmed.answer in {Answer.REFUTED, Answer.UNREACHABLE}
        return replace(result, end=str(confirmed.answer)) if is_news else result

    def _confirmed(
        self, job: Job, entry: Entry, channel: Channel, ledger: Ledger, deadline: Deadline
    ) -> tuple[Entry, Confirmed]:
        """Ask BigPanda if an end is in doubt; return the entry with its answer. Raises LedgerError."""
        if not (channel.confirms_ends and entry.is_end_in_doubt):
            return entry, Confirmed(Answer.CONFIRMED)
        confirmed, now = self.confirmation().of_end(job, entry, channel, deadline), self.clock()
        if confirmed.answer == Answer.WAIT:
            return entry, confirmed
        return ledger.change(entry_of(job), lambda each: confirmed.note(each, now), entry), confirmed

    def _pages_followed(
        self, job: Job, entry: Entry, channel: Channel, rest: Rest, ledger: Ledger, deadline: Deadline, *, ends: bool
    ) -> Result:
        """Find the pages of an incident's signals, and end those that have to end.

        `ends`: the end of the incident is sure, as far as anybody can tell.
        """
        seen: dict[str, Raised] = {}
        failure: SendError | None = None
        try:
            for raised in self._unknown(entry):
                seen[raised.request_id] = self._looked_for(raised, rest, deadline)
            for raised in _to_end(entry.followed(seen), replaces=channel.policy.replace, ends=ends):
                # Its flow may have made one more since, or have been late.
                found = self.pages.of_request(rest, raised.request_id, deadline)
                pages = tuple(dict.fromkeys((*raised.pages, *(page.id for page in found))))
                for page in pages:
                    self.pages.end(rest, page, deadline)
                seen[raised.request_id] = replace(raised, pages=pages, is_over=True)
        except SendError as error:
            failure = error
        return self._noted(job, entry, seen, failure, ledger)

    def _noted(
        self, job: Job, entry: Entry, seen: dict[str, Raised], failure: SendError | None, ledger: Ledger
    ) -> Result:
        after = entry.followed(seen)
        # Of a resolve a flow need not make a page.
        lost = tuple(raised.request_id for raised in seen.values() if raised.is_lost and raised.is_open)
        is_alarming, now = _is_silent(after, seen), self.clock()

        if is_alarming:
            _store(ledger, job)

        def change(current: Entry) -> Entry:
            followed = current.followed(seen)
            return followed.unconfirming(now) if is_alarming else followed

        is_noted = after == entry or _is_changed(ledger, job, entry, change)
        if failure and failure.reason == Reason.TIMEOUT and after != entry and is_noted:
            # The time was up before all pages ended; those that are left must not wait for a backoff.
            soon = replace(_result(job, Outcome.QUEUED), reason=Reason.IN_FLIGHT, queue="retry", until=now)
            return replace(soon, unconfirmed=lost)
        if failure:
            return replace(
                _result(job, Outcome.UNSAFE),
                reason=failure.reason,
                detail=failure.detail,
                http_status=failure.http_status,
                response_excerpt=failure.excerpt,
                retry_after=failure.retry_after,
                attempts=int(failure.asked),
                unconfirmed=lost if is_noted else (),
            )
        if not is_noted:
            return replace(_result(job, Outcome.UNSAFE), reason=Reason.INTERNAL, detail="the ledger did not take it")
        waiting = list(self._unknown(after))
        if not waiting:
            return replace(_result(job, Outcome.DUPLICATE), unconfirmed=lost)
        youngest = max(raised.at for raised in waiting)
        wait = min(max((now - youngest) / 2, SHORTEST_WAIT_SECONDS), LONGEST_WAIT_SECONDS)
        waits = replace(_result(job, Outcome.QUEUED), reason=Reason.IN_FLIGHT, queue="retry", until=now + wait)
        return replace(waits, unconfirmed=lost)

    def _unknown(self, entry: Entry) -> Iterator[Raised]:
        now = self.clock()
        for raised in entry.raised:
            if not raised.pages and not raised.is_lost and now - raised.at < FORGOTTEN_SECONDS:
                yield raised

    def _looked_for(self, raised: Raised, rest: Rest, deadline: Deadline) -> Raised:
        found = self.pages.of_request(rest, raised.request_id, deadline)
        if found:
            is_over = not any(page.is_active for page in found)
            return replace(raised, pages=tuple(page.id for page in found), number=found[0].number, is_over=is_over)
        return replace(raised, is_lost=self.clock() - raised.at > LOOK_FOR_SECONDS)


def _is_silent(entry: Entry, seen: Mapping[str, Raised]) -> bool:
    """True if no page came of a critical state's signal, as was just seen, and its incident is open.

    The job that looks need not be that signal's own. A later signal that has a page told people of the incident.
    """
    is_lost = any(
        raised.is_lost
        and raised.is_critical
        and raised.request_id in seen
        and not any(later.pages and later.reaches_all_of(raised) for later in entry.raised[place + 1 :])
        for place, raised in enumerate(entry.raised)
    )
    return is_lost and entry.announced is not None and entry.announced.is_open


def _store(ledger: Ledger, job: Job) -> None:
    """Store the job for the words of the fallback topic's message, which has the incident's id alone without it."""
    with suppress(LedgerError):
        ledger.store(entry_of(job), WORDS, storable(job).to_json(), lasts=FORGOTTEN_SECONDS)


def _is_changed(ledger: Ledger, job: Job, entry: Entry, change: Callable[[Entry], Entry]) -> bool:
    try:
        ledger.change(entry_of(job), change, entry)
    except LedgerError:
        return False
    return True


def _to_end(entry: Entry, *, replaces: bool, ends: bool) -> Iterator[Raised]:
    """The signals whose pages must end: their incident was resolved since, or a newer page took their place."""
    for place, raised in enumerate(entry.raised):
        is_resolved = ends and raised.is_open and raised.at < entry.over_at
        # The page of a resolve takes no other's place: the resolve may be forged.
        newer_ones = (newer for newer in entry.raised[place + 1 :] if newer.is_open)
        is_replaced = replaces and any(_takes_over(newer, raised) for newer in newer_ones)
        if (raised.pages or raised.is_lost) and not raised.is_over and (is_resolved or is_replaced):
            yield raised


def _takes_over(newer: Raised, older: Raised) -> bool:
    """True if the newer signal has a page that is active and notifies everybody whom the older one notified.

    A page that is over when it is found may have reached nobody, and another team's page is not this one's to end.
    """
    return bool(newer.pages) and not newer.is_over and newer.reaches_all_of(older)


def _result(job: Job, outcome: Outcome) -> Result:
    return Result(outcome, job.channel, job.incident_id, job.transition, delivery_id=job.delivery_id, job=job)
