"""HTML page of a report: one file with its figures and plots, which opens without a network. Pure code."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

_WIDTH, _HEIGHT = 880, 160
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 920px; margin: 2rem auto; padding: 0 1rem; color: #1c2733; }
h1 { font-size: 1.5rem; margin-bottom: 0; } p.when { color: #5a6b7b; margin-top: 0; }
table { border-collapse: collapse; margin: 1.5rem 0; } th, td { text-align: left; padding: .3rem 1.5rem .3rem 0; }
td { font-variant-numeric: tabular-nums; } tr.bad td, tr.bad th { color: #a4161a; font-weight: 600; }
svg { width: 100%; height: auto; } .signals { fill: #1d6fb8; background: #1d6fb8; }
.quiet { fill: #c9d6e2; background: #c9d6e2; }
text { font-size: 12px; fill: #5a6b7b; }
.key span { display: inline-block; width: .8em; height: .8em; margin: 0 .3em 0 1em; }
@media (prefers-color-scheme: dark) { body { background: #14191f; color: #dde5ec; }
  .quiet { fill: #3a4856; background: #3a4856; } }
"""


# Label, text, and True if it is bad news.
type Rows = Sequence[tuple[str, str, bool]]


def page_of(title: str, when: str, rows: Rows, *parts: str) -> str:
    """Return the page: its title, a table of `rows`, and further parts, which are HTML."""
    cells = "".join(
        f"<tr{' class=bad' if is_bad else ''}><th>{escape(label)}</th><td>{escape(text)}</td></tr>"
        for label, text, is_bad in rows
    )
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{escape(title)}</title><style>{_STYLE}</style><h1>{escape(title)}</h1><p class=when>{escape(when)}</p>"
        f"<table>{cells}</table>{''.join(parts)}</html>\n"
    )


def shares_by_hour(hours: Sequence[Mapping[str, Any]]) -> str:
    """Return the plot of a report's shares, by hour."""
    most = max(1, *(each["signals"] + each["quiet"] for each in hours))
    return (
        "<h2>Shares by hour</h2>"
        "<p class=key><span class=signals></span>rang <span class=quiet></span>rang nobody</p>"
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT + 20}" role=img aria-label="signals and shares without one, by hour">'
        f"{''.join(_bar(hours, most))}<text x=0 y={_HEIGHT + 16}>{escape(hours[0]['at'])}</text>"
        f"<text x={_WIDTH} y={_HEIGHT + 16} text-anchor=end>{escape(hours[-1]['at'])}</text>"
        f"<text x=0 y=12>{most}</text></svg>"
    )


def _bar(hours: Sequence[Mapping[str, Any]], most: int) -> Iterator[str]:
    step = _WIDTH / len(hours)
    for place, each in enumerate(hours):
        base = float(_HEIGHT)
        for name in ("signals", "quiet"):
            height = each[name] * (_HEIGHT - 20) / most
            base -= height
            if height:
                said = escape(f"{each['at']}: {each['signals']} rang, {each['quiet']} rang nobody")
                yield (
                    f"<rect class={name} x={place * step:.1f} y={base:.1f} width={max(step - 1, 0.5):.1f} "
                    f"height={height:.1f}><title>{said}</title></rect>"
                )
