"""Access of tests to the histories of listings: table items with the times and differences of past reconcile runs."""

import time

from relay.channels.channel import BigPandaAccess
from relay.ledger.table import Table
from relay.reconcile.history import Difference, History, listing_name
from relay.reconcile.ownership import Learnt


def access(base_url: str, api_key: str) -> BigPandaAccess:
    """Return the settings for a channel's access to BigPanda. The name of a listing depends on them."""
    return BigPandaAccess(base_url, api_key, (), assign=False, email_domain=None, comments=frozenset())


def learn(table: Table, channel: str) -> None:
    """Let the relay know that the sandbox's webhook is the channel's, as if a share had come by it."""
    Learnt(("webhook.sandbox",), time.time()).store(table, channel)


def backdate(table: Table, known: BigPandaAccess, environment_id: str, seconds: float) -> None:
    """Move all times in the history of a listing back by `seconds`, also those since which differences are known."""
    name = listing_name(known, environment_id)
    history = History.read(table, name)
    assert history.channels
    history.unknown = _older(history.unknown, seconds)
    for each in history.channels.values():
        each.since, each.seen, each.differing = (
            each.since - seconds,
            each.seen - seconds,
            _older(each.differing, seconds),
        )
    history.write(table, name)


def _older(differences: dict[str, Difference], seconds: float) -> dict[str, Difference]:
    return {name: each._replace(since=each.since - seconds) for name, each in differences.items()}
