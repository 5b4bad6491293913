"""Invariants of attacks: promises of docs/security.md, checked after a schedule."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from tests.simulation.attack_plans import ALLOWED_NAMES, ATTACKED, LASTS_SECONDS, RECIPIENTS, Plan, Truth
from tests.simulation.attack_vendors import Signal, Vendors
from tests.simulation.services import Notice, tells_of
from tests.simulation.world import Time

# A critical is silent for so long at most, where no flood uses up the channel's limit: a minute for BigPanda's answer
# about a resolve, and the time of its job.
SILENT_SECONDS = 120.0
# A critical of a channel that nobody attacks is announced within so long of its start, or of an outage's end.
NEIGHBOUR_SECONDS = 120.0
# From the time at which the fallback topic is to be notified to the message: a run of the sweeper, and a step.
SWEPT_SECONDS = 70.0
# Shortest time between two messages about a channel.
BETWEEN_MESSAGES_SECONDS = 300.0
# A forged resolve holds a critical that waits for so long.
CLAIM_SECONDS = 75.0
# From the time at which BigPanda's API shows a true end to its signal: the third question at the latest, or the next
# one about an earlier, forged resolve. The second number is for a flood.
ENDED_SECONDS, ENDED_IN_FLOOD_SECONDS = 75.0, 300.0
# From a change of which no share came to its signal: the next two reconcile runs, and a step.
RECONCILED_SECONDS = 660.0
# A forged stamp may be ahead of the truth by so much; one that is further ahead counts as none.
AHEAD_SECONDS = 5.0


class Posted(NamedTuple):
    """A share as the relay has to read it: channel, incident, True if the incident is open, names in the URL."""

    channel: str
    incident: str
    is_open: bool
    url_recipients: tuple[str, ...]


def broken_invariants(
    plan: Plan,
    vendors: Vendors,
    notices: Sequence[Notice],
    forged_open: Mapping[str, float],
    *,
    is_acknowledged: bool,
) -> Iterator[str]:
    """Yield the broken invariants of a finished schedule, in words.

    `notices` are the messages to the fallback topic. `forged_open` has the time of each incident's last share that was
    forged as open. `is_acknowledged` is True if an entry of the ledger has somebody who acknowledged. All times are in
    seconds since the beginning.
    """
    for truth in plan.truths:
        yield from _unheard(plan, truth, vendors.of(truth.id), notices)
        yield from _lost(plan, truth, vendors.of(truth.id), forged_open)
        yield from _false_ends(truth, vendors.of(truth.id))
        yield from _late_end(plan, truth, vendors.of(truth.id))
    yield from _strangers(plan, vendors.signals)
    yield from _of_reconcile(plan, vendors)
    yield from _ended_pages(plan, vendors)
    yield from _written(plan, vendors)
    if is_acknowledged:
        yield "somebody acknowledged"


def gaps(truth: Truth, signals: Sequence[Signal]) -> Iterator[Time]:
    """Yield the times in which an incident was open, and the last signal did not say so."""
    end = min(truth.over, LASTS_SECONDS)
    times = [truth.opened, *(signal.at for signal in signals), end]
    says_open = [False, *(signal.is_open for signal in signals)]
    for (begins, ends), is_known in zip(pairwise(times), says_open, strict=True):
        gap = Time(max(begins, truth.opened), min(ends, end))
        if not is_known and gap.begins < gap.ends:
            yield gap


# ---- The true incidents ----------------------------------------------------------------------------------------------


def _unheard(plan: Plan, truth: Truth, signals: Sequence[Signal], notices: Sequence[Notice]) -> Iterator[str]:
    """Check that an open critical is announced in time, whatever the attacker forges.

    During a flood of forged criticals the relay may notify the fallback topic instead, since the flood uses up the
    channel's rate limit.
    """
    for gap in gaps(truth, signals):
        # A vendor's outage excuses nobody after its end.
        outages = [each for each in plan.outages if gap.begins < each.ends and each.begins < gap.ends]
        for until in (*(each.begins for each in outages), gap.ends):
            since = max([gap.begins, *(each.ends for each in outages if each.begins < until)])
            if truth.is_lost and gap.begins == truth.opened:
                since += RECONCILED_SECONDS
            by = since + (SILENT_SECONDS if truth.channel == ATTACKED else NEIGHBOUR_SECONDS)
            if plan.flood and truth.channel == ATTACKED:
                by = _notified_by(plan, since, notices)
                counted_from = gap.begins + plan.fallback_seconds
                if any(tells_of(each.text, truth.id) for each in notices if counted_from <= each.at <= by):
                    continue
            if until > by:
                yield f"{truth.id} is open from {since:.0f} to {until:.0f} s, and nobody knows"


def _notified_by(plan: Plan, since: float, notices: Sequence[Notice]) -> float:
    """Return the latest time at which the fallback topic has to be notified of a critical.

    `since` is the time from which the critical is not announced. Both times are in seconds since the beginning.
    """
    overdue = since + plan.fallback_seconds + (CLAIM_SECONDS if plan.forgeries else 0.0)
    earlier = (each.at + BETWEEN_MESSAGES_SECONDS for each in notices if each.at < overdue)
    return max([overdue, *earlier]) + SWEPT_SECONDS


def _lost(plan: Plan, truth: Truth, signals: Sequence[Signal], forged_open: Mapping[str, float]) -> Iterator[str]:
    """Check that the last signal of an incident says what is true, long after the attack."""
    if not plan.is_reconciled:
        # Only a reconcile run tells those whom a forged share named that the incident is over: each set of recipients
        # in webhook URLs has an entry of its own, and the true resolve names another set.
        signals = [signal for signal in signals if signal.recipients == {RECIPIENTS[truth.channel], *truth.recipients}]
    was_announced = any(signal.is_open for signal in signals)
    if truth.over > LASTS_SECONDS and not (signals and signals[-1].is_open):
        yield f"{truth.id} is open in the end, and nobody knows"
    # A forged open state after the end is believed: it opens the incident again.
    is_forged = forged_open.get(truth.id, 0.0) > truth.over - AHEAD_SECONDS
    if truth.over <= LASTS_SECONDS and was_announced and signals[-1].is_open and not is_forged:
        yield f"{truth.id} is over since {truth.over:.0f} s, and nobody knows"


def _false_ends(truth: Truth, signals: Sequence[Signal]) -> Iterator[str]:
    """Check that nobody is told of an open incident that it is over, whatever resolves the attacker forges.

    No outage of BigPanda in these schedules is so long that a resolve is believed without its answer.
    """
    for signal in signals:
        if truth.channel == ATTACKED and truth.is_open(signal.at) and not signal.is_open:
            yield f"people were told at {signal.at:.0f} s that {truth.id} is over, and it is open"


def _late_end(plan: Plan, truth: Truth, signals: Sequence[Signal]) -> Iterator[str]:
    """Check that the end of an incident is announced in time, in a flood of forged resolves, too."""
    # What a reconcile run announced has an entry of its own, which only another run ends.
    if truth.is_lost or truth.is_end_lost or truth.over > LASTS_SECONDS or plan.forgeries:
        return
    by = truth.over + plan.lag + (ENDED_IN_FLOOD_SECONDS if plan.flood else ENDED_SECONDS)
    if any(each.begins < by and truth.over < each.ends + ENDED_IN_FLOOD_SECONDS for each in plan.outages):
        return
    was_open = any(signal.is_open for signal in signals if signal.at < truth.over)
    if was_open and not any(not signal.is_open and truth.over <= signal.at <= by for signal in signals):
        yield f"{truth.id} is over since {truth.over:.0f} s, and nobody was told by {by:.0f} s"


def undecided(posted: Mapping[str, Posted], signals: Sequence[Signal]) -> Iterator[str]:
    """Check that xMatters acts on what the share's sender may decide, and not on further members of its body.

    `posted` has the shares by their correlation ids.
    """
    keys: dict[str, tuple[str, str]] = {}
    for signal in signals:
        share = posted.get(signal.trail)
        if share is None:
            continue
        if (signal.incident, signal.is_open) != (share.incident, share.is_open):
            yield f"a share of {share.incident} acted as one of {signal.incident} at {signal.at:.0f} s"
        if others := signal.recipients - {RECIPIENTS[share.channel], *share.url_recipients}:
            yield f"a body rang {', '.join(sorted(others))} at {signal.at:.0f} s"
        page = (share.channel, share.incident)
        if keys.setdefault(signal.page_key, page) != page:
            yield f"a signal of {share.incident} at {signal.at:.0f} s ends pages of {keys[signal.page_key]}"


# ---- Recipients, pages and BigPanda ----------------------------------------------------------------------------------


def _strangers(plan: Plan, signals: Sequence[Signal]) -> Iterator[str]:
    """Check that a signal rings the channel's recipients, and nobody else but those whom the policy allows."""
    channels = {truth.id: truth.channel for truth in plan.truths}
    for signal in signals:
        channel = channels.get(signal.incident, ATTACKED)
        allowed = {name.lower() for name in ALLOWED_NAMES} if plan.allowed and channel == ATTACKED else set()
        own = RECIPIENTS[channel]
        strangers = [name for name in signal.recipients if name != own and name.lower() not in allowed]
        if strangers or own not in signal.recipients:
            yield f"{signal.incident} rang {', '.join(sorted(signal.recipients))} at {signal.at:.0f} s"


def _of_reconcile(plan: Plan, vendors: Vendors) -> Iterator[str]:
    """Check the requests and the signals of reconcile runs.

    The runs read only one environment, and believe only BigPanda. Their signals have only recipients of the channel, of
    the webhook's URL, or of earlier signals for the same incident.
    """
    yield from (f"BigPanda was asked for {url}" for url in dict.fromkeys(vendors.strange))
    truths = {truth.id: truth for truth in plan.truths}
    for place, signal in enumerate(vendors.signals):
        if not signal.is_of_reconcile:
            continue
        truth = truths.get(signal.incident)
        if truth is None:
            yield f"a reconcile run rang about {signal.incident}, which BigPanda does not have"
            continue
        if truth.is_open(signal.at) and not signal.is_open:
            yield f"a reconcile run let {truth.id} end at {signal.at:.0f} s, and it is open"
        earlier = (each.recipients for each in vendors.signals[:place] if each.incident == signal.incident)
        rung = {RECIPIENTS[truth.channel], *truth.recipients}.union(*earlier)
        if not signal.recipients <= rung:
            yield f"a reconcile run rang {', '.join(sorted(signal.recipients - rung))}, who knew nothing of {truth.id}"


def _ended_pages(plan: Plan, vendors: Vendors) -> Iterator[str]:
    """Check that a page of an open incident ends only if a newer page of it rings the same people."""
    truths = {truth.id: truth for truth in plan.truths}
    for at, place in vendors.page_ends:
        signal = vendors.signals[place]
        newer = (each for each in vendors.signals[place + 1 :] if each.at <= at)
        is_replaced = any(
            each.is_open and each.incident == signal.incident and each.recipients >= signal.recipients for each in newer
        )
        truth = truths.get(signal.incident)
        if truth and truth.is_open(at) and signal.is_open and not is_replaced:
            yield f"the page of {truth.id} from {signal.at:.0f} s ended at {at:.0f} s, and it is open"


def _written(plan: Plan, vendors: Vendors) -> Iterator[str]:
    """Check that forged answers change no incident in BigPanda.

    The relay may write them as comments, on incidents of the attacked channel only. Such a comment says that it is
    unverified.
    """
    yield from (f"BigPanda got a {change}" for change in vendors.changes)
    truths = {truth.id: truth for truth in plan.truths}
    for at, incident, text in vendors.comments:
        truth = truths.get(incident)
        # A share came of it, or a reconcile run found it.
        is_known = truth is not None and truth.channel == ATTACKED and truth.opened <= at
        if plan.holds_webhook_token or not is_known:
            yield f"a comment was written on {incident} at {at:.0f} s"
        if not text.startswith("Unverified"):
            yield f"a forged comment is not doubted: {text}"
