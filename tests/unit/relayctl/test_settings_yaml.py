"""YAML of settings files: refused texts, and round trips."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.failures import InvalidChannel
from relayctl.settings.settings_yaml import Flow, decode, encode

CANARY = "canary-4c7d"
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
        ("a: \0", "is not YAML: it has a character, a number or a depth"),
    ],
)
def test_text_that_is_no_settings_yaml_is_refused_without_quoting_a_value(text: str, words: str) -> None:
    with pytest.raises(InvalidChannel) as refused:
        decode(text.encode())
    assert words in str(refused.value)
    assert CANARY not in str(refused.value)


def test_bytes_that_are_not_utf_8_are_refused() -> None:
    with pytest.raises(InvalidChannel, match="is not UTF-8 text"):
        decode(b"a: \xff\xfe")


def test_text_of_several_lines_is_written_as_a_block_and_a_flow_object_on_one_line() -> None:
    assert encode({"a": "one\ntwo\n", "b": Flow(secret="stored")}) == "a: |\n  one\n  two\nb: {secret: stored}\n"
