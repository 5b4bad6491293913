"""Notes that reconcile runs keep in the ledger's table: access for tests, and backdating."""

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
    """Return a channel's access to BigPanda with the members that the names of notes depend on."""
    return BigPandaAccess(base_url, api_key, (), assign=False, email_domain=None, comments=frozenset())


def group_note(table: Table, known: BigPandaAccess, environment_id: str) -> GroupNote:
    """Return the note of the group of channels that list this environment."""
    return GroupNote.read(table, group_name(known, environment_id))


def channel_note(table: Table, known: BigPandaAccess, environment_id: str, channel: str) -> ChannelNote:
    """Return the note of a channel that lists this environment."""
    return read_channel_notes(table, {channel: channel_key(listing_name(known, environment_id), channel)})[channel]


def backdate(table: Table, known: BigPandaAccess, environment_id: str, channel: str, seconds: float) -> None:
    """Set the notes of a channel's reconcile runs, and of their differences, back by so many seconds."""
    note = group_note(table, known, environment_id)
    unknown = {name: each._replace(since=each.since - seconds) for name, each in note.unknown.items()}
    older = replace(note, began=note.began - seconds, last=note.last - seconds, unknown=unknown)
    assert older.write(table, group_name(known, environment_id))
    mine = channel_note(table, known, environment_id, channel)
    differing = {name: each._replace(since=each.since - seconds) for name, each in mine.differing.items()}
    mine = replace(mine, since=mine.since - seconds, seen=mine.seen - seconds, differing=differing)
    assert mine.write(table, channel_key(listing_name(known, environment_id), channel))
