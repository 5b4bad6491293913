"""relayctl channel test: check one channel, and on request share a test incident."""

import json
import sys
import uuid
from collections.abc import Iterator

import click

from relay.channels.channel import header_for
from relay.channels.parsing import parse_channel
from relay.failures.errors import InvalidChannel
from relay.foreign_text import printable
from relay.incidents.share import TEST_PREFIX
from relayctl import check_results, endpoints, health_checks, terminal
from relayctl.channel_checks import ChannelChecks
from relayctl.channel_store import ChannelStore
from relayctl.check_results import Check, State
from relayctl.commands.channel import NAME
from relayctl.sample_share import SampleShare, recipients_of
from relayctl.secret_document import SecretDocument
from relayctl.stack import Stack, on_stack
from relayctl.status_reading import StatusReader


@click.command()
@NAME
@click.option("--ring", is_flag=True, help="Share a test incident with the channel: it notifies people.")
@click.option("--yes", is_flag=True, help="With --ring: do not ask.")
@on_stack
def test(stack: Stack, name: str, ring: bool, yes: bool, as_json: bool) -> None:
    """Check a channel: its secret, hosts, credentials, recipients, and refused requests to its webhook.

    Without --ring, nobody is notified.

    Prints one line for each check: ok, warning (works, but not fully, or the check is not possible now) or failed.

    With --ring, relayctl shares a test incident of status warning as BigPanda would, and its resolve at once. The
    check fails unless the incident is delivered. Do not answer its page: BigPanda has no such incident.

    Exit codes: 0 no check failed, 1 a check failed, 2 usage, 3 no such channel.

    \b
    Example:
      relayctl channel test payments
      relayctl channel test payments --ring
    """
    store = ChannelStore(stack)
    if not store.exists(name):
        terminal.nothing(f"there is no channel {name}")
    if yes and not ring:
        raise click.UsageError("--yes is only for --ring")
    if ring and not yes and not sys.stdin.isatty():
        raise click.UsageError("not a terminal: give --yes to share a test incident without being asked")
    with terminal.status(f"checking channel {name} …"):
        found = list(ChannelChecks.of_stack(stack, store).of(name))
        status = StatusReader(stack, name, has_pages=False).read()
        found += health_checks.refused_requests(status, name)
    if not as_json:
        check_results.show(found)
    if ring:
        rung = list(_ring(stack, store, name, yes=yes)) if _can_ring(found) else [_not_rung()]
        if not as_json:
            check_results.show(rung)
        found += rung
    if as_json:
        click.echo(json.dumps({"channel": name, **check_results.listing(found), **check_results.counts(found)}))
    click.echo(f"channel {name}: {check_results.summary(found)}", err=True)
    if check_results.counts(found)["failed"]:
        click.get_current_context().exit(1)


def _can_ring(found: list[Check]) -> bool:
    return not any(each.state == State.FAILED for each in found if each.what in {"secret", "hosts"})


def _not_rung() -> Check:
    return check_results.failed("test incident", "not shared: the relay itself could not use the channel")


def _ring(stack: Stack, store: ChannelStore, name: str, *, yes: bool) -> Iterator[Check]:
    kept = store.read(name)
    if kept is None:
        raise InvalidChannel(f"channel {name} was removed meanwhile")
    document = SecretDocument(kept.document)
    channel = parse_channel(name, document.text(), stack.hosts)
    if not yes:
        recipients = ", ".join(map(printable, recipients_of(channel))) or "the recipients of xMatters' form"
        click.confirm(f"Notify {recipients} now, by a test incident in channel {name}?", abort=True, err=True)
    url = endpoints.urls(stack, name, document)["inbound"]
    effects = stack.effects
    outward = effects.outward(stack.api_host(url))
    share = SampleShare(outward, url, header_for(document.get("inbound")), stack.deadline, effects.clock)
    with terminal.status("sharing a test incident …"):
        yield from share.ring(f"{TEST_PREFIX}{uuid.uuid4().hex[:12]}")
