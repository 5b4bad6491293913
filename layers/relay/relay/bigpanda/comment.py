"""Text of the BigPanda comment for a callback. Pure code."""

import html
from typing import NamedTuple

from relay.foreign_text import identifier, quoted
from relay.incidents.callback import Callback, Kind, ResponseMeanings

# No limit of a comment is documented. BigPanda's limit for the comment of a resolve is 1,000 characters.
MAX_COMMENT = 1000
MARK_LENGTH = 8
# Longest quotation of a name, and of a reason.
MAX_NAME = 80
MAX_REASON = 300
UNVERIFIED = "Unverified, since xMatters did not confirm it:"
# Room for the sentences about the assignment and the action.
MAX_ASSIGNED = 100
_STATUSES = {"active", "suspended", "terminated", "terminated_external"}


class Comment(NamedTuple):
    """Parts of a comment. Text from outside the relay is in quotes.

    Attributes:
        action: Sentence with the person and the action.
        note: Note that the person wrote; empty if there is none.
        mark: Mark at the end, to find the comment again after an ambiguous write.
        doubt: Beginning of a comment for an unverified callback; empty for a verified one.
    """

    action: str
    note: str
    mark: str
    doubt: str = ""

    def text(self, assigned: str) -> str:
        """Return the whole comment; `assigned` has the sentences about assignment and action, or is empty."""
        return " ".join(filter(None, (self.doubt, self.action, assigned, self.note, self.mark)))

    def is_contained_in(self, found: str) -> bool:
        """True if a text from BigPanda contains the action and, after it, the note and the mark.

        The mark alone proves nothing, since another user can write it into a comment. A text with all parts has the
        whole content of the comment, so a second one is not needed.
        """
        action, end, line = map(_spaced, (self.action, f"{self.note} {self.mark}", found))
        start = line.find(action)
        return start >= 0 and line.find(end, start + len(action)) >= 0


def mark(delivery_id: str) -> str:
    """Return the mark of a callback's comment. Quoted text in a comment never has its square brackets."""
    return f"[relay {delivery_id[:MARK_LENGTH]}]"


def comment_of(said: Callback, responses: ResponseMeanings, mark: str, *, is_verified: bool = True) -> Comment:
    """Return the comment for a callback, with person, action, device and note."""
    action, doubt = _action(said, responses), "" if is_verified else UNVERIFIED
    around = " ".join(filter(None, (doubt, action, "a" * MAX_ASSIGNED, "Note: ", mark)))
    room = MAX_COMMENT - len(around)
    return Comment(action, f"Note: {quoted(said.note, room)}" if said.note else "", mark, doubt)


def _spaced(text: str) -> str:
    # Unescaped, since it is not documented if BigPanda returns comments as HTML.
    return " ".join(html.unescape(text).split())


def _action(said: Callback, responses: ResponseMeanings) -> str:
    number = said.event_number or said.event_id
    page = f"xMatters page {identifier(number) if number else '(no number)'}"
    device = quoted(said.device, MAX_NAME) if said.device else ""
    group = quoted(said.group, MAX_NAME) if said.group else ""
    because = f": {quoted(said.reason, MAX_REASON)}" if said.reason else ""
    match said.kind:
        case Kind.RESPONSE:
            return f"{_who(said)} {_verb(said, responses)} {page}{f' from {device}' if device else ''}."
        case Kind.ANNOTATION:
            return f"{_who(said)} commented on {page}."
        case Kind.DELIVERY:
            on_device = f" on {device}" if device else ""
            return f"{page} did not reach {_who(said)}{on_device} ({identifier(said.said or 'unknown')})."
        case Kind.ESCALATION:
            return f"{page} was escalated{f' in {group}' if group else ''}{because}."
        case Kind.FAILURE:
            return f"Nobody is left for {page}: {group or _who(said)} could not be notified{because}."
        case Kind.STATUS:
            by = f" by {_who(said)}" if said.target or said.name else ""
            return f"{page} is {_status(said.said)}{by}."


def _verb(said: Callback, responses: ResponseMeanings) -> str:
    if responses.is_acknowledgement(said):
        return "acknowledged"
    if responses.is_escalation(said):
        return "escalated"
    return f"answered {quoted(said.said, MAX_NAME)} to" if said.said else "answered"


def _status(said: str | None) -> str:
    word = (said or "changed").lower()
    return word.replace("_", " ") if word in {*_STATUSES, "changed"} else quoted(word, MAX_NAME)


def _who(said: Callback) -> str:
    name, target = said.name and quoted(said.name, MAX_NAME), said.target and identifier(said.target)
    if name and target:
        return f"{name} ({target})"
    return name or target or "Somebody"
