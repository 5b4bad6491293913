"""New values for the credentials with which the relay calls the vendors, from the options of `channel rotate`."""

import sys
from collections.abc import Mapping

import click

from relay.channels.schema import AUTH
from relayctl.credential_input import CredentialInput, ask
from relayctl.secret_document import SecretDocument

# The vendor by the kind of credential: the trigger's, xMatters' REST API's, and BigPanda's API's.
VENDORS = {"trigger": "xMatters", "rest": "xMatters", "bigpanda": "BigPanda"}
# Options for credentials. The others, such as a user name, have plain values.
_HIDDEN = {"trigger_url", "password", "key", "secret", "api_key", "app_key"}
_AUTHS = {"trigger": "xmatters.auth", "rest": "xmatters.rest.auth"}


def renewed(before: SecretDocument, name: str, kind: str, given: Mapping[str, str | None]) -> SecretDocument:
    """Return the channel's secret with the given credentials in place of the old ones. Raises UsageError.

    `kind` is a key of VENDORS. `given` has the values of the options by their names, such as `password`; None for an
    option that was not given. On a terminal, relayctl prompts for a missing credential. The type of authentication
    stays.
    """
    options = {option: text for option, text in given.items() if text is not None}
    places = _places(before, name, kind)
    if unsuitable := [_flag(option) for option in options if option not in places]:
        suitable = " and ".join(_flag(option) for option in places if option in _HIDDEN)
        raise click.UsageError(
            f"{', '.join(unsuitable)}: not a part of channel {name}'s credential for {kind}, which has {suitable}"
        )
    after, source = SecretDocument(before.members), CredentialInput(allows_literals=False)
    try:
        for option, key in places.items():
            if option in options and option in _HIDDEN:
                after.set(key, source.read(_flag(option), key, options[option]))
            elif option in options:
                after.set(key, options[option])
            elif _is_needed(option, options):
                after.set(key, source.judged(_flag(option), key, _asked(option), "the answer"))
    finally:
        source.warn()
    return after


def _places(document: SecretDocument, name: str, kind: str) -> dict[str, str]:
    """Return the dotted key of the secret for each option that sets a part of the credential.

    Raises UsageError if the channel has no such credential.
    """
    if kind == "bigpanda":
        if not document.has("bigpanda.api_key"):
            raise click.UsageError(
                f"channel {name} has no key for BigPanda: relayctl channel set {name} --set bigpanda.api_key"
            )
        return {"api_key": "bigpanda.api_key", "app_key": "bigpanda.app_key"}
    place = _AUTHS[kind]
    if not document.has(place):
        raise click.UsageError(
            f"channel {name} has no {place}: relayctl channel set {name} --set {place.removesuffix('.auth')}=@FILE"
        )
    how = document.get(f"{place}.type")
    if how == "url":
        return {"trigger_url": "xmatters.trigger_url"}
    members = AUTH[how]["properties"] if how in list(AUTH) else {}
    return {member: f"{place}.{member}" for member in members if member != "type"}


def _is_needed(option: str, given: Mapping[str, str]) -> bool:
    """True if relayctl must prompt for this option, which was not given.

    relayctl prompts for each credential except BigPanda's app_key. It prompts for api_key only without an app_key.
    """
    return option in _HIDDEN - {"api_key", "app_key"} or (option == "api_key" and "app_key" not in given)


def _asked(option: str) -> str:
    if not sys.stdin.isatty():
        raise click.UsageError(f"{_flag(option)} is needed: give @FILE or -, or run in a terminal for a prompt")
    return ask(option.replace("_", " "), is_hidden=True)


def _flag(option: str) -> str:
    return f"--{option.replace('_', '-')}"
