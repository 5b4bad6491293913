"""JSON Schema of settings files: published as generated, and as strict as relayctl."""

from pathlib import Path
from typing import Any

import fastjsonschema
import pytest

from relay.channels.schema import CHANNEL
from relayctl.channel.secret_document import SecretDocument
from relayctl.settings import settings_schema
from relayctl.settings.settings_file import exported
from relayctl.settings.settings_yaml import decode
from tests.every_setting import every_setting

ROOT = Path(__file__).resolve().parents[3]
HOLDS = fastjsonschema.compile(settings_schema.schema())


def settings(kind: str = "basic") -> dict[str, Any]:
    document: dict[str, Any] = decode(exported("payments", SecretDocument(every_setting("payments", kind))).encode())
    return document


def test_published_schema_is_up_to_date() -> None:
    assert (ROOT / "docs/channel.schema.json").read_text() == settings_schema.text(), "run 'make schema'"


@pytest.mark.parametrize("kind", ["url", "basic", "api_key", "oauth"])
def test_exported_file_with_every_setting_is_valid(kind: str) -> None:
    HOLDS(settings(kind))


def test_sample_has_every_key_of_the_schema_of_secrets() -> None:
    def missing(schema: dict[str, Any], value: Any, key: str) -> list[str]:
        known = schema.get("properties", {})
        absent = [f"{key}.{name}" for name in known if name not in value]
        return absent + [each for name in known if name in value for each in missing(known[name], value[name], name)]

    assert missing(CHANNEL, every_setting("payments"), "") == []


@pytest.mark.parametrize(
    "change",
    [
        {"polcy": {}},
        {"inbound": {"token": "a-token-of-24-characters"}},
        {"inbound": {"token": {"secret": "other"}}},
        {"inbound": {"token": {"secret": "stored", "env": "A", "file": "b"}}},
        {"inbound": {"token": {"secret": "stored", "env": "A B"}}},
        {"inbound": {"token": {"secret": "stored"}, "previous": {"expires_at": "2030-01-31T12:00:00Z"}}},
        {"policy": {"max_per_minute": "60"}},
        {"policy": {"routes": [{"when": {"team": "a"}, "recipients": []}]}},
        {"xmatters": settings()["xmatters"] | {"trigger_url": 3}},
        {"xmatters": settings()["xmatters"] | {"auth": {"type": "basic", "username": "a", "password": "p"}}},
        {"xmatters": settings()["xmatters"] | {"auth": {"type": "basic", "key": {"secret": "stored"}}}},
        {"xmatters": {"auth": {"type": "url"}}},
    ],
)
def test_schema_refuses_a_file_that_relayctl_refuses(change: dict[str, Any]) -> None:
    with pytest.raises(fastjsonschema.JsonSchemaValueException):
        HOLDS(settings() | change)


def test_schema_allows_a_file_without_endpoints() -> None:
    document = settings()
    del document["inbound"]
    HOLDS(document)


def test_schema_has_no_pattern_of_python_alone() -> None:
    assert r"\Z" not in settings_schema.text().replace("\\\\", "\\")
