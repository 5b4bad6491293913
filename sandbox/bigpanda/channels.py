"""The sharing channel: its settings, and the rules for which changes of an incident are shared. Pure code.

Documented by BigPanda (docs/vendors.md, "What BigPanda sends" and "How BigPanda takes the answer"):

- one URL for each integration, with a static header;
- AutoShare shares new incidents of its environment; an older one is shared when it reopens or starts flapping;
- an update goes to all recipients of earlier shares, also after a manual share;
- an incident that became snoozed or flapping is shared once in that state, and then not updated while it lasts;
- with callbacks, updates after the first share are held until the callback service is called, or for 5 minutes (another
  page says 15).

Guesses, to be checked against an organisation:

- a failed webhook is sent again as BigPanda's ServiceNow integration does it: 6 attempts in all, on 501 and above and
  without an answer; the 15 minutes between them are shortened here (`RESEND_SECONDS`);
- a close, and an update that ends a snooze, are sent, since the incident is not snoozed or flapping any more;
- a manual share is sent while the incident is snoozed or flapping, too.
"""

from dataclasses import dataclass
from typing import Any

from sandbox.bigpanda import states
from sandbox.bigpanda.incidents import ENVIRONMENT, Incident
from sandbox.http.schema import compiled

# Attempts to send one webhook, in all, with resends.
MOST_ATTEMPTS = 6
RESEND_SECONDS = 10
LOCK_SECONDS = 300
# Triggers on which AutoShare shares an incident that is not shared yet.
FIRST_TRIGGERS = ("incident#new", "incident#reopen", "incident#become-flapping")

# Webhooks go to this machine only: nothing real is rung by accident.
_URL = {
    "type": "string",
    "maxLength": 4000,
    "pattern": r"^https?://(127\.0\.0\.1|\[::1\]|([a-z0-9-]{1,63}\.){0,4}localhost)(:[0-9]{1,5})?(/[\x21-\x7e]*)?$",
}
_HEADER = {
    "type": "object",
    "required": ["name", "value"],
    "properties": {
        "name": {"type": "string", "pattern": "^[A-Za-z0-9-]{1,100}$"},
        "value": {"type": "string", "pattern": "^[\\x21-\\x7e]([\\x20-\\x7e]{0,4000}[\\x21-\\x7e])?$"},
    },
    "additionalProperties": False,
}
_CHANNEL = compiled(
    {"url": _URL, "header": _HEADER},
    {
        "version": {"enum": ["v1", "v2"], "default": "v1"},
        "resends": {"type": "boolean", "default": True},
        "resend_seconds": {"type": "number", "minimum": 0, "maximum": 3600, "default": RESEND_SECONDS},
        "share": {"enum": ["auto", "manual"], "default": "auto"},
        "callbacks": {"type": "boolean", "default": False},
        "lock_seconds": {"type": "number", "minimum": 0, "maximum": 3600, "default": LOCK_SECONDS},
        "environment_id": {"type": "string", "minLength": 1, "maxLength": 200, "default": ENVIRONMENT},
    },
)


@dataclass(frozen=True)
class Channel:
    """Settings of BigPanda's sharing channel, through which live incidents are shared by webhooks.

    Attributes
    ----------
    url
        Address that webhooks are posted to, on this machine.
    header
        Name and value of the header by which the receiver authenticates BigPanda.
    version
        v1 or v2.
    resends
        True if a webhook that failed is sent again.
    resend_seconds
        Seconds between the attempts.
    share
        auto: each new incident is shared; manual: only by hand.
    callbacks
        True if updates after the first share are held until the callback service is called.
    lock_seconds
        Seconds after which the callback lock, which holds those updates, ends by itself.
    environment_id
        Id of the environment whose incidents are shared.
    """

    url: str
    header: tuple[str, str]
    version: str
    resends: bool
    resend_seconds: float
    share: str
    callbacks: bool
    lock_seconds: float
    environment_id: str

    def shown(self) -> dict[str, Any]:
        """Return the channel's settings without secrets: the header's value and the URL's query are left out."""
        return vars(self) | {"header": {"name": self.header[0]}, "url": self.url.partition("?")[0]}


def parse(declared: object) -> Channel:
    """Return the sharing channel that a JSON object declares. Raises InvalidError, which names the invalid key."""
    wanted = _CHANNEL(declared, "channel")
    header = wanted.pop("header")
    return Channel(header=(header["name"], header["value"]), **wanted)


def why_not_sent(channel: Channel, environment_id: str, before: Incident, after: Incident, event: str) -> str | None:
    """Return the reason why a change is not shared with the channel, as a sentence; None if it is shared.

    `before` and `after` are the incident before and after the change, and `event` is the trigger's name in webhook v2,
    or "manual".
    """
    if environment_id != channel.environment_id:
        return "Not shared: the channel is of another environment."
    if event == "manual":
        return None
    if not before["shared"]:
        is_first = channel.share == "auto" and event in FIRST_TRIGGERS
        return None if is_first else "Not shared: nobody shared the incident yet."
    if states.is_quiet(before) and states.is_quiet(after):
        return "Not shared: no updates are sent while the incident is snoozed or flapping."
    return None
