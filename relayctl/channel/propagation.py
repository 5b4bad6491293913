"""Propagation of a stored change to running functions: marks in the ledger's table, and tries of new credentials."""

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime

from relay.channels.cache import MARKS_SECONDS
from relay.failures import LedgerError, NoAnswer
from relay.ledger import credentials
from relayctl import moments, terminal
from relayctl.channel.endpoints import ENDPOINTS
from relayctl.stack.deployed import Stack, StackMissingError

# Secrets Manager may serve the old version for seconds after a write, and a function reads the secret every 2 s.
SETTLE_SECONDS = 5.0


def put_in_force(
    stack: Stack,
    *names: str,
    effect: str = "revoked credentials are refused",
    revokes: bool = True,
    advice: str = "run the command again",
) -> str | None:
    """Mark the secrets of channels as changed, and return the time (ISO 8601) from which no copy before is used.

    That time is said on stderr with `effect`. Return None, after a warning that ends with `advice`, if the mark could
    not be written, or on Ctrl-C. A function that finds the mark and cannot read the secret refuses requests if
    `revokes`, else it works with its older copy.
    """

    def mark() -> None:
        table = stack.bounded_table()
        for name in names:
            credentials.change_mark(table, name, uuid.uuid4().hex[:12], stack.effects.clock(), revokes=revokes)

    try:
        mark()
        if not stack.is_local:
            # A function may have read the old version after the first mark.
            with terminal.status("waiting until Secrets Manager serves the new version …"):
                stack.effects.sleep(SETTLE_SECONDS)
            mark()
    # The secret is stored: the caller must still print the new credential.
    except (LedgerError, StackMissingError, KeyboardInterrupt) as error:
        why = "interrupted" if isinstance(error, KeyboardInterrupt) else str(error)
        seconds = stack.parameters.get("SecretCacheSeconds", "300")
        terminal.say(
            f"warning: stored, but running functions may work with the settings before for {seconds} s more, and a "
            f"function that cannot read the secret for longer ({why}); {advice}"
        )
        return None
    at = stack.effects.clock() + MARKS_SECONDS
    for name in names:
        terminal.say(f"channel {name}: {effect} everywhere from {moments.clock_in_zone(at)} on")
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


TOTAL_SECONDS = 90.0
_LOCAL_GAP_SECONDS = 0.5
_ANSWER_SECONDS = 10.0
# A network that lets no request out will not change within 90 seconds.
_MOST_UNANSWERED = 3
# The answer to a body that is not JSON; a caller with wrong credentials gets 401.
_ACCEPTED = "HTTP 400"
_NO_ANSWER = "no answer"


def _answer(stack: Stack, url: str, header: Mapping[str, str]) -> str:
    headers = {"User-Agent": "relayctl", header["name"]: header["value"]}
    outward = stack.effects.outward(stack.api_host(url))
    try:
        answer = outward.ask("POST", url, b"", headers, stack.deadline(_ANSWER_SECONDS))
    except NoAnswer as error:
        return f"{_NO_ANSWER}: {error}"
    return f"HTTP {answer.status}"


def verify(stack: Stack, name: str, urls: Mapping[str, str], headers: Mapping[str, Mapping[str, str]]) -> bool:
    """Try credentials until each endpoint accepts its own: `headers` has the header by the endpoint's key.

    Return False, and raise nothing, if one does not in time, or on Ctrl-C: the secret is stored already. The body is
    empty: it notifies nobody, and the access log's alarm on 401 counts only requests with a body.
    """
    if not headers:
        return True
    terminal.say(
        f"channel {name}: waiting until the relay accepts the new credential, for up to {TOTAL_SECONDS:.0f} s …"
    )
    # A local cloud has no second copy of a secret that could be stale.
    gap_seconds = _LOCAL_GAP_SECONDS if stack.is_local else SETTLE_SECONDS
    end, unanswered, closed = stack.deadline(TOTAL_SECONDS), 0, dict.fromkeys(headers, "not called")
    try:
        with terminal.status("waiting …"):
            while closed and unanswered < _MOST_UNANSWERED and end.remaining() >= gap_seconds:
                stack.effects.sleep(gap_seconds)
                said = {endpoint: _answer(stack, urls[endpoint], headers[endpoint]) for endpoint in closed}
                closed = {endpoint: answer for endpoint, answer in said.items() if answer != _ACCEPTED}
                unanswered = unanswered + 1 if all(each.startswith(_NO_ANSWER) for each in closed.values()) else 0
    except KeyboardInterrupt:
        closed = dict.fromkeys(closed, "interrupted")
    if not closed:
        terminal.say(f"channel {name}: the relay accepts it")
    for key, answer in closed.items():
        terminal.say(
            f"warning: stored, not verified: {ENDPOINTS[key].vendor}'s credential is not accepted yet ({answer})"
        )
    return not closed
