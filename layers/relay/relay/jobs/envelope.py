"""Envelope of a job on a queue: everything that the next attempt needs, and no secret.

The envelope is ASCII-escaped JSON, so that SQS refuses no character of a body. The body is compressed with zlib, and
encoded in base64.
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
# SQS accepts 1 MiB with attributes.
MAX_ENVELOPE_BYTES = 1024 * 1024 - 8 * 1024
MAX_BODY_BYTES = 4 * 1024 * 1024
MAX_TEXT = 1024
MAX_REDUCED_BYTES = 60 * 1024
# The resolution of `timestamp`.
MILLISECOND = 0.001


class JobKind(StrEnum):
    """Kind of a job: what a worker does with it.

    A newer version of the relay may write kinds that this one does not know.
    """

    SIGNAL = "signal"
    FOLLOWUP = "followup"
    WRITEBACK = "writeback"
    RELEASE = "release"
    RECONCILE = "reconcile"


class UnreadableMessage(ValueError):
    """A queue message that is no envelope of this schema. The error's message says what is wrong."""


class Job(NamedTuple):
    """A self-contained piece of work for a worker.

    A job is queued before its first attempt: then `reason` is `in_flight`, and there is no failure yet. Times are ISO
    8601 in UTC, and None for never.

    Attributes:
        kind: A JobKind, or a word that this version does not know.
        delivery_id: Id of the delivery, the same over all attempts and replays.
        channel: Name of the channel.
        incident_id: Id of the incident.
        body: The share's body, or a chore's own.
        received_at: When the share, or the callback, came.
        reason: The reason of the last failure or wait.
        correlation_id: API Gateway's id of the request that began it.
        version: BigPanda's timestamps of the state; None if it has none.
        recipients: Names of the recipients.
        transition: The transition against the announced state; None if it was not compared.
        status: The incident's status; None if the share has none.
        first_failed_at: When an attempt failed first.
        last_failed_at: When an attempt failed last.
        attempts: Number of requests that were really sent.
        http_status: Status of the last answer; None if there was none.
        response_excerpt: Redacted start of the last answer.
        not_before: The time before which the job must not be attempted.
        replays: Number of replays by operators.
        body_reduced: True if `body` is cut to fit, and no longer BigPanda's bytes.
        may_have_paged: True if xMatters may have accepted one of the attempts.
        accepted: True if xMatters accepted the signal, and the ledger does not know that yet.
        healed: Number of the sweeper's job that replaces a missing message; 0 for the message itself.
        digest: Hash of the state; None if the body has the state.
        is_dated_by_another: True if the share has no timestamps, and `version` is that of a state that came before.
        rounds: Number of failed attempts from the retry queue.
        ledger_down_since: When the job first met a failing ledger.
        dead_lettered_at: When the relay dead-lettered the job last; None also if SQS's own redrive moved it.
        revived_at: When a worker received the job from the dead-letter queue. The job's age counts from then. The job
            is revived if that is later than `dead_lettered_at`.
        url_recipients: Recipients that the webhook's URL named; None if unknown. Each set of them has an entry of its
            own.
        priority: xMatters' priority by the channel's route; None if the route sets none.
        spare: True for an additional copy of a job, which only tries to send. Waits and follow-ups are left to the
            job's own message.
        found: True if a reconcile run asked BigPanda for the share. Its alerts may have other ids than in webhooks.
        waits_for_ledger: True if the job must wait for the ledger, since a critical of the incident was sent unguarded.
        routes_undecided: True if the channel's routes could not be evaluated within their budget, so that `recipients`
            has those of several routes.
        schema: Version of the envelope.
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
    may_have_paged: bool = False
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
    routes_undecided: bool = False
    schema: int = SCHEMA

    @property
    def stored_name(self) -> str:
        """Name under which the job is stored for a debt. Two copies of one share are two jobs."""
        return f"{self.delivery_id}/{self.received_at}"

    @property
    def mark(self) -> float | None:
        """Time at which the job was dead-lettered last (epoch seconds); None if it was not."""
        return seconds_of(self.dead_lettered_at) if self.dead_lettered_at else None

    @property
    def is_revived(self) -> bool:
        """True if a worker received the job after it was dead-lettered last."""
        if self.revived_at is None or self.dead_lettered_at is None:
            return self.revived_at is not None
        return seconds_of(self.revived_at) > seconds_of(self.dead_lettered_at)

    def revived(self, now: float) -> Self:
        """Return the dead-lettered job as it starts again at `now` (epoch seconds), with a new age and backoff.

        The revival is later than the mark, although clocks of functions differ.
        """
        mark = seconds_of(self.dead_lettered_at) if self.dead_lettered_at else 0.0
        at = timestamp(max(now, mark + MILLISECOND))
        return self.fresh()._replace(revived_at=at, replays=self.replays + 1, rounds=0)

    def fresh(self) -> Self:
        """Return the job without the members that belong to one message or one wait."""
        return self._replace(not_before=None, spare=False, ledger_down_since=None, waits_for_ledger=False)

    def waiting(self, reason: str, until: float) -> Self:
        """Return the job with a wait, for a reason, until a time (epoch seconds)."""
        return self._replace(reason=reason, not_before=timestamp(until))

    def to_json(self) -> str:
        """Return the envelope, in printable ASCII."""
        packed = base64.b64encode(zlib.compress(self.body)).decode("ascii")
        return json.dumps({**self._asdict(), "body": packed}, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read an envelope; raises UnreadableMessage."""
        try:
            members = json.loads(text)
            if members["schema"] != SCHEMA:
                raise UnreadableMessage(f"its schema is {members['schema']!r}, and this version reads {SCHEMA}")
            # An older version's envelope lacks newer members, which have defaults.
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
    """Return the text without characters that SQS refuses in an attribute (control, lone surrogates); never empty."""
    return "".join(character if _is_legal(character) else "\ufffd" for character in text[:MAX_TEXT]) or "-"


def _is_legal(character: str) -> bool:
    code = ord(character)
    return code in {0x9, 0xA, 0xD} or 0x20 <= code <= 0xD7FF or 0xE000 <= code <= 0xFFFD or code >= 0x10000


def fits(envelope: str) -> bool:
    """Return True if a queue takes an envelope of this size."""
    return len(envelope) <= MAX_ENVELOPE_BYTES


def reduced_body(share: Share) -> bytes:
    """Return a body that always fits: small members as they are, long texts cut, alerts with id and status only."""
    wrapped = share.document.get("incident")
    outside = _small_members(share.document)
    small = _small_members(wrapped) if isinstance(wrapped, dict) else outside
    # These come first, since the first of two spellings of a name is read.
    kept = {
        "id": share.incident_id,
        "alerts": [{"id": alert.id[:100], "status": (alert.status or "unknown")[:20]} for alert in share.alerts[:300]],
        "relay_note": "cut to fit: alerts are here by id and status alone",
    }
    incident = kept | {name: value for name, value in small.items() if name not in kept}
    return json.dumps(outside | {"incident": incident} if isinstance(wrapped, dict) else incident).encode()


def _small_members(members: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members of a JSON object in their order, long texts cut, as long as they fit MAX_REDUCED_BYTES."""
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
    """Return epoch seconds as ISO 8601 in UTC, to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def seconds_of(moment: str) -> float:
    """Return the epoch seconds of an ISO 8601 time. Raises ValueError."""
    return datetime.fromisoformat(moment).timestamp()
