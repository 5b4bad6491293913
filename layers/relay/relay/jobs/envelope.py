"""Envelope of a job on a queue: everything that the next attempt needs, and no secret.

The envelope is ASCII-escaped JSON, so that SQS refuses no character of a body. The body is compressed with zlib, and
encoded in base64.
"""

import base64
import json
import re
import zlib
from collections.abc import Mapping
from typing import Any

from relay.channels.policy import CHANNEL_NAME
from relay.jobs.job import Job, Stamps, seconds_of

SCHEMA = 1
# SQS accepts 1 MiB with attributes.
MAX_ENVELOPE_BYTES = 1024 * 1024 - 8 * 1024
MAX_BODY_BYTES = 4 * 1024 * 1024
MAX_TEXT = 1024
# Characters that SQS refuses in a message or an attribute.
_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_OPTIONAL = Job._field_defaults.keys()


class UnreadableMessage(ValueError):
    """Error for a queue message whose text is not a job, or is a job of another schema version.

    The text of the exception says what is wrong.
    """


def envelope_of(job: Job) -> str:
    """Return a job as a message body: JSON in printable ASCII."""
    members = job._asdict()
    members["body"] = base64.b64encode(zlib.compress(job.body)).decode("ascii")
    members["flags"], members["stamps"] = sorted(job.flags), job.stamps._asdict()
    return json.dumps({**members, "schema": SCHEMA}, separators=(",", ":"))


def read_envelope(text: str) -> Job:
    """Parse a message body into its job. Raises UnreadableMessage."""
    try:
        members = json.loads(text)
        if members["schema"] != SCHEMA:
            raise UnreadableMessage(f"its schema is {members['schema']!r}, and this version reads {SCHEMA}")
        # An older version's envelope lacks newer members, which have defaults.
        known = {name: members[name] for name in Job._fields if name in members or name not in _OPTIONAL}
        stamps = known.get("stamps", {})
        known["stamps"] = {name: stamps[name] for name in Stamps._fields if name in stamps}
    except UnreadableMessage:
        raise
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UnreadableMessage(f"it is not an envelope of the relay ({type(error).__name__}: {error})") from None
    return Job(**(known | _typed(known)))


def attributes_of(job: Job) -> dict[str, str]:
    """Return a job's message attributes, by which operators filter; every value is legal for SQS."""
    return {
        "channel": job.channel,
        "incident_id": legal_text(job.incident_id),
        "reason": job.stamps.reason,
        "kind": job.kind,
        "schema": str(SCHEMA),
    }


_TEXTS = ("kind", "channel", "incident_id", "received_at")
_TEXT_STAMPS = ("reason", "correlation_id")
_COUNTS = ("attempts", "plan")
_MOMENTS = ("received_at", "not_before", "ledger_down_since", "dead_lettered_at", "revived_at")


def _typed(members: Mapping[str, Any]) -> dict[str, Any]:
    stamps = members["stamps"]
    if any(not isinstance(members[name], str) for name in _TEXTS):
        raise UnreadableMessage(f"one of {', '.join(_TEXTS)} is not a text")
    if any(not isinstance(stamps.get(name, ""), str) for name in _TEXT_STAMPS):
        raise UnreadableMessage(f"one of {', '.join(_TEXT_STAMPS)} is not a text")
    if not re.match(CHANNEL_NAME, members["channel"]):
        raise UnreadableMessage("its channel has no channel's name")
    lists = (members["url_recipients"], members.get("flags", []), stamps.get("recipients", []))
    if not all(isinstance(each, list) for each in lists):
        raise UnreadableMessage("its recipients or its flags are not a list")
    if any(not isinstance(each, int) for each in (*map(members.get, _COUNTS, (0, 0)), stamps.get("replays", 0))):
        raise UnreadableMessage(f"one of {', '.join((*_COUNTS, 'replays'))} is not a number")
    try:
        moments = (*map(members.get, _MOMENTS), stamps.get("first_failed_at"), stamps.get("last_failed_at"))
        for moment in filter(None, moments):
            seconds_of(moment)
        unpacker = zlib.decompressobj()
        body = unpacker.decompress(base64.b64decode(members["body"], validate=True), MAX_BODY_BYTES + 1)
        version = members.get("version")
        if len(body) > MAX_BODY_BYTES or not unpacker.eof:
            raise UnreadableMessage("its body is larger than any share, or cut off")
        url_recipients, flags, recipients = (tuple(map(str, each)) for each in lists)
        return {
            "body": body,
            "url_recipients": url_recipients,
            "version": (float(version[0]), float(version[1])) if version is not None else None,
            "flags": frozenset(flags),
            "stamps": Stamps(**{**stamps, "recipients": recipients}),
        }
    except UnreadableMessage:
        raise
    except (ValueError, TypeError, IndexError, zlib.error) as error:
        raise UnreadableMessage(f"a part of it can't be read ({type(error).__name__}: {error})") from None


def legal_text(text: str) -> str:
    """Return the text without characters that SQS refuses in an attribute (control, lone surrogates); never empty."""
    return _ILLEGAL.sub("\ufffd", text[:MAX_TEXT]) or "-"


def fits(envelope: str) -> bool:
    """Return True if a message body (`envelope`) is small enough for SQS."""
    return len(envelope) <= MAX_ENVELOPE_BYTES
