"""Plan of `channel plan` and `channel apply`: the changes that make the stack's channels equal to their files."""

import difflib
import json
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click
from rich.text import Text

from relay.failures.errors import InvalidChannel
from relay.foreign_text import printable
from relayctl import channel_change, settings_file, terminal
from relayctl.channel_change import ChannelChange
from relayctl.channel_store import ChannelStore
from relayctl.credential_input import CredentialInput
from relayctl.secret_document import Change, SecretDocument
from relayctl.settings_file import SettingsFile
from relayctl.stack import Stack

# Advice for settings that may notify nobody, by key.
REMEDIES = {
    "xmatters.recipients": "name them there, or set xmatters.recipients_in to workflow or url",
    "xmatters.trigger_url": "copy it from the trigger, or set xmatters.any_trigger_path to true if it is right",
}
_STYLES = {"+": "green", "-": "red", "~": "yellow"}


class Plan(NamedTuple):
    """Changes of channels, one for each settings file.

    Attributes:
        changes: A change for each file, sorted by channel. It has no changed keys if the channel equals its file.
        not_in_folder: Names of the stack's channels that have no file, sorted.
    """

    changes: tuple[ChannelChange, ...]
    not_in_folder: tuple[str, ...]

    @property
    def pending(self) -> list[ChannelChange]:
        """The changes of the channels that differ from their files."""
        return [each for each in self.changes if each.changes]

    def summary(self) -> str:
        """Return the numbers of new, changed and unchanged channels in words."""
        new = sum(each.is_new for each in self.pending)
        return f"{new} new, {len(self.pending) - new} changed, {len(self.changes) - len(self.pending)} unchanged"

    def document(self) -> dict[str, Any]:
        """Return the plan as a JSON object for programs."""
        channels = [
            {"channel": each.name, "state": state(each), "changes": [change._asdict() for change in each.changes]}
            for each in self.changes
        ]
        return {"channels": channels, "not_in_dir": list(self.not_in_folder)}


def state(change: ChannelChange) -> str:
    """Return the state of a change's channel: `new`, `changed` or `unchanged`."""
    return "new" if change.is_new else "changed" if change.changes else "unchanged"


def make(stack: Stack, store: ChannelStore, folder: Path, names: Collection[str]) -> Plan:
    """Return the plan of a folder, or of the named channels alone. Reads the stack, and changes nothing.

    Raises UsageError with a line for each file that is invalid, and for each named channel without a file.
    """
    files = settings_file.read_folder(folder)
    present = {each.channel for each in files}
    if names:
        if absent := [name for name in names if name not in present]:
            raise click.UsageError("\n".join(f"{folder / name}{settings_file.SUFFIX}: no such file" for name in absent))
        files = [each for each in files if each.channel in names]
    with terminal.status("reading the channels …"):
        changes = _changes(stack, store, files)
        others = () if names else tuple(name for name, _ in store.names() if name not in present)
    return Plan(tuple(changes), others)


def _changes(stack: Stack, store: ChannelStore, files: Iterable[SettingsFile]) -> list[ChannelChange]:
    changes, problems = [], list[str]()
    for file in files:
        source = CredentialInput()
        try:
            kept = store.read(file.channel)
            after = settings_file.resolved(file, SecretDocument(kept.document if kept else None), source)
            changes.append(channel_change.prepare(stack, file.channel, kept, after, REMEDIES))
        except (InvalidChannel, click.UsageError) as error:
            message = error.message if isinstance(error, click.UsageError) else str(error)
            problems += [f"{file.path}: {line}" for line in message.splitlines()]
        source.warn(f"{file.path}: ")
    if problems:
        raise click.UsageError("\n".join(problems))
    return changes


def show(plan: Plan) -> None:
    """Print a block for each channel that differs from its file, then the channels without a file, then the counts."""
    for each in plan.pending:
        count = len(each.changes)
        terminal.show_line(
            f"{each.name}: " + ("new channel" if each.is_new else f"{count} change{'s' if count > 1 else ''}")
        )
        show_changes(each.changes)
    if plan.not_in_folder:
        terminal.show_line(f"not in DIR, and left as they are: {', '.join(plan.not_in_folder)}", indent=2)
    if plan.changes:
        terminal.show_line(plan.summary())


def show_changes(changes: Iterable[Change]) -> None:
    """Print a line for each changed key, and for each item that is added to or removed from a changed list."""
    for each in changes:
        if isinstance(each.old, list) and isinstance(each.new, list):
            _show("~", f"{each.key}:", indent=2)
            for mark, item in _items(each.old, each.new):
                _show(mark, item, indent=6)
        elif each.old is None:
            _show("+", f"{each.key}: {_value(each.new)}", indent=2)
        elif each.new is None:
            _show("-", f"{each.key}: {_value(each.old)}", indent=2)
        else:
            _show("~", str(each), indent=2)


def _show(mark: str, line: str, *, indent: int) -> None:
    lead = Text(f"{' ' * indent}{mark} ", style=_STYLES.get(mark, ""))
    terminal.show_line(printable(line), lead=lead, indent=2)


def _items(old: Sequence[Any], new: Sequence[Any]) -> list[tuple[str, str]]:
    """Return a diff of two lists as pairs of mark and text: `+` added, `-` removed, blank for a run of equal items."""
    before, after = list(map(_value, old)), list(map(_value, new))
    found = list[tuple[str, str]]()
    for kind, start, end, new_start, new_end in difflib.SequenceMatcher(
        None, before, after, autojunk=False
    ).get_opcodes():
        if kind == "equal":
            found.append((" ", f"({end - start} unchanged)"))
            continue
        found += [("-", each) for each in before[start:end]]
        found += [("+", each) for each in after[new_start:new_end]]
    return found


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
