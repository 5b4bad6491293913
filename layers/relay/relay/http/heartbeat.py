"""Heartbeat: a GET to an external dead man's switch, which tells people when no heartbeat comes any more."""

from relay.deadline import Deadline
from relay.failures.errors import NoAnswer
from relay.http.client import HttpClient

# The answer's body is not read further.
MAX_BYTES = 1024


def beat(client: HttpClient, url: str, deadline: Deadline) -> str:
    """Send the heartbeat to the URL of the dead man's switch.

    Returns the cause of a failure as text, without the URL. The text is empty if the answer is 2xx.
    """
    try:
        answer = client.ask("GET", url, None, {}, deadline)
    except NoAnswer as error:
        return str(error)
    return "" if 200 <= answer.status < 300 else f"HTTP {answer.status}"
