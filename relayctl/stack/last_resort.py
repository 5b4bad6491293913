"""The last resort of a stack: its ways to people, checks of them, and `relayctl fallback test`."""

import json
import sys
from collections.abc import Sequence
from typing import Any

import click
from botocore.config import Config

from relay.delivery.fallback_messages import TOPIC
from relay.delivery.fallback_phones import Way, ways_to
from relay.health.judgement import age
from relay.ledger.table import Table, parsed
from relay.sweeper.fallback_notifier import TEST_KEY
from relayctl import check_results, terminal
from relayctl.check_results import Check, State, Verdict, failed, ok, warning
from relayctl.stack.deployed import Stack, on_stack

# Age of a confirmed test at which doctor asks for a new one: phones and people change.
CONFIRMED_SECONDS = 90 * 86_400.0
_IDENTITIES = ("FallbackVoiceIdentity", "FallbackTextIdentity")
_LIMITS = {"VOICE_MESSAGE_MONTHLY_SPEND_LIMIT": "calls", "TEXT_MESSAGE_MONTHLY_SPEND_LIMIT": "texts"}


def _ways(stack: Stack) -> list[Way]:
    numbers = filter(None, stack.parameters.get("FallbackPhones", "").split(","))
    return ways_to(list(numbers), *(stack.parameters.get(name, "") for name in _IDENTITIES))


def phones(stack: Stack) -> Verdict:
    ways = _ways(stack)
    if not stack.parameters.get("FallbackPhones"):
        return State.OK, "none: people are notified by the fallback topic alone"
    if not ways:
        return State.FAILED, f"nobody is called: set {' or '.join(_IDENTITIES)}"
    here = stack.session.region_name
    if far := {each.identity for each in ways if each.identity.split(":")[3] != here}:
        return State.FAILED, f"{', '.join(sorted(far))}: not in {here}, so nobody is called"
    client: Any = stack.session.client("pinpoint-sms-voice-v2")
    attributes = {each["Name"]: each["Value"] for each in client.describe_account_attributes()["AccountAttributes"]}
    # The month's limits of the account's spending, beyond which AWS calls or texts nobody.
    found = {each["Name"]: each["EnforcedLimit"] for each in client.describe_spend_limits()["SpendLimits"]}
    used = {"calls" if each.is_call else "texts" for each in ways}
    limits = [f"{found[name]} USD of {kind}" for name, kind in _LIMITS.items() if kind in used and name in found]
    spend = f", at most {' and '.join(limits)} a month" if limits else ""
    calls = sum(each.is_call for each in ways)
    detail = f"{calls} called, {len(ways) - calls} texted{spend}"
    if attributes.get("ACCOUNT_TIER") != "SANDBOX":
        return State.OK, detail
    pages = client.get_paginator("describe_verified_destination_numbers").paginate()
    numbers_there = pages.search("VerifiedDestinationNumbers[]")
    verified = {each["DestinationPhoneNumber"] for each in numbers_there if each["Status"] == "VERIFIED"}
    if missing := [each.name for each in ways if each.number not in verified]:
        return State.FAILED, f"AWS's sandbox: {', '.join(missing)}: the number is not verified, so it is not reached"
    return State.WARNING, f"{detail}; AWS's sandbox: 20 calls a day, 5 to one phone; ask for production access"


def last_confirmation(table: Table) -> tuple[float, tuple[str, ...]] | None:
    """Return the time of the last resort's last confirmed test (epoch seconds), and the confirmed ways; else None."""

    def read(record: Any) -> tuple[float, tuple[str, ...]] | None:
        return float(record["at"]), tuple(map(str, record["ways"]))

    return parsed(table.read(TEST_KEY), read, None)


def confirmed(stack: Stack) -> Verdict:
    advice = "run `relayctl fallback test`"
    last = last_confirmation(stack.bounded_table())
    if last is None:
        return State.WARNING, f"no person ever confirmed a way of the last resort: {advice}"
    at, ways = last
    seconds = stack.effects.clock() - at
    missing = [way for way in (TOPIC, *(each.name for each in _ways(stack))) if way not in ways]
    if missing:
        return State.WARNING, f"{', '.join(missing)}: not confirmed by the last test, {age(seconds)} ago: {advice}"
    return (State.OK if seconds < CONFIRMED_SECONDS else State.WARNING), f"each way was confirmed {age(seconds)} ago"


@click.group()
def fallback() -> None:
    """The last resort: the fallback topic, and phones."""


@fallback.command()
@click.option("--yes", is_flag=True, help="Do not ask before the test is sent.")
@on_stack
def test(stack: Stack, yes: bool, as_json: bool) -> None:
    """Send a short number by each way of the last resort, and confirm the ways whose numbers you type.

    The sweeper publishes to the fallback topic, and calls and texts each of FallbackPhones, with its own settings and
    permissions. xMatters is not involved. relayctl doctor says when each way was confirmed last.

    Without a terminal, or with --json, no number is asked for: the test says which ways AWS accepted, and confirms
    none.

    \b
    Example:
      relayctl fallback test
    """
    terminal.confirm(
        "Notify the fallback topic, and call and text its phones now, by a test?", yes=yes, as_json=as_json
    )
    sent = _asked(stack, {}).get("ways")
    if sent is None:
        raise click.ClickException("the stack's sweeper knows no test: deploy the stack again")
    asks = not as_json and sys.stdin.isatty()
    confirmed = _typed(stack, {each["number"]: each["way"] for each in sent}) if asks else []
    found = [_judged(each, confirmed, asks=asks) for each in sent]
    check_results.show(() if as_json else found)
    document = {"stack": stack.name, **check_results.listing(found)}
    check_results.conclude("last resort", found, document if as_json else None)


# A call that botocore repeats after a time-out would call and text people again.
_ONCE = Config(read_timeout=90, retries={"total_max_attempts": 1})


def _asked(stack: Stack, what: dict[str, Any]) -> dict[str, Any]:
    answer = stack.session.client("lambda", config=_ONCE).invoke(
        FunctionName=stack.output("SweeperFunction"), Payload=json.dumps({"fallback_test": what}).encode()
    )
    document = json.loads(answer["Payload"].read())
    if answer.get("FunctionError"):
        raise click.ClickException(f"the sweeper failed: {document.get('errorType', '?')}; its log says more")
    return dict(document)


def _typed(stack: Stack, ways: dict[str, str]) -> list[str]:
    confirmed: list[str] = []
    terminal.say("A mail or a call may take a minute.")
    while len(confirmed) < len(ways):
        number = click.prompt("A number that came (Enter: no more)", default="", show_default=False, err=True).strip()
        if not number:
            break
        way = ways.get(number, "")
        if way and way not in confirmed:
            confirmed.append(way)
            # At once: Ctrl-C at the next question must not lose it.
            _asked(stack, {"confirmed": confirmed})
        terminal.say(f"confirmed: {way}" if way else "No way of this test has that number.")
    return confirmed


def _judged(sent: dict[str, str], confirmed: Sequence[str], *, asks: bool) -> Check:
    way, failure = sent["way"], sent["failure"]
    if way in confirmed:
        return ok(way, "confirmed")
    if failure:
        return failed(way, f"not sent: {failure}")
    accepted = "AWS accepted it, and nobody confirmed it"
    return failed(way, accepted) if asks else warning(way, accepted)
