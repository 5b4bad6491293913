"""relayctl channel: make, change, show and remove the channels of a stack."""

import json
import secrets
import sys
import time
from collections.abc import Callable
from typing import Any

import click
from rich.table import Table

from relay import channel as channels
from relay.channel import Channel
from relay.channel_schema import AUTH
from relay.deadline import Deadline
from relay.directory import Directory, Kind
from relay.http import Session
from relay.outward import Outward
from relayctl import recipients, terminal
from relayctl.channel_store import ChannelStore
from relayctl.checks import State
from relayctl.secret_document import SecretDocument, from_file, typed_value
from relayctl.stack import Stack, on_stack

_AUTH_MEMBERS = ("client_id", "username", "password", "key", "secret")
# For all that xMatters is asked about recipients: whoever sets a channel waits for it.
_CHECK_SECONDS = 20.0
_HIDDEN = {"trigger_url", "password", "secret", "key"}


@click.group(short_help="Make, change, show and remove channels.")
def channel() -> None:
    """Channels: each binds one BigPanda sharing channel to one xMatters trigger."""


def _name(_: click.Context, __: click.Parameter, value: str) -> str:
    if not channels.is_channel_name(value):
        raise click.BadParameter("use 1 to 48 of a-z, 0-9, - and _, beginning with a letter or digit")
    return value


NAME = click.argument("name", callback=_name)


def _value(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if value is None:
        return None
    try:
        return from_file(value)
    except (OSError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"can't read the file that @ names: {_why(error)}") from error


def _why(error: OSError | UnicodeDecodeError) -> str:
    """What went wrong, without the name: it may be a password that begins with @."""
    return error.strerror or "it can't be read" if isinstance(error, OSError) else "it is not UTF-8 text"


def _secret_option(name: str, text: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option(name, callback=_value, metavar="VALUE|@FILE", help=text)


@channel.command("set")
@NAME
@_secret_option("--trigger-url", "The xMatters trigger's URL. It may hold a key: better @FILE, or be asked for it.")
@click.option("--auth", type=click.Choice(list(AUTH)), help="How the trigger authenticates. New channels: url.")
@click.option("--username", metavar="USER", help="For --auth basic and oauth.")
@_secret_option("--password", "For --auth basic and oauth; asked for when left out.")
@_secret_option("--key", "For --auth api_key; begins with x-api-key-.")
@_secret_option("--secret", "For --auth api_key; asked for when left out.")
@click.option("--client-id", metavar="ID", help="For --auth oauth.")
@click.option(
    "--recipient", "recipients", multiple=True, metavar="NAME", help="A user or group of xMatters; repeatable."
)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE|@FILE", help="Any other key of the secret.")
@click.option("--unset", "removals", multiple=True, metavar="KEY", help="Remove a key of the secret.")
@on_stack
def set_(
    stack: Stack, name: str, as_json: bool, settings: tuple[str, ...], removals: tuple[str, ...], **options: Any
) -> None:
    """Make a channel, or change the parts of one that are named.

    Prints what to paste into BigPanda: the callback URL and a header. The header's value is a secret. With a key of
    BigPanda's, what people answer is written there, and what to paste into xMatters is printed, too. With xmatters.rest
    the recipients are checked, and who would not be rung is told on stderr.

    \b
    Example:
      relayctl channel set payments --trigger-url @url.txt --recipient jdoe
      relayctl channel set payments --auth basic --username relay
      relayctl channel set payments --set bigpanda.api_key=@key.txt
      relayctl channel set payments --set inbound.token=@token.txt
    """
    store = ChannelStore(stack)
    found = store.read(name)
    document = SecretDocument(found)
    _apply_options(document, options)
    _apply_settings(document, settings, removals)
    if not document.has("inbound.token") and not document.has("inbound.basic"):
        document.set("inbound.token", secrets.token_urlsafe(32))
    if document.has("bigpanda.api_key") and not document.has("xmatters.callback"):
        document.set("xmatters.callback.token", secrets.token_urlsafe(32))
    channel_ = channels.parse(name, document.text(), stack.allowed_hosts)
    store.write(name, document.text(), exists=found is not None)
    _say("changed" if found is not None else "made", stack, name, document)
    _show_what_to_paste(stack, name, document, as_json, _recipients(stack, channel_))


def _apply_options(document: SecretDocument, options: dict[str, Any]) -> None:
    if options["trigger_url"] is None and not document.has("xmatters.trigger_url"):
        options["trigger_url"] = _ask("trigger_url", " for a new channel")
    if options["trigger_url"] is not None:
        document.set("xmatters.trigger_url", options["trigger_url"])
    kind = options["auth"] or document.get("xmatters.auth.type") or "url"
    if kind != document.get("xmatters.auth.type"):
        document.set("xmatters.auth", {"type": kind})
    _apply_auth(document, kind, {name: options[name] for name in _AUTH_MEMBERS})
    if options["recipients"]:
        document.set("xmatters.recipients", list(options["recipients"]))


def _apply_auth(document: SecretDocument, kind: str, given: dict[str, str | None]) -> None:
    known = AUTH[kind]["properties"] if kind in list(AUTH) else {}
    if strays := [_flag(member) for member, value in given.items() if value is not None and member not in known]:
        raise click.UsageError(f"{', '.join(strays)}: does not go with --auth {kind}")
    for member in (member for member in given if member in known):
        key, value = f"xmatters.auth.{member}", given[member]
        if value is not None:
            document.set(key, value)
        elif not document.has(key):
            document.set(key, _ask(member, f" with --auth {kind}"))


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _ask(name: str, why: str) -> str:
    if not sys.stdin.isatty():
        raise click.UsageError(
            f"{_flag(name)} is needed{why} (give a value or @FILE, or run in a terminal to be asked)"
        )
    answer: str = click.prompt(name.replace("_", " "), hide_input=name in _HIDDEN, err=True)
    return answer


def _apply_settings(document: SecretDocument, settings: tuple[str, ...], removals: tuple[str, ...]) -> None:
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key:
            raise click.UsageError("--set takes KEY=VALUE")
        try:
            value = from_file(text)
        except (OSError, UnicodeDecodeError) as error:
            raise click.UsageError(f"--set {key}: can't read the file that @ names: {_why(error)}") from error
        document.set(key, typed_value(key, value))
    for key in removals:
        if not document.unset(key):
            raise click.UsageError(f"--unset {key}: the channel has no such key")


def _say(what: str, stack: Stack, name: str, document: SecretDocument) -> None:
    seconds = stack.parameters.get("SecretCacheSeconds", "300")
    click.echo(f"channel {name}: {what}; functions that run already see it within {seconds} s", err=True)
    if document.members["xmatters"]["auth"]["type"] == "url" and "apikey=" not in _url(document).lower():
        click.echo("note: the trigger URL has no apiKey, which --auth url relies on", err=True)
    is_narrowed = document.has("bigpanda.reconcile_query") or document.get("bigpanda.reconcile") is False
    if document.has("bigpanda.api_key") and not is_narrowed and "ReconcileFunction" in stack.outputs:
        click.echo(
            "note: BigPanda is asked for shares that never came; if others than this channel share from the same "
            "environment, set bigpanda.reconcile_query, or bigpanda.reconcile=false",
            err=True,
        )


def _url(document: SecretDocument) -> str:
    return str(document.members["xmatters"]["trigger_url"])


def _urls(stack: Stack, name: str, document: SecretDocument) -> dict[str, str]:
    """Where BigPanda shares, and where xMatters calls back, if it may."""
    outputs = {"callback_url": "BigPandaWebhookUrl"}
    if document.has("xmatters.callback"):
        outputs["xmatters_callback_url"] = "XMattersCallbackUrl"
    return {member: stack.output(output).replace("{channel}", name) for member, output in outputs.items()}


def _recipients(stack: Stack, channel_: Channel) -> dict[str, Any]:
    """What xMatters says of the recipients, for programs; people read on stderr what is not well. It raises nothing."""
    names = recipients.of_channel(channel_)
    if channel_.rest is None:
        return {}
    try:
        directory = Directory(Outward(Session(stack.allowed_hosts)))
        with terminal.status("checking the recipients …"):
            findings = directory.check(channel_.rest, names, Deadline(_CHECK_SECONDS, time.monotonic))
    # The channel is set, and a token that was made for it is shown but once: what is to be pasted comes in any case.
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001
        click.echo(f"warning: the recipients were not checked: {type(error).__name__}", err=True)
        return {"recipients": []}
    if findings and all(each.kind == Kind.NOT_KNOWN for each in findings):
        click.echo(f"warning: the recipients were not checked: {terminal.plain(findings[0].detail)}", err=True)
    else:
        for each in map(recipients.judged, findings):
            if each.state != State.OK:
                click.echo(f"warning: {terminal.plain(each.what)}: {terminal.plain(each.detail)}", err=True)
    return {"recipients": recipients.documents(findings)}


def _show_what_to_paste(
    stack: Stack, name: str, document: SecretDocument, as_json: bool, checked: dict[str, Any]
) -> None:
    urls = _urls(stack, name, document)
    header = channels.header_for(document.members["inbound"])
    pasted = {"channel": name, **urls, "header": header}
    back = channels.header_for(document.members["xmatters"]["callback"]) if "xmatters_callback_url" in urls else None
    if as_json:
        click.echo(json.dumps(pasted | ({"xmatters_header": back} if back else {}) | checked))
        return
    _show_paste("BigPanda's webhook integration", urls["callback_url"], header)
    if back:
        _show_paste("xMatters' workflow (docs/xmatters)", urls["xmatters_callback_url"], back)


def _show_paste(where: str, url: str, header: dict[str, str]) -> None:
    click.echo(f"Paste into {where}:")
    click.echo(f"  Callback URL   {url}")
    click.echo(f"  Header name    {header['name']}")
    click.echo(f"  Header value   {header['value']}")


@channel.command()
@NAME
@on_stack
def show(stack: Stack, name: str, as_json: bool) -> None:
    """Show a channel, with every secret masked.

    \b
    Example:
      relayctl channel show payments
    """
    found = ChannelStore(stack).read(name)
    if found is None:
        terminal.nothing(f"there is no channel {name}")
    document = SecretDocument(found)
    urls, masked = _urls(stack, name, document), document.masked()
    if as_json:
        click.echo(json.dumps({"channel": name, **urls, "secret": masked}))
        return
    click.echo(f"channel        {name}\ncallback URL   {urls['callback_url']}")
    if back := urls.get("xmatters_callback_url"):
        click.echo(f"from xMatters  {back}")
    click.echo("secret         " + json.dumps(masked, indent=2, ensure_ascii=False).replace("\n", "\n" + " " * 15))


@channel.command("list")
@on_stack
def list_(stack: Stack, as_json: bool) -> None:
    """List the channels of the stack.

    \b
    Example:
      relayctl channel list --json
    """
    found = ChannelStore(stack).names()
    if as_json:
        click.echo(json.dumps({"channels": [{"channel": name, "changed_at": at} for name, at in found]}))
    elif found:
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("channel")
        table.add_column("changed")
        for name, at in found:
            table.add_row(name, at or "")
        terminal.output().print(table)
    if not found:
        terminal.nothing("no channels yet; make one with: relayctl channel set NAME")


@channel.command()
@NAME
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--days", type=click.IntRange(7, 30), default=7, show_default=True, help="For so long it can come back.")
@on_stack
def remove(stack: Stack, name: str, yes: bool, days: int, as_json: bool) -> None:
    """Remove a channel: its shares are refused, within SecretCacheSeconds (5 minutes unless set otherwise).

    The secret can be brought back with `aws secretsmanager restore-secret` for some days.

    \b
    Example:
      relayctl channel remove payments
    """
    store = ChannelStore(stack)
    if not store.exists(name):
        terminal.nothing(f"there is no channel {name}")
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("not a terminal: give --yes to remove without being asked")
        click.confirm(
            f"Refuse BigPanda's shares for channel {name}, at the latest in SecretCacheSeconds?",
            abort=True,
            err=True,
        )
    store.remove(name, days)
    click.echo(
        json.dumps({"channel": name, "removed": True})
        if as_json
        else f"channel {name}: removed; functions that run may know it until their cache time is over"
    )
