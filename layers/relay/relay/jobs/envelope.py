"""Envelope of a job on a queue: everything that the next attempt needs, and no secret.

The envelope is ASCII-escaped JSON, so that SQS refuses no character of a body. The members of all the job's groups
stand side by side. The body is compressed with zlib, and encoded in base64.
"""

import base64
import json
import re
import zlib
from collections.abc import Mapping
from typing import Any

from relay.channels.policy import CHANNEL_NAME
from relay.jobs.job import Failures, Job, JobMessage, Payload, Revival, Routing, seconds_of

SCHEMA = 1
# SQS accepts 1 MiB with attributes.
MAX_ENVELOPE_BYTES = 1024 * 1024 - 8 * 1024
MAX_BODY_BYTES = 4 * 1024 * 1024
MAX_TEXT = 1024
# Characters that SQS refuses in a message or an attribute.
_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_GROUPS: Mapping[str, Any] = {
    "payload": Payload,
    "routing": Routing,
    "failures": Failures,
    "message": JobMessage,
    "revival": Revival,
}
_MEMBERS = (
    *(name for name in Job._fields if name not in _GROUPS),
    *(name for group in _GROUPS.values() for name in group._fields),
)
_OPTIONAL = frozenset(name for group in _GROUPS.values() for name in group._field_defaults)


class UnreadableMessage(ValueError):
    """Error for a queue message whose text is not a job, or is a job of another schema version.

    The text of the exception says what is wrong.
    """


def envelope_of(job: Job) -> str:
    """Return a job as a message body: JSON in printable ASCII."""
    members = job._asdict()
    for name in _GROUPS:
        members |= members.pop(name)._asdict()
    packed = base64.b64encode(zlib.compress(job.payload.body)).decode("ascii")
    return json.dumps({**members, "body": packed, "schema": SCHEMA}, separators=(",", ":"))


def read_envelope(text: str) -> Job:
    """Parse a message body into its job. Raises UnreadableMessage."""
    try:
        members = json.loads(text)
        if members["schema"] != SCHEMA:
            raise UnreadableMessage(f"its schema is {members['schema']!r}, and this version reads {SCHEMA}")
        # An older version's envelope lacks newer members, which have defaults.
        known = {name: members[name] for name in _MEMBERS if name in members or name not in _OPTIONAL}
    except UnreadableMessage:
        raise
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UnreadableMessage(f"it is not an envelope of the relay ({type(error).__name__}: {error})") from None
    known |= _typed(known)
    groups = {
        group: kind(**{name: known.pop(name) for name in kind._fields if name in known})
        for group, kind in _GROUPS.items()
    }
    return Job(**known, **groups)


def attributes_of(job: Job) -> dict[str, str]:
    """Return a job's message attributes, by which operators filter; every value is legal for SQS."""
    return {
        "channel": job.channel,
        "incident_id": legal_text(job.incident_id),
        "reason": job.failures.reason,
        "kind": job.kind,
        "schema": str(SCHEMA),
    }


_TEXTS = ("kind", "delivery_id", "channel", "incident_id", "received_at", "reason", "correlation_id")
_COUNTS = ("attempts", "replays", "failed_retries", "plan", "bell")
_MOMENTS = (
    "received_at",
    "first_failed_at",
    "last_failed_at",
    "not_before",
    "ledger_down_since",
    "dead_lettered_at",
    "revived_at",
)


def _typed(members: Mapping[str, Any]) -> dict[str, Any]:
    if any(not isinstance(members[name], str) for name in _TEXTS):
        raise UnreadableMessage(f"one of {', '.join(_TEXTS)} is not a text")
    if not re.match(CHANNEL_NAME, members["channel"]):
        raise UnreadableMessage("its channel has no channel's name")
    if not isinstance(members["recipients"], list):
        raise UnreadableMessage("its recipients are not a list")
    url_recipients = members.get("url_recipients")
    if not isinstance(url_recipients, list | None):
        raise UnreadableMessage("the recipients of its URL are not a list")
    if any(not isinstance(members.get(name, 0), int) for name in _COUNTS):
        raise UnreadableMessage(f"one of {', '.join(_COUNTS)} is not a number")
    try:
        for moment in filter(None, map(members.get, _MOMENTS)):
            seconds_of(moment)
        unpacker = zlib.decompressobj()
        body = unpacker.decompress(base64.b64decode(members["body"], validate=True), MAX_BODY_BYTES + 1)
        version = members["version"]
        if len(body) > MAX_BODY_BYTES or not unpacker.eof:
            raise UnreadableMessage("its body is larger than any share, or cut off")
        return {
            "body": body,
            "recipients": tuple(str(name) for name in members["recipients"]),
            "url_recipients": None if url_recipients is None else tuple(str(name) for name in url_recipients),
            "version": (float(version[0]), float(version[1])) if version is not None else None,
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
