"""relayctl channel plan, apply and export: channels and their settings files, and the JSON Schema of these files."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from relay.channels.schema import AUTH, CHANNEL
from relayctl import terminal
from relayctl.channel import write_path
from relayctl.channel.secret_document import holds_credential
from relayctl.channel.store import NO_CHANNELS, ChannelStore, checked_name
from relayctl.channel.write_path import ChannelChange, Done
from relayctl.settings import settings_file
from relayctl.settings.settings_file import ENV_PATTERN, OPERATED_KEYS, SCHEMA_FILE, STORED, SUFFIX
from relayctl.stack.deployed import Stack, on_stack
from relayctl.terminal import counted


def document(changes: Iterable[ChannelChange], others: Iterable[str]) -> dict[str, Any]:
    """Return a plan as a JSON object: the change of each file's channel, and the channels without a file."""
    channels = [{"channel": each.name, "state": state(each), "changes": each.changes} for each in changes]
    return {"channels": channels, "not_in_dir": list(others)}


def state(change: ChannelChange) -> str:
    return "new" if change.is_new else "changed" if change.changes else "unchanged"


def _plan(store: ChannelStore, folder: Path, *, as_json: bool) -> tuple[list[ChannelChange], list[str]]:
    """Return a change for each file, and the channels without a file; print them as text.

    Raises UsageError with a line for each file that is invalid.
    """
    files = settings_file.read_folder(folder)

    def change(path: Path) -> ChannelChange:
        before = store.read(path.stem)
        return write_path.prepare(store, path.stem, before, settings_file.resolved(path.stem, files[path], before))

    with terminal.status("reading the channels …"):
        changes = settings_file.of_each(files, change)
        others = [name for name in store.names() if name not in {each.name for each in changes}]
    if as_json and not changes:
        terminal.document(document(changes, others))
    # A block for each channel that differs from its file, then the channels without a file, then the counts.
    for each in () if as_json else changes:
        if each.changes:
            terminal.show_line(f"{each.name}: {'new channel' if each.is_new else counted(len(each.changes), 'change')}")
            write_path.show_changes(each.changes)
    if others and not as_json:
        terminal.show_line(f"not in DIR, and left as they are: {', '.join(others)}", indent=2)
    if changes and not as_json:
        counts = Counter(map(state, changes))
        terminal.show_line(", ".join(f"{counts[each]} {each}" for each in ("new", "changed", "unchanged")))
    if not changes:
        terminal.nothing(f"no file in {folder}: relayctl channel export {folder} writes them")
    return changes, others


# Exit code of `channel plan` if channels differ from their files. 2 is a usage error of every verb.
PENDING = 4

DIR = click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))


@click.command()
@DIR
@on_stack
def plan(stack: Stack, folder: Path, as_json: bool) -> None:
    """Show how the channels differ from their settings files. Changes nothing.

    DIR has a file for each channel, such as payments.yaml; relayctl channel export writes them. A file holds no
    credential: it has a reference, such as {secret: stored}, to the value in the channel's secret. The plan shows each
    credential as ***. It also lists the channels of the stack that have no file.

    \b
    Example:
      relayctl channel plan channels
      relayctl channel plan channels --json
    """
    changes, others = _plan(ChannelStore(stack), folder, as_json=as_json)
    if as_json:
        terminal.document(document(changes, others))
    if any(each.changes for each in changes):
        click.get_current_context().exit(PENDING)


@click.command()
@DIR
@click.option("--yes", is_flag=True, help="Do not ask.")
@on_stack
def apply(stack: Stack, folder: Path, yes: bool, as_json: bool) -> None:
    """Change the channels that differ from their settings files, after showing the plan.

    Each channel is written as channel set does, and only if nobody changed it after the plan was made. The first
    failure ends the run; a second run does what is left. A channel has its old settings or its new ones, never a part.
    No channel is removed.

    A new token is not printed: relayctl channel set NAME --reveal prints it.

    \b
    Example:
      relayctl channel apply channels
      relayctl channel apply channels --yes
    """
    changes, others = _plan(ChannelStore(stack), folder, as_json=as_json)
    pending = [each for each in changes if each.changes]
    if pending:
        terminal.confirm(f"Apply to {counted(len(pending), 'channel')}?", yes=yes, as_json=as_json)
    done = dict[str, Done]()
    try:
        for each in pending:
            done[each.name] = write_path.put(each)
            write_path.say_fresh(each.name, done[each.name])
    finally:
        if as_json:
            found = document(changes, others)
            for each in found["channels"]:
                if stored := done.get(each["channel"]):
                    each.update(stored=True, verified=stored.is_verified)
            terminal.document(found)
        else:
            terminal.show_line(f"{len(done)} of {len(pending)} applied")
    terminal.fail_if(not all(each.is_verified for each in done.values()))


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option("--channel", "names", type=checked_name, metavar="NAME", multiple=True, help="Only this one; repeatable.")
@click.option("--overwrite", is_flag=True, help="Replace files that are there, with their comments and references.")
@on_stack
def export(stack: Stack, folder: Path, names: tuple[str, ...], overwrite: bool, as_json: bool) -> None:
    """Write the settings of every channel into DIR, a YAML file for each, without credentials.

    relayctl channel plan shows no change right after. A JSON Schema for editors, channel.schema.json, is written
    beside the files.

    \b
    Example:
      relayctl channel export channels
      relayctl channel export channels --channel payments --overwrite
    """
    store = ChannelStore(stack)
    wanted = names or tuple(store.names())
    if not wanted:
        terminal.nothing(NO_CHANNELS)
    with terminal.status("reading the channels …"):
        texts = {f"{name}{SUFFIX}": settings_file.exported(name, store.existing(name)) for name in wanted}
    if not overwrite and (taken := [folder / name for name in texts if (folder / name).exists()]):
        raise click.UsageError(f"{taken[0]} exists, and nothing was written; --overwrite replaces it")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in (texts | {SCHEMA_FILE: schema_text()}).items():
            # A link that somebody planted there must not be followed.
            (folder / name).unlink(missing_ok=True)
            with terminal.private_file(folder / name) as file:
                file.write(text)
    except OSError as error:
        raise click.UsageError(f"{folder}: cannot write: {error.strerror or 'failed'}") from error
    if as_json:
        terminal.document({"files": [str(folder / name) for name in texts]})
    for name in () if as_json else texts:
        click.echo(folder / name)


_REFERENCE = {
    "type": "object",
    "description": "A credential: the value that the channel's secret has under the same key. env names the first "
    "value, for a channel whose secret has none yet.",
    "required": ["secret"],
    "additionalProperties": False,
    "properties": {
        "secret": {"const": STORED},
        "env": {
            "type": "string",
            "pattern": ENV_PATTERN,
            "description": "The environment variable with the value.",
        },
    },
}
_TO_REFERENCE = {"$ref": "#/definitions/reference"}


def schema_text() -> str:
    """Return the schema of settings files, made from that of a secret, in draft 7, which editors support best."""
    made = _converted(CHANNEL, "")
    # An endpoint that the file leaves out keeps its credentials, or gets a token.
    made["required"] = [key for key in made["required"] if key != "inbound"]
    whole = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Settings of a channel of the BigPanda to xMatters relay",
        **made,
        "definitions": {"reference": _REFERENCE},
    }
    # The end of a text is \\Z in Python alone.
    return json.dumps(whole, indent=2).replace(r'\\Z"', '$"') + "\n"


def _converted(node: Mapping[str, Any], key: str) -> dict[str, Any]:
    if key.endswith(".auth"):
        return {"oneOf": [_object(AUTH[kind], key, {"type": {"const": kind}}) for kind in AUTH]}
    if holds_credential(key):
        is_url = "http" in str(node.get("pattern", ""))
        return {"anyOf": [_TO_REFERENCE, dict(node)]} if is_url else _TO_REFERENCE
    return _object(node, key, {}) if "properties" in node else dict(node)


def _object(node: Mapping[str, Any], key: str, more: dict[str, Any]) -> dict[str, Any]:
    places = {name: f"{key}.{name}".lstrip(".") for name in node["properties"]}
    members: dict[str, Any] = {
        name: _converted(node["properties"][name], place)
        for name, place in places.items()
        if place not in OPERATED_KEYS
    }
    return {**node, "properties": members | more}
