"""Sender of one signal with in-request retries, bounded by the caller's deadline."""

from collections.abc import Callable
from copy import replace
from dataclasses import dataclass

from relay.channels.cache import ChannelCache
from relay.channels.channel import Channel
from relay.channels.secrets_manager import READ_SECONDS
from relay.deadline import Deadline
from relay.delivery.decision import MAX_TRIES
from relay.delivery.task import Task
from relay.errors import HANDLING, ChannelError, Reason, SendError
from relay.incidents.share import parse_share
from relay.jobs.outcome import Sent
from relay.ledger.entry import Entry
from relay.xmatters.trigger import Signal, XMatters

# Of the time that somebody waits for, so much is kept back for the record and the queue.
RESERVE_SECONDS = 3.0
FIRST_WAIT_SECONDS = 0.5
# Less time than this is not worth another try.
SHORTEST_TRY_SECONDS = 0.5


@dataclass(frozen=True)
class Sender:
    """Sends signals, trying again what may pass. `random` gives a number from 0 to 1; `sleep` waits for seconds."""

    channels: ChannelCache
    xmatters: XMatters
    sleep: Callable[[float], None]
    random: Callable[[], float]

    def send_signal(self, task: Task, signal: Signal, deadline: Deadline, *, tries: int) -> Sent:
        """Send the signal of a task with in-request retries, `tries` at most."""
        is_critical = task.state.is_critical
        return self.send(task.channel, signal, deadline, reserve=RESERVE_SECONDS, tries=tries, repeats=is_critical)

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
        if not handling.retries_inline or wait + SHORTEST_TRY_SECONDS > left:
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
    """Return the result after another failure. One that asked nothing, for want of time, says less than the last."""
    says_less = sent.failure is not None and failure.reason == Reason.TIMEOUT and not failure.asked
    return Sent(
        attempts=sent.attempts + failure.asked,
        rings=sent.rings + failure.may_have_rung,
        failure=sent.failure if says_less else failure,
    )


def signal_of(task: Task, entry: Entry, alone: str | None) -> Signal:
    """Return the signal of a task; `alone` is the only person to be notified, None for all recipients."""
    job = task.job
    recipients = (alone,) if alone else job.recipients
    return Signal(
        _content(task, recipients),
        recipients,
        job.delivery_id,
        job.correlation_id,
        attempt=job.attempts + 1,
        may_repeat=job.may_have_rung or entry.may_have_rung(task.state),
        alone=alone is not None,
    )


def _content(task: Task, recipients: tuple[str, ...]) -> bytes:
    """Return what xMatters gets: the bytes that BigPanda sent, or the relay's own."""
    rule = task.channel.policy.own_body
    if rule is None:
        return task.job.body
    from relay.incidents.own_body import build_body  # noqa: PLC0415 - most channels forward BigPanda's

    return build_body(parse_share(task.job.body), task.state, recipients, task.job.priority, rule)
