"""relayctl channel test: whether a channel would ring, without ringing it unless told to."""

import json
import sys
import time
import uuid
from collections.abc import Iterator
from functools import partial

import click

from relay.channels import channel as channels
from relay.channels.channel import Channel, parse_channel
from relay.deadline import Deadline
from relay.errors import InvalidChannel
from relay.foreign_text import printable
from relay.ledger.sources import Sources
from relay.ledger.table import Table
from relay.reconcile.notes import read_unannounced
from relay.xmatters.directory import Directory
from relayctl import checks, sample_share, terminal
from relayctl.channel_store import ChannelStore
from relayctl.checks import Check, State
from relayctl.commands.channel import NAME
from relayctl.examination import Examination, Reconcile
from relayctl.sample_share import SampleShare
from relayctl.stack import Stack, on_stack


@click.command()
@NAME
@click.option("--ring", is_flag=True, help="Share a test incident with the channel: it rings people.")
@click.option("--yes", is_flag=True, help="With --ring: do not ask.")
@on_stack
def test(stack: Stack, name: str, ring: bool, yes: bool, as_json: bool) -> None:
    """Check a channel: its secret, its hosts, its credentials, its recipients. It rings nobody.

    A line for each: ok, warning (it works, but not as it could, or it can't be told) or failed. Exit code 1: some
    failed.

    With --ring a test incident of status warning is shared as BigPanda would, and resolved at once; failed unless it
    was delivered. Don't answer its page: BigPanda has no such incident to write an answer to.

    \b
    Example:
      relayctl channel test payments
      relayctl channel test payments --ring
    """
    store = ChannelStore(stack)
    if not store.exists(name):
        terminal.nothing(f"there is no channel {name}")
    if yes and not ring:
        raise click.UsageError("--yes goes with --ring")
    if ring and not yes and not sys.stdin.isatty():
        raise click.UsageError("not a terminal: give --yes to ring without being asked")
    with terminal.status(f"looking at channel {name} …"):
        found = list(examination(stack, store).of(name))
    if not as_json:
        checks.show(found)
    if ring:
        rung = list(_rung(stack, store, name, yes=yes)) if _can_ring(found) else [_not_rung()]
        if not as_json:
            checks.show(rung)
        found += rung
    if as_json:
        click.echo(json.dumps({"channel": name, **checks.listing(found), **checks.counts(found)}))
    click.echo(f"channel {name}: {checks.summary(found)}", err=True)
    if checks.counts(found)["failed"]:
        click.get_current_context().exit(1)


def examination(stack: Stack, store: ChannelStore) -> Examination:
    """What looks at the channels of a stack."""
    hosts, outward = stack.hosts, stack.effects.outward
    directory = Directory(outward(hosts.xmatters))
    return Examination(store, hosts, outward(hosts.bigpanda), directory, _deadline, partial(_reconcile, stack))


def _reconcile(stack: Stack, channel: Channel) -> Reconcile:
    """Return what the table knows of a channel's environments. Raises LedgerError."""
    if channel.bigpanda is None or "LedgerTableName" not in stack.outputs:
        return Reconcile()
    table = Table(stack.dynamodb, stack.output("LedgerTableName"), stack.effects.clock)
    reported = read_unannounced(table, channel.bigpanda, channel.bigpanda.environments)
    return Reconcile(reported, Sources(table, stack.effects.clock).suggested(channel))


def _deadline(seconds: float) -> Deadline:
    return Deadline(seconds, time.monotonic)


def _can_ring(found: list[Check]) -> bool:
    return not any(each.state == State.FAILED for each in found if each.what in {"secret", "hosts"})


def _not_rung() -> Check:
    return checks.failed("test incident", "not shared: the relay itself could not use the channel")


def _rung(stack: Stack, store: ChannelStore, name: str, *, yes: bool) -> Iterator[Check]:
    kept = store.read(name)
    if kept is None:
        raise InvalidChannel(f"the channel {name} was removed meanwhile")
    document = kept.document
    channel = parse_channel(name, json.dumps(document), stack.hosts)
    if not yes:
        who = ", ".join(map(printable, sample_share.rings(channel))) or "whom xMatters' form names"
        click.confirm(f"Ring {who} now, by a test incident in channel {name}?", abort=True, err=True)
    url = stack.output("BigPandaWebhookUrl").replace("{channel}", name)
    outward = stack.effects.outward(sample_share.hosts_of(url, is_local=stack.is_local))
    header = channels.header_for(document["inbound"])
    share = SampleShare(outward, url, header, _deadline, time.time)
    with terminal.status("sharing a test incident …"):
        yield from share.ring(f"relayctl-test-{uuid.uuid4().hex[:12]}")
