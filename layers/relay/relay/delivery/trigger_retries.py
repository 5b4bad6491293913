"""Sender of one signal with in-request retries, bounded by the caller's deadline.

Before a retry, `RetryingSender._has_waited` waits for the answer's Retry-After (`SendError.retry_after`), else
for a short random backoff. If that wait does not fit into the time that is left, no further attempt is made here.
Refused credentials are renewed once, and the attempt with the new ones comes on top of the caller's limit.
"""

from collections.abc import Callable
from copy import replace
from dataclasses import dataclass

from relay.channels.cache import ChannelCache
from relay.channels.channel import Channel
from relay.channels.secrets_manager import READ_SECONDS
from relay.deadline import Deadline
from relay.delivery.step import MAX_ATTEMPTS
from relay.delivery.task import Task
from relay.failures import HANDLING, ChannelError, Reason, SendError
from relay.incidents.share import parse_share
from relay.jobs.job import Flag
from relay.jobs.outcome import SendResult
from relay.ledger.entry import Entry
from relay.ledger.ledger import page_key
from relay.xmatters.trigger import Decision, Signal, XMatters

# Time before the deadline that is reserved for the ledger and the queue.
RESERVE_SECONDS = 3.0
# Upper bound of the first wait between two inline attempts; it doubles with each attempt.
FIRST_WAIT_SECONDS = 0.5
# With less time left, no further attempt is made.
SHORTEST_ATTEMPT_SECONDS = 0.5


@dataclass(frozen=True)
class RetryingSender:
    """Sends signals to xMatters with in-request retries.

    Attributes:
        channels: The cached channels, for a fresh copy after refused credentials.
        xmatters: Client for xMatters' triggers.
        sleep: Waits for a number of seconds.
        random: Returns a random number from 0 to 1.
    """

    channels: ChannelCache
    xmatters: XMatters
    sleep: Callable[[float], object]
    random: Callable[[], float]

    def announce(
        self,
        task: Task,
        entry: Entry,
        *,
        max_attempts: int,
        only_recipient: str | None = None,
        may_repeat: bool = False,
    ) -> SendResult:
        """Send the signal of a task with at most `max_attempts` attempts. `entry` is its incident's ledger entry.

        A critical is repeated once after an ambiguous failure. `only_recipient` is a name; None for all recipients.
        `may_repeat` is True if the signal may have been sent before, although the entry does not say so.
        """
        is_critical, job = task.state.is_critical, task.job
        is_doubtful = bool(entry.doubtful) and entry.may_have_paged(task.state)
        may_repeat = may_repeat or Flag.MAY_HAVE_PAGED in job.flags or is_doubtful
        recipients = (only_recipient,) if only_recipient else task.recipients
        signal = Signal(
            content(task, recipients),
            decision_of(task),
            recipients,
            job.delivery_id,
            job.stamps.correlation_id,
            attempt=job.attempts + 1,
            may_repeat=may_repeat,
            replaces_url_recipients=only_recipient is not None,
        )
        return self.send(
            task.channel,
            signal,
            task.deadline,
            reserve=RESERVE_SECONDS,
            max_attempts=max_attempts,
            repeats_if_ambiguous=is_critical,
        )

    def send(
        self,
        channel: Channel,
        signal: Signal,
        deadline: Deadline,
        *,
        reserve: float = 0.0,
        max_attempts: int = MAX_ATTEMPTS,
        repeats_if_ambiguous: bool = False,
    ) -> SendResult:
        """Send one signal with at most `max_attempts` attempts, and none within `reserve` seconds of the deadline.

        One attempt that xMatters refused for its credentials does not count, if they could be renewed. After an
        ambiguous failure (xMatters may have accepted the signal), there is one more attempt if `repeats_if_ambiguous`
        is True, else none. For criticals, two pages are better than none.
        """
        sent, attempts_left, is_renewed = SendResult(attempts=0), max_attempts, False
        while True:
            attempts_left -= 1
            try:
                request_id = self.xmatters.send(channel, signal, deadline, reserve=reserve)
                return SendResult(sent.attempts + 1, sent.maybe_accepted + 1, request_id)
            except SendError as error:
                failure = error
            except Exception as error:  # noqa: BLE001 - after an unexpected exception the share must still be queued
                failure = SendError(Reason.INTERNAL, type(error).__name__, may_have_acted=True)
                failure.__cause__ = error
            sent = _with_failure(sent, failure)
            is_repeated = repeats_if_ambiguous and sent.maybe_accepted == 1 and failure.may_have_acted
            if sent.maybe_accepted > 0 and not is_repeated:
                return sent
            seconds_left = deadline.remaining(reserve)
            # Before the limit: a job has one attempt only, and would send the same old credentials at each wake.
            if HANDLING[failure.reason].renews_credentials and not is_renewed:
                renewed = self._renewed(channel, seconds_left)
                if renewed is None:
                    return sent
                channel, is_renewed, attempts_left = renewed, True, attempts_left + 1
            elif attempts_left == 0 or not self._has_waited(failure, sent, seconds_left):
                return sent
            signal = replace(
                signal,
                attempt=signal.attempt + failure.was_sent,
                may_repeat=signal.may_repeat or failure.may_have_acted,
            )

    def _has_waited(self, failure: SendError, sent: SendResult, seconds_left: float) -> bool:
        """Wait before the next attempt. Return False, without a wait, if there is no next attempt.

        The wait is `failure.retry_after` (Retry-After) if xMatters sent one, else a random backoff. `sent` counts the
        attempts so far. `seconds_left` bounds the wait and the next attempt.
        """
        wait = failure.retry_after
        if wait is None:
            # Full jitter: senders that failed together must not retry together.
            wait = self.random() * FIRST_WAIT_SECONDS * 2 ** max(0, sent.attempts - 1)
        if not HANDLING[failure.reason].retries_inline or wait + SHORTEST_ATTEMPT_SECONDS > seconds_left:
            return False
        self.sleep(wait)
        return True

    def _renewed(self, channel: Channel, seconds_left: float) -> Channel | None:
        """Return the channel with a new OAuth token or a changed secret; None if neither is available in time.

        The refused token is forgotten in any case. The secret is read also if only the token may have expired: the
        password may have been rotated as well.
        """
        is_token_renewed = self.xmatters.renew_token(channel)
        same = channel if is_token_renewed else None
        # A read of the secret must not use up the time that is reserved for the queue.
        if seconds_left < READ_SECONDS + SHORTEST_ATTEMPT_SECONDS:
            return same
        try:
            found = self.channels.refresh(channel.name)
        except ChannelError:
            return same
        changed = (found.trigger_url, found.auth) != (channel.trigger_url, channel.auth)
        return found if changed else same


def _with_failure(sent: SendResult, failure: SendError) -> SendResult:
    """Return `sent` (the result of the attempts so far) with one more failed attempt counted.

    The result gets `failure`. But a time-out before a request was sent does not replace an earlier failure.
    """
    says_less = sent.failure is not None and failure.reason == Reason.TIMEOUT and not failure.was_sent
    return SendResult(
        attempts=sent.attempts + failure.was_sent,
        maybe_accepted=sent.maybe_accepted + failure.may_have_acted,
        failure=sent.failure if says_less else failure,
    )


def decision_of(task: Task) -> Decision:
    """Return the decision for xMatters' workflow about the state of a task."""
    state, policy = task.state, task.channel.policy
    return Decision(
        channel=task.channel.name,
        incident_id=task.job.incident_id,
        environment_id=task.environment_id or "",
        page_key=page_key(task.entry_key),
        is_over=not state.is_open,
        status=state.status,
        priority=task.priority or policy.priority_of(state),
        body="xmatters" if policy.own_body else "bigpanda",
    )


def content(task: Task, recipients: tuple[str, ...]) -> bytes:
    """Return the request body for xMatters: BigPanda's bytes, or the relay's own body if the policy has one."""
    rule = task.channel.policy.own_body
    if rule is None:
        return task.job.body
    from relay.incidents.own_body import build_body  # noqa: PLC0415 - most channels forward BigPanda's

    return build_body(
        parse_share(task.job.body),
        task.state,
        recipients,
        decision_of(task).priority,
        rule,
        is_flapping=task.is_flapping,
    )
