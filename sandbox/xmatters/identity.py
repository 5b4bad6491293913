"""UUIDs of people, groups and other objects, computed from their names."""

import uuid


def identity(kind: str, name: str) -> str:
    """Return a UUID that depends on the kind of an object, such as "GROUP", and its name only: the same in each run."""
    # A name may hold a lone surrogate, which JSON can write and UTF-8 cannot.
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{kind}/{name}".encode("utf-8", "surrogatepass")))
