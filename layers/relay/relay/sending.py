"""The tries of one signal within the time that somebody waits for it."""

from collections.abc import Callable
from copy import replace
from dataclasses import dataclass
from typing import NamedTuple

from relay.channel import Channel
from relay.channel_cache import ChannelCache
from relay.deadline import Deadline
from relay.errors import HANDLING, ChannelError, Reason, SendError
from relay.secrets_manager import READ_SECONDS
from relay.xmatters import Signal, XMatters

MAX_TRIES = 3
FIRST_WAIT_SECONDS = 0.5
# Less time than this is not worth another try.
SHORTEST_TRY_SECONDS = 0.5


class Sent(NamedTuple):
    """What came of a signal: accepted, with xMatters' request id if it named one, or the last failure.

    `attempts` counts what the trigger was really asked; `rings` those of them that were, or may have been, accepted.
    """

    attempts: int
    rings: int = 0
    request_id: str | None = None
    failure: SendError | None = None


@dataclass(frozen=True)
class Sender:
    """Sends signals, trying again what may pass. `random` gives a number from 0 to 1; `sleep` waits for seconds."""

    channels: ChannelCache
    xmatters: XMatters
    sleep: Callable[[float], None]
    random: Callable[[], float]

    def send(
        self,
        channel: Channel,
        signal: Signal,
        deadline: Deadline,
        *,
        reserve: float = 0.0,
        tries: int = MAX_TRIES,
        repeats: bool = False,
    ) -> Sent:
        """Send one signal with in-request retries: `tries` at most, none within `reserve` seconds of the deadline.

        After a failure that may have rung there is one more attempt if `repeats` (a critical is worth ringing twice),
        else none.
        """
        sent = Sent(attempts=0)
        while True:
            tries -= 1
            try:
                request_id = self.xmatters.send(channel, signal, deadline, reserve=reserve)
                return Sent(sent.attempts + 1, sent.rings + 1, request_id)
            except SendError as error:
                failure = error
            except Exception as error:  # noqa: BLE001 - a fault of ours must not cost the share its place on a queue
                failure = SendError(Reason.INTERNAL, type(error).__name__, may_have_rung=True)
                failure.__cause__ = error
            sent = _after(sent, failure)
            if sent.rings > 0 and not (repeats and sent.rings == 1 and failure.may_have_rung):
                return sent
            again = self._before_next_try(channel, failure, sent, tries, deadline.remaining(reserve))
            if again is None:
                return sent
            channel = again
            signal = replace(
                signal,
                attempt=signal.attempt + failure.asked,
                may_repeat=signal.may_repeat or failure.may_have_rung,
            )

    def _before_next_try(
        self, channel: Channel, failure: SendError, sent: Sent, tries: int, left: float
    ) -> Channel | None:
        """Wait, or renew what was refused, and return the channel to try with; None when another try is no use."""
        handling = HANDLING[failure.reason]
        if tries == 0:
            return None
        if handling.renew_credentials:
            return self._renewed(channel, left)
        wait = failure.retry_after
        if wait is None:
            # Full jitter: senders that failed together must not come back together.
            wait = self.random() * FIRST_WAIT_SECONDS * 2 ** max(0, sent.attempts - 1)
        if not handling.try_again or wait + SHORTEST_TRY_SECONDS > left:
            return None
        self.sleep(wait)
        return channel

    def _renewed(self, channel: Channel, left: float) -> Channel | None:
        if self.xmatters.renew_token(channel):
            return channel
        # What it takes to read a secret must not be taken from the queue's time.
        if left < READ_SECONDS + SHORTEST_TRY_SECONDS:
            return None
        try:
            found = self.channels.refresh(channel.name)
        except ChannelError:
            return None
        changed = (found.trigger_url, found.auth) != (channel.trigger_url, channel.auth)
        return found if changed else None


def _after(sent: Sent, failure: SendError) -> Sent:
    """What is known after another failure. One that asked nothing, for want of time, says less than the one before."""
    says_less = sent.failure is not None and failure.reason == Reason.TIMEOUT and not failure.asked
    return Sent(
        attempts=sent.attempts + failure.asked,
        rings=sent.rings + failure.may_have_rung,
        failure=sent.failure if says_less else failure,
    )
