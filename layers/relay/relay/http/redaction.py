"""Redaction of credentials in vendors' texts, before a text is stored or logged. Pure code.

Known secrets are found in every spelling (URL, JSON, HTML); unknown secrets by their names, such as `access_token`.
"""

import html
import json
import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import groupby
from urllib.parse import quote

HIDDEN = "***"
# A name that contains one of these is the name of a credential. `api_key`, `apiKey` and `API-KEY` all match.
_NAME = (
    r"token|secret|pass[\W_]{0,3}(?:word|wd|phrase|code)|pwd|authorization|credential|cookie|bearer|jwt|signature"
    r"|session[\W_]{0,3}id|(?:api|private|access|signing)[\W_]{0,3}key"
)
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
        | > | (?:{_TAG} \s*+)++                          # <token>..., <td>token</td><td>...
    )
    \s*+ (?:{_TAG} \s*+)*+""",
    re.IGNORECASE | re.VERBOSE,
)
_SCHEME = re.compile(r"""(?i)\b(bearer|basic)(\s+)[^\s"'&<>,}]+""")
_IS_NAMED = re.compile(_NAME, re.IGNORECASE)
# A pair, in either order: `{"name": "token", "value": ...}`, `<input value="..." name="token">`.
_VALUE = re.compile(rf"\bvalue{_QUOTE}?+\s*+[=:]", re.IGNORECASE)
_ESCAPED = re.compile(
    r"(?<!\\)\\+u00([2-7][0-9a-f])|%([2-7][0-9a-f])|&\#x([2-7][0-9a-f]);|&\#([0-9]{2,3});", re.IGNORECASE
)


def redact(text: str, secrets: Iterable[str]) -> str:
    """Return the text with `secrets` hidden, in any spelling.

    The text is cut where the first value begins that has the name of a credential, such as `password`.
    """
    known = [_pattern(secret) for secret in sorted(filter(None, secrets), key=len, reverse=True)]
    return _without_known(_without_named(_without_known(text, known)), known)


def _without_known(text: str, patterns: Iterable[str]) -> str:
    for pattern in patterns:
        text = re.sub(pattern, HIDDEN, text)
    return text


def _pattern(secret: str) -> str:
    return "".join(_run(character, len(list(same))) for character, same in groupby(secret))


def _without_named(text: str) -> str:
    text = _ESCAPED.sub(_unescaped, text)
    found = (_NAMED.search(text), _VALUE.search(text) if _IS_NAMED.search(text) else None)
    if ends := [value.end() for value in found if value]:
        text = text[: min(ends)] + HIDDEN
    return _SCHEME.sub(rf"\1\2{HIDDEN}", text)


def _unescaped(found: re.Match[str]) -> str:
    """Decode an escape sequence of a letter, digit, hyphen or underscore, to find a name with escaped characters."""
    code = int(found[4]) if found[4] else int(found[1] or found[2] or found[3], 16)
    character = chr(code)
    return character if character.isalnum() or character in "_-" else found[0]


def _run(character: str, count: int) -> str:
    """Return a regular expression for a run of `count` equal characters of a secret, in all spellings."""
    # One quantifier (`{n,2n}`) for all repetitions avoids exponential backtracking.
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
