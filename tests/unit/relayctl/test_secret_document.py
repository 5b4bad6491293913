import json
from typing import Any

import pytest

from relay.channels.parsing import check_secret
from relayctl.channel.secret_document import SecretDocument, is_credential, leaves, typed_value
from tests.every_setting import CANARY, every_setting
from tests.fakes import HOSTS


def full(kind: str) -> dict[str, Any]:
    """Return a secret with every key; the canary is in each credential and in no other value."""
    secret = every_setting("noc", kind)
    secret["inbound"]["token"] = f"{CANARY}-token"
    # A name with a dot could be a nested key, and is masked.
    del secret["policy"]["properties"]["a.b"]
    return secret


@pytest.mark.parametrize("kind", ["url", "basic", "api_key", "oauth"])
def test_masked_document_hides_credentials_and_shows_other_values(kind: str) -> None:
    secret = full(kind)
    check_secret(secret, HOSTS)
    document = SecretDocument(secret)
    masked = document.masked()
    assert CANARY not in json.dumps(masked)
    assert document.members == full(kind), "the document itself is unchanged"
    shown, hidden = dict(leaves(masked, "")), dict(leaves(secret, ""))
    assert list(shown) == list(hidden)
    assert [key for key, value in hidden.items() if CANARY not in str(value) and shown[key] != value] == []


@pytest.mark.parametrize(
    "members",
    [
        {"new": {"token": CANARY}},
        {"new": [{"token": CANARY}]},
        {"inbound": {"basic": CANARY}},
        {"inbound": {"token": [CANARY]}},
        {"xmatters": {"auth": {"type": "new", "ticket": CANARY}}},
        {"xmatters": {"trigger_url": f"https://acme.xmatters.com/?{CANARY}?{CANARY}#{CANARY}"}},
        {"policy": {"later": CANARY}},
        {"policy": {"body": {"token": CANARY}}},
        {"policy": {"routes": [{"when": {}, "recipients": ["A"], "token": CANARY}]}},
        {"policy": {"routes": [{"when": {"status": {"x": CANARY}}, "recipients": ["A"]}]}},
    ],
)
def test_unknown_key_or_shape_is_masked(members: dict[str, Any]) -> None:
    assert CANARY not in json.dumps(SecretDocument(members).masked())


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        *(
            ("inbound.token", text, text)
            for text in ("12345", "1e3", "true", "null", '"quoted"', "[1]", "", " x ", "NaN")
        ),
        *((key, "12345", "12345") for key in ("inbound.previous.expires_at", "xmatters.rest.auth.secret")),
        ("policy.max_per_minute", "30", 30),
        ("policy.notify_on", '["opened", "resolved"]', ["opened", "resolved"]),
        ("policy.max_per_minute", "many", "many"),
        ("later.key", "7", 7),
    ],
)
def test_typed_value_is_text_where_the_schema_says_so_and_else_json_or_text(key: str, text: str, value: Any) -> None:
    assert typed_value(key, text) == value


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("inbound", {"basic": {"username": "u", "password": "p"}}),
        ("xmatters.rest", {"base_url": "https://acme.xmatters.com", "auth": {"type": "api_key", "secret": "s"}}),
        ("xmatters.trigger_url", "https://acme.xmatters.com/api/integration/1/functions/f1/triggers?apiKey=k"),
        ("xmatters.trigger_url", "https://acme.xmatters.com/k"),
        ("later.key", "k"),
    ],
)
def test_masked_value_is_a_credential(key: str, value: Any) -> None:
    assert is_credential(key, value)


def test_property_that_is_named_like_a_credential_is_none() -> None:
    document = SecretDocument({"policy": {"properties": {"key": "PAY-7"}}})
    assert document.masked() == document.members
    assert not is_credential("policy.properties.key", "PAY-7")
