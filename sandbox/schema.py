"""Checks what callers hand to the sandbox, so that a wrong script or declaration is told what is wrong."""

import json
from collections.abc import Callable
from typing import Any, NoReturn

import fastjsonschema


class InvalidError(ValueError):
    """What was handed in can't be used; the message names the entry and the key, never a value."""


def parse_json(content: bytes) -> Any:
    """JSON as the standard has it: UTF-8, and neither NaN nor Infinity, which Python would take.

    Raises
    ------
    InvalidError
        When it is no JSON, or nested too deep to be read.
    """
    try:
        return json.loads(content.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise InvalidError("the body is not JSON") from None


def compiled(required: dict[str, Any], optional: dict[str, Any]) -> Callable[[object, str], dict[str, Any]]:
    """A checker for JSON objects with just these keys, each with its JSON Schema.

    The checker takes the object and the name that messages give it, and returns the object with the
    schemas' defaults filled in.

    Raises
    ------
    InvalidError
        From the checker, when the object doesn't fit.
    """
    validate = fastjsonschema.compile(
        {
            "type": "object",
            "properties": required | optional,
            "required": list(required),
            "additionalProperties": False,
        }
    )

    def check(document: object, name: str) -> dict[str, Any]:
        try:
            # The checker fills defaults in, and the caller's object isn't ours to change.
            checked: dict[str, Any] = validate(
                dict(document) if isinstance(document, dict) else document, name_prefix=name
            )
        except fastjsonschema.JsonSchemaValueException as error:
            raise InvalidError(error.message) from None
        return checked

    return check


def one_of(document: object, key: str, choices: list[str], name: str) -> str:
    """The word that picks an object's shape.

    Raises
    ------
    InvalidError
        When there is no such key, or its value is none of the choices.
    """
    word = document.get(key) if isinstance(document, dict) else None
    if not isinstance(word, str) or word not in choices:
        raise InvalidError(f"{name}.{key} must be one of {', '.join(choices)}")
    return word


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)
