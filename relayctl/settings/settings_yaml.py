"""YAML of settings files: PyYAML's safe loader and dumper, without aliases and doubled keys."""

import re
from typing import Any, ClassVar

import yaml

from relay.failures import InvalidChannel

_TEXT = "tag:yaml.org,2002:str"
# Line breaks of YAML 1.1 alone, or lost in a block of lines.
_ESCAPED = re.compile(r"[\r\x85\u2028\u2029\ufeff]")


class Flow(dict[str, Any]):
    """An object that is written on one line, such as `{secret: stored}`."""


def decode(content: bytes) -> Any:
    """Decode a settings file. Raises InvalidChannel, with line and column, which quotes no value."""
    try:
        # A subclass of SafeLoader: it makes no objects of Python.
        return yaml.load(content.decode("utf-8-sig"), _Loader)  # nosec B506  # noqa: S506 - see the line above
    except UnicodeDecodeError:
        raise InvalidChannel("is not UTF-8 text") from None
    except yaml.MarkedYAMLError as error:
        raise InvalidChannel(_complaint(error)) from None
    except (yaml.YAMLError, RecursionError, ValueError):
        # ValueError: an escape of a character that does not exist, or an integer of thousands of digits.
        raise InvalidChannel("is not YAML: it has a character, a number or a depth that no settings need") from None


def encode(document: Any) -> str:
    """Return the document as YAML that `decode` reads back unchanged."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100, default_flow_style=False)


def _complaint(error: yaml.MarkedYAMLError) -> str:
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
