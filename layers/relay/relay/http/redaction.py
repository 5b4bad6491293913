"""Redaction of credentials in vendors' texts, before a text is stored or logged. Pure code.

A vendor's error may quote the request. Known secrets are found in every spelling (URL, JSON, HTML). Unknown secrets are
found by their names, such as `access_token` or `clientSecret`, in JSON (also truncated), forms, headers and HTML.
"""

import html
import json
import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import groupby
from typing import Any
from urllib.parse import quote

HIDDEN = "***"
# A name that contains one of these is the name of a credential. `api_key`, `apiKey` and `API-KEY` all match.
_NAME = (
    r"token|secret|pass[\W_]{0,3}(?:word|wd|phrase|code)|pwd|authorization|credential|cookie|bearer|jwt|signature"
    r"|session[\W_]{0,3}id|(?:api|private|access|signing)[\W_]{0,3}key"
)
_IS_NAME = re.compile(_NAME, re.IGNORECASE)
_TAG = r"<[^<>]{0,200}>"
_QUOTE = r"(?:\\*+[\"']|&quot;|&apos;|&\#0*3[49];|&\#x2[27];|%2[27])"
# A name, and the characters between it and its value. Possessive quantifiers: a hostile text can't make it backtrack.
_NAMED = re.compile(
    rf"""(?:{_NAME})
    (?:[^"'\\<>=:&%,;.\r\n(){{}}\[\]]|\.(?!\s)){{0,32}}+  # the rest of the name, not beyond its sentence
    (?:(?:\[|%5b)[^\[\]=&\s]{{0,64}}(?:\]|%5d))*+  # a form's brackets: token[0]
    {_QUOTE}?+ \s*+
    (?:
        (?:{_TAG} \s*+)*+ (?: => | [=:] | %3[ad] | &\#(?:58|61|x3a|x3d); )
        | [,;]?+ \s*+ {_QUOTE}?+ value {_QUOTE}?+ \s*+ [=:]  # {{"name": "token", "value": ...}}
        | > | (?:{_TAG} \s*+)++                          # <token>..., <td>token</td><td>...
    )
    \s*+ (?:{_TAG} \s*+)*+""",
    re.IGNORECASE | re.VERBOSE,
)
_SCHEME = re.compile(r"""(?i)\b(bearer|basic)(\s+)[^\s"'&<>,}]+""")
# A value without quotes, up to the end of its line or part. It may hold spaces, since a password may.
_BARE = re.compile(r"""[^\r\n"'<>&,;}\])]*+""")
_INPUT_VALUE = re.compile(r"""(?i)(\bvalue\s*=\s*)("[^"]*+"?|'[^']*+'?|[^\s<>"']++)""")
_TAG_WITH_NAME = re.compile(rf"(?i)<[^<>]*?(?:{_NAME})[^<>]*+>?")
_ENTITIES = re.compile(r"&quot;|&apos;|&#0*3[49];|&#x2[27];|%2[27]", re.IGNORECASE)
# Each match begins with a whole run of backslashes. Without that, a text of backslashes would take quadratic time.
_QUOTES = re.compile(r"""(?<!\\)(\\*+)(["'])""")
_PARTS = re.compile(r"""(?<!\\)(\\*+)(["'])|[\[{]|[\]}]""")
_ESCAPED = re.compile(
    r"(?<!\\)\\+u00([2-7][0-9a-f])|%([2-7][0-9a-f])|&\#x([2-7][0-9a-f]);|&\#([0-9]{2,3});", re.IGNORECASE
)


def redact(text: str, secrets: Iterable[str]) -> str:
    """Return the text with HIDDEN for `secrets`, in any spelling, and for values that have a credential's name."""
    known = [_pattern(secret) for secret in sorted(filter(None, secrets), key=len, reverse=True)]
    return _without_known(_without_named(_without_known(text, known)), known)


def _without_known(text: str, patterns: Iterable[str]) -> str:
    for pattern in patterns:
        text = re.sub(pattern, HIDDEN, text)
    return text


def _pattern(secret: str) -> str:
    return "".join(_run(character, len(list(same))) for character, same in groupby(secret))


def _without_named(text: str) -> str:
    try:
        document = json.loads(text, object_pairs_hook=_Members)
        if isinstance(document, _Members | list):
            # Names in JSON may be escaped in ways that only a parser decodes.
            return json.dumps(_hidden(document), ensure_ascii=False).encode("utf-8", "replace").decode()
    except (ValueError, RecursionError):
        pass
    return _scanned(text)


class _Members(list[tuple[str, Any]]):
    """Members of a JSON object as pairs in order, also repeated ones, which a dict would lose."""


def _hidden(value: Any) -> Any:
    match value:
        case _Members():
            # In `{"name": "token", "value": ...}` the value is the credential.
            is_pair = any(_IS_NAME.search(each) for _, each in value if isinstance(each, str))
            return {
                _scanned(name): HIDDEN
                if _IS_NAME.search(name) or (is_pair and name.lower() == "value")
                else _hidden(each)
                for name, each in value
            }
        case list():
            return [_hidden(each) for each in value]
        case str():
            return _scanned(value)
    return value


def _scanned(text: str) -> str:
    """Return a text that is not JSON (a form, headers, HTML) without values that follow a credential's name."""
    text = _TAG_WITH_NAME.sub(lambda tag: _INPUT_VALUE.sub(rf"\1{HIDDEN}", tag[0]), _ESCAPED.sub(_unescaped, text))
    parts, end, values = list[str](), 0, _Values(text)
    for named in _NAMED.finditer(text):
        if named.end() > end:
            parts += [text[end : named.end()], HIDDEN]
            end = values.end(named.end())
    return _SCHEME.sub(rf"\1\2{HIDDEN}", "".join([*parts, text[end:]]))


def _unescaped(found: re.Match[str]) -> str:
    """Decode an escape sequence of a letter, digit, hyphen or underscore, to find a name with escaped characters."""
    code = int(found[4]) if found[4] else int(found[1] or found[2] or found[3], 16)
    character = chr(code)
    return character if character.isalnum() or character in "_-" else found[0]


class _Values:
    """Finds the ends of values in a text, for redaction. A truncated value ends at the end of the text."""

    def __init__(self, text: str) -> None:
        self._text = text

    def end(self, start: int) -> int:
        """Return the index after the value at `start`: a list or an object, a quoted text, or an unquoted text."""
        if self._text[start : start + 1] in {"[", "{"}:
            return self._end_of_structure(start)
        if quoted := _QUOTES.match(self._text, start):
            return self._end_of_quoted(quoted)
        if entity := _ENTITIES.match(self._text, start):
            same = (each for each in _ENTITIES.finditer(self._text, entity.end()) if each[0] == entity[0])
            return self._end_of(next(same, None))
        return self._end_of(_BARE.match(self._text, start))

    def _end_of(self, found: re.Match[str] | None) -> int:
        return found.end() if found else len(self._text)

    def _end_of_quoted(self, opened: re.Match[str]) -> int:
        """Return the index after the closing quote of a quoted text; `opened` is its opening quote.

        In JSON inside JSON a quote has one backslash before it, and three at the next level. The closing quote has as
        many backslashes as the opening quote. Escaped backslashes at the end of the text may come before them. A quote
        with another number of backslashes belongs to the text.
        """
        slashes = len(opened[1])
        ends = (
            found
            for found in _QUOTES.finditer(self._text, opened.end())
            if found[2] == opened[2] and len(found[1]) % (2 * (slashes + 1)) == slashes
        )
        return self._end_of(next(ends, None))

    def _end_of_structure(self, start: int) -> int:
        depth, at = 0, start
        while found := _PARTS.search(self._text, at):
            at = found.end()
            if found[2]:
                at = self._end_of_quoted(found)
                continue
            depth += 1 if found[0] in "[{" else -1
            if depth == 0:
                return at
        return len(self._text)


def _run(character: str, count: int) -> str:
    """Return a regular expression for a run of `count` equal characters of a secret, in all spellings.

    A backslash may be written as one or as two. One quantifier (`{n,2n}`) for all repetitions avoids exponential
    backtracking.
    """
    if character == "\\":
        return rf"(?:\\{{{count},{2 * count}}}|(?:(?i:%5c|&#x5c;)|&#92;){{{count}}})"
    return _spellings(character) * count


@lru_cache(maxsize=256)
def _spellings(character: str) -> str:
    if character.isascii() and character.isalnum():
        return character
    code = ord(character)
    ways = {character, f"\\{character}", json.dumps(character)[1:-1], html.escape(character), f"&#{code};"}
    coded = {quote(character, safe="", errors="replace"), f"%{code:02x}", f"\\u{code:04x}", f"&#x{code:x};"}
    patterns = {re.escape(way) for way in ways} | {f"(?i:{re.escape(way)})" for way in coded}
    if character == " ":
        patterns.add(r"\+")
    return f"(?:{'|'.join(sorted(patterns, key=len, reverse=True))})"
