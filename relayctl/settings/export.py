"""relayctl channel export: the settings of channels as files."""

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import click

from relay.failures import InvalidChannel
from relayctl import terminal
from relayctl.channel import write_path
from relayctl.channel.credential_input import CredentialInput
from relayctl.channel.secret_document import SecretDocument
from relayctl.channel.store import NO_CHANNELS, ChannelStore
from relayctl.channel_names import CHANNELS
from relayctl.settings import settings_file, settings_schema
from relayctl.settings.settings_file import SCHEMA_FILE, SUFFIX, SettingsFile
from relayctl.stack.deployed import Stack, on_stack


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@CHANNELS
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
    wanted = list(dict.fromkeys(names)) or [name for name, _ in store.names()]
    if not wanted:
        terminal.nothing(NO_CHANNELS)
    if not overwrite and (taken := [path for name in wanted if (path := _path(folder, name)).exists()]):
        raise click.UsageError(f"{taken[0]} exists, and nothing was written; --overwrite replaces it")
    texts, problems = dict[str, str](), dict[str, str]()
    with terminal.status("reading the channels …"):
        for name in wanted:
            try:
                texts[name] = _exported(stack, store, folder, name)
            except (InvalidChannel, click.UsageError) as error:
                problems[name] = error.message if isinstance(error, click.UsageError) else str(error)
    _write(folder, texts)
    for name, problem in problems.items():
        terminal.say(f"channel {name}: not exported: {problem}")
    if as_json:
        files = {name: str(_path(folder, name)) for name in texts}
        click.echo(json.dumps({"files": files, "problems": problems}))
    else:
        for name in texts:
            terminal.show_line(str(_path(folder, name)))
    terminal.fail_if(problems)


def _path(folder: Path, name: str) -> Path:
    return folder / f"{name}{SUFFIX}"


def _exported(stack: Stack, store: ChannelStore, folder: Path, name: str) -> str:
    """Return the text of a channel's settings file.

    Raises InvalidChannel if the secret is not valid, or if `channel plan` would find a change for the new file. Raises
    UsageError.
    """
    kept = store.existing(name)
    stored = SecretDocument(kept.document)
    text = settings_file.exported(name, stored)
    file = SettingsFile(_path(folder, name), settings_file.parse(text.encode()))
    after = settings_file.resolved(file, stored, CredentialInput())
    if changes := write_path.prepare(stack, name, kept, after).changes:
        raise InvalidChannel(f"{changes[0].key}: cannot be in a file")
    return text


def _write(folder: Path, texts: Mapping[str, str]) -> None:
    """Write the files and the schema, each in one step. Raises UsageError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            _replace(_path(folder, name), text)
        _replace(folder / SCHEMA_FILE, settings_schema.text())
    except OSError as error:
        raise click.UsageError(f"{folder}: cannot write: {error.strerror or 'failed'}") from error


def _replace(path: Path, text: str) -> None:
    """Write a file in one step, with mode 0600, in place of a file or a link of that name."""
    # A new file of an unknown name: nobody can have planted a link there.
    number, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(number, "w", encoding="utf-8") as file:
            file.write(text)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
