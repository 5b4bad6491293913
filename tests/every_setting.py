"""A channel's secret that has every key of the schema, with a canary in each credential and in nothing else."""

from typing import Any

from relay.channels import token

CANARY = "canary-9d3e"
_AUTHS: dict[str, dict[str, str]] = {
    "url": {"type": "url"},
    "basic": {"type": "basic", "username": "relay", "password": f"{CANARY}-password"},
    "api_key": {"type": "api_key", "key": f"x-api-key-{CANARY}", "secret": f"{CANARY}-secret"},
    "oauth": {"type": "oauth", "client_id": "client-1", "username": "relay", "password": f"{CANARY}-password"},
}
LATER = "2030-01-31T12:00:00+00:00"


def every_setting(channel: str, kind: str = "basic") -> dict[str, Any]:
    """Return the secret of a channel with every setting.

    `kind` is the type of the credentials for the trigger and for xMatters' REST API.
    """
    return {
        "inbound": {
            "basic": {"username": "bigpanda", "password": f"{CANARY}-login"},
            "token": token.make(channel, "inbound", lambda letters: letters[7]),
            "previous": {
                "basic": {"username": "bigpanda", "password": f"{CANARY}-old-login"},
                "token": f"{CANARY}-old-inbound-token",
                "expires_at": LATER,
            },
        },
        "xmatters": {
            "trigger_url": f"https://acme.xmatters.com/api/integration/1/functions/f1/triggers?apiKey={CANARY}",
            "auth": _AUTHS[kind],
            "recipients": ["Network Operations", "no", "0123", "1e5", "12:30", "~"],
            "recipients_in": "workflow",
            "any_trigger_path": False,
            "callback": {
                "basic": {"username": "xmatters", "password": f"{CANARY}-back-login"},
                "token": f"{CANARY}-callback-token-of-24",
                "previous": {
                    "basic": {"username": "xmatters", "password": f"{CANARY}-old-back-login"},
                    "token": f"{CANARY}-old-callback-token",
                    "expires_at": LATER,
                },
            },
            "responses": {"acknowledge": ["On it"], "escalate": []},
            "rest": {"base_url": "https://acme.xmatters.com", "auth": _AUTHS["basic" if kind == "url" else kind]},
        },
        "bigpanda": {
            "base_url": "https://api.bigpanda.io",
            "api_key": f"BPU{CANARY}",
            "environment_id": "e1",
            "environments": ["e2", "5f3"],
            "assign": True,
            "email_domain": "acme.com",
            "comments": ["response", "status"],
            "callbacks": True,
            "app_key": f"{CANARY}-app-key",
            "reconcile": False,
            "reconcile_query": 'source_system = "x"',
            "automations": ["5d3b0009"],
            "actions": {"Resolve": {"do": "resolve"}, "Snooze 1 h": {"do": "snooze", "minutes": 60}},
        },
        "policy": {
            "mode": "shadow",
            "pauses": [
                {"since": LATER, "until": LATER, "then": "keep"},
                {"since": LATER, "until": LATER, "then": "drop", "when": {"environment": "staging*"}},
                {"since": LATER, "until": LATER, "then": "keep", "reason": "INC-7", "by": "assumed-role/oncall/jane"},
            ],
            "preset": "oncall",
            "notify_on": ["opened", "resolved"],
            "body": "xmatters",
            "max_property_length": 300,
            "priorities": {"critical": "HIGH", "warning": "LOW", "unknown": "LOW", "ok": "LOW"},
            "properties": {"team": "payments", "yes": "on", "a.b": "two\nlines\n", "c": "\x85 \u2028é😀"},
            "replace": False,
            "confirm_resolve": True,
            "quiet_after_acknowledge": False,
            "routes": [
                {"when": {"status": "critical", "tag.team": ["a", "b*"]}, "recipients": ["A"], "priority": "HIGH"},
                {"when": {"severity": "null"}, "recipients": ["B"]},
            ],
            "allowed_recipients": ["Storage*"],
            "min_seconds_between_signals": 1.5,
            "max_per_minute": 60,
            "max_per_minute_per_recipients": 30,
            "max_age_seconds": 21_600,
            "fallback_after_seconds": 300.0,
            "page_within_seconds": 240,
            "notified_within_seconds": 0,
            "answered_within_seconds": 900.0,
            "unanswered_recipients": ["Duty Managers"],
            "reroute_within_seconds": 300,
            "expect_share_every": 14_400,
            "canary": False,
            "flap": {"transitions": 4, "minutes": 10},
        },
    }
