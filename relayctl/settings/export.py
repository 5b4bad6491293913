"""relayctl channel export: the settings of channels as files, and the JSON Schema of these files for editors."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from relay.channels.schema import AUTH, CHANNEL
from relay.failures import InvalidChannel
from relayctl import terminal
from relayctl.channel import write_path
from relayctl.channel.secret_document import holds_credential
from relayctl.channel.store import CHANNELS, NO_CHANNELS, ChannelStore
from relayctl.settings import settings_file
from relayctl.settings.settings_file import ENV_PATTERN, OPERATED_KEYS, SCHEMA_FILE, STORED, SUFFIX, SettingsFile
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
    wanted = list(dict.fromkeys(names)) or list(store.names())
    if not wanted:
        terminal.nothing(NO_CHANNELS)
    if not overwrite and (taken := [path for name in wanted if (path := _path(folder, name)).exists()]):
        raise click.UsageError(f"{taken[0]} exists, and nothing was written; --overwrite replaces it")
    texts, problems = dict[str, str](), dict[str, str]()
    with terminal.status("reading the channels …"):
        for name in wanted:
            try:
                texts[name] = _exported(store, folder, name)
            except (InvalidChannel, click.UsageError) as error:
                problems[name] = str(error)
    _write(folder, texts)
    for name, problem in problems.items():
        terminal.say(f"channel {name}: not exported: {problem}")
    if as_json:
        files = {name: str(_path(folder, name)) for name in texts}
        terminal.document({"files": files, "problems": problems})
    else:
        for name in texts:
            terminal.show_line(str(_path(folder, name)))
    terminal.fail_if(problems)


def _path(folder: Path, name: str) -> Path:
    return folder / f"{name}{SUFFIX}"


def _exported(store: ChannelStore, folder: Path, name: str) -> str:
    """Return the text of a settings file. Raises InvalidChannel if `channel plan` would find a change."""
    stored = store.existing(name)
    text = settings_file.exported(name, stored)
    file = SettingsFile(_path(folder, name), settings_file.parse(text.encode()))
    after = settings_file.resolved(file, stored)
    if changes := write_path.prepare(store, name, stored, after).changes:
        raise InvalidChannel(f"{changes[0].key}: cannot be in a file")
    return text


def _write(folder: Path, texts: Mapping[str, str]) -> None:
    files = {f"{name}{SUFFIX}": text for name, text in texts.items()} | {SCHEMA_FILE: schema_text()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            # A link that somebody planted there must not be followed.
            (folder / name).unlink(missing_ok=True)
            with terminal.private_file(folder / name) as file:
                file.write(text)
    except OSError as error:
        raise click.UsageError(f"{folder}: cannot write: {error.strerror or 'failed'}") from error


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
