"""Options of `relayctl channel set` applied to a channel's secret; what is missing is asked for on a terminal."""

import secrets
import sys
from typing import Any

import click

from relay.channels.schema import AUTH
from relayctl.secret_document import SecretDocument, file_fault, from_file, typed_value, unknown_key

_AUTH_MEMBERS = ("client_id", "username", "password", "key", "secret")
_HIDDEN = {"trigger_url", "password", "secret", "key"}


def apply(document: SecretDocument, options: dict[str, Any]) -> None:
    """Apply the options, and make the tokens that the channel needs and has not. Raises UsageError, InvalidChannel."""
    _apply_options(document, options)
    _apply_settings(document, options["settings"], options["removals"])
    if not document.has("inbound.token") and not document.has("inbound.basic"):
        document.set("inbound.token", secrets.token_urlsafe(32))
    if document.has("bigpanda.api_key") and not document.has("xmatters.callback"):
        document.set("xmatters.callback.token", secrets.token_urlsafe(32))


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
    if options["recipients_in"]:
        document.set("xmatters.recipients_in", options["recipients_in"])
    if options["any_trigger_path"]:
        document.set("xmatters.any_trigger_path", True)


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
        if complaint := unknown_key(key):
            raise click.UsageError(complaint)
        document.set(key, typed_value(key, _setting(key, text)))
    for key in removals:
        if not document.unset(key):
            raise click.UsageError(f"--unset {key}: the channel has no such key{_hint(key)}")


def _setting(key: str, text: str) -> str:
    try:
        value = from_file(text)
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"--set {key}: can't read the file that @ names: {why(error)}") from error
    if text.startswith("@") and (fault := file_fault(key, value)):
        raise click.UsageError(f"--set {key}: {fault}")
    return value


def _hint(key: str) -> str:
    _, mark, hint = (unknown_key(key) or "").partition("; ")
    return mark + hint


def why(error: OSError | UnicodeDecodeError) -> str:
    """Return the cause without the file's name, which may be a password that begins with @."""
    return error.strerror or "it can't be read" if isinstance(error, OSError) else "it is not UTF-8 text"
