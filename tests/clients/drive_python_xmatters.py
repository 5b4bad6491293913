"""Program that drives python-xmatters; it runs in the client's own environment, `.venv-python-xmatters`.

It reads one JSON object from standard input: ``url``, ``login`` (the arguments of ``set_authentication``), and
``calls``. A call is a list of steps from the session: each is the name of a method with its arguments, or of an
attribute. It writes a list with one outcome for each call: ``{"value"}``, or ``{"error", "message"}`` if the client
raised an exception.
"""

import json
import sys
from typing import Any

from xmatters import XMSession
from xmatters.connection import ApiBase
from xmatters.utils import Pagination, TimeAttribute

# Members of the client's objects that are not xMatters' data.
INTERNAL = {"con", "base_resource", "constructor"}


class Storage:
    """Storage of an OAuth token in memory: the client renews expired tokens only if it has a storage."""

    token: Any = None

    def read_token(self) -> Any:
        return self.token

    def write_token(self, token: Any) -> None:
        self.token = token


def main() -> None:
    said = json.load(sys.stdin)
    try:
        session = XMSession(said["url"]).set_authentication(**said["login"], token_storage=Storage())
    except Exception as error:  # noqa: BLE001 - every exception of the client is an outcome
        outcomes = [_raised(error) for _ in said["calls"]]
    else:
        outcomes = [_outcome(session, call) for call in said["calls"]]
    json.dump(outcomes, sys.stdout)


def _outcome(session: Any, call: list[Any]) -> dict[str, Any]:
    try:
        found = session
        for name, *arguments in call:
            member = getattr(found, name)
            found = member(*arguments) if callable(member) else member
        return {"value": _plain(found)}
    except Exception as error:  # noqa: BLE001 - every exception of the client is an outcome
        return _raised(error)


def _raised(error: Exception) -> dict[str, Any]:
    return {"error": type(error).__name__, "message": str(error)}


def _plain(found: Any) -> Any:
    """Return a result of the client as JSON types: an object by its members, a time in ISO 8601."""
    if isinstance(found, TimeAttribute):
        return found.datetime().isoformat()
    if isinstance(found, Pagination):
        return list(map(_entry, found))
    if isinstance(found, ApiBase):
        members = {name: each for name, each in vars(found).items() if name[0] != "_" and name not in INTERNAL}
        return {"class": type(found).__name__} | {name: _plain(each) for name, each in members.items()}
    if isinstance(found, list | tuple):
        return [_plain(each) for each in found]
    return found


def _entry(found: Any) -> Any:
    # The client returns None again and again if a listing has fewer entries than its total.
    if found is None:
        raise RuntimeError("the listing has fewer entries than its total, or one of an unknown type")
    return _plain(found)


if __name__ == "__main__":
    main()
