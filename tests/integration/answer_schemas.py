"""Schemas of the vendors' answers, in schemas/: strict where a vendor's members are known, so a wrong name is found.

The files have forms: JSON schemas with four short ways of saying something. A text is the name of a definition. A list
of one form is an array of it. An object with `members` has exactly those; one with a `?` after its name may be absent.
An object with `list` or `page` is a list of xMatters' REST API.
"""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastjsonschema
import pytest

FOLDER = Path(__file__).parent / "schemas"


def definitions(vendor: str) -> dict[str, Any]:
    forms = json.loads((FOLDER / f"{vendor}.json").read_text())["definitions"]
    return {name: _schema(form) for name, form in forms.items()}


def check(vendor: str, name: str, document: Any) -> None:
    """Fail the test if a document does not fit the vendor's schema of this name."""
    try:
        _compiled(vendor, name)(document)
    except fastjsonschema.JsonSchemaValueException as error:
        pytest.fail(f"{vendor} {name}: {error.message}, in {json.dumps(document)[:2000]}")


def _schema(form: Any) -> Any:
    match form:
        case str():
            return {"$ref": f"#/definitions/{form}"}
        case [item]:
            return {"type": "array", "items": _schema(item)}
        case {"list": item}:
            return _schema({"members": {"count": "count", "total": "count", "data": [item]}})
        case {"page": item}:
            return _schema({"members": {"count": "count", "total": "count", "data": [item], "links": "pageLinks"}})
        case {"members": dict(members), **more}:
            required = [name for name in members if not name.endswith("?")]
            properties = {name.removesuffix("?"): _schema(each) for name, each in members.items()}
            strict = {"type": "object", "required": required, "additionalProperties": False}
            return strict | {"properties": properties} | more
        case {"oneOf": forms, **more}:
            return {"oneOf": [_schema(each) for each in forms]} | more
    return form


@functools.cache
def _compiled(vendor: str, name: str) -> Callable[[Any], Any]:
    schema = {"$schema": "http://json-schema.org/draft-07/schema#", "definitions": definitions(vendor)}
    return fastjsonschema.compile(schema | {"allOf": [{"$ref": f"#/definitions/{name}"}]}, use_default=False)
