"""A channel, looked at from secret to recipients. It rings nobody."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from relay.channels import misconfiguration
from relay.channels.channel import Access, Channel, Rest, parse_channel
from relay.channels.token import LEAST_TYPED_LENGTH
from relay.deadline import Deadline
from relay.errors import InvalidChannel, LedgerError, SendError, reason_for_status
from relay.http.client import Outward, json_object
from relay.http.session import AllowList, Answer, ForbiddenUrl, VendorHosts
from relay.reconcile.notes import Unannounced
from relay.xmatters.directory import Directory
from relayctl import recipients
from relayctl.channel_store import ChannelStore
from relayctl.checks import Check, State, failed, of_failure, ok, warning
from relayctl.refusal import refusal

# Codes of Secrets Manager for whoever may look at a stack, and read no secret.
_NOT_ALLOWED = {"AccessDenied", "AccessDeniedException"}
_UNSEEN = "So settings, hosts, credentials, recipients and missed shares of the channel are not checked"
# For all that a channel's vendors are asked.
SECONDS = 30.0
MAX_SUGGESTED = 5
_MAY_READ = "the key may read the channel's environments; whether it may write is not checked"
_ANYBODY = (
    "whoever has the webhook's token may ring anybody by ?recipients=: policy.allowed_recipients bounds it ([]: nobody)"
)


class _AnyHost(AllowList):
    """Lets a secret be read whose hosts are looked at later."""

    def check(self, url: str) -> None:
        """Allow it."""


class Reconcile(NamedTuple):
    """What the ledger's table knows of a channel's environments.

    Attributes:
        unannounced: How many incidents the reconcile runs reported.
        suggested: Environments that shares named and the secret does not. Anybody with the token may have sent those.
    """

    unannounced: Unannounced = Unannounced()
    suggested: tuple[str, ...] = ()


@dataclass(frozen=True)
class Examination:
    """Looks at channels.

    `directory` calls xMatters, `bigpanda` calls BigPanda; `deadlines` gives one of so many seconds; `reconcile` reads
    what the table knows of a channel's environments, and raises LedgerError.
    """

    store: ChannelStore
    hosts: VendorHosts
    bigpanda: Outward
    directory: Directory
    deadlines: Callable[[float], Deadline]
    reconcile: Callable[[Channel], Reconcile]

    def of(self, name: str) -> Iterator[Check]:
        """What there is to say of a channel, in the order of its path. What depends on what failed is left out."""
        found = self._read(name)
        if isinstance(found, Check):
            yield found
            return
        yield ok("secret", "it can be read, and is valid")
        yield from _tokens(found)
        yield from _settings(found)
        urls = list(self._urls(found))
        refused = [f"{key}: {why}" for key, url, allowed in urls if (why := _forbidden(url, allowed))]
        if refused:
            yield failed("hosts", "; ".join(refused))
            return
        hosts = dict.fromkeys(f"{urlsplit(url).hostname} is one of {allowed.parameter}" for _, url, allowed in urls)
        yield ok("hosts", "; ".join(hosts))
        deadline = self.deadlines(SECONDS)
        yield from self._xmatters(found, deadline)
        yield self._bigpanda(found.bigpanda, deadline)
        yield from self._missed_shares(found)
        if not found.callback:
            yield warning("answers", "off: without xmatters.callback the relay does not hear what people answer")

    def _missed_shares(self, channel: Channel) -> Iterator[Check]:
        """Say that reconcile is off or idle; or what its runs reported, and whether `ring` would have been right."""
        what, access = "missed shares", channel.bigpanda
        if access is None:
            return
        if not access.reconcile:
            yield warning(what, "off: bigpanda.reconcile is false, so a share that never comes is not missed")
            return
        try:
            found, suggested = self.reconcile(channel)
        except LedgerError as error:
            yield warning(what, f"not known, the ledger can't be read: {error}")
            found, suggested = Unannounced(), ()
        named = ", ".join(suggested[:MAX_SUGGESTED]) + (" and others" if len(suggested) > MAX_SUGGESTED else "")
        if not access.environments:
            hint = f"; shares came from {named}: add it, if it is yours" if suggested else ""
            yield failed(what, f"idle: bigpanda.environments names no environment to look in{hint}")
            return
        if suggested:
            yield warning(what, f"shares came from {named}, too: add it to bigpanda.environments, if it is yours")
        if access.reconcile == "ring" and misconfiguration.needs_url_recipients(channel):
            yield warning(what, "reported, not rung: the secret names no recipients, so what never came rings nobody")
        if access.reconcile == "ring" or not found.found:
            return
        never = found.found - found.came
        said = (
            f"in a week {found.found} incidents that no channel with the same listing knew were reported, not rung; "
            f"shares of {found.came} came later, and bigpanda.reconcile=ring would have been right"
        )
        lost = f"; {never} never came: they were lost, or shared with others alone, and ring would have rung for them"
        yield warning(what, said + lost) if never else ok(what, said)

    def _read(self, name: str) -> Channel | Check:
        try:
            text = self.store.text(name)
        except ClientError as error:
            if error.response["Error"].get("Code") in _NOT_ALLOWED:
                return warning("secret", f"not seen: {refusal(error)}. {_UNSEEN}")
            return failed("secret", refusal(error))
        except BotoCoreError as error:
            return failed("secret", f"AWS could not be asked: {error}")
        if text is None:
            return failed("secret", "there is none any more")
        try:
            return parse_channel(name, text, VendorHosts(_AnyHost("", ()), _AnyHost("", ())))
        except InvalidChannel as error:
            return failed("secret", str(error))

    def _urls(self, channel: Channel) -> Iterator[tuple[str, str, AllowList]]:
        """Yield each URL that the channel calls: its key in the secret, the URL, and the hosts of its vendor."""
        yield "xmatters.trigger_url", channel.trigger_url, self.hosts.xmatters
        if channel.rest:
            yield "xmatters.rest.base_url", channel.rest.base_url, self.hosts.xmatters
        if channel.bigpanda:
            yield "bigpanda.base_url", channel.bigpanda.base_url, self.hosts.bigpanda

    def _xmatters(self, channel: Channel, deadline: Deadline) -> Iterator[Check]:
        names = recipients.of_channel(channel)
        if not names:
            yield warning("recipients", "none in the channel: the URLs and the workflow in xMatters name them")
        if channel.rest is None:
            off = "off: without xmatters.rest every page is unconfirmed by design, and no recipient is checked"
            yield warning("xMatters REST API", off)
            return
        try:
            self.directory.log_in(channel.rest, deadline)
        except SendError as error:
            yield of_failure("xMatters REST API", error)
            if names:
                yield warning("recipients", "not checked: the REST API could not be used")
            return
        yield ok("xMatters REST API", f"{_host(channel.rest)} lets the channel's user see alerts")
        yield from map(recipients.judged, self.directory.check(channel.rest, names, deadline))

    def _bigpanda(self, access: Access | None, deadline: Deadline) -> Check:
        what = "BigPanda API"
        if access is None:
            return warning(what, "off: without bigpanda.api_key nothing that people answer comes back")
        if not access.environments:
            return warning(what, "not checked: bigpanda.environments names no environment to read from")
        others = (self._environment(what, access, each, deadline) for each in access.environments)
        return next((each for each in others if each.state != State.OK), ok(what, _MAY_READ))

    def _environment(self, what: str, access: Access, environment_id: str, deadline: Deadline) -> Check:
        path = f"/resources/v2.0/environments/{quote(environment_id, safe='')}/incidents?page_size=1"
        headers = {"Authorization": f"Bearer {access.api_key}"}
        try:
            answer = self.bigpanda.ask("GET", access.base_url + path, None, headers, deadline)
            if 200 <= answer.status < 300 and _is_page(answer):
                return ok(what, _MAY_READ)
            if answer.status < 300 or (answer.status == 404 and "errors" not in json_object(answer.body)):
                return warning(what, f"not known: HTTP {answer.status} with an answer that is not BigPanda's")
            reason = reason_for_status(answer.status)
            raise self.bigpanda.bad_answer(answer, reason, {access.api_key, access.app_key or ""})
        except SendError as error:
            return of_failure(what, error)


def _tokens(channel: Channel) -> Iterator[Check]:
    """Yield a warning for each token that is short enough to be guessed."""
    for key, door in (("inbound", channel.inbound), ("xmatters.callback", channel.callback)):
        if any(each.token and len(each.token) < LEAST_TYPED_LENGTH for each in door):
            what = f"a token of {key} has fewer than {LEAST_TYPED_LENGTH} characters, and could be guessed"
            yield warning("tokens", f"{what}: relayctl channel set {channel.name} --unset {key}.token makes a good one")


def _settings(channel: Channel) -> Iterator[Check]:
    """Yield a failure for each setting by which nobody may be notified, a warning for one by which anybody may."""
    problems = misconfiguration.problems(channel)
    yield from (failed("settings", str(each)) for each in problems)
    if misconfiguration.critical_may_notify_nobody(channel) and recipients.of_channel(channel):
        yield failed("critical incidents", "one that no route takes notifies nobody: xmatters.recipients names nobody")
    allowed = channel.policy.allowed_recipients
    if allowed is None:
        yield warning("recipients in the URL", _ANYBODY)
    elif not allowed and misconfiguration.needs_url_recipients(channel):
        yield failed("recipients in the URL", "policy.allowed_recipients permits none, and the secret names none")


def _forbidden(url: str, allowed: AllowList) -> str | None:
    """The reason why a URL must not be called; None if it may."""
    try:
        allowed.check(url)
    except ForbiddenUrl as error:
        return str(error)
    return None


def _host(rest: Rest) -> str:
    return urlsplit(rest.base_url).hostname or ""


def _is_page(answer: Answer) -> bool:
    return bool(json_object(answer.body)) or answer.body.lstrip()[:1] == b"["
