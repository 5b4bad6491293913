"""Checks of a channel's health, for `doctor` and `channel test`, from the status that `relayctl status` shows."""

from collections.abc import Iterator

from relayctl import channel_status, status_views
from relayctl.channel_status import ChannelStatus, Health
from relayctl.check_results import Check, failed, ok, warning
from relayctl.status_reading import StackStatus


def health(status: StackStatus, name: str) -> Iterator[Check]:
    """Yield the health of a channel: FAILED if it is sick, or if a source of its status could not be read."""
    channel = _channel(status, name)
    # The check of the secret reports an invalid secret, and one that may not be read.
    if channel is None or channel.problem:
        return
    judged = channel_status.judge(channel, status.at)
    unread = [each for each in status.problems if not each.startswith("secret of ")]
    if judged.health == Health.SICK:
        yield failed("health", f"sick: {'; '.join(judged.why)}")
    elif unread:
        yield failed("health", f"not checked: {'; '.join(unread)}")
    else:
        yield ok("health", "; ".join([*judged.why, status_views.traffic(channel, status)]))


def refused_requests(status: StackStatus, name: str) -> Iterator[Check]:
    """Yield the refused requests to the channel's webhook, if there are any: WARNING if no share came since."""
    channel = _channel(status, name)
    # The status of a channel with an invalid secret has no traffic.
    if channel is not None and channel.problem:
        return
    if channel is None or channel.refused_requests is None:
        yield warning("webhook", "whether requests were refused is not known: the log cannot be read")
    elif wrong := channel_status.only_refused(channel, status.at):
        yield warning("webhook", f"{wrong}: is the header in BigPanda right?")
    elif channel.refused_requests.number:
        yield ok("webhook", f"{channel.refused_requests.words(status.at)}; a share came since")


def _channel(status: StackStatus, name: str) -> ChannelStatus | None:
    return next((each for each in status.channels if each.name == name), None)
