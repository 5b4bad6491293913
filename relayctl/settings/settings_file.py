"""relayctl channel plan, apply and export: settings of channels as YAML files, and the JSON Schema of these files.

A file has the keys of the channel's secret, and references in the place of its credentials. PyYAML's safe loader and
dumper read and write it, without aliases and doubled keys.
"""

import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import click
import yaml

from relay.channels.channel import Channel, is_channel_name
from relay.channels.parsing import check_secret, parse_channel, schema_faults
from relay.channels.schema import AUTH, CHANNEL
from relay.failures import InvalidChannel
from relayctl import terminal
from relayctl.channel import write_path
from relayctl.channel.credential_input import MAX_BYTES, judged
from relayctl.channel.endpoints import ENDPOINTS, add_missing_tokens, needs_endpoint, new_token
from relayctl.channel.pauses import KEY as PAUSES_KEY
from relayctl.channel.secret_document import (
    ANY_HOSTS,
    URLS,
    SecretDocument,
    holds_credential,
    is_credential,
    leaves,
    unknown_key,
)
from relayctl.channel.store import NO_CHANNELS, ChannelStore, checked_name
from relayctl.channel.write_path import ChannelChange
from relayctl.stack.deployed import Stack, on_stack
from relayctl.terminal import counted

_TEXT = "tag:yaml.org,2002:str"
# Line breaks of YAML 1.1 alone, or lost in a block of lines.
_ESCAPED = re.compile(r"[\r\x85\u2028\u2029\ufeff]")


class Flow(dict[str, Any]):
    """A JSON object that `encode` writes on one line, such as `{secret: stored}`."""


def decode(content: bytes) -> Any:
    """Decode a settings file. Raises InvalidChannel, with line and column, which quotes no value."""
    try:
        # A subclass of SafeLoader: it makes no objects of Python.
        return yaml.load(content.decode("utf-8-sig"), _Loader)  # nosec B506  # noqa: S506 - see the line above
    except UnicodeDecodeError:
        raise InvalidChannel("is not UTF-8 text") from None
    except yaml.MarkedYAMLError as error:
        raise InvalidChannel(_yaml_complaint(error)) from None
    except (yaml.YAMLError, RecursionError, ValueError):
        # ValueError: an escape of a character that does not exist, or an integer of thousands of digits.
        raise InvalidChannel("is not YAML: it has a character, a number or a depth that no settings need") from None


def encode(document: Any) -> str:
    """Return the document as YAML that `decode` reads back unchanged."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100, default_flow_style=False)


def _yaml_complaint(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
    # Cut: the rest may quote a value of the file. Before ", but" PyYAML quotes only what it expected.
    problem = (error.problem or "").partition(", but")[0]
    problem = problem if problem.startswith("expected") else re.split("['\"`]", problem, maxsplit=1)[0].strip()
    return f"is not YAML: {problem or 'unexpected text'}{place}"


class _Loader(yaml.SafeLoader):
    """YAML loader of settings files. It refuses aliases, doubled keys, and keys that are not text."""

    # PyYAML's registry, to which other packages, such as AWS's own, add tags for every loader.
    yaml_multi_constructors: ClassVar[dict[str | None, Any]] = {}

    def compose_node(self, parent: Any, index: Any) -> Any:
        events: Any = self
        if events.check_event(yaml.AliasEvent):
            mark = events.peek_event().start_mark
            raise yaml.MarkedYAMLError(problem="aliases are not read; write the value again", problem_mark=mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set[str]()
        for key, _ in node.value:
            if key.tag != _TEXT:
                raise yaml.MarkedYAMLError(problem="a key is not text; put it in quotes", problem_mark=key.start_mark)
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem="a key stands there twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """YAML writer of settings files. It quotes text that PyYAML would read as another type."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML's interface
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar(_TEXT, value, '"' if _ESCAPED.search(value) else "|" if "\n" in value else None)


def _flow(dumper: yaml.SafeDumper, value: Flow) -> yaml.MappingNode:
    return dumper.represent_mapping("tag:yaml.org,2002:map", value.items(), flow_style=True)


_Dumper.add_representer(Flow, _flow)
_Dumper.add_representer(str, _text)


SUFFIX = ".yaml"
# The schema that an export writes beside the files.
SCHEMA_FILE = "channel.schema.json"
STORED = "stored"
# Not AWS's own: a settings file must not lead the operator's key to a vendor.
ENV_PATTERN = r"^(?!AWS_)[A-Za-z_][A-Za-z0-9_]*\Z"
# Members that come and go with verbs of relayctl, and are no settings: `previous` credentials, and pauses.
OPERATED_KEYS = frozenset({PAUSES_KEY, *(f"{endpoint}.previous" for endpoint in ENDPOINTS)})
_FORMS = "{secret: stored} or {secret: stored, env: NAME}"
# Stand-ins for credentials while a file is checked without the stack. They are stored nowhere.
_STAND_IN = "not-in-the-file"
_STAND_IN_URL = "https://not-in-the-file.example"


def of_each[T](paths: Iterable[Path], read: Callable[[Path], T]) -> list[T]:
    """Return the result of `read` for each settings file. Raises UsageError with a line for each fault of each file."""
    found, problems = list[T](), list[str]()
    for path in paths:
        try:
            found.append(read(path))
        except (InvalidChannel, click.UsageError) as error:
            problems += [f"{path}: {line}" for line in str(error).splitlines()]
    if problems:
        raise click.UsageError("\n".join(problems))
    return found


def read_folder(folder: Path) -> dict[Path, dict[str, Any]]:
    """Return the settings in each YAML file of a folder, by path. Raises UsageError that names all wrong files."""
    named = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in {SUFFIX, ".yml"} and path.is_file()]
    paths = [path for path in named if not path.name.startswith(".")]
    return dict(zip(paths, of_each(paths, _read), strict=True))


def _read(path: Path) -> dict[str, Any]:
    if path.suffix != SUFFIX:
        raise InvalidChannel(f"rename it to {path.stem}{SUFFIX}")
    if not is_channel_name(path.stem):
        raise InvalidChannel(
            "is not named after a channel: use 1 to 48 of a-z, 0-9, - and _, beginning with a letter or digit"
        )
    if not path.resolve().is_relative_to(path.parent.resolve()):
        raise InvalidChannel("is a link that leads out of the folder")
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InvalidChannel(f"cannot read it: {error.strerror or 'unreadable'}") from None
    if len(content) > MAX_BYTES:
        raise InvalidChannel(f"has more than {MAX_BYTES:,} bytes, which no secret can hold")
    return parse(content)


def parse(content: bytes) -> dict[str, Any]:
    """Return the settings of a file, with a reference such as `{secret: stored}` in the place of each credential.

    All that needs no stack is checked. Raises InvalidChannel with a line for each fault; no line quotes a value.
    """
    document = decode(content)
    if not isinstance(document, dict):
        raise InvalidChannel("must be an object with the keys of a channel" if document else "has no settings")
    settings = SecretDocument(document)
    faults = [f"{key}: is no setting; leave it out" for key in sorted(OPERATED_KEYS) if settings.unset(key)]
    _mapped(settings.members, "", lambda value, key: faults.extend(_complaints(value, key)))
    secret = _stood_in_secret(settings.members)
    hints = {each.partition(";")[0]: each for key, _ in leaves(secret, "") if (each := unknown_key(key))}
    found = (each.removeprefix("the secret: ") for each in schema_faults(secret))
    faults += (hints.get(each, each) for each in found)
    if not faults:
        try:
            check_secret(secret, ANY_HOSTS)
        except InvalidChannel as error:
            faults.append(str(error).removeprefix("the secret: "))
    if faults:
        raise InvalidChannel("\n".join(faults))
    return document


def channel_without_credentials(path: Path) -> Channel:
    """Return the channel of a settings file with stand-ins for credentials: it can reach nobody. Raises UsageError."""
    [members] = of_each([path], _read)
    return channel_of(path.stem, members)


def settings_of(policy: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a channel with this policy, in which each credential is a reference."""
    trigger_url = Flow(secret=STORED, env="XMATTERS_TRIGGER_URL")
    return {"xmatters": {"trigger_url": trigger_url, "auth": Flow(type="url")}, "policy": policy}


def channel_of(name: str, members: Mapping[str, Any]) -> Channel:
    """Return a channel with these settings and stand-ins for its credentials."""
    return parse_channel(name, json.dumps(_stood_in_secret(members)), ANY_HOSTS)


def _stood_in_secret(members: Any) -> dict[str, Any]:
    def stand_in(_: Any, key: str) -> str:
        return _STAND_IN_URL if key in URLS else f"{_STAND_IN}-{key}"

    secret: dict[str, Any] = {"inbound": {"token": _STAND_IN}} | _mapped(members, "", stand_in)
    return secret


def _complaints(value: Any, key: str) -> Iterator[str]:
    match value:
        case {"secret": str(stored), **source} if stored == STORED and source.keys() <= {"env"}:
            name = source.get("env", STORED)
            if not isinstance(name, str) or not re.match(ENV_PATTERN, name):
                yield f"{key}.env: must be the name of an environment variable, and none of AWS's"
        case _:
            what = "its path or query may be a credential, which" if key in URLS else "a credential"
            yield f"{key}: {what} must not stand in a file; write {_FORMS}"


def _mapped(value: Any, key: str, change: Callable[[Any, str], Any]) -> Any:
    # A text that is no credential is a plain URL; another value stands for a credential, or must.
    if holds_credential(key) and (not isinstance(value, str) or is_credential(key, value)):
        return change(value, key)
    if isinstance(value, dict):
        return {name: _mapped(member, f"{key}.{name}".lstrip("."), change) for name, member in value.items()}
    return value


def resolved(name: str, members: Mapping[str, Any], stored: SecretDocument) -> SecretDocument:
    """Return the new secret for the settings of a file, with a credential in place of each reference to one.

    That is the `stored` one, or else the value of the environment variable that the reference names, or a new token.
    The secret keeps its pauses, and the credentials that its endpoints need. Raises InvalidChannel and UsageError.
    """

    def filled_in(reference: Any, key: str) -> Any:
        kept = stored.get(key)
        return _first(name, reference, key) if kept is None else kept

    after = SecretDocument(_mapped(members, "", filled_in))
    for key in ENDPOINTS:
        kept, previous = stored.get(key), stored.get(f"{key}.previous")
        if after.has(key):
            if previous is not None:
                after.set(f"{key}.previous", previous)
        elif isinstance(kept, dict) and needs_endpoint(after, key):
            after.set(key, kept)
    if pauses := stored.get(PAUSES_KEY):
        after.set(PAUSES_KEY, pauses)
    add_missing_tokens(after, name)
    return after


def _first(name: str, reference: Mapping[str, str], key: str) -> str:
    if variable := reference.get("env"):
        value, what = os.environ.get(variable), f"the environment variable {variable}"
        if value is None:
            raise InvalidChannel(f"{key}: the channel has no value yet, and {what} is not set")
        return judged(key, key, value, what)
    endpoint, _, member = key.rpartition(".")
    if endpoint in ENDPOINTS and member == "token":
        return new_token(name, endpoint)
    raise InvalidChannel(f"{key}: the channel has no value yet; name the first one: {{secret: stored, env: NAME}}")


def exported(name: str, document: SecretDocument) -> str:
    """Return the text of a channel's settings file, with a reference for each credential.

    Raises InvalidChannel for a fault, such as an unknown key: its value may be a credential, and is not to be shown.
    """
    for fault in schema_faults(document.members):
        raise InvalidChannel(f"channel {name}: {fault}; nothing was exported")
    head = (
        f"# yaml-language-server: $schema={SCHEMA_FILE}\n"
        f"# Settings of channel {name}. {{secret: stored}}: the value stays in Secrets Manager.\n"
    )
    settings = SecretDocument(document.members)
    for key in OPERATED_KEYS:
        settings.unset(key)
    return head + encode(_mapped(settings.members, "", lambda *_: Flow(secret=STORED)))


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
    files = read_folder(folder)

    def change(path: Path) -> ChannelChange:
        before = store.read(path.stem)
        return write_path.prepare(store, path.stem, before, resolved(path.stem, files[path], before))

    changes = of_each(files, change)
    others = [name for name in store.names() if name not in {each.name for each in changes}]
    if not changes:
        terminal.nothing(f"no file in {folder}: relayctl channel export {folder} writes them")
    # A block for each channel that differs from its file, then the channels without a file, then the counts.
    for each in () if as_json else changes:
        if each.changes:
            terminal.show_line(f"{each.name}: {'new channel' if each.is_new else counted(len(each.changes), 'change')}")
            write_path.show_changes(each.changes)
    if not as_json:
        if others:
            terminal.show_line(f"not in DIR, and left as they are: {', '.join(others)}", indent=2)
        counts = Counter(map(state, changes))
        terminal.show_line(", ".join(f"{counts[each]} {each}" for each in ("new", "changed", "unchanged")))
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
      relayctl channel apply channels --yes
    """
    changes, others = _plan(ChannelStore(stack), folder, as_json=as_json)
    pending = [each for each in changes if each.changes]
    if pending:
        terminal.confirm(f"Apply to {counted(len(pending), 'channel')}?", yes=yes, as_json=as_json)
    done = dict[str, write_path.Done]()
    try:
        for each in pending:
            done[each.name] = write_path.put(each)
            write_path.say_fresh(each.name, done[each.name])
            terminal.end_if_interrupted()
    finally:
        if left := [each.name for each in pending if each.name not in done]:
            terminal.say(f"not applied: {', '.join(left)}")
        if as_json:
            found = document(changes, others)
            for each in found["channels"]:
                if stored := done.get(each["channel"]):
                    each.update(stored=True, verified=stored.is_verified)
            terminal.document(found)
        else:
            terminal.show_line(f"{len(done)} of {len(pending)} applied")
    terminal.fail_if(not all(each.is_complete for each in done.values()))


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
      relayctl channel export channels --channel payments --overwrite
    """
    store = ChannelStore(stack)
    wanted = names or tuple(store.names())
    if not wanted:
        terminal.nothing(NO_CHANNELS)
    texts = {f"{name}{SUFFIX}": exported(name, store.existing(name)) for name in wanted}
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
