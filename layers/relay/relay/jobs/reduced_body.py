"""Reduced body of a share, for a job that is too large for a message or a table item. Pure code."""

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from relay.channels.routes import TAG
from relay.failures import BadRequest
from relay.incidents.details import KEPT_FACTS, MAX_VALUES, details_of
from relay.incidents.share import Fields, Share, parse_share
from relay.jobs.job import Flag, Job
from relay.jobs.queue import MAX_TEXT


def reduced(job: Job) -> Job:
    try:
        share = parse_share(job.body)
    except BadRequest:
        # Should not happen, since the body was parsed before. Try to store the whole job then.
        return job
    return job._replace(body=reduced_body(share)).with_flags(Flag.BODY_REDUCED)


MAX_REDUCED_BYTES = 60 * 1024
MAX_FACTS_BYTES = 16 * 1024


def reduced_body(share: Share) -> bytes:
    """Return a share's body that always fits into a message: long texts are cut, alerts have id and status only.

    Tags and source systems, about which routes and pauses may ask, are kept once for all alerts together.
    """
    wrapped = share.document.get("incident")
    outside = _small_members(share.document)
    if facts := _facts(share):
        metadata = outside.get("metadata")
        outside["metadata"] = {**(metadata if isinstance(metadata, dict) else {}), KEPT_FACTS: facts}
    small = _small_members(wrapped) if isinstance(wrapped, dict) else outside
    # These come first, since the first of two spellings of a name is read.
    kept = {
        "id": share.incident_id,
        "alerts": [{"id": alert.id[:100], "status": (alert.status or "unknown")[:20]} for alert in share.alerts[:300]],
        "relay_note": "cut to fit: alerts are here by id and status alone",
    } | ({"description": share.title} if share.title and not Fields(small).first("description") else {})
    incident = kept | {name: value for name, value in small.items() if name not in kept}
    return json.dumps(outside | {"incident": incident} if isinstance(wrapped, dict) else incident).encode()


def _facts(share: Share) -> dict[str, list[str]]:
    """Return the different values of each tag and of the source system over all alerts, in MAX_FACTS_BYTES.

    Facts with few values come first: a tag with a value for each alert, such as a trace, is seldom asked about.
    """
    found, room = details_of(share), MAX_FACTS_BYTES
    values = {f"{TAG}{name}": each for name, each in found.tags_by_name().items()}
    if systems := [alert.source_system for alert in found.alerts if alert.source_system]:
        values["source_system"] = systems
    facts: dict[str, list[str]] = {}
    for fact, some in sorted(values.items(), key=lambda item: len(set(item[1]))):
        kept = list(dict.fromkeys(some))[:MAX_VALUES]
        size = len(json.dumps({fact: kept}))
        if size <= room:
            facts[fact] = kept
            room -= size
    return facts


def _small_members(members: Mapping[str, Any]) -> dict[str, Any]:
    """Return the small members of a JSON object, texts cut to MAX_TEXT, until MAX_REDUCED_BYTES are used."""
    small, room = {}, MAX_REDUCED_BYTES
    for name, value in members.items():
        cut = value[:MAX_TEXT] if isinstance(value, str) else value
        with suppress(ValueError, RecursionError):
            size = len(json.dumps({name[:100]: cut}, allow_nan=False))
            if size <= min(room, 8 * MAX_TEXT):
                small[name[:100]] = cut
                room -= size
    return small
