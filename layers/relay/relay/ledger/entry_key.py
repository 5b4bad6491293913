"""Keys of ledger entries in the table.

There is one entry for each channel, set of recipients that the webhook's URL names, and incident.
"""

import hashlib
import json
from functools import lru_cache

# A key has 2,048 bytes at most; an incident's id stands in it beside a channel and a hash of recipients.
MAX_KEY_BYTES = 1024


def key(channel: str, recipients: tuple[str, ...], incident_id: str) -> str:
    """Return the table's key for an incident's entry. `recipients` are those of the webhook's URL, in any order."""
    return f"incident/{channel}/{named(recipients)}/{legal(incident_id)}"


def shadow_of(name: str) -> str:
    """Return the key of the separate entry that shadow mode uses in place of the ordinary one, `name`."""
    return f"shadow/{name.removeprefix('incident/')}"


def channel_of(name: str) -> str:
    return name.split("/", 2)[1]


def incident_of(name: str) -> str:
    """Return the incident's id in an entry's key; its hash if the id is too long for a key (see `legal`)."""
    return name.split("/", 3)[3]


def page_key(name: str) -> str:
    """Return the key by which a workflow in xMatters finds the pages of an entry with the key `name`.

    A hash, since xMatters' searches ignore letter case and may take a comma in an incident's id for a separator.
    """
    return hashlib.sha256(name.encode()).hexdigest()[:32]


# Cached, since a channel's shares have the same recipients again and again.
@lru_cache(maxsize=256)
def named(recipients: tuple[str, ...]) -> str:
    """Return a short name of a set of recipients, in any order: 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(sorted(recipients)).encode()).hexdigest()[:16]


def legal(incident_id: str) -> str:
    """Return the incident's id for a key, or its hash if DynamoDB refuses the id (too long, or a lone surrogate)."""
    encoded = incident_id.encode("utf-8", "surrogatepass")
    is_text = encoded.decode("utf-8", "replace") == incident_id
    return incident_id if is_text and len(encoded) <= MAX_KEY_BYTES else f"sha256/{hashlib.sha256(encoded).hexdigest()}"
