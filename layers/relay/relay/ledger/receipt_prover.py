"""Questions to the vendors about a critical: were people notified, and did they answer?"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from copy import replace
from dataclasses import dataclass
from functools import partial

from relay.channels.channel import BigPandaAccess, Channel, Rest
from relay.deadline import Clock, Deadline
from relay.failures import Reason, SendError
from relay.ledger.entry import Entry, incident_id_of
from relay.ledger.receipt import Answer, Heard, Receipt
from relay.ledger.table import Ledger


@dataclass(frozen=True)
class ReceiptProver:
    """Asks the vendors who heard of a critical, and records the answer in its receipt.

    Attributes:
        heard_of: Returns xMatters' answer about a page. Raises SendError.
        answered_in_bigpanda: Returns the first answer to an incident in BigPanda since a time; None if there is none.
            Raises SendError, and LedgerError.
    """

    heard_of: Callable[[Rest, str, Deadline], Heard]
    answered_in_bigpanda: Callable[[BigPandaAccess, str, float], Answer | None]
    ledger: Ledger
    clock: Clock

    def ask(
        self, name: str, entry: Entry, channel: Channel, pages: Sequence[str], deadline: Deadline, *, is_early: bool
    ) -> Entry:
        """Ask the vendors about a critical, and return the entry with their answers. Raises SendError, and LedgerError.

        `name` is the entry's key, and `pages` has the ids of the pages about which xMatters is asked. BigPanda is
        asked, too, if the policy awaits an answer and xMatters knows of none, but not if a callback about a delivery
        caused the question (`is_early`). Nothing is asked if no question is left, or if another function asked
        meanwhile.
        """
        is_mine, before, failure = False, entry.receipt.questions, None

        def note(each: Entry) -> Entry:
            nonlocal is_mine
            # Another function may have asked since this one read the entry. A later step has a question of its own.
            is_asked = each.receipt.questions > before or each.receipt.since != entry.receipt.since
            asking = each.receipt if is_asked else each.receipt.asking(channel.policy, is_early=is_early)
            is_mine = asking != each.receipt
            return replace(each, receipt=asking)

        noted = self.ledger.change(name, note, entry)
        if not is_mine:
            return noted
        asked = noted
        if channel.rest:
            noted, failure = self._heard(name, asked, channel, channel.rest, pages, deadline)
        if channel.bigpanda and channel.asks_about_answers and not is_early and noted.receipt.is_open:
            noted = self._answered_in_bigpanda(name, noted, channel.bigpanda)
        if failure and noted.receipt.is_open:
            # It may be asked again.
            self.ledger.change(name, _of_same_critical(asked, lambda each: replace(each, questions=before)), noted)
            raise failure
        return noted

    def _heard(
        self, name: str, asked: Entry, channel: Channel, rest: Rest, pages: Sequence[str], deadline: Deadline
    ) -> tuple[Entry, SendError | None]:
        """Ask xMatters about each page. Return the entry with the answers, and the first failure, if there is one."""
        entry, failure = asked, None
        for page in pages:
            try:
                heard, now = self.heard_of(rest, page, deadline), self.clock()
            except SendError as error:
                failure = failure or error
                # A further page would fail as well.
                if error.reason not in {Reason.UPSTREAM, Reason.REFUSED}:
                    break
                continue
            hear = partial(Receipt.heard, heard=heard, policy=channel.policy, responses=channel.responses, now=now)
            # Of `asked`: a newer critical may have rung meanwhile.
            entry = self.ledger.change(name, _of_same_critical(asked, hear), entry)
            if entry.receipt.since != asked.receipt.since or not entry.receipt.is_open:
                break
        return entry, failure

    def _answered_in_bigpanda(self, name: str, entry: Entry, access: BigPandaAccess) -> Entry:
        answer = None
        # Without BigPanda the fallback topic is notified: a false alarm, not a silence.
        with suppress(SendError):
            answer = self.answered_in_bigpanda(access, incident_id_of(name), entry.receipt.since)
        if answer is None:
            return entry
        return self.ledger.change(name, _of_same_critical(entry, lambda each: each.answered(*answer)), entry)


def _of_same_critical(asked: Entry, change: Callable[[Receipt], Receipt]) -> Callable[[Entry], Entry]:
    """Return a function that changes an entry's receipt, unless the receipt of `asked` was replaced by a newer one."""

    def changed(entry: Entry) -> Entry:
        is_same = entry.receipt.since == asked.receipt.since
        return replace(entry, receipt=change(entry.receipt)) if is_same else entry

    return changed
