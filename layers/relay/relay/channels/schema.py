"""JSON Schema of a channel's secret, and its checker, which knows only the keywords that are used here."""

import json
import re
from collections.abc import Iterator, Mapping
from math import inf
from typing import Any

from relay.incidents.share import ENVIRONMENT_ID

# Upper bound of `max_age_seconds`: the longest time that SQS keeps a message.
MOST_AGE_SECONDS = 1_209_600
# Lower bound of `expect_share_every`: the last use of a credential is recorded once an hour, so the known time of the
# last share can be an hour too early.
LEAST_EXPECTED_SECONDS = 7200

# Upper bound of `pauses`, with the ended ones.
MOST_PAUSES = 50

# Bounds of `policy.flap`. The ledger's entry has the time of each transition, and a job of its debt outlives a day.
FLAP_TRANSITIONS = (2, 20)
MOST_FLAP_MINUTES = 1_440

_TEXT = {"type": "string", "minLength": 1, "maxLength": 4096}


def _object(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required, "additionalProperties": False, "properties": properties}


def _matching(pattern: str, complaint: str, longest: int) -> dict[str, Any]:
    """Return the schema of a text. `complaint` is the error message if the text does not match the pattern.

    The pattern must match in linear time. `patternErrorMessage` is also known to editors (YAML and JSON of VS Code).
    """
    return {"type": "string", "maxLength": longest, "pattern": pattern, "patternErrorMessage": complaint}


def _number(low: float, high: float) -> dict[str, Any]:
    return {"type": "number", "minimum": low, "maximum": high}


def _count(low: int, high: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": low, "maximum": high}


# Printable ASCII without spaces: a header can carry it without encoding.
HEADER_PATTERN = r"^[\x21-\x7e]+\Z"
_TOKEN = _matching(HEADER_PATTERN, "must be printable ASCII without spaces, as a header carries it", 4096)
_URL = _matching(r"^https?://[^\s]+\Z", "must be a URL", 2048)
_LOGIN = _object(["username", "password"], username=_TEXT, password=_TEXT)
_CREDENTIALS = {"basic": _LOGIN, "token": _TOKEN}
_DOOR = _object([], **_CREDENTIALS, previous=_object(["expires_at"], **_CREDENTIALS, expires_at=_TEXT))
_RECIPIENT = _matching(r"^\s*[^,\s][^,]*\Z", "must not be blank or hold a comma", 200)
_NAME = {"type": "string", "minLength": 1, "maxLength": 200}
# Strict, since an environment's id is put into paths of BigPanda's API.
_ENVIRONMENT = _matching(
    rf"^{ENVIRONMENT_ID}\Z",
    "must be an environment's id: letters, digits and ._:-, the first a letter or digit",
    200,
)
_RESPONSES = {"type": "array", "maxItems": 50, "items": _NAME}
_ACTION = _object(
    ["do"], do={"enum": ["resolve", "snooze", "comment"]}, minutes={"type": "integer", "minimum": 1, "maximum": 129_000}
)
_PRIORITY = {"enum": ["HIGH", "MEDIUM", "LOW"]}
_RECIPIENTS = {"type": "array", "maxItems": 100, "items": _RECIPIENT}
_PATTERNS = {"type": ["string", "array"], "minLength": 1, "maxLength": 200, "maxItems": 50, "items": _NAME}
_CONDITIONS = {
    "type": "object",
    "maxProperties": 10,
    "additionalProperties": False,
    "patternProperties": {r"^(status|severity|environment|source_system|tag\.[^\s].{0,99})\Z": _PATTERNS},
}
_ROUTE = _object(
    ["when", "recipients"],
    when=_CONDITIONS,
    recipients=_RECIPIENTS,
    priority=_PRIORITY,
)
_PAUSE = _object(
    ["since", "until", "then"],
    since=_TEXT,
    until=_TEXT,
    then={"enum": ["keep", "drop"]},
    when=_CONDITIONS | {"minProperties": 1},
    reason=_NAME,
    by=_NAME,
)
_CALLBACK = {"enum": ["response", "annotation", "status", "delivery", "escalation", "failure"]}
_TRANSITION = {"enum": ["opened", "worsened", "eased", "grew", "resolved", "reopened"]}

AUTH: dict[str, dict[str, Any]] = {
    "url": _object(["type"], type=_TEXT),
    "basic": _object(["type", "username", "password"], type=_TEXT, username=_TEXT, password=_TEXT),
    "api_key": _object(["type", "key", "secret"], type=_TEXT, key=_TEXT, secret=_TEXT),
    "oauth": _object(
        ["type", "client_id", "username", "password"],
        type=_TEXT,
        client_id=_TEXT,
        username=_TEXT,
        password=_TEXT,
    ),
}
# The members of an auth depend on its type. AUTH checks them separately, so that the message can name the key at fault.
_AUTH = {"type": "object", "required": ["type"], "properties": {"type": {"enum": list(AUTH)}}}

CHANNEL = _object(
    ["inbound", "xmatters"],
    inbound=_DOOR,
    xmatters=_object(
        ["trigger_url", "auth"],
        trigger_url=_URL,
        auth=_AUTH,
        recipients=_RECIPIENTS,
        recipients_in={"enum": ["workflow", "url"]},
        any_trigger_path={"type": "boolean"},
        callback=_DOOR,
        responses=_object([], acknowledge=_RESPONSES, escalate=_RESPONSES),
        rest=_object(["base_url", "auth"], base_url=_URL, auth=_AUTH),
    ),
    bigpanda=_object(
        ["api_key"],
        base_url=_URL,
        api_key=_TOKEN,
        environment_id=_ENVIRONMENT,
        environments={"type": "array", "maxItems": 20, "uniqueItems": True, "items": _ENVIRONMENT},
        assign={"type": "boolean"},
        actions={"type": "object", "maxProperties": 50, "additionalProperties": _ACTION},
        email_domain=_NAME,
        comments={"type": "array", "uniqueItems": True, "items": _CALLBACK},
        callbacks={"type": "boolean"},
        app_key=_TOKEN,
        reconcile={"enum": ["report", "ring", True, False]},
        reconcile_query={"type": "string", "minLength": 1, "maxLength": 2000},
        automations={"type": "array", "maxItems": 50, "uniqueItems": True, "items": _NAME},
    ),
    policy=_object(
        [],
        preset={"enum": ["parity", "oncall"]},
        notify_on={"type": "array", "uniqueItems": True, "items": _TRANSITION},
        body={"enum": ["bigpanda", "xmatters"]},
        max_property_length=_count(30, 20_000),
        priorities=_object([], critical=_PRIORITY, warning=_PRIORITY, unknown=_PRIORITY, ok=_PRIORITY),
        properties={
            "type": "object",
            "maxProperties": 50,
            "additionalProperties": {"type": "string", "maxLength": 20_000},
        },
        replace={"type": "boolean"},
        confirm_resolve={"type": "boolean"},
        quiet_after_acknowledge={"type": "boolean"},
        mode={"enum": ["live", "shadow"]},
        pauses={"type": "array", "maxItems": MOST_PAUSES, "items": _PAUSE},
        routes={"type": "array", "maxItems": 100, "items": _ROUTE},
        allowed_recipients=_RECIPIENTS,
        min_seconds_between_signals=_number(0, 86_400),
        max_per_minute=_count(1, 1_000),
        max_per_minute_per_recipients=_count(1, 1_000),
        max_age_seconds=_number(60, MOST_AGE_SECONDS),
        fallback_after_seconds=_number(0, 86_400),
        page_within_seconds=_number(60, 900),
        notified_within_seconds=_number(0, 86_400),
        answered_within_seconds=_number(0, 86_400),
        unanswered_recipients=_RECIPIENTS,
        reroute_within_seconds=_number(0, 3_600),
        expect_share_every=_number(LEAST_EXPECTED_SECONDS, 7 * 86_400),
        canary={"type": "boolean"},
        flap=_object(
            ["transitions", "minutes"],
            transitions=_count(*FLAP_TRANSITIONS),
            minutes=_number(1, MOST_FLAP_MINUTES),
        ),
    ),
)


# Compared with the exact type of a value, since bool is a subclass of int in Python.
_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
}


def faults(value: Any, schema: Mapping[str, Any], place: str) -> Iterator[str]:
    """Yield each violation of the schema, which names the key at fault but never its value.

    `place` is the dotted key of the value in the secret, such as `xmatters.auth`; empty for the whole secret.
    """
    if not schema:
        return  # An empty schema allows any value, however deeply nested.
    if "type" in schema:
        wanted = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
        if not any(_is_of_type(value, name) for name in wanted):
            yield _fault(place, f"must be of type {' or '.join(wanted)}")
            return
    # In Python, 1 and 1.0 equal True.
    if "enum" in schema and not any(type(value) is type(each) and value == each for each in schema["enum"]):
        choices = (each if isinstance(each, str) else json.dumps(each) for each in schema["enum"])
        yield _fault(place, f"must be one of {', '.join(choices)}")
        return
    match value:
        case dict():
            yield from _object_faults(value, schema, place)
        case list():
            yield from _array_faults(value, schema, place)
        case str():
            yield from _text_faults(value, schema, place)
        case int() | float():
            yield from _number_faults(value, schema, place)


def _is_of_type(value: Any, name: str) -> bool:
    is_whole = isinstance(value, float) and value.is_integer()
    return type(value) in _TYPES[name] or (name == "integer" and is_whole)


def _object_faults(members: dict[str, Any], schema: Mapping[str, Any], place: str) -> Iterator[str]:
    if len(members) < schema.get("minProperties", 0):
        yield _fault(place, "must not be empty")
    if len(members) > schema.get("maxProperties", inf):
        yield _fault(place, f"must have {schema['maxProperties']} keys at most")
    if missing := [key for key in schema.get("required", ()) if key not in members]:
        yield _fault(place, f"needs {', '.join(missing)}")
    for key, member in members.items():
        if (wanted := _schema_of(key, schema)) is False:
            yield _fault(place, f"unknown key {key}")
        else:
            yield from faults(member, wanted, f"{place}.{key}" if place else key)


def _schema_of(key: str, schema: Mapping[str, Any]) -> Any:
    """Return the schema of an object's member; False if the object must not have the member."""
    if key in schema.get("properties", {}):
        return schema["properties"][key]
    for pattern, wanted in schema.get("patternProperties", {}).items():
        if re.search(pattern, key):
            return wanted
    return schema.get("additionalProperties", {})


def _array_faults(items: list[Any], schema: Mapping[str, Any], place: str) -> Iterator[str]:
    if len(items) > schema.get("maxItems", inf):
        yield _fault(place, f"must have {schema['maxItems']} items at most")
    for index, item in enumerate(items):
        yield from faults(item, schema.get("items", {}), f"{place}.{index}")
    texts = [item for item in items if isinstance(item, str)]
    if schema.get("uniqueItems") and len(set(texts)) < len(texts):
        yield _fault(place, "must not name anything twice")


def _text_faults(text: str, schema: Mapping[str, Any], place: str) -> Iterator[str]:
    if len(text) < schema.get("minLength", 0):
        yield _fault(place, "must not be empty")
    # Before the pattern, whose work the length bounds.
    if len(text) > schema.get("maxLength", inf):
        yield _fault(place, f"must have {schema['maxLength']} characters at most")
    elif "pattern" in schema and not re.search(schema["pattern"], text):
        yield _fault(place, schema["patternErrorMessage"])


def _number_faults(number: float, schema: Mapping[str, Any], place: str) -> Iterator[str]:
    if number < schema.get("minimum", -inf):
        yield _fault(place, f"must be {schema['minimum']} or more")
    if number > schema.get("maximum", inf):
        yield _fault(place, f"must be {schema['maximum']} or less")


def _fault(place: str, complaint: str) -> str:
    return f"{place or 'the secret'}: {complaint}"
