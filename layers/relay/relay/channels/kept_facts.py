"""Facts of an incident that its ledger entry keeps from the last share, for routes and pauses. Pure code.

BigPanda's API names environments by id only, and lists incidents without their alerts' tags. So a share that is read
from the API gets these facts in a member of its body.
"""

from collections.abc import Iterable, Iterator, Mapping
from copy import replace
from typing import TYPE_CHECKING

from relay.incidents.details import KEPT_FACTS, environments_of
from relay.incidents.share import Share

if TYPE_CHECKING:
    from relay.channels.channel import Channel

# Limits on what an entry keeps. A value that is too long is left out, since a cut one could fit another pattern.
MAX_CHARACTERS, MAX_VALUE = 1000, 200
_ENVIRONMENT = "environment"
# The API has them for each state, and they change with it.
_OF_THE_STATE = frozenset({"status", "severity"})

# Values in lower case, by fact, such as `environment` or `tag.team`.
type Facts = Mapping[str, tuple[str, ...]]


def facts_to_keep(channel: "Channel", share: Share) -> Facts:
    """Return the facts of a webhook's share for its ledger entry: environments, and facts that routes and pauses name.

    Without status and severity, which BigPanda's API has, and with MAX_CHARACTERS in all. Empty for a channel without
    access to that API: only its answers lack facts.
    """
    if channel.bigpanda is None:
        return {}
    left, kept = MAX_CHARACTERS, dict[str, tuple[str, ...]]()
    policy = channel.policy
    conditions = [*(route.when for route in policy.routes), *(pause.when for pause in policy.pauses)]
    asked = {fact for when in conditions for fact, _ in when} - {_ENVIRONMENT, *_OF_THE_STATE}
    for fact in (_ENVIRONMENT, *sorted(asked)):
        values = tuple(_within(left - len(fact), _values(fact, share)))
        if values:
            kept[fact] = values
            left -= len(fact) + sum(map(len, values))
    return kept


def with_facts(share: Share, facts: Facts) -> Share:
    """Return a share from BigPanda's API with `facts`, which the incident's ledger entry has."""
    metadata = share.document.get("metadata")
    if not facts or not isinstance(metadata, Mapping):
        return share
    kept = {fact: list(values) for fact, values in facts.items()}
    return replace(share, document={**share.document, "metadata": {**metadata, KEPT_FACTS: kept}})


def _values(fact: str, share: Share) -> Iterable[str]:
    if fact == _ENVIRONMENT:
        return (each.lower() for each in environments_of(share))
    # Imported here, since most channels have no routes: this keeps the import out of their cold starts.
    from relay.channels.routes import values_of  # noqa: PLC0415

    return values_of(fact, share, is_open=True)


def _within(characters: int, values: Iterable[str]) -> Iterator[str]:
    """Yield the values that are no longer than MAX_VALUE, and than what earlier ones left of `characters`."""
    for value in values:
        if len(value) <= min(characters, MAX_VALUE):
            characters -= len(value)
            yield value
