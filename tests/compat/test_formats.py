"""Golden documents: today's code reads what earlier versions wrote, and writes what they read.

Functions of two versions meet for seconds in a deployment and for longer after a roll-back, and items of the table live
for months. So a golden document never changes.
"""

import json
import zlib
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

from relayctl.log_lines import is_about
from tests.compat import formats
from tests.compat.formats import FORMATS

GOLDEN = Path(__file__).parent / "golden"
# The sample of each golden document by the name of its file: a format, and a number. The highest number is today's.
SAMPLES: dict[str, Any] = {
    "entry-1": formats.ENTRY,
    "entry-2": formats.ENTRY_WITH_FAILED,
    "entry-3": formats.ENTRY_WITH_FURTHER,
    "entry-4": formats.ENTRY_WITH_TIME,
    "gate-1": formats.GATE,
    "job-1": formats.STORED_JOB,
    "job-2": formats.STORED_JOB_TO_SEND,
    "job_line-1": formats.RESULT,
    "marks-1": formats.MARKS,
    "message-1": formats.JOB,
    "message-2": formats.JOB_FOR_SOME,
    "message-3": formats.JOB_ACCEPTED_BY_SOME,
    "reconcile-1": formats.LISTING,
    "reconcile-2": formats.LISTING,
    "secret-1": json.loads((GOLDEN / "secret-1.json").read_text()),
    "share_line-1": formats.RESULT,
    "sweeper-1": formats.RUN,
    "sweeper-2": formats.RUN,
    "sweeper-3": formats.RUN,
    "sweeper-4": formats.RUN,
}
LINES = [name for name in SAMPLES if "_line-" in name]
CHANGED = """

The format "{kind}" changed. The versions before this one meet it, and their documents are still there.
Never change golden/{name}.json nor its sample: this version has to read it. Put beside it what is written now, with the
next number (CONTRIBUTING.md, "Change a stored format"). Written now:

{document}"""


def golden(name: str) -> Any:
    """Return a golden document."""
    return json.loads((GOLDEN / f"{name}.json").read_text())


def newest(kind: str) -> str:
    """Return the name of the newest golden document of a format."""
    return max((name for name in SAMPLES if name.startswith(f"{kind}-")), key=lambda name: int(name.partition("-")[2]))


def comparable(document: Any) -> Any:
    """Return a document with plain bodies: compressed bytes differ between versions of zlib."""
    if not isinstance(document, dict):
        return document
    plain = {name: comparable(value) for name, value in document.items()}
    if "schema" in plain and "body" in plain:
        plain["body"] = zlib.decompress(b64decode(plain["body"])).decode()
    return plain


@pytest.mark.parametrize("kind", FORMATS)
def test_todays_code_writes_the_newest_golden_document(kind: str) -> None:
    name = newest(kind)
    # As JSON: a tuple is a list.
    written = json.loads(json.dumps(FORMATS[kind].write(SAMPLES[name])))
    document = json.dumps(written, indent=1)
    assert comparable(written) == comparable(golden(name)), CHANGED.format(kind=kind, name=name, document=document)


@pytest.mark.parametrize("name", [name for name in SAMPLES if name not in LINES])
def test_todays_code_reads_each_golden_document(name: str) -> None:
    assert FORMATS[name.partition("-")[0]].read(golden(name)) == SAMPLES[name]


@pytest.mark.parametrize("name", LINES)
def test_relayctl_reads_each_golden_log_line(name: str) -> None:
    line = FORMATS[name.partition("-")[0]].read(golden(name))
    assert (line.at, line.message) == (formats.NOW, name.partition("_")[0])
    assert is_about(line, "i1")


def test_each_golden_document_has_a_sample() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == SAMPLES.keys()
