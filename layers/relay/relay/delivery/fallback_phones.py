"""Phones of the last resort: a voice call and a text message to each, by AWS End User Messaging.

Telephone numbers reach no log line and no error: only the last two digits are named.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from relay.deadline import time_limit

# Time in which a call or text is repeated if the service failed it at once. One without an answer takes longer, and is
# not repeated: it may ring already.
REPEAT_SECONDS = 5.0


class Way(NamedTuple):
    """One way to reach a phone.

    Attributes:
        name: Name of the way for people, with the phone's place in the stack's list and its last two digits.
        is_call: True for a voice call, False for a text message.
        number: The phone's number in E.164 form.
        identity: ARN of the phone number, pool or sender id that calls or texts.
    """

    name: str
    is_call: bool
    number: str
    identity: str


def ways_to(numbers: Sequence[str], voice_identity: str, text_identity: str) -> list[Way]:
    """Return the ways to phones: a call and a text to each number. An empty identity leaves out that kind of way."""
    return [
        Way(f"{kind} to phone {place} (ends in {number[-2:]})", kind == "call", number, identity)
        for place, number in enumerate(numbers, 1)
        for kind, identity in (("call", voice_identity), ("text", text_identity))
        if identity
    ]


@dataclass(frozen=True)
class Phones:
    """The phones that are called and texted.

    Attributes:
        client: Returns the client of AWS End User Messaging, which is created at its first use.
        at_once: Runs functions in parallel, and returns their results in order.
    """

    client: Callable[[], Any]
    ways: Sequence[Way] = field(repr=False)
    at_once: Callable[[Sequence[Callable[[], str]]], list[str]]

    def send(self, text_for: Callable[[Way], str]) -> dict[str, str]:
        """Call and text all phones. Return the cause of failure of each `Way.name`; empty if the service accepted it.

        Whether a person heard an accepted call or text is not known.
        """
        # Made before the threads: boto3 must not make clients in several at once.
        client = self.client()
        failures = self.at_once([partial(_send, client, way, text_for(way)) for way in self.ways])
        return {way.name: failure for way, failure in zip(self.ways, failures, strict=True)}


def _send(client: Any, way: Way, text: str) -> str:
    request = {"DestinationPhoneNumber": way.number, "OriginationIdentity": way.identity, "MessageBody": text}
    try:
        with time_limit(REPEAT_SECONDS):
            if way.is_call:
                client.send_voice_message(**request)
            else:
                client.send_text_message(**request, MessageType="TRANSACTIONAL")
    # The texts of these errors may quote the number.
    except ClientError as error:
        return error.response.get("Error", {}).get("Code") or type(error).__name__
    except BotoCoreError as error:
        return type(error).__name__
    return ""
