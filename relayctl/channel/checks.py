"""Checks of a channel, from its secret to its recipients. They notify no person."""

from collections.abc import Iterator

from botocore.exceptions import BotoCoreError, ClientError

from relay.channels import misconfiguration
from relay.channels.channel import BigPandaAccess, Channel
from relay.channels.parsing import parse_channel
from relay.channels.policy import Mode
from relay.channels.token import LEAST_TYPED_LENGTH
from relay.failures import InvalidChannel, LedgerError
from relay.ledger.sources import Sources
from relay.reconcile.history import History, UnknownCounts, listing_name
from relay.sweeper.canary import EVERY_SECONDS
from relayctl.channel import credential_checks, pauses
from relayctl.channel.endpoints import ENDPOINTS
from relayctl.channel.store import ChannelStore
from relayctl.check_results import Check, failed, ok, warning
from relayctl.failed_calls import DENIED, failure, refusal
from relayctl.stack.deployed import Stack

_REMOVED = "the channel was removed meanwhile"
_UNSEEN = "So settings, hosts, credentials, recipients and missed shares of the channel are not checked"
MAX_SUGGESTED = 5
_ANYBODY = (
    "the holder of the webhook's token may notify anybody by ?recipients=; set policy.allowed_recipients ([]: nobody)"
)


def of(store: ChannelStore, name: str) -> Iterator[Check]:
    """Check a channel, and yield the result of each check. A check whose precondition failed is left out."""
    stack, found = store.stack, _read(store, name)
    if isinstance(found, Check):
        yield found
        return
    yield ok("secret", "it can be read, is valid, and has only hosts that the stack allows")
    yield from _modes(found, stack.effects.clock())
    yield from _tokens(found)
    yield from _settings(found)
    deadline = stack.deadline(credential_checks.SECONDS)
    if not credential_checks.of_channel(found):
        yield warning("recipients", "the channel names none: the URLs or the workflow in xMatters name them")
    yield from credential_checks.xmatters(stack, found, deadline)
    yield credential_checks.bigpanda(stack, found.bigpanda, deadline)
    yield from _missed_shares(stack, found)
    if not found.callback:
        yield warning("answers", "off: without xmatters.callback the relay does not receive people's answers")
    yield _receipt(found)
    if found.policy.canary:
        yield _canary(stack, found)


def _missed_shares(stack: Stack, channel: Channel) -> Iterator[Check]:
    """Judge whether reconcile runs would find a share that never arrives, and whom they would notify."""
    what, access = "missed shares", channel.bigpanda
    if access is None:
        return
    if not access.reconcile:
        yield warning(what, "off: bigpanda.reconcile is false, so a share that never arrives is not noticed")
        return
    try:
        found, suggested = _reconciled(stack, channel, access)
    except LedgerError as error:
        yield warning(what, f"not known, the ledger cannot be read: {error}")
        found, suggested = UnknownCounts(), ()
    named = ", ".join(suggested[:MAX_SUGGESTED]) + (" and others" if len(suggested) > MAX_SUGGESTED else "")
    if not access.environments:
        hint = f"; shares came from {named}: add it, if it is yours" if suggested else ""
        yield warning(what, f"off: bigpanda.environments names no environment to list{hint}")
        return
    if suggested:
        yield warning(what, f"shares came from {named}, too: add it to bigpanda.environments, if it is yours")
    if access.reconcile == "ring" and misconfiguration.needs_url_recipients(channel):
        yield warning(what, "reported only: the secret names no recipients, so a missed share notifies nobody")
    if access.reconcile == "ring" or not found.found:
        return
    never = found.found - found.came
    said = (
        f"in a week {found.found} incidents that no channel with the same listing knew were reported, not paged; "
        f"shares of {found.came} arrived later: for these, bigpanda.reconcile=ring would have been right"
    )
    lost = f"; shares of {never} never arrived: they were lost, or sent to other receivers only"
    yield warning(what, said + lost) if never else ok(what, said)


def _reconciled(stack: Stack, channel: Channel, access: BigPandaAccess) -> tuple[UnknownCounts, tuple[str, ...]]:
    """Return the unknown incidents of a week, and environments of recent shares that the secret lacks.

    Do not trust the latter: any holder of the webhook's token can send a share.
    """
    if "LedgerTableName" not in stack.outputs:
        return UnknownCounts(), ()
    table = stack.table()
    histories = [History.read(table, listing_name(access, each)) for each in access.environments]
    days = [day for history in histories for day in history.days.values()]
    counts = UnknownCounts(sum(day.found for day in days), sum(day.came for day in days))
    return counts, Sources(table, stack.effects.clock).suggested(channel)


def _read(store: ChannelStore, name: str) -> Channel | Check:
    try:
        text = store.text(name)
        return parse_channel(name, text, store.stack.hosts) if text is not None else failed("secret", _REMOVED)
    except ClientError as error:
        if error.response["Error"].get("Code") in DENIED:
            return warning("secret", f"not seen: {refusal(error)}. {_UNSEEN}")
        return failed("secret", refusal(error))
    except (BotoCoreError, InvalidChannel) as error:
        return failed("secret", str(failure(error)))


def _modes(channel: Channel, now: float) -> Iterator[Check]:
    if channel.policy.mode is Mode.SHADOW:
        would = f"`relayctl shadow report {channel.name}` says what it would send"
        ends = f"`relayctl channel set {channel.name} --set policy.mode=live` ends it"
        yield warning("mode", f"shadow: the channel sends nothing. {would}, {ends}")
    for each in pauses.open_pauses(channel.policy, now):
        yield warning("pause", pauses.pause_words(each, now))


def _tokens(channel: Channel) -> Iterator[Check]:
    for key, endpoint in (("inbound", channel.inbound), ("xmatters.callback", channel.callback)):
        if any(each.token and len(each.token) < LEAST_TYPED_LENGTH for each in endpoint):
            what = f"a token of {key} has fewer than {LEAST_TYPED_LENGTH} characters, and can be guessed"
            yield warning(
                "tokens", f"{what}: relayctl channel rotate {channel.name} {ENDPOINTS[key].name} makes a new one"
            )


def _receipt(channel: Channel) -> Check:
    """Return the steps of a critical's receipt that the channel proves, and what to set for the others."""
    policy, source = channel.policy, "" if channel.rest or channel.callback else ", and xmatters.rest or callbacks"
    source_of_answers = "" if channel.bigpanda or not source else f"{source}, or bigpanda.api_key"
    lacks = {
        "page": "" if channel.rest else "xmatters.rest",
        "notified": "" if policy.notified_within_seconds else f"policy.notified_within_seconds{source}",
        "answered": "" if policy.answered_within_seconds else f"policy.answered_within_seconds{source_of_answers}",
    }
    proven = ", ".join(["signal", *(step for step, lack in lacks.items() if not lack)])
    others = "; ".join(f"{step} needs {lack}" for step, lack in lacks.items() if lack)
    said = f"of a critical, these steps are proven: {proven}" + (f"; {others}" if others else "")
    return ok("receipt", said) if policy.notified_within_seconds else warning("receipt", said)


def _canary(stack: Stack, channel: Channel) -> Check:
    what, parameters, policy, now = "canary", stack.parameters, channel.policy, stack.effects.clock()
    if not parameters.get("AlarmTopicArn") and not parameters.get("NoticeTopicArn"):
        return warning(what, "off: the stack has neither NoticeTopicArn nor AlarmTopicArn, so nobody could be told")
    if policy.mode is Mode.SHADOW or any(each.is_active(now) for each in policy.pauses):
        return warning(what, "off: the channel is paused, or in shadow mode")
    if parameters.get("AllowedSourceCidrs") or parameters.get("WebAclArn"):
        limits = "AllowedSourceCidrs or WebAclArn may refuse the sweeper, which calls from an address of AWS"
        return warning(what, f"{limits}: the canary fails with HTTP 403 then")
    minutes, recipients = f"{EVERY_SECONDS / 60:.0f}", ", ".join(credential_checks.of_channel(channel))
    return ok(what, f"every {minutes} minutes an incident rings {recipients or 'the recipients of the form'}, and ends")


def _settings(channel: Channel) -> Iterator[Check]:
    problems = misconfiguration.problems(channel)
    yield from (failed("settings", str(each)) for each in problems)
    if credential_checks.may_notify_nobody(channel) and credential_checks.of_channel(channel):
        yield failed("critical incidents", "one that matches no route notifies nobody: xmatters.recipients is empty")
    allowed = channel.policy.allowed_recipients
    if allowed is None:
        yield warning("recipients in the URL", _ANYBODY)
    elif not allowed and misconfiguration.needs_url_recipients(channel):
        yield failed("recipients in the URL", "policy.allowed_recipients allows none, and the secret names none")
