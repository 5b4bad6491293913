"""Parser of a channel's secret: JSON, schema, rules that a schema can't express, and allowed hosts."""

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Never

from relay.channels import token
from relay.channels.channel import (
    BIGPANDA_URL,
    MAX_NAMES_LENGTH,
    BigPandaAccess,
    Channel,
    EndpointCredentials,
    OutboundCredentials,
    Rest,
    names_in_url,
)
from relay.channels.policy import LEAST_WITHIN_SECONDS, MOST_CANARY_SECONDS, NOTIFIED_WITHIN_SECONDS, Policy
from relay.channels.schema import AUTH, CHANNEL, faults
from relay.failures import InvalidChannel
from relay.http.session import AllowList, ForbiddenUrl, VendorHosts
from relay.incidents.callback import (
    ACKNOWLEDGE,
    ESCALATE,
    WRITTEN,
    Deed,
    Kind,
    ResponseAction,
    ResponseMeanings,
)
from relay.incidents.share import iso_time


def parse_channel(name: str, text: str, hosts: VendorHosts) -> Channel:
    """Parse a channel's secret (JSON). Raises InvalidChannel, which names the key at fault but never its value."""
    document = decode_secret(text)
    check_secret(document, hosts)
    _check_tokens(document, name)
    xmatters = document["xmatters"]
    return Channel(
        name=name,
        inbound=tuple(_endpoint(document["inbound"])),
        trigger_url=xmatters["trigger_url"],
        auth=_auth(xmatters["auth"]),
        recipients=tuple(dict.fromkeys(name.strip() for name in xmatters.get("recipients", ()))),
        policy=Policy.of(document.get("policy", {}), has_rest="rest" in xmatters),
        callback=tuple(_endpoint(xmatters["callback"])) if "callback" in xmatters else (),
        responses=_responses(xmatters.get("responses", {})),
        bigpanda=_access(document["bigpanda"]) if "bigpanda" in document else None,
        rest=_rest(xmatters["rest"]) if "rest" in xmatters else None,
        recipients_in=xmatters.get("recipients_in"),
        any_trigger_path=xmatters.get("any_trigger_path", False),
    )


def check_secret(document: Any, hosts: VendorHosts) -> None:
    """Raise InvalidChannel unless the decoded secret is a valid channel whose URLs may be called."""
    for fault in schema_faults(document):
        raise InvalidChannel(fault)
    _check_text(document)
    xmatters, bigpanda, policy = document["xmatters"], document.get("bigpanda", {}), document.get("policy", {})
    _check_endpoint(document["inbound"], "inbound")
    if "callback" in xmatters:
        _check_endpoint(xmatters["callback"], "xmatters.callback")
    in_url = names_in_url(xmatters["trigger_url"])
    _check_names((*in_url, *xmatters.get("recipients", ())), "xmatters.recipients")
    for index, route in enumerate(policy.get("routes", ())):
        _check_names((*in_url, *route["recipients"]), f"policy.routes.{index}.recipients")
    if bigpanda.get("callbacks") and "app_key" not in bigpanda:
        raise InvalidChannel("bigpanda: needs app_key for callbacks")
    for index, pause in enumerate(policy.get("pauses", ())):
        _check_pause(pause, f"policy.pauses.{index}")
    _check_receipts(policy, xmatters, has_bigpanda="bigpanda" in document)
    if policy.get("canary"):
        _check_canary(policy, xmatters, has_bigpanda="bigpanda" in document)
    _check_actions(bigpanda.get("actions", {}), has_rest="rest" in xmatters)
    for key, url, allowed in _urls(document, hosts):
        try:
            allowed.check(url)
        except ForbiddenUrl as error:
            raise InvalidChannel(f"{key}: {error}") from None


def schema_faults(document: Any) -> Iterator[str]:
    """Yield each violation of the schema of secrets, which names the key at fault but never its value."""
    yield from faults(document, CHANNEL, "")
    match document:
        case {"xmatters": {"auth": {"type": str(kind)} as auth}} if kind in AUTH:
            yield from faults(auth, AUTH[kind], "xmatters.auth")
    match document:
        case {"xmatters": {"rest": {"auth": {"type": str(kind)} as auth}}} if kind in AUTH:
            yield from faults(auth, AUTH[kind], "xmatters.rest.auth")


def decode_secret(text: str) -> Any:
    """Decode the JSON of a secret; NaN and Infinity are no JSON. Raises InvalidChannel."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        # The decoder's own message may quote a part of the secret.
        raise InvalidChannel("the secret is not JSON") from None


def _refuse_constant(name: str) -> Never:
    raise ValueError(name)


def _check_text(document: Any) -> None:
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise InvalidChannel("the secret holds a character that is cut in half (a lone surrogate)") from None


def _check_names(names: Iterable[str], key: str) -> None:
    if len(Channel.fitting(names)) < len(set(names)):
        raise InvalidChannel(f"{key}: must have {MAX_NAMES_LENGTH} characters in all, as in a URL; name groups instead")


def _check_endpoint(endpoint: Mapping[str, Any], key: str) -> None:
    _check_credentials(endpoint, key)
    if "previous" in endpoint:
        _check_credentials(endpoint["previous"], f"{key}.previous")
        _check_moment(endpoint["previous"]["expires_at"], f"{key}.previous.expires_at")


def _check_credentials(inbound: Mapping[str, Any], key: str) -> None:
    if not {"basic", "token"} & inbound.keys():
        raise InvalidChannel(f"{key}: needs basic or token")


def _check_tokens(document: Mapping[str, Any], name: str) -> None:
    """Raise InvalidChannel for a token with a wrong checksum, and for a credential that is used for both endpoints."""
    inbound, callback = (
        dict(_credentials(document.get("inbound", {}), "inbound")),
        dict(_credentials(document["xmatters"].get("callback", {}), "xmatters.callback")),
    )
    endpoints: tuple[tuple[token.EndpointName, dict[str, Any]], ...] = (("inbound", inbound), ("callback", callback))
    for endpoint, found in endpoints:
        for key, value in found.items():
            if isinstance(value, str) and token.fits(value, name, endpoint) is False:
                raise InvalidChannel(
                    f"{key}: begins with {token.PREFIX} and was not made for this channel and endpoint, or was cut; "
                    "make a new one"
                )
    for key, value in callback.items():
        if twin := next((each for each, other in inbound.items() if other == value), None):
            raise InvalidChannel(
                f"{key}: is also valid at BigPanda's endpoint (it is the same as {twin}); make a new one"
            )


def _credentials(endpoint: Mapping[str, Any], key: str) -> Iterable[tuple[str, Any]]:
    """Yield the current and previous tokens and logins of an endpoint, each with its dotted key in the secret."""
    for place, members in ((key, endpoint), (f"{key}.previous", endpoint.get("previous", {}))):
        yield from ((f"{place}.{kind}", members[kind]) for kind in ("token", "basic") if kind in members)


def _check_actions(actions: Mapping[str, Any], *, has_rest: bool) -> None:
    """Raise InvalidChannel for a response named twice, misplaced `minutes`, or an action that lacks `xmatters.rest`."""
    texts = [text.strip().lower() for text in actions]
    if len(set(texts)) < len(texts) or "" in texts:
        raise InvalidChannel("bigpanda.actions: must name each response once, and none that is blank")
    for action in actions.values():
        if ("minutes" in action) != (action["do"] == Deed.SNOOZE):
            raise InvalidChannel("bigpanda.actions: snooze needs minutes, and nothing else has them")
        if action["do"] != Deed.COMMENT and not has_rest:
            raise InvalidChannel("bigpanda.actions: resolve and snooze need xmatters.rest, to verify who answered")


def _check_receipts(policy: Mapping[str, Any], xmatters: Mapping[str, Any], *, has_bigpanda: bool) -> None:
    """Raise InvalidChannel for receipt times that are too short, unprovable, or missing for `unanswered_recipients`."""
    can_prove = bool({"callback", "rest"} & xmatters.keys())
    if policy.get("answered_within_seconds") and not can_prove and not has_bigpanda:
        needs = "xmatters.callback, xmatters.rest or bigpanda.api_key"
        raise InvalidChannel(f"policy.answered_within_seconds: needs {needs}, which can prove it")
    if policy.get("notified_within_seconds") and not can_prove:
        needs = "xmatters.callback or xmatters.rest"
        raise InvalidChannel(f"policy.notified_within_seconds: needs {needs}, which can prove it")
    for key in ("notified_within_seconds", "answered_within_seconds"):
        seconds = policy.get(key, 0)
        if 0 < seconds < LEAST_WITHIN_SECONDS:
            raise InvalidChannel(f"policy.{key}: must be 0, or at least {LEAST_WITHIN_SECONDS:.0f}")
    _check_names(policy.get("unanswered_recipients", ()), "policy.unanswered_recipients")
    is_awaited = policy.get("answered_within_seconds") or policy.get("notified_within_seconds", "rest" in xmatters)
    if policy.get("unanswered_recipients") and not is_awaited:
        raise InvalidChannel("policy.unanswered_recipients: needs notified_within_seconds or answered_within_seconds")


def _check_canary(policy: Mapping[str, Any], xmatters: Mapping[str, Any], *, has_bigpanda: bool) -> None:
    """Raise InvalidChannel for a canary that would reach BigPanda or further people, or lacks a short receipt time."""
    if has_bigpanda:
        raise InvalidChannel("policy.canary: needs a channel without bigpanda: its incidents are invented")
    if policy.get("unanswered_recipients"):
        raise InvalidChannel("policy.canary: needs a channel without unanswered_recipients")
    default = NOTIFIED_WITHIN_SECONDS if "rest" in xmatters else 0
    if not 0 < policy.get("notified_within_seconds", default) <= MOST_CANARY_SECONDS:
        most = f"of {MOST_CANARY_SECONDS:.0f} at most"
        raise InvalidChannel(f"policy.canary: needs policy.notified_within_seconds, {most}")


def _check_moment(text: str, key: str) -> None:
    if text != text.strip() or iso_time(text) is None:
        raise InvalidChannel(f"{key}: must be an ISO 8601 time with an offset, such as 2030-01-31T12:00:00Z")


def _check_pause(pause: Mapping[str, str], key: str) -> None:
    for name in ("since", "until"):
        _check_moment(pause[name], f"{key}.{name}")
    if datetime.fromisoformat(pause["until"]) < datetime.fromisoformat(pause["since"]):
        raise InvalidChannel(f"{key}.until: must not be before since")


def _urls(document: Mapping[str, Any], hosts: VendorHosts) -> Iterable[tuple[str, str, AllowList]]:
    """Yield each URL that the channel calls: its key in the secret, the URL, and the vendor's allowed hosts."""
    yield "xmatters.trigger_url", document["xmatters"]["trigger_url"], hosts.xmatters
    if "rest" in document["xmatters"]:
        yield "xmatters.rest.base_url", document["xmatters"]["rest"]["base_url"], hosts.xmatters
    if "base_url" in document.get("bigpanda", {}):
        yield "bigpanda.base_url", document["bigpanda"]["base_url"], hosts.bigpanda


def _endpoint(members: Mapping[str, Any]) -> Iterable[EndpointCredentials]:
    """Yield the current credentials of an endpoint, and the previous ones, which are valid until they expire."""
    yield _inbound(members)
    if "previous" in members:
        yield _inbound(members["previous"])


def _responses(members: Mapping[str, Any]) -> ResponseMeanings:
    return ResponseMeanings(
        frozenset(text.strip().lower() for text in members.get("acknowledge", ACKNOWLEDGE)),
        frozenset(text.strip().lower() for text in members.get("escalate", ESCALATE)),
    )


def _auth(members: Mapping[str, str]) -> OutboundCredentials:
    return OutboundCredentials(members["type"], {name: value for name, value in members.items() if name != "type"})


def _rest(members: Mapping[str, Any]) -> Rest:
    return Rest(members["base_url"].rstrip("/"), _auth(members["auth"]))


def _access(members: Mapping[str, Any]) -> BigPandaAccess:
    environments = (members.get("environment_id"), *members.get("environments", ()))
    reconcile = members.get("reconcile", True)
    return BigPandaAccess(
        base_url=members.get("base_url", BIGPANDA_URL).rstrip("/"),
        api_key=members["api_key"],
        environments=tuple(dict.fromkeys(filter(None, environments))),
        assign=members.get("assign", False),
        actions={
            text.strip().lower(): ResponseAction(Deed(action["do"]), action.get("minutes", 0))
            for text, action in members.get("actions", {}).items()
        },
        email_domain=members.get("email_domain"),
        comments=frozenset(map(Kind, members.get("comments", WRITTEN))),
        callbacks=members.get("callbacks", False),
        app_key=members.get("app_key"),
        reconcile="report" if reconcile is True else reconcile or None,
        reconcile_query=members.get("reconcile_query"),
        automations=frozenset(members.get("automations", ())),
    )


def _inbound(members: Mapping[str, Any]) -> EndpointCredentials:
    shown = {kind: members[kind] for kind in ("token", "basic") if kind in members}
    expires_at = members.get("expires_at")
    return EndpointCredentials(shown, datetime.fromisoformat(expires_at).timestamp() if expires_at else None)
