"""JSON Schema of settings files, for editors. It is made from the schema of a channel's secret."""

import json
from typing import Any

from relay.channels.schema import AUTH, CHANNEL
from relayctl.channel.secret_document import holds_credential
from relayctl.settings.settings_file import ENV_PATTERN, OPERATED_KEYS, STORED


def _ecma(pattern: str) -> str:
    r"""Return the pattern with $ in place of a final \Z, which only Python has."""
    return pattern.removesuffix(r"\Z") + "$" if pattern.endswith(r"\Z") else pattern


_REFERENCE = {
    "type": "object",
    "description": "A credential: the value that the channel's secret has under the same key. env or file names the "
    "first value, for a channel whose secret has none yet.",
    "required": ["secret"],
    "additionalProperties": False,
    "not": {"required": ["env", "file"]},
    "properties": {
        "secret": {"const": STORED},
        "env": {
            "type": "string",
            "pattern": _ecma(ENV_PATTERN),
            "description": "The environment variable with the value.",
        },
        "file": {
            "type": "string",
            "minLength": 1,
            "description": "The file with the value, relative to the settings file.",
        },
    },
}
_TO_REFERENCE = {"$ref": "#/definitions/reference"}


def schema() -> dict[str, Any]:
    """Return the schema in JSON Schema draft 7, the draft that editors support best."""
    made = _converted(CHANNEL, "")
    # An endpoint that the file leaves out keeps its credentials, or gets a token.
    made["required"] = [key for key in made["required"] if key != "inbound"]
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Settings of a channel of the BigPanda to xMatters relay",
        **made,
        "definitions": {"reference": _REFERENCE},
    }


def text() -> str:
    """Return the schema as the text of a file."""
    return json.dumps(schema(), indent=2) + "\n"


def _converted(node: Any, key: str) -> Any:
    if isinstance(node, dict) and key.endswith(".auth"):
        return {"oneOf": [_of_auth(kind, key) for kind in AUTH]}
    if isinstance(node, dict) and holds_credential(key):
        return {"anyOf": [_TO_REFERENCE, _converted(node, "")]} if _is_url(node) else _TO_REFERENCE
    if isinstance(node, dict):
        made = {name: _converted(member, "") for name, member in node.items() if name != "properties"}
        if isinstance(node.get("properties"), dict):
            made["properties"] = _properties(node["properties"], key)
        if isinstance(node.get("patternProperties"), dict):
            made["patternProperties"] = {_ecma(name): each for name, each in made["patternProperties"].items()}
        return made
    if isinstance(node, list):
        return [_converted(each, "") for each in node]
    return _ecma(node) if isinstance(node, str) else node


def _properties(members: dict[str, Any], key: str) -> dict[str, Any]:
    keys = {name: f"{key}.{name}".lstrip(".") for name in members}
    return {name: _converted(each, keys[name]) for name, each in members.items() if keys[name] not in OPERATED_KEYS}


def _of_auth(kind: str, key: str) -> dict[str, Any]:
    definition = AUTH[kind]
    return {**definition, "properties": _properties(definition["properties"], key) | {"type": {"const": kind}}}


def _is_url(node: dict[str, Any]) -> bool:
    return "http" in str(node.get("pattern", ""))
