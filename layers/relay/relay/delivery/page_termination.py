"""Termination of pages: when an incident is resolved, and when a newer page replaces an older one.

Only pages of the relay's own signals are terminated. They are found by the signal's request id.
"""

from collections.abc import Iterator
from copy import replace

from relay.channels.channel import Rest
from relay.deadline import Deadline
from relay.ledger.accepted_signal import AcceptedSignal
from relay.ledger.entry import Entry
from relay.xmatters.pages import Pages


def terminate_pages(
    pages: Pages, rest: Rest, entry: Entry, deadline: Deadline, *, replaces: bool
) -> Iterator[AcceptedSignal]:
    """Terminate the pages of past states in xMatters, and yield each signal whose pages are all terminated.

    A signal that a newer page replaces, and that has no page yet, is not yielded: its workflow may still make one, and
    the pages of a resolved incident have to end.
    `pages` is the client for xMatters' pages, and `rest` the channel's credentials for it. `replaces` is the policy's
    setting: a newer page replaces older ones. Raises SendError.
    """
    for signal in signals_to_terminate(entry, replaces=replaces):
        # Searched again: the workflow may have made a page later, or a second one.
        found = pages.of_request(rest, signal.request_id, deadline)
        ids = tuple(dict.fromkeys((*signal.pages, *(page.id for page in found))))
        if not ids and signal.at >= entry.end.at:
            continue
        for page in ids:
            pages.terminate(rest, page, deadline)
        yield replace(signal, pages=ids, is_over=True)


def signals_to_terminate(entry: Entry, *, replaces: bool) -> Iterator[AcceptedSignal]:
    """Yield the signals whose pages must be terminated: the incident was resolved, or a newer page replaces them.

    `replaces` is the policy's setting for the second case.
    """
    for index, signal in enumerate(entry.accepted_signals):
        # The page of a resolve replaces no other page, since the resolve may be forged.
        newer_ones = [
            newer for newer in entry.accepted_signals[index + 1 :] if newer.is_open and _takes_over(newer, signal)
        ]
        is_resolved = signal.is_open and signal.at < entry.end.at
        is_replaced = replaces and bool(newer_ones)
        if (signal.pages or signal.is_page_missing) and not signal.is_over and (is_resolved or is_replaced):
            yield signal


def _takes_over(newer: AcceptedSignal, older: AcceptedSignal) -> bool:
    """True if the newer signal has an active page for all recipients of the older signal.

    A page that is over when it is found may have reached no recipient. A page for other recipients stays.
    """
    return bool(newer.pages) and not newer.is_over and newer.reaches_all_of(older)
