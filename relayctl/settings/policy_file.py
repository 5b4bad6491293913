"""File of `relayctl explain --policy`: a channel's secret, or its policy alone, as JSON."""

import json
from typing import Any, NamedTuple

from relay.channels.channel import Channel
from relay.channels.parsing import decode_secret, parse_channel
from relay.failures import InvalidChannel
from relay.http.session import AllowList, VendorHosts

_WHOLE = {"inbound", "xmatters"}
# Values of the made-up channel for a file with a policy alone. They are never used, and never shown.
_NOT_IN_FILE = "not-in-the-file-and-never-used"
_NO_TRIGGER = "https://example.xmatters.com/api/integration/1/functions/none/triggers"


class AnyHost(AllowList):
    """Allow-list that allows every URL, to parse a secret without the stack's allow-lists.

    This is safe: relayctl does not call the URLs of such a secret, or checks their hosts before the call.
    """

    def check(self, url: str) -> None:
        """Allow the URL."""


ANY_HOSTS = VendorHosts(AnyHost("", ()), AnyHost("", ()))


class PolicyFile(NamedTuple):
    """Content of a policy file.

    Attributes:
        channel: The channel. If the file has a policy alone, a made-up channel with this policy.
        is_whole: True if the file has a whole channel's secret, as Secrets Manager keeps it.
    """

    channel: Channel
    is_whole: bool


def parse_policy_file(name: str, text: str) -> PolicyFile:
    """Parse the JSON of a channel's secret, or of its `policy`. Raises InvalidChannel, which quotes no value."""
    document = _decoded(text)
    if _WHOLE & document.keys():
        return PolicyFile(parse_channel(name, text, ANY_HOSTS), is_whole=True)
    policy = document["policy"] if document.keys() == {"policy"} else document
    secret: dict[str, Any] = {
        "inbound": {"token": _NOT_IN_FILE},
        "xmatters": {"trigger_url": _NO_TRIGGER, "auth": {"type": "url"}},
        "policy": policy,
    }
    return PolicyFile(parse_channel(name, json.dumps(secret), ANY_HOSTS), is_whole=False)


def _decoded(text: str) -> dict[str, Any]:
    try:
        document = decode_secret(text)
    except InvalidChannel:
        raise InvalidChannel("the policy file is not JSON") from None
    if not isinstance(document, dict):
        raise InvalidChannel("the policy file must be a JSON object: a channel's secret, or its policy")
    return document
