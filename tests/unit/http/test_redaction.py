"""Redaction: no credential is in an excerpt of an answer, whatever shape the answer has."""

import html
import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.deadline import Deadline
from relay.failures import BadAnswer, Reason
from relay.http.client import HttpClient
from relay.http.redaction import redact
from relay.http.session import HttpAnswer
from tests.fakes import FakeSession
from tests.unit.incidents.test_hostile_bodies import check_work

SECRET = 'p/ä s&wörd+=%"<~'


@pytest.mark.parametrize(
    "spelling",
    [
        SECRET,
        "p/%C3%A4%20s%26w%C3%B6rd%2B%3D%25%22%3C~",
        "p%2F%C3%A4%20s%26w%C3%B6rd%2B%3D%25%22%3C~",
        "p%2F%C3%A4+s%26w%C3%B6rd%2B%3D%25%22%3C~",
        "p%2f%c3%a4%20s%26w%c3%b6rd%2b%3d%25%22%3c~",
        "p%2f%c3%a4+s%26w%c3%b6rd%2b%3d%25%22%3c~",
        'p/ä s&wörd+=%\\"<~',
        'p/\\u00e4 s&w\\u00f6rd+=%\\"<~',
        "p/ä s&amp;wörd+=%&quot;&lt;~",
    ],
    ids=["plain", "path", "quoted", "form", "lower quoted", "lower form", "json", "ascii json", "html"],
)
def test_secret_is_redacted_in_every_spelling(spelling: str) -> None:
    assert redact(f"before {spelling} after", {SECRET}) == "before *** after"


def test_longer_secret_is_redacted_first() -> None:
    assert redact("abcdef abc", {"abc", "abcdef"}) == "*** ***"


@given(st.text(min_size=1, max_size=20), st.text(max_size=20), st.text(max_size=20))
def test_redacted_text_never_holds_the_secret(secret: str, before: str, after: str) -> None:
    if secret not in "***":
        assert secret not in redact(before + secret + after, {secret}).replace("***", "")


_NAMES = (
    "access_token accessToken access-token token refresh_token id_token X-OutboundCredentials-Token client_secret "
    "clientSecret Client-Secret secret api_key apiKey API-KEY x-api-key apikey password Password pass_word passwd pwd "
    "passphrase pass-phrase new.password password_2 my_password_hash authorization Authorization proxy-authorization "
    "private_key AccessKey credentials Set-Cookie sessionId jwt"
)
NAMES = (*_NAMES.split(), "ACCESS TOKEN", "secret key")
# No other text of these tests contains a part of it.
CANARY = "qzcanaryzq"


def scalars() -> st.SearchStrategy[Any]:
    texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    around = st.tuples(texts | st.sampled_from(['"', "\\", "]", "}", '\\"', "\n", " ", ",", "'", "&"]), texts)
    return around.map(lambda pair: f"{pair[0]}{CANARY}{pair[1]}") | st.just(9_182_736_450) | st.just(-9_182_736_450.25)


SECRET_VALUES = st.recursive(
    scalars(),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3) | st.dictionaries(st.text(max_size=5), inner, min_size=1, max_size=3)
    ),
    max_leaves=6,
)
PLAIN = st.sampled_from(["x", "error", 'it said "no"', "a\\b", "[", "}", 5, None, True, "", "é"])
HOLDERS = st.recursive(
    st.tuples(st.sampled_from(NAMES), SECRET_VALUES).map(lambda pair: {pair[0]: pair[1]}),
    lambda inner: (
        st.tuples(PLAIN, inner, PLAIN).map(list)
        | st.tuples(PLAIN, inner).map(lambda pair: {"status": pair[0], "details": pair[1], "more": "words"})
        | inner.map(lambda found: {"one": found, "inner": [found]})
        # JSON inside of JSON.
        | inner.map(lambda found: {"body": json.dumps(found)})
    ),
    max_leaves=3,
)


def shows(text: str) -> bool:
    return CANARY in text or "9182736450" in text


@given(HOLDERS, st.booleans(), st.sampled_from([None, 1]))
def test_scalar_below_a_secret_name_in_json_is_redacted(document: Any, ascii_only: bool, indent: int | None) -> None:
    text = json.dumps(document, ensure_ascii=ascii_only, indent=indent)
    assert shows(text)
    assert not shows(redact(text, ()))


@given(HOLDERS, st.integers(0, 400), st.booleans())
def test_scalar_below_a_secret_name_is_redacted_in_truncated_or_embedded_json(
    document: Any, cut: int, is_page: bool
) -> None:
    text = json.dumps(document)
    text = text[: max(1, len(text) - 1 - cut % len(text))]
    assert not shows(redact(f"<html>It failed: {text}</html>" if is_page else text, ()))


@pytest.mark.parametrize(
    "shape",
    [
        '{"NAME":["HIDDEN"]}',
        '[{"NAME": "two words HIDDEN"}',
        '{"a": "b", "NAME": ["x", "HIDDEN',
        '{"NAME": {"a": "]}", "b": "HIDDEN"',
        '{\\"NAME\\": [\\"a\\\\\\"b HIDDEN\\"], \\"x\\": 1}',
        '{"name": "NAME", "value": "HIDDEN"}',
        '{"value": "HIDDEN", "name": "NAME"}',
        "NAME=HIDDEN&x=1",
        "x=1&NAME=two+words+HIDDEN&y=1",
        "NAME: HIDDEN",
        "NAME: Bearer HIDDEN\nHost: x",
        "{'NAME': ['HIDDEN', 'x HIDDEN']}",
        "<td>NAME</td>\n<td>HIDDEN</td>",
        "<dt><b>NAME:</b></dt><dd>HIDDEN</dd>",
        '<input type="hidden" name="NAME" value="HIDDEN">',
        "<input value=HIDDEN id=NAME>",
        "&quot;NAME&quot;: &quot;two HIDDEN&quot;",
        "%22NAME%22%3A%5B%22HIDDEN%22%5D",
    ],
)
def test_value_beside_a_secret_name_is_redacted_in_any_text(shape: str) -> None:
    for name in NAMES:
        redacted = redact(shape.replace("NAME", name), ())
        assert "HIDDEN" not in redacted, name
        assert "***" in redacted, name


@pytest.mark.parametrize(
    "text",
    [
        '{"acc\\u0065ss\\u005ftoken": "HIDDEN"}',
        '{"acc\\u0065ss\\u005ftoken": "HIDDEN',
        "access%5Ftoken=HIDDEN",
        "%61ccess_t%6fken=HIDDEN",
        "<td>api&#95;key</td><td>HIDDEN</td>",
        '{"password": 1, "x": {"password": "HIDDEN"}, "x": 5}',
        '{"x?apiKey=HIDDEN": 1}',
    ],
)
def test_escaped_secret_name_is_recognised(text: str) -> None:
    assert "HIDDEN" not in redact(text, ())


@pytest.mark.parametrize(
    "text",
    [
        '{"error": "invalid_client", "error_description": "no such client"}',
        '{"error": "invalid_token", "message": "it is too old"}',
        '{"errors": ["The flow is disabled", {"code": 404}]}',
        "grant_type=password&username=relay",
        "<h1>Service Unavailable</h1> the password was refused",
    ],
)
def test_error_message_without_a_credential_is_not_redacted(text: str) -> None:
    assert redact(text, ()) == text


@pytest.mark.parametrize(
    "piece",
    [
        *(
            "token",
            "token ",
            "token<a>",
            "token[",
            "token[0]",
            'token":',
            'token":[',
            "token\\",
            'token"',
            "<token ",
            "<",
        ),
        *("\\", '\\"', '"', "{", "[", " ", "<a>", "bearer ", "&quot;", "%74", "\\u0074", "value=", "passpass_"),
    ],
)
def test_work_for_redaction_of_a_hostile_answer_is_bounded(piece: str) -> None:
    hostile = "token" + piece * (65_536 // len(piece))
    check_work(lambda: redact(hostile, {"canary" * 5}))


def test_secret_of_many_backslashes_is_looked_for_in_little_time() -> None:
    check_work(lambda: redact("\\" * 200, {"\\" * 40 + "x"}))


def excerpt(body: bytes) -> str:
    outward = HttpClient(FakeSession(HttpAnswer(400, {}, body)), clock=lambda: 0.0)
    answer = outward.ask("GET", "https://x", None, {}, Deadline(8, lambda: 0.0))
    failure = outward.bad_answer(answer, Reason.REFUSED, {"known-secret"})
    assert isinstance(failure, BadAnswer)
    return failure.excerpt


@pytest.mark.parametrize("size", [0, 2048, 65_536, 6_000_000])
def test_excerpt_has_no_credential_however_long_the_answer_is(size: int) -> None:
    for body in (
        {"x": "y" * size, "access_token": ["HIDDEN"], "k": "known-secret"},
        {"access_token": ["y" * size, "HIDDEN"], "k": "known-secret"},
    ):
        for text in (json.dumps(body), html.escape(json.dumps(body)), quote(json.dumps(body))):
            found = excerpt(text.encode())
            assert "HIDDEN" not in found
            assert "known-secret" not in found
            assert len(found) <= 2048


@pytest.mark.parametrize("size", range(2048 - len("known-secret"), 2048 - len("known")))
def test_excerpt_that_is_cut_in_a_credential_shows_no_part_of_it(size: int) -> None:
    assert "known" not in excerpt(b"y" * size + b"known-secret"), size
