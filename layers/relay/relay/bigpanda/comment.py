"""The comment that a callback becomes in BigPanda, for who reads the incident there. Pure code."""

from relay.incidents.callback import Answers, Callback, Kind
from relay.jobs.envelope import legal_text

# No limit is documented for a comment; BigPanda's own for the comment of a resolve is 1,000 characters.
MAX_COMMENT = 1000
MARK_LENGTH = 8


def mark(delivery_id: str) -> str:
    """Return the mark by which a comment is found again if its write may have failed."""
    return f"[relay {delivery_id[:MARK_LENGTH]}]"


def text(said: Callback, answers: Answers, assigned: str, mark: str, *, is_verified: bool) -> str:
    """The comment: who did what, from which device, with which note. `assigned` says what came of an assignment."""
    doubt = "" if is_verified else "Unverified, since xMatters did not confirm it:"
    parts = [doubt, _deed(said, answers), assigned, f"Note: {said.note}" if said.note else ""]
    words = legal_text(" ".join(part for part in parts if part))
    end = f" {mark}"
    room = MAX_COMMENT - len(end)
    return (words if len(words) <= room else words[: room - 1] + "…") + end


def _deed(said: Callback, answers: Answers) -> str:
    page = f"xMatters page {said.event_number or said.event_id or '(no number)'}"
    on_device = f" on {said.device}" if said.device else ""
    because = f": {said.reason}" if said.reason else ""
    match said.kind:
        case Kind.RESPONSE:
            return f"{_who(said)} {_verb(said, answers)} {page}{f' from {said.device}' if said.device else ''}."
        case Kind.ANNOTATION:
            return f"{_who(said)} commented on {page}."
        case Kind.DELIVERY:
            return f"{page} did not reach {_who(said)}{on_device} ({said.said})."
        case Kind.ESCALATION:
            return f"{page} was escalated{f' in {said.group}' if said.group else ''}{because}."
        case Kind.FAILURE:
            return f"Nobody is left for {page}: {said.group or _who(said)} could not be notified{because}."
        case Kind.STATUS:
            by = f" by {_who(said)}" if said.target or said.name else ""
            return f"{page} is {(said.said or 'changed').lower().replace('_', ' ')}{by}."


def _verb(said: Callback, answers: Answers) -> str:
    if answers.is_acknowledgement(said):
        return "acknowledged"
    if answers.is_escalation(said):
        return "escalated"
    return f'answered "{said.said}" to' if said.said else "answered"


def _who(said: Callback) -> str:
    if said.name and said.target:
        return f"{said.name} ({said.target})"
    return said.name or said.target or "Somebody"
