"""The relay's own request body for a signal, for custom workflows: recipients, priority, properties. Pure code.

The properties have the names of the outputs of docs/xmatters/trigger.js. All are texts of limited length, as xMatters'
text properties require (docs/vendors.md, "Flow Designer").
"""

import json
from typing import NamedTuple

from relay.foreign_text import cut
from relay.incidents.details import AlertDetails, Details, details_of
from relay.incidents.share import Share, State

MAX_LENGTH = 2000
# A text message of several parts may be lost, and a voice reads on (docs/vendors.md, "Flow Designer").
MAX_SUBJECT = 150
_MAX_ALERT = 400
_FLAPS = "This incident flaps. The next signal comes when it is worse, or when it has been calm for a while."


class BodyRule(NamedTuple):
    """Settings of the relay's own request body.

    Attributes:
        max_length: Largest length of a property's text (characters). Longer texts are cut.
        properties: Further properties, the same in each body, as pairs of name and text.
    """

    max_length: int = MAX_LENGTH
    properties: tuple[tuple[str, str], ...] = ()


def build_body(
    share: Share,
    state: State,
    recipients: tuple[str, ...],
    priority: str,
    rule: BodyRule,
    *,
    is_flapping: bool = False,
) -> bytes:
    document = {
        "recipients": [{"id": name} for name in recipients],
        "priority": priority,
        "properties": {
            name: cut(value, rule.max_length)
            for name, value in {
                **_properties(share, state, rule.max_length, is_flapping=is_flapping),
                **dict(rule.properties),
            }.items()
        },
    }
    return json.dumps(document).encode()


def _properties(share: Share, state: State, room: int, *, is_flapping: bool) -> dict[str, str]:
    found = details_of(share)
    worst = found.alerts[0] if found.alerts else found.itself
    if not worst.description:
        # A body that was cut to fit has alerts without texts.
        worst = worst._replace(description=found.itself.description)
    word = (share.status or "open") if state.is_open else "resolved"
    word = f"flapping, {word}" if is_flapping else word
    said = _description(found, room - len(_FLAPS)) if is_flapping else _description(found, room)
    return {
        "subject": cut(_headline(word, worst) or f"{word.upper()}: BigPanda incident {share.incident_id}", MAX_SUBJECT),
        "description": f"{_FLAPS}\n{said}" if is_flapping else said,
        "incident_id": share.incident_id,
        "environment_id": share.environment_id or "",
        "status": share.status or "",
        "severity": share.severity or "",
        "is_over": "false" if state.is_open else "true",
        "source_systems": ", ".join(dict.fromkeys(each.source_system for each in found.alerts if each.source_system)),
        "host": worst.host,
        "check": worst.check,
        "tags": "\n".join(dict.fromkeys(f"{name}: {value}" for name, value in (*found.tags, *worst.tags))),
        "link": found.link,
        "alerts_total": str(len(found.alerts)),
        "alerts_active": str(sum(alert.is_active for alert in found.alerts)),
    }


def _headline(word: str, alert: AlertDetails) -> str:
    what = " ".join(part for part in (alert.host, alert.check) if part)
    described = ": ".join(part for part in (what, " ".join(alert.description.split())) if part)
    return f"{word.upper()} {described}" if described else ""


def _description(found: Details, room: int) -> str:
    """Return the incident's description and a line for each alert, the worst first. Alerts without room are counted."""
    lines, left = [found.description] if found.description else [], room - len(found.description) - 30
    for place, alert in enumerate(found.alerts):
        line = cut(_headline(alert.status or "unknown", alert) or alert.status, _MAX_ALERT)
        if len(line) > left:
            return "\n".join([*lines, f"and {len(found.alerts) - place} more"])
        lines.append(line)
        left -= len(line) + 1
    return "\n".join(lines)
