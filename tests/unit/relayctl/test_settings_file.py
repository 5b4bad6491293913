"""Settings files: references in place of credentials, errors that name the key, and the secret that a file makes."""

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click
import fastjsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.channels import token
from relay.channels.schema import CHANNEL
from relay.failures import InvalidChannel
from relayctl.channel.secret_document import SecretDocument
from relayctl.settings.settings_file import Flow, decode, encode, exported, parse, read_folder, resolved, schema_text
from tests.every_setting import CANARY, every_setting

ROOT = Path(__file__).resolve().parents[3]
HOLDS = fastjsonschema.compile(json.loads(schema_text()))
LEAST = "xmatters: {trigger_url: {secret: stored}, auth: {type: url}, recipients: [jdoe]}\n"


def asked_for(text: str, stored: dict[str, Any] | None = None) -> dict[str, Any]:
    return resolved("payments", parse(text.encode()), SecretDocument(stored)).members


@pytest.mark.parametrize(("content", "words"), [(None, "leads out of the folder"), ("#" * 70_000, "65,536 bytes")])
def test_settings_file_elsewhere_or_too_large_is_refused(tmp_path: Path, content: str | None, words: str) -> None:
    folder = tmp_path / "channels"
    folder.mkdir()
    (tmp_path / "outside.yaml").write_text(LEAST)
    if content is None:
        (folder / "payments.yaml").symlink_to(tmp_path / "outside.yaml")
    else:
        (folder / "payments.yaml").write_text(content)
    with pytest.raises(click.UsageError, match=words):
        read_folder(folder)


# Faults that the published schema, by which editors check a file, does not know.
OF_RELAYCTL_ALONE = {"inbound: needs basic or token", "its path or query may be a credential"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has no settings"),
        ("- a", "must be an object with the keys of a channel"),
        (
            f"{LEAST}policy: {{max_per_minit: 3}}",
            "policy: unknown key max_per_minit; did you mean policy.max_per_minute?",
        ),
        (f"{LEAST}inbound: {{}}", "inbound: needs basic or token"),
        (
            f"{LEAST}inbound: {{token: {CANARY}}}",
            "inbound.token: a credential must not stand in a file; write {secret:",
        ),
        (
            f"{LEAST}inbound: {{token: {{secret: {CANARY}}}}}",
            "inbound.token: a credential must not stand in a file; write {secret:",
        ),
        (f"{LEAST}inbound: {{token: {{secret: stored, env: A B}}}}", "inbound.token.env: must be the name of"),
        (f"{LEAST}inbound: {{previous: {{token: {CANARY}}}}}", "inbound.previous: is no setting; leave it out"),
        (
            LEAST.replace("{secret: stored}", f"https://acme.xmatters.com/{CANARY}"),
            "its path or query may be a credential",
        ),
        (LEAST.replace("{type: url}", f"{{type: url, ticket: {CANARY}}}"), "xmatters.auth: unknown key ticket"),
        (LEAST.replace("type: url", f"type: basic, username: a, password: {CANARY}"), "xmatters.auth.password: a"),
        (LEAST.replace("trigger_url: {secret: stored}, ", ""), "xmatters: needs trigger_url"),
        (f"{LEAST}polcy: {{}}", "unknown key polcy"),
        (f"{LEAST}policy: {{routes: [{{when: {{team: a}}, recipients: []}}]}}", "routes.0.when: unknown key team"),
    ],
)
def test_invalid_file_is_refused_with_the_key_and_without_the_value(text: str, words: str) -> None:
    with pytest.raises(InvalidChannel) as refused:
        parse(text.encode())
    assert words in str(refused.value)
    assert CANARY not in str(refused.value)
    with nullcontext() if words in OF_RELAYCTL_ALONE else pytest.raises(fastjsonschema.JsonSchemaValueException):
        HOLDS(decode(text.encode()))


@pytest.mark.parametrize("endpoint", ["inbound", "callback"])
def test_reference_to_a_token_that_is_not_stored_makes_one_for_its_endpoint(endpoint: Any) -> None:
    text = "inbound: {token: {secret: stored}}\nxmatters: {callback: {token: {secret: stored}}, trigger_url: "
    made = asked_for(f"{text}https://acme.xmatters.com/, auth: {{type: url}}}}")
    value = made["inbound"]["token"] if endpoint == "inbound" else made["xmatters"]["callback"]["token"]
    assert token.fits(value, "payments", endpoint)


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("{secret: stored}", "the channel has no value yet; name the first one: {secret: stored, env: NAME}"),
        (
            "{secret: stored, env: NO_SUCH}",
            "the channel has no value yet, and the environment variable NO_SUCH is not set",
        ),
        ("{secret: stored, env: LINES}", "the environment variable LINES has more than one line"),
    ],
)
def test_first_value_that_cannot_be_read_is_refused(
    monkeypatch: pytest.MonkeyPatch, reference: str, words: str
) -> None:
    monkeypatch.setenv("LINES", f"{CANARY}\n{CANARY}")
    text = LEAST.replace("{type: url}", f"{{type: basic, username: a, password: {reference}}}")
    with pytest.raises((InvalidChannel, click.UsageError)) as refused:
        asked_for(text.replace("{secret: stored}", "https://acme.xmatters.com/", 1))
    assert str(refused.value).startswith(f"xmatters.auth.password: {words}")
    assert CANARY not in str(refused.value)


def test_callback_endpoint_is_there_as_long_as_the_channel_writes_to_bigpanda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "k")
    secret = every_setting("payments")
    with_key = f"{LEAST}bigpanda: {{api_key: {{secret: stored, env: KEY}}}}"
    assert asked_for(with_key, secret)["xmatters"]["callback"] == secret["xmatters"]["callback"]
    assert "callback" not in asked_for(LEAST, secret)["xmatters"]
    made = asked_for(with_key.replace("{secret: stored}", "https://acme.xmatters.com/", 1))
    assert token.fits(made["xmatters"]["callback"]["token"], "payments", "callback")


def test_only_yaml_files_that_are_not_hidden_are_read(tmp_path: Path) -> None:
    for name in ("payments.yaml", ".hidden.yaml", "README.md", "channel.schema.json"):
        (tmp_path / name).write_text(LEAST)
    (tmp_path / "folder.yaml").mkdir()
    assert [each.stem for each in read_folder(tmp_path)] == ["payments"]


def test_every_fault_of_a_file_has_a_line(tmp_path: Path) -> None:
    path = tmp_path / "payments.yaml"
    path.write_text(
        "polcy: 1\nother: 2\nxmatters: {trigger_url: x, auth: {type: url, ticket: {secret: stored}}}\n"
        "policy: {max_per_minute: many, presets: oncall, pauses: []}\n"
    )
    with pytest.raises(click.UsageError) as refused:
        read_folder(tmp_path)
    lines = [line.removeprefix(f"{path}: ") for line in str(refused.value).splitlines()]
    assert [line.partition(";")[0] for line in lines] == [
        "policy.pauses: is no setting",
        "xmatters.trigger_url: its path or query may be a credential, which must not stand in a file",
        "unknown key polcy",
        "unknown key other",
        "policy.max_per_minute: must be of type integer",
        "policy: unknown key presets",
        "xmatters.auth: unknown key ticket",
    ]


def test_published_schema_is_up_to_date() -> None:
    assert (ROOT / "docs/channel.schema.json").read_text() == schema_text(), "run 'make schema'"


@pytest.mark.parametrize("kind", ["url", "basic", "api_key", "oauth"])
def test_exported_file_with_every_setting_is_valid(kind: str) -> None:
    HOLDS(decode(exported("payments", SecretDocument(every_setting("payments", kind))).encode()))


def test_sample_has_every_key_of_the_schema_of_secrets() -> None:
    def missing(schema: dict[str, Any], value: Any, key: str) -> list[str]:
        known = schema.get("properties", {})
        absent = [f"{key}.{name}" for name in known if name not in value]
        return absent + [each for name in known if name in value for each in missing(known[name], value[name], name)]

    assert missing(CHANNEL, every_setting("payments"), "") == []


def test_schema_has_no_pattern_of_python_alone() -> None:
    assert r"\Z" not in schema_text().replace("\\\\", "\\")


# ---- YAML ------------------------------------------------------------------------------------------------------------

_TEXTS = st.text() | st.text("0123456789eE+-.:~=<!&*#'\"\n |>%@`yesnotrufalNOx_\t\r\u2028\x85 ")
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXTS,
    lambda inner: st.dictionaries(st.text() | st.text("019-~.enul :#"), inner) | st.lists(inner),
)


@given(_JSON)
def test_written_document_is_read_back_unchanged(document: Any) -> None:
    read = decode(encode(document).encode())
    assert read == document
    assert repr(read) == repr(document)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nb: 2\na: 3", "a key stands there twice (line 3, column 1)"),
        ("a: &x 1\nb: *x", "aliases are not read; write the value again (line 2, column 4)"),
        ("1: a", "a key is not text; put it in quotes (line 1, column 1)"),
        (f"a: !{CANARY} b", "could not determine a constructor for the tag (line 1, column 4)"),
        (f"a: @{CANARY}", "found character (line 1, column 4)"),
        (f"a: [{CANARY}", "is not YAML: expected ',' or ']' (line 1, column"),
        ("a: 1\n---\nb: 2", "found another document (line 2, column 1)"),
        ('a: "\\ud8ZZ"', "is not YAML: "),
        ("[" * 5000, "is not YAML: it has a character, a number or a depth"),
        (b"a: \xff\xfe", "is not UTF-8 text"),
        ("a: \0", "is not YAML: it has a character, a number or a depth"),
    ],
)
def test_text_that_is_no_settings_yaml_is_refused_without_quoting_a_value(text: str | bytes, words: str) -> None:
    with pytest.raises(InvalidChannel) as refused:
        decode(text if isinstance(text, bytes) else text.encode())
    assert words in str(refused.value)
    assert CANARY not in str(refused.value)


def test_text_of_several_lines_is_written_as_a_block_and_a_flow_object_on_one_line() -> None:
    assert encode({"a": "one\ntwo\n", "b": Flow(secret="stored")}) == "a: |\n  one\n  two\nb: {secret: stored}\n"
