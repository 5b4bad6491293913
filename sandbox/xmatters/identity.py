"""UUIDs of people, groups, shifts and devices, made of their names."""

import uuid


def identity(kind: str, name: str) -> str:
    """Return the UUID of what has this name: the same for as long as the sandbox runs, and afterwards."""
    # A name may hold a lone surrogate, which JSON can write and UTF-8 cannot.
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{kind}/{name}".encode("utf-8", "surrogatepass")))
