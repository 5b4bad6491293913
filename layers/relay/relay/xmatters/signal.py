"""Signal to an xMatters trigger, and the decision on which the workflow acts. Pure code."""

from typing import Literal, NamedTuple


class Decision(NamedTuple):
    """Decision about a signal, the same for all attempts, on which xMatters' workflow acts.

    The header `X-Relay-Decision` has decision and recipients as JSON. The workflow takes only texts for people from the
    body, since each sender with the webhook's token can write a body.

    Attributes:
        environment_id: BigPanda's id of the incident's environment; empty if unknown.
        page_key: Key of an incident's pages for one channel and one set of URL recipients. A resolve ends the pages
            that have its key.
        status: Status in BigPanda's words; empty for a status that BigPanda does not document.
        body: Form of the body: BigPanda's bytes (`bigpanda`), or the relay's own document (`xmatters`).
    """

    channel: str
    incident_id: str
    environment_id: str
    page_key: str
    is_over: bool
    status: str
    priority: str
    body: Literal["bigpanda", "xmatters"]


class Signal(NamedTuple):
    """Request to an xMatters trigger.

    Attributes:
        recipients: Names of all recipients; empty if the workflow chooses them.
        delivery_id: The same for all attempts.
        attempt: Counts from 1.
        may_repeat: True if an earlier attempt may have paged already.
    """

    body: bytes
    decision: Decision
    recipients: tuple[str, ...]
    delivery_id: str
    correlation_id: str
    attempt: int = 1
    may_repeat: bool = False
