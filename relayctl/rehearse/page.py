"""Report of a rehearsal, as lines and as an HTML page that opens without a network. Pure code."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from relay.foreign_text import printable
from relayctl.report.figures import spread_words
from relayctl.settings.settings_file import settings_of
from relayctl.settings.settings_yaml import encode

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
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 920px; margin: 2rem auto; padding: 0 1rem; color: #1c2733; }
h1 { font-size: 1.5rem; margin-bottom: 0; } p.when { color: #5a6b7b; margin-top: 0; }
table { border-collapse: collapse; margin: 1.5rem 0; } th, td { text-align: left; padding: .3rem 1.5rem .3rem 0; }
td { font-variant-numeric: tabular-nums; } tr.bad td, tr.bad th { color: #a4161a; font-weight: 600; }
.heat { display: block; overflow-x: auto; }
.heat td { padding: 0; width: 26px; height: 20px; text-align: center; font-size: 11px; }
.heat th { padding: 0 .5rem 0 0; font-weight: 400; font-size: 12px; }
pre { background: #eef3f7; padding: 1rem; overflow: auto; }
@media (prefers-color-scheme: dark) {
  body { background: #14191f; color: #dde5ec; } pre { background: #1f2730; } }
"""


def rows(found: Mapping[str, Any]) -> Iterator[tuple[str, str, bool]]:
    """Yield the lines of a report: label, text, and True if it is bad news."""
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
    return f"{said}\n{encode(settings_of({**policy, 'mode': 'shadow'}))}"


def _part(some: int, whole: int) -> str:
    if some and some / whole < 0.005:
        return "below 1%"
    return f"{some / whole:.0%}" if whole else "0%"


def page(title: str, when: str, found: Mapping[str, Any], settings: str) -> str:
    heats = {"people got": found["direct"]["by_hour"]} | {
        f"the relay, {name}": done["by_hour"] for name, done in found["relay"].items()
    }
    parts = ["<h2>Pages by hour and weekday (UTC)</h2>"]
    parts += [f"<h3>{escape(name)}</h3>{_heat(table)}" for name, table in heats.items()]
    parts += [
        "<h2>Settings to install with</h2><p>Save them as channels/NAME.yaml, then type "
        f"<code>relayctl channel apply channels</code>.</p><pre>{escape(settings)}</pre>"
    ]
    cells = "".join(
        f"<tr{' class=bad' if is_bad else ''}><th>{escape(label)}</th><td>{escape(text)}</td></tr>"
        for label, text, is_bad in rows(found)
    )
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{escape(title)}</title><style>{_STYLE}</style><h1>{escape(title)}</h1><p class=when>{escape(when)}</p>"
        f"<table>{cells}</table>{''.join(parts)}</html>\n"
    )


def _heat(table: Sequence[Sequence[int]]) -> str:
    most = max(1, *(max(counts) for counts in table))
    head = "".join(f"<th>{hour}</th>" for hour in range(24))
    lines = "".join(
        f"<tr><th>{day}</th>{''.join(_cell(count, most) for count in counts)}</tr>"
        for day, counts in zip(_DAYS, table, strict=True)
    )
    return f"<table class=heat><tr><th></th>{head}</tr>{lines}</table>"


def _cell(count: int, most: int) -> str:
    shade = f" style='background:rgb(29 111 184 / {count / most:.2f})'" if count else ""
    return f"<td{shade}>{count or ''}</td>"
