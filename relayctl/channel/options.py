"""Options of `relayctl channel set`, applied to a channel's secret. Missing values are prompted for on a terminal."""

import secrets
from typing import Any

import click

from relay.channels import token
from relay.channels.schema import AUTH
from relayctl.channel.credential_input import ASK, CredentialInput, ask, flag_of
from relayctl.channel.endpoints import ENDPOINTS
from relayctl.channel.secret_document import SecretDocument, typed_value, unknown_key

_AUTH_MEMBERS = ("client_id", "username", "password", "key", "secret")
# Keys of the secret that credential options set, by the options' names.
_CREDENTIALS = {
    "trigger_url": "xmatters.trigger_url",
    **{name: f"xmatters.auth.{name}" for name in ("password", "key", "secret")},
}
_FORMS = "KEY=VALUE, KEY=@FILE, KEY=- or KEY"


def resolved(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options with values read from files, standard input and prompts. Raises UsageError.

    Each item of `settings`, a value of --set, becomes a pair of key and value. Warnings about credentials are written
    to stderr.
    """
    source = CredentialInput()
    given = {name: options[name] for name in _CREDENTIALS if options[name] is not None}
    settings = [_key_and_text(each) for each in options["settings"]]
    try:
        read = {name: source.read(flag_of(name), _CREDENTIALS[name], text) for name, text in given.items()}
        pairs = [(key, source.read(f"--set {key}", key, text)) for key, text in settings]
    finally:
        source.warn()
    return {**options, **read, "settings": pairs}


def _key_and_text(setting: str) -> tuple[str, str]:
    key, equals, text = setting.partition("=")
    if not key or (not equals and unknown_key(key)):
        # The setting is not quoted: it may be a credential without its key.
        raise click.UsageError(f"--set takes {_FORMS}{_hint(key) if key else ''}")
    if complaint := unknown_key(key):
        raise click.UsageError(complaint)
    return key, text if equals else ASK


def apply(document: SecretDocument, options: dict[str, Any], name: str) -> None:
    """Set the options in `document`, a channel's secret in memory; nothing is stored.

    Then a token is made for each endpoint that needs a credential and has none. Raises UsageError if an option does not
    fit, or if `--unset` would remove a credential that an endpoint needs. Raises InvalidChannel if the secret has
    another structure than a channel's.
    """
    had = [key for key in ENDPOINTS if _has_credentials(document, key)]
    _apply_options(document, options)
    _apply_settings(document, options["settings"], options["removals"])
    for key in had:
        if needs_endpoint(document, key) and not _has_credentials(document, key):
            raise click.UsageError(
                f"--unset {key}: channel {name} needs a credential for {ENDPOINTS[key].vendor}; for a new one: "
                f"relayctl channel rotate {name} {ENDPOINTS[key].name}"
            )
    add_missing_tokens(document, name)


def _has_credentials(document: SecretDocument, key: str) -> bool:
    return document.has(f"{key}.token") or document.has(f"{key}.basic")


def needs_endpoint(document: SecretDocument, key: str) -> bool:
    """True if the endpoint needs credentials: `inbound` always, `xmatters.callback` only with bigpanda.api_key."""
    return key == "inbound" or document.has("bigpanda.api_key")


def add_missing_tokens(document: SecretDocument, name: str) -> None:
    """Make a token for each endpoint that needs credentials (as `needs_endpoint` says) and has none."""
    if not document.has("inbound.token") and not document.has("inbound.basic"):
        document.set("inbound.token", token.make(name, "inbound", secrets.choice))
    if document.has("bigpanda.api_key") and not document.has("xmatters.callback"):
        document.set("xmatters.callback.token", token.make(name, "callback", secrets.choice))


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
    if unsuitable := [flag_of(member) for member, value in given.items() if value is not None and member not in known]:
        raise click.UsageError(f"{', '.join(unsuitable)}: cannot be combined with --auth {kind}")
    for member in (member for member in given if member in known):
        key, value = f"xmatters.auth.{member}", given[member]
        if value is not None:
            document.set(key, value)
        elif not document.has(key):
            document.set(key, _ask(member, f" with --auth {kind}"))


def _ask(name: str, why: str) -> str:
    return ask(flag_of(name), f" is needed{why}", is_hidden=name in _CREDENTIALS)


def _apply_settings(document: SecretDocument, settings: list[tuple[str, str]], removals: tuple[str, ...]) -> None:
    for key, text in settings:
        document.set(key, typed_value(key, text))
    for key in removals:
        if not document.unset(key):
            raise click.UsageError(f"--unset {key}: the channel has no such key{_hint(key)}")


def _hint(key: str) -> str:
    _, mark, hint = (unknown_key(key) or "").partition("; ")
    return mark + hint
