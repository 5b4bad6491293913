"""Settings of BigPanda's webhook integrations for a channel: v1 to paste, v2 to create by BigPanda's API. Pure code.

With v2, the customer's template decides the whole body of a share. Sources: docs/vendors.md, "What BigPanda sends".
"""

import shlex
from collections.abc import Mapping
from typing import Any, NamedTuple

# Template of a share. Ids of variables stand in BigPanda's public pages; docs/bigpanda-webhook-v2.json is the same with
# the name of an event. There is no event here: one entry is for all triggers, and the relay needs none.
BODY: Mapping[str, str] = {
    "incident_id": "{{incident.id}}",
    "status": "{{incident.status}}",
    "severity": "{{incident.severity}}",
    "updated_at": "{{incident.updated_at}}",
    "environment_id": "{{metadata.environment_id}}",
    "subject": "{{primaryAlert.description}}",
    "host": "{{primaryAlert.tags.host}}",
    "check": "{{primaryAlert.tags.check}}",
}
PARENT = "webhook_v2"
_PATH = "/resources/v2.1/integrations"
_VARIABLES = "/resources/v2.1/fields-resolver/workflows"
# The API key is in a file of one line, `Authorization: Bearer …`: as an argument, other users could read it.
KEY_FILE, BODY_FILE = "bigpanda-header.txt", "webhook-v2.json"
DOCUMENTED, GUESS = "documented", "guess"


class Fact(NamedTuple):
    """A statement about BigPanda.

    Attributes:
        grade: `documented` by BigPanda, or a `guess` that nobody has tried.
        text: The statement.
    """

    grade: str
    text: str


V1_FACTS = (
    Fact(DOCUMENTED, "v1 posts JSON to one callback URL, with custom headers of fixed values"),
    Fact(DOCUMENTED, "a share is sent again with each change that triggers updates, a resolve too"),
    Fact(GUESS, "the header may be Authorization; the pages show other names, and name no forbidden one"),
    Fact(GUESS, "a query in the URL, such as ?recipients=jdoe, is kept"),
)
V2_FACTS = (
    Fact(DOCUMENTED, f"POST {_PATH} with a User API Key creates the integration, 201; PATCH {_PATH}/ID changes it"),
    Fact(DOCUMENTED, f"the members name, parent_system_id ({PARENT}), workflow_config and those of an event"),
    Fact(DOCUMENTED, "authorization takes Bearer or Basic, and BigPanda keeps it encrypted"),
    Fact(DOCUMENTED, "the variables incident.updated_at and primaryAlert.tags.NAME stand in BigPanda's pages"),
    Fact(GUESS, "one event entry is the default for all triggers: the published schema has no key for the trigger"),
    Fact(GUESS, "the other variables exist; GET the list: " + _VARIABLES),
    Fact(GUESS, "incident.status is ok when an incident ends; the relay takes that for its end"),
    Fact(GUESS, "a variable without a value is rendered as an empty text; the relay refuses an empty id only"),
    Fact(GUESS, "a query in base_url, such as ?recipients=jdoe, is kept as long as an event has no path"),
)


def integration(name: str, url: str, authorization: str, *, expects_callbacks: bool) -> dict[str, Any]:
    """Return the body of the API call that creates a v2 integration.

    Args:
        name: The name of the channel, and of the integration.
        url: The channel's URL for BigPanda.
        authorization: The value of the Authorization header.
        expects_callbacks: True if BigPanda holds back updates until the relay confirms the first share.
    """
    event = {"enabled": True, "method": "POST", "authorization": authorization, "body": dict(BODY)}
    config = {"base_url": url, "expects_callbacks": expects_callbacks}
    return {"name": name, "parent_system_id": PARENT, "workflow_config": {"events": [event], "config": config}}


def api_url(base_url: str) -> str:
    """Return the URL of the API call that creates a v2 integration. `base_url` is the URL of BigPanda's API."""
    return base_url + _PATH


def curl(base_url: str) -> list[str]:
    """Return the lines of the curl command that creates the v2 integration.

    The command posts the file BODY_FILE to BigPanda's API, with the header that the file KEY_FILE holds.
    """
    return [
        f"curl --fail-with-body -X POST {shlex.quote(api_url(base_url))} \\",
        f"    -H @{KEY_FILE} -H 'Content-Type: application/json' \\",
        f"    --data-binary @{BODY_FILE}",
    ]
