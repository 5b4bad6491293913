"""Access of tests to the notes of reconcile runs: table items with the times and differences of past runs."""

from copy import replace

from relay.channels.channel import BigPandaAccess
from relay.ledger.table import Table
from relay.reconcile.notes import (
    ChannelNote,
    GroupNote,
    channel_key,
    group_name,
    listing_name,
    read_channel_notes,
)


def access(base_url: str, api_key: str) -> BigPandaAccess:
    """Return the settings for a channel's access to BigPanda. The table keys of its reconcile notes depend on them."""
    return BigPandaAccess(base_url, api_key, (), assign=False, email_domain=None, comments=frozenset())


def group_note(table: Table, known: BigPandaAccess, environment_id: str) -> GroupNote:
    """Return the table item with the reconcile notes of the channels that list this environment together."""
    return GroupNote.read(table, group_name(known, environment_id))


def channel_note(table: Table, known: BigPandaAccess, environment_id: str, channel: str) -> ChannelNote:
    """Return the table item with the reconcile notes of one channel that lists this environment."""
    return read_channel_notes(table, {channel: channel_key(listing_name(known, environment_id), channel)})[channel]


def backdate(table: Table, known: BigPandaAccess, environment_id: str, channel: str, seconds: float) -> None:
    """Move all times in the reconcile notes of a channel and its group back by `seconds`.

    This includes the times since which differences are known.
    """
    note = group_note(table, known, environment_id)
    unknown = {name: each._replace(since=each.since - seconds) for name, each in note.unknown.items()}
    older = replace(note, began=note.began - seconds, last=note.last - seconds, unknown=unknown)
    assert older.write(table, group_name(known, environment_id))
    mine = channel_note(table, known, environment_id, channel)
    differing = {name: each._replace(since=each.since - seconds) for name, each in mine.differing.items()}
    mine = replace(mine, since=mine.since - seconds, seen=mine.seen - seconds, differing=differing)
    assert mine.write(table, channel_key(listing_name(known, environment_id), channel))
