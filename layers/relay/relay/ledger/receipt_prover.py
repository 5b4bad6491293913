"""Questions to xMatters if people were notified of a critical, and if they answered. Each is asked once."""

from collections.abc import Callable, Sequence
from copy import replace
from dataclasses import dataclass

from relay.channels.channel import Channel, Rest
from relay.deadline import Deadline
from relay.failures import SendError
from relay.ledger.entry import Entry
from relay.ledger.receipt import Heard
from relay.ledger.table import Ledger


@dataclass(frozen=True)
class ReceiptProver:
    """Asks xMatters about the pages of a critical, and records the answer in its receipt.

    Attributes:
        heard_of: Returns whom xMatters notified with some pages, and who answered. Raises SendError.
        ledger: The entries of incidents.
        clock: The time in epoch seconds.
    """

    heard_of: Callable[[Rest, Sequence[str], Deadline], Heard]
    ledger: Ledger
    clock: Callable[[], float]

    def ask(
        self, name: str, entry: Entry, channel: Channel, pages: Sequence[str], deadline: Deadline, *, is_early: bool
    ) -> Entry:
        """Ask xMatters about these pages, unless another function does, and return the entry with the answer.

        `name` is the entry's key. `is_early` is True if a callback is the occasion, and not the time. The question is
        noted first: a surge of questions could take xMatters down. Raises SendError, and LedgerError.
        """
        is_mine, before = False, entry.receipt.questions

        def note(each: Entry) -> Entry:
            nonlocal is_mine
            asking = each.receipt.asking(channel.policy, is_early=is_early)
            is_mine = asking != each.receipt
            return replace(each, receipt=asking)

        noted = self.ledger.change(name, note, entry)
        if channel.rest is None or not is_mine:
            return noted
        try:
            heard = self.heard_of(channel.rest, pages, deadline)
        except SendError:
            # It may be asked again.
            self.ledger.change(name, lambda each: replace(each, receipt=replace(each.receipt, questions=before)), noted)
            raise
        return self.ledger.change(name, lambda each: each.heard(heard, channel, self.clock()), noted)
