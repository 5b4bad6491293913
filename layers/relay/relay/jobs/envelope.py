"""The envelope in which a job travels on a queue: all that another try needs, and nothing that is secret.

ASCII-escaped JSON, so that no character of a body can make SQS refuse it; the body zlib-compressed in base64.
"""

import base64
import json
import re
import zlib
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, NamedTuple, Self

from relay.channels.schema import CHANNEL_NAME
from relay.incidents.share import Share, Version

SCHEMA = 1
# Of SQS's 1 MiB, attributes take their share too.
MAX_ENVELOPE_BYTES = 1024 * 1024 - 8 * 1024
MAX_BODY_BYTES = 4 * 1024 * 1024
MAX_TEXT = 1024
MAX_REDUCED_BYTES = 60 * 1024
# The resolution of `timestamp`.
MILLISECOND = 0.001


class JobKind(StrEnum):
    """Kind of a job: what a worker does with it. A newer version may write kinds that this one does not know."""

    SIGNAL = "signal"
    FOLLOWUP = "followup"
    WRITEBACK = "writeback"
    RELEASE = "release"
    RECONCILE = "reconcile"


class UnreadableMessage(ValueError):
    """A queue message that is no envelope of this schema. The message of the error says what is wrong."""


class Job(NamedTuple):
    """A piece of work that can be done from itself alone.

    A job is kept before its first attempt: then `reason` is `in_flight`, and it never failed. Times are ISO 8601, UTC.

    Attributes:
        kind: a JobKind, or the word of a kind that this version does not know.
        attempts: how often xMatters was really asked.
        not_before: the time before which the job must not be attempted.
        replays: how often an operator replayed it.
        body_reduced: `body` is not the bytes that BigPanda sent, but as much of them as fitted.
        may_have_rung: xMatters may have accepted one of the attempts.
        accepted: xMatters accepted it, and the ledger could not be told.
        healed: which one it is of those that the sweeper sent in the place of a message that did not come; 0: it is the
            message itself.
        digest: hash of the state; None: the body has the state.
        is_dated_by_another: the share has no time stamps, and `version` is that of a state that came before it.
        rounds: attempts from the retry queue that failed.
        ledger_down_since: the time at which the job met a ledger that fails.
        dead_lettered_at: the time at which the relay dead-lettered the job last; None: never, or SQS's own redrive
            moved it.
        revived_at: the time at which the worker received the job from the dead-letter queue; the job's age counts from
            then. The job is revived if that is later than `dead_lettered_at`.
        url_recipients: the recipients that the webhook's URL named, None if nobody noted them. For each set of them an
            incident is announced on its own.
        priority: xMatters' priority, if the channel's route names one.
        spare: the same job is on the queue once more, and that one sees to what this one can't do.
        found: BigPanda was asked for the share; its alerts need not have the ids that they have in a webhook.
        waits_for_ledger: the job is not sent before the ledger can be asked, since a critical of its incident was sent
            without it.
        unrouted: to decide the channel's routes would have taken too much work, so its recipients are those of several.
    """

    kind: str
    delivery_id: str
    channel: str
    incident_id: str
    body: bytes
    received_at: str
    reason: str
    correlation_id: str
    version: Version | None
    recipients: tuple[str, ...]
    transition: str | None = None
    status: str | None = None
    first_failed_at: str | None = None
    last_failed_at: str | None = None
    attempts: int = 0
    http_status: int | None = None
    response_excerpt: str = ""
    not_before: str | None = None
    replays: int = 0
    body_reduced: bool = False
    may_have_rung: bool = False
    accepted: bool = False
    healed: int = 0
    digest: str | None = None
    is_dated_by_another: bool = False
    rounds: int = 0
    ledger_down_since: str | None = None
    dead_lettered_at: str | None = None
    revived_at: str | None = None
    url_recipients: tuple[str, ...] | None = None
    priority: str | None = None
    spare: bool = False
    found: bool = False
    waits_for_ledger: bool = False
    unrouted: bool = False
    schema: int = SCHEMA

    @property
    def stored_name(self) -> str:
        """The name under which the job is stored for a debt: two copies of one share are two jobs."""
        return f"{self.delivery_id}/{self.received_at}"

    @property
    def mark(self) -> float | None:
        """The time at which the job was dead-lettered last, in epoch seconds; None if it was not."""
        return seconds_of(self.dead_lettered_at) if self.dead_lettered_at else None

    @property
    def is_revived(self) -> bool:
        """True if the worker received the job again after it was dead-lettered last."""
        if self.revived_at is None or self.dead_lettered_at is None:
            return self.revived_at is not None
        return seconds_of(self.revived_at) > seconds_of(self.dead_lettered_at)

    def revived(self, now: float) -> Self:
        """Return the dead-lettered job as it starts anew at `now` (epoch seconds): its age and its backoff begin.

        The revival is later than the mark, whatever the clocks of the two functions say.
        """
        mark = seconds_of(self.dead_lettered_at) if self.dead_lettered_at else 0.0
        at = timestamp(max(now, mark + MILLISECOND))
        return self.fresh()._replace(revived_at=at, replays=self.replays + 1, rounds=0)

    def fresh(self) -> Self:
        """Return the job without what is true of one message alone, or for a while."""
        return self._replace(not_before=None, spare=False, ledger_down_since=None, waits_for_ledger=False)

    def waiting(self, reason: str, until: float) -> Self:
        """Return the job as it waits, for that reason, until a time in epoch seconds."""
        return self._replace(reason=reason, not_before=timestamp(until))

    def to_json(self) -> str:
        """The envelope: printable ASCII only."""
        packed = base64.b64encode(zlib.compress(self.body)).decode("ascii")
        return json.dumps({**self._asdict(), "body": packed}, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read an envelope; raises UnreadableMessage."""
        try:
            members = json.loads(text)
            if members["schema"] != SCHEMA:
                raise UnreadableMessage(f"its schema is {members['schema']!r}, and this version reads {SCHEMA}")
            # What has a default may be missing: an older version wrote the envelope.
            known = {name: members[name] for name in cls._fields if name in members or name not in cls._field_defaults}
        except UnreadableMessage:
            raise
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise UnreadableMessage(f"it is not an envelope of the relay ({type(error).__name__}: {error})") from None
        return cls(**known | _typed(known))

    def attributes(self) -> dict[str, str]:
        """Return the message's attributes; every value is legal for SQS."""
        return {
            "channel": self.channel,
            "incident_id": legal_text(self.incident_id),
            "reason": self.reason,
            "kind": self.kind,
            "schema": str(self.schema),
        }


_TEXTS = ("kind", "delivery_id", "channel", "incident_id", "received_at", "reason", "correlation_id")
_COUNTS = ("attempts", "replays", "rounds", "healed")
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
    """The text without what SQS refuses in an attribute: control characters and lone surrogates; never empty."""
    return "".join(character if _is_legal(character) else "\ufffd" for character in text[:MAX_TEXT]) or "-"


def _is_legal(character: str) -> bool:
    code = ord(character)
    return code in {0x9, 0xA, 0xD} or 0x20 <= code <= 0xD7FF or 0xE000 <= code <= 0xFFFD or code >= 0x10000


def fits(envelope: str) -> bool:
    """Return True if a queue takes an envelope of this size."""
    return len(envelope) <= MAX_ENVELOPE_BYTES


def reduced_body(share: Share) -> bytes:
    """A body that always fits: small members as they are, long texts cut, alerts by id and status alone."""
    wrapped = share.document.get("incident")
    outside = _small_members(share.document)
    small = _small_members(wrapped) if isinstance(wrapped, dict) else outside
    # First, since of two spellings of a name the first is read.
    kept = {
        "id": share.incident_id,
        "alerts": [{"id": alert.id[:100], "status": (alert.status or "unknown")[:20]} for alert in share.alerts[:300]],
        "relay_note": "cut to fit: alerts are here by id and status alone",
    }
    incident = kept | {name: value for name, value in small.items() if name not in kept}
    return json.dumps(outside | {"incident": incident} if isinstance(wrapped, dict) else incident).encode()


def _small_members(members: Mapping[str, Any]) -> dict[str, Any]:
    """The members that are short, or texts cut short, in their order, as long as there is room."""
    small, room = {}, MAX_REDUCED_BYTES
    for name, value in members.items():
        cut = value[:MAX_TEXT] if isinstance(value, str) else value
        with suppress(ValueError, RecursionError):
            size = len(json.dumps({name[:100]: cut}, allow_nan=False))
            if size <= min(room, 8 * MAX_TEXT):
                small[name[:100]] = cut
                room -= size
    return small


def timestamp(seconds: float) -> str:
    """Epoch seconds as ISO 8601 in UTC, to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def seconds_of(moment: str) -> float:
    """The epoch seconds of an ISO 8601 moment; raises ValueError."""
    return datetime.fromisoformat(moment).timestamp()
