"""A channel's secret that has every key of the schema, with a canary in each credential and in nothing else."""

import json
from pathlib import Path
from typing import Any

from relay.channels import token

CANARY = "canary-9d3e"
_GOLDEN = Path(__file__).parent / "compat/golden/secret-1.json"
_AUTHS: dict[str, dict[str, str]] = {
    "url": {"type": "url"},
    "basic": {"type": "basic", "username": "relay", "password": f"{CANARY}-password"},
    "api_key": {"type": "api_key", "key": f"x-api-key-{CANARY}", "secret": f"{CANARY}-secret"},
    "oauth": {"type": "oauth", "client_id": "client-1", "username": "relay", "password": f"{CANARY}-password"},
}
# Keys that came after the golden document.
_LATER: dict[str, dict[str, Any]] = {
    "bigpanda": {"automations": ["5d3b0009"]},
    "policy": {"unanswered_recipients": ["Duty Managers"], "reroute_within_seconds": 300, "canary": False},
}


def every_setting(channel: str, kind: str = "basic") -> dict[str, Any]:
    """Return the secret of a channel with every setting.

    `kind` is the type of the credentials for the trigger and for xMatters' REST API.
    """
    secret: dict[str, Any] = json.loads(_GOLDEN.read_text())
    for name, members in _LATER.items():
        secret[name] |= members
    secret["inbound"]["token"] = token.make(channel, "inbound", lambda letters: letters[7])
    secret["xmatters"]["auth"] = _AUTHS[kind]
    secret["xmatters"]["rest"]["auth"] = _AUTHS["basic" if kind == "url" else kind]
    return secret
