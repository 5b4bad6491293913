"""YAML of settings files: the scalars of JSON and of YAML 1.2's core schema, no duplicate keys, no aliases.

PyYAML's own loader reads `no` as false, `12:30` as a number, and keeps the last of two equal keys.
"""

import re
from typing import Any, ClassVar

import yaml

# A file of the longest secret (64 KiB) with comments. Bounds the work for a file of a stranger.
MAX_BYTES = 1_048_576
_TAG = "tag:yaml.org,2002:"
_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_SCALARS = (
    ("bool", re.compile(r"(true|True|TRUE|false|False|FALSE)\Z"), "tTfF"),
    ("int", _INT, "-+0123456789"),
    ("float", _FLOAT, "-+.0123456789"),
    ("null", re.compile(r"(~|null|Null|NULL|)\Z"), ["~", "n", "N", ""]),
)

# For messages of PyYAML that end at a quoted part.
_CLEARER = {
    "found character": "text that begins with this character must be in quotes",
    "could not determine a constructor for the tag": "tags are not read; text that begins with ! must be in quotes",
}
# Line breaks of YAML 1.1 alone, or lost in a block of lines.
_ESCAPED = re.compile(r"[\r\x85\u2028\u2029\ufeff]")


class SettingsYamlError(ValueError):
    """The text is not YAML that settings files may have. The message has line and column, and quotes no value."""


class Flow(dict[str, Any]):
    """An object that is written on one line, such as `{secret: stored}`."""


def decode(content: bytes) -> Any:
    """Decode a settings file. Raises SettingsYamlError."""
    if len(content) > MAX_BYTES:
        raise SettingsYamlError(f"has more than {MAX_BYTES:,} bytes")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SettingsYamlError("is not UTF-8 text") from None
    try:
        # A subclass of SafeLoader: it makes no objects of Python.
        return yaml.load(text, _Loader)  # nosec B506  # noqa: S506 - see the line above
    except yaml.MarkedYAMLError as error:
        raise SettingsYamlError(_complaint(error)) from None
    except (yaml.YAMLError, RecursionError, ValueError):
        # ValueError: an escape of a character that does not exist, or an integer of thousands of digits.
        raise SettingsYamlError("is not YAML: it has a character, a number or a depth that no settings need") from None


def encode(document: Any) -> str:
    """Return the document as YAML that `decode` reads back unchanged."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100, default_flow_style=False)


def _complaint(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
    # Cut: the rest may quote a value of the file. Before ", but" PyYAML quotes only what it expected.
    problem = (error.problem or "").partition(", but")[0]
    problem = problem if problem.startswith("expected") else re.split("['\"`]", problem, maxsplit=1)[0].strip()
    problem = _CLEARER.get(problem, problem.removeprefix("but "))
    return f"is not YAML: {problem or 'unexpected text'}{place}"


class _Loader(yaml.SafeLoader):
    """YAML loader of settings files.

    A plain scalar that matches a pattern of `_SCALARS` becomes a bool, a number or None; any other is text.
    The loader refuses aliases, duplicate keys, and keys that are not text.
    """

    # PyYAML's registries, which other packages extend for every loader: AWS's own tools add tags to SafeLoader.
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's interface
    yaml_multi_constructors: ClassVar[dict[str | None, Any]] = {}
    yaml_constructors: ClassVar[dict[str | None, Any]] = {
        None: yaml.SafeLoader.construct_undefined,
        f"{_TAG}map": yaml.SafeLoader.construct_yaml_map,
        f"{_TAG}seq": yaml.SafeLoader.construct_yaml_seq,
        f"{_TAG}str": yaml.SafeLoader.construct_yaml_str,
        f"{_TAG}bool": yaml.SafeLoader.construct_yaml_bool,
        f"{_TAG}int": yaml.SafeLoader.construct_yaml_int,
        f"{_TAG}float": yaml.SafeLoader.construct_yaml_float,
        f"{_TAG}null": yaml.SafeLoader.construct_yaml_null,
    }

    def compose_node(self, parent: Any, index: Any) -> Any:
        events: Any = self
        if events.check_event(yaml.AliasEvent):
            mark = events.peek_event().start_mark
            raise yaml.MarkedYAMLError(problem="aliases are not read; write the value again", problem_mark=mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set[str]()
        for key, _ in node.value:
            if key.tag != f"{_TAG}str":
                raise yaml.MarkedYAMLError(problem="a key is not text; put it in quotes", problem_mark=key.start_mark)
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem="a key stands there twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """YAML writer of settings files. It quotes text that PyYAML, YAML 1.2 or `_Loader` would read as another type."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML's interface
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = '"' if _ESCAPED.search(value) else "|" if "\n" in value else None
    return dumper.represent_scalar(f"{_TAG}str", value, style)


for _name, _pattern, _first in _SCALARS:
    _Loader.add_implicit_resolver(f"{_TAG}{_name}", _pattern, list(_first))
    _Dumper.add_implicit_resolver(f"{_TAG}{_name}", _pattern, list(_first))
_Dumper.add_representer(
    Flow, lambda dumper, value: dumper.represent_mapping(f"{_TAG}map", value.items(), flow_style=True)
)
_Dumper.add_representer(str, _text)
