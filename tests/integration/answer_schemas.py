"""Schemas of the vendors' answers, in schemas/: strict where a vendor's members are known, so a wrong name is found."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastjsonschema
import pytest

FOLDER = Path(__file__).parent / "schemas"


def definitions(vendor: str) -> dict[str, Any]:
    """Return the schemas of a vendor, by name."""
    found: dict[str, Any] = json.loads((FOLDER / f"{vendor}.json").read_text())["definitions"]
    return found


def check(vendor: str, name: str, document: Any) -> None:
    """Fail the test if a document does not fit the vendor's schema of this name."""
    try:
        _compiled(vendor, name)(document)
    except fastjsonschema.JsonSchemaValueException as error:
        pytest.fail(f"{vendor} {name}: {error.message}, in {json.dumps(document)[:2000]}")


@functools.cache
def _compiled(vendor: str, name: str) -> Callable[[Any], Any]:
    schema = {"$schema": "http://json-schema.org/draft-07/schema#", "definitions": definitions(vendor)}
    return fastjsonschema.compile(schema | {"allOf": [{"$ref": f"#/definitions/{name}"}]}, use_default=False)
