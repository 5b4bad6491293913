"""The team of the channel `demo`: people with phones, a group, routes, and the login of xMatters' REST API."""

from typing import Any

GROUP = "database-oncall"
# Seconds until an unanswered page goes to the group's next member.
ESCALATION_SECONDS = 300

# Jane and Ed are users of BigPanda, too (`sandbox.bigpanda.users`), so incidents can be assigned to them.
PEOPLE: list[dict[str, Any]] = [
    {
        "name": "jdoe",
        "full_name": "Jane Doe",
        "email": "jane.doe@acme.example",
        "devices": [
            {"name": "Phone App", "kind": "APPLE_PUSH"},
            {"name": "Work Email", "kind": "EMAIL"},
            {"name": "Work Phone", "kind": "VOICE", "delay_seconds": 60},
        ],
    },
    {
        "name": "epearson",
        "full_name": "Ed Pearson",
        "email": "epearson@acme.example",
        "devices": [
            {"name": "Work Email", "kind": "EMAIL"},
            {"name": "SMS", "kind": "TEXT_PHONE"},
            {"name": "Work Phone", "kind": "VOICE", "delay_seconds": 120},
        ],
    },
    {
        "name": "lchen",
        "full_name": "Li Chen",
        "email": "li.chen@acme.example",
        "devices": [
            {"name": "Phone App", "kind": "ANDROID_PUSH"},
            {"name": "Work Email", "kind": "EMAIL"},
            {"name": "SMS", "kind": "TEXT_PHONE", "delay_seconds": 60},
        ],
    },
]
GROUPS: list[dict[str, Any]] = [
    {
        "name": GROUP,
        "members": [{"name": "jdoe"}, {"name": "epearson", "after_seconds": ESCALATION_SECONDS}],
    }
]
RECIPIENTS = [GROUP]
# Li is in no group: incidents of the team `network` ring Li alone.
ROUTES: list[dict[str, Any]] = [{"when": {"tag.team": "network"}, "recipients": ["lchen"]}]
# Public, as the channel's tokens are: it opens xMatters' stand-in on this machine only.
REST_AUTH = {"type": "api_key", "key": "x-api-key-local-demo", "secret": "local-rest-secret-not-a-secret"}
