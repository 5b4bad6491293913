"""Report of a rehearsal as lines: label, text, and True if it is bad news. Pure code."""

from collections.abc import Iterator, Mapping
from typing import Any

from relay.foreign_text import printable
from relayctl.report.period import spread_words
from relayctl.settings.settings_file import STORED
from relayctl.settings.settings_yaml import Flow, encode

# With at least this part of pages fewer, the settings to install with have the rule for flaps.
_WORTH_IT = 0.05
_SAID = {
    "repeat": ("repeats", "of a state that people knew"),
    "stale": ("stale", "of an open incident, after its end"),
    "late": ("late", "more than a minute after the share"),
    "unanswered": ("unanswered", "of criticals, answered by nobody"),
    "to_nobody": ("to nobody", "of criticals, on no device"),
}
# These are a part of the pages of criticals, the others of all pages.
_OF_CRITICALS = ("unanswered", "to_nobody")


def rows(found: Mapping[str, Any]) -> Iterator[tuple[str, str, bool]]:
    """Yield the lines of a report."""
    direct = found["direct"]
    yield "BigPanda shared", f"{found['shares']:,} times, {found['incidents']:,} incidents", False
    pages = direct["pages"]
    whose = "assumed: one for each share, at once" if direct["are_assumed"] else "that xMatters made"
    yield "people got", f"{pages:,} pages, {whose}; at most {direct['most_in_a_minute']} a minute", False
    for name, (label, what) in _SAID.items():
        if direct["are_assumed"] and name != "repeat":
            continue
        whole = direct["criticals"] if name in _OF_CRITICALS else pages
        yield label, f"{direct[name]:,} pages ({_part(direct[name], whole)}) {what}", direct[name] > 0
    if not direct["are_assumed"]:
        dropped = direct["dropped_by_flood_control"]
        text = f"{direct['without_page']:,} shares; {dropped:,} of them while flood control dropped signals"
        yield "without a page", text, dropped > 0
    if spread := direct["to_answer"]:
        yield "answered after", spread_words(spread), False
    for name, done in found["relay"].items():
        fewer = f"{_part(pages - done['pages'], pages)} fewer" if done["pages"] <= pages else "more"
        text = f"{done['pages']:,} pages ({fewer}), {done['critical']:,} critical"
        yield f"relay, {name}", f"{text}; at most {done['most_in_a_minute']} a minute", False
    for place, each in enumerate(found["noisiest"]):
        counts = ", ".join(f"{len(rings)}" for rings in each["relay"].values())
        title = printable(each["title"] or each["incident_id"], 30)
        yield "" if place else "noisiest", f"{len(each['direct']):>3} pages, relay {counts}: {title}", False
    for place, text in enumerate(unknown(found)):
        yield "" if place else "not known", text, False


def unknown(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the vendors' APIs do not tell."""
    inferred = found["inferred_states"]
    if inferred:
        yield (
            f"the state at {inferred:,} of {found['shares']:,} shares: no page told it, so it is inferred from the "
            "alerts that were active"
        )
    if not found["logs_updates"]:
        told = "none" if found["direct"]["are_assumed"] else "none, so each page that is left counts as one"
        yield f"shares after an incident's first one: BigPanda logged {told}"
    if found["direct"]["are_assumed"]:
        yield "what xMatters did: give --xmatters-url to count late, stale and unanswered pages"
    else:
        if others := found["other_pages"]:
            yield f"{others:,} pages of incidents that were merged, are elsewhere, or were not shared with a webhook"
        yield "answers to pages of warnings: audits are read for criticals only"
    yield "when people would have answered the relay's pages"


def settings_to_install(found: Mapping[str, Any], policies: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a channel's settings file: as many pages as changes, and the rule for flaps if it spares people some."""
    relay = found["relay"]
    spared = relay["parity"]["pages"] - relay["flap"]["pages"]
    policy = policies["flap" if spared > _WORTH_IT * relay["parity"]["pages"] else "parity"]
    said = "# Shadow mode decides and sends nothing: with mode live, it rings."
    return f"{said}\n{settings_of({**policy, 'mode': 'shadow'})}"


def settings_of(policy: Mapping[str, Any]) -> str:
    """Return the settings file of a channel with this policy, and with references for its credentials."""
    trigger_url = Flow(secret=STORED, env="XMATTERS_TRIGGER_URL")
    return encode({"xmatters": {"trigger_url": trigger_url, "auth": Flow(type="url")}, "policy": policy})


def _part(some: int, whole: int) -> str:
    if some and some / whole < 0.005:
        return "below 1%"
    return f"{some / whole:.0%}" if whole else "0%"
