"""Reduced body of a share, for jobs that are too large for a queue message or a stored item. Pure code."""

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from relay.incidents.share import Share

MAX_TEXT = 1024
MAX_REDUCED_BYTES = 60 * 1024


def reduced_body(share: Share) -> bytes:
    """Return a share's body that always fits into a message: long texts are cut, alerts have id and status only."""
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
    """Return the small members of a JSON object, in order, until MAX_REDUCED_BYTES are used.

    Texts are cut to MAX_TEXT characters. Larger members are left out.
    """
    small, room = {}, MAX_REDUCED_BYTES
    for name, value in members.items():
        cut = value[:MAX_TEXT] if isinstance(value, str) else value
        with suppress(ValueError, RecursionError):
            size = len(json.dumps({name[:100]: cut}, allow_nan=False))
            if size <= min(room, 8 * MAX_TEXT):
                small[name[:100]] = cut
                room -= size
    return small
