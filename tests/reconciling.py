"""The notes of reconcile runs, as tests look at them and put them back in time."""

from copy import replace

from relay.channels.channel import Access
from relay.ledger.table import Table
from relay.reconcile.notes import (
    ChannelNote,
    GroupNote,
    channel_key,
    group_name,
    place_name,
    read_channel_notes,
)


def access(base_url: str, api_key: str) -> Access:
    """A channel's access to BigPanda, as far as it names notes."""
    return Access(base_url, api_key, (), assign=False, email_domain=None, comments=frozenset())


def group_note(table: Table, known: Access, environment_id: str) -> GroupNote:
    """The note of the channels that list this environment."""
    return GroupNote.read(table, group_name(known, environment_id))


def channel_note(table: Table, known: Access, environment_id: str, channel: str) -> ChannelNote:
    """The note of a channel that lists this environment."""
    return read_channel_notes(table, {channel: channel_key(place_name(known, environment_id), channel)})[channel]


def put_back(table: Table, known: Access, environment_id: str, channel: str, seconds: float) -> None:
    """Let the runs of a channel, and what differed in them, be so many seconds older than they are."""
    note = group_note(table, known, environment_id)
    unannounced = {name: each._replace(since=each.since - seconds) for name, each in note.unannounced.items()}
    older = replace(note, began=note.began - seconds, last=note.last - seconds, unannounced=unannounced)
    assert older.write(table, group_name(known, environment_id))
    mine = channel_note(table, known, environment_id, channel)
    differing = {name: each._replace(since=each.since - seconds) for name, each in mine.differing.items()}
    mine = replace(mine, since=mine.since - seconds, seen=mine.seen - seconds, differing=differing)
    assert mine.write(table, channel_key(place_name(known, environment_id), channel))
