"""Details of an incident in a webhook's body: environments, alerts, tags and link. Pure code."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from relay.foreign_text import is_bigpanda_link, url_part
from relay.incidents.share import (
    MAX_ALERTS,
    MAX_ID_LENGTH,
    RANKS,
    Fields,
    Share,
    fields_of,
    incident_of,
    nested,
    scalar,
)

# Limits against hostile bodies: several times BigPanda's own numbers. Further items are not read.
MAX_TAGS = 200
MAX_VALUES = 100
# Member of a body's metadata with facts that the ledger kept of an incident's last share (`channels.kept_facts`).
KEPT_FACTS = "facts_of_last_share"


class AlertDetails(NamedTuple):
    """Details of an alert. Texts are empty if the body has none.

    Attributes:
        status: In lower case.
        host: Value of the tag `host`, or else of the tag that is the primary property, or else the member `host`.
        check: The same for `check` and the secondary property.
        tags: Pairs of name and value. A name can occur several times.
    """

    status: str
    is_active: bool
    description: str
    host: str
    check: str
    source_system: str
    tags: tuple[tuple[str, str], ...]


class Details(NamedTuple):
    """Details of an incident. Members are empty if the body has none.

    Attributes:
        environments: Ids and names.
        alerts: The worst first. BigPanda's webhook of version 2 sends none.
        itself: The incident's own members, read as those of an alert.
        tags: Pairs of name and value; a name can occur several times.
    """

    environments: tuple[str, ...]
    alerts: tuple[AlertDetails, ...]
    itself: AlertDetails
    tags: tuple[tuple[str, str], ...]
    description: str
    link: str

    def tags_by_name(self) -> dict[str, list[str]]:
        """Return the values of all tags of the incident and its alerts, by the tag's name in lower case."""
        values: dict[str, list[str]] = {}
        for tags in (self.tags, *(alert.tags for alert in self.alerts)):
            for name, value in tags:
                values.setdefault(name.lower(), []).append(value)
        return values


def details_of(share: Share) -> Details:
    incident = incident_of(Fields(share.document))
    found = incident.first("alerts")
    alerts = [_alert(Fields(each)) for each in _some(found, MAX_ALERTS) if isinstance(each, dict)]
    return Details(
        environments=environments_of(share),
        alerts=tuple(sorted(alerts, key=lambda alert: -RANKS.get(alert.status, RANKS["unknown"]))),
        itself=_alert(incident),
        tags=tuple(tag for name in ("incidenttags", "tags") for tag in _tags(incident.get(name))),
        description=scalar(incident.first("description")) or "",
        link=_link(incident, share.incident_id),
    )


def environments_of(share: Share) -> tuple[str, ...]:
    outside = Fields(share.document)
    environments = (
        share.environment_id,
        nested(outside.first("metadata"), "environment", "environmentname"),
        outside.first("environment"),
        *_listed(incident_of(outside).first("environments"))[:MAX_VALUES],
    )
    return tuple(dict.fromkeys(text for each in environments if (text := scalar(each) or _name(each))))


def kept_values(share: Share, fact: str) -> list[str]:
    """Return a fact's values that `with_facts` added to a share from BigPanda's API; empty for a webhook's share."""
    metadata = fields_of(share.document.get("metadata"))
    kept = metadata.get(KEPT_FACTS.replace("_", ""))
    values = kept.get(fact) if isinstance(kept, dict) else None
    return [text for each in _some(values, MAX_VALUES) if (text := scalar(each)) is not None]


def _alert(fields: Fields) -> AlertDetails:
    tags = tuple(_tags(fields.first("tags")))
    values = {name.lower(): value for name, value in reversed(tags)}
    active = fields.first("active")
    status = (scalar(fields.first("status")) or "").strip().lower()
    return AlertDetails(
        status=status,
        is_active=active if isinstance(active, bool) else status != "ok",
        description=scalar(fields.first("description", "subject")) or "",
        host=_tagged(values, fields, "host", "primaryproperty"),
        check=_tagged(values, fields, "check", "secondaryproperty"),
        source_system=scalar(fields.first("sourcesystem")) or "",
        tags=tags,
    )


def _tagged(tags: Mapping[str, str], fields: Fields, name: str, named_by: str) -> str:
    by_property = tags.get((scalar(fields.first(named_by)) or "").lower())
    return tags.get(name) or by_property or scalar(fields.first(name)) or ""


def _tags(value: Any) -> Iterator[tuple[str, str]]:
    pairs: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, list):
        pairs = ((nested(each, "tagid", "name", "id"), nested(each, "value", "tagvalue")) for each in value)
    elif isinstance(value, Mapping):
        pairs = value.items()
    for place, (name, held) in enumerate(pairs):
        if place >= MAX_TAGS:
            return
        for each in _listed(held)[:MAX_VALUES]:
            text = str(each).lower() if isinstance(each, bool) else scalar(each)
            if name and text is not None:
                yield str(name), text


def _some(value: Any, most: int) -> list[Any]:
    return value[:most] if isinstance(value, list) else []


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _name(value: Any) -> str | None:
    return scalar(nested(value, "name")) or scalar(nested(value, "id"))


def console_link(incident_id: str) -> str:
    """Return the incident's URL in BigPanda's console, as a client that BigPanda published has it (docs/vendors.md)."""
    return f"https://a.bigpanda.io/#/app/overview/all/active/incidents/{url_part(incident_id[:MAX_ID_LENGTH])}"


def _link(incident: Fields, incident_id: str) -> str:
    """Return the first link to BigPanda in a body; without one, the console's. Other links are not trusted."""
    hrefs = (scalar(nested(each, "href")) or "" for each in _some(incident.first("links"), MAX_VALUES))
    return next(filter(is_bigpanda_link, hrefs), console_link(incident_id))
